"""How progress goes in time, and how long it takes. Drawn from random numbers that the caller brings.

Only additions, multiplications and divisions: `exp` and `log` differ in the last bit between machines, and a seed
means the same on all of them.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Course", "Random", "along", "bursts", "even", "shuffled", "slowing", "stalls", "stretch"]

Course = tuple[tuple[float, float], ...]
"""(share of the time, share of the work) from (0, 0) to (1, 1), straight between; neither ever falls."""

TAIL: Course = (
    *((0.0, 0.2), (0.1, 0.46), (0.25, 0.67), (0.5, 1.0)),
    *((0.75, 1.5), (0.9, 2.16), (0.98, 3.43), (1.0, 6.0)),
)
"""Quantiles of a log-normal distribution with median 1 and σ = 0.6, cut off at both ends."""


class Random(Protocol):
    """The part of `random.Random` whose numbers follow from the seed in every version of Python."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


def even(rng: Random) -> Course:
    """As much in each second."""
    del rng
    return ((0.0, 0.0), (1.0, 1.0))


def slowing(rng: Random) -> Course:
    """Quick at first, at last hardly at all."""
    del rng
    return tuple((i / 8, 1.0 - (1.0 - i / 8) * (1.0 - i / 8)) for i in range(9))


def bursts(rng: Random) -> Course:
    """Nothing for a while, then much at once, three to seven times."""
    count = 3 + int(rng.random() * 5)
    levels = [*sorted(rng.random() for _ in range(count - 1)), 1.0]
    points, before = [(0.0, 0.0)], 0.0
    for i, level in enumerate(levels):
        points += [((i + 0.7) / count, before), ((i + 1) / count, level)]
        before = level
    return tuple(points)


def stalls(rng: Random) -> Course:
    """Even, but for two long waits."""
    first, second = 0.1 + 0.25 * rng.random(), 0.5 + 0.3 * rng.random()
    first_wait, second_wait = 0.05 + 0.1 * rng.random(), 0.05 + 0.1 * rng.random()
    moving = 1.0 - first_wait - second_wait
    one, two = first / moving, (second - first_wait) / moving
    return ((0.0, 0.0), (first, one), (first + first_wait, one), (second, two), (second + second_wait, two), (1.0, 1.0))


def along(course: Course, share: float) -> float:
    """The second coordinate where the first is `share`, between the ends of the course."""
    x, y = course[0]
    if share <= x:
        return y
    for next_x, next_y in course[1:]:
        if share < next_x:
            # Rounded, a point of a rising line may be above its end.
            return min(next_y, y + (next_y - y) * ((share - x) / (next_x - x)))
        x, y = next_x, next_y
    return y


def stretch(rng: Random) -> float:
    """How many times the typical duration something takes: 0.2 to 6, half of all within 0.67 to 1.5."""
    return along(TAIL, rng.random())


def shuffled(rng: Random, count: int) -> list[int]:
    """0 to count − 1 in any order. `Random.shuffle` promises no order for a seed."""
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order
