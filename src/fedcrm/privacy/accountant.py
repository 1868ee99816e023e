"""What a release costs: an event is a value, an accountant says what it is worth in ρ and in (ε, δ).

A release adds, in each coordinate, at least N = m − c independent discrete Gaussians of variance v to an integer sum
whose L2 sensitivity is Δ. Such a sum of shares is no discrete Gaussian, and no Gaussian either, so its cost is a
theorem of its own (`ZcdpAccountant`). Costs compose by adding ρ; what ρ means as (ε, δ) is left to `dp_accounting`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from fedcrm.errors import PrivacyParameterError

if TYPE_CHECKING:
    from dp_accounting import DpEvent

_SMALLEST_ORDER, _LARGEST_ORDER, _ORDER_RATIO = 0.02, 1e8, 1.04
"""Rényi orders minus one: a geometric grid, so that the best order of any ρ in use has a neighbour within 2 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEvent:
    """What one release did, in integers only, as the ledger stores it.

    Attributes:
        dimension: d, number of coordinates.
        sensitivity_squared: Δ², largest squared L2 distance (grid²) that one unit moves the noiseless sum by.
        share_variance: v, variance parameter (grid²) of each noise share.
        honest_shares: N = m − c, noise shares that are certainly in the opened sum.
    """

    dimension: int
    sensitivity_squared: int
    share_variance: int
    honest_shares: int

    def __post_init__(self) -> None:
        lowest = {"dimension": 1, "sensitivity_squared": 0, "share_variance": 1, "honest_shares": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise PrivacyParameterError(
                    f"{name} of a release is {value!r}, not a whole number of at least {least}",
                    why="the bound on a sum of discrete Gaussians holds for integer sensitivity and share variance ≥ 1",
                    fix="use a finer grid (more grid_bits), so that the noise spans whole grid steps",
                )

    def to_json(self) -> str:
        """Canonical JSON: sorted names, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ReleaseEvent:
        """Read what `to_json` wrote; raises PrivacyParameterError for anything else."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise PrivacyParameterError(
                "text is not a release event",
                why="a cost can be computed only from the exact event",
                fix="restore the file this text came from",
            ) from error


class Accountant(Protocol):
    """Says what events cost. One conformance suite binds all implementations."""

    def rho(self, event: ReleaseEvent) -> float:
        """Zero-concentrated privacy loss ρ of one release; 0 for sensitivity 0."""
        ...

    def epsilon(self, events: Sequence[ReleaseEvent], *, delta: float) -> float:
        """ε at δ of all events together, composed once."""
        ...

    def epsilon_of(self, rho: float, *, delta: float) -> float:
        """ε at δ of a total ρ."""
        ...

    def rho_budget(self, *, epsilon: float, delta: float) -> float:
        """The largest ρ whose ε at δ is at most `epsilon`."""
        ...


class ZcdpAccountant:
    """Zero-concentrated differential privacy of sums of discrete Gaussian shares, under adding or removing one unit.

    The theorem is that of the distributed discrete Gaussian mechanism (Kairouz, Liu, Steinke 2021, arXiv:2102.06387,
    Proposition 14). With N shares N_Z(0, v), v ≥ 1/4, in each of d coordinates and an integer shift of squared length
    Δ², every Rényi divergence of order α > 1 between the shifted and the unshifted sum is at most

        min{ α·Δ²/(2Nv) + τ·d ,  (α/2)·(Δ/√(Nv) + τ·√d)² },    τ = 10·Σ_{k=1}^{N−1} exp(−2π²·v·k/(k+1)).

    Why: adding one more share to N_Z(0, kv) gives N_Z(0, (k+1)v) up to a factor exp(±5·exp(−2π²·v·k/(k+1))) in every
    point (a theta function's ripple), so all shares together give N_Z(0, Nv) up to exp(±τ/2), and the privacy loss
    is that of N_Z(0, Nv) up to τ in each coordinate. A sum of discrete Gaussians is sub-Gaussian with variance Nv,
    which gives the first form; the triangle inequality for concentrated privacy (Bun, Steinke 2016) the second.
    Both are at most ρ·α for ρ = min{ Δ²/(2Nv) + τ·d , ½(Δ/√(Nv) + τ·√d)² }, the ρ used here, rounded up.
    The paper's one-line form divides the first τ·d by four; it is not used, because α may be close to 1.

    N = 1 gives τ = 0 and the discrete Gaussian's ρ = Δ²/(2v) (Canonne, Kamath, Steinke 2020).

    Guarantee: ρ is never below the exact divergence of the discrete sums divided by the order.
    Guarantee: ε(ρ, δ) is never below the privacy-loss-distribution ε of the continuous Gaussian of the same ρ.
    Guarantee: ε(rho_budget(ε, δ), δ) ≤ ε, and within a thousandth of ε.
    """

    def rho(self, event: ReleaseEvent) -> float:
        """ρ of one release, rounded up; 0 for sensitivity 0."""
        return _rho(event)

    def epsilon(self, events: Sequence[ReleaseEvent], *, delta: float) -> float:
        """ε at δ of all events together: zCDP events composed in the library's Rényi accountant."""
        check_delta(delta)
        return _epsilon(compose(events), delta)

    def epsilon_of(self, rho: float, *, delta: float) -> float:
        """ε at δ of a total ρ, by the library's conversion (Canonne, Kamath, Steinke 2020, Proposition 12)."""
        check_delta(delta)
        return _epsilon_of_rho(rho, delta) if rho > 0 else 0.0

    def rho_budget(self, *, epsilon: float, delta: float) -> float:
        """The largest ρ (to 1e-9, rounded down) whose ε at δ is at most `epsilon`."""
        check_epsilon(epsilon)
        check_delta(delta)
        return _rho_budget(epsilon, delta)


def dp_event(event: ReleaseEvent) -> DpEvent:
    """The library's description of one release: ρ-zCDP, or nothing at all for sensitivity 0."""
    from dp_accounting import NoOpDpEvent, ZCDpEvent

    return ZCDpEvent(rho=_rho(event)) if event.sensitivity_squared else NoOpDpEvent()


def compose(events: Sequence[ReleaseEvent]) -> DpEvent:
    """The library's description of a whole history; equal events are counted, not repeated."""
    from dp_accounting import ComposedDpEvent, SelfComposedDpEvent

    return ComposedDpEvent([SelfComposedDpEvent(dp_event(event), n) for event, n in Counter(events).items()])


def check_epsilon(epsilon: float) -> None:
    """Raise PrivacyParameterError unless ε is a finite number above zero."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyParameterError(
            f"ε is {epsilon!r}",
            why="ε has to be a finite number above zero; anything else promises or allows nothing",
            fix="choose ε > 0 (typical: 0.25 to 8); to give nothing, set no budget: the weight is then 0",
        )


def check_delta(delta: float) -> None:
    """Raise PrivacyParameterError unless 0 < δ < 1."""
    if not 0 < delta < 1:
        raise PrivacyParameterError(
            f"δ is {delta!r}",
            why="δ bounds the probability that ε does not hold; it has to lie strictly between 0 and 1",
            fix="choose δ well below one over the number of customers, for example 1e-6",
        )


@lru_cache(maxsize=4096)
def _rho(event: ReleaseEvent) -> float:
    if not event.sensitivity_squared:
        return 0.0
    variance = event.share_variance * event.honest_shares
    tau = _ripple(event.share_variance, event.honest_shares)
    gaussian = round_up(Fraction(event.sensitivity_squared, 2 * variance))
    if tau == 0:
        return gaussian
    first = gaussian + tau * event.dimension
    second = 0.5 * (math.sqrt(2 * gaussian) + tau * math.sqrt(event.dimension)) ** 2
    return min(first, second) * (1 + 1e-14)


def _ripple(share_variance: int, honest_shares: int) -> float:
    """τ: twice the bound on how far the log-density of the sum of shares is from a discrete Gaussian's; rounded up."""
    terms = (math.exp(-2 * math.pi**2 * share_variance * k / (k + 1)) for k in range(1, honest_shares))
    return 10 * math.fsum(terms) * (1 + 1e-14)


def round_up(value: Fraction) -> float:
    """The smallest float that is at least `value`."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


@lru_cache(maxsize=1)
def _orders() -> tuple[float, ...]:
    count = math.ceil(math.log(_LARGEST_ORDER / _SMALLEST_ORDER) / math.log(_ORDER_RATIO))
    return tuple(1 + _SMALLEST_ORDER * _ORDER_RATIO**i for i in range(count + 1))


def _epsilon(event: Any, delta: float) -> float:  # noqa: ANN401 (the library is untyped)
    from dp_accounting import NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(_orders(), NeighboringRelation.ADD_OR_REMOVE_ONE)
    return float(accountant.compose(event).get_epsilon(delta))


@lru_cache(maxsize=4096)
def _epsilon_of_rho(rho: float, delta: float) -> float:
    from dp_accounting import ZCDpEvent

    return _epsilon(ZCDpEvent(rho=rho), delta)


@lru_cache(maxsize=256)
def _rho_budget(epsilon: float, delta: float) -> float:
    """Secant steps on ε(ρ), then a bracket that keeps its lower end valid; ε is increasing in ρ."""
    from scipy.optimize import brentq

    low, high = 0.0, epsilon * epsilon + epsilon
    while _epsilon_of_rho(high, delta) < epsilon:
        low, high = high, 2 * high
    root = float(brentq(lambda rho: _epsilon_of_rho(rho, delta) - epsilon if rho else -epsilon, low, high, rtol=1e-12))
    shrink = 1e-12
    while root > 0 and _epsilon_of_rho(root, delta) > epsilon:
        root, shrink = root * (1 - shrink), 2 * shrink
    return root
