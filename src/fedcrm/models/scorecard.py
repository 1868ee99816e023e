"""The released additive model as a scorecard: a base and points per cell of each column, in log-odds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedcrm.errors import InputError, SchemaMismatch
from fedcrm.features.columns import FeatureSchema
from fedcrm.models.basis import AdditiveBasis
from fedcrm.models.bundle import Array, Bundle, Fact
from fedcrm.models.cells import CellMap
from fedcrm.models.gradient import scores
from fedcrm.models.learner import Explanation, Reason, UnitRows

_EXTREME = 30.0


@dataclass(frozen=True, slots=True, repr=False)
class LogisticModel:
    """A logistic model that is additive over columns.

    Attributes:
        cells: Public cells of every column.
        base: Log-odds of a row whose parts are all zero.
        parts: What each cell adds, in log-odds, float64 [cells of all columns].
        deviations: Standard deviation of each cell's part, float64 [cells of all columns].
        kind: The learner that made it.
        extras: Further arrays of the learner, kept with the model (coefficients, their covariance, the basis).
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

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        self._check(rows)
        pieces = [scores(self.base, self.parts, located) for located in self.cells.batches(rows)]
        return np.concatenate([np.zeros(0), *pieces])

    def design(self, rows: UnitRows) -> NDArray[np.float64]:
        """[1, φ] of each row, float64 [rows, 1 + D]; `design(rows) @ mean` is `log_odds(rows)`.

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        self._check(rows)
        basis, offsets = self._basis, self.cells.offsets
        pieces = [basis.expand(located, offsets) for located in self.cells.batches(rows)]
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
    def components(self) -> tuple[str, ...]:
        """Names of the parts a score is made of, base left out."""
        return tuple(column.name for column in self.cells.schema.columns)

    @property
    def component_of(self) -> NDArray[np.int64]:
        """Component of each coefficient, base left out, int64 [D]."""
        return self._basis.column_of

    @property
    def _basis(self) -> AdditiveBasis:
        return AdditiveBasis.from_arrays(self.extras)

    def explain(self, rows: UnitRows) -> list[Explanation]:
        """For each row, what each column adds to the log-odds; base and reasons, added in order, are the score.

        Raises:
            SchemaMismatch: when the rows have other columns than the model.
        """
        self._check(rows)
        names = [column.name for column in self.cells.schema.columns]
        return [self._explain(names, row) for located in self.cells.batches(rows) for row in located]

    def _explain(self, names: list[str], located: NDArray[np.int64]) -> Explanation:
        entries = zip(names, self.parts[located].tolist(), self.deviations[located].tolist(), strict=True)
        reasons = sorted((Reason(*entry) for entry in entries), key=lambda reason: -abs(reason.contribution))
        return Explanation(self.base, tuple(reasons), sum((r.contribution for r in reasons), self.base))

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
