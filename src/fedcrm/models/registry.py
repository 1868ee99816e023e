"""Learners by the name that plans and descriptors carry, so that a recorded run can be looked at again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from fedcrm.models.learner import Learner
from fedcrm.models.naive import NaiveLogisticLearner
from fedcrm.models.pairwise import PairwiseLearner

LEARNERS: Mapping[str, Callable[[], Learner]] = {
    "pairwise": PairwiseLearner,
    "logistic": partial(PairwiseLearner, pairs=False),
    "naive_dp_logistic": NaiveLogisticLearner,
}
"""What makes each learner as it is deployed, all its settings at their defaults."""
