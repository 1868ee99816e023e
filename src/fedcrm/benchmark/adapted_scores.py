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

ADAPTED, MEAN_REGULARISED, WITHOUT_NOISE = "fedcrm", "mr_mtl", "fedcrm_no_privacy"


def adapted_scores(
    federated: Model,
    exact: Model,
    splits: Mapping[str, Split],
    *,
    seed: int,
    executor: Executor,
    advance: Callable[[str], None],
) -> dict[str, Scores]:
    """Held-out scores of the adapted models by model and organisation; organisations share out over processes.

    Args:
        federated: The federated model; it must offer its linear form (`GlobalModel`).
        exact: The same learner's model from sums without noise: adapted, it is the limit that more ε approaches.
        splits: Each organisation's two sides; only its own training side adapts its model.
        seed: Of folds and trees.
        executor: Where organisations adapt.
        advance: Is told when all have.
    """
    models = cast(GlobalModel, federated), cast(GlobalModel, exact)
    largest_first = sorted(splits, key=lambda name: -splits[name].training.rows)
    futures = {name: executor.submit(_organisation_scores, *models, splits[name], seed) for name in largest_first}
    found = {name: futures[name].result() for name in splits}
    advance("adapted models")
    kinds = (ADAPTED, MEAN_REGULARISED, WITHOUT_NOISE)
    return {kind: {name: scores[kind] for name, scores in found.items()} for kind in kinds}


def _organisation_scores(
    federated: GlobalModel, exact: GlobalModel, split: Split, seed: int
) -> dict[str, NDArray[np.float64]]:
    if split.held_out.rows == 0:
        return {kind: np.empty(0) for kind in (ADAPTED, MEAN_REGULARISED, WITHOUT_NOISE)}
    return {
        ADAPTED: adapt(federated, split.training, seed=seed).predict(split.held_out),
        MEAN_REGULARISED: fit_mean_regularised(federated, split.training, seed=seed).predict(split.held_out),
        WITHOUT_NOISE: adapt(exact, split.training, seed=seed).predict(split.held_out),
    }
