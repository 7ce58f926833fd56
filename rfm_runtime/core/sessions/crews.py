"""What a watcher is told of workers: everything but the names of operations that he may not see. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rfm_runtime.core.permissions import Sight
from rfm_runtime.protocol.crew import CrewUsage, WorkerUsage
from rfm_runtime.protocol.operation import Operation

__all__ = ["crews_for"]


def crews_for(crews: Iterable[CrewUsage], seen: Sight | None, known: Mapping[str, Operation]) -> tuple[CrewUsage, ...]:
    """seen: what he sees. known: operations by id; one that is not there is nobody's to see."""

    def shown(worker: WorkerUsage) -> WorkerUsage:
        operation = known.get(worker.operation_id)
        if not worker.operation_id or (operation is not None and seen is not None and seen.has(operation)):
            return worker
        return msgspec.structs.replace(worker, operation_id="")

    return tuple(msgspec.structs.replace(crew, workers=tuple(map(shown, crew.workers))) for crew in crews)
