"""The world of one history: all processes and people, the network between them, time, and what always holds.

`steps` does things to it, `rest` brings it to its end. What is being published is compared with what workers and
programs really did at that moment.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.protocol.internal import Reply, Request, Source, unpack
from rfm_runtime.protocol.operation import TERMINAL_EVENTS, OperationEvent
from rfm_runtime.testing.simulation.broker import Broker, Processes
from rfm_runtime.testing.simulation.client import Client
from rfm_runtime.testing.simulation.elsewhere import Elsewhere
from rfm_runtime.testing.simulation.engine import Engine, EngineProcess
from rfm_runtime.testing.simulation.gateway import CERTIFIED, Files, Gateway
from rfm_runtime.testing.simulation.network import BROKER, Frames, Lane, Network, process_of
from rfm_runtime.testing.simulation.peer import Peer
from rfm_runtime.testing.simulation.reporter import Ending, Reporter
from rfm_runtime.testing.simulation.schedule import Config
from rfm_runtime.testing.tiles_ledger import Process, require

__all__ = ["GATEWAYS", "World"]

GATEWAYS = 2
SLICE_S = 0.9
"""Between two looks at the clock of what is not frozen: less than what a core takes for its own standstill."""


class World:
    """narrate: have each step say what it did.

    killed: operations whose program died before it could say, or leave, how they went. promised: outcomes that were
    left on disk.
    """

    def __init__(self, config: Config, *, narrate: bool = False) -> None:
        self.narrate = narrate
        self.now_s = 100.0
        self.network = Network()
        self.processes = Processes(self.kill)
        self.frozen: set[str] = set()
        self.revoked: set[str] = set()
        self.files = Files()
        self._tokens = itertools.count(1)
        self.killed: set[str] = set()
        self.promised: dict[str, Ending] = {}
        self.submitted = 0
        self.begun = 0
        self._numbers = itertools.count(1)
        self._starts = itertools.count(1)
        self.settings: dict[str, Any] = {
            "history_events": config.history_events,
            "finished_keep": config.finished_keep,
            "lease_s": config.lease_s,
            "handshakes_per_s": 10_000.0,
            "commands_per_s": 1000.0,
            "commands_burst": 1000,
            "refused_sign_ins_per_s": 10_000.0,
        }
        self.config = config
        self.broker = Broker(self.network, self.processes, self._published, self.settings)
        self.place = Engine()
        self.engines: list[EngineProcess] = []
        self.reporters: list[Reporter] = []
        self.gateways: list[Gateway | None] = [None] * GATEWAYS
        self.clients = [
            Client("ann", "json", "all", lambda: self.broker.events, self.issue),
            Client("bob", "msgpack", "active", lambda: self.broker.events, self.issue),
            Client("cat", "msgpack", "active", lambda: self.broker.events, self.issue),
            Client("root", "msgpack", "all", lambda: self.broker.events, self.issue),
        ]
        self.certified.grant = Grant(CERTIFIED, by_certificate=True)
        self.start_missing()
        for _ in range(3):
            self.everybody()
            self.advance(0.05)
        for number, peer in enumerate(self.peers()):
            peer.connect(self.gateway(number))
        for _ in range(3):
            self.everybody()

    def issue(self, user: str) -> str:
        """A token, or the name of a certificate, that nobody had before."""
        return f"{user}.{next(self._tokens)}.{self.files.key}"

    @property
    def certified(self) -> Client:
        """Who comes by a certificate."""
        return self.clients[-2]

    # --- processes --------------------------------------------------------------------------

    def _address(self, name: str) -> tuple[str, Source]:
        number = next(self._starts)
        address = f"{name}#{number}"
        return address, Source(name, "host", "boot", 1000 + number, 5000.0 + number, number)

    def start_missing(self) -> None:
        """Start whatever is not there."""
        for number, gateway in enumerate(self.gateways):
            if gateway is None:
                address, source = self._address(f"gateway-{number}")
                self.processes.alive[address] = source
                self.network.join(address)
                controls = partial(self.broker.subscribe, address, feed=False)
                new = Gateway(
                    self.network,
                    address,
                    self._numbers,
                    self.now_s,
                    self.settings,
                    self.revoked,
                    controls,
                    self.files,
                    self.broker.revocations,
                )
                self.gateways[number] = new
                self.broker.subscribe(address, feed=True)
                new.boot()
        if not self.engines:
            self.start_engine()
        for kind in (Reporter, Elsewhere):
            if not any(type(reporter) is kind for reporter in self.reporters):
                self._start_program(kind)

    def _start_program(self, kind: type[Reporter]) -> None:
        # A name of its own for each program, as its pid gives it.
        address, source = self._address(f"{kind.__name__.lower()}-{next(self._starts)}")
        self.processes.alive[address] = source
        program = kind(self.network, address, source, self._numbers, self.now_s)
        program.wall_ms = self.broker.wall_ms
        self.reporters.append(program)
        if not isinstance(program, Elsewhere):
            self.network.join(address)
            self.broker.subscribe(address, feed=False)
            program.hello()

    def start_engine(self) -> None:
        """Start an engine, also beside another."""
        address, source = self._address("engine-0")
        self.processes.alive[address] = source
        self.network.join(address)
        engine = EngineProcess(self.place, self.network, address, source, self._numbers, self.now_s)
        self.engines.append(engine)
        if self.place.process is None:
            self.place.taken_by(engine)
        self.broker.subscribe(address, feed=False)
        engine.hello()

    def kill(self, address: str) -> None:
        """SIGKILL of an engine or of a program that reports."""
        source = self.processes.alive.pop(address)
        self.network.forget(address)
        self.frozen.discard(address)
        self.broker.unsubscribe(address)
        for engine in [engine for engine in self.engines if engine.address == address]:
            self.engines.remove(engine)
            if engine.works:
                self.place.leave()
                if self.engines:
                    self.place.taken_by(self.engines[0])
        for reporter in [reporter for reporter in self.reporters if reporter.address == address]:
            self.reporters.remove(reporter)
            if reporter.kept:
                self.broker.left[source.name] = (source, tuple(reporter.kept.values()))
            self.promised |= {oid: reporter.ended[oid] for oid in reporter.kept}
            self.killed |= reporter.loops.keys() | (reporter.ended.keys() - reporter.settled - reporter.kept.keys())
            if isinstance(reporter, Elsewhere):
                reporter.cut()
        if source in self.broker.watching:
            self.broker.died(source)

    def crash_gateway(self, number: int) -> str:
        """SIGKILL of a gateway: its connections break."""
        gateway = self.gateways[number]
        if gateway is None:
            return ""
        self.gateways[number] = None
        del self.processes.alive[gateway.address]
        self.network.forget(gateway.address)
        self.frozen.discard(gateway.address)
        self.broker.unsubscribe(gateway.address)
        for peer in self.peers():
            if peer.gateway is gateway:
                peer.cut()
        return f"{gateway.address} is killed"

    def restart_broker(self) -> None:
        """SIGKILL of the broker, and a new one on what is on the disk."""
        self.frozen.discard(BROKER)
        self.broker.boot()

    def engine_is_frozen(self) -> bool:
        """Whether nobody runs the engine now."""
        return self.place.process is None or self.place.process.address in self.frozen

    def gateway(self, number: int) -> Gateway:
        """A gateway that is there."""
        gateway = self.gateways[number % GATEWAYS]
        if gateway is None:
            raise AssertionError("no gateway")
        return gateway

    def work(self, worker: Process, b: int) -> str:
        """A worker goes on with what it has."""
        deaf = self.engine_is_frozen()
        if worker.kill_asked or not worker.alive or b % 32 == 31:
            if deaf:
                self.place.kill(worker)
                return "is killed, and nobody sees it"
            self.place.die(worker)
            return "is killed"
        self.place.read(worker)
        done = "has nothing to do"
        if worker.todo and worker.todo[0].stop:
            self.place.stop(worker, iterations=b % 3 if worker.todo[0].begun else 0)
            done = "puts a task down"
        elif worker.todo and b % 32 == 30:
            self.place.fail(worker)
            done = "raises"
        elif worker.todo:
            self.place.finish(worker, iterations=b % 5)
            done = "finishes a task"
        if worker.outbox and not deaf:
            self.place.hear(worker)
        return done

    # --- delivering -------------------------------------------------------------------------

    def _receiver(self, address: str) -> Broker | Gateway | EngineProcess | Reporter | None:
        if address == BROKER:
            return self.broker
        everybody: list[Gateway | EngineProcess | Reporter] = [g for g in self.gateways if g is not None]
        everybody += [*self.engines, *self.reporters]
        return next((process for process in everybody if process.address == address), None)

    def deliver(self, lane: Lane) -> str:
        """The next message of a lane arrives."""
        frames = lane.queue.popleft()
        receiver = self._receiver(process_of(lane.receiver))
        if receiver is None:
            return "nobody is there"
        receiver.receive(lane, frames)
        return describe(frames) if self.narrate else ""

    def peers(self) -> list[Peer]:
        """Everybody with a connection to a gateway."""
        return [*self.clients, *self.elsewhere()]

    def elsewhere(self) -> list[Elsewhere]:
        """Programs that report through a gateway."""
        return [reporter for reporter in self.reporters if isinstance(reporter, Elsewhere)]

    def talking(self) -> list[Peer]:
        """Those that have something to say, or to read."""
        return [peer for peer in self.peers() if self._speaks(peer) or self._reads(peer)]

    def _speaks(self, peer: Peer) -> bool:
        stands = peer.gateway is None or peer.gateway.address in self.frozen
        return bool(peer.outgoing) and not stands and peer.name not in self.frozen

    def _reads(self, peer: Peer) -> bool:
        return peer.incoming and peer.name not in self.frozen

    def converse(self, peer: Peer, messages: int) -> str:
        """So many messages in both directions."""
        for _ in range(messages):
            if self._speaks(peer):
                peer.deliver()
            if self._reads(peer):
                peer.read()
        return f"{peer.name} speaks and reads"

    def flow(self) -> None:
        """Everything that is on its way arrives, and what follows from it."""
        for _ in range(200):
            lanes = self.network.open(self.frozen)
            talking = self.talking()
            if not lanes and not talking:
                break
            for lane in lanes:
                for _ in range(len(lane.queue)):
                    self.deliver(lane)
            for peer in talking:
                self.converse(peer, 20)
        self.network.tidy()

    def everybody(self) -> None:
        """Messages arrive, the disk writes, until nothing moves."""
        for _ in range(20):
            self.flow()
            if not self.broker.waiting or self.broker.failing:
                return
            self.broker.write()

    def advance(self, elapsed_s: float) -> None:
        """Whoever is not frozen looks at the clock now and then: what is no pause of its own must not look like one."""
        while elapsed_s > SLICE_S:
            self._pass(SLICE_S)
            elapsed_s -= SLICE_S
        self._pass(elapsed_s)

    def _pass(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s
        self.broker.mono_s = self.now_s
        self.broker.wall_ms += round(elapsed_s * 1000)
        if BROKER not in self.frozen:
            self.broker.turn()
        for reporter in self.reporters:
            # Everybody on a host has its clock.
            reporter.wall_ms = self.broker.wall_ms
        owners: list[EngineProcess | Reporter] = [*self.engines, *self.reporters]
        for process in owners:
            if process.address not in self.frozen:
                process.tick(self.now_s)
        for gateway in self.gateways:
            if gateway is not None and gateway.address not in self.frozen:
                gateway.turn(self.now_s)
        for client in self.clients:
            client.tick()

    # --- what holds -------------------------------------------------------------------------

    def _published(self, events: tuple[OperationEvent, ...]) -> None:
        """What is being said to everybody has to be so."""
        for event in events:
            oid = event.operation_id
            if oid.startswith("loop"):
                if event.type in TERMINAL_EVENTS:
                    self._loop_ended(event)
                continue
            gone = event.type in TERMINAL_EVENTS or event.type == "operation_requeued"
            require(not (gone and self.place.runs_anything_of(oid)), "a worker still computes it", event)
            if event.type in TERMINAL_EVENTS:
                self._render_ended(event)

    def _render_ended(self, event: OperationEvent) -> None:
        claim = self.place.claims.get((event.operation_id, event.generation))
        ended = None if claim is None else claim.ended
        match event.state:
            case "completed":
                require(ended == "completed", "the outcome is not that of its claim", (event, ended))
            case "failed":
                lost = event.error is not None and event.error.code == "worker_lost"
                require(lost or ended == "failed", "the outcome is not that of its claim", (event, ended))
            case _:
                require(event.cancel_requested, "nobody has cancelled it", event)

    def _loop_ended(self, event: OperationEvent) -> None:
        oid = event.operation_id
        if oid in self.promised:
            said = self.promised[oid]
            require(said == event.state, "it is not what its program said before it ended", (event, said))
            return
        if event.forced or (event.error is not None and event.error.code == "worker_lost"):
            lost = oid in self.killed or self._lease_is_over(oid)
            require(lost, "its program lives", event)
            return
        program = next((reporter for reporter in self.reporters if oid in reporter.ended), None)
        if program is not None:
            require(program.ended[oid] == event.state, "its program has said something else", (event, program.ended))

    def _lease_is_over(self, oid: str) -> bool:
        """Whether the program elsewhere that has it was silent for that long, as far as the broker could hear."""
        names = [f"root/{one.source.name}" for one in self.elsewhere() if oid in one.loops or oid in one.ended]
        return any(self.broker.is_silent(name) for name in names)


def describe(frames: Frames) -> str:
    """A message, for a trace."""
    if len(frames) == 1:
        return "a measure or a death"
    message = unpack(frames)
    if isinstance(message, Request):
        return f"{message.type}?"
    if isinstance(message, Reply):
        return f"error {message.error.code}" if message.error is not None else message.type
    events = [f"{e.type.removeprefix('operation_')} {e.operation_id}" for e in getattr(message, "events", ())]
    return f"{type(message).__name__}{events or ''}"
