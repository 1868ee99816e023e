"""The learner: logistic regression on columns and pairs of columns, every noisy release used.

Every release is a measurement with known noise of one Bayesian model; the parameters are its posterior mean. Order:
counts; a first gradient, which says what each column is worth; the second moment of what is worth it; a second
gradient; then pairs of the columns that matter join, and the remaining gradients are asked of whatever is still
uncertain and worth knowing. After the releases everything is post-processing of noisy sums and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from fedcrm.errors import SchemaMismatch
from fedcrm.features.columns import FeatureSchema
from fedcrm.models.basis import build_basis
from fedcrm.models.bundle import Array, Bundle, Fact
from fedcrm.models.cells import GRID_CELLS, CellMap, declared_ranges
from fedcrm.models.design import Design
from fedcrm.models.gradient import ROW_BOUND, GradientShape, read_gradient, unit_gradients
from fedcrm.models.histogram import HistogramShape, read_counts, unit_histograms
from fedcrm.models.hyperparameters import PAIR_ENERGY, Hyperparameters, hyperparameters, water_fill
from fedcrm.models.learner import OpenedSum, PublicFacts, Query, Round, UnitRows
from fedcrm.models.moment import MomentShape, read_moment, unit_moments
from fedcrm.models.pairs import Pairs, choose_pairs
from fedcrm.models.posterior import Curvature, Groups, Measurements, Posterior, Prior, infer, mean_slope
from fedcrm.models.scorecard import LogisticModel
from fedcrm.models.survey import read_survey, survey_shape, unit_surveys

LINEARISATIONS = 2
"""How often the past gradients are re-linearised to the newest parameters after each release."""
_MODEL_ARRAYS = ("mean", "covariance", "group_guess", "group_variance", "moment", "moment_variance")
_MEMORY = ("units", "rate", "noise")
_LEAST_VARIANCE = 1e-6
FORGETTING = 0.9
"""What the precision of a released model counts for in a continued run: the world has moved a little since."""


@dataclass(frozen=True, slots=True)
class PairwiseLearner:
    """Logistic regression on smooth private bases of columns and their pairs.

    Attributes:
        gradients: Number of gradient releases.
        pairs: Whether pairs of columns take part; without them the learner is the simple reference, `logistic`.
        prior: A released model to continue from: its posterior is the prior. None for a new model.
        row_bound: Bound on a row's gradient in typical norms.
    """

    gradients: int = 10
    pairs: bool = True
    prior: LogisticModel | None = None
    row_bound: float = ROW_BOUND

    @property
    def name(self) -> str:
        """Its name in plans and descriptors."""
        return "pairwise" if self.pairs else "logistic"

    def rounds(self, facts: PublicFacts) -> Sequence[Round]:
        """See `hyperparameters`."""
        return self._numbers(facts.schema).rounds

    def _numbers(self, schema: FeatureSchema) -> Hyperparameters:
        continued = self.prior is not None
        return hyperparameters(schema, gradients=self.gradients, pairs=self.pairs, continued=continued)

    def begin(self, facts: PublicFacts) -> Bundle:
        """The state before the first release: public facts, or a released model.

        Raises:
            SchemaMismatch: the released model cannot be continued over these columns.
        """
        start: dict[str, Fact] = {"schema": facts.schema.to_json(), "round": 0}
        if self.prior is None:
            return Bundle(start, {"ranges": declared_ranges(facts.schema)})
        return _continued(start, self.prior)

    def query(self, state: Bundle) -> Query | None:
        """The next sum needed, or None when all planned releases are in."""
        schema, at = _schema(state), _round(state)
        planned = self._numbers(schema).rounds
        if at >= len(planned):
            return None
        purpose = planned[at].purpose
        if purpose == "survey":
            shape = survey_shape(schema)
            return Query(purpose, shape.dimension, shape.clipping_norm, 1.0, Bundle())
        ranges: dict[str, Array] = {"ranges": state.arrays["ranges"]}
        if purpose == "histogram":
            counted = _histogram_shape(_cells(schema, state))
            return Query(purpose, counted.dimension, counted.clipping_norm, 1.0, Bundle({}, ranges))
        scale = self._scale(state)
        if purpose == "moment":
            basis = Design.from_arrays(state.arrays).basis
            moment = MomentShape.of(basis, scale)
            payload = Bundle({}, ranges | basis.to_arrays() | {"scale": scale})
            return Query(purpose, moment.dimension, moment.clipping_norm, moment.product_norm, payload)
        gradient = GradientShape(scale, self.row_bound)
        design = Design.from_arrays(state.arrays).to_arrays()
        payload = Bundle({}, ranges | design | {"mean": state.arrays["mean"], "scale": scale})
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
        design, scale = Design.from_arrays(query.payload.arrays), _floats(query.payload, "scale")
        if query.purpose == "moment":
            return unit_moments(cells, design.basis, scale, rows)
        return unit_gradients(cells, design, _floats(query.payload, "mean"), GradientShape(scale, self.row_bound), rows)

    def update(self, state: Bundle, opened: OpenedSum) -> Bundle:
        """The next state from the opened sum."""
        schema, at = _schema(state), _round(state)
        numbers = self._numbers(schema)
        purpose = numbers.rounds[at].purpose
        if purpose == "survey":
            new = Bundle({}, {"ranges": read_survey(opened, schema)})
        elif purpose == "histogram":
            new = _after_histogram(_cells(schema, state), opened, numbers, at)
        elif purpose == "moment":
            new = _after_moment(state, opened, self._scale(state))
        else:
            new = self._after_gradient(state, opened)
        return Bundle({**state.facts, **new.facts, "round": at + 1}, {**state.arrays, **new.arrays})

    def finish(self, state: Bundle) -> LogisticModel:
        """The released model: posterior mean, with the posterior's covariance."""
        cells, design = _cells(_schema(state), state), Design.from_arrays(state.arrays)
        mean, inner = _floats(state, "mean"), slice(1, 1 + int(design.basis.offsets[-1]))
        extras: dict[str, Array] = {name: _floats(state, name) for name in _MODEL_ARRAYS}
        extras |= design.to_arrays()
        extras["memory"] = np.array([_fact(state, name) for name in _MEMORY])
        deviations = design.basis.deviations(_floats(state, "covariance")[inner, inner])
        return LogisticModel(cells, float(mean[0]), design.basis.parts(mean[inner]), deviations, self.name, extras)

    def _scale(self, state: Bundle) -> NDArray[np.float64]:
        """s of each coordinate for the next release, float64 [D], mean square of ‖s·φ‖ one: see `water_fill`."""
        size = np.maximum(np.diag(_second_moment(state)), 1e-12)
        share = water_fill(size * np.diag(_floats(state, "covariance"))[1:], self._noise_left(state))
        return np.asarray(np.sqrt(share / size))

    def _noise_left(self, state: Bundle) -> float:
        """Noise variance that all remaining gradients together leave in a coordinate of share 1, as log-odds."""
        rounds = self._numbers(_schema(state)).rounds[_round(state) :]
        left = sum(r.share for r in rounds if r.purpose.startswith("gradient"))
        deviation = _fact(state, "noise") * GradientShape(np.zeros(0), self.row_bound).clipping_norm
        return float((deviation / (_fact(state, "units") * _slope(state))) ** 2 / max(left, 1e-9))

    def _after_gradient(self, state: Bundle, opened: OpenedSum) -> Bundle:
        numbers, at = self._numbers(_schema(state)), _round(state)
        shape, units = GradientShape(self._scale(state), self.row_bound), _fact(state, "units")
        gradient, variance = read_gradient(opened, shape, units)
        fresh = {"points": _floats(state, "mean"), "gradients": gradient, "variances": variance}
        stacked: dict[str, Array] = {name: np.vstack([_floats(state, name), row]) for name, row in fresh.items()}
        noise = opened.noise_sd / shape.clipping_norm * numbers.rounds[at].share ** 0.5
        now = Bundle({**state.facts, "noise": noise}, {**state.arrays, **stacked})
        done = int(stacked["points"].shape[0])
        if self.prior is None and done == 1:
            return self._narrowed(now, numbers)
        found = _inferred(now)
        return _with_pairs(found, numbers) if done == numbers.pairs_after else found

    def _narrowed(self, state: Bundle, numbers: Hyperparameters) -> Bundle:
        """After the first gradient: what each column is worth; functions not worth their noise are left out.

        The parameters stay at the base rate, since columns were taken as independent so far.
        """
        groups = _posterior(state).groups
        design = Design.from_arrays(state.arrays)
        worth = np.diag(_second_moment(state)) * groups.variance[groups.of]
        at = Bundle({**state.facts, "round": _round(state) + 1}, state.arrays)
        share = water_fill(worth, self._noise_left(at))
        strongest = np.argsort(-worth, kind="stable")[: numbers.most_coordinates]
        kept = np.sort(strongest[share[strongest] > 0]).astype(np.int64)
        inside = np.concatenate([[0], 1 + kept])
        cut: dict[str, Array] = {name: _floats(state, name)[:, inside] for name in ("points", "gradients", "variances")}
        basis = design.basis.keep(kept)
        covariance = np.diag(np.concatenate([[1.0], groups.variance[groups.of[kept]]]))
        cut |= {"mean": _floats(state, "mean")[inside], "covariance": covariance, "group_variance": groups.variance}
        cut |= {"moment": basis.second_moment, "moment_variance": np.zeros((kept.shape[0], kept.shape[0]))}
        return Bundle(state.facts, {**state.arrays, **cut, **Design(basis, Pairs.none()).to_arrays()})


def _after_histogram(cells: CellMap, opened: OpenedSum, numbers: Hyperparameters, at: int) -> Bundle:
    counts = read_counts(opened, _histogram_shape(cells))
    basis = build_basis(cells, counts)
    size = int(basis.offsets[-1]) + 1
    mean = np.zeros(size)
    mean[0] = np.log(counts.rate / (1.0 - counts.rate))
    guess = np.full(len(basis.columns), numbers.column_variance)
    arrays: dict[str, Array] = {
        **Design(basis, Pairs.none()).to_arrays(),
        "mean": mean,
        "group_guess": guess,
        "group_variance": guess,
        "covariance": np.diag(np.concatenate([[1.0], guess[basis.column_of]])),
        "moment": basis.second_moment,
        "moment_variance": np.zeros((size - 1, size - 1)),
        **_no_gradients(size),
    }
    noise = opened.noise_sd / _histogram_shape(cells).clipping_norm * numbers.rounds[at].share ** 0.5
    return Bundle({"units": counts.units, "rate": counts.rate, "noise": noise}, arrays)


def _no_gradients(size: int) -> dict[str, Array]:
    return {name: np.zeros((0, size)) for name in ("points", "gradients", "variances")}


def _after_moment(state: Bundle, opened: OpenedSum, scale: NDArray[np.float64]) -> Bundle:
    moment = read_moment(opened, Design.from_arrays(state.arrays).basis, scale)
    arrays: dict[str, Array] = {**state.arrays, "moment": moment.mean, "moment_variance": moment.variance}
    return _inferred(Bundle(state.facts, arrays))


def _with_pairs(state: Bundle, numbers: Hyperparameters) -> Bundle:
    """Pairs join, with nothing known of them but a prior."""
    design, moment = Design.from_arrays(state.arrays), _floats(state, "moment")
    mean, offsets = _floats(state, "mean"), design.basis.offsets
    pieces = [(mean[1 + a : 1 + b], moment[a:b, a:b]) for a, b in pairwise(offsets.tolist())]
    energy = np.array([max(float(part @ block @ part), 0.0) for part, block in pieces])
    pairs, prior = choose_pairs(
        energy, moment, offsets, most_pairs=numbers.most_pairs, most_products=numbers.most_products
    )
    if not pairs.number:
        return state
    size = np.diag(moment)
    explained = float((size[pairs.left] * size[pairs.right] * prior[pairs.pair_of]).sum())
    guess = np.maximum(prior * (PAIR_ENERGY * float(energy.sum()) / max(explained, 1e-300)), _LEAST_VARIANCE)
    covariance = scipy.linalg.block_diag(_floats(state, "covariance"), np.diag(guess[pairs.pair_of]))
    new: dict[str, Array] = {"mean": np.append(mean, np.zeros(pairs.number)), "covariance": covariance}
    for name in ("group_guess", "group_variance"):
        new[name] = np.append(_floats(state, name), guess)
    for name, filling in (("points", 0.0), ("gradients", 0.0), ("variances", np.inf)):
        past = _floats(state, name)
        new[name] = np.hstack([past, np.full((past.shape[0], pairs.number), filling)])
    return Bundle(state.facts, {**state.arrays, **new, **pairs.to_arrays()})


def _continued(start: Mapping[str, Fact], model: LogisticModel) -> Bundle:
    """The state a continued run begins with: the model's posterior is its prior.

    Raises:
        SchemaMismatch: the model has other columns than this run, or no posterior.
    """
    if start["schema"] != model.cells.schema.to_json() or "memory" not in model.extras:
        raise SchemaMismatch(
            f"a {model.kind} model of {len(model.cells.schema.columns)} columns cannot be continued by this run",
            why="its posterior is the prior of the run, so it needs one, over the same columns",
            fix="give a model of the learners `pairwise` or `logistic` trained with the same schema, or start anew",
        )
    memory = dict(zip(_MEMORY, np.asarray(model.extras["memory"]).tolist(), strict=True))
    precision = np.asarray(FORGETTING * np.linalg.inv(model.covariance), dtype=np.float64)
    before: dict[str, Array] = {"prior_mean": model.mean, "prior_precision": precision, "ranges": model.cells.ranges}
    return Bundle({**start, **memory}, {**model.extras, **before, **_no_gradients(model.mean.shape[0])})


def _inferred(state: Bundle) -> Bundle:
    """The posterior given all gradients, the past ones re-linearised to the newest parameters."""
    for _ in range(LINEARISATIONS):
        found = _posterior(state)
        learnt = {"mean": found.mean, "covariance": found.covariance, "group_variance": found.groups.variance}
        state = Bundle(state.facts, {**state.arrays, **learnt})
    return state


def _posterior(state: Bundle) -> Posterior:
    slope, moment = _slope(state), _second_moment(state)
    curvature = Curvature(
        slope * scipy.linalg.block_diag(1.0, moment), slope**2 * np.asarray(_floats(state, "moment_variance"))
    )
    history = Measurements(*(_floats(state, name) for name in ("points", "gradients", "variances")))
    combined = history.combine(curvature, _floats(state, "mean"), np.diag(_floats(state, "covariance")))
    prior = None
    if "prior_mean" in state.arrays:
        prior = Prior(_floats(state, "prior_mean"), _floats(state, "prior_precision"))
    return infer(curvature, combined, _groups(state), _fact(state, "units"), prior)


def _groups(state: Bundle) -> Groups:
    design, guess = Design.from_arrays(state.arrays), _floats(state, "group_guess")
    kind = (np.arange(guess.shape[0]) >= len(design.basis.columns)).astype(np.int64)
    return Groups(design.component_of, kind, guess, _floats(state, "group_variance"))


def _second_moment(state: Bundle) -> NDArray[np.float64]:
    """Of all coordinates, float64 [D, D]."""
    moment, pairs = _floats(state, "moment"), Pairs.from_arrays(state.arrays)
    return scipy.linalg.block_diag(moment, pairs.second_moment(moment)) if pairs.number else moment


def _slope(state: Bundle) -> float:
    mean = _floats(state, "mean")
    variance = float(mean[1:] @ _second_moment(state) @ mean[1:])
    return mean_slope(_fact(state, "rate"), float(mean[0]), variance)


def _histogram_shape(cells: CellMap) -> HistogramShape:
    return HistogramShape(len(cells.schema.columns), int(cells.offsets[-1]))


def _cells(schema: FeatureSchema, bundle: Bundle) -> CellMap:
    return CellMap.of(schema, _floats(bundle, "ranges"), GRID_CELLS)


def _schema(state: Bundle) -> FeatureSchema:
    return FeatureSchema.from_json(str(state.facts["schema"]))


def _round(state: Bundle) -> int:
    return int(_fact(state, "round"))


def _fact(state: Bundle, name: str) -> float:
    return float(str(state.facts[name]))


def _floats(state: Bundle, name: str) -> NDArray[np.float64]:
    return np.asarray(state.arrays[name], dtype=np.float64)
