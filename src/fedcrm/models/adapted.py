"""An adapted model: the global model's linear form, the organisation's own one and small trees, added up in log-odds.

Every part keeps the fits that left a fold of the organisation's rows out: their spread says how sure a reason is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from fedcrm.models.boosting import Trees
from fedcrm.models.learner import Explanation, Reason, UnitRows
from fedcrm.models.own_columns import OwnBasis, TreeColumns

PATTERN = "the organisation's own pattern"
"""Reason that stands for what trees add."""
UNITS_AT_ONCE = 1 << 13
_EXTREME = 30.0


class GlobalModel(Protocol):
    """What adaptation needs of a released model: a score linear in a design, and what is known of its coefficients."""

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the parts a score is made of, base left out."""
        ...

    @property
    def component_of(self) -> NDArray[np.int64]:
        """Component of each coefficient, base left out, int64 [D]."""
        ...

    @property
    def mean(self) -> NDArray[np.float64]:
        """Posterior mean, base first, float64 [1 + D]."""
        ...

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Posterior covariance, the noise of the releases included, base first, float64 [1 + D, 1 + D]."""
        ...

    @property
    def prior_variance(self) -> NDArray[np.float64]:
        """Learnt prior variance of each coefficient, base left out, float64 [D]."""
        ...

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Score of each row, float64 [rows]."""
        ...

    def design(self, rows: UnitRows) -> NDArray[np.float64]:
        """[1, φ] of each row, float64 [rows, 1 + D]; `design(rows) @ mean` is `log_odds(rows)`."""
        ...

    def explain(self, rows: UnitRows) -> list[Explanation]:
        """For each row, what each component adds to the log-odds."""
        ...


def by_component(values: NDArray[np.float64], component_of: NDArray[np.int64], components: int) -> NDArray[np.float64]:
    """Sums of coordinates over components, float64 [rows, components], from float64 [rows, D]."""
    size = component_of.shape[0]
    member = sparse.csr_matrix((np.ones(size), (np.arange(size), component_of)), shape=(size, components))
    return np.asarray(values @ member)


@dataclass(frozen=True, slots=True, repr=False)
class OwnPart:
    """A linear score in the organisation's own basis.

    Attributes:
        basis: Its functions.
        coefficients: Of each fit, base first, float64 [fits, 1 + D]; the last one counts.
    """

    basis: OwnBasis
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class TreePart:
    """A share of an ensemble; its score is the mean over folds' trees, times the weight.

    Attributes:
        weight: The share.
        columns: How its columns are binned.
        shown: Components of the global model whose contributions its trees see beside the organisation's columns,
            int64 [components]; the global score comes first, unless nothing is shown.
        trees: Of each fold, grown on the others.
    """

    weight: float
    columns: TreeColumns
    shown: NDArray[np.int64]
    trees: Trees

    def scores(self, rows: UnitRows, contributions: NDArray[np.float64], base: float) -> NDArray[np.float64]:
        """Score by each fold's trees, float64 [folds, rows]; `contributions` are the global model's parts."""
        numbers = tree_numbers(rows, contributions, base, self.shown)
        return self.weight * self.trees.scores(self.columns.locate(numbers, rows.codes).bins)


def tree_numbers(
    rows: UnitRows, contributions: NDArray[np.float64], base: float, shown: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Numbers trees see: the rows' own, then the global score and some of its parts, float64 [rows, columns]."""
    if shown.shape[0] == 0:
        return rows.numbers
    score = base + contributions.sum(axis=1)
    return np.column_stack([rows.numbers, score, contributions[:, shown]])


@dataclass(frozen=True, slots=True, repr=False)
class _Parts:
    """Rows taken apart: base [rows], reasons [rows, names], and the reasons' spread over fits [rows, names]."""

    base: NDArray[np.float64]
    reasons: NDArray[np.float64]
    spread: NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class AdaptedModel:
    """A global model as one organisation uses it.

    Attributes:
        model: The global model.
        coefficients: For `model.design`, of each fit, float64 [fits, 1 + D]; the last one counts.
        own: The organisation's own linear score, weight included; None where it takes no part.
        trees: Tree ensembles that take part.
        weights: Share of each candidate in the score; they sum to 1.
    """

    model: GlobalModel
    coefficients: NDArray[np.float64]
    own: OwnPart | None
    trees: tuple[TreePart, ...]
    weights: Mapping[str, float]

    def __repr__(self) -> str:
        return f"AdaptedModel({len(self.weights)} candidates take part)"

    def predict(self, rows: UnitRows) -> NDArray[np.float64]:
        """Probability of label 1 for each row, float64 [rows], always finite and inside (0, 1).

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        return np.asarray(expit(np.clip(self.log_odds(rows), -_EXTREME, _EXTREME)))

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Score of each row, float64 [rows].

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        return np.concatenate([np.zeros(0), *(p.base + p.reasons.sum(axis=1) for p in self._parts(rows, (-1,)))])

    def explain(self, rows: UnitRows) -> list[Explanation]:
        """For each row, what each component adds to the log-odds; base and reasons, added in order, are the score.

        A reason's standard deviation joins what the global model says of its part and the jackknife over folds.

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        told: list[Explanation] = []
        names = (*self._linear_names, *((PATTERN,) if self.trees else ()))
        known = iter(self.model.explain(rows))
        for parts in self._parts(rows, range(self.coefficients.shape[0])):
            for base, reasons, spread in zip(parts.base.tolist(), parts.reasons, parts.spread, strict=True):
                told.append(_explanation(base, names, reasons, spread, next(known)))
        return told

    def summary(self) -> str:
        """What was chosen, in one line."""
        shown = sorted(self.weights.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {weight:.0%}" for name, weight in shown)

    @property
    def _linear_names(self) -> tuple[str, ...]:
        """The global model's components, then columns of the own score it has no component for."""
        columns = () if self.own is None else self.own.basis.cells.schema.columns
        known = set(self.model.components)
        return (*self.model.components, *(c.name for c in columns if c.name not in known))

    def _parts(self, rows: UnitRows, fits: range | tuple[int, ...]) -> Iterator[_Parts]:
        units = rows.offsets.shape[0] - 1
        if units == 0:
            self.model.log_odds(rows)
            return
        for start in range(0, units, UNITS_AT_ONCE):
            some = np.arange(start, min(start + UNITS_AT_ONCE, units))
            yield self._take_apart(rows.take_units(some), fits)

    def _take_apart(self, rows: UnitRows, fits: range | tuple[int, ...]) -> _Parts:
        design = self.model.design(rows)
        own = None if self.own is None else self.own.basis.design(rows)
        found = [self._one_fit(design, own, fit) for fit in fits]
        base, reasons = found[-1]
        others = np.array([other for _, other in found[:-1]]).reshape(-1, *reasons.shape)
        if self.trees:
            pattern = self._patterns(rows, design)
            reasons = np.column_stack([reasons, pattern.mean(axis=0)])
            others = np.concatenate([others, pattern[: others.shape[0], :, None]], axis=2)
        return _Parts(base, reasons, _jackknife(others))

    def _one_fit(
        self, design: NDArray[np.float64], own: NDArray[np.float64] | None, fit: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Base [rows] and linear reasons [rows, linear names] of one fit."""
        names, linear = self._linear_names, self.coefficients[fit]
        reasons = by_component(design[:, 1:] * linear[1:], self.model.component_of, len(names))
        base = np.full(design.shape[0], linear[0])
        if self.own is not None and own is not None:
            coefficients, basis = self.own.coefficients[fit], self.own.basis
            place = np.array([names.index(column.name) for column in basis.cells.schema.columns], dtype=np.int64)
            reasons += by_component(own[:, 1:] * coefficients[1:], place[basis.basis.column_of], len(names))
            base += coefficients[0]
        return base, reasons

    def _patterns(self, rows: UnitRows, design: NDArray[np.float64]) -> NDArray[np.float64]:
        """What trees add in each fit, float64 [folds, rows]."""
        mean = self.model.mean
        contributions = by_component(design[:, 1:] * mean[1:], self.model.component_of, len(self.model.components))
        scores = [part.scores(rows, contributions, float(mean[0])) for part in self.trees]
        return np.asarray(np.sum(scores, axis=0))


def _jackknife(fits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of what all fits estimate, from fits that each left a fold out, float64 [folds, …]."""
    if fits.shape[0] < 2:
        return np.zeros(fits.shape[1:])
    return np.asarray(fits.std(axis=0) * np.sqrt(fits.shape[0] - 1))


def _explanation(
    base: float,
    names: tuple[str, ...],
    reasons: NDArray[np.float64],
    spread: NDArray[np.float64],
    known: Explanation,
) -> Explanation:
    stated = {reason.feature: reason.sd for reason in known.reasons}
    entries = [
        Reason(name, contribution, float(np.hypot(sd, stated.get(name, 0.0))))
        for name, contribution, sd in zip(names, reasons.tolist(), spread.tolist(), strict=True)
    ]
    ordered = tuple(sorted(entries, key=lambda reason: -abs(reason.contribution)))
    return Explanation(base, ordered, sum((r.contribution for r in ordered), base))
