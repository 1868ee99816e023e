"""The organisation-level quality factor: charged first, measured once per run, then constant.

The only data-dependent number that may enter a weight. What it costs is on the ledger before a record is read, its
noise is the participant's own and all of it (one share, nobody else to rely on), and the first value stays: a repeated
step repeats it. Neither the measurement nor the factor is ever sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import numpy as np

from fedcrm.crypto.sealing import derive
from fedcrm.errors import BudgetExceeded, PrivacyParameterError
from fedcrm.models.reliability import QUERY, Agreement, Reference, factor, read_agreement
from fedcrm.privacy.calibration import mechanism_for
from fedcrm.privacy.mechanism import SumMechanism, sum_units
from fedcrm.protocol import vault as kinds
from fedcrm.protocol.digest import digest
from fedcrm.protocol.epoch import Epoch
from fedcrm.protocol.local_data import Books, LocalData, NoiseSource, unit_by_unit, why_unusable
from fedcrm.protocol.release import RunPlan
from fedcrm.protocol.vault import Vault

PURPOSE = "label reliability"
MOST_UNITS = 10**7
"""Units in one cell from which the measurement is clamped; sets its grid, not its privacy."""


@dataclass(frozen=True, slots=True, repr=False)
class Surveyor:
    """Measures label reliability for one participant, once per run: a second epoch of the run keeps the value.

    Attributes:
        vault: Where the first value stays.
        epoch: The epoch.
        secret: The epoch secret; the noise is a PRF of it.
        noise: The noise source.
    """

    vault: Vault
    epoch: Epoch
    secret: bytes
    noise: NoiseSource

    def factor(self, plan: RunPlan, planned_rho: float, data: LocalData, books: Books, *, now: datetime) -> float:
        """The factor of this run, in [0, 1]; 1 without a reference, without budget, or with columns that do not fit.

        Args:
            plan: The announced run.
            planned_rho: What it costs at full weight.
            data: What the participant brings.
            books: Its ledger.
            now: The time.

        Guarantee: no record is read before the ledger holds the charge.
        Guarantee: asked again within the run, the value is the first one, whatever rows, reference or budget are now.
        """
        stored = self.vault.get(kinds.QUALITY, self.epoch.run, b"factor")
        if stored is None:
            first = self._first(plan, planned_rho, data, books, now)
            stored = self.vault.record(kinds.QUALITY, self.epoch.run, b"factor", first.hex().encode())
        return float.fromhex(stored.decode())

    def _first(self, plan: RunPlan, planned_rho: float, data: LocalData, books: Books, now: datetime) -> float:
        if data.reference is None:
            return 1.0
        unusable = why_unusable(data.reference, QUERY, data.rows)
        if unusable is not None:
            data.tell(f"label reliability is not measured ({unusable})")
            return 1.0
        mechanism = self._mechanism(plan, planned_rho, data.reference, books, now)
        if mechanism is None or not self._charged(plan, mechanism, data, books, now):
            return 1.0
        found = factor(self._measure(plan, mechanism, data, data.reference))
        data.tell(f"label reliability was measured and charged; this run's quality factor from it is {found:g}")
        return found

    def _mechanism(
        self, plan: RunPlan, planned_rho: float, reference: Reference, books: Books, now: datetime
    ) -> SumMechanism | None:
        """Noise for the reference's share of what the run may cost this participant; the first one stays.

        None where nothing is to spend, or so little that no grid carries its noise: a plan must not make some refuse.
        """
        available = min(planned_rho, books.remaining_rho(task=plan.task, now=now)) * reference.share
        multiplier = 1 / math.sqrt(2 * available) if available > 0 else 0.0
        first = self.vault.record(kinds.QUALITY, self.epoch.run, b"multiplier", multiplier.hex().encode())
        if not float.fromhex(first.decode()):
            return None
        try:
            return mechanism_for(
                dimension=QUERY.dimension,
                clipping_norm=QUERY.clipping_norm,
                coordinate_bound=QUERY.coordinate_bound,
                noise_multiplier=float.fromhex(first.decode()),
                honest_shares=1,
                participants=1,
                units_magnitude=MOST_UNITS,
            )
        except PrivacyParameterError:
            return None

    def _charged(self, plan: RunPlan, mechanism: SumMechanism, data: LocalData, books: Books, now: datetime) -> bool:
        """Whether the ledger holds the charge; once per run, whatever is repeated."""
        try:
            books.charge(
                measurement_id(self.epoch),
                mechanism.event(Fraction(1)),
                run=plan.run.hex(),
                round=-1,
                attempt=0,
                manifest_digest=plan.manifest,
                purpose=PURPOSE,
                task=plan.task,
                now=now,
            )
        except BudgetExceeded as error:
            data.tell(str(error))
            return False
        return True

    def _measure(self, plan: RunPlan, mechanism: SumMechanism, data: LocalData, reference: Reference) -> Agreement:
        values = sum_units(mechanism, unit_by_unit(reference, QUERY, data.rows), weight=1).values
        place = (measurement_id(self.epoch), plan.digest, digest("encoded sum", values.tobytes()))
        key = derive(self.secret, PURPOSE, *place)
        share = self.noise(variance=mechanism.share_variance, size=QUERY.dimension, stream_key=key)
        counts = mechanism.decode(np.asarray(values + share, np.int64))
        return read_agreement(counts, noise_sd=mechanism.noise_sd(1))


def measurement_id(epoch: Epoch) -> bytes:
    """The id the measurement is charged under; no release can have it, as its label is another."""
    return digest(PURPOSE, epoch.manifest, epoch.run)
