"""Manifests: written, signed, read back; every broken rule is refused and named, all of them together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrm.errors import ManifestError
from fedcrm.protocol.manifest import Manifest, Numbers, check_manifest, default_numbers, read_manifest, write_manifest
from fedcrm.protocol.messages import COORDINATOR
from twins.federation import Federation


def _signed(federation: Federation) -> str:
    return write_manifest(federation.manifest, federation.identities[COORDINATOR])


def test_a_manifest_comes_back_as_it_was_written() -> None:
    """Reading what was written gives the same manifest with the same digest, pinned or not."""
    federation = Federation(9)
    text = _signed(federation)
    assert read_manifest(text, pinned=None) == federation.manifest
    assert read_manifest(text, pinned=federation.manifest.digest).digest == federation.manifest.digest


def test_nine_participants_get_the_documented_defaults() -> None:
    """For nine of nine: t = 7, c = 3, m = 8."""
    assert default_numbers(participants=9, holders=9) == Numbers(7, 3, 8)


@given(n=st.integers(2, 200), k=st.integers(2, 32))
def test_default_numbers_keep_every_rule(n: int, k: int) -> None:
    """Defaults satisfy 2t > k + c, 1 ≤ c < m ≤ n and t ≤ k for every size of federation."""
    k = min(n, k)
    numbers = default_numbers(participants=n, holders=k)
    t, c, m = numbers.threshold, numbers.collusion_bound, numbers.cohort_minimum
    assert 2 * t > k + c and t <= k and c >= 1 and (c < m <= n or c >= n)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 6}, "2t = 12 is not above k \\+ c = 12"),
        ({"threshold": 10}, "t = 10 exceeds the k = 9 holders"),
        ({"collusion_bound": 0}, "c = 0"),
        ({"cohort_minimum": 3}, "m = 3 is not above c = 3"),
        ({"cohort_minimum": 10}, "m = 10 exceeds the n = 9"),
        ({"committee": ("org00", "org00")}, "a holder is there twice"),
        ({"committee": ("stranger",)}, "not in the roster"),
        ({"version": 2}, "is 2, this program reads 1"),
    ],
)
def test_numbers_that_break_a_rule_are_refused(change: dict[str, object], said: str) -> None:
    """Each rule on the manifest's numbers is refused by name."""
    manifest: Manifest = Federation(9).manifest.model_copy(update=change)
    with pytest.raises(ManifestError, match=said):
        check_manifest(manifest)


def test_all_problems_are_shown_together() -> None:
    """Two broken rules give one error that names both."""
    manifest = Federation(9).manifest.model_copy(update={"collusion_bound": 0, "cohort_minimum": 12})
    with pytest.raises(ManifestError) as caught:
        check_manifest(manifest)
    assert {problem.where for problem in caught.value.problems} == {"collusion_bound", "cohort_minimum"}


def test_two_parties_with_one_key_are_refused() -> None:
    """A shared identity key would let one party speak as two."""
    manifest = Federation(4).manifest
    twins = (manifest.members[0], manifest.members[1].model_copy(update={"identity": manifest.members[0].identity}))
    with pytest.raises(ManifestError, match="share a key"):
        check_manifest(manifest.model_copy(update={"members": (*twins, *manifest.members[2:])}))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threshold = 7", "threshold = 8", "signature"),
        ("threshold = 7", "threshold = 'seven'", "threshold"),
        ("threshold = 7", "threshold = 7\nsurprise = 1", "surprise"),
        ("threshold = 7", "", "threshold"),
        ("federation =", "federation", "not a manifest"),
        ('coordinator = "', 'coordinator = "zz', "not a manifest"),
        ("holder_noise_bits = 20", "holder_noise_bits = 26", "decoding errors"),
        ("log_degree = 12", "log_degree = 10", "log_degree"),
    ],
)
def test_a_changed_file_is_refused(old: str, new: str, said: str) -> None:
    """Any edit of a manifest is refused: it breaks the form, a rule, or the signature."""
    text = _signed(Federation(9))
    assert old in text
    with pytest.raises(ManifestError, match=said):
        read_manifest(text.replace(old, new, 1), pinned=None, where="manifest.toml")


def test_another_manifest_than_the_accepted_one_is_refused() -> None:
    """A well-signed manifest that the operator has not accepted is refused."""
    federation = Federation(9)
    with pytest.raises(ManifestError, match="not the accepted one"):
        read_manifest(_signed(federation), pinned=bytes(32))
