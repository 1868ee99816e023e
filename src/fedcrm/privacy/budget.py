"""A participant's privacy budget: how much ε at which δ may be spent in a period, and by which task.

The budgets of successive periods add up: whoever sees releases of two periods has a guarantee of ε₁ + ε₂ (and δ₁ + δ₂).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType

from fedcrm.errors import BudgetError, Problem

SUCCESSIVE_PERIODS = (
    "The guarantees of successive periods add up: over two periods the privacy loss can reach twice ε (and twice δ)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent in each period. Never sent to anyone.

    Attributes:
        epsilon: ε of one period, finite and above zero.
        delta: δ of one period, strictly between 0 and 1.
        period_start: First day (UTC) of the first period.
        period_days: Length of each period in days.
        task_shares: For each task, the largest share of the period's ρ it may use, in (0, 1]. Empty: every task may use
            all of it. Otherwise a task that is not listed may use nothing.
    """

    epsilon: float
    delta: float
    period_start: date
    period_days: int
    task_shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise BudgetError(
                "; ".join(f"{p.where} {p.what}" for p in problems),
                why="a budget is a privacy promise: it must be a finite, positive loss over a definite time",
                fix="; ".join(dict.fromkeys(p.fix for p in problems)),
            )
        object.__setattr__(self, "task_shares", MappingProxyType(dict(sorted(self.task_shares.items()))))

    def period(self, now: datetime) -> Period | None:
        """The period that `now` (with time zone) lies in; None before the first one."""
        elapsed = utc(now) - _midnight(self.period_start)
        index = elapsed // timedelta(days=self.period_days)
        if index < 0:
            return None
        start = _midnight(self.period_start) + index * timedelta(days=self.period_days)
        return Period(index, start, start + timedelta(days=self.period_days))

    def task_share(self, task: str) -> float:
        """The largest share of the period's ρ that a task may use."""
        return self.task_shares.get(task, 0.0) if self.task_shares else 1.0

    def to_json(self) -> str:
        """Canonical JSON."""
        facts = {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "period_start": self.period_start.isoformat(),
            "period_days": self.period_days,
            "task_shares": dict(self.task_shares),
        }
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Budget:
        """Read what `to_json` wrote."""
        facts = json.loads(text)
        return cls(**{**facts, "period_start": date.fromisoformat(facts["period_start"])})


@dataclass(frozen=True, slots=True)
class Period:
    """One period of a budget: its number from 0, and its half-open interval in UTC."""

    index: int
    start: datetime
    end: datetime


def utc(now: datetime) -> datetime:
    """`now` in UTC; raises BudgetError for a time without a zone."""
    if now.tzinfo is None:
        raise BudgetError(
            "a time has no time zone",
            why="a charge near a period's end would be counted in the wrong period",
            fix="pass a datetime with a time zone, for example datetime.now(UTC)",
        )
    return now.astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _problems(budget: Budget) -> list[Problem]:
    checks = [
        (_is_number(budget.epsilon) and budget.epsilon > 0, "ε", budget.epsilon, "choose ε > 0 (typical: 0.25 to 8)"),
        (
            _is_number(budget.delta) and 0 < budget.delta < 1,
            "δ",
            budget.delta,
            "choose δ in (0, 1), well below one over the number of customers, for example 1e-6",
        ),
        (
            type(budget.period_days) is int and 1 <= budget.period_days <= 36525,
            "the period's length in days",
            budget.period_days,
            "choose a whole number of days from 1 to 36525, for example 365",
        ),
    ]
    for task, share in budget.task_shares.items():
        usable = _is_number(share) and 0 < share <= 1
        checks.append((usable, f"the share of task {task!r}", share, "choose shares above 0 and at most 1"))
    return [Problem(name, f"is {value!r}", fix) for usable, name, value, fix in checks if not usable]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
