"""One attempt at one release over in-process sites: contribute, fix the statement, open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.engine.setup import Stage
from fedcrm.engine.site import Site
from fedcrm.errors import AttemptFailed, FedCRMError
from fedcrm.protocol.coordinator import Gathering, Opening
from fedcrm.protocol.messages import OpenRequest, Post
from fedcrm.protocol.participant import TrainingParticipant
from fedcrm.protocol.release import Descriptor, Statement
from fedcrm.runs.public_record import keep_request
from fedcrm.runs.store import RunStore


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything one attempt needs.

    Attributes:
        post: The coordinator's.
        scheme: The threshold scheme.
        store: The coordinator's run store.
        sites: All sites by name.
        stage: The epoch.
        training: Participants that accepted the plan.
        present: Whether a party can be reached in a phase ("contribute" or "open").
        passed: Called after each party's step, with the phase and the party.
        clock: The time for ledgers.
    """

    post: Post
    scheme: ThresholdScheme
    store: RunStore
    sites: Mapping[str, Site]
    stage: Stage
    training: Mapping[str, TrainingParticipant]
    present: Callable[[str, str], bool]
    passed: Callable[[str, str], None]
    clock: Callable[[], datetime]

    def run(self, descriptor: Descriptor, payload: bytes) -> tuple[Statement, NDArray[np.int64]]:
        """The statement and the opened sum.

        Raises:
            AttemptFailed: too few contributors or holders, or the sum did not open.
        """
        gathering = self._gathered(descriptor, payload)
        opening = self._stated(gathering)
        return opening.statement, self._opened(opening)

    def _gathered(self, descriptor: Descriptor, payload: bytes) -> Gathering:
        """Contributions of all who can be reached; one who refuses or fails is told and left out."""
        gathering = Gathering(self.post, self.scheme, descriptor)
        request = gathering.request(payload)
        keep_request(self.store, descriptor.parts.release_id, request)
        for name, participant in self.training.items():
            if not self.present("contribute", name):
                continue
            try:
                gathering.receive(self.sites[name].sends(participant.contribute(request, now=self.clock())))
            except FedCRMError as error:
                self.sites[name].findings.append(str(error))
            self.passed("contribute", name)
        return gathering

    def _stated(self, gathering: Gathering) -> Opening:
        """The one statement of this release id: the recorded one after a kill, else a new one, recorded first."""
        release = gathering.descriptor.parts.release_id
        recorded = self.store.statement(release)
        if recorded is not None:
            _, body = self.post.read(recorded, OpenRequest)
            return self._restated(gathering, body.statement)
        dealers = set(self.stage.committee.dealers(self.post.manifest.threshold))
        contributors = sorted(dealers & set(gathering.contributions))
        answering = [name for name in self.stage.holders if self.present("open", name)]
        active = self.stage.committee.active_set(self.post.manifest, contributors, answering=answering)
        opening = gathering.opening(contributors, active)
        self.store.record_statement(release, opening.request())
        return opening

    def _restated(self, gathering: Gathering, statement: Statement) -> Opening:
        missing = sorted(set(statement.contributors) - set(gathering.contributions))
        if missing:
            raise AttemptFailed(
                f"{', '.join(missing)} did not repeat the contribution that was recorded before the stop",
                why="a release id has one statement; it can be completed only with the same contributors",
                fix="a fresh attempt is made",
            )
        return gathering.opening(statement.contributors, statement.active)

    def _opened(self, opening: Opening) -> NDArray[np.int64]:
        request = opening.request()
        for point in opening.statement.active:
            name = self.post.manifest.committee[point - 1]
            if name not in self.stage.holders or not self.present("open", name):
                continue
            try:
                opening.receive(self.sites[name].sends(self.stage.holders[name].answer(request)))
            except FedCRMError as error:
                self.sites[name].findings.append(str(error))
            self.passed("open", name)
        return opening.open()
