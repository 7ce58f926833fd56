"""A program that reports, in a process of its own: loops of `track` and of `ProgressReporter`, one after the other.

Writes down what it did and when, before and after it says so; ends at SIGTERM when its loop is over.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from pathlib import Path

from rfm_runtime import ProgressReporter, track
from rfm_runtime.errors import OperationCanceled
from rfm_runtime.observe.process import die_with_parent
from rfm_runtime.testing.chaos.record import Record

__all__ = ["main"]

STEP_S = 0.05
FLUSH_S = 60.0


class _Program:
    def __init__(self, record: Record, seed: int) -> None:
        self._record = record
        self._rng = random.Random(seed)
        self.stopping = False

    def run(self) -> None:
        """Until it is told to stop; then until everything is with the runtime."""
        number = 0
        last: ProgressReporter | None = None
        while not self.stopping:
            number += 1
            if self._rng.random() < 0.5:
                last = self._reported(number)
            else:
                self._tracked(number)
            time.sleep(STEP_S * self._rng.random())
        deadline_s = time.monotonic() + FLUSH_S
        # Without a broker it does not wait; there will be one.
        while not (told := last is None or last.flush(1.0)) and time.monotonic() < deadline_s:
            time.sleep(STEP_S)
        self._record.write("flushed", told=told)

    def _reported(self, number: int) -> ProgressReporter:
        steps = 5 + int(self._rng.random() * 40)
        fails = self._rng.random() < 0.15
        reporter = ProgressReporter("chaos.reported", f"report {os.getpid()}-{number}", bar=False)
        reporter.total, reporter.unit = steps, "steps"
        self._record.write("begun", id=reporter.operation_id)
        for step in range(steps):
            if reporter.should_cancel():
                self._record.write("stopped", id=reporter.operation_id)
                reporter.report_canceled()
                return reporter
            time.sleep(STEP_S * self._rng.random())
            reporter.report_progress(step + 1)
        if fails:
            self._record.write("outcome", id=reporter.operation_id, state="failed")
            reporter.report_failed("it was to fail", code="chaos")
        else:
            self._record.write("outcome", id=reporter.operation_id, state="completed")
            reporter.report_completed()
        return reporter

    def _tracked(self, number: int) -> None:
        steps = 5 + int(self._rng.random() * 40)
        loop = track(range(steps), f"track {os.getpid()}-{number}", kind="chaos.tracked", bar=False)
        self._record.write("begun", id=loop.operation_id)
        try:
            for _ in loop:
                time.sleep(STEP_S * self._rng.random())
            self._record.write("outcome", id=loop.operation_id, state="completed")
        except OperationCanceled:
            self._record.write("stopped", id=loop.operation_id)


def main() -> None:
    """Report until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    record = Record(arguments.record)
    program = _Program(record, arguments.seed)

    def stop(_number: int, _frame: object) -> None:
        program.stopping = True

    signal.signal(signal.SIGTERM, stop)
    program.run()
    record.write("end")
    record.close()


if __name__ == "__main__":
    main()
