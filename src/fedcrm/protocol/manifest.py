"""The federation manifest: who takes part, who holds key shares, and the numbers secrecy rests on.

A signed, versioned TOML file. A participant takes part only in a federation whose manifest its operator accepted; the
digest is pinned locally.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from fedcrm.crypto.identity import Identity, verify
from fedcrm.crypto.scheme import SchemeParameters
from fedcrm.errors import FedCRMError, ManifestError, Problem
from fedcrm.protocol.digest import digest

MANIFEST_VERSION = 1
SIGNATURE_DOMAIN = "manifest"

Key = Annotated[bytes, Field(min_length=32, max_length=32)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f\"\\]{1,80}$")]


class Member(BaseModel):
    """One participant of the roster and its Ed25519 identity key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    identity: Key


class Manifest(BaseModel):
    """Everything the parties of a federation must agree on before anything leaves anyone.

    Attributes:
        federation: Name of the federation.
        coordinator: The coordinator's Ed25519 identity key.
        members: The roster of n participants.
        committee: Names of the k key holders; the holder at index j has Shamir point j + 1.
        threshold: t, how many holders open a sum.
        collusion_bound: c, how many participants may collude with the coordinator.
        cohort_minimum: m, the fewest contributors of a release; m − c noise shares carry the full noise.
        vocabulary_version: Version of the feature vocabulary.
        tasks: Tasks that may be trained.
        reference_epsilon: ε at which a participant's weight is full.
        reference_delta: δ belonging to it.
        parameters: Parameters of the threshold scheme.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    federation: Name
    coordinator: Key
    members: tuple[Member, ...]
    committee: tuple[Name, ...]
    threshold: int
    collusion_bound: int
    cohort_minimum: int
    vocabulary_version: str
    tasks: tuple[str, ...]
    reference_epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    reference_delta: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    parameters: SchemeParameters
    version: int = MANIFEST_VERSION

    @property
    def digest(self) -> bytes:
        """SHA-256 over every field; what an operator accepts and a participant pins."""
        return digest("manifest", json.dumps(_plain(self), sort_keys=True))

    @property
    def participants(self) -> tuple[str, ...]:
        """Names of the roster, in order."""
        return tuple(member.name for member in self.members)

    @property
    def honest_shares(self) -> int:
        """m − c: the noise shares that are there whatever the colluders do."""
        return self.cohort_minimum - self.collusion_bound

    def identity_of(self, name: str) -> bytes | None:
        """Ed25519 public key of a participant of the roster, or None."""
        return next((member.identity for member in self.members if member.name == name), None)

    def point_of(self, holder: str) -> int:
        """Shamir point of a holder, 1 … k."""
        return self.committee.index(holder) + 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """Threshold t, collusion bound c and cohort minimum m of a manifest."""

    threshold: int
    collusion_bound: int
    cohort_minimum: int


def default_numbers(*, participants: int, holders: int) -> Numbers:
    """The default t, c and m for n participants and k holders (for nine of nine: 7, 3, 8)."""
    collusion = max(1, holders // 3)
    threshold = (holders + collusion) // 2 + 1
    cohort = max(collusion + 1, participants - max(1, participants // 10))
    return Numbers(threshold, collusion, cohort)


def check_manifest(manifest: Manifest, *, where: str = "manifest") -> Manifest:
    """The manifest, when its numbers keep every rule the scheme stands on.

    Raises:
        ManifestError: naming every rule that is broken.
    """
    problems = _roster_problems(manifest) + _number_problems(manifest)
    if not problems:
        problems = _parameter_problems(manifest)
    if problems:
        raise ManifestError(problems, where=where)
    return manifest


def _roster_problems(manifest: Manifest) -> list[Problem]:
    names, keys = manifest.participants, [member.identity for member in manifest.members]
    checks = [
        (manifest.version == MANIFEST_VERSION, "version", f"is {manifest.version}, this program reads 1", "upgrade"),
        (len(set(names)) == len(names), "members", "a name is there twice", "give each participant one entry"),
        (len({*keys, manifest.coordinator}) == len(keys) + 1, "members", "two parties share a key", "one key a party"),
        (len(set(manifest.committee)) == len(manifest.committee), "committee", "a holder is there twice", "list once"),
        (set(manifest.committee) <= set(names), "committee", "a holder is not in the roster", "hold shares by members"),
    ]
    return [Problem(where, what, fix) for good, where, what, fix in checks if not good]


def _number_problems(manifest: Manifest) -> list[Problem]:
    n, k = len(manifest.members), len(manifest.committee)
    t, c, m = manifest.threshold, manifest.collusion_bound, manifest.cohort_minimum
    checks = [
        (c >= 1, "collusion_bound", f"c = {c}, at least 1 is needed", "set collusion_bound to 1 or more"),
        (t <= k, "threshold", f"t = {t} exceeds the k = {k} holders", "lower threshold or add holders"),
        (
            2 * t > k + c,
            "threshold",
            f"2t = {2 * t} is not above k + c = {k + c}, so two sums of one release could be opened and subtracted",
            f"raise threshold to at least {(k + c) // 2 + 1}",
        ),
        (
            c < m,
            "cohort_minimum",
            f"m = {m} is not above c = {c}, so a sum could hold one honest contribution and no honest noise",
            f"raise cohort_minimum to at least {c + 1}",
        ),
        (m <= n, "cohort_minimum", f"m = {m} exceeds the n = {n} participants", "lower cohort_minimum"),
    ]
    return [Problem(where, what, fix) for good, where, what, fix in checks if not good]


def _parameter_problems(manifest: Manifest) -> list[Problem]:
    try:
        manifest.parameters.check(
            threshold=manifest.threshold, holders=len(manifest.committee), participants=len(manifest.members)
        )
    except FedCRMError as error:
        return [Problem("parameters", error.what, error.fix)]
    return []


def write_manifest(manifest: Manifest, coordinator: Identity) -> str:
    """The manifest as signed TOML text."""
    check_manifest(manifest)
    plain = _plain(manifest)
    members, parameters = plain.pop("members"), plain.pop("parameters")
    signature = coordinator.sign(SIGNATURE_DOMAIN, manifest.digest)
    lines = ["# A federation manifest: accept it with its digest. A changed file no longer fits its signature."]
    lines += [f"{key} = {_toml(value)}" for key, value in plain.items()]
    lines += [f'signature = "{signature.hex()}"', "", "[parameters]"]
    lines += [f"{key} = {_toml(value)}" for key, value in parameters.items()]
    for member in members:
        lines += ["", "[[members]]", *(f"{key} = {_toml(value)}" for key, value in member.items())]
    return "\n".join(lines) + "\n"


def read_manifest(text: str, *, pinned: bytes | None, where: str = "manifest") -> Manifest:
    """Parse, check and verify a manifest.

    Args:
        text: The TOML text.
        pinned: The digest the operator accepted, or None while accepting for the first time.
        where: Name of the file, for errors.

    Raises:
        ManifestError: when it is not TOML, has unknown or missing keys, breaks a rule, is not signed by its
            coordinator, or is not the accepted one.
    """
    try:
        raw = tomllib.loads(text)
        signature = bytes.fromhex(str(raw.pop("signature", "")))
        manifest = _parse(raw)
    except ValidationError as error:
        raise ManifestError([_validation_problem(e) for e in error.errors()], where=where) from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        problem = Problem("file", f"is not a manifest ({error})", "ask the coordinator for the file again")
        raise ManifestError([problem], where=where) from error
    check_manifest(manifest, where=where)
    if not verify(manifest.coordinator, SIGNATURE_DOMAIN, manifest.digest, signature):
        raise ManifestError(
            [Problem("signature", "does not fit", "ask the coordinator for the file again")], where=where
        )
    if pinned is not None and pinned != manifest.digest:
        problem = Problem("digest", "is not the accepted one", "read what changed, then accept the new manifest")
        raise ManifestError([problem], where=where)
    return manifest


def _plain(manifest: Manifest) -> dict[str, Any]:
    """Fields as TOML-able values: bytes as hex text, tuples as lists."""
    plain: dict[str, Any] = manifest.model_dump(exclude={"parameters"})
    plain["coordinator"] = manifest.coordinator.hex()
    plain["members"] = [{"name": m.name, "identity": m.identity.hex()} for m in manifest.members]
    plain["committee"], plain["tasks"] = list(manifest.committee), list(manifest.tasks)
    plain["parameters"] = asdict(manifest.parameters)
    return plain


def _parse(raw: dict[str, Any]) -> Manifest:
    raw["coordinator"] = bytes.fromhex(raw["coordinator"])
    raw["members"] = tuple(
        Member(name=m.pop("name"), identity=bytes.fromhex(m.pop("identity")), **m) for m in raw["members"]
    )
    raw["committee"], raw["tasks"] = tuple(raw["committee"]), tuple(raw["tasks"])
    raw["parameters"] = SchemeParameters(**raw["parameters"])
    return Manifest(**raw)


def _validation_problem(error: ErrorDetails) -> Problem:
    return Problem(".".join(str(part) for part in error["loc"]) or "file", error["msg"], "mend this key")


def _toml(value: object) -> str:
    return json.dumps(value)
