"""`python -m tests.fuzz --count 1000000 [--seed 0]`: exit code 1 with the input if anything is wrong or grows."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from dataclasses import dataclass

import psutil

from tests.fuzz.inputs import Inputs
from tests.fuzz.targets import Codec, Sessions

LOOKS = 20
"""Times at which everybody has left and what is allocated is counted; the first ones are warming up."""

WARM = 4
GROWTH_BLOCKS = 2000
"""Of Python's allocator: a block that is left for each hundred of a million inputs is five times as much."""


class Wrong(Exception):
    """An input that is neither a message nor refused."""


@dataclass(frozen=True)
class Outcome:
    """blocks: allocated at each look; rss_bytes: of the process, at the first look after warming up and at the end."""

    count: int
    seconds: float
    messages: int
    refusals: int
    carried_out: int
    closes: int
    blocks: tuple[int, ...]
    rss_bytes: tuple[int, int]

    @property
    def growth_blocks(self) -> int:
        """Of the last look over the first one after warming up."""
        return self.blocks[-1] - self.blocks[min(WARM, len(self.blocks) - 1)]


def run(count: int, seed: int) -> Outcome:
    """Feed so many inputs to both codecs and to the gateway's core. Raises Wrong."""
    inputs = Inputs(seed)
    codec, sessions = Codec(), Sessions(inputs)
    blocks: list[int] = []
    process = psutil.Process()
    rss: list[int] = []
    began_s = time.monotonic()
    step = max(1, count // LOOKS)
    for number in range(count):
        data, encoding = inputs.next()
        try:
            codec.feed(data, encoding)
            sessions.feed(data, encoding)
        except Exception as error:
            raise Wrong(f"input {number} of seed {seed}, as {encoding}: {data[:2000]!r}") from error
        if number % step == step - 1:
            sessions.rest()
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            rss.append(process.memory_info().rss)
    return Outcome(
        count=count,
        seconds=time.monotonic() - began_s,
        messages=codec.accepted,
        refusals=codec.refused,
        carried_out=sessions.accepted,
        closes=sessions.closed,
        blocks=tuple(blocks),
        rss_bytes=(rss[min(WARM, len(rss) - 1)], rss[-1]),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0, help="what they follow from")
    arguments = parser.parse_args()
    outcome = run(arguments.count, arguments.seed)
    before, after = (bytes_ / 2**20 for bytes_ in outcome.rss_bytes)
    print(
        f"{outcome.count:,} inputs of seed {arguments.seed} in {outcome.seconds:.0f} s: {outcome.messages:,} messages, "
        f"{outcome.refusals:,} refusals; {outcome.carried_out:,} requests went on to broker or engine, "
        f"{outcome.closes:,} connections were closed; no other exception.\n"
        f"Allocated blocks {outcome.growth_blocks:+,} from a fifth of the way to the end ({outcome.blocks[-1]:,}); "
        f"resident memory {before:.1f} → {after:.1f} MiB."
    )
    if outcome.growth_blocks > GROWTH_BLOCKS:
        print(f"that is growth: {outcome.blocks}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
