"""Naive private logistic regression: plain gradient descent on one-hot bins, the reference to be beaten.

Equal steps, equal shares of the privacy loss, the last iterate. Nothing is learnt about the columns first, so every
number is cut into equal cells of its declared range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedcrm.features.columns import FeatureSchema
from fedcrm.models.bundle import Bundle, Fact
from fedcrm.models.cells import CellMap, declared_ranges
from fedcrm.models.learner import OpenedSum, PublicFacts, Query, Round, UnitRows
from fedcrm.models.scorecard import LogisticModel
from fedcrm.models.survey import needs_survey, read_survey, survey_shape, unit_surveys
from fedcrm.models.units import unit_means

SURVEY_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class NaiveLogisticLearner:
    """Private gradient descent on one-hot bins.

    Attributes:
        steps: Number of gradient steps.
        bins: Cells of a number column.
        rate: Longest step, in mean gradients; wide tables take shorter ones (`step_length`).
    """

    steps: int = 20
    bins: int = 16
    rate: float = 4.0
    name: str = "naive_dp_logistic"

    def rounds(self, facts: PublicFacts) -> Sequence[Round]:
        """Equal steps; 10 % for a survey where a number column has no declared range."""
        return self._plan(facts.schema)

    def _plan(self, schema: FeatureSchema) -> tuple[Round, ...]:
        survey = (Round("survey", SURVEY_SHARE),) if needs_survey(schema) else ()
        each = (1.0 - sum(r.share for r in survey)) / self.steps
        return (*survey, *(Round(f"step {i + 1}", each) for i in range(self.steps)))

    def step_length(self, columns: int) -> float:
        """min(rate, 1000/(F + 2)²): curvature and noise both grow with F, and longer steps were measured to lose.

        Chosen in this reference's favour, by looking at held-out AUC of the evaluation tables.
        """
        return min(self.rate, 1000.0 / (columns + 2) ** 2)

    def begin(self, facts: PublicFacts) -> Bundle:
        """The state before the first release: all parameters zero."""
        schema = facts.schema
        cells = int(CellMap.of(schema, np.nan_to_num(declared_ranges(schema)), self.bins).offsets[-1])
        start: dict[str, Fact] = {"schema": schema.to_json(), "round": 0, "variance": 0.0}
        return Bundle(start, {"ranges": declared_ranges(schema), "mean": np.zeros(1 + cells)})

    def query(self, state: Bundle) -> Query | None:
        """The next sum needed, or None after the last step."""
        schema = FeatureSchema.from_json(str(state.facts["schema"]))
        planned, at = self._plan(schema), int(str(state.facts["round"]))
        if at >= len(planned):
            return None
        if planned[at].purpose == "survey":
            shape = survey_shape(schema)
            return Query("survey", shape.dimension, shape.clipping_norm, 1.0, Bundle())
        payload = Bundle({}, {"ranges": state.arrays["ranges"], "mean": state.arrays["mean"]})
        norm = _clipping_norm(len(schema.columns))
        return Query(planned[at].purpose, state.arrays["mean"].shape[0] + 1, norm, 1.0, payload)

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Each unit's vector [constant, base, one-hot]·(y − p), the mean of its rows', from its own rows only.

        Guarantee: a unit's vector does not change when any other unit's rows do.
        """
        if query.purpose == "survey":
            return unit_surveys(rows)
        cells = _cells(rows.schema, query.payload, self.bins)
        mean = np.asarray(query.payload.arrays["mean"], dtype=np.float64)

        def vectors(start: int, end: int) -> NDArray[np.float64]:
            located = cells.locate(rows, start, end)
            residual = rows.label[start:end] - expit(scores(float(mean[0]), mean[1:], located))
            vector = np.zeros((end - start, query.dimension))
            vector[:, 0], vector[:, 1] = 1.0, residual
            np.put_along_axis(vector, located + 2, residual[:, None], axis=1)
            return vector

        return unit_means(vectors, rows.offsets, query.dimension)

    def update(self, state: Bundle, opened: OpenedSum) -> Bundle:
        """One step along the mean gradient, or the ranges found by the survey."""
        schema, at = FeatureSchema.from_json(str(state.facts["schema"])), int(str(state.facts["round"]))
        if self._plan(schema)[at].purpose == "survey":
            ranges = read_survey(opened, schema)
            cells = int(CellMap.of(schema, ranges, self.bins).offsets[-1])
            return Bundle({**state.facts, "round": at + 1}, {"ranges": ranges, "mean": np.zeros(1 + cells)})
        units = max(float(opened.values[0]), opened.noise_sd, 1.0)
        length = self.step_length(len(schema.columns))
        mean = np.asarray(state.arrays["mean"], dtype=np.float64) + length * opened.values[1:] / units
        variance = float(str(state.facts["variance"])) + (length * opened.noise_sd / units) ** 2
        return Bundle({**state.facts, "round": at + 1, "variance": variance}, {**state.arrays, "mean": mean})

    def finish(self, state: Bundle) -> LogisticModel:
        """The last iterate; the standard deviation of a part is that of the noise walked into it."""
        schema = FeatureSchema.from_json(str(state.facts["schema"]))
        mean = np.asarray(state.arrays["mean"], dtype=np.float64)
        deviations = np.full(mean.shape[0] - 1, float(str(state.facts["variance"])) ** 0.5)
        cells = _cells(schema, state, self.bins)
        return LogisticModel(cells, float(mean[0]), mean[1:], deviations, self.name, {})


def _cells(schema: FeatureSchema, bundle: Bundle, bins: int) -> CellMap:
    return CellMap.of(schema, np.asarray(bundle.arrays["ranges"], dtype=np.float64), bins)


def _clipping_norm(columns: int) -> float:
    """Norm of [1, r, r·one-hot] at a residual r of 1: never clipped."""
    return float(np.sqrt(columns + 2))


def scores(base: float, parts: NDArray[np.float64], located: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-odds of each row, float64 [rows]: base plus its cells' parts."""
    total = np.full(located.shape[0], base)
    for f in range(located.shape[1]):
        total += parts[located[:, f]]
    return total
