"""What an audit found: per participant the lower bounds beside the statement, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from fedcrm.audit.bounds import LowerBounds
from fedcrm.audit.statements import PrivacyStatement
from fedcrm.errors import AuditFailed
from fedcrm.runs.public_record import PublicRecord

CONFIDENCE = 0.95
"""With at least this probability every lower bound of an audit is below the true ε of what was attacked."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Finding:
    """What the audit found about one participant; its owner's secret, like the statement.

    Attributes:
        statement: What its ledger states.
        reach: Part of the stated zero-concentrated privacy loss that the canary makes real, 1 when all of it.
        too_far: Whether the canary moves a release further than was charged for.
        transcript: Lower bounds from the transcript as the coordinator and c colluders see it.
        model: Lower bounds from the released model, or None when it was not attacked.
    """

    statement: PrivacyStatement
    reach: float
    too_far: bool
    transcript: LowerBounds
    model: LowerBounds | None

    @property
    def beaten(self) -> bool:
        """Whether an attack learnt more than is stated: a lower bound lies above the stated ε."""
        return max(self.transcript.best, self.model.best if self.model else 0.0) > self.statement.epsilon

    @property
    def passed(self) -> bool:
        """Whether the statement held."""
        return not (self.beaten or self.too_far)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AuditOutcome:
    """What an audit shows."""

    record: PublicRecord
    findings: tuple[Finding, ...]
    trials: int
    trainings: int

    @property
    def passed(self) -> bool:
        """Whether no participant's statement was beaten."""
        return all(finding.passed for finding in self.findings)

    def check(self) -> None:
        """Raise AuditFailed when a statement did not hold."""
        beaten = [finding.statement.participant for finding in self.findings if finding.beaten]
        further = [finding.statement.participant for finding in self.findings if finding.too_far]
        said = [f"an attack learnt more than is stated for {', '.join(beaten)}"] if beaten else []
        said += [f"one unit moves a release further than was charged for {', '.join(further)}"] if further else []
        if said:
            raise AuditFailed(
                "; ".join(said),
                why="a privacy statement that an attack can beat is a bug of the first order",
                fix="take part in no further run, audit again with more --trials to exclude chance, and report it",
            )
