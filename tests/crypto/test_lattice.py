"""What holds of the lattice alone: reduced coefficients, foreign ring elements, sizes, the library's edge."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from fedcrm.crypto import library
from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.crypto.scheme import SchemeParameters
from fedcrm.errors import LibraryError, MalformedObjectError, NoiseBoundError, ParameterError
from twins.committee import Committee
from twins.ring import added, coefficients, packed

SCHEME = LatticeScheme()
MODULUS = SCHEME.parameters.modulus


@pytest.fixture(scope="module")
def committee():
    """Three dealers, 3 of 4 holders, over the real scheme."""
    return Committee(SCHEME, 3, 3, 4)


def test_every_coefficient_that_leaves_is_below_the_modulus(committee):
    """Key shares, contributions, sums and opening shares hold nothing at or above Q."""
    values = [np.full(4200, value, dtype=np.int64) for value in (0, -1, 2**29)]
    contributions = [committee.encrypt(dealer, vector) for dealer, vector in enumerate(values)]
    left = [share for shares in committee.shares for share in shares] + contributions + [SCHEME.add(contributions)]
    left += committee.answers(range(3), [1, 3, 4], dimension=4200).values()
    assert max(max(coefficients(data)) for data in left) < MODULUS


@pytest.mark.parametrize("place", [0, 1, 63, 64])
@pytest.mark.parametrize("value", [MODULUS, (1 << 60) - 1])
def test_oversized_elements_are_refused(committee, place, value):
    """A coefficient at or above Q is refused by every operation that takes a foreign element."""
    ciphertext = committee.encrypt(0, np.zeros(65, dtype=np.int64))
    answers = committee.answers([0], [1, 2, 3], dimension=65)

    def oversized(data: bytes) -> bytes:
        values = coefficients(data)
        values[place] = value
        return packed(data, values)

    calls = [
        lambda: SCHEME.check_ciphertext(oversized(ciphertext), dimension=65),
        lambda: SCHEME.check_opening_share(oversized(answers[1]), dimension=65),
        lambda: SCHEME.check_key_share(oversized(committee.shares[0][0])),
        lambda: SCHEME.add([ciphertext, oversized(ciphertext)]),
        lambda: SCHEME.sum_shares([oversized(committee.shares[0][0])]),
        lambda: committee.combine(oversized(ciphertext), answers, dimension=65),
        lambda: committee.combine(ciphertext, answers | {2: oversized(answers[2])}, dimension=65),
    ]
    for call in calls:
        with pytest.raises(MalformedObjectError, match="not below the modulus"):
            call()


def test_a_scaled_contribution_does_not_open(committee):
    """Three times someone's contribution is not a contribution: the error is out of bounds."""
    parts = [committee.encrypt(dealer, np.arange(64)) for dealer in range(3)]
    scaled = packed(parts[1], added(SCHEME.parameters, parts[1], factors=[3]))
    with pytest.raises(NoiseBoundError, match="of 64 coefficients"):
        answers = committee.answers(range(3), [1, 2, 3], dimension=64)
        committee.combine(SCHEME.add([parts[0], scaled, parts[2]]), answers, dimension=64)


@pytest.mark.parametrize("dimension", [1, 64, 65, 10_000, 100_001])
def test_sizes_depend_on_the_dimension_alone(committee, dimension):
    """A contribution has 24 bytes of header and 60 bits a value, never fewer than 64 values."""
    size = len(committee.encrypt(0, np.zeros(dimension, dtype=np.int64)))
    assert size == 24 + -(-max(dimension, 64) * 60 // 8)


def test_a_million_values_take_under_1_9_bytes_per_float_byte(committee):
    """The bandwidth goal at d = 10^6."""
    assert len(committee.encrypt(0, np.zeros(10**6, dtype=np.int64))) <= 1.9 * 4 * 10**6


def test_error_does_not_depend_on_the_key_holders_chosen(committee):
    """Different active sets give different shares and the same integers."""
    values = np.arange(-50, 50)
    sums = committee.encrypt_all([values] * 3)
    opened = [
        committee.combine(sums, committee.answers(range(3), active, dimension=100), dimension=100)
        for active in ([1, 2, 3], [4, 2, 1], [2, 3, 4])
    ]
    assert all(np.array_equal(one, 3 * values) for one in opened)


def test_calls_from_several_threads_do_not_disturb_each_other(committee):
    """The library keeps no state between calls."""
    expected = [committee.encrypt(0, np.arange(5000) + i) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: committee.encrypt(0, np.arange(5000) + i), range(8)))
    assert found == expected


def test_strided_plaintexts_are_read_in_order(committee):
    """A view with strides encrypts like its copy."""
    values = np.arange(200, dtype=np.int64)[::-2]
    assert committee.encrypt(0, values) == committee.encrypt(0, values.copy())


GOOD = {"threshold": 7, "holders": 9, "participants": 1000}


def test_default_parameters_are_allowed_up_to_32_holders():
    """Defaults decode for every t-of-32 with 1,000 participants."""
    for threshold in range(1, 33):
        SchemeParameters().check(threshold=threshold, holders=32, participants=1000)


BAD_PARAMETERS = {
    "log_degree 11": ({"log_degree": 11}, {}),
    "log_degree 15": ({"log_degree": 15}, {}),
    "the modulus has not 60 bits": ({"modulus": (1 << 59) - 1}, {}),
    "not a prime": ({"modulus": 0xFFFFFFFFFFE8001 - 2}, {}),
    "prime with remainder 1": ({"modulus": (1 << 60) - 93}, {}),
    "plaintext_bits 12": ({"plaintext_bits": 12}, {}),
    "do not stay below": ({"plaintext_bits": 36}, {}),
    "holder_noise_bits 19": ({"holder_noise_bits": 19}, {}),
    "holder_noise_bits 27": ({"holder_noise_bits": 27}, {}),
    "stay below": ({"holder_noise_bits": 24}, {}),
    "33 key holders": ({}, {"holders": 33}),
    "threshold 10": ({}, {"threshold": 10}),
    "threshold 0": ({}, {"threshold": 0}),
    "1001 participants": ({}, {"participants": 1001}),
}


@pytest.mark.parametrize("problem", sorted(BAD_PARAMETERS))
def test_insecure_or_wrong_parameters_are_named(problem):
    """Each number out of range is refused and named."""
    changes, numbers = BAD_PARAMETERS[problem]
    with pytest.raises(ParameterError, match=problem):
        dataclasses.replace(SchemeParameters(), **changes).check(**GOOD | numbers)


def test_all_problems_of_parameters_are_listed_together():
    """Two wrong numbers make one error that names both."""
    with pytest.raises(ParameterError, match=r"log_degree 9.*threshold 11"):
        SchemeParameters(log_degree=9).check(threshold=11, holders=9, participants=9)


@pytest.mark.parametrize("changes", [{"log_degree": -1}, {"modulus": 1 << 70}, {"plaintext_bits": 300}])
def test_numbers_that_have_no_bytes_are_refused(changes):
    """Parameters that cannot be written down have no digest."""
    with pytest.raises(ParameterError):
        SchemeParameters(**changes).digest()


def test_every_parameter_changes_the_digest():
    """The digest binds each of the four numbers."""
    changed = [{"log_degree": 13}, {"modulus": MODULUS - 2}, {"plaintext_bits": 31}, {"holder_noise_bits": 21}]
    digests = {SchemeParameters(**changes).digest() for changes in [{}, *changed]}
    assert len(digests) == 5


def test_a_modulus_without_number_theoretic_transform_is_an_error_of_the_library():
    """The library checks its own parameters, whoever calls it."""
    with pytest.raises(ParameterError, match="modulus"):
        LatticeScheme(SchemeParameters(modulus=(1 << 60) - 1)).deal(bytes(32), threshold=1, holders=1)


def test_a_missing_library_says_how_to_get_it(monkeypatch):
    """Without the shared object the error names it and the way to build it."""
    library.library.cache_clear()
    monkeypatch.setattr(library, "__file__", "/nowhere/library.py")
    with pytest.raises(LibraryError, match=r"(?s)FED-305.*pip install"):
        library.library()
    library.library.cache_clear()


def test_another_interface_version_is_refused(monkeypatch):
    """A library of another version is not called."""
    library.library.cache_clear()
    monkeypatch.setattr(library, "ABI_VERSION", 99)
    with pytest.raises(LibraryError, match="interface version 1, not 99"):
        library.library()
    library.library.cache_clear()


def test_faults_inside_become_library_errors():
    """An unknown status is neither ignored nor taken for a value."""
    assert isinstance(library._failure(4, "internal fault"), LibraryError)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_calls_do_not_leak_memory(committee):
    """A thousand calls leave the process as large as it was, within a few megabytes."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    values = np.zeros(2000, dtype=np.int64)
    for _ in range(200):
        committee.encrypt(0, values)
    before = resident()
    for _ in range(1000):
        committee.encrypt(0, values)
    assert resident() - before < 64 << 20
