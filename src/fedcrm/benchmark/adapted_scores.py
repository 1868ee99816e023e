"""What each organisation makes of the federated model on its own rows: adapted, and by the published method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fedcrm.benchmark.baselines import Scores
from fedcrm.benchmark.mean_regularised import fit_mean_regularised
from fedcrm.benchmark.splits import Split
from fedcrm.models.adaptation import adapt
from fedcrm.models.adapted import GlobalModel
from fedcrm.models.learner import Model

ADAPTED, MEAN_REGULARISED = "fedcrm", "mr_mtl"


def adapted_scores(
    model: Model, splits: Mapping[str, Split], *, seed: int, executor: Executor, advance: Callable[[str], None]
) -> dict[str, Scores]:
    """Held-out scores of the adapted models by model and organisation; organisations share out over processes.

    Args:
        model: The federated model; it must offer its linear form (`GlobalModel`).
        splits: Each organisation's two sides; only its own training side adapts its model.
        seed: Of folds and trees.
        executor: Where organisations adapt.
        advance: Is told when all have.
    """
    linear = cast(GlobalModel, model)
    largest_first = sorted(splits, key=lambda name: -splits[name].training.rows)
    futures = {name: executor.submit(_organisation_scores, linear, splits[name], seed) for name in largest_first}
    found = {name: futures[name].result() for name in splits}
    advance("adapted models")
    return {kind: {name: scores[kind] for name, scores in found.items()} for kind in (ADAPTED, MEAN_REGULARISED)}


def _organisation_scores(model: GlobalModel, split: Split, seed: int) -> dict[str, NDArray[np.float64]]:
    if split.held_out.rows == 0:
        return {ADAPTED: np.empty(0), MEAN_REGULARISED: np.empty(0)}
    return {
        ADAPTED: adapt(model, split.training, seed=seed).predict(split.held_out),
        MEAN_REGULARISED: fit_mean_regularised(model, split.training, seed=seed).predict(split.held_out),
    }
