"""What of all that happens is told: each thing once, a flood in one sentence, nothing that was so before one looked.

One `Notifier` for each face that tells, which hands it every operation that has changed and, once a second, the time.
Pure: no clock, no toolkit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from rfm_runtime.core.notifying.quiet import is_quiet
from rfm_runtime.core.notifying.rules import DEFAULTS, NO_WAYS, Ways, meant, ways_of
from rfm_runtime.core.notifying.words import (
    TONES,
    Tone,
    body_of,
    many,
    more_of,
    names_of,
    spoken,
    title_of,
    tone_of,
)
from rfm_runtime.core.text import printable, shortened
from rfm_runtime.protocol.notifying import Rule, Rules, When
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationState

__all__ = ["IDS_LIMIT", "Moment", "Notifier", "Telling"]

SINGLY = 3
"""That come to the same within `WINDOW_S` are told one by one; what comes then waits to be told together."""
WINDOW_S = 10.0
GATHER_S = 5.0
GATHER_MOST_S = 60.0
"""How long it waits: at first, and at most, twice as long each time while it goes on."""

IDS_LIMIT = 100
"""Of operations that one notification names for a click."""

NAME_WIDTH = 40

REACHED: dict[OperationState, When] = {
    "paused": "paused",
    "completed": "completed",
    "failed": "failed",
    "canceled": "canceled",
}


class Moment(Struct, frozen=True):
    """mono_s: for durations. wall_ms: ms since 1970. offset_s: what local time is ahead of UTC by, now."""

    mono_s: float
    wall_ms: int
    offset_s: int = 0


class Telling(Struct, frozen=True, kw_only=True):
    """One notification. when: None: of several things. said: for a voice. rules: by whose ids.

    operation_ids: which a click leads to, at most IDS_LIMIT. count: of how many it tells.
    """

    when: When | None
    tone: Tone
    title: str
    body: str
    said: str
    operation_ids: tuple[str, ...]
    ways: Ways
    rules: tuple[str, ...] = ()
    count: int = 1


class _Gathered:
    """Several that are told together. until_s: then."""

    def __init__(self, until_s: float = 0.0) -> None:
        self.until_s = until_s
        self.counts: dict[When, int] = {}
        self.ids: list[str] = []
        self.names: list[str] = []
        self.rules: dict[str, None] = {}
        self.ways = NO_WAYS
        self.is_urgent = False
        self._first: tuple[When, Operation, list[Rule]] | None = None

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def add(self, when: When, operation: Operation, rules: list[Rule]) -> None:
        self._first = self._first or (when, operation, rules)
        self.counts[when] = self.counts.get(when, 0) + 1
        if len(self.ids) < IDS_LIMIT:
            self.ids.append(operation.operation_id)
            self.names.append(shortened(printable(operation.name or operation.kind), NAME_WIDTH))
        for rule in rules:
            self.rules[rule.rule_id] = None
            self.ways = self.ways | ways_of(rule)
            self.is_urgent |= rule.urgent

    def flood(self, when: When, user: str) -> Telling:
        """Of several that came to the same; of one alone what is said of any."""
        if self.count == 1 and self._first is not None:
            return telling(*self._first, user)
        return self.told(more_of(when, self.count), when)

    def told(self, title: str, when: When | None, *, body: str = "", ways: Ways | None = None) -> Telling:
        names = names_of(self.names, self.count)
        body = f"{body}: {names}" if body and names else body or names
        return Telling(
            when=when,
            tone=tone_of(self.counts),
            title=title,
            body=body,
            said=spoken(title, many(self.counts) if when is None else ""),
            operation_ids=tuple(self.ids),
            ways=self.ways if ways is None else ways,
            rules=tuple(self.rules),
            count=self.count,
        )


class _Missed:
    """What happened while there was no connection: all of it, and for quiet hours what is urgent and the rest."""

    def __init__(self) -> None:
        self.all, self.urgent, self.rest = _Gathered(), _Gathered(), _Gathered()

    def add(self, when: When, operation: Operation, rules: list[Rule]) -> None:
        self.all.add(when, operation, rules)
        urgent = [rule for rule in rules if rule.urgent]
        if urgent:
            self.urgent.add(when, operation, urgent)
        else:
            self.rest.add(when, operation, rules)


class _Flood:
    """Of what comes to the same: when it was told singly, and what waits."""

    def __init__(self) -> None:
        self.told_s: deque[float] = deque(maxlen=SINGLY)
        self.gather_s = GATHER_S
        self.waiting: _Gathered | None = None

    def is_over(self, now_s: float) -> bool:
        """Whether there is room to tell one by itself."""
        return self.waiting is None and (len(self.told_s) < SINGLY or now_s - self.told_s[0] >= WINDOW_S)


class Notifier:
    """rules: of whom it tells. user: his name for the server; "" before it is known, when nothing is his."""

    def __init__(self, rules: Rules = DEFAULTS, user: str = "") -> None:
        self.rules = rules
        self.user = user
        self._states: dict[str, OperationState] = {}
        self._told: dict[str, set[tuple[str, When]]] = {}
        # Those that run, the one that moved longest ago first: what it has done, and since when no more.
        self._still: dict[str, tuple[Operation, float]] = {}
        self._stood: dict[str, int] = {}
        self._floods: dict[When, _Flood] = {}
        self._missed = _Missed()
        self._held = _Gathered()
        # Of the server's clock: the newest that is known, and what will be once all of a list has come.
        self._newest_ms = 0
        self._coming_ms = 0
        self._has_looked = False
        self._is_live = False

    def use(self, rules: Rules, user: str) -> None:
        """Other rules from now on. What was told is not told again by them."""
        self.rules, self.user = rules, user
        self._stood.clear()

    def forget(self) -> None:
        """Another server: nothing is known of it, and what is there is no news."""
        self._states.clear()
        self._told.clear()
        self._still.clear()
        self._stood.clear()
        self._floods.clear()
        self._missed, self._held = _Missed(), _Gathered()
        self._newest_ms, self._coming_ms = 0, 0
        self._has_looked, self._is_live = False, False

    def take(
        self,
        changed: Mapping[str, Operation],
        now: Moment,
        *,
        gone: Iterable[str] = (),
        missed: Collection[str] = (),
        is_live: bool = True,
    ) -> list[Telling]:
        """What is to be told of these. missed: those that changed while nobody looked, as a list or a replay says.

        is_live: all that happened before is known by now; what was missed is told in one sentence then.
        """
        tellings: list[Telling] = []
        news: list[tuple[Operation, tuple[When, ...]]] = []
        for operation_id, operation in changed.items():
            reached = self._reached(operation, is_missed=operation_id in missed)
            self._move(operation, now.mono_s)
            if reached and self._has_looked:
                news.append((operation, reached))
        # In the order in which it happened, whatever order they are in.
        news.sort(key=lambda one: one[0].at_seq)
        for operation, reached in news:
            operation_id = operation.operation_id
            # What it came to last is told, of all that somebody wants to hear of.
            for when in reached:
                rules = self._meant(when, operation)
                if rules:
                    if operation_id in missed:
                        self._missed.add(when, operation, rules)
                    else:
                        tellings += self._tell(when, operation, rules, now)
                    break
            if operation.state in TERMINAL_STATES:
                # It comes to nothing else.
                self._told.pop(operation_id, None)
        for operation_id in gone:
            self._states.pop(operation_id, None)
            self._told.pop(operation_id, None)
            self._still.pop(operation_id, None)
            self._stood.pop(operation_id, None)
        if is_live:
            tellings += self._looked(now)
        self._is_live = is_live
        return tellings

    def tick(self, now: Moment) -> list[Telling]:
        """What is to be told because time has passed: about once a second."""
        tellings = self._stalled(now) if self._is_live else []
        quiet = is_quiet(self.rules.quiet, now.wall_ms, now.offset_s)
        for when, flood in self._floods.items():
            waiting = flood.waiting
            if waiting is not None and waiting.until_s <= now.mono_s:
                flood.waiting = None
                # As if these had been told singly: what comes at once after them waits longer.
                flood.told_s.extend([now.mono_s] * SINGLY)
                flood.gather_s = min(GATHER_MOST_S, 2.0 * flood.gather_s)
                if quiet and not waiting.is_urgent:
                    self._hold(waiting)
                else:
                    tellings.append(waiting.flood(when, self.user))
            elif flood.is_over(now.mono_s):
                flood.gather_s = GATHER_S
        if self._held.count and not quiet:
            held, self._held = self._held, _Gathered()
            # Nobody is to be woken by what waited all night.
            ways = Ways(toast=held.ways.toast, tray=held.ways.tray)
            tellings.append(held.told("While it was quiet", None, body=many(held.counts), ways=ways))
        return tellings

    # --- what has happened ------------------------------------------------------------------

    def _reached(self, operation: Operation, *, is_missed: bool) -> tuple[When, ...]:
        """What it has come to since it was last seen, the last first: between two looks it may be all over."""
        operation_id, state = operation.operation_id, operation.state
        before = self._states.get(operation_id)
        self._coming_ms = max(self._coming_ms, _newest_ms(operation))
        if before == state:
            return ()
        self._states[operation_id] = state
        is_new = before is None and not is_missed
        # Of what a list shows first nobody was told that it came, and what ended before the connection did is no news.
        if before is None and is_missed and (operation.ended_at_ms or 0) < self._newest_ms:
            return ()
        reached: list[When] = []
        if state in REACHED:
            reached.append(REACHED[state])
        has_begun = state == "running" or (state in REACHED and operation.started_at_ms is not None)
        if has_begun and (is_new or before in ("pending", "queued")):
            reached.append("started")
        if is_new:
            reached.append("accepted")
        return tuple(reached)

    def _meant(self, when: When, operation: Operation, still_s: float = 0.0) -> list[Rule]:
        operation_id = operation.operation_id
        told = self._told.get(operation_id, ())
        rules = meant(self.rules.rules, when, operation, self.user, told, still_s=still_s)
        if rules:
            self._told.setdefault(operation_id, set()).update((rule.rule_id, when) for rule in rules)
        return rules

    def _move(self, operation: Operation, now_s: float) -> None:
        operation_id = operation.operation_id
        if operation.state != "running":
            self._still.pop(operation_id, None)
            self._stood.pop(operation_id, None)
            return
        known = self._still.get(operation_id)
        if known is not None and _done(known[0]) == _done(operation):
            self._still[operation_id] = (operation, known[1])
            return
        # What moved last comes last.
        self._still.pop(operation_id, None)
        self._stood.pop(operation_id, None)
        self._still[operation_id] = (operation, now_s)

    def _stalled(self, now: Moment) -> list[Telling]:
        bounds_s = sorted({rule.stalled_s for rule in self.rules.rules if rule.is_on and "stalled" in rule.when})
        if not bounds_s:
            return []
        tellings: list[Telling] = []
        for operation, since_s in list(_older(self._still, now.mono_s - bounds_s[0])):
            still_s = now.mono_s - since_s
            # Thousands may stand still for hours: each is looked at once for each time that a rule names.
            passed = bisect_right(bounds_s, still_s)
            if self._stood.get(operation.operation_id) == passed:
                continue
            self._stood[operation.operation_id] = passed
            rules = self._meant("stalled", operation, still_s)
            if rules:
                tellings += self._tell("stalled", operation, rules, now, still_s=still_s)
        return tellings

    def _looked(self, now: Moment) -> list[Telling]:
        """All that happened before is known: what was missed is told, and from here on things stand still or move."""
        if not self._is_live:
            self._still = {one: (operation, now.mono_s) for one, (operation, _since_s) in self._still.items()}
            self._stood.clear()
        self._has_looked = True
        self._newest_ms = self._coming_ms
        if not self._missed.all.count:
            return []
        missed, self._missed = self._missed, _Missed()
        told = missed.all
        if is_quiet(self.rules.quiet, now.wall_ms, now.offset_s):
            self._hold(missed.rest)
            told = missed.urgent
        return [told.told("While there was no connection", None, body=many(told.counts))] if told.count else []

    # --- how it is told ---------------------------------------------------------------------

    def _tell(
        self, when: When, operation: Operation, rules: list[Rule], now: Moment, *, still_s: float = 0.0
    ) -> list[Telling]:
        if is_quiet(self.rules.quiet, now.wall_ms, now.offset_s):
            urgent = [rule for rule in rules if rule.urgent]
            if not urgent:
                self._held.add(when, operation, rules)
                return []
            rules = urgent
        flood = self._floods.setdefault(when, _Flood())
        if not flood.is_over(now.mono_s):
            if flood.waiting is None:
                flood.waiting = _Gathered(now.mono_s + flood.gather_s)
            flood.waiting.add(when, operation, rules)
            return []
        flood.told_s.append(now.mono_s)
        return [telling(when, operation, rules, self.user, still_s=still_s)]

    def _hold(self, missed: _Gathered) -> None:
        held = self._held
        for when, count in missed.counts.items():
            held.counts[when] = held.counts.get(when, 0) + count
        room = IDS_LIMIT - len(held.ids)
        held.ids += missed.ids[:room]
        held.names += missed.names[:room]
        held.rules |= missed.rules
        held.ways = held.ways | missed.ways


def telling(when: When, operation: Operation, rules: Collection[Rule], user: str, *, still_s: float = 0.0) -> Telling:
    """One operation, told by these rules: by all of their ways, once."""
    ways = NO_WAYS
    for rule in rules:
        ways = ways | ways_of(rule)
    title = title_of(when, operation)
    reason = operation.error.message if when == "failed" and operation.error is not None else ""
    return Telling(
        when=when,
        tone=TONES[when],
        title=title,
        body=body_of(when, operation, user, still_s=still_s),
        said=spoken(title, reason),
        operation_ids=(operation.operation_id,),
        ways=ways,
        rules=tuple(rule.rule_id for rule in rules),
    )


def _done(operation: Operation) -> tuple[float, int]:
    latest = operation.latest
    return (0.0, 0) if latest is None else (latest.done, latest.iterations)


def _newest_ms(operation: Operation) -> int:
    measured_ms = 0 if operation.latest is None else operation.latest.measured_at_ms
    return max(operation.created_at_ms, operation.ended_at_ms or 0, measured_ms)


def _older(still: Mapping[str, tuple[Operation, float]], than_s: float) -> Iterable[tuple[Operation, float]]:
    for operation, since_s in still.values():
        if since_s > than_s:
            return
        yield operation, since_s
