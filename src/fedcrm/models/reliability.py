"""Label reliability: whether an organisation's labels follow a released model as far as the model expects them to.

Each unit gives one bounded vector: a one in the cell of (its label, the reference model's log-odds), scores cut
at public edges around the model's base. From the noisy 2 × 8 counts follows the **agreement**

    r = Σ (y − ȳ)(s − s̄) / Σ (p − p̄)(s − s̄),    p = σ(s + α), α such that Σp = Σy,

how far the labels rise with the score, in units of what the model expects at the organisation's own base rate. So a
base rate of its own is explained away. r is 1 when the labels follow the model and at most 1 − 2f when a share f of
them is wrong at random. It is shrunk towards trust by its known standard deviation (measurement noise and sampling):
an organisation too small to be measured keeps its full weight.

Everything after the noisy counts is post-processing. Why the factor falls to 0 and is not r itself, which would weigh
the units by the information they still carry: wrong labels shift an organisation's base rate as well, so that whatever
is typical of its units looks like a cause. With 40 % wrong labels (r ≤ 0.2) a weight of 0 did better than ¼.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import Query, UnitRows
from fedcrm.models.units import unit_means

EDGES = np.array([-2.0, -0.9, -0.3, 0.0, 0.3, 0.9, 2.0])
"""Cell edges of the score in log-odds, around the model's base: fine enough for weak models, wide enough for strong."""
CENTRES = np.array([-2.6, -1.45, -0.6, -0.15, 0.15, 0.6, 1.45, 2.6])
"""The score each cell stands for."""
CELLS = len(CENTRES)
CLEAR = 3.0
"""Cells whose count is below this many standard deviations of its noise are left out."""
CONTRADICTED, FOLLOWED = 0.35, 0.5
"""Agreement up to which the factor is 0, and from which it is 1: where a third and a quarter of wrong labels put it.

Clean organisations differ in earnest (0.4 to 1.3 was seen), the more the weaker the model; a dead band down to a half
leaves them their say, and still finds 40 % wrong labels.
"""
_LEAST_SCALE = 1e-12
"""Expected rise of a label per unit below which it is rounding: all units lie in one cell."""
GRID = 4
"""Factors are multiples of 1/GRID."""
QUERY = Query("label reliability", 2 * CELLS, 1.0, 1.0, Bundle())
"""Dimension and norm: a unit's vector is the mean of its rows' indicators, so ‖v‖₂ ≤ 1."""


@runtime_checkable
class ReferenceModel(Protocol):
    """A released model that labels can be compared with."""

    @property
    def base(self) -> float:
        """Public log-odds that scores are centred by."""
        ...

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Score of each row, float64 [rows]."""
        ...


@dataclass(frozen=True, slots=True)
class Reference:
    """What labels are measured against, and what the measurement may cost.

    Attributes:
        model: The federation's last released model, or a pilot's.
        share: Share of the privacy loss a run may cost its participant that the measurement is charged, in (0, 1).
    """

    model: ReferenceModel
    share: float

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Each unit's cell indicator (mean over its rows), float64 [units, 2·CELLS], in unit order.

        Guarantee: a unit's vector does not change when any other unit's rows do.
        """
        del query
        scores = np.asarray(self.model.log_odds(rows), np.float64) - self.model.base
        cell = rows.label.astype(np.int64) * CELLS + np.searchsorted(EDGES, scores)
        identity = np.eye(2 * CELLS)
        return unit_means(lambda start, end: identity[cell[start:end]], rows.offsets, 2 * CELLS)


@dataclass(frozen=True, slots=True, repr=False)
class Agreement:
    """How far labels follow a model; its owner's secret.

    Attributes:
        slope: r; 1 when they follow it.
        sd: Its standard deviation; infinite when nothing could be measured.
    """

    slope: float
    sd: float


NOTHING = Agreement(1.0, math.inf)


def read_agreement(counts: NDArray[np.float64], *, noise_sd: float) -> Agreement:
    """Agreement from noisy counts.

    Args:
        counts: float64 [2·CELLS], cells of label 0 first.
        noise_sd: Standard deviation of the noise in each count.
    """
    pairs = np.asarray(counts, np.float64).reshape(2, CELLS)
    totals = pairs.sum(axis=0)
    clear = totals > CLEAR * noise_sd * math.sqrt(2.0)
    if np.count_nonzero(clear) < 2:
        return NOTHING
    units, positives, score = totals[clear], pairs[1, clear], CENTRES[clear]
    total = float(units.sum())
    edge = min(0.5, max(2.0, noise_sd) / total)
    rate = float(np.clip(positives.sum() / total, edge, 1.0 - edge))
    expected = _expected(units, score, rate)
    around = score - float(units @ score) / total
    scale = float((units * expected) @ around)
    if scale <= _LEAST_SCALE * total:
        return NOTHING
    slope = float((positives - units * rate) @ around) / scale
    follows = rate + min(1.0, max(0.0, slope)) * (expected - rate)
    noise = noise_sd**2 * float((follows**2 + (1.0 - follows) ** 2) @ around**2)
    sampling = float((units * follows * (1.0 - follows)) @ around**2)
    return Agreement(slope, math.sqrt(noise + sampling) / scale)


def _expected(units: NDArray[np.float64], score: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Probability of label 1 in each cell, the intercept moved so that their mean is `rate`."""
    share = units / units.sum()
    intercept = brentq(lambda shift: float(share @ expit(score + shift)) - rate, -60.0, 60.0)
    return np.asarray(expit(score + intercept))


def factor(agreement: Agreement) -> float:
    """The organisation-level factor: a ramp over what is believed of r, rounded to the public grid of 1/GRID.

    One standard deviation is given in the organisation's favour, then CONTRADICTED … FOLLOWED is mapped to 0 … 1.

    Guarantee: 1 when nothing could be measured.
    """
    if not math.isfinite(agreement.sd):
        return 1.0
    believed = agreement.slope + agreement.sd
    ramp = min(1.0, max(0.0, (believed - CONTRADICTED) / (FOLLOWED - CONTRADICTED)))
    return math.floor(ramp * GRID + 0.5) / GRID
