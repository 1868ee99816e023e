"""Learners by name: what makes a learner makes one of that name, anew each time."""

from __future__ import annotations

import pytest

from fedcrm.models.registry import LEARNERS


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_has_the_name_it_is_found_under(name):
    """Plans carry the learner's own name, so the registry must agree with it."""
    assert LEARNERS[name]().name == name
