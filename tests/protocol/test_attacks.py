"""Every attack of the protocol as an adversary: it succeeds when its rule is switched off and fails when it is on.

Attacks on ring elements (redundant shares without masks, mixed sets, unreduced shares, the textbook scheme's (0, 2^50)
message) are Go tests in `lattice/`. Rules are switched off here by replacing the rule's own function.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
import pytest

from fedcrm.crypto.sealing import EpochKey, derive, open_seal
from fedcrm.errors import (
    AttemptFailed,
    EpochRefused,
    FedCRMError,
    MalformedObjectError,
    ManifestError,
    SecondUse,
    StaleMessage,
    StatementRefused,
)
from fedcrm.protocol import coordinator as coordinator_role
from fedcrm.protocol import epoch as epoch_rules
from fedcrm.protocol import holder as holder_role
from fedcrm.protocol import participant as participant_role
from fedcrm.protocol import vault as kinds
from fedcrm.protocol.epoch import share_context
from fedcrm.protocol.manifest import Numbers, check_manifest
from fedcrm.protocol.messages import COORDINATOR, Contribution, EpochKeys, OpenRequest, SealedShare
from fedcrm.protocol.release import Descriptor, ReleaseParts, Statement
from twins.federation import NOW, SCHEME, Federation, Running, total, vectors_for
from twins.ring import added, coefficients, decoded, packed

D = 70
BOTH = pytest.mark.parametrize("rule", [True, False], ids=["rule on", "rule off"])


@pytest.fixture(scope="module")
def nine() -> Running:
    """Nine participants, all holding: t = 7, c = 3, m = 8."""
    return Federation(9).set_up()


def off(monkeypatch: pytest.MonkeyPatch, module: object, name: str, substitute: object = None) -> None:
    """Switch one rule off."""
    monkeypatch.setattr(module, name, substitute or (lambda *args, **kwargs: None))


def open_for(running: Running, statement: Statement, holders: list[str]) -> dict[int, bytes]:
    """A malicious coordinator's own bookkeeping: each holder's opening share for a statement."""
    request = running.federation.post(COORDINATOR).write(OpenRequest(statement=statement))
    manifest = running.federation.manifest
    shares = {}
    for name in holders:
        body = running.holders[name].answer(request)
        _, message = running.federation.post(COORDINATOR).read(body, coordinator_role.OpeningShare)
        shares[manifest.point_of(name)] = message.share
    return shares


def _statement_for(
    running: Running, descriptor: Descriptor, names: tuple[str, ...], active: tuple[str, ...]
) -> Statement:
    return Statement(
        parts=descriptor.parts,
        descriptor=descriptor.digest,
        dimension=descriptor.dimension,
        contributors=tuple(sorted(names)),
        active=running.points(active),
    )


def _combined(running: Running, statement: Statement, ciphertexts: list[bytes], shares: dict[int, bytes]) -> list[int]:
    opened = SCHEME.combine(
        SCHEME.add(ciphertexts),
        shares,
        dimension=statement.dimension,
        threshold=running.federation.manifest.threshold,
        contributors=len(statement.contributors),
    )
    return [int(value) for value in opened]


def _ciphertext(running: Running, envelope: bytes) -> bytes:
    return running.federation.post(COORDINATOR).read(envelope, Contribution)[1].ciphertext


@BOTH
def test_two_encryptions_under_one_id_are_never_sent(
    nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """Two contributions under one key and release id subtract to their plaintexts' difference."""
    descriptor = nine.descriptor(round_index=100 + rule)
    first, second = vectors_for(["a", "b"], dimension=D).values()
    if not rule:
        off(monkeypatch, participant_role, "contribute_once")
    sent = [_ciphertext(nine, nine.contribution("org00", descriptor, first))]
    if rule:
        with pytest.raises(SecondUse):
            nine.contribution("org00", descriptor, second)
        return
    sent.append(_ciphertext(nine, nine.contribution("org00", descriptor, second)))
    difference = decoded(SCHEME.parameters, added(SCHEME.parameters, *sent, factors=[1, -1]), D)
    assert difference == list(first - second)


@BOTH
def test_two_statements_of_one_id_are_not_both_answered(
    nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """Opening one release with and without a victim shows the victim's vector."""
    names, victim = nine.federation.names, "org04"
    descriptor = nine.descriptor(round_index=110 + rule)
    vectors = vectors_for(names, dimension=D)
    contributions = nine.gathered(descriptor, vectors).contributions
    everyone = _statement_for(nine, descriptor, names, nine.active())
    others = _statement_for(nine, descriptor, tuple(n for n in names if n != victim), nine.active())
    if not rule:
        off(monkeypatch, holder_role, "answer_once")
    whole = _combined(nine, everyone, list(contributions.values()), open_for(nine, everyone, list(nine.active())))
    if rule:
        with pytest.raises(SecondUse):
            open_for(nine, others, list(nine.active()))
        return
    rest = [c for n, c in contributions.items() if n != victim]
    without = _combined(nine, others, rest, open_for(nine, others, list(nine.active())))
    assert [a - b for a, b in zip(whole, without, strict=True)] == list(vectors[victim])


@BOTH
def test_a_threshold_that_allows_two_disjoint_active_sets_is_refused(rule: bool) -> None:
    """With 2t ≤ k + c two active sets open one release twice, each holder answering once, and the sums subtract."""
    federation = Federation(6, numbers=Numbers(threshold=3, collusion_bound=1, cohort_minimum=5))
    if rule:
        with pytest.raises(ManifestError, match="2t = 6 is not above k \\+ c = 7"):
            check_manifest(federation.manifest)
        return
    running, names, victim = federation.set_up(), federation.names, "org02"
    descriptor, vectors = running.descriptor(), vectors_for(federation.names, dimension=D)
    contributions = running.gathered(descriptor, vectors).contributions
    everyone = _statement_for(running, descriptor, names, names[:3])
    others = _statement_for(running, descriptor, tuple(n for n in names if n != victim), names[3:])
    whole = _combined(running, everyone, list(contributions.values()), open_for(running, everyone, list(names[:3])))
    rest = [c for n, c in contributions.items() if n != victim]
    without = _combined(running, others, rest, open_for(running, others, list(names[3:])))
    assert [a - b for a, b in zip(whole, without, strict=True)] == list(vectors[victim])


@BOTH
def test_a_cohort_below_the_minimum_is_not_opened(nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool) -> None:
    """A statement that names the victim alone opens the victim's vector."""
    descriptor = nine.descriptor(round_index=120 + rule)
    vectors = vectors_for(["org05"], dimension=D)
    contributions = nine.gathered(descriptor, vectors).contributions
    alone = _statement_for(nine, descriptor, ("org05",), nine.active())
    if rule:
        with pytest.raises(StatementRefused, match="fewer than m = 8"):
            open_for(nine, alone, list(nine.active()))
        return
    off(monkeypatch, holder_role, "check_cohort")
    assert _combined(nine, alone, list(contributions.values()), open_for(nine, alone, list(nine.active()))) == list(
        vectors["org05"]
    )


@BOTH
def test_a_member_named_twice_does_not_fill_a_cohort(
    nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """A list that repeats the victim would reach m with a single honest contribution."""
    descriptor = nine.descriptor(round_index=122 + rule)
    padded = _statement_for(nine, descriptor, ("org05",) * 8, nine.active())
    if rule:
        with pytest.raises(StatementRefused, match="not distinct"):
            open_for(nine, padded, list(nine.active()))
        return
    off(monkeypatch, holder_role, "check_contributors")
    vectors = vectors_for(["org05"], dimension=D)
    (sent,) = nine.gathered(descriptor, vectors).contributions.values()
    shares = open_for(nine, padded, list(nine.active()))
    assert _combined(nine, padded, [sent] * 8, shares) == [8 * int(v) for v in vectors["org05"]]


@BOTH
def test_holders_told_different_cohorts_open_nothing(
    nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """Masks bound to the statement make every share uniform unless all of A answer one statement.

    Without that binding the shares of those who were told different sets stay combinable: here two holders are asked
    about another descriptor of the same release and their answers still cancel.
    """
    names = nine.federation.names
    descriptor = nine.descriptor(round_index=130 + rule)
    vectors = vectors_for(names, dimension=D)
    nine.gathered(descriptor, vectors)
    told = _statement_for(nine, descriptor, names, nine.active())
    if not rule:
        off(monkeypatch, holder_role.EpochHolder, "_masks", unbound_masks)
    other_names = (*names[:7], names[8])
    other = _statement_for(nine, descriptor, other_names, nine.active())
    shares = open_for(nine, told, list(nine.active()[:-1]))
    shares |= open_for(nine, other, [nine.active()[-1]])
    leak = added(SCHEME.parameters, *shares.values())
    honest_key_part = secret_part(nine, descriptor, told, other)
    error = max(abs(value) for value in _centred_difference(leak, honest_key_part))
    assert (error < 1 << 27) is (not rule)


def unbound_masks(holder: holder_role.EpochHolder, statement: Statement, own: int) -> dict[int, bytes]:
    """Masks that do not depend on what is opened."""
    key, committee = EpochKey(derive(holder.secret, "holder epoch key")), holder.holder.post.manifest.committee
    return {
        point: holder_role.pair_mask_key(
            key, holder.epoch.holder_keys[committee[point - 1]], statement=b"", points=(own, point)
        )
        for point in statement.active
        if point != own
    }


def secret_part(running: Running, descriptor: Descriptor, told: Statement, other: Statement) -> list[int]:
    """Σ λ_j·(Σ s_ij)·a as the adversary's mixed sets would give it: computed with unmasked, nearly noiseless shares."""
    manifest, active = running.federation.manifest, running.active()
    parts = []
    for name in active:
        holder = running.holders[name]
        statement = other if name == active[-1] else told
        point = manifest.point_of(name)
        masked = SCHEME.opening_share(
            holder._share_sum(statement.contributors),
            point=point,
            active=statement.active,
            masks={p: bytes(32) for p in statement.active if p != point},
            noise_key=bytes(32),
            release_id=descriptor.parts.release_id,
            descriptor_digest=descriptor.digest,
            dimension=descriptor.dimension,
        )
        parts.append(masked)
    return added(SCHEME.parameters, *parts)


def _centred_difference(left: list[int], right: list[int]) -> list[int]:
    q = SCHEME.parameters.modulus
    return [(a - b + q // 2) % q - q // 2 for a, b in zip(left, right, strict=True)]


@BOTH
def test_a_test_flag_on_a_real_id_opens_nothing(nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool) -> None:
    """Any set may be opened of a test release, so a real contribution must never be under a test id."""
    if not rule:
        monkeypatch.setattr(ReleaseParts, "release_id", property(kindless_id))
    descriptor = nine.descriptor(round_index=140 + rule)
    vectors = vectors_for(["org05"], dimension=D)
    contributions = nine.gathered(descriptor, vectors).contributions
    flagged = descriptor.parts.model_copy(update={"kind": "test"})
    alone = _statement_for(nine, descriptor, ("org05",), nine.active()).model_copy(update={"parts": flagged})
    shares = open_for(nine, alone, list(nine.active()))
    if rule:
        with pytest.raises(FedCRMError, match="FED-303"):
            _combined(nine, alone, list(contributions.values()), shares)
        return
    assert _combined(nine, alone, list(contributions.values()), shares) == list(vectors["org05"])


def kindless_id(parts: ReleaseParts) -> bytes:
    """A release id that does not say whether it is a test."""
    return holder_role.derive(bytes(32), "release", parts.manifest, parts.epoch, parts.run, parts.round, parts.attempt)


@BOTH
@pytest.mark.parametrize("factor", [1, 3], ids=["copied", "scaled"])
def test_a_copied_or_scaled_ciphertext_is_noticed(nine: Running, rule: bool, factor: int) -> None:
    """A participant that sends a multiple of another's ciphertext spoils the sum; the noise bound tells."""
    descriptor = nine.descriptor(round_index=150 + rule * 2 + (factor == 1) * 4)
    names, copier = nine.federation.names, "org08"
    vectors = vectors_for([n for n in names if n != copier], dimension=D)
    gathering = nine.gathered(descriptor, vectors)
    stolen = gathering.contributions["org00"]
    multiple = packed(stolen, [factor * c % SCHEME.parameters.modulus for c in coefficients(stolen)])
    body = Contribution(release_id=descriptor.parts.release_id, descriptor=descriptor.digest, ciphertext=multiple)
    gathering.receive(nine.federation.post(copier).write(body))
    opening = nine.answered(gathering.opening(names, nine.points(nine.active())))
    if rule:
        with pytest.raises(AttemptFailed, match="noise is out of bounds"):
            opening.open()
        return
    summed = added(SCHEME.parameters, opening.ciphertext_sum, *opening.shares.values())
    expected = np.sum(list(vectors.values()), axis=0) + factor * vectors["org00"]
    assert decoded(SCHEME.parameters, summed, D) != list(expected)


@BOTH
def test_descriptors_that_differ_per_participant_open_nothing(
    nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """A coordinator that shows the victim another descriptor (here a larger clamp) must not get a sum out of it."""
    if not rule:
        monkeypatch.setattr(Descriptor, "digest", property(lambda self: self.parts.release_id))
    shown = nine.descriptor(round_index=160 + rule)
    special = nine.descriptor(round_index=160 + rule, clamp=1 << 25)
    vectors = vectors_for(nine.federation.names, dimension=D)
    gathering = nine.gathering(shown)
    for name, values in vectors.items():
        sent = _ciphertext(nine, nine.contribution(name, special if name == "org03" else shown, values))
        gathering.contributions[name] = sent
    opening = nine.answered(gathering.opening(vectors, nine.points(nine.active())))
    if rule:
        with pytest.raises(AttemptFailed, match="noise is out of bounds"):
            opening.open()
        return
    assert list(opening.open()) == total(vectors)


@BOTH
def test_a_stale_holder_key_is_refused(monkeypatch: pytest.MonkeyPatch, rule: bool) -> None:
    """A holder key of an earlier run, whose private half was stolen since, must not receive shares of this run."""
    federation = Federation(5)
    stolen_secret = secrets.token_bytes(32)
    old_run = federation.holder("org00").announce(run=bytes(32), fresh_secret=stolen_secret)
    fresh = [
        federation.holder(name).announce(run=federation.run, fresh_secret=secrets.token_bytes(32))
        for name in federation.names[1:]
    ]
    relayed = federation.post(COORDINATOR).write(EpochKeys(run=federation.run, holder_keys=(old_run, *fresh)))
    if not rule:
        off(monkeypatch, epoch_rules, "same")
    victim = federation.participant("org04")
    if rule:
        with pytest.raises(EpochRefused, match="another run"):
            victim.enter(relayed, run=federation.run, fresh_secret=secrets.token_bytes(32))
        return
    within = victim.enter(relayed, run=federation.run, fresh_secret=secrets.token_bytes(32))
    (envelope,) = [e for h, e in zip(within.epoch.holder_keys, within.deal(), strict=True) if h == "org00"]
    _, body = federation.post("org00").read(envelope, SealedShare)
    key = EpochKey(derive(stolen_secret, "holder epoch key"))
    SCHEME.check_key_share(
        open_seal(key, body.sealed, associated_data=share_context(within.epoch.id, "org04", "org00"))
    )


@BOTH
def test_a_repeated_step_after_a_restored_vault_repeats_its_bytes(
    nine: Running, monkeypatch: pytest.MonkeyPatch, rule: bool
) -> None:
    """With fresh randomness, a step repeated from a restored disk gives two different ciphertexts of one plaintext."""
    descriptor = nine.descriptor(round_index=170 + rule)
    (values,) = vectors_for(["org06"], dimension=D).values()
    vault = nine.federation.vaults["org06"]
    image = vault.image()
    if not rule:
        off(monkeypatch, participant_role, "derive", lambda *args, **kwargs: secrets.token_bytes(32))
    sent = [noised(nine, descriptor, values)]
    vault.values = image.values
    sent.append(noised(nine, descriptor, values))
    assert (sent[0] == sent[1]) is rule
    if not rule:
        leak = decoded(SCHEME.parameters, added(SCHEME.parameters, *sent, factors=[1, -1]), D)
        assert any(leak), "the difference of two noise shares is out"


def noised(running: Running, descriptor: Descriptor, values: np.ndarray) -> bytes:
    """One contribution with its real noise share, as the role makes it."""
    within = running.participants["org06"]
    real = replace(within, participant=replace(within.participant, noise=participant_role.discrete_gaussian))
    training = participant_role.TrainingParticipant(real, None, None, None, None)  # type: ignore[arg-type]
    noise = training._noise_share(descriptor, values)
    return _ciphertext(running, participant_role.encrypted(real, descriptor, values + noise))


@pytest.mark.parametrize("damage", ["short", "long", "coefficient Q", "other parameters", "empty"])
def test_malformed_ring_elements_are_refused_and_the_sender_named(nine: Running, damage: str) -> None:
    """Foreign ring elements are parsed by us: exact length, every coefficient below Q, this federation's parameters."""
    descriptor = nine.descriptor(round_index=180)
    gathering = nine.gathering(descriptor)
    good = _ciphertext(nine, nine.contribution("org00", descriptor, np.zeros(D, np.int64)))
    bad = {
        "short": good[:-1],
        "long": good + b"\0",
        "coefficient Q": packed(good, [SCHEME.parameters.modulus, *coefficients(good)[1:]]),
        "other parameters": good[:4] + bytes(16) + good[20:],
        "empty": b"",
    }[damage]
    body = Contribution(release_id=descriptor.parts.release_id, descriptor=descriptor.digest, ciphertext=bad)
    with pytest.raises(MalformedObjectError):
        gathering.receive(nine.federation.post("org01").write(body))
    assert gathering.contributions == {}


def test_sealed_shares_swapped_between_dealers_or_holders_are_refused() -> None:
    """A seal opens for its epoch, dealer and holder only, whoever carries it."""
    running = Federation(4).set_up()
    federation, epoch = running.federation, running.epoch
    first = dict(zip(epoch.holder_keys, running.participants["org00"].deal(), strict=True))
    _, sealed = federation.post("org01").read(first["org01"], SealedShare)
    to_other_holder = federation.post("org00").write(sealed.model_copy(update={"holder": "org02"}))
    by_other_dealer = federation.post("org03").write(sealed)
    (wrong_holder,) = running.holders["org02"].receive([to_other_holder])
    (wrong_dealer,) = running.holders["org01"].receive([by_other_dealer])
    assert wrong_holder.code == wrong_dealer.code == "FED-304"
    (misrouted,) = running.holders["org03"].receive([first["org01"]])
    assert isinstance(misrouted, StatementRefused)


def test_the_first_share_of_a_dealer_stays() -> None:
    """A dealer that deals again within an epoch does not replace what a holder has stored."""
    running = Federation(4).set_up()
    vault = running.federation.vaults["org01"]
    before = vault.get(kinds.KEY_SHARE, running.epoch.id, b"org00")
    other = replace(running.participants["org00"], secret=secrets.token_bytes(32))
    again = dict(zip(running.epoch.holder_keys, other.deal(), strict=True))["org01"]
    assert running.holders["org01"].receive([again]) == []
    assert vault.get(kinds.KEY_SHARE, running.epoch.id, b"org00") == before


def test_a_statement_about_foreign_parts_is_refused(nine: Running) -> None:
    """Holders recompute the release id from its parts and refuse those of another federation, run or epoch."""
    good = nine.descriptor(round_index=190)
    for field in ("manifest", "epoch", "run"):
        parts = good.parts.model_copy(update={field: bytes(32)})
        statement = _statement_for(nine, good, nine.federation.names, nine.active()).model_copy(update={"parts": parts})
        with pytest.raises(StaleMessage):
            open_for(nine, statement, list(nine.active()))


def test_statements_with_a_wrong_active_set_are_refused(nine: Running) -> None:
    """A holder answers only for t distinct holders of its epoch with itself among them."""
    descriptor = nine.descriptor(round_index=191)
    good = _statement_for(nine, descriptor, nine.federation.names, nine.active())
    for active in [(1, 2, 3, 4, 5, 6), (1, 1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 10), (2, 3, 4, 5, 6, 7, 8)]:
        with pytest.raises(StatementRefused):
            open_for(nine, good.model_copy(update={"active": active}), ["org00"])


def test_a_contributor_without_a_held_share_is_refused(nine: Running) -> None:
    """A dealer whose share a holder does not have cannot be in a sum that it opens."""
    running = Federation(4).set_up()
    del running.federation.vaults["org01"].values[(kinds.KEY_SHARE, running.epoch.id, b"org02")]
    statement = _statement_for(running, running.descriptor(), running.federation.names, running.active())
    with pytest.raises(StatementRefused, match="no key share is held of org02"):
        open_for(running, statement, ["org01"])


def test_time_is_an_argument() -> None:
    """The roles have no clock: the only time in these tests is this constant."""
    assert NOW.tzinfo is not None
