"""Learners by the name that plans and descriptors carry, so that a recorded run can be looked at again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedcrm.models.learner import Learner
from fedcrm.models.logistic import LogisticLearner
from fedcrm.models.naive import NaiveLogisticLearner

LEARNERS: Mapping[str, Callable[[], Learner]] = {
    "logistic": LogisticLearner,
    "naive_dp_logistic": NaiveLogisticLearner,
}
"""What makes each learner as it is deployed, all its settings at their defaults."""
