"""Logistic regression and boosted trees without privacy, for comparison only. They never see a held-out row.

Training rows with fewer than two of either class give the base rate, so no organisation is too small.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from fedcrm.features.columns import CategoryColumn, FeatureSchema
from fedcrm.features.table import MISSING, FeatureTable

_DENSE_CELLS = 300
_TREE_LEVELS = 250
_FEW = 10
"""Rows of the rarer class below which early stopping has nothing to judge by."""
_KNOWN = 20
"""Known values below which a column is left out of the trees: binning fails on a column that is empty in a subset."""


class PlainModel(Protocol):
    """A fitted model."""

    def predict(self, rows: FeatureTable) -> NDArray[np.float64]:
        """Probability of label 1, float64 [rows]."""
        ...


Fit: TypeAlias = Callable[[FeatureTable, int], PlainModel]
"""Training rows and a seed give a model."""


@dataclass(frozen=True, slots=True)
class BaseRate:
    """The same probability for every row."""

    probability: float

    @classmethod
    def of(cls, label: NDArray[np.int8]) -> BaseRate:
        """Share of positives, with half a row of each class added; ½ on no rows."""
        return cls((float(label.sum()) + 0.5) / (label.size + 1))

    def predict(self, rows: FeatureTable) -> NDArray[np.float64]:
        """The base rate for each row."""
        return np.full(rows.rows, self.probability)


def learnable(label: NDArray[np.int8]) -> bool:
    """Whether there are at least two rows of each class."""
    return min(int(label.sum()), int(label.size - label.sum())) > 1


def pool(tables: Mapping[str, FeatureTable]) -> FeatureTable:
    """All organisations' rows in one table, in the order of the mapping."""
    parts = list(tables.values())
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return FeatureTable(
        parts[0].schema,
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        tuple(unit for part in parts for unit in part.unit_ids),
    )


def with_organisation(table: FeatureTable, organisation: str, names: tuple[str, ...]) -> FeatureTable:
    """The table with its organisation as one more category."""
    code = np.full((table.rows, 1), names.index(organisation), dtype=np.int32)
    schema = FeatureSchema((*table.schema.columns, CategoryColumn("org", names)))
    codes = np.hstack([table.codes, code])
    return FeatureTable(schema, table.numbers, codes, table.label, table.offsets, table.unit_ids)


@dataclass(frozen=True, slots=True, repr=False)
class _Cells:
    """One-hot categories and standardised numbers with a missing indicator, fixed on training rows."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    logarithmic: NDArray[np.bool_]
    levels: tuple[int, ...]

    @classmethod
    def of(cls, table: FeatureTable) -> _Cells:
        logarithmic = np.array([c.scale == "log" for c in table.schema.numbers], dtype=np.bool_)
        numbers = np.ma.masked_invalid(_stretch(table.numbers, logarithmic))
        centre = np.ma.filled(numbers.mean(axis=0), 0.0).astype(np.float64)
        spread = np.ma.filled(numbers.std(axis=0), 1.0).astype(np.float64)
        levels = tuple(c.levels for c in table.schema.categories)
        return cls(centre, np.where(spread > 0, spread, 1.0), logarithmic, levels)

    def matrix(self, table: FeatureTable) -> Any:  # noqa: ANN401 (dense or sparse)
        missing = np.isnan(table.numbers)
        scaled = (_stretch(table.numbers, self.logarithmic) - self.centre) / self.spread
        scaled = np.clip(np.where(missing, 0.0, scaled), -5, 5)
        blocks = [scaled, missing.astype(np.float64)]
        if sum(self.levels) + 2 * len(self.levels) > _DENSE_CELLS:
            return sparse.hstack([sparse.csr_matrix(b) for b in blocks] + self._one_hot(table), format="csr")
        return np.hstack([*blocks, *(block.toarray() for block in self._one_hot(table))])

    def _one_hot(self, table: FeatureTable) -> list[Any]:
        rows, ones = np.arange(table.rows), np.ones(table.rows)
        return [
            sparse.csr_matrix((ones, (rows, table.codes[:, at] - MISSING)), shape=(table.rows, levels + 2))
            for at, levels in enumerate(self.levels)
        ]


def _stretch(numbers: NDArray[np.float64], logarithmic: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(logarithmic, np.sign(numbers) * np.log1p(np.abs(numbers)), numbers)


@dataclass(frozen=True, slots=True, repr=False)
class _Logistic:
    cells: _Cells
    fitted: Any

    def predict(self, rows: FeatureTable) -> NDArray[np.float64]:
        if rows.rows == 0:
            return np.empty(0)
        return np.asarray(self.fitted.predict_proba(self.cells.matrix(rows))[:, 1], dtype=np.float64)


def fit_logistic(table: FeatureTable, seed: int, *, strength: float) -> PlainModel:
    """Ridge logistic regression; `strength` is scikit-learn's C (larger is less regularised)."""
    if not learnable(table.label):
        return BaseRate.of(table.label)
    cells = _Cells.of(table)
    model = LogisticRegression(C=strength, max_iter=300, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _Logistic(cells, model.fit(cells.matrix(table), table.label))


@dataclass(frozen=True, slots=True, repr=False)
class _Boosted:
    edges: tuple[NDArray[np.float64], ...] | None
    folded: tuple[NDArray[np.int64], ...]
    known: NDArray[np.bool_]
    fitted: Any

    def predict(self, rows: FeatureTable) -> NDArray[np.float64]:
        if rows.rows == 0:
            return np.empty(0)
        matrix = _tree_matrix(rows, self.edges, self.folded)[:, self.known]
        return np.asarray(self.fitted.predict_proba(matrix)[:, 1], dtype=np.float64)


def fit_boosted(table: FeatureTable, seed: int, *, bins: int | None = None) -> PlainModel:
    """scikit-learn's histogram gradient boosting: 200 iterations, learning rate .06, early stopping.

    Args:
        table: Training rows.
        seed: Of the rows set aside for early stopping.
        bins: Quantile bins of each number, or None for the numbers as they are.
    """
    if not learnable(table.label):
        return BaseRate.of(table.label)
    edges = None if bins is None else tuple(_edges(column, bins) for column in table.numbers.T)
    folded = tuple(_kept_levels(codes) for codes in table.codes.T)
    matrix = _tree_matrix(table, edges, folded)
    known = np.isfinite(matrix).sum(axis=0) >= _KNOWN
    if not known.any():
        return BaseRate.of(table.label)
    positives = int(table.label.sum())
    categorical = np.repeat([False, True], [table.numbers.shape[1], table.codes.shape[1]])
    model = HistGradientBoostingClassifier(
        max_iter=200,
        learning_rate=0.06,
        early_stopping=min(positives, table.rows - positives) >= _FEW,
        categorical_features=categorical[known],
        random_state=seed,
    )
    return _Boosted(edges, folded, known, model.fit(matrix[:, known], table.label))


def _edges(column: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    known = column[~np.isnan(column)]
    return np.unique(np.quantile(known, np.arange(1, bins) / bins)) if known.size else np.empty(0)


def _kept_levels(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """The most frequent codes, as many as the trees can tell apart."""
    values, counts = np.unique(codes[codes != MISSING], return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[:_TREE_LEVELS]]).astype(np.int64)


def _tree_matrix(
    table: FeatureTable, edges: tuple[NDArray[np.float64], ...] | None, folded: tuple[NDArray[np.int64], ...]
) -> NDArray[np.float64]:
    numbers = table.numbers
    if edges is not None:
        binned = [np.where(np.isnan(c), np.nan, np.searchsorted(e, c)) for c, e in zip(numbers.T, edges, strict=True)]
        numbers = np.column_stack(binned) if binned else numbers
    codes = [_level_numbers(c, kept) for c, kept in zip(table.codes.T, folded, strict=True)]
    return np.hstack([numbers, np.column_stack(codes)]) if codes else numbers


def _level_numbers(codes: NDArray[np.int32], kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """Position among the kept levels; a rarer or unseen level is missing."""
    place = np.searchsorted(kept, codes)
    found = np.zeros(codes.shape, dtype=np.bool_)
    inside = place < kept.size
    found[inside] = kept[place[inside]] == codes[inside]
    return np.where(found, place, np.nan)
