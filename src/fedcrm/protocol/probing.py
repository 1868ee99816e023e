"""Test releases after epoch setup: do all holders' shares open? If not, name the dealer and holder that do not fit.

Which of the two lied cannot be known: a dealer may have dealt a wrong share, a holder may answer wrongly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedcrm.errors import EpochRefused
from fedcrm.protocol.coordinator import Committee
from fedcrm.protocol.manifest import Manifest

Opens: TypeAlias = Callable[[Sequence[str], Sequence[str]], bool]
"""Makes one test release of these contributors for these holders; says whether it opened to the right sum."""

Rule: TypeAlias = Literal["dealer", "holder"]
"""Whom the operator goes on without when a pair does not fit."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A dealer whose share does not open at a holder (None when no spare holder was there to tell which)."""

    dealer: str
    holder: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The committee that passes all test releases, and the pairs that did not."""

    committee: Committee
    misfits: tuple[Misfit, ...]


def covering_sets(holders: Sequence[str], threshold: int) -> list[tuple[str, ...]]:
    """Active sets of size `threshold` that together cover every holder: k − t + 1 of them."""
    names = sorted(holders)
    core = names[: threshold - 1]
    return [tuple(sorted([*core, name])) for name in names[threshold - 1 :]]


def examine(committee: Committee, manifest: Manifest, *, opens: Opens, rule: Rule) -> Verdict:
    """Test all holders; bisect what fails; go on without one of each misfitting pair.

    Raises:
        EpochRefused: fewer than t holders or fewer than m dealers are left.
    """
    misfits: list[Misfit] = []
    while True:
        _check_enough(committee, manifest, misfits)
        found = _misfits(committee, manifest.threshold, opens)
        if not found:
            return Verdict(committee, tuple(misfits))
        misfits += found
        committee = _without(committee, found, rule)


def _misfits(committee: Committee, threshold: int, opens: Opens) -> list[Misfit]:
    dealers = committee.dealers(threshold)
    found: list[Misfit] = []
    for active in covering_sets(committee.able(dealers), threshold):
        suspects = [dealer for dealer in dealers if dealer not in {m.dealer for m in found}]
        if not suspects or opens(suspects, active):
            continue
        found += [_named(dealer, active, committee, opens) for dealer in suspects if not opens([dealer], active)]
    return found


def _named(dealer: str, active: Sequence[str], committee: Committee, opens: Opens) -> Misfit:
    """Swap each holder for a spare: the one whose absence makes the sum open belongs to the pair."""
    spares = [name for name in committee.able([dealer]) if name not in active]
    for spare in spares:
        for holder in active:
            if opens([dealer], sorted({*active, spare} - {holder})):
                return Misfit(dealer, holder)
    return Misfit(dealer, None)


def _without(committee: Committee, found: Sequence[Misfit], rule: Rule) -> Committee:
    """Leave out each pair's dealer, or its holder; a holder that misfits with several dealers goes alone."""
    blamed = Counter(m.holder for m in found if m.holder)
    holders = {name for name, times in blamed.items() if times > 1 or rule == "holder"}
    return committee.without(dealers=[m.dealer for m in found if m.holder not in holders], holders=holders)


def _check_enough(committee: Committee, manifest: Manifest, misfits: Sequence[Misfit]) -> None:
    dealers = committee.dealers(manifest.threshold)
    if len(dealers) < manifest.cohort_minimum:
        named = "; ".join(f"{m.dealer} with {m.holder or 'an unknown holder'}" for m in misfits) or "none named"
        raise EpochRefused(
            f"{len(dealers)} dealers' shares open, {manifest.cohort_minimum} are needed (misfits: {named})",
            why="a smaller cohort would hide each contribution less than was promised",
            fix="ask the named parties to check their machines, then start the run anew",
        )
