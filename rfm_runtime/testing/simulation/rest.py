"""The end of a history: everything is repaired, everybody cooperates, and nothing may have been lost.

Every operation has its one outcome, every promise is kept, every watcher knows what the journal says.
"""

from __future__ import annotations

from rfm_runtime.protocol.messages import Resume
from rfm_runtime.protocol.operation import TERMINAL_STATES
from rfm_runtime.testing.simulation.client import Client
from rfm_runtime.testing.simulation.gateway import told_by
from rfm_runtime.testing.simulation.world import World
from rfm_runtime.testing.tiles_ledger import require

__all__ = ["come_to_rest"]

HEARD_ROUNDS = 20
"""Of half a second: whatever is asked of an owner has reached it by then, repetitions included."""

REST_ROUNDS = 150


def come_to_rest(world: World) -> None:
    """Repair everything, let everybody cooperate, check that nothing was lost. AssertionError."""
    _repair(world)
    for _ in range(HEARD_ROUNDS):
        _round(world)
        for oid in sorted(world.place.preparing):
            world.place.frame_ready(oid)
    _check_heard(world)
    for _ in range(REST_ROUNDS):
        _cooperate(world)
        _round(world)
        if _rests(world):
            break
    else:
        raise AssertionError(f"it does not come to rest: {_why(world)}")
    for _ in range(6):
        _round(world)
    _check_end(world)


def _repair(world: World) -> None:
    world.frozen.clear()
    world.network.cut.clear()
    world.revoked.clear()
    if world.broker.failing:
        world.broker.recover()
    world.start_missing()
    for client in world.clients:
        # A script that was killed is run again.
        for key in sorted(client.wanted.keys() - client.accepted.keys()):
            client.submit(client.wanted[key])


def _round(world: World) -> None:
    place = world.place
    if place.core.draining and not place.core.runs and place.process is not None:
        # What has given everything back ends by itself.
        world.kill(place.process.address)
    world.start_missing()
    for number, peer in enumerate(world.peers()):
        if peer.connection is None:
            peer.connect(world.gateway(number))
    world.everybody()
    world.advance(0.5)
    world.everybody()


def _cooperate(world: World) -> None:
    place = world.place
    for oid in sorted(place.preparing):
        place.frame_ready(oid)
    for worker in [worker for _, worker in sorted(place.processes.items())]:
        for _ in range(8):
            if worker.number in place.processes:
                world.work(worker, 1)
    for reporter in world.reporters:
        for oid in sorted(reporter.loops):
            told = reporter.told.get(oid)
            if told is not None and (told.cancel or told.pause):
                reporter.look(oid)
            else:
                reporter.end(oid, "completed")
    root = world.clients[-1]
    if not root.outbox.to_send():
        for operation in root.mirror.operations.values():
            if operation.state == "paused":
                root.ask(Resume(operation.operation_id))


def _rests(world: World) -> bool:
    waiting = any(len(client.outbox) or client.patience or not client.live for client in world.clients)
    heard = not world.broker.left
    return heard and not waiting and not world.broker.hub.live and not world.network.waiting()


def _why(world: World) -> str:
    hub = world.broker.hub
    lines = [" ".join(hub.explain(oid, world.broker.now)) for oid in sorted(hub.live)]
    lines += [f"{c.user}: {len(c.outbox)} requests, live: {c.live}" for c in world.clients]
    return "; ".join([*lines, *(str(lane) for lane in world.network.waiting())])


def _check_heard(world: World) -> None:
    """Whoever is to stop knows it; an engine that drains takes nothing, and ends with what it has."""
    if world.place.core.draining:
        return
    for oid in sorted(world.broker.hub.live):
        record = world.broker.hub.records[oid]
        if record.operation.state != "cancelling" or oid in world.killed:
            continue
        claim = world.place.claims.get((oid, record.operation.generation))
        told = [reporter.told[oid].cancel for reporter in world.reporters if oid in reporter.told]
        require((claim is not None and claim.cancelled) or any(told), "it does not know that it is to stop", oid)


def _check_end(world: World) -> None:
    world.broker.check()
    rows = world.broker.rows
    keys = [(row.operation.owner, row.request_key) for row in rows.values()]
    require(len(keys) == len(set(keys)), "one key, two operations", keys)
    for oid, said in world.promised.items():
        require(oid in rows and rows[oid].operation.state == said, "what was left on disk was lost", oid)
    for client in world.clients:
        for oid in client.accepted.values():
            require(oid in rows and rows[oid].operation.state in TERMINAL_STATES, "lost", oid)
        require(client.accepted.keys() == client.wanted.keys(), "never accepted", client.wanted.keys())
        require(_is_let_in(world, client), "in by what counts no more", (client.user, client.token))
        require(client.position == len(world.broker.events), "events are missing", (client.user, client.position))
        _check_known(world, client)


def _is_let_in(world: World, client: Client) -> bool:
    """By all that was revoked, whichever gateway knows it."""
    if client.grant is not None:
        return client.token not in world.files.certificates
    return f"token:{client.token}" not in world.broker.revocations and told_by(client.token)[1] == world.files.key


def _check_known(world: World, client: Client) -> None:
    rows, known = world.broker.rows, client.mirror.operations
    newest = sorted(rows.values(), key=lambda row: row.operation.at_seq)[-world.config.finished_keep :]
    for row in newest:
        require(row.operation.operation_id in known or client.subscription == "active", "not known", row.operation)
    for oid, operation in known.items():
        truth = rows[oid].operation
        same = (operation.state, operation.at_seq, operation.artifacts, operation.error)
        require(same == (truth.state, truth.at_seq, truth.artifacts, truth.error), "known wrongly", (oid, same))
        final = [
            None if o.latest is None else (o.latest.rev, o.latest.done, o.latest.progress) for o in (operation, truth)
        ]
        require(final[0] == final[1], "its final progress is known wrongly", (oid, final))
