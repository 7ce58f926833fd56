"""A program's desk and a real hub: whatever between them is lost, repeated or restarted, each outcome arrives once."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from rfm_runtime.core.reporting import wording
from rfm_runtime.core.reporting.desk import (
    Answered,
    Ask,
    Begin,
    Desk,
    End,
    GivenUp,
    Hello,
    Lost,
    Measure,
    Paused,
    Progress,
    Refused,
    Settled,
    Tell,
    Tick,
)
from rfm_runtime.core.sessions import reporting as sessions
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.internal import (
    Announce,
    DoPause,
    OperationMeasure,
    OwnerWelcome,
    PauseOwner,
)
from rfm_runtime.protocol.operation import TERMINAL_STATES, ErrorInfo
from rfm_runtime.protocol.wire import decode_batch, decode_message, decode_request, encode
from rfm_runtime.testing.operations import ADMIN, World, owner_hello

REPORTER = b"reporter"
names = st.sampled_from(["a", "b", "c"])


def measure(done: float) -> OperationMeasure:
    return OperationMeasure(1, 0, 0, done=done, total=100.0)


class Reporting(RuleBasedStateMachine):
    @initialize()
    def boot(self):
        self.world = World()
        self.desk = Desk()
        self.asks: list[Ask] = []
        self.asked: list[tuple[int, Ask]] = []
        self.greeting = True
        self.numbers = 0
        self.ids: dict[str, str] = {}
        self.ended: dict[str, str] = {}
        self.told: dict[str, Tell] = {}
        self.settled: list[str] = []

    # --- the shell --------------------------------------------------------------------------

    def tell(self, message):
        for command in self.desk.handle(message, self.world.mono_s):
            match command:
                case Hello():
                    self.greeting = True
                case Ask():
                    self.asks.append(command)
                case Progress():
                    self.push(command)
                case Tell():
                    self.told[command.operation_id] = command
                case Settled():
                    self.settled.append(command.operation_id)
                case GivenUp():
                    raise AssertionError(f"given up: {command}")
        self.desk.sanity_check()

    def greet(self):
        hello = owner_hello("reporter-1", role="reporter", resumable=(), held=self.desk.hello().held)
        self.greeting = False
        welcome = self.world.call(REPORTER, hello, OwnerWelcome)
        self.tell(welcome)

    def push(self, progress):
        self.world.report(progress.handle, 0, progress.measure)

    def pushed(self, message):
        """A one-way message of the hub."""
        self.tell(message)

    # --- the program ------------------------------------------------------------------------

    @rule(name=names)
    def begin(self, name):
        if name in self.ids:
            return
        self.numbers += 1
        self.ids[name] = operation_id = f"{name}-{self.numbers}"
        announce = Announce(
            principal=ADMIN, operation_id=operation_id, kind="k", name=name, measure=measure(0.0), pausable=True
        )
        self.tell(Begin(announce))

    @rule(name=names, done=st.floats(0, 120))
    def measured(self, name, done):
        if name in self.ids:
            self.tell(Measure(self.ids[name], measure(done)))

    @rule(name=names)
    def stand_or_go(self, name):
        told = self.told.get(self.ids.get(name, ""))
        if told is not None:
            self.tell(Paused(told.operation_id, told.pause))

    @rule(name=names, state=st.sampled_from(["completed", "failed", "canceled"]))
    def end(self, name, state):
        operation_id = self.ids.pop(name, None)
        if operation_id is not None:
            self.ended[operation_id] = state
            error = ErrorInfo(code="x", message="y") if state == "failed" else None
            self.tell(End(operation_id, state, measure(50.0), error))
            # Only the first one counts.
            self.tell(End(operation_id, "failed", measure(60.0)))

    # --- what lies between ------------------------------------------------------------------

    @rule()
    def hello(self):
        if self.greeting:
            self.greet()

    @precondition(lambda self: self.asks)
    @rule(lost=st.booleans())
    def deliver(self, lost):
        ask = self.asks.pop(0)
        if lost:
            self.tell(Refused(ask, UnavailableError("nobody answers")))
            return
        self.asked.append((self.world.ask(REPORTER, ask.message), ask))

    @precondition(lambda self: self.asked)
    @rule(lost=st.booleans())
    def answer(self, lost):
        self.world.write()
        number, ask = self.asked.pop(0)
        reply = self.world.replies.get(number)
        if reply is None or lost:
            self.tell(Refused(ask, UnavailableError("no answer in time")))
        elif isinstance(reply, ErrorInfo):
            self.tell(Refused(ask, reply.to_exception()))
        else:
            self.tell(Answered(ask, reply))

    @rule()
    def restart(self):
        self.world.boot()
        self.tell(self.world.hub.control_frame())

    @rule()
    def unplug(self):
        self.tell(Lost())
        self.greeting = True

    @rule(name=names)
    def cancel(self, name):
        if self.ids.get(name) in self.world.hub.records:
            self.world.cancel(self.ids[name])
            self.world.write()
            self.tell(self.world.hub.control_frame())

    @rule(name=names, paused=st.booleans())
    def pause(self, name, paused):
        operation_id = self.ids.get(name)
        if operation_id in self.world.hub.records:
            sent = len(self.world.pushes)
            self.world.ask(b"gateway", DoPause(ADMIN, operation_id, paused))
            self.world.write()
            for _, message in self.world.pushes[sent:]:
                if isinstance(message, PauseOwner):
                    self.pushed(message)

    @rule(elapsed_s=st.sampled_from([0.05, 0.3, 2.0]))
    def tick(self, elapsed_s):
        sent = len(self.world.pushes)
        self.world.tick(elapsed_s)
        for routing, message in self.world.pushes[sent:]:
            if routing == REPORTER:
                self.pushed(message)
        self.tell(Tick())

    def teardown(self):
        if not hasattr(self, "world"):
            return
        for _ in range(60):
            if self.greeting:
                self.greet()
            while self.asks:
                self.deliver(False)
            while self.asked:
                self.answer(False)
            self.stand_or_go("a")
            self.stand_or_go("b")
            self.stand_or_go("c")
            self.tick(2.0)
        assert set(self.desk.reports) == set(self.ids.values())
        assert sorted(self.settled) == sorted(self.ended)
        for operation_id, state in self.ended.items():
            assert self.world.rows[operation_id].operation.state == state
            outcomes = [e for e in self.world.events if e.operation_id == operation_id and e.state in TERMINAL_STATES]
            assert len(outcomes) == 1
        for operation_id in self.ids.values():
            operation = self.world.rows[operation_id].operation
            assert operation.state not in TERMINAL_STATES
            wanted = self.told.get(operation_id)
            row = self.world.rows[operation_id]
            if operation.state != "cancelling":
                assert (operation.state == "paused") == row.pause_wanted == (wanted is not None and wanted.pause)
            assert operation.cancel_requested == (wanted is not None and wanted.cancel)
        self.world.check()


class ReportingElsewhere(Reporting):
    """The same through a gateway: everything in the words of `rfm.v1`, in JSON, and connections that drop."""

    @initialize()
    def boot(self):
        super().boot()
        self.connect()

    def connect(self):
        self.session = sessions.Reporting(ADMIN, "s1")

    def said(self, message):
        """The message as the gateway reads it."""
        return decode_request(decode_batch(encode(message, "json", ts=0), "json")[0], "json")

    def heard(self, message):
        """What the gateway says, as the desk hears it."""
        read = decode_message(decode_batch(encode(message, "json", ts=0), "json")[0], "json")
        for meant in wording.notices(read):
            self.tell(meant)

    def greet(self):
        self.greeting = False
        for page in wording.hello("reporter-1", "", 0, self.desk.hello().held):
            hello = self.session.introduced(self.said(page), 0)
            assert (hello is None) == page.more
        self.introduce(hello)

    def introduce(self, hello):
        self.heard(self.session.answered(hello, self.world.call(REPORTER, hello, OwnerWelcome)))
        self.session.sanity_check()

    def push(self, progress):
        pushed = self.session.progress(self.said(wording.progress(progress.operation_id, progress.measure)), 0)
        if pushed is not None:
            self.world.report(pushed[0], 0, pushed[1])

    @precondition(lambda self: self.asks)
    @rule(lost=st.booleans())
    def deliver(self, lost):
        ask = self.asks.pop(0)
        if lost or self.session.source is None:
            self.tell(Refused(ask, UnavailableError("nobody answers")))
            return
        message = self.session.said(self.said(wording.request(ask.message)), 0)
        self.asked.append((self.world.ask(REPORTER, message), (ask, message, self.session)))

    @precondition(lambda self: self.asked)
    @rule(lost=st.booleans())
    def answer(self, lost):
        self.world.write()
        number, (ask, message, session) = self.asked.pop(0)
        reply = self.world.replies.get(number)
        if reply is None:
            reply = ErrorInfo(code="unavailable", message="no answer in time", temporary=True)
        if isinstance(reply, ErrorInfo):
            session.refused(message, reply.to_exception())
            self.tell(Refused(ask, reply.to_exception()))
            return
        said = session.answered(message, reply)
        if lost or session is not self.session:
            self.tell(Refused(ask, UnavailableError("no answer in time")))
        else:
            self.tell(Answered(ask, wording.answer(said)))

    def steer(self, meant):
        for message in meant:
            if message is not None:
                self.heard(message)

    @rule()
    def restart(self):
        self.world.boot()
        self.steer(self.session.control(self.world.hub.control_frame()))

    @rule()
    def unplug(self):
        self.connect()
        super().unplug()

    @rule(name=names)
    def cancel(self, name):
        if self.ids.get(name) in self.world.hub.records:
            self.world.cancel(self.ids[name])
            self.world.write()
            self.steer(self.session.control(self.world.hub.control_frame()))

    def pushed(self, message):
        self.steer([self.session.pushed(message)])


TestReporting = pytest.mark.scenario("J12")(Reporting.TestCase)
TestReportingElsewhere = pytest.mark.scenario("J12")(ReportingElsewhere.TestCase)
