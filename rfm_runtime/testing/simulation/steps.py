"""What may happen in a history, one function a step: `(world, a, b) -> what was done`, empty if nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rfm_runtime.protocol.messages import CancelOperation, ChangePriority, Pause, Resume, Submit
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.testing.operations import KIND
from rfm_runtime.testing.simulation.client import Client
from rfm_runtime.testing.simulation.network import BROKER, Lane
from rfm_runtime.testing.simulation.peer import Peer
from rfm_runtime.testing.simulation.reporter import Ending, Reporter
from rfm_runtime.testing.simulation.schedule import Step
from rfm_runtime.testing.simulation.world import GATEWAYS, World

__all__ = ["STEPS", "carry_out"]

OPERATIONS_LIMIT = 8
LOOPS_LIMIT = 3
ELAPSED_S = (0.05, 0.05, 0.05, 0.3, 1.1, 3.5)
ENDS: tuple[Ending, ...] = ("completed", "completed", "failed", "canceled")
SIZES = ((2, 1), (3, 2))


def carry_out(world: World, step: Step) -> str:
    """Do it; what was done, for a trace. AssertionError if something that must hold does not."""
    return STEPS[step.name](world, step.a, step.b) or "nothing to do"


# --- what always goes on ---------------------------------------------------------------------


def deliver(world: World, a: int, b: int) -> str:
    """Some messages of one lane arrive."""
    lanes: list[Lane | Peer] = [*world.network.open(world.frozen), *world.talking()]
    if not lanes:
        return ""
    lane = lanes[a % len(lanes)]
    if not isinstance(lane, Lane):
        return world.converse(lane, 1 + b % 4)
    told = [world.deliver(lane) for _ in range(min(1 + b % 4, len(lane.queue)))]
    return f"{lane}: {', '.join(told)}" if world.narrate else "delivered"


def flow(world: World, _a: int, _b: int) -> str:
    """Everything that is on its way arrives, and what follows from it."""
    world.flow()
    return "everything on its way has arrived"


def write(world: World, _a: int, b: int) -> str:
    """The disk is as fast as it is."""
    if BROKER in world.frozen or not world.broker.waiting:
        return ""
    batches = None if b % 4 == 0 else 1 + b % 3
    world.broker.write(batches)
    return f"the journal has written {'all' if batches is None else batches} batches"


def tick(world: World, _a: int, b: int) -> str:
    """Time passes, and everybody who can looks at the clock."""
    elapsed_s = ELAPSED_S[b % len(ELAPSED_S)]
    world.advance(elapsed_s)
    return f"{elapsed_s:g} s pass"


def work(world: World, a: int, b: int) -> str:
    """A worker goes on with what it has."""
    workers = [worker for _, worker in sorted(world.place.processes.items())]
    if not workers:
        return ""
    worker = workers[a % len(workers)]
    return f"worker {worker.number}: {world.work(worker, b)}"


def frame(world: World, a: int, b: int) -> str:
    """A frame is there, or the disk is full, or something takes its time before."""
    waiting = sorted(world.place.preparing)
    if not waiting or world.engine_is_frozen():
        return ""
    operation_id = waiting[a % len(waiting)]
    if b % 16 == 0:
        world.place.frame_failed(operation_id)
        return f"no room for the frame of {operation_id}"
    if b % 16 in (1, 2):
        world.place.prepares(operation_id)
        return f"kernels for {operation_id} are compiled"
    world.place.frame_ready(operation_id)
    return f"the frame of {operation_id} is ready"


# --- people and programs ---------------------------------------------------------------------


def submit(world: World, a: int, b: int) -> str:
    """Somebody submits."""
    if world.submitted >= OPERATIONS_LIMIT:
        return ""
    client = world.clients[a % len(world.clients)]
    world.submitted += 1
    columns, rows = SIZES[b % len(SIZES)]
    oid = f"op-{world.submitted}"
    params = {"columns": columns, "rows": rows}
    client.submit(Submit(operation_id=oid, kind=KIND, request_key=f"key of {oid}", params=params))
    return f"{client.user} submits {oid}"


def submit_again(world: World, a: int, b: int) -> str:
    """A script that does not know whether it was heard submits the same again."""
    client = world.clients[a % len(world.clients)]
    if not client.wanted:
        return ""
    submission = client.wanted[sorted(client.wanted)[b % len(client.wanted)]]
    if b % 2:
        # A script that was started again knows its key, and not what it once called the operation.
        submission = msgspec.structs.replace(submission, operation_id=f"{submission.operation_id}-{b}")
    client.ask(submission)
    return f"{client.user} submits {submission.request_key} again, as {submission.operation_id}"


def _wish(world: World, a: int, b: int) -> tuple[Client, str | None]:
    """Somebody, and an operation that is known to them."""
    client = world.clients[a % len(world.clients)]
    known = sorted({*client.mirror.operations, *client.accepted.values()})
    return client, known[b % len(known)] if known else None


def cancel(world: World, a: int, b: int) -> str:
    """Somebody cancels something that is known to them."""
    client, oid = _wish(world, a, b)
    if oid is None:
        return ""
    client.ask(CancelOperation(operation_id=oid, deadline_ms=500))
    return f"{client.user} cancels {oid}"


def pause(world: World, a: int, b: int) -> str:
    """Somebody pauses something, or has it go on."""
    client, oid = _wish(world, a, b)
    if oid is None:
        return ""
    client.ask(Pause(oid) if b % 2 else Resume(oid))
    return f"{client.user} {'pauses' if b % 2 else 'resumes'} {oid}"


def prioritise(world: World, a: int, b: int) -> str:
    """Somebody changes a priority."""
    client, oid = _wish(world, a, b)
    if oid is None:
        return ""
    client.ask(ChangePriority(oid, b % 3))
    return f"{client.user} gives {oid} priority {b % 3}"


def connect(world: World, a: int, b: int) -> str:
    """Somebody connects to a gateway, resuming where they were."""
    peers = world.peers()
    peer, gateway = peers[a % len(peers)], world.gateways[b % GATEWAYS]
    if peer.connection is not None or gateway is None or {gateway.address, peer.name} & world.frozen:
        return ""
    peer.connect(gateway)
    return f"{peer.name} connects to {gateway.address}"


def drop(world: World, a: int, _b: int) -> str:
    """A connection breaks."""
    peers = world.peers()
    peer = peers[a % len(peers)]
    if peer.connection is None:
        return ""
    peer.cut()
    return f"{peer.name} is cut off"


def _reporter(world: World, a: int) -> Reporter | None:
    able = [reporter for reporter in world.reporters if reporter.address not in world.frozen]
    return able[a % len(able)] if able else None


def begin(world: World, a: int, _b: int) -> str:
    """A program begins an operation of its own."""
    reporter = _reporter(world, a)
    if reporter is None or len(reporter.loops) >= LOOPS_LIMIT or world.begun >= OPERATIONS_LIMIT:
        return ""
    world.begun += 1
    reporter.begin(f"loop-{world.begun}")
    return f"{reporter.address} begins loop-{world.begun}"


def advance(world: World, a: int, b: int) -> str:
    """A program's loop goes on."""
    reporter = _reporter(world, a)
    if reporter is None or not reporter.loops:
        return ""
    oid = sorted(reporter.loops)[b % len(reporter.loops)]
    reporter.advance(oid, 1.0 + b % 7)
    return f"{oid} goes on"


def end(world: World, a: int, b: int) -> str:
    """A program's loop looks at what it is asked, or ends."""
    reporter = _reporter(world, a)
    if reporter is None or not reporter.loops:
        return ""
    oid = sorted(reporter.loops)[b % len(reporter.loops)]
    if b % 3 == 0:
        reporter.look(oid)
        return f"{oid} looks"
    reporter.end(oid, ENDS[b % len(ENDS)])
    return f"{oid} has {ENDS[b % len(ENDS)]}"


def leave(world: World, a: int, _b: int) -> str:
    """A program comes to its end."""
    reporter = _reporter(world, a)
    if reporter is None:
        return ""
    reporter.leave()
    world.kill(reporter.address)
    return f"{reporter.address} ends, and leaves {len(reporter.kept)} outcomes"


# --- faults ----------------------------------------------------------------------------------


def lose(world: World, a: int, b: int) -> str:
    """Messages vanish: of PUB and PUSH whichever, of others all that is on its way, with their connection."""
    lanes = [lane for lane in world.network.waiting() if lane.channel != "death"]
    if not lanes:
        return ""
    lane = lanes[a % len(lanes)]
    count = 1 + b % 3 if lane.is_lossy else len(lane.queue)
    for _ in range(min(count, len(lane.queue))):
        lane.queue.popleft()
    return f"{lane}: {count} lost"


def repeat(world: World, a: int, _b: int) -> str:
    """A message comes twice."""
    lanes = [lane for lane in world.network.waiting() if lane.is_lossy]
    if not lanes:
        return ""
    lane = lanes[a % len(lanes)]
    lane.queue.appendleft(lane.queue[0])
    return f"{lane}: the next comes twice"


def swap(world: World, a: int, _b: int) -> str:
    """Two messages change places."""
    lanes = [lane for lane in world.network.waiting() if lane.is_lossy and len(lane.queue) > 1]
    if not lanes:
        return ""
    lane = lanes[a % len(lanes)]
    lane.queue.rotate(-1)
    return f"{lane}: the next is late"


def crash(world: World, a: int, b: int) -> str:
    """SIGKILL: of one process, or of all of them."""
    match a % 12:
        case 0 | 1 | 2:
            world.restart_broker()
            return "the broker is killed and starts again"
        case 3 | 4:
            return world.crash_gateway(b % GATEWAYS)
        case 5 | 6:
            if world.place.process is None:
                return ""
            world.kill(world.place.process.address)
            return "the engine is killed"
        case 7 | 8:
            if not world.reporters:
                return ""
            reporter = world.reporters[b % len(world.reporters)]
            world.kill(reporter.address)
            return f"{reporter.address} is killed"
        case 9 | 10:
            client = world.clients[b % len(world.clients)]
            client.cut()
            client.start()
            return f"{client.user}'s program is killed and starts again"
        case _:
            for engine in list(world.engines):
                world.kill(engine.address)
            for number in range(GATEWAYS):
                world.crash_gateway(number)
            world.restart_broker()
            return "all processes are killed; the broker starts again"


def start(world: World, _a: int, _b: int) -> str:
    """What is missing is started."""
    world.start_missing()
    return "what was missing is started"


def replace(world: World, _a: int, _b: int) -> str:
    """A second engine starts while the first is frozen."""
    if not world.engine_is_frozen() or len(world.engines) > 1:
        return ""
    world.start_engine()
    return "a second engine starts beside the frozen one"


def drain(world: World, _a: int, b: int) -> str:
    """The engine gives back what it has; it is started again once it is empty."""
    if world.place.process is None or world.engine_is_frozen():
        return ""
    world.place.drain(at_once=b % 2 == 0)
    return "the engine drains"


def _freezable(world: World) -> list[str]:
    addresses = [BROKER, *(engine.address for engine in world.engines), *(r.address for r in world.reporters)]
    return addresses + [gateway.address for gateway in world.gateways if gateway is not None]


def freeze(world: World, a: int, _b: int) -> str:
    """SIGSTOP."""
    able = [address for address in _freezable(world) if address not in world.frozen]
    if not able:
        return ""
    address = able[a % len(able)]
    world.frozen.add(address)
    return f"{address} is frozen"


def thaw(world: World, a: int, _b: int) -> str:
    """SIGCONT."""
    if not world.frozen:
        return ""
    address = sorted(world.frozen)[a % len(world.frozen)]
    world.frozen.discard(address)
    return f"{address} goes on"


def cut(world: World, a: int, _b: int) -> str:
    """The connection of a process to the broker is interrupted; what it sends waits."""
    able = [address for address in _freezable(world)[1:] if address not in world.network.cut]
    if not able:
        return ""
    world.network.cut.add(able[a % len(able)])
    return f"{able[a % len(able)]} cannot reach the broker"


def heal(world: World, a: int, _b: int) -> str:
    """It is there again."""
    if not world.network.cut:
        return ""
    address = sorted(world.network.cut)[a % len(world.network.cut)]
    world.network.cut.discard(address)
    return f"{address} reaches the broker again"


def disk(world: World, _a: int, _b: int) -> str:
    """The journal's disk is full, or there is room again."""
    if BROKER in world.frozen:
        return ""
    if world.broker.failing:
        world.broker.recover()
        return "the journal can be written again"
    world.broker.fail()
    return "the journal cannot be written"


def revoke(world: World, a: int, _b: int) -> str:
    """A token is none any more, or is one again. Whoever is connected stays so."""
    user = world.clients[a % len(world.clients)].user
    world.revoked ^= {user}
    return f"the token of {user} is {'revoked' if user in world.revoked else 'valid again'}"


def withdraw(world: World, a: int, _b: int) -> str:
    """An administrator has a token revoked, perhaps his own."""
    client = world.clients[a % len(world.clients)]
    if client.grant is not None:
        return ""
    world.clients[-1].ask(Revoke(token_id=client.token))
    return f"{client.token} is to be revoked"


def rekey(world: World, _a: int, _b: int) -> str:
    """The key of all tokens goes, and another one comes; gateways find it with their next turn."""
    world.files.key += 1
    return f"tokens are of key {world.files.key} from now on"


def uncertify(world: World, _a: int, _b: int) -> str:
    """A client certificate is revoked."""
    name = world.certified.token
    if name in world.files.certificates:
        return ""
    world.files.certificates |= {name}
    return f"the certificate {name} is revoked"


def clock(world: World, a: int, b: int) -> str:
    """Somebody sets the broker's clock."""
    hours = (a % 7) - 3
    world.broker.wall_ms = max(1, world.broker.wall_ms + hours * 3_600_000 + b)
    return f"the clock is set by {hours} h"


STEPS: dict[str, Callable[[World, int, int], str]] = {
    step.__name__: step
    for step in (
        deliver,
        flow,
        write,
        tick,
        work,
        frame,
        submit,
        submit_again,
        cancel,
        pause,
        prioritise,
        connect,
        drop,
        begin,
        advance,
        end,
        leave,
        lose,
        repeat,
        swap,
        crash,
        start,
        replace,
        drain,
        freeze,
        thaw,
        cut,
        heal,
        disk,
        revoke,
        withdraw,
        rekey,
        uncertify,
        clock,
    )
}
"""By name."""
