"""The additive logistic learner: histograms, one second moment, then gradients, all of them used.

Every release is a measurement with known noise of one Bayesian model; the parameters are its posterior mean. After
the releases everything is post-processing of noisy sums and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import FeatureSchema
from fedcrm.models.basis import AdditiveBasis, build_basis
from fedcrm.models.bundle import Array, Bundle
from fedcrm.models.cells import GRID_CELLS, CellMap, declared_ranges
from fedcrm.models.gradient import ROW_BOUND, GradientShape, read_gradient, unit_gradients
from fedcrm.models.histogram import HistogramShape, read_counts, unit_histograms
from fedcrm.models.learner import OpenedSum, PublicFacts, Query, Round, UnitRows
from fedcrm.models.moment import MomentShape, read_moment, unit_moments
from fedcrm.models.posterior import PRIOR_VARIANCE, Measurements, infer
from fedcrm.models.scorecard import LogisticModel
from fedcrm.models.survey import needs_survey, read_survey, survey_shape, unit_surveys

CURVATURE_NOISE = 0.5
"""Share of the second moment's noise that a re-linearised gradient is charged for."""
LINEARISATIONS = 2
"""How often the past gradients are re-linearised to the newest parameters after each release."""
SURVEY_SHARE, HISTOGRAM_SHARE, MOMENT_SHARE = 0.10, 0.05, 0.12


def plan(schema: FeatureSchema, gradients: int) -> tuple[Round, ...]:
    """All releases and their shares of the privacy loss, from the public columns alone.

    A survey (10 %) only where a number column has no declared range; of the rest 5 % for the histogram, 12 % for the
    second moment, and the gradients share what remains equally.
    """
    survey = [Round("survey", SURVEY_SHARE)] if needs_survey(schema) else []
    left = 1.0 - sum(r.share for r in survey)
    each = left * (1.0 - HISTOGRAM_SHARE - MOMENT_SHARE) / gradients
    first = [Round("histogram", left * HISTOGRAM_SHARE), Round("moment", left * MOMENT_SHARE)]
    return (*survey, *first, *(Round(f"gradient {i + 1}", each) for i in range(gradients)))


@dataclass(frozen=True, slots=True)
class LogisticLearner:
    """Additive logistic regression on smooth private bases.

    Attributes:
        gradients: Number of gradient releases.
        row_bound: Bound on a row's gradient in typical norms.
    """

    gradients: int = 6
    row_bound: float = ROW_BOUND
    name: str = "logistic"

    def rounds(self, facts: PublicFacts) -> Sequence[Round]:
        """See `plan`."""
        return plan(facts.schema, self.gradients)

    def begin(self, facts: PublicFacts) -> Bundle:
        """The state before the first release: public facts only."""
        return Bundle({"schema": facts.schema.to_json(), "round": 0}, {"ranges": declared_ranges(facts.schema)})

    def query(self, state: Bundle) -> Query | None:
        """The next sum needed, or None when all planned releases are in."""
        schema, at = _schema(state), _round(state)
        planned = plan(schema, self.gradients)
        if at >= len(planned):
            return None
        purpose = planned[at].purpose
        if purpose == "survey":
            shape = survey_shape(schema)
            return Query(purpose, shape.dimension, shape.clipping_norm, 1.0, Bundle())
        cells = _cells(schema, state)
        ranges: dict[str, Array] = {"ranges": cells.ranges}
        if purpose == "histogram":
            counted = _histogram_shape(cells)
            return Query(purpose, counted.dimension, counted.clipping_norm, 1.0, Bundle({}, ranges))
        basis = AdditiveBasis.from_arrays(state.arrays)
        if purpose == "moment":
            moment = MomentShape.of(basis)
            payload = Bundle({}, ranges | basis.to_arrays())
            return Query(purpose, moment.dimension, moment.clipping_norm, moment.row_bound**2, payload)
        gradient = GradientShape.of(basis, self.row_bound)
        payload = Bundle({}, ranges | basis.to_arrays() | {"mean": state.arrays["mean"]})
        return Query(purpose, gradient.dimension, gradient.clipping_norm, gradient.row_bound, payload)

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Each unit's vector (mean of its rows' vectors), from its own rows and the query only, in unit order.

        Guarantee: a unit's vector does not change when any other unit's rows do.
        """
        if query.purpose == "survey":
            return unit_surveys(rows)
        cells = _cells(rows.schema, query.payload)
        if query.purpose == "histogram":
            return unit_histograms(cells, rows)
        basis = AdditiveBasis.from_arrays(query.payload.arrays)
        if query.purpose == "moment":
            return unit_moments(cells, basis, rows)
        mean = np.asarray(query.payload.arrays["mean"], dtype=np.float64)
        return unit_gradients(cells, basis, mean, GradientShape.of(basis, self.row_bound), rows)

    def update(self, state: Bundle, opened: OpenedSum) -> Bundle:
        """The next state from the opened sum."""
        schema, at = _schema(state), _round(state)
        purpose = plan(schema, self.gradients)[at].purpose
        if purpose == "survey":
            new: Bundle = Bundle({}, {"ranges": read_survey(opened, schema)})
        elif purpose == "histogram":
            new = _after_histogram(_cells(schema, state), opened)
        elif purpose == "moment":
            new = _after_moment(state, opened)
        else:
            new = _after_gradient(state, opened, self.row_bound)
        facts = {**state.facts, **new.facts, "round": at + 1}
        return Bundle(facts, {**state.arrays, **new.arrays})

    def finish(self, state: Bundle) -> LogisticModel:
        """The released model: posterior mean, with the posterior's standard deviations."""
        cells, basis = _cells(_schema(state), state), AdditiveBasis.from_arrays(state.arrays)
        mean, covariance = _floats(state, "mean"), _floats(state, "covariance")
        extras = {"mean": mean, "covariance": covariance, "group_variance": _floats(state, "group_variance")}
        return LogisticModel(
            cells,
            float(mean[0]),
            basis.parts(mean[1:]),
            basis.deviations(covariance[1:, 1:]),
            self.name,
            extras | basis.to_arrays(),
        )


def _after_histogram(cells: CellMap, opened: OpenedSum) -> Bundle:
    counts = read_counts(opened, _histogram_shape(cells))
    basis = build_basis(cells, counts)
    size = int(basis.offsets[-1]) + 1
    mean = np.zeros(size)
    mean[0] = np.log(counts.rate / (1.0 - counts.rate))
    group_variance = np.full(len(basis.tables), PRIOR_VARIANCE)
    arrays: dict[str, Array] = {
        **basis.to_arrays(),
        "mean": mean,
        "group_variance": group_variance,
        "covariance": np.diag(np.concatenate([[1.0], group_variance[basis.column_of]])),
        "points": np.zeros((0, size)),
        "gradients": np.zeros((0, size)),
        "variances": np.zeros((0, size)),
    }
    return Bundle({"units": counts.units, "rate": counts.rate}, arrays)


def _after_moment(state: Bundle, opened: OpenedSum) -> Bundle:
    moment, noise = read_moment(opened, AdditiveBasis.from_arrays(state.arrays))
    return Bundle({"moment_noise": noise}, {"moment": moment})


def _after_gradient(state: Bundle, opened: OpenedSum, row_bound: float) -> Bundle:
    basis, units, rate = AdditiveBasis.from_arrays(state.arrays), _fact(state, "units"), _fact(state, "rate")
    gradient, variance = read_gradient(opened, GradientShape.of(basis, row_bound), units)
    mean = _floats(state, "mean")
    points = np.vstack([_floats(state, "points"), mean])
    gradients = np.vstack([_floats(state, "gradients"), gradient])
    variances = np.vstack([_floats(state, "variances"), variance])
    curvature = np.eye(mean.shape[0])
    curvature[1:, 1:] = _floats(state, "moment")
    curvature *= rate * (1.0 - rate)
    noise = CURVATURE_NOISE * (rate * (1 - rate)) ** 2 * _fact(state, "moment_noise")
    for _ in range(LINEARISATIONS):
        measured = Measurements(points, gradients, variances).combine(curvature, mean, noise)
        found = infer(curvature, measured, basis.column_of, _floats(state, "group_variance"), units)
        mean = found.mean
    posterior = {"mean": found.mean, "covariance": found.covariance, "group_variance": found.group_variance}
    return Bundle({}, {**posterior, "points": points, "gradients": gradients, "variances": variances})


def _histogram_shape(cells: CellMap) -> HistogramShape:
    return HistogramShape(len(cells.schema.columns), int(cells.offsets[-1]))


def _cells(schema: FeatureSchema, bundle: Bundle) -> CellMap:
    return CellMap.of(schema, np.asarray(bundle.arrays["ranges"], dtype=np.float64), GRID_CELLS)


def _schema(state: Bundle) -> FeatureSchema:
    return FeatureSchema.from_json(str(state.facts["schema"]))


def _round(state: Bundle) -> int:
    return int(_fact(state, "round"))


def _fact(state: Bundle, name: str) -> float:
    return float(str(state.facts[name]))


def _floats(state: Bundle, name: str) -> NDArray[np.float64]:
    return np.asarray(state.arrays[name], dtype=np.float64)
