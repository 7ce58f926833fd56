"""However watchers drop, resume and dawdle, and whatever becomes of the feed, they end in the same state.

A real broker's core feeds two gateways through a feed that loses and delays frames; questions are answered late or
never; the broker is killed, restored from a backup (another log), gateways are killed. Watchers decode real bytes,
in both encodings, and check each message at the moment it comes, over all their connections: whoever was told of a log
is never again told of one before it. At the end everything is repaired and each of them knows what the journal says.
"""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rfm_runtime.client.mirror import Mirror
from rfm_runtime.core.sessions.door import Refused
from rfm_runtime.core.sessions.hub import FEED_LOST_S, FETCHES_LIMIT
from rfm_runtime.core.sessions.replica import BUFFER_LIMIT
from rfm_runtime.core.sessions.session import CONTROL_LIMIT
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import (
    Assign,
    DoPriority,
    FeedFrame,
    HeldOperation,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    Principal,
    Started,
)
from rfm_runtime.protocol.messages import (
    Live,
    OperationList,
    Ping,
    Subscribed,
    Welcome,
)
from rfm_runtime.protocol.operation import (
    TERMINAL_EVENTS,
    TERMINAL_STATES,
    ErrorInfo,
    OperationEvent,
    OperationFilter,
    ProgressUpdate,
)
from rfm_runtime.testing.operations import ADMIN, World, owner_hello
from rfm_runtime.testing.sessions import Gate

IDS = [f"op-{number}" for number in range(8)]
ENGINE = b"engine"
OWNERS = {oid: ("ann", "bob")[number % 2] for number, oid in enumerate(IDS)}

SUBSCRIPTIONS = {
    "all": set(IDS),
    "active": set(IDS),
    "mine": {oid for oid in IDS if OWNERS[oid] == "ann"},
    "some": set(IDS[:3]),
    "bobs": {oid for oid in IDS if OWNERS[oid] == "bob"},
}
"""What each watcher sees."""

SENT = {"some": IDS[:3], "bobs": OperationFilter(owner="bob")}

operation_ids = st.sampled_from(IDS)
gates = st.integers(0, 1)
watchers = st.integers(0, len(SUBSCRIPTIONS) - 1)


class Broker(World):
    """The broker's world with its feed. logs: the events of every log there ever was, by epoch."""

    def __init__(self, **settings):
        self.epoch, self.frames, self.logs, self.frame_no, self.published = "log-0", [], {}, 0, 0
        super().__init__(**settings)
        self.logs[self.epoch] = self.events

    def boot(self):
        self.frame_no = 0
        super().boot()
        self.hub.log.epoch = self.epoch
        self.published = self.hub.log.head

    def restore(self, backup):
        """The journal is that of a backup: its numbers are given once more, so the log has another name."""
        self.rows, self.events = dict(backup[0]), list(backup[1])
        self.feed.clear()
        self.shown.clear()
        self.epoch = f"log-{len(self.logs)}"
        self.logs[self.epoch] = self.events
        self.boot()

    def _published(self, events):
        super()._published(events)
        self.send(events, ())

    def tick(self, elapsed_s=0.05):
        progress = super().tick(elapsed_s)
        self.send((), progress)
        return progress

    def send(self, events, progress):
        self.frame_no += 1
        previous = self.published
        self.published = events[-1].seq if events else previous
        frame = FeedFrame(
            epoch=self.epoch,
            incarnation=self.incarnation,
            frame_no=self.frame_no,
            prev_seq=previous,
            head_seq=self.published,
            ts_ms=self.wall_ms,
            events=events,
            progress=progress,
        )
        self.frames.append(frame)


class Engine:
    """Works on everything it is given; tells a new broker what it has in its hands."""

    def __init__(self, broker):
        self.broker = broker
        self.held: dict[str, list] = {}
        self.counter = 0
        self.taken = 0

    def measure(self, oid):
        assign, done = self.held[oid]
        self.counter += 1
        return OperationMeasure(
            generation=assign.generation, counter=self.counter, measured_at_ms=0, done=done, total=1000.0
        )

    def hello(self):
        held = tuple(
            HeldOperation(operation_id=oid, generation=assign.generation, state="running", measure=self.measure(oid))
            for oid, (assign, _) in sorted(self.held.items())
        )
        welcome = self.broker.call(ENGINE, owner_hello(slots=len(IDS), held=held), OwnerWelcome)
        kept = {assign.operation_id: assign for assign in welcome.keep}
        self.held = {oid: [kept[oid], done] for oid, (_, done) in self.held.items() if oid in kept}
        self.taken = len(self.broker.pushes)

    def work(self):
        self.broker.write()
        pushes, self.taken = self.broker.pushes[self.taken :], len(self.broker.pushes)
        for _, push in pushes:
            if isinstance(push, Assign) and push.operation_id not in self.held:
                self.held[push.operation_id] = [push, 0.0]
                message = Started(operation_id=push.operation_id, generation=push.generation, total=1000.0)
                self.broker.ask(ENGINE, message)
        self.broker.write()

    def report(self, oid, more):
        if oid in self.held:
            self.held[oid][1] += more
            self.broker.report(self.held[oid][0].handle, 1, self.measure(oid))

    def end(self, oid, state):
        if oid in self.held:
            message = Outcome(
                operation_id=oid,
                generation=self.held[oid][0].generation,
                state=state,
                final=self.measure(oid),
                error=ErrorInfo(code="x", message="y") if state == "failed" else None,
            )
            del self.held[oid]
            self.broker.ask(ENGINE, message)
            self.broker.write()


class Known(Mirror):
    """What a watcher knows: the client's mirror, and the two rules of the protocol for lists.

    Of two measures the one with the higher revision counts, and what was alive and is on no page of a list is gone.
    """

    def __init__(self):
        super().__init__()
        self.pages = set()

    def page(self, page):
        self.pages = {o.operation_id for o in page.operations} | (set() if page.first else self.pages)
        newest = []
        for operation in page.operations:
            known = self.operations.get(operation.operation_id)
            latest = [o.latest for o in (known, operation) if o is not None and o.latest is not None]
            latest = max(latest, key=lambda update: update.rev, default=None)
            newest.append(msgspec.structs.replace(operation, latest=latest))
        changed = super().page(msgspec.structs.replace(page, operations=newest))
        if not page.more:
            alive = {oid for oid, o in self.operations.items() if o.state not in TERMINAL_STATES}
            assert alive <= self.pages
        return changed


class Viewer:
    """A watcher over all its connections."""

    token = "ann"

    def __init__(self, machine, name, encoding):
        self.machine, self.name, self.encoding = machine, name, encoding
        self.sees = SUBSCRIPTIONS[name]
        self.known = Known()
        self.connection = None
        self.outcomes: dict[tuple[str, str], int] = {}
        self.shown: dict[tuple[str, str, int], float] = {}
        self.logs = 0
        self.cut()

    def cut(self):
        self.connection = None
        self.recovered = False
        self.position = None
        self.ended = set()

    def connect(self, gate):
        if self.connection is None:
            found = gate.try_connect(self.encoding)
            if isinstance(found, Refused):
                # It has heard nothing for too long to know who may come in.
                assert found.code == CloseCode.RESYNC
                assert gate.now_s - gate.core.last_frame_s > FEED_LOST_S
                return
            self.connection = found
            self.connection.hello(self.token, resume=self.known.resume)
            self.subscribe()

    def subscribe(self):
        if self.connection is not None:
            self.connection.subscribe(SENT.get(self.name, self.name))

    def drop(self):
        if self.connection is not None:
            if self.connection.closed is None:
                self.connection.gate.drop(self.connection)
            self.cut()

    def read(self):
        """Take what has arrived; a connection that was closed is gone afterwards."""
        if self.connection is None:
            return
        for message in self.connection.told:
            # What comes after a message that is wrong says nothing, least of all at the end of a machine that failed.
            self.machine.has_failed = True
            self.take(message)
            self.check_shown()
            self.machine.has_failed = False
        self.connection.forget()
        if self.connection.closed is not None:
            self.cut()

    def take(self, message):
        match message:
            case Welcome():
                self.resumed_at = self.known.seq
                if message.epoch != self.known.epoch:
                    # It forgets its bars. A list is not older than its position, but progress has none.
                    self.shown.clear()
                self.known.forget_log(message.epoch, message.seq)
                self.epoch = self.log_of(message.epoch)
                assert self.number_of_log() >= self.logs, "back in a log that is gone"
                self.logs = self.number_of_log()
                self.knew = self.known.seq
            case Subscribed():
                self.recovered = message.recovered
                self.position = self.resumed_at if message.recovered else None
                self.ended = {o.operation_id for o in self.known.operations.values() if o.state in TERMINAL_STATES}
                self.ended = self.ended if message.recovered else set()
            case OperationList():
                if message.first:
                    self.position = None
                self.known.page(message)
                assert {operation.operation_id for operation in message.operations} <= self.sees
                self.ended |= {o.operation_id for o in message.operations if o.state in TERMINAL_STATES}
            case Live():
                assert self.log_of(message.epoch) == self.epoch
                assert message.seq >= self.knew, "shown less than it knew"
                self.known.moved(message.epoch, message.seq)
                self.position = message.seq if self.position is None else self.position
            case OperationEvent():
                self.event(message)
            case ProgressUpdate():
                assert message.operation_id in self.sees
                assert message.operation_id not in self.ended, "progress after the outcome"
                self.known.progress(message)

    def log_of(self, epoch):
        """The log that it is told of; who sees everything is told its name alone."""
        return epoch

    def number_of_log(self):
        """Of all that there ever were, in their order."""
        return list(self.machine.broker.logs).index(self.epoch)

    def event(self, event):
        oid = event.operation_id
        assert oid in self.sees
        assert oid not in self.ended, "an event after the outcome"
        if self.position is not None:
            assert event.seq == self.next_event(), "an event is missing or comes twice"
            self.position = event.seq
        news = self.known.event(event)
        if event.type in TERMINAL_EVENTS:
            self.ended.add(oid)
            if news:
                self.outcomes[self.epoch, oid] = self.outcomes.get((self.epoch, oid), 0) + 1
                assert self.outcomes[self.epoch, oid] == 1, "two outcomes"

    def next_event(self):
        """The number of the next event that this watcher has to be told."""
        log = self.machine.broker.logs[self.epoch]
        return next((e.seq for e in log[self.position :] if e.operation_id in self.sees), None)

    def check_shown(self):
        for oid, operation in self.known.operations.items():
            if operation.latest is not None:
                key = (self.log_of(self.known.epoch), oid, operation.latest.rev[0])
                assert operation.latest.done >= self.shown.get(key, 0.0), "done went back"
                self.shown[key] = operation.latest.done


class Sessions(RuleBasedStateMachine):
    viewer = Viewer
    new_broker = Broker
    has_failed = False

    @initialize(
        keep=st.sampled_from([3, 100]),
        history=st.sampled_from([12, 1000]),
        encodings=st.lists(st.sampled_from(["json", "msgpack"]), min_size=5, max_size=5),
    )
    def boot(self, keep, history, encodings):
        self.limits = {"finished_keep": keep, "history_events": history, "write_limit_bytes": 1500}
        self.limits |= {"handshakes_per_s": 10_000.0, "commands_per_s": 1000.0, "commands_burst": 1000}
        self.broker = self.new_broker(**self.limits)
        self.engine = Engine(self.broker)
        self.engine.hello()
        self.queues: list[list[FeedFrame]] = [[], []]
        self.late: list[list] = [[], []]
        self.answers = [True, True]
        self.gates = [self.new_gate(0), self.new_gate(1)]
        self.viewers = [
            self.viewer(self, name, encoding) for name, encoding in zip(SUBSCRIPTIONS, encodings, strict=True)
        ]
        self.backup = ({}, [])
        for oid in IDS[:4]:
            self.submit(oid)
        self.engine.work()
        for number, viewer in enumerate(self.viewers):
            viewer.connect(self.gates[number % 2])
        self.deliver_all()

    def new_gate(self, number):
        self.queues[number].clear()
        self.late[number].clear()
        return Gate(lambda message: self.answer(number, message), **self.limits).boot()

    def answer(self, number, message):
        """The broker's word; while it is slow it comes later, as it was now."""
        request = self.broker.ask(b"gateway", message)
        answer = self.broker.replies[request]
        if self.answers[number]:
            return answer
        self.late[number].append(answer)
        return None

    def look(self):
        """What was published is on its way; what watchers got is taken."""
        for queue in self.queues:
            queue.extend(self.broker.frames)
        self.broker.frames.clear()
        for viewer in self.viewers:
            viewer.read()

    # --- what happens to operations -------------------------------------------------------------

    @rule(oid=operation_ids)
    def submit(self, oid):
        self.broker.submit(oid, principal=Principal(OWNERS[oid], ("operator",)))
        self.broker.write()
        self.look()

    @rule(oid=operation_ids)
    def cancel_or_prioritise(self, oid):
        if oid in self.engine.held:
            self.broker.ask(b"user", DoPriority(ADMIN, oid, 1))
        else:
            self.broker.cancel(oid)
        self.broker.write()
        self.look()

    @rule()
    def work(self):
        self.engine.work()
        self.look()

    @rule(oids=st.sets(operation_ids, min_size=1), more=st.integers(1, 20), times=st.integers(1, 3))
    def report(self, oids, more, times):
        self.engine.work()
        for _ in range(times):
            for oid in sorted(oids):
                self.engine.report(oid, float(more))
            self.broker.tick(0.05)
            self.look()

    @rule(oid=operation_ids, state=st.sampled_from(["completed", "failed", "canceled"]))
    def end(self, oid, state):
        self.engine.work()
        self.engine.end(oid, state)
        self.look()

    # --- what happens to the broker and the feed ------------------------------------------------

    @rule(what=st.sampled_from(["none", "none", "none", "engine", "broker", "both", "back up", "restore"]))
    def disaster(self, what):
        if what in ("engine", "both"):
            self.engine.held.clear()
        if what in ("broker", "both"):
            self.broker.boot()
        if what == "back up":
            self.backup = (dict(self.broker.rows), list(self.broker.events))
        if what == "restore":
            self.broker.restore(self.backup)
        if what in ("engine", "broker", "both", "restore"):
            self.engine.hello()
        self.look()

    @rule(number=gates, frames=st.integers(1, 5))
    def deliver(self, number, frames):
        for _ in range(frames):
            if self.queues[number]:
                self.gates[number].feed(self.queues[number].pop(0))
        self.look()

    @rule()
    def deliver_all(self):
        self.look()
        for number in (0, 1):
            self.deliver(number, len(self.queues[number]))

    @rule(number=gates, frames=st.integers(1, 3))
    def lose(self, number, frames):
        del self.queues[number][:frames]

    @rule(number=gates)
    def answer_slowly(self, number):
        self.answers[number] = False

    @rule(number=gates, again=st.booleans())
    def answer_at_last(self, number, again):
        self.answers[number] = True
        gate = self.gates[number]
        for answer, ask in zip(self.late[number], gate.unanswered, strict=True):
            gate.carry_out(list(gate.core.answered(answer, ask.attempt)))
        self.late[number].clear()
        gate.unanswered.clear()
        if again:
            gate.carry_out(list(gate.core.replica.again(silent=False)))
        gate.flush_all()
        self.look()

    @rule(elapsed_s=st.sampled_from([0.05, 0.3, 1.0, 2.5]))
    def tick(self, elapsed_s):
        self.broker.tick(elapsed_s)
        for gate in self.gates:
            gate.tick(elapsed_s)
        self.look()

    @rule(number=gates, really=st.booleans())
    def kill_gateway(self, number, really):
        if not really:
            return
        for viewer in self.viewers:
            if viewer.connection is not None and viewer.connection.gate is self.gates[number]:
                viewer.drop()
        self.gates[number] = self.new_gate(number)
        self.look()

    # --- what happens to watchers ---------------------------------------------------------------

    @rule(number=watchers, gate=gates)
    def come(self, number, gate):
        self.viewers[number].connect(self.gates[gate])
        self.look()

    @rule(number=watchers, gate=gates)
    def drop_and_resume(self, number, gate):
        self.viewers[number].drop()
        self.come(number, gate)

    @rule(number=watchers, ahead=gates, oid=operation_ids, waits_s=st.sampled_from([0.5, 2.5, 12.0]))
    def resume_on_one_that_lags(self, number, ahead, oid, waits_s):
        self.drop_and_resume(number, ahead)
        self.submit(oid)
        self.cancel_or_prioritise(oid)
        self.deliver(ahead, len(self.queues[ahead]))
        self.drop_and_resume(number, 1 - ahead)
        for _ in range(round(waits_s / 0.5)):
            self.gates[1 - ahead].tick(0.5)
        self.look()

    @rule(number=watchers)
    def drop(self, number):
        self.viewers[number].drop()

    @rule(number=watchers)
    def subscribe_again(self, number):
        self.viewers[number].subscribe()
        self.look()

    @rule(number=watchers, asked=st.integers(0, 30))
    def stop_reading(self, number, asked):
        connection = self.viewers[number].connection
        if connection is not None:
            connection.frozen = True
            for _ in range(asked):
                connection.say(Ping())

    @rule(number=watchers, messages=st.none() | st.integers(1, 3))
    def read_again(self, number, messages):
        connection = self.viewers[number].connection
        if connection is not None:
            connection.frozen = messages is not None
            connection.read(messages)
        self.look()

    # --- what holds -----------------------------------------------------------------------------

    @invariant()
    def memory_is_bounded(self):
        for gate in getattr(self, "gates", ()):
            core, replica = gate.core, gate.core.replica
            core.sanity_check()
            assert len(replica.ring) <= self.limits["history_events"]
            assert len(replica._buffer) <= BUFFER_LIMIT
            assert not replica.changed
            assert not replica.ended
            for session in core.sessions.values():
                assert len(session.control) <= CONTROL_LIMIT
                assert len(session.bulk) <= FETCHES_LIMIT
                assert len(session._pages) <= len(IDS)
                assert len(session._sent_at) <= len(IDS)
                if session.generation == replica.generation:
                    assert session.slots <= replica.progress.keys()
                watcher = gate.watchers[session.number]
                assert watcher.unsent_bytes < 4 * self.limits["write_limit_bytes"] + 50_000

    def teardown(self):
        if not hasattr(self, "gates") or self.has_failed:
            return
        self.look()
        for number in (0, 1):
            self.answer_at_last(number, True)
        self.report(set(IDS), 1, 1)
        for viewer in self.viewers:
            if viewer.connection is not None:
                viewer.connection.frozen = False
                viewer.connection.read()
        # Long enough for a resume that waits in vain, and for a rate of 1 Hz.
        for _ in range(16):
            self.tick(0.25)
            self.deliver_all()
            for number, viewer in enumerate(self.viewers):
                viewer.connect(self.gates[number % 2])
        self.look()
        newcomers = [self.viewer(self, viewer.name, viewer.encoding) for viewer in self.viewers]
        for number, newcomer in enumerate(newcomers):
            newcomer.connect(self.gates[number % 2])
            newcomer.read()
        for viewer, newcomer in zip(self.viewers, newcomers, strict=True):
            self.check_end(viewer, newcomer)

    def check_end(self, viewer, newcomer):
        """It knows what one knows who has just come, and all that the journal says."""
        known = viewer.known.operations
        assert viewer.position is not None, "not live"
        assert viewer.next_event() is None, "an event never came"
        for oid, operation in newcomer.known.operations.items():
            measured = oid in self.engine.held or operation.state in TERMINAL_STATES
            assert same(known[oid], measured) == same(operation, measured)
        for oid, operation in known.items():
            assert oid in viewer.sees
            row = self.broker.rows[oid].operation
            assert (operation.state, operation.at_seq) == (row.state, row.at_seq)
            assert operation.state in TERMINAL_STATES or oid in newcomer.known.operations


def same(operation, measured):
    """What has to be equal of an operation.

    Not the revision of its progress, and not its generation: the claim that raises it makes no event by itself.
    What waits for its next owner is measured by nobody, so a lost measure of it is never sent again.
    """
    latest = operation.latest if measured else None
    done = None if latest is None else (latest.done, latest.progress, latest.total)
    fields = ("state", "at_seq", "priority", "error", "artifacts", "cancel_requested", "forced")
    return (done, *(getattr(operation, field) for field in fields))


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestSessions = pytest.mark.scenario("D6", "D8", "D14", "D15", "J2")(TestSessions)
