"""Label reliability: what it says of true, wrong and unmeasurable labels, and what one unit can move."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedcrm.models.learner import UnitRows
from fedcrm.models.reliability import CELLS, GRID, QUERY, Agreement, Reference, factor, read_agreement
from fedcrm.privacy.calibration import mechanism_for
from fedcrm.privacy.mechanism import integer_bound, sum_units
from twins.tables import invented_table, with_label


@dataclass(frozen=True)
class AgeModel:
    """A reference model: log-odds rise with age, the first number."""

    base: float = -1.0
    steepness: float = 0.06

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """−1 at age 40; a missing age counts as 40."""
        return self.base + self.steepness * (np.nan_to_num(rows.numbers[:, 0], nan=40.0) - 40.0)


def _labelled(units: int, *, wrong: float, shift: float = 0.0, seed: int = 1):
    """A table whose labels follow the model, its base rate moved by `shift`, a share of them wrong."""
    table, stream = invented_table(units, seed=seed), np.random.default_rng(seed)
    label = stream.random(units) < 1 / (1 + np.exp(-(AgeModel().log_odds(table) + shift)))
    return with_label(table, np.where(stream.random(units) < wrong, ~label, label).astype(np.int8))


def _agreement(table, *, noise_sd: float = 0.0, seed: int = 0) -> Agreement:
    counts = np.concatenate(list(Reference(AgeModel(), 0.03).unit_vectors(QUERY, table))).sum(axis=0)
    noise = np.random.default_rng(seed).normal(0, 1, QUERY.dimension) * noise_sd
    return read_agreement(counts + noise, noise_sd=noise_sd)


@pytest.mark.parametrize("shift", [-1.5, 0.0, 1.5])
def test_labels_that_follow_the_model_are_trusted_whatever_their_base_rate(shift):
    """r is 1 within its standard deviation and the factor is 1, at base rates from 7 to 60 %."""
    found = _agreement(_labelled(20_000, wrong=0.0, shift=shift))
    assert abs(found.slope - 1) < 0.1 and factor(found) == 1.0


@pytest.mark.parametrize(("wrong", "most"), [(0.4, 0.25), (0.5, 0.1)])
def test_labels_wrong_at_random_are_found(wrong, most):
    """r is at most 1 − 2f, up to noise, and the factor falls to the bottom of the grid."""
    found = _agreement(_labelled(20_000, wrong=wrong), noise_sd=10.0)
    assert found.slope < most and factor(found) <= 1 / GRID


def test_the_stated_standard_deviation_is_that_of_the_slope():
    """Over many draws of the noise the slope scatters by the stated standard deviation."""
    table = _labelled(2_000, wrong=0.0)
    found = [_agreement(table, noise_sd=8.0, seed=seed) for seed in range(300)]
    noise_alone = _agreement(table).sd
    spread = float(np.std([each.slope for each in found]))
    stated = float(np.mean([math.sqrt(max(each.sd**2 - noise_alone**2, 0.0)) for each in found]))
    assert 0.75 < spread / stated < 1.3


def test_an_organisation_too_small_to_be_measured_keeps_its_weight():
    """Forty units with every label wrong, under noise of ten: nothing stands out of it, so the factor is 1."""
    table = _labelled(40, wrong=1.0)
    kept = [factor(_agreement(table, noise_sd=10.0, seed=seed)) for seed in range(50)]
    assert np.mean(np.array(kept) == 1.0) > 0.8
    assert factor(read_agreement(np.zeros(QUERY.dimension), noise_sd=0.0)) == 1.0


@given(slope=st.floats(-50, 50), sd=st.floats(0, 50) | st.just(math.inf))
def test_factors_lie_on_the_public_grid(slope, sd):
    """Between 0 and 1 in steps of 1/GRID, never lower for a higher slope."""
    found = factor(Agreement(slope, sd))
    assert 0 <= found <= 1 and (found * GRID).is_integer()
    assert factor(Agreement(slope + 0.1, sd)) >= found


@example(counts=[0.0] * 6 + [2.9e-112, 1.0] + [0.0] * 8, sd=0.0)
@given(counts=st.lists(st.floats(-1e6, 1e6), min_size=QUERY.dimension, max_size=QUERY.dimension), sd=st.floats(0, 1e4))
def test_any_noisy_counts_can_be_read(counts, sd):
    """Negative, huge and empty cells give a finite slope, or nothing measured."""
    found = read_agreement(np.array(counts), noise_sd=sd)
    assert math.isfinite(found.slope) and found.sd >= 0


@given(units=st.integers(1, 8), gone=st.integers(0, 7), rows_each=st.integers(1, 3), seed=st.integers(0, 50))
def test_one_unit_moves_the_measurement_by_at_most_its_bound(units, gone, rows_each, seed):
    """From raw rows: without any one unit the noiseless integer counts move by at most γ·C in L2."""
    table, reference = invented_table(units, seed=seed, rows_each=rows_each), Reference(AgeModel(), 0.03)
    mechanism = mechanism_for(
        dimension=QUERY.dimension,
        clipping_norm=QUERY.clipping_norm,
        coordinate_bound=1.0,
        noise_multiplier=10.0,
        honest_shares=1,
        participants=1,
        units_magnitude=10**7,
    )
    kept = np.array([unit for unit in range(units) if unit != gone % units], np.int64)
    whole = sum_units(mechanism, reference.unit_vectors(QUERY, table), weight=1).values
    less = sum_units(mechanism, reference.unit_vectors(QUERY, table.take_units(kept)), weight=1).values
    assert sum(int(v) ** 2 for v in whole - less) <= integer_bound(mechanism, 1)


def test_a_units_vector_comes_from_its_own_rows_and_its_norm_is_kept():
    """Guarantee of `Reference.unit_vectors`: other units' rows change nothing, whatever the model says of them."""
    table, reference = invented_table(30, seed=3, rows_each=2), Reference(AgeModel(), 0.03)
    vectors = np.concatenate(list(reference.unit_vectors(QUERY, table)))
    assert vectors.shape == (30, 2 * CELLS) and (np.linalg.norm(vectors, axis=1) <= 1).all()
    changed = replace(table, numbers=np.where(np.arange(60)[:, None] < 58, np.nan, table.numbers))
    last = np.concatenate(list(reference.unit_vectors(QUERY, changed)))[-1]
    assert np.array_equal(last, vectors[-1])


def test_an_agreement_shows_no_number():
    """What was measured of the labels is its owner's secret, in tracebacks and logs too."""
    assert "0.123" not in repr(Agreement(0.123, 0.0123))
