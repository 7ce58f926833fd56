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

    def __str__(self) -> str:
        return f"{self.delay_s * 1000:.0f} ± {self.jitter_s * 1000:.0f} ms later"


@dataclass(frozen=True, slots=True)
class Stalls:
    """What the loss of packets is to who uses TCP: now and then nothing comes for a while, and then all of it.

    probability: of each piece of at most 4 KiB. wait_s: a retransmission's.
    """

    probability: float
    wait_s: float

    def __str__(self) -> str:
        return f"stalls of {self.wait_s * 1000:.0f} ms, {self.probability:.0%} of all pieces"


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most so much in each direction of each connection."""

    bytes_per_s: float

    def __str__(self) -> str:
        return f"{self.bytes_per_s / 1000:.0f} KB/s"


@dataclass(frozen=True, slots=True)
class Cut:
    """The server's next WebSocket frame ends in its middle, and with it the connection.

    reset: by RST, which also throws away what is under way; else by FIN, as if that had been all.
    """

    reset: bool

    def __str__(self) -> str:
        return "reset in mid-frame" if self.reset else "truncated in mid-frame"


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """The peers of all connections that are open vanish without a word. Who connects from now on is served.

    The proxy's kernel still acknowledges what fits into its buffers, which a machine that is gone would not.
    """

    def __str__(self) -> str:
        return "all peers vanish without a word"


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Connections are accepted, and nothing goes through, until this is over."""

    def __str__(self) -> str:
        return "accepts and forwards nothing"


@dataclass(frozen=True, slots=True)
class IdleCut:
    """Whatever was silent in both directions for `after_s` is closed on both sides, as proxies do."""

    after_s: float

    def __str__(self) -> str:
        return f"cut when idle for {self.after_s:g} s"


NetworkFault = Latency | Stalls | Throttle | Cut | HalfOpen | BlackHole | IdleCut


# --- processes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL."""

    def __str__(self) -> str:
        return "killed"


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP, and SIGCONT when it is over."""

    def __str__(self) -> str:
        return "frozen"


@dataclass(frozen=True, slots=True)
class Starve:
    """The process gets one core, which it shares with so many others that only compute."""

    rivals: int = 8

    def __str__(self) -> str:
        return f"on one core with {self.rivals} rivals"


@dataclass(frozen=True, slots=True)
class Memory:
    """No more address space than it has, and `spare_bytes`: the next large allocation fails."""

    spare_bytes: int = 4 * 2**20

    def __str__(self) -> str:
        return f"{self.spare_bytes / 2**20:.0f} MiB of memory left"


@dataclass(frozen=True, slots=True)
class Descriptors:
    """No more file descriptors than it has, and `spare`."""

    spare: int = 0

    def __str__(self) -> str:
        return f"{self.spare} file descriptors left"


@dataclass(frozen=True, slots=True)
class FullDisk:
    """The runtime's disk, a small one of its own, has no room left."""

    def __str__(self) -> str:
        return "no room on its disk"


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock of all processes is `by_s` away from the true time; it is set back when it is over."""

    by_s: float

    def __str__(self) -> str:
        return f"clock {abs(self.by_s) / 60:.0f} min {'ahead' if self.by_s > 0 else 'behind'}"


ProcessFault = Kill | Freeze | Starve | Memory | Descriptors | FullDisk | ClockJump
Fault = NetworkFault | ProcessFault
