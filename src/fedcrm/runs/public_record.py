"""The public half of a run, kept beside its transcript: the plan, the facts it started from, and every request.

All of it was sent to all participants, so it says nothing that they do not know. Whoever reads it can say exactly which
mechanism ran: every message is verified again against the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedcrm.crypto.identity import Identity
from fedcrm.errors import RunStoreError
from fedcrm.features.columns import FeatureSchema
from fedcrm.models.learner import PublicFacts
from fedcrm.protocol.digest import digest
from fedcrm.protocol.manifest import Manifest, read_manifest
from fedcrm.protocol.messages import COORDINATOR, Announcement, ContributionRequest, Post
from fedcrm.protocol.release import RunPlan
from fedcrm.runs.store import RunStore

MANIFEST_FILE, STORE_FILE = "manifest.toml", "coordinator.sqlite"
_ANNOUNCEMENT, _FACTS, _REQUEST = "announcement", "facts", "request "


@dataclass(frozen=True, slots=True)
class PublicRecord:
    """What everyone in a run was told.

    Attributes:
        manifest: The federation's.
        plan: What was announced before the first round.
        facts: What the learner started from.
        requests: Every request for contributions by release id, dead attempts included, in the order they were made.
    """

    manifest: Manifest
    plan: RunPlan
    facts: PublicFacts
    requests: Mapping[bytes, ContributionRequest]


def facts_digest(facts: PublicFacts) -> bytes:
    """Digest of the public facts that a plan names."""
    return digest("facts", facts.schema.digest, facts.participants, facts.units_magnitude)


def keep_announcement(store: RunStore, announcement: bytes, facts: PublicFacts) -> None:
    """Record the signed plan and the public facts of a run."""
    plain = {
        "schema": facts.schema.to_json(),
        "participants": facts.participants,
        "units_magnitude": facts.units_magnitude,
    }
    store.remember(_ANNOUNCEMENT, announcement)
    store.remember(_FACTS, json.dumps(plain, sort_keys=True).encode())


def keep_request(store: RunStore, release: bytes, request: bytes) -> None:
    """Record the signed request for contributions to a release before anyone answers it."""
    store.remember(_REQUEST + release.hex(), request)


def read_public_record(folder: Path) -> PublicRecord:
    """Read and verify what everyone in a run was told, and the transcript's hash chain.

    Raises:
        RunStoreError: the folder holds no run, a damaged one, or one that was made before requests were kept.
        ManifestError, ProtocolError: a message does not fit the manifest.
    """
    if not (folder / STORE_FILE).is_file() or not (folder / MANIFEST_FILE).is_file():
        raise _unusable(folder, f"holds no {STORE_FILE} with its {MANIFEST_FILE}")
    with RunStore(folder / STORE_FILE) as store:
        text = (folder / MANIFEST_FILE).read_text(encoding="utf-8")
        manifest = read_manifest(text, pinned=store.recall("manifest"), where=MANIFEST_FILE)
        announcement, facts = store.recall(_ANNOUNCEMENT), store.recall(_FACTS)
        if announcement is None or facts is None:
            raise _unusable(folder, "holds a run without its announcement")
        reader = Post(manifest, "reader", Identity.generate())
        plan = reader.read(announcement, Announcement, sender=COORDINATOR)[1].plan
        requests = [reader.read(r, ContributionRequest, sender=COORDINATOR)[1] for r in _requests(store)]
        opened = {entry.release for entry in store.transcript()}
    record = _checked(folder, manifest, plan, _facts(facts), requests)
    if not opened <= set(record.requests):
        raise _unusable(folder, "holds an opened release whose request was not kept")
    return record


def _requests(store: RunStore) -> list[bytes]:
    return [value for name, value in store.facts() if name.startswith(_REQUEST)]


def _facts(raw: bytes) -> PublicFacts:
    plain = json.loads(raw)
    return PublicFacts(FeatureSchema.from_json(plain["schema"]), plain["participants"], plain["units_magnitude"])


def _checked(
    folder: Path, manifest: Manifest, plan: RunPlan, facts: PublicFacts, requests: list[ContributionRequest]
) -> PublicRecord:
    if plan.manifest != manifest.digest or plan.facts != facts_digest(facts):
        raise _unusable(folder, "holds an announcement that does not fit its manifest and public facts")
    ordered = sorted(requests, key=lambda r: (r.descriptor.parts.round, r.descriptor.parts.attempt))
    return PublicRecord(manifest, plan, facts, {r.descriptor.parts.release_id: r for r in ordered})


def _unusable(folder: Path, what: str) -> RunStoreError:
    return RunStoreError(
        f"{folder.name} {what}",
        why="only a run whose public messages were kept can be looked at again",
        fix="give the folder of a run made by this version (`fedcrm demo` keeps one in its output folder, under run)",
        where=str(folder),
    )
