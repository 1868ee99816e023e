"""Stacking: evidence moves weights, size decides how far, noise moves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.models.stack import PENALTY, losses, stack_weights, trust


def invented(rows, *, seed):
    """A label, a true log-odds and an unrelated one."""
    stream = np.random.default_rng(seed)
    truth = stream.normal(0, 1.5, rows)
    label = (stream.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    return label, truth, stream.normal(0, 1.5, rows)


def test_a_better_candidate_takes_over():
    """With many rows the true score gets all the weight, noise none."""
    label, truth, noise = invented(4000, seed=1)
    weights = stack_weights(label, np.ones(4000), np.zeros(4000), np.array([truth, noise]))
    assert weights[0] == pytest.approx(1.0, abs=0.1) and weights[1] < 0.05


def test_few_rows_stay_at_the_anchor():
    """What a handful of rows says is not worth the penalty."""
    label, _, noise = invented(12, seed=2)
    assert not stack_weights(label, np.ones(12), np.zeros(12), noise[None]).any()


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_the_best_there_are(seed):
    """No random shares do better on the penalised likelihood they are found by; they never exceed the whole."""
    label, truth, noise = invented(200, seed=seed)
    stream, candidates = np.random.default_rng(seed), np.array([truth, noise, 0.5 * truth + noise, -truth])
    found = stack_weights(label, np.ones(200), 0.2 * truth, candidates)

    def cost(shares):
        return losses(label, 0.2 * truth + shares @ (candidates - 0.2 * truth)).sum() + PENALTY * shares.sum()

    assert found.sum() <= 1.0 + 1e-9
    assert all(cost(found) <= cost(stream.dirichlet(np.ones(5))[:4]) + 1e-2 for _ in range(300))


@pytest.mark.parametrize("seed", range(5))
def test_weights_never_fall_below_zero(seed):
    """A candidate that is wrong everywhere is left out, not turned round."""
    label, truth, _ = invented(500, seed=seed)
    assert stack_weights(label, np.ones(500), np.zeros(500), -truth[None])[0] == 0.0


def test_trust_grows_with_evidence():
    """No gain, no trust; a gain within its error none; a sure gain almost all."""
    stream = np.random.default_rng(1)
    assert trust(np.zeros(0)) == trust(np.ones(1)) == trust(-np.ones(50)) == 0.0
    assert trust(np.array([3.0, -2.9, 0.1, 0.0])) == 0.0
    assert trust(0.1 + stream.normal(0, 0.2, 4000)) > 0.98
    small, large = (trust(np.tile([0.35, -0.15], n)) for n in (10, 100))
    assert 0.0 < small < large < 1.0


def test_losses_are_log_likelihoods():
    """Against the formula, in the far tails too."""
    label, score = np.array([1.0, 0.0, 1.0]), np.array([0.0, -800.0, -800.0])
    np.testing.assert_allclose(losses(label, score), [np.log(2), 0.0, 800.0])
