"""Training a learner on exact sums: the same clipping, no weights, no noise, no encryption. For comparison only.

No engine can do this; it exists inside the benchmark, on tables that lie in one place anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, Model, OpenedSum, PublicFacts, Query


def train_without_privacy(tables: Mapping[str, FeatureTable], learner: Learner, facts: PublicFacts) -> Model:
    """The learner's model from exact sums over all organisations.

    Guarantee: equal to training on the pooled rows, up to the order of float additions.
    """
    state = learner.begin(facts)
    while (query := learner.query(state)) is not None:
        parts = [exact_sum(learner, query, table) for table in tables.values()]
        state = learner.update(state, OpenedSum(np.sum(parts, axis=0), noise_sd=0.0))
    return learner.finish(state)


def exact_sum(learner: Learner, query: Query, table: FeatureTable) -> NDArray[np.float64]:
    """Σ over units of the vector clipped to the query's norm, float64 [dimension]."""
    total = np.zeros(query.dimension)
    if table.units == 0:
        return total
    for vectors in learner.unit_vectors(query, table):
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        total += np.minimum(1.0, query.clipping_norm / np.maximum(norms, 1e-300)) @ vectors
    return total
