"""Membership inference on the transcript, by the coordinator with c colluders against one participant at a time.

The adversary is the strongest that the trust model allows. The cohort is as small as a release may have, m; the
colluders know their own contributions and noise shares; every honest row but the canary is known as well. What is left
of a release is the canary's part, or nothing, plus m − c honest noise shares. For Gaussian noise of variance σ² the
likelihood ratio of "in" against "out" grows with

    Σ_r ⟨opened_r − expected without_r, Δ_r⟩ / σ_r²,     Δ_r = expected with_r − expected without_r,

so no other statistic does better (Neyman, Pearson 1933; Nasr et al. 2023 attack releases of gradients the same way).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.audit.bounds import Scores
from fedcrm.audit.scratch import Rehearsal
from fedcrm.audit.statements import PrivacyStatement
from fedcrm.crypto.sealing import derive
from fedcrm.protocol.local_data import NoiseSource
from fedcrm.protocol.manifest import Manifest

_ROUNDING = 1e-9
"""Of a float sum of squares; integers within the bound are summed without any."""


@dataclass(frozen=True, slots=True, repr=False)
class Shift:
    """How the canary moves one release of one participant, and the noise it hides in.

    Attributes:
        difference: Δ_r, grid steps, float64 [d]; zero where a participant that gave data was charged for noise only.
        variance: σ_r² that the descriptor states for the honest shares together, grid².
        charged: Squared sensitivity that the participant was charged for, grid².
        drawn: Variances that the honest participants ask their noise source for, ascending; m − c of them.
    """

    difference: NDArray[np.float64]
    variance: float
    charged: int
    drawn: tuple[int, ...]


Victims = Mapping[str, Sequence[Shift]]
"""By participant: its shifts, in the order of the releases."""


def victims(
    rehearsals: Sequence[Rehearsal], statements: Sequence[PrivacyStatement], manifest: Manifest
) -> dict[str, list[Shift]]:
    """What the adversary knows about each audited participant before it sees a release.

    Of the pairs of neighbours rehearsed it takes the one that moves the releases most.
    """
    pairs = range(len(rehearsals[0].answers))
    return {
        s.participant: max(([_shift(r, pair, s, manifest) for r in rehearsals] for pair in pairs), key=reach)
        for s in statements
    }


def reach(shifts: Sequence[Shift]) -> float:
    """Σ_r ‖Δ_r‖²/(2σ_r²): the zero-concentrated privacy loss that the canary makes real."""
    return sum(float(shift.difference @ shift.difference) / (2 * shift.variance) for shift in shifts)


def too_far(shifts: Sequence[Shift]) -> bool:
    """Whether the canary moves any release further than was charged for; exact, without any chance in it."""
    return any(float(shift.difference @ shift.difference) > shift.charged * (1 + _ROUNDING) for shift in shifts)


def attack_transcript(
    targets: Victims, *, trials: int, noise: NoiseSource, key: bytes, advance: Callable[[], None]
) -> dict[str, Scores]:
    """Scores of `trials` transcripts without the canary and as many with it, for each participant.

    Each trial draws the honest shares anew from the noise source, under keys no participant ever had. One draw serves
    the transcript without and the one with the canary, and all participants whose honest company asks for the same
    noise. Scores then depend on each other across these, which the bounds allow: they take each error rate by itself
    and add up what may go wrong.

    Args:
        targets: From `victims`.
        trials: Number of draws.
        noise: The noise source under audit.
        key: 32 secret bytes.
        advance: Called after each trial.
    """
    scores = {name: np.zeros(trials) for name in targets}
    groups = _groups(targets)
    for trial in range(trials):
        for number, names in enumerate(groups):
            played = _play(targets, names, noise=noise, key=derive(key, "audit trial", trial, number))
            for name, score in played.items():
                scores[name][trial] = score
        advance()
    return {name: Scores(found, found + 2 * reach(targets[name])) for name, found in scores.items()}


def _shift(rehearsal: Rehearsal, pair: int, statement: PrivacyStatement, manifest: Manifest) -> Shift:
    without, inside = rehearsal.answers[pair]
    name, names = statement.participant, list(inside)
    company = [names[(names.index(name) + step) % len(names)] for step in range(manifest.honest_shares)]
    difference = (inside[name].values - without[name].values).astype(np.float64)
    charged = statement.given.get(rehearsal.release, 0)
    return Shift(
        difference=difference if charged or not statement.weight else np.zeros_like(difference),
        variance=float(rehearsal.request.descriptor.share_variance) * manifest.honest_shares,
        charged=charged,
        drawn=tuple(sorted(inside[one].noise_variance for one in company)),
    )


def _groups(targets: Victims) -> list[list[str]]:
    """Participants with the same honest noise in every release."""
    groups: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    for name, shifts in targets.items():
        groups.setdefault(tuple(shift.drawn for shift in shifts), []).append(name)
    return list(groups.values())


def _play(targets: Victims, names: Sequence[str], *, noise: NoiseSource, key: bytes) -> dict[str, float]:
    """Scores of one transcript without the canary, Σ_r ⟨honest noise, Δ_r⟩/σ_r²; the canary adds Σ_r ‖Δ_r‖²/σ_r²."""
    scores = dict.fromkeys(names, 0.0)
    for index, shift in enumerate(targets[names[0]]):
        share_keys = (derive(key, "audit share", index, share) for share in range(len(shift.drawn)))
        shares = [
            noise(variance=variance, size=len(shift.difference), stream_key=share_key)
            for variance, share_key in zip(shift.drawn, share_keys, strict=True)
        ]
        seen = np.sum(shares, axis=0).astype(np.float64)
        for name in names:
            own = targets[name][index]
            scores[name] += float(seen @ own.difference) / own.variance
    return scores
