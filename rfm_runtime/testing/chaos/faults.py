"""Faults as values: what may happen to a network and to a process. Pure; carried out by `proxy` and `processes`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BlackHole",
    "ClockJump",
    "Cut",
    "Descriptors",
    "Fault",
    "Freeze",
    "FullDisk",
    "HalfOpen",
    "IdleCut",
    "Kill",
    "Latency",
    "Memory",
    "NetworkFault",
    "ProcessFault",
    "Stalls",
    "Starve",
    "Throttle",
]


# --- networks ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Latency:
    """Each direction is later by `delay_s` ± `jitter_s`, in order; how much goes through is not limited."""

    delay_s: float
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stalls:
    """What the loss of packets is to who uses TCP: now and then nothing comes for a while, and then all of it.

    probability: of each piece of at most 4 KiB. wait_s: a retransmission's.
    """

    probability: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most so much in each direction of each connection."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The server's next WebSocket frame ends in its middle, and with it the connection.

    reset: by RST, which also throws away what is under way; else by FIN, as if that had been all.
    """

    reset: bool


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """The peers of all connections that are open vanish without a word. Who connects from now on is served.

    The proxy's kernel still acknowledges what fits into its buffers, which a machine that is gone would not.
    """


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Connections are accepted, and nothing goes through, until this is over."""


@dataclass(frozen=True, slots=True)
class IdleCut:
    """Whatever was silent in both directions for `after_s` is closed on both sides, as proxies do."""

    after_s: float


NetworkFault = Latency | Stalls | Throttle | Cut | HalfOpen | BlackHole | IdleCut


# --- processes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP, and SIGCONT when it is over."""


@dataclass(frozen=True, slots=True)
class Starve:
    """The process gets one core, which it shares with so many others that only compute."""

    rivals: int = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """No more address space than it has, and `spare_bytes`: the next large allocation fails."""

    spare_bytes: int = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Descriptors:
    """No more file descriptors than it has, and `spare`."""

    spare: int = 0


@dataclass(frozen=True, slots=True)
class FullDisk:
    """The runtime's disk, a small one of its own, has no room left."""


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock of all processes is `by_s` away from the true time; it is set back when it is over."""

    by_s: float


ProcessFault = Kill | Freeze | Starve | Memory | Descriptors | FullDisk | ClockJump
Fault = NetworkFault | ProcessFault
