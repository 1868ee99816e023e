"""Nine invented organisations: sizes, base rates, gaps, label quality and budgets differ. All of it is made up.

The true process: log-odds of churn = shared effects + one interaction + the organisation's own base rate and slopes.
`docs/demo.md` says what this is no evidence of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fedcrm.benchmark.tables import Dataset
from fedcrm.features.columns import CategoryColumn, FeatureSchema, NumberColumn
from fedcrm.features.table import MISSING, FeatureTable

PLANS = ("basic", "team", "business", "enterprise")
SOURCES = ("partner", "web", "event", "referral", "outbound")

SCHEMA = FeatureSchema(
    (
        NumberColumn("tenure months", 0, 120, whole=True),
        NumberColumn("monthly revenue", 0, 20000, scale="log"),
        NumberColumn("seats", 1, 500, whole=True, scale="log"),
        NumberColumn("logins in 30 days", 0, 1000, whole=True, scale="log"),
        NumberColumn("open cases", 0, 20, whole=True),
        NumberColumn("days since last contact", 0, 365, whole=True),
        NumberColumn("satisfaction score", 0, 10, whole=True),
        CategoryColumn("plan", PLANS),
        CategoryColumn("lead source", SOURCES),
        CategoryColumn("auto renewal", ("no", "yes")),
    )
)


@dataclass(frozen=True, slots=True)
class Organisation:
    """One invented organisation.

    Attributes:
        name: Its invented name.
        accounts: Number of accounts (units).
        base: Its own log-odds of churn.
        epsilon: Its privacy budget.
        mislabelled: Share of its labels that are wrong.
        without: Columns it does not have.
    """

    name: str
    accounts: int
    base: float
    epsilon: float
    mislabelled: float = 0.0
    without: tuple[str, ...] = ()


ORGANISATIONS = (
    Organisation("Alder Logistics", 8000, -1.6, 4.0),
    Organisation("Birch Software", 5200, -1.2, 8.0),
    Organisation("Cedar Health", 3400, -2.0, 1.0, without=("satisfaction score",)),
    Organisation("Dogwood Retail", 2300, -0.8, 4.0, mislabelled=0.05),
    Organisation("Elm Energy", 1500, -1.4, 2.0, without=("logins in 30 days",)),
    Organisation("Fir Finance", 1000, -1.8, 0.5),
    Organisation("Gingko Media", 600, -0.9, 8.0, mislabelled=0.15),
    Organisation("Hazel Travel", 320, -1.1, 4.0, without=("open cases", "lead source")),
    Organisation("Ivy Education", 160, -1.3, 2.0),
)


def invented_dataset(*, seed: int, scale: float) -> Dataset:
    """All nine organisations' tables; the same seed and scale give the same rows.

    Args:
        seed: Of the invented data alone; keys and noise are never seeded.
        scale: Multiplies every organisation's number of accounts.
    """
    streams = np.random.default_rng(seed).spawn(len(ORGANISATIONS))
    tables = {o.name: _table(o, stream, scale) for o, stream in zip(ORGANISATIONS, streams, strict=True)}
    return Dataset("nine invented organisations", "churn", tables)


def budgets() -> dict[str, float]:
    """ε of each organisation."""
    return {organisation.name: organisation.epsilon for organisation in ORGANISATIONS}


def _table(organisation: Organisation, stream: Generator, scale: float) -> FeatureTable:
    n = max(40, round(organisation.accounts * scale))
    numbers, codes = _numbers(n, stream), _codes(n, stream)
    chance = 1 / (1 + np.exp(-(_log_odds(numbers, codes) + organisation.base + _own(numbers, stream))))
    label = (stream.random(n) < chance).astype(np.int8)
    wrong = stream.random(n) < organisation.mislabelled
    label = np.where(wrong, 1 - label, label).astype(np.int8)
    _leave_gaps(organisation, numbers, codes, stream)
    ids = tuple(f"{organisation.name}/{i}" for i in range(n))
    return FeatureTable(SCHEMA, numbers, codes, label, np.arange(n + 1, dtype=np.int64), ids)


def _numbers(n: int, stream: Generator) -> NDArray[np.float64]:
    size = stream.normal(0, 1, n)
    seats = np.clip(np.exp(2.2 + 1.0 * size), 1, 500).round()
    columns = (
        np.clip(stream.gamma(2, 18, n), 0, 120).round(),
        np.clip(np.exp(5.5 + 1.0 * size + stream.normal(0, 0.5, n)), 0, 20000),
        seats,
        np.clip(seats * np.exp(stream.normal(0.8, 0.9, n)), 0, 1000).round(),
        np.clip(stream.poisson(1.2 + 0.3 * np.abs(size)), 0, 20).astype(float),
        np.clip(stream.exponential(45, n), 0, 365).round(),
        np.clip(stream.normal(7, 1.8, n), 0, 10).round(),
    )
    return np.column_stack(columns)


def _codes(n: int, stream: Generator) -> NDArray[np.int32]:
    plan = stream.choice(len(PLANS), n, p=[0.35, 0.3, 0.25, 0.1])
    source = stream.integers(0, len(SOURCES), n)
    renewal = stream.random(n) < 0.6
    return np.column_stack([plan, source, renewal]).astype(np.int32)


def _log_odds(numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Effects that all organisations share; few logins matter more for short tenures."""
    tenure, _, seats, logins, cases, silence, satisfaction = numbers.T
    idle = np.clip(1 - np.log1p(logins / seats) / 1.5, -1, 1)
    plan = np.array([0.4, 0.1, -0.2, -0.6])[codes[:, 0]]
    renewal = np.where(codes[:, 2] == 1, -0.5, 0.4)
    shared: NDArray[np.float64] = (
        -0.9 * np.tanh((tenure - 18) / 18) + 0.9 * idle + 0.22 * (cases - 1.2) - 0.28 * (satisfaction - 7)
    )
    shared += 0.5 * np.tanh((silence - 45) / 45) + plan + renewal + 0.8 * idle * (tenure < 12)
    return shared


def _own(numbers: NDArray[np.float64], stream: Generator) -> NDArray[np.float64]:
    """An organisation's own slopes on revenue and silence."""
    revenue, silence = np.log1p(numbers[:, 1]) - 5.5, numbers[:, 5] / 45 - 1
    return stream.normal(0, 0.25) * revenue + stream.normal(0, 0.15) * silence


def _leave_gaps(
    organisation: Organisation, numbers: NDArray[np.float64], codes: NDArray[np.int32], stream: Generator
) -> None:
    """Columns the organisation does not have, and three in a hundred values missing elsewhere."""
    numbers[stream.random(numbers.shape) < 0.03] = np.nan
    for index, number in enumerate(SCHEMA.numbers):
        if number.name in organisation.without:
            numbers[:, index] = np.nan
    for index, category in enumerate(SCHEMA.categories):
        if category.name in organisation.without:
            codes[:, index] = MISSING
