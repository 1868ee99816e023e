"""The scratch federation: real messages and encryption give the integers that the trials repeat."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fedcrm.audit.scratch import Actor, rehearse
from fedcrm.audit.statements import mechanism_of
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import Query
from fedcrm.privacy.mechanism import integer_bound, sum_units
from fedcrm.runs.public_record import read_public_record
from twins.audited import BUDGETS, sum_learner, summed
from twins.job import invented_table

WEIGHTS = {name: Fraction(index + 1, 8) for index, name in enumerate(BUDGETS)}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory):
    """Public record, actors and rehearsals of a run; the table with one unit more stands for the canary."""
    record = read_public_record(summed(tmp_path_factory.mktemp("run") / "run"))
    tables = {name: invented_table(9, seed=i) for i, name in enumerate(BUDGETS)}
    actors = {name: Actor(WEIGHTS[name], ((table.take_units(np.arange(8)), table),)) for name, table in tables.items()}
    steps: list[int] = []
    found = rehearse(record, sum_learner(), actors, noise=discrete_gaussian, advance=lambda: steps.append(1))
    assert len(steps) == 2 * len(record.requests)
    return record, actors, found


def test_what_is_overheard_is_what_the_mechanism_computes(rehearsed):
    """Each participant's integers, after encryption, opening and taking away its noise, are those of `sum_units`."""
    record, actors, found = rehearsed
    assert [rehearsal.release for rehearsal in found] == list(record.requests)
    for rehearsal in found:
        descriptor = rehearsal.request.descriptor
        norm = descriptor.clipping_norm
        query = Query(
            descriptor.purpose, descriptor.dimension, norm, norm, Bundle.from_bytes(rehearsal.request.payload)
        )
        mechanism = mechanism_of(rehearsal.request, record.manifest)
        for side in (0, 1):
            for name, answer in rehearsal.answers[0][side].items():
                vectors = sum_learner().unit_vectors(query, actors[name].neighbours[0][side])
                clear = sum_units(mechanism, vectors, weight=WEIGHTS[name]).values
                assert np.array_equal(answer.values, clear) and answer.noise_variance == descriptor.share_variance


def test_one_unit_moves_a_sum_by_no_more_than_is_charged(rehearsed):
    """The difference between the two sides keeps the integer bound of its participant's weight."""
    record, _, found = rehearsed
    for rehearsal in found:
        mechanism = mechanism_of(rehearsal.request, record.manifest)
        without, inside = rehearsal.answers[0]
        for name in BUDGETS:
            shift = inside[name].values - without[name].values
            assert 0 < int(shift @ shift) <= integer_bound(mechanism, WEIGHTS[name])
