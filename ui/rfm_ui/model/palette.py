"""What is found by a few of its letters: actions by name, the best and the most lately used first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RECENT", "Entry", "Found", "found", "match", "used"]

RECENT = 12
"""So many of the last ones used are kept."""

START, RUN, GAP = 12, 6, 1
"""For a letter at the start of a word, for one right behind the last found, and against each that is skipped."""

LATELY = 10
"""For the last one used, and less for those before."""

NOT_NOW = 24
"""Against what cannot be done now: whoever types all of its name is told why."""

HIDDEN = -1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to be found. place: its page. keys: as they are written. why_not: it cannot be done now."""

    name: str
    place: str
    keys: str = ""
    why_not: str = ""

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return f"{self.place}/{self.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """number: of the entry. places: of the letters in its name that were looked for."""

    number: int
    places: tuple[int, ...]


def found(text: str, entries: Sequence[Entry], recent: Sequence[str]) -> list[Found]:
    """What has all letters of the text, in their order and whatever the case: in its name, or in its page and name.

    recent: keys of what was used, the last first. What cannot be done now comes after what fits as well.
    """
    ranked = []
    for number, entry in enumerate(entries):
        hit = match(text, entry.name)
        if hit is None:
            # By its page as well, which counts less.
            wider = match(text, f"{entry.place} {entry.name}")
            if wider is None:
                continue
            behind = len(entry.place) + 1
            hit = (wider[0] - START, tuple(place - behind for place in wider[1] if place >= behind))
        points = hit[0]
        if entry.key in recent:
            points += LATELY - min(LATELY - 1, recent.index(entry.key))
        if entry.why_not:
            points -= NOT_NOW
        ranked.append((-points, number, hit[1]))
    ranked.sort()
    return [Found(number, places) for _points, number, places in ranked]


def match(text: str, name: str) -> tuple[int, tuple[int, ...]] | None:
    """How well a name has the letters of a text in their order, and where; None if it has not. Blanks do not count."""
    wanted, known = "".join(text.split()).casefold(), _folded(name)
    if not wanted:
        return 0, ()
    # best[j]: points if the letters so far end at j. before[i][j]: where the one before the i-th was then.
    best = [
        _start(known, j) - GAP * (j if _start(known, j) else len(known)) if other == wanted[0] else HIDDEN
        for j, other in enumerate(known)
    ]
    before: list[list[int]] = []
    for letter in wanted[1:]:
        best, whence = _next(letter, known, best)
        before.append(whence)
    end = max(range(len(known)), key=lambda j: (best[j], -j), default=-1)
    if end < 0 or best[end] <= HIDDEN // 2:
        return None
    places = [end]
    for whence in reversed(before):
        places.append(whence[places[-1]])
    # The shorter name is meant where both have it.
    return best[end] * 4 - len(known), tuple(reversed(places))


def _next(letter: str, known: str, best: list[int]) -> tuple[list[int], list[int]]:
    """The points once one more letter is found, at each place where it is; and where the one before was."""
    row, whence = [HIDDEN] * len(known), [-1] * len(known)
    # Of those before, the best that is left once letters are skipped.
    points, at = HIDDEN, -1
    for j in range(1, len(known)):
        points -= GAP
        if best[j - 1] > points:
            points, at = best[j - 1], j - 1
        if known[j] != letter or points <= HIDDEN // 2:
            continue
        run = best[j - 1] + RUN
        row[j], whence[j] = max((points, at), (run, j - 1))
        row[j] += _start(known, j)
    return row, whence


def _start(known: str, place: int) -> int:
    return START if place == 0 or not known[place - 1].isalnum() else 0


def _folded(name: str) -> str:
    """Letter by letter: places are those of the name."""
    return "".join(low if len(low := letter.casefold()) == 1 else letter for letter in name)


def used(key: str, recent: Sequence[str]) -> list[str]:
    """What is remembered once something was used."""
    return [key, *(one for one in recent if one != key)][:RECENT]
