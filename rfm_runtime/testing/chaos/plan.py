"""Which fault happens when, and to whom: follows from the seed, the length and the kinds of faults alone."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from rfm_runtime.testing.chaos.faults import (
    BlackHole,
    ClockJump,
    Cut,
    Descriptors,
    Fault,
    Freeze,
    FullDisk,
    HalfOpen,
    IdleCut,
    Kill,
    Latency,
    Memory,
    NetworkFault,
    Stalls,
    Starve,
    Throttle,
)

__all__ = ["CALM_S", "KINDS", "FaultKind", "Planned", "plan"]

T = TypeVar("T")
FaultKind = Literal["kill", "freeze", "network", "starve", "memory", "descriptors", "clock", "disk"]
KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

CALM_S = 2.0
"""Nothing happens at first, so that there is something to disturb."""

GAP_S = (0.4, 4.0)
"""Between the beginnings of two faults."""

REBOOT_GAP_S = 20.0
"""Between two deaths of the supervisor: a runtime that never gets to its feet shows nothing."""

WEIGHTS: Final[dict[FaultKind, float]] = {
    "kill": 4.0,
    "freeze": 3.0,
    "network": 4.0,
    "starve": 1.0,
    "memory": 0.7,
    "descriptors": 0.7,
    "clock": 1.0,
    "disk": 0.7,
}
KILLED = ("broker", "gateway-0", "gateway-1", "engine-0", "worker", "worker", "reporter", "watcher", "supervisor")
FROZEN = ("broker", "gateway-0", "gateway-1", "engine-0", "worker", "reporter", "watcher", "supervisor")
SERVERS = ("broker", "gateway-0", "gateway-1")


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault. at_s: since the beginning. lasts_s: 0 for what happens at once. target: a process, or the network."""

    at_s: float
    kind: FaultKind
    target: str
    fault: Fault
    lasts_s: float

    def line(self) -> str:
        """For people."""
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s  {self.kind:11} {self.target}: {self.what}{lasts}"

    @property
    def what(self) -> str:
        """The fault in words."""
        return str(self.fault)


def plan(seed: int, seconds: float, kinds: Collection[FaultKind] = KINDS) -> tuple[Planned, ...]:
    """Faults over so many seconds, by their beginnings; all are over by the end."""
    chosen = [kind for kind in KINDS if kind in kinds]
    rng = random.Random(seed)
    made: list[Planned] = []
    at_s, rebooted_s = CALM_S, -REBOOT_GAP_S
    while chosen and at_s < seconds - 1.0:
        one = _fault(rng, _weighted(rng, chosen), at_s, seconds)
        if one.target == "supervisor" and isinstance(one.fault, Kill):
            if at_s - rebooted_s >= REBOOT_GAP_S and seconds - at_s > REBOOT_GAP_S / 2:
                made.append(one)
                rebooted_s = at_s
        else:
            made.append(one)
        at_s = round(at_s + _between(rng, *GAP_S), 2)
    return tuple(made)


def _weighted(rng: random.Random, kinds: list[FaultKind]) -> FaultKind:
    # `random()` alone gives the same numbers in every version of Python.
    left = rng.random() * sum(WEIGHTS[kind] for kind in kinds)
    for kind in kinds:
        left -= WEIGHTS[kind]
        if left < 0:
            return kind
    return kinds[-1]


def _fault(rng: random.Random, kind: FaultKind, at_s: float, seconds: float) -> Planned:
    lasts_s = min(_between(rng, 1.0, 10.0), seconds - at_s)
    target = "runtime"
    fault: Fault
    match kind:
        case "kill":
            target, fault, lasts_s = _one(rng, KILLED), Kill(), 0.0
        case "freeze":
            target, fault = _one(rng, FROZEN), Freeze()
        case "network":
            target, fault = "network", _network(rng)
            lasts_s = 0.0 if isinstance(fault, Cut | HalfOpen) else lasts_s
        case "starve":
            target, fault = _one(rng, (*SERVERS, "engine-0")), Starve()
        case "memory":
            target, fault = _one(rng, SERVERS), Memory()
        case "descriptors":
            target, fault = _one(rng, SERVERS), Descriptors()
        case "clock":
            sign = 1.0 if rng.random() < 0.5 else -1.0
            fault = ClockJump(sign * round(_between(rng, 60.0, 6 * 3600.0)))
        case "disk":
            fault = FullDisk()
    return Planned(at_s, kind, target, fault, round(lasts_s, 1))


def _network(rng: random.Random) -> NetworkFault:
    choices: tuple[NetworkFault, ...] = (
        Latency(0.2, 0.1),
        Stalls(0.1, 0.4),
        Throttle(10_000),
        Cut(reset=False),
        Cut(reset=True),
        HalfOpen(),
        BlackHole(),
        IdleCut(1.0),
    )
    return _one(rng, choices)


def _between(rng: random.Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _one(rng: random.Random, choices: tuple[T, ...]) -> T:
    return choices[int(rng.random() * len(choices))]
