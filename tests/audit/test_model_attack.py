"""Membership inference on the released model: it sees a canary where nothing hides it, and nothing under real noise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fedcrm.audit.bounds import lower_bounds
from fedcrm.audit.canaries import invented_rows
from fedcrm.audit.model_attack import Trainings, attack_model
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.runs.public_record import read_public_record
from twins.audited import BUDGETS, trained
from twins.federation import no_noise
from twins.tables import SCHEMA, invented_table

KEY = bytes(32)
COUNT = 60


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    """Scratch trainings of the additive learner, at real noise."""
    tables = {name: invented_table(60, seed=i) for i, name in enumerate(BUDGETS)}
    run: Path = trained(tmp_path_factory.mktemp("run") / "run", PairwiseLearner(), tables)
    stream = np.random.default_rng(5)
    rows = {name: invented_rows(SCHEMA, units=12, stream=stream) for name in BUDGETS}
    canaries = {name: invented_rows(SCHEMA, units=1, stream=stream, missing=0.0) for name in BUDGETS}
    weights = dict.fromkeys(BUDGETS, Fraction(1))
    return Trainings(read_public_record(run), PairwiseLearner(), weights, rows, canaries, discrete_gaussian)


def _attacked(trainings: Trainings) -> dict[str, float]:
    stream = np.random.default_rng(1)
    scores = attack_model(trainings, count=COUNT, key=KEY, stream=stream, advance=lambda: None)
    assert all(len(s.inside) == len(s.outside) == COUNT // 2 for s in scores.values())
    return {name: lower_bounds(found, delta=1e-5, error=0.05).best for name, found in scores.items()}


def test_a_model_without_noise_gives_canaries_away(trainings):
    """With nothing to hide in, the model likes a canary it was trained on better, and the bound says so."""
    alone = {"org 0": trainings.canaries["org 0"]}
    found = _attacked(replace(trainings, noise=no_noise, canaries=alone))
    assert found["org 0"] > 1.5


def test_a_model_under_real_noise_gives_nothing_away(trainings):
    """The same attack on models with the run's noise shows no more than the budgets state."""
    assert all(bound <= BUDGETS[name] for name, bound in _attacked(trainings).items())


def test_a_learner_that_would_plan_other_rounds_is_not_trained(trainings):
    """A run that did not begin as the learner begins now cannot be attacked this way, and is said to be so."""
    assert trainings.possible()
    assert not replace(trainings, learner=PairwiseLearner(gradients=2, pairs=False)).possible()


def test_the_number_of_trainings_follows_the_time_there_is(trainings):
    """A multiple of four, at least four, at most what is asked for."""
    assert trainings.affordable(seconds=0.0, most=400) == 4
    assert trainings.affordable(seconds=1e6, most=42) == 40
