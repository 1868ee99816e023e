"""The released model as a scorecard, in log-odds: a base, points per cell of each column, what pairs of columns add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import expit

from fedcrm.errors import InputError, SchemaMismatch
from fedcrm.features.columns import FeatureSchema
from fedcrm.models.bundle import Array, Bundle, Fact
from fedcrm.models.cells import CellMap
from fedcrm.models.design import Design
from fedcrm.models.learner import Explanation, Reason, UnitRows
from fedcrm.models.pairs import Pairs, pair_parts

_EXTREME = 30.0


@dataclass(frozen=True, slots=True, repr=False)
class LogisticModel:
    """A logistic model that is additive over columns and pairs of columns.

    Attributes:
        cells: Public cells of every column.
        base: Log-odds of a row whose parts are all zero.
        parts: What each cell adds, in log-odds, float64 [cells of all columns].
        deviations: Standard deviation of each cell's part, float64 [cells of all columns].
        kind: The learner that made it.
        extras: Further arrays of the learner, kept with the model (coefficients, their covariance, basis and pairs).
    """

    cells: CellMap
    base: float
    parts: NDArray[np.float64]
    deviations: NDArray[np.float64]
    kind: str
    extras: Mapping[str, Array]

    def __repr__(self) -> str:
        return f"LogisticModel(columns={len(self.cells.schema.columns)}, cells={self.parts.shape[0]})"

    def predict(self, rows: UnitRows) -> NDArray[np.float64]:
        """Probability of label 1 for each row, float64 [rows], always finite and inside (0, 1).

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        return np.asarray(expit(np.clip(self.log_odds(rows), -_EXTREME, _EXTREME)))

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Score of each row, float64 [rows].

        Guarantee: to the last bit from the row alone, as labels are counted by where it lies (a BLAS product is not).

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        self._check(rows)
        pieces = [self._scores(located) for located in self.cells.batches(rows)]
        return np.concatenate([np.zeros(0), *pieces])

    def _scores(self, located: NDArray[np.int64]) -> NDArray[np.float64]:
        total = np.full(located.shape[0], self.base)
        for f in range(located.shape[1]):
            total += self.parts[located[:, f]]
        design = self._design
        if design is None or not design.pairs.number:
            return total
        phi = design.basis.expand(located, self.cells.offsets)
        products = design.pairs.expand(phi)
        return np.asarray(total + np.einsum("rk,k->r", products, self.mean[-design.pairs.number :]))

    def design(self, rows: UnitRows) -> NDArray[np.float64]:
        """[1, φ] of each row, float64 [rows, 1 + D]; `design(rows) @ mean` is `log_odds(rows)`.

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        self._check(rows)
        offsets, design = self.cells.offsets, Design.from_arrays(self.extras)
        pieces = [design.expand(located, offsets) for located in self.cells.batches(rows)]
        values = np.vstack([np.empty((0, self.mean.shape[0] - 1)), *pieces])
        return np.hstack([np.ones((values.shape[0], 1)), values])

    @property
    def mean(self) -> NDArray[np.float64]:
        """Posterior mean, base first, float64 [1 + D]."""
        return np.asarray(self.extras["mean"], dtype=np.float64)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Posterior covariance, the noise of the releases included, base first, float64 [1 + D, 1 + D]."""
        return np.asarray(self.extras["covariance"], dtype=np.float64)

    @property
    def prior_variance(self) -> NDArray[np.float64]:
        """Learnt prior variance of each coefficient, base left out, float64 [D]."""
        return np.asarray(self.extras["group_variance"], dtype=np.float64)[self.component_of]

    @property
    def second_moment(self) -> NDArray[np.float64]:
        """E[φφᵀ] of a row's functions as the learner knows it, those of pairs by Isserlis' formula, float64 [D, D]."""
        columns, pairs = np.asarray(self.extras["moment"], dtype=np.float64), Pairs.from_arrays(self.extras)
        return np.asarray(scipy.linalg.block_diag(columns, pairs.second_moment(columns)) if pairs.number else columns)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the parts a score is made of, base left out: columns, then pairs."""
        names = tuple(column.name for column in self.cells.schema.columns)
        pairs = Pairs.from_arrays(self.extras).columns.tolist()
        return names + tuple(f"{names[f]} × {names[g]}" for f, g in pairs)

    @property
    def component_of(self) -> NDArray[np.int64]:
        """Component of each coefficient, base left out, int64 [D]."""
        return Design.from_arrays(self.extras).component_of

    @property
    def _design(self) -> Design | None:
        """Functions of columns and pairs; None for a learner that has points only."""
        return Design.from_arrays(self.extras) if "basis.bins" in self.extras else None

    def explain(self, rows: UnitRows) -> list[Explanation]:
        """For each row, what each column and each pair adds to the log-odds, with its standard deviation.

        Base and reasons, added in order, are the score.

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        self._check(rows)
        names = self.components
        return [told for located in self.cells.batches(rows) for told in self._explained(names, located)]

    def _explained(self, names: tuple[str, ...], located: NDArray[np.int64]) -> Iterator[Explanation]:
        adds, deviations = self.parts[located], self.deviations[located]
        design = self._design
        if design is not None and design.pairs.number:
            products = design.pairs.expand(design.basis.expand(located, self.cells.offsets))
            more = pair_parts(products, self.mean, self.covariance, design.pairs)
            adds, deviations = np.hstack([adds, more[0]]), np.hstack([deviations, more[1]])
        for row in zip(adds.tolist(), deviations.tolist(), strict=True):
            reasons = sorted(map(Reason, names, *row), key=lambda reason: -abs(reason.contribution))
            yield Explanation(self.base, tuple(reasons), sum((r.contribution for r in reasons), self.base))

    def _check(self, rows: UnitRows) -> None:
        if rows.schema != self.cells.schema:
            raise SchemaMismatch(
                f"rows with {len(rows.schema.columns)} columns do not have the model's "
                f"{len(self.cells.schema.columns)} (names, kinds, ranges and values must agree)",
                why="a score over other columns would be a number without meaning",
                fix="build the rows with the schema the model was trained with",
            )

    def to_bundle(self) -> Bundle:
        """The whole model as plain facts and arrays; `from_bundle` reads it back."""
        facts: dict[str, Fact] = {
            "kind": self.kind,
            "schema": self.cells.schema.to_json(),
            "base": self.base,
            "grid": self.cells.most,
        }
        named: dict[str, Array] = {"ranges": self.cells.ranges, "parts": self.parts, "deviations": self.deviations}
        return Bundle(facts, named | dict(self.extras))

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> LogisticModel:
        """Read what `to_bundle` wrote.

        Raises:
            InputError: when the bundle is not such a model.
        """
        try:
            return cls._read(bundle)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"the bundle is not an additive logistic model ({type(error).__name__})",
                why="a model that cannot be read whole must not score anyone",
                fix="fetch the released model again",
            ) from error

    @classmethod
    def _read(cls, bundle: Bundle) -> LogisticModel:
        facts, arrays = bundle.facts, dict(bundle.arrays)
        ranges = np.asarray(arrays.pop("ranges"), dtype=np.float64).reshape(-1, 2)
        cells = CellMap.of(FeatureSchema.from_json(str(facts["schema"])), ranges, int(str(facts["grid"])))
        parts = np.asarray(arrays.pop("parts"), dtype=np.float64)
        deviations = np.asarray(arrays.pop("deviations"), dtype=np.float64)
        if not parts.shape == deviations.shape == (int(cells.offsets[-1]),):
            raise ValueError("parts do not fit the cells")
        return cls(cells, float(str(facts["base"])), parts, deviations, str(facts["kind"]), arrays)
