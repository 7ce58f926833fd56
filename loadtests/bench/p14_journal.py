"""P14: a broker that is killed with 10,000 operations in its journal → serving again; events/s into the journal.

The restart is that of the process, Python and all, to its readiness: peers are answered from then on. Every operation
has five events and a series of 128 points. Events are written through the journal as the broker does it, each with its
row and in batches of one; the peer is bare `sqlite3` in the same file mode, which may put as many into one transaction
as the journal did, and is given the bytes.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from rfm_runtime.core.operations.record import Batch, StoredOperation
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.operation import Operation, OperationEvent, ProgressUpdate
from rfm_runtime.store.journal import SqliteJournal
from rfm_runtime.testing.broker import BrokerProcess

OPERATIONS = 10_000
EVENTS = 5
POINTS = 128
LIMIT_S = 1.0
TARGET = 0.25


def run(quick: bool = False) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        restarts, bare = _restarts_s(Path(folder) / "restart", 3 if quick else 9)
        ours, peer, sizes = _written(Path(folder), 2_000 if quick else 20_000, 2 if quick else 5)
        waits = _waits_ms(Path(folder) / "waits.db", 100 if quick else 1000)
    return [
        _row(
            f"broker killed with {OPERATIONS} operations in the journal → serving; peer: Python and its imports alone",
            *(statistics.median(restarts), statistics.median(bare), "s", f"≤ {LIMIT_S:g} s"),
            met=statistics.median(restarts) <= LIMIT_S,
        ),
        _row(
            f"journal, each event with its row, {statistics.median(sizes):.0f} in a transaction, against bare sqlite3",
            *(statistics.median(ours), statistics.median(peer), "events/s", f"≥ {TARGET:g}×"),
            met=statistics.median(ours) / statistics.median(peer) >= TARGET,
        ),
        _row("event → on disk, one at a time, median", statistics.median(waits), None, "ms", "–"),
        _row("event → on disk, one at a time, p99", statistics.quantiles(waits, n=100)[98], None, "ms", "–"),
    ]


def _row(what: str, ours: float, peer: float | None, unit: str, target: str, *, met: bool = True) -> dict[str, Any]:
    ratio = None if peer is None else ours / peer
    return {
        "id": "P14",
        "what": what,
        "ours": ours,
        "peer": peer,
        "unit": unit,
        "ratio": ratio,
        "target": target,
        "met": met,
    }


def _operation(number: int, *, state: str, at_seq: int) -> StoredOperation:
    operation_id = f"01JOURNAL{number:017}"
    ended = state == "completed"
    at_ms = 1_700_000_000_000 + 1000 * number
    latest = ProgressUpdate(
        operation_id=operation_id, rev=(1, 9), at_seq=at_seq, measured_at_ms=at_ms, done=1e6, total=1e6, unit="px"
    )
    operation = Operation(
        operation_id=operation_id,
        kind="render.escape_time",
        name=f"render {number}",
        owner="local",
        state=state,
        at_seq=at_seq,
        created_at_ms=at_ms,
        started_at_ms=at_ms + 5,
        generation=1,
        ended_at_ms=at_ms + 900 if ended else None,
        latest=latest,
        labels={"series": str(number % 7)},
        correlation_id=operation_id[-12:],
    )
    params = {"re": "-0.7463", "im": "0.1102", "width": "0.005", "width_px": 3840, "height_px": 2160, "max_iter": 5000}
    key = f"key-{number}"
    return StoredOperation(operation=operation, params=params, request_key=key, body_digest=b"0123456789abcdef")


def _event(seq: int, row: StoredOperation, kind: str, state: str) -> OperationEvent:
    first = kind in ("operation_accepted", "operation_started")
    return OperationEvent(
        seq=seq,
        ts_ms=row.operation.created_at_ms,
        type=kind,
        state=state,
        generation=1,
        operation_id=row.operation.operation_id,
        operation=row.operation if first else None,
        final=row.operation.latest if state == "completed" else None,
    )


def _batch(number: int, row: StoredOperation) -> Batch:
    return Batch(number, (row,), (_event(number, row, "operation_queued", "queued"),))


STORY = (
    *(("operation_accepted", "pending"), ("operation_queued", "queued"), ("operation_started", "running")),
    *(("operation_priority", "running"), ("operation_completed", "completed")),
)


def _fill(path: Path) -> None:
    points = [(i, float(i), float(i), i, i, 2) for i in range(POINTS)]
    series = msgspec.convert({"points": points, "total": 1e6, "unit": "px"}, Performance, strict=False)
    journal, done = _opened(path)
    for number in range(OPERATIONS):
        seq = EVENTS * number
        row = _operation(number, state="completed", at_seq=seq + EVENTS)
        events = tuple(_event(seq + i, row, *step) for i, step in enumerate(STORY, 1))
        journal.append(Batch(number + 1, (row,), events, ((row.operation.operation_id, series),)))
    done.until(OPERATIONS)
    journal.close()


class _Done:
    """What the writer's thread calls back with."""

    def __init__(self) -> None:
        self.number = 0
        self.commits = 0
        self._changed = threading.Condition()

    def __call__(self, number: int, _elapsed_s: float) -> None:
        with self._changed:
            self.number = number
            self.commits += 1
            self._changed.notify()

    def until(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.number >= number)


def _opened(path: Path) -> tuple[SqliteJournal, _Done]:
    journal, done = SqliteJournal(path), _Done()
    journal.start(done, lambda trouble: sys.exit(f"the journal fails: {trouble}"))
    return journal, done


def _restarts_s(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Of the broker, and of Python with the broker's imports, in turn."""
    broker = BrokerProcess(folder)
    _fill(broker.folders.journal)
    found, bare = [], []
    try:
        broker.start()
        for _ in range(rounds):
            broker.kill()
            bare.append(_python_s())
            found.append(broker.start())
    finally:
        broker.close()
    return found, bare


def _python_s() -> float:
    """What the process takes before it looks at its journal."""
    begin_s = time.monotonic()
    subprocess.run([sys.executable, "-P", "-c", "import rfm_runtime.broker.__main__"], check=True, env=dict(os.environ))
    return time.monotonic() - begin_s


def _written(folder: Path, events: int, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Events a second, ours and the peer's in turn, and how many the journal took at once."""
    ours, peer, sizes = [], [], []
    for turn in range(rounds):
        rows = [_operation(number, state="running", at_seq=number + 1) for number in range(events)]
        batches = [
            Batch(n + 1, (row,), (_event(n + 1, row, "operation_queued", "queued"),)) for n, row in enumerate(rows)
        ]
        journal, done = _opened(folder / f"ours-{turn}.db")
        begin_s = time.perf_counter()
        for batch in batches:
            journal.append(batch)
        done.until(events)
        ours.append(events / (time.perf_counter() - begin_s))
        sizes.append(events / done.commits)
        journal.close()
        peer.append(_bare(folder / f"peer-{turn}.db", batches, round(sizes[-1])))
    return ours, peer, sizes


def _bare(path: Path, batches: list[Batch], at_once: int) -> float:
    SqliteJournal(path).close()
    encode = msgspec.msgpack.encode
    rows, events = [], []
    for batch in batches:
        row, event = batch.rows[0], batch.events[0]
        operation = row.operation
        rows.append(
            (
                *(operation.operation_id, operation.state, operation.kind, operation.owner, row.request_key),
                *(operation.created_at_ms, None, encode(row), None),
            )
        )
        events.append((event.seq, event.operation_id, encode(event)))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=FULL")
    begin_s = time.perf_counter()
    for start in range(0, len(rows), at_once):
        with connection:
            connection.executemany(
                "INSERT INTO operations VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (operation_id) DO UPDATE SET "
                "state = excluded.state, ended_at_ms = excluded.ended_at_ms, row = excluded.row",
                rows[start : start + at_once],
            )
            connection.executemany("INSERT INTO events VALUES (?,?,?)", events[start : start + at_once])
    elapsed_s = time.perf_counter() - begin_s
    connection.close()
    return len(rows) / elapsed_s


def _waits_ms(path: Path, rounds: int) -> list[float]:
    journal, done = _opened(path)
    waits = []
    for number in range(1, rounds + 1):
        row = _operation(number, state="running", at_seq=number)
        begin_s = time.perf_counter()
        journal.append(_batch(number, row))
        done.until(number)
        waits.append(1000 * (time.perf_counter() - begin_s))
    journal.close()
    return waits


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
