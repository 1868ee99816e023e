"""The conformance suite of the `ThresholdScheme` seam: the lattice and the clear twin keep the same promises."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.crypto.scheme import SchemeParameters, ThresholdScheme
from fedcrm.errors import MalformedObjectError, NoiseBoundError, ParameterError
from twins.clear_scheme import ClearScheme
from twins.committee import Committee, named

SCHEMES: dict[str, ThresholdScheme] = {"lattice": LatticeScheme(), "clear": ClearScheme()}
EVERY_THRESHOLD = [(t, k) for k in range(2, 10) for t in range(2, k + 1) if 2 * t > k + 1]
HALF = SchemeParameters().plaintext_modulus // 2


@pytest.fixture(params=sorted(SCHEMES))
def committee(request):
    """Three dealers, 3 of 4 holders."""
    return _committee(request.param, 3, 4)


@functools.cache
def _committee(name: str, threshold: int, holders: int) -> Committee:
    return Committee(SCHEMES[name], 3, threshold, holders)


def _vectors(dimension: int, count: int = 3) -> list[np.ndarray]:
    return [np.arange(dimension, dtype=np.int64) * (7 * i - 5) - i for i in range(count)]


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize(("threshold", "holders"), EVERY_THRESHOLD)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_every_threshold_opens_to_the_plain_sum(scheme, threshold, holders, data):
    """Any A of t holders opens any cohort S to the exact integer sum, negatives and extremes included."""
    committee = _committee(scheme, threshold, holders)
    dimension = data.draw(st.integers(1, 130))
    cohort = data.draw(st.integers(1, 3))
    active = data.draw(st.permutations(range(1, holders + 1)))[:threshold]
    edge = (HALF - 1) // cohort
    values = st.one_of(st.sampled_from([0, 1, -1, edge, -edge]), st.integers(-edge, edge))
    columns = st.lists(values, min_size=dimension, max_size=dimension)
    vectors = [np.array(data.draw(columns), dtype=np.int64) for _ in range(cohort)]
    answers = committee.answers(range(cohort), active, dimension=dimension)
    opened = committee.combine(committee.encrypt_all(vectors), answers, dimension=dimension)
    assert opened.tolist() == np.sum(vectors, axis=0).tolist()


@pytest.mark.parametrize("dimension", [1, 63, 64, 65, 4096, 4097])
def test_dimensions_around_a_block(committee, dimension):
    """One value, whole blocks and one more than a block open exactly."""
    vectors = _vectors(dimension)
    answers = committee.answers(range(3), [1, 2, 4], dimension=dimension)
    opened = committee.combine(committee.encrypt_all(vectors), answers, dimension=dimension)
    assert opened.tolist() == np.sum(vectors, axis=0).tolist()


def test_the_largest_plaintexts_round_trip(committee):
    """A single contribution of T/2 and of −T/2 + 1 opens as it is."""
    values = np.array([HALF, -HALF + 1, 0], dtype=np.int64)
    answers = committee.answers([0], [1, 2, 3], dimension=3)
    assert committee.combine(committee.encrypt(0, values), answers, dimension=3).tolist() == values.tolist()


def test_sums_of_sums_are_sums(committee):
    """Adding in steps gives what adding at once gives."""
    parts = [committee.encrypt(dealer, values) for dealer, values in enumerate(_vectors(70))]
    add = committee.scheme.add
    stepwise = add([add(parts[:2]), parts[2]])
    answers = committee.answers(range(3), [1, 2, 3], dimension=70)
    assert committee.combine(stepwise, answers, dimension=70).tolist() == np.sum(_vectors(70), axis=0).tolist()


def test_too_few_shares_do_not_open(committee):
    """t − 1 shares are refused by count, and do not open when the count is lied about."""
    answers = committee.answers(range(3), [1, 2, 3], dimension=64)
    ciphertext = committee.encrypt_all(_vectors(64))
    del answers[2]
    with pytest.raises(ParameterError):
        committee.combine(ciphertext, answers, dimension=64)
    with pytest.raises(NoiseBoundError):
        committee.scheme.combine(ciphertext, answers, dimension=64, threshold=2, contributors=3)


LIES = {
    "another S": {"dealers": [0, 1]},
    "another A": {"active": [1, 2, 4]},
    "another release": {"release": 2},
    "another statement": {"statement": "x"},
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_one_answer_about_something_else_spoils_the_opening(committee, lie):
    """One holder that answers about another S, A, release or statement leaves nothing but a clear error."""
    honest = {"dealers": [0, 1, 2], "active": [1, 2, 3], "dimension": 64}
    answers = {point: committee.share(point, **honest) for point in (1, 2, 3)}
    answers[2] = committee.share(2, **(honest | LIES[lie]))
    with pytest.raises(NoiseBoundError, match="FED-303"):
        committee.combine(committee.encrypt_all(_vectors(64)), answers, dimension=64)


CROOKED_SUMS = {
    "a copied contribution": lambda c, parts: c.scheme.add([*parts, parts[1]]),
    "one for another release": lambda c, parts: c.scheme.add([*parts[:2], c.encrypt(2, _vectors(64)[2], release=9)]),
    "a member who did not contribute": lambda c, parts: c.scheme.add(parts[:2]),
}


@pytest.mark.parametrize("crooked", sorted(CROOKED_SUMS))
def test_crooked_sums_do_not_open(committee, crooked):
    """A copied, foreign or missing contribution gives the noise-bound error, never values."""
    parts = [committee.encrypt(dealer, values) for dealer, values in enumerate(_vectors(64))]
    answers = committee.answers(range(3), [2, 3, 4], dimension=64)
    with pytest.raises(NoiseBoundError):
        committee.combine(CROOKED_SUMS[crooked](committee, parts), answers, dimension=64)


def test_the_same_step_gives_the_same_bytes(committee):
    """Dealing, encrypting and opening repeat their bytes; another release or plaintext changes them."""
    again = Committee(committee.scheme, 3, 3, 4)
    one, two = _vectors(64)[1:]
    assert again.shares == committee.shares
    assert again.encrypt(1, one) == committee.encrypt(1, one) != committee.encrypt(1, two)
    assert committee.encrypt(1, one) != committee.encrypt(1, one, release=2)
    assert again.share(2, [0], [1, 2, 3], dimension=9) == committee.share(2, [0], [1, 2, 3], dimension=9)


def test_objects_are_what_they_say(committee):
    """Every check accepts its own kind and refuses the others, other dimensions, parameters and changed bytes."""
    scheme = committee.scheme
    ciphertext = committee.encrypt(0, _vectors(70)[0])
    answer = committee.share(1, [0], [1, 2, 3], dimension=70)
    checks = {
        ciphertext: functools.partial(scheme.check_ciphertext, dimension=70),
        committee.shares[0][0]: scheme.check_key_share,
        answer: functools.partial(scheme.check_opening_share, dimension=70),
    }
    for data, check in checks.items():
        check(data)
        wrong = [other for other in checks if other != data]
        wrong += [b"", data[:10], data[:-1], data + b"\0", bytes([data[0] ^ 1]) + data[1:]]
        for bad in wrong:
            with pytest.raises(MalformedObjectError):
                check(bad)
    with pytest.raises(MalformedObjectError):
        scheme.check_ciphertext(ciphertext, dimension=71)
    with pytest.raises(MalformedObjectError):
        type(scheme)(SchemeParameters(plaintext_bits=31)).check_ciphertext(ciphertext, dimension=70)


def test_mixed_objects_are_refused(committee):
    """Sums take one kind and one dimension; combining takes objects of its dimension."""
    scheme = committee.scheme
    with pytest.raises(MalformedObjectError):
        scheme.add([committee.encrypt(0, _vectors(70)[0]), committee.encrypt(1, _vectors(71)[0])])
    with pytest.raises(MalformedObjectError):
        scheme.add([b"nonsense"])
    with pytest.raises(MalformedObjectError):
        scheme.sum_shares([committee.encrypt(0, _vectors(70)[0])])
    answers = committee.answers([0], [1, 2, 3], dimension=70)
    with pytest.raises(MalformedObjectError):
        committee.combine(committee.encrypt(0, _vectors(71)[0]), answers, dimension=71)


def _call(committee: Committee, **changes):
    arguments = {
        "point": 1,
        "active": [1, 2, 3],
        "masks": {2: bytes(32), 3: bytes(32)},
        "noise_key": bytes(32),
        "release_id": named(1),
        "descriptor_digest": named(2),
        "dimension": 64,
    }
    return committee.scheme.opening_share(committee.scheme.sum_shares([committee.shares[0][0]]), **arguments | changes)


BAD_STATEMENTS = {
    "own point outside A": {"point": 4},
    "a doubled point": {"active": [1, 2, 2, 3]},
    "point 0": {"active": [0, 1, 2], "masks": {0: bytes(32), 2: bytes(32)}},
    "a point above 32": {"active": [1, 2, 33], "masks": {2: bytes(32), 33: bytes(32)}},
    "a missing mask": {"masks": {2: bytes(32)}},
    "a mask too many": {"masks": {2: bytes(32), 3: bytes(32), 4: bytes(32)}},
    "a short mask": {"masks": {2: bytes(32), 3: bytes(31)}},
    "a short noise key": {"noise_key": bytes(31)},
    "a short release id": {"release_id": bytes(31)},
    "a long descriptor digest": {"descriptor_digest": bytes(33)},
    "no dimension": {"dimension": 0},
    "a huge dimension": {"dimension": 1 << 40},
    "a negative dimension": {"dimension": -1},
}


@pytest.mark.parametrize("bad", sorted(BAD_STATEMENTS))
def test_statements_that_cannot_open_are_refused(committee, bad):
    """What would silently give a wrong share is refused before anything is computed."""
    _call(committee)
    with pytest.raises(ParameterError, match="FED-301"):
        _call(committee, **BAD_STATEMENTS[bad])


BAD_CALLS = {
    "no holders": lambda s: s.deal(bytes(32), threshold=0, holders=0),
    "threshold above k": lambda s: s.deal(bytes(32), threshold=4, holders=3),
    "33 holders": lambda s: s.deal(bytes(32), threshold=4, holders=33),
    "4 billion holders": lambda s: s.deal(bytes(32), threshold=4, holders=(1 << 32) - 1),
    "negative holders": lambda s: s.deal(bytes(32), threshold=1, holders=-1),
    "a short secret": lambda s: s.deal(bytes(31), threshold=2, holders=3),
    "nothing to add": lambda s: s.add([]),
    "no shares": lambda s: s.sum_shares([]),
    "an empty vector": lambda s: _encrypt(s, np.zeros(0, np.int64)),
    "a matrix": lambda s: _encrypt(s, np.zeros((2, 2), np.int64)),
    "floats": lambda s: _encrypt(s, np.zeros(2)),
    "a value above T/2": lambda s: _encrypt(s, np.array([HALF + 1])),
    "a value of −T/2": lambda s: _encrypt(s, np.array([-HALF])),
}


def _encrypt(scheme: ThresholdScheme, values: np.ndarray) -> bytes:
    return scheme.encrypt(bytes(32), release_id=bytes(32), descriptor_digest=bytes(32), plaintext=values)


@pytest.mark.parametrize("bad", sorted(BAD_CALLS))
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_impossible_calls_are_refused(scheme, bad):
    """Numbers out of range, wrong shapes and short secrets are parameter errors, not crashes or huge allocations."""
    with pytest.raises(ParameterError, match="FED-301"):
        BAD_CALLS[bad](SCHEMES[scheme])
