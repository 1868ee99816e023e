"""An epoch: the keys of one run. Its id is the hash of the manifest, the run and the holders' fresh keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedcrm.errors import EpochRefused, MalformedMessage, SignatureRefused, StaleMessage
from fedcrm.protocol.digest import digest
from fedcrm.protocol.messages import HolderKey, Post, same
from fedcrm.protocol.release import Descriptor, ReleaseParts

TEST_DIMENSION = 64
TEST_TASK = "test"
TEST_LEARNER = "test"
TEST_CLAMP = 1 << 20


@dataclass(frozen=True, slots=True)
class Epoch:
    """The verified keys of one run.

    Attributes:
        manifest: Digest of the manifest.
        run: The run.
        holder_keys: X25519 public key of each holder that takes part.
    """

    manifest: bytes
    run: bytes
    holder_keys: Mapping[str, bytes]

    @property
    def id(self) -> bytes:
        """H(manifest digest, run, holders and their keys); 32 bytes."""
        pairs = [part for name in sorted(self.holder_keys) for part in (name, self.holder_keys[name])]
        return digest("epoch", self.manifest, self.run, *pairs)


def verified_epoch(post: Post, *, run: bytes, holder_keys: tuple[bytes, ...]) -> Epoch:
    """The epoch made of these signed holder keys, each verified against the roster and this run.

    Raises:
        EpochRefused: a key that is not a committee member's for this run, a holder twice, or fewer than t holders.
    """
    keys: dict[str, bytes] = {}
    for envelope in holder_keys:
        holder, body = _holder_key(post, envelope, run)
        if holder in keys:
            raise _refused(f"holder {holder} is there twice")
        keys[holder] = body.public_key
    if len(keys) < post.manifest.threshold:
        raise _refused(f"{len(keys)} holders answered, {post.manifest.threshold} are needed")
    if len(set(keys.values())) < len(keys):
        raise _refused("two holders have the same key")
    return Epoch(post.manifest.digest, run, keys)


def _holder_key(post: Post, envelope: bytes, run: bytes) -> tuple[str, HolderKey]:
    try:
        holder, body = post.read(envelope, HolderKey)
        same(run, body.run, what="run", sender=holder)
    except (SignatureRefused, MalformedMessage, StaleMessage) as error:
        raise _refused(f"a holder's key is not valid for this run ({error.what})") from error
    if holder not in post.manifest.committee:
        raise _refused(f"{holder} is not in the committee")
    return holder, body


def _refused(what: str) -> EpochRefused:
    return EpochRefused(
        f"the keys of this run are refused: {what}",
        why="a share sealed to a foreign or old key would hand it to someone else",
        fix="start the run anew; if it happens again, compare the manifests of all parties",
    )


def share_context(epoch: bytes, dealer: str, holder: str) -> bytes:
    """Associated data of a sealed share: it opens for this epoch, dealer and holder only."""
    return digest("sealed share", epoch, dealer, holder)


def public_vector(release_id: bytes, participant: str) -> list[int]:
    """The public vector a participant encrypts under a test release id; anyone can recompute it."""
    half = TEST_CLAMP // 2
    raw = [digest("test vector", release_id, participant, j) for j in range(TEST_DIMENSION)]
    return [int.from_bytes(r[:8], "big") % TEST_CLAMP - half for r in raw]


def probe_descriptor(epoch: Epoch, *, index: int, attempt: int) -> Descriptor:
    """The descriptor of a test release of the epoch: fixed but for its index and the setup attempt it belongs to."""
    parts = ReleaseParts(
        kind="test", manifest=epoch.manifest, epoch=epoch.id, run=epoch.run, round=index, attempt=attempt
    )
    return Descriptor(
        parts=parts,
        task=TEST_TASK,
        purpose=TEST_TASK,
        learner=TEST_LEARNER,
        query=digest("test query"),
        dimension=TEST_DIMENSION,
        clipping_norm=1.0,
        grid_bits=0,
        share_variance=0,
        clamp=TEST_CLAMP,
        deadline=60,
    )
