"""Epoch setup over in-process sites: fresh keys, sealed shares, test releases. After a kill it repeats itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.engine.site import Site
from fedcrm.errors import AttemptFailed, FedCRMError
from fedcrm.protocol.coordinator import Committee, EpochSetup, Gathering
from fedcrm.protocol.epoch import Epoch, probe_descriptor, public_vector
from fedcrm.protocol.holder import EpochHolder
from fedcrm.protocol.local_data import NoiseSource
from fedcrm.protocol.messages import Post
from fedcrm.protocol.participant import EpochParticipant
from fedcrm.protocol.probing import Rule, examine


@dataclass(frozen=True, slots=True)
class Stage:
    """An epoch that is set up.

    Attributes:
        epoch: The verified keys.
        participants: Every reachable participant within the epoch.
        holders: Every reachable holder within the epoch.
        committee: Who holds whose shares, after all test releases opened.
    """

    epoch: Epoch
    participants: Mapping[str, EpochParticipant]
    holders: Mapping[str, EpochHolder]
    committee: Committee


@dataclass(frozen=True, slots=True)
class Parties:
    """Everyone a setup talks to."""

    post: Post
    scheme: ThresholdScheme
    noise: NoiseSource
    sites: Mapping[str, Site]
    fresh: Callable[[int], bytes]

    @property
    def holding(self) -> Sequence[str]:
        """Names of the reachable holders, in committee order."""
        return [name for name in self.post.manifest.committee if name in self.sites]


def set_up_epoch(parties: Parties, *, run: bytes, attempt: int, rule: Rule) -> Stage:
    """Keys, shares and test releases of one run.

    Args:
        parties: Who takes part.
        run: The run.
        attempt: Counts the setups of this run, so that no test release id is used for two statements.
        rule: Whom to go on without when a dealer's share does not open at a holder.

    Raises:
        EpochRefused: too few holders, dealers or opening shares.
    """
    manifest, sites = parties.post.manifest, parties.sites
    setup = EpochSetup(parties.post, run)
    roles = {name: sites[name].holder(manifest, parties.scheme) for name in parties.holding}
    announced = [
        sites[name].sends(role.announce(run=run, fresh_secret=parties.fresh(32))) for name, role in roles.items()
    ]
    epoch, relayed = setup.keys(announced)
    holders = {name: role.enter(relayed, run=run) for name, role in roles.items()}
    participants = {
        name: site.participant(manifest, parties.scheme, parties.noise).enter(
            relayed, run=run, fresh_secret=parties.fresh(32)
        )
        for name, site in sites.items()
    }
    lists = _deal(parties, participants, holders)
    stage = Stage(epoch, participants, holders, setup.committee(epoch, lists))
    prober = _Prober(parties, stage, attempt)
    verdict = examine(stage.committee, manifest, opens=prober.opens, rule=rule)
    return Stage(epoch, participants, holders, verdict.committee)


def _deal(
    parties: Parties, participants: Mapping[str, EpochParticipant], holders: Mapping[str, EpochHolder]
) -> list[bytes]:
    """Bring every sealed share to its holder; the holders' signed lists."""
    for name, participant in participants.items():
        for holder, envelope in zip(participant.epoch.holder_keys, participant.deal(), strict=True):
            parties.sites[name].sends(envelope)
            for error in holders[holder].receive([envelope]):
                parties.sites[holder].findings.append(str(error))
    return [parties.sites[name].sends(holder.dealers_held()) for name, holder in holders.items()]


class _Prober:
    """Makes test releases, each under an id of its own."""

    def __init__(self, parties: Parties, stage: Stage, attempt: int) -> None:
        self._parties, self._stage, self._attempt, self._next = parties, stage, attempt, 0

    def opens(self, contributors: Sequence[str], active: Sequence[str]) -> bool:
        """Whether a test release of these contributors opens to their public vectors' sum for these holders."""
        descriptor = probe_descriptor(self._stage.epoch, index=self._next, attempt=self._attempt)
        self._next += 1
        try:
            opened = self._opened(Gathering(self._parties.post, self._parties.scheme, descriptor), contributors, active)
        except (AttemptFailed, FedCRMError):
            return False
        vectors = [public_vector(descriptor.parts.release_id, name) for name in contributors]
        return opened == [sum(column) for column in zip(*vectors, strict=True)]

    def _opened(self, gathering: Gathering, contributors: Sequence[str], active: Sequence[str]) -> list[int]:
        sites, stage = self._parties.sites, self._stage
        request = gathering.request(b"")
        for name in contributors:
            gathering.receive(sites[name].sends(stage.participants[name].probe(request)))
        points = tuple(sorted(self._parties.post.manifest.point_of(name) for name in active))
        opening = gathering.opening(contributors, points)
        for name in active:
            opening.receive(sites[name].sends(stage.holders[name].answer(opening.request())))
        return [int(value) for value in opening.open()]
