"""Budgets: what is refused, and which period a moment lies in."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrm.errors import BudgetError
from fedcrm.privacy.budget import Budget, utc

RIGHT = {"epsilon": 1.0, "delta": 1e-6, "period_start": date(2026, 1, 1), "period_days": 30}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        *(({"epsilon": value}, "ε is") for value in (0.0, -1.0, math.nan, math.inf, True, "1")),
        *(({"delta": value}, "δ is") for value in (0.0, -1e-6, 1.0, 1.5, math.nan, math.inf)),
        *(({"period_days": value}, "length in days is") for value in (0, -1, 1.5, 40_000)),
        *(({"task_shares": {"churn": value}}, "share of task 'churn'") for value in (0.0, -0.1, 1.1, math.nan)),
    ],
)
def test_unusable_budgets_are_refused_in_three_parts(wrong, named):
    """0, negative, NaN, infinite or out of range: an error that names what, why and what to do."""
    with pytest.raises(BudgetError) as caught:
        Budget(**{**RIGHT, **wrong})
    assert named in caught.value.what and caught.value.why and "choose" in caught.value.fix
    assert caught.value.code == "FED-202"


def test_all_faults_of_a_budget_are_told_together():
    """Two mistakes are one error with both."""
    with pytest.raises(BudgetError, match=r"ε is 0.*δ is 2"):
        Budget(**{**RIGHT, "epsilon": 0, "delta": 2})


@given(st.integers(1, 400), st.integers(0, 5000), st.floats(0, 86399))
def test_every_moment_from_the_start_lies_in_one_period(days, day, second):
    """Periods are half-open, follow each other without a gap, and contain the moment asked about."""
    budget = Budget(**{**RIGHT, "period_days": days})
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=second)
    period = budget.period(now)
    assert period is not None and period.index == day // days
    assert period.start <= now < period.end and period.end - period.start == timedelta(days=days)


def test_before_the_first_period_there_is_none():
    """A budget that starts tomorrow allows nothing today; other time zones are converted first."""
    budget = Budget(**RIGHT)
    assert budget.period(datetime(2025, 12, 31, 23, 59, tzinfo=UTC)) is None
    assert budget.period(datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))) is None
    with pytest.raises(BudgetError, match="no time zone"):
        utc(datetime(2026, 1, 1))


def test_budgets_survive_their_text():
    """A budget read back from its text is the same budget, caps included."""
    budget = Budget(**RIGHT, task_shares={"win": 0.5, "churn": 1.0})
    assert Budget.from_json(budget.to_json()) == budget
    assert (budget.task_share("win"), budget.task_share("lead_conversion")) == (0.5, 0.0)
    assert Budget(**RIGHT).task_share("anything") == 1.0
