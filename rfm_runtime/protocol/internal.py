"""`rfm.zmq.v1`, between the runtime's own processes: MessagePack of structs.

Every message but progress is `[routing id or topic] · [version byte + type] · [body]`; `pack` and
`unpack` are the last two frames. Progress on `ingest` is one frame, see `pack_progress`.

command   DEALER → ROUTER broker    requests with `id`, answered by `Reply`; and one-way to owners
control   XPUB broker → SUB         `ControlFrame`: the cancel set, repeated until it is empty
feed      PUB broker → SUB          `FeedFrame`: numbered events and coalesced progress
ingest    PUSH → PULL broker        progress
data      DEALER → ROUTER engine    chunks of artefacts, the engine's metrics
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from rfm_runtime.errors import BadRequestError, UnsupportedError
from rfm_runtime.protocol.figures import GetPeriodReport, OperationReport, PeriodReport
from rfm_runtime.protocol.history import History, HistoryReply, PerformanceReply
from rfm_runtime.protocol.messages import (
    CancelOperation,
    CancelReply,
    Kind,
    ListOperations,
    ListReply,
    OperationReply,
    SubmitReply,
    SubmitRequest,
)
from rfm_runtime.protocol.notifying import RulesReply, SetRules
from rfm_runtime.protocol.operation import (
    Age,
    Artifact,
    ErrorInfo,
    Labels,
    Name,
    Operation,
    OperationEvent,
    OperationId,
    ProgressUpdate,
    TileGrid,
)
from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.protocol.resources import Resources, Usage
from rfm_runtime.protocol.revocation import Revocations, Revoke, RevokeReply
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import GetTimeline, TimelineReply
from rfm_runtime.protocol.values import Params

__all__ = [
    "PROGRESS_HEADER",
    "VERSION",
    "Ack",
    "Announce",
    "Assign",
    "Cancellation",
    "ControlFrame",
    "DataChunk",
    "DataFetch",
    "DataFocus",
    "DataPixels",
    "DataProbe",
    "DataProbed",
    "DataRecolour",
    "DataRecoloured",
    "DataTiles",
    "DoCancel",
    "DoExchange",
    "DoExplain",
    "DoGet",
    "DoGetRules",
    "DoHistory",
    "DoKinds",
    "DoList",
    "DoOperationReport",
    "DoPause",
    "DoPerformance",
    "DoPeriodReport",
    "DoPriority",
    "DoRevoke",
    "DoSetRules",
    "DoSignInLink",
    "DoSubmit",
    "DoTimeline",
    "Events",
    "EventsSince",
    "Exchanged",
    "Explained",
    "FeedFrame",
    "GatewayHello",
    "GatewayWelcome",
    "GetRevocations",
    "HeldOperation",
    "HelloAsked",
    "KindsKnown",
    "LastWord",
    "Metrics",
    "MetricsText",
    "OperationMeasure",
    "Outcome",
    "OwnerHeartbeat",
    "OwnerHello",
    "OwnerWelcome",
    "PauseOwner",
    "PauseState",
    "PeerStatus",
    "Principal",
    "PriorityOwner",
    "ProgressState",
    "ProgressStateReply",
    "Release",
    "Reply",
    "Request",
    "Snapshot",
    "SnapshotPage",
    "Source",
    "Started",
    "Status",
    "StatusReply",
    "Submitted",
    "TileMeasure",
    "pack",
    "pack_progress",
    "pack_reply",
    "pack_request",
    "unpack",
    "unpack_body",
    "unpack_progress",
]

VERSION = 1


class Source(Struct, frozen=True):
    """Who speaks. (host, boot_id, pid, start_time) names a process for good; `incarnation` its start.

    start_time: in seconds, since the boot where the system says so.
    """

    name: str
    host: str
    boot_id: str
    pid: int
    start_time: float
    incarnation: int


class Principal(Struct, frozen=True, omit_defaults=True):
    """Whose request this is, as the gateway established it. kinds: of operations that are granted; None: all."""

    user: str
    roles: tuple[str, ...]
    kinds: tuple[str, ...] | None = None


# --- command: gateway → broker ----------------------------------------------------------------


class GatewayHello(Struct, frozen=True):
    """A gateway introduces itself and asks where the feed stands."""

    source: Source


class GatewayWelcome(Struct, frozen=True, kw_only=True):
    """epoch: name of the log. floor, head: the events that can still be asked for are floor < seq ≤ head."""

    epoch: str
    incarnation: int
    floor: int
    head: int
    frame_no: int
    durable: bool


class DoSubmit(Struct, frozen=True, kw_only=True):
    """All or none. → `Submitted`"""

    principal: Principal
    submissions: tuple[SubmitRequest, ...]


class Submitted(Struct, frozen=True):
    """One answer a submission."""

    replies: tuple[SubmitReply, ...]


class DoCancel(Struct, frozen=True):
    """→ `CancelReply`"""

    principal: Principal
    request: CancelOperation


class DoPause(Struct, frozen=True):
    """Pause or resume. → `Ack`"""

    principal: Principal
    operation_id: str
    paused: bool


class DoPriority(Struct, frozen=True):
    """→ `Ack`"""

    principal: Principal
    operation_id: str
    priority: int


class DoExplain(Struct, frozen=True):
    """→ `Explained`"""

    principal: Principal
    operation_id: str


class Explained(Struct, frozen=True):
    """One sentence a line."""

    lines: tuple[str, ...]


class DoList(Struct, frozen=True):
    """→ `ListReply`"""

    principal: Principal
    request: ListOperations


class DoGet(Struct, frozen=True):
    """→ `OperationReply`"""

    principal: Principal
    operation_id: str


class DoKinds(Struct, frozen=True):
    """→ `KindsKnown`"""

    principal: Principal = Principal("", ())


class DoHistory(Struct, frozen=True):
    """→ `HistoryReply`"""

    principal: Principal
    request: History


class DoPeriodReport(Struct, frozen=True):
    """→ `PeriodReport`"""

    principal: Principal
    request: GetPeriodReport


class DoOperationReport(Struct, frozen=True):
    """→ `OperationReport`"""

    principal: Principal
    operation_id: str


class DoTimeline(Struct, frozen=True):
    """→ `TimelineReply`"""

    principal: Principal
    request: GetTimeline


class DoPerformance(Struct, frozen=True):
    """→ `PerformanceReply`"""

    principal: Principal
    operation_id: str


class DoRevoke(Struct, frozen=True):
    """→ `RevokeReply`"""

    principal: Principal
    request: Revoke


class DoSignInLink(Struct, frozen=True):
    """token_id, issued_at_ms, expires_at_ms: of the token with which it is asked for; "", 0 and None if it has none.

    → `Ack`
    """

    principal: Principal
    request: SignInLink
    token_id: str = ""
    issued_at_ms: int = 0
    expires_at_ms: int | None = None


class DoGetRules(Struct, frozen=True):
    """→ `RulesReply`"""

    principal: Principal


class DoSetRules(Struct, frozen=True):
    """→ `RulesReply`"""

    principal: Principal
    request: SetRules


class DoExchange(Struct, frozen=True):
    """Somebody has said the code of a sign-in link. digest: SHA-256 of it. → `Exchanged`, once"""

    digest: str


class Exchanged(Struct, frozen=True):
    """lifetime_s: of the token that is made for him."""

    principal: Principal
    lifetime_s: float


class GetRevocations(Struct, frozen=True):
    """The set of tokens that are valid no more. → `Revocations`"""


class KindsKnown(Struct, frozen=True):
    """What the engines connected now offer."""

    kinds: tuple[Kind, ...]


class EventsSince(Struct, frozen=True):
    """Events after `seq` of log `epoch`. → `Events`"""

    epoch: str
    seq: int


class Events(Struct, frozen=True, kw_only=True):
    """At most 1,000 events, in order; `head` says whether there are more.

    `recovered` is false where the log has another name or `seq` is outside floor..head: take a snapshot.
    """

    epoch: str
    incarnation: int
    floor: int
    head: int
    recovered: bool
    events: tuple[OperationEvent, ...] = ()


class Snapshot(Struct, frozen=True):
    """A page of the committed state; `cursor` is the one of the page before, "" for the first."""

    cursor: str = ""


class SnapshotPage(Struct, frozen=True, kw_only=True):
    """Operations, each with its own `at_seq`; `seq` is the log's head when the page was read.

    A receiver that starts the first page at head s and then applies every event after s, skipping
    for each operation those up to its `at_seq`, has the state. `cursor` is "" on the last page. The first page has the
    tokens that are valid no more.
    """

    epoch: str
    incarnation: int
    seq: int
    operations: tuple[Operation, ...]
    cursor: str
    revocations: Revocations | None = None


class ProgressState(Struct, frozen=True):
    """The newest progress of every live operation, after a gap in `frame_no`. → `ProgressStateReply`"""


class ProgressStateReply(Struct, frozen=True):
    """`frame_no` of the feed at the time of the answer."""

    incarnation: int
    frame_no: int
    progress: tuple[ProgressUpdate, ...]


class Metrics(Struct, frozen=True):
    """Of the process asked, in Prometheus' text format. → `MetricsText`"""


class MetricsText(Struct, frozen=True):
    """Prometheus exposition text."""

    text: str


class Status(Struct, frozen=True):
    """Of the broker and its peers. → `StatusReply`"""


class PeerStatus(Struct, frozen=True, kw_only=True):
    """One process the broker hears of. silent_s: seconds since its last message."""

    role: Literal["engine", "gateway", "reporter"]
    name: str
    pid: int
    silent_s: float
    operations: int = 0
    slots: int = 0
    workers: int = 0


class StatusReply(Struct, frozen=True, kw_only=True):
    """`journal`: "ok", or why it cannot be written. states: number of operations in each state."""

    epoch: str
    incarnation: int
    head: int
    uptime_s: float
    journal: str
    draining: bool
    states: dict[str, int]
    peers: tuple[PeerStatus, ...]


# --- command: owner → broker ------------------------------------------------------------------


class HeldOperation(Struct, frozen=True, kw_only=True):
    """An operation the owner has in its hands, with its full measure."""

    operation_id: str
    generation: int
    state: Literal["running", "paused", "cancelling", "ended"]
    measure: OperationMeasure


class OwnerHello(Struct, frozen=True, kw_only=True):
    """An owner introduces itself, or answers *report everything* after a broker's restart. → `OwnerWelcome`

    `held` is complete: what the broker thinks this owner has and is not listed was lost with its
    predecessor. local: on the broker's host, so that its death is proven by pid and start time.
    slots: operations it takes at once. location: its `data` endpoint.
    """

    source: Source
    role: Literal["engine", "reporter"]
    kinds: tuple[Kind, ...]
    location: str | None
    slots: int
    workers: int
    local: bool = True
    resumable: tuple[str, ...] = ()
    held: tuple[HeldOperation, ...] = ()


class OwnerWelcome(Struct, frozen=True, kw_only=True):
    """`keep`: assignments to go on with (new handles). `drop`: held operations that are not its own any
    more; it stops them and forgets them. Then `cancel` of the control frame applies."""

    incarnation: int
    keep: tuple[Assign, ...]
    drop: tuple[str, ...]
    control: ControlFrame


class OwnerHeartbeat(Struct, frozen=True):
    """One-way, every second."""

    source: Source
    operations: int


class Announce(Struct, frozen=True, kw_only=True):
    """A reporter begins an operation of its own: its program runs already. → `Assign` once journalled.

    Repeated with the same operation_id until it is answered; `conflict` if that is not its own, or has ended.
    pausable: its program looks whether it is to pause. parent_id: a cancel of that one cancels it; without meaning
    once the parent has ended. age_ms: since it has begun, if nobody could be told then.
    """

    principal: Principal
    operation_id: OperationId
    kind: Name
    name: Name
    measure: OperationMeasure
    labels: Labels = {}
    pausable: bool = False
    parent_id: OperationId | None = None
    age_ms: Age = 0


class Started(Struct, frozen=True, kw_only=True):
    """The owner began. Confirms `Assign`. → `Ack` once journalled; `conflict` if fenced off."""

    operation_id: str
    generation: int
    total: float | None = None
    unit: str = ""
    grid: TileGrid | None = None


class PauseState(Struct, frozen=True):
    """Dispatch stopped and no tile runs (or: goes on). Confirms `PauseOwner`. → `Ack`"""

    operation_id: str
    generation: int
    paused: bool


class Outcome(Struct, frozen=True, kw_only=True):
    """How it ended, with the final measure. Kept by the owner and repeated until `Ack` or `conflict`.

    Also the acknowledgement of a cancel: work has really stopped.
    """

    operation_id: str
    generation: int
    state: Literal["completed", "failed", "canceled"]
    final: OperationMeasure
    error: ErrorInfo | None = None
    artifacts: tuple[Artifact, ...] = ()
    forced: bool = False


class LastWord(Struct, frozen=True, kw_only=True):
    """An outcome that a program could not tell, and left on disk: see `store.last_words`.

    announce: what it was, for a broker that has not heard of it. kept_at_ms: when it was written.
    """

    announce: Announce
    outcome: Outcome
    kept_at_ms: int


class Release(Struct, frozen=True):
    """A draining owner gives an operation back; what it finished is kept for the next one. → `Ack`"""

    operation_id: str
    generation: int
    reason: str
    measure: OperationMeasure


class Ack(Struct, frozen=True):
    """Journalled."""


# --- command: broker → owner, one-way, repeated every second until confirmed --------------------


class Assign(Struct, frozen=True, kw_only=True):
    """This operation is yours, as generation `generation`. Confirmed by `Started` or `Outcome`.

    handle: random 64-bit number that authorises its progress.
    """

    operation_id: str
    generation: int
    handle: int
    kind: str
    name: str
    owner: str
    params: dict[str, Any]
    priority: int
    paused: bool
    correlation_id: str


class HelloAsked(Struct, frozen=True):
    """To whoever speaks as an owner and is none here: introduce yourself. Answered by `OwnerHello`."""


class PauseOwner(Struct, frozen=True):
    """Stop dispatching, or go on. Confirmed by `PauseState`."""

    operation_id: str
    generation: int
    paused: bool


class PriorityOwner(Struct, frozen=True):
    """New priority of a running operation; advisory, not confirmed."""

    operation_id: str
    generation: int
    priority: int


# --- control ----------------------------------------------------------------------------------


class Cancellation(Struct, frozen=True, kw_only=True):
    """One entry of the cancel set. After kill_after_ms from first sight the owner kills the worker.

    None: only ask. 0: kill at once.
    """

    operation_id: str
    generation: int
    kill_after_ms: int | None


class ControlFrame(Struct, frozen=True, kw_only=True):
    """The whole cancel set. An owner that sees a new `incarnation` sends `OwnerHello` with all it holds."""

    incarnation: int
    version: int
    cancel: tuple[Cancellation, ...]


# --- feed -------------------------------------------------------------------------------------


class FeedFrame(Struct, frozen=True, kw_only=True):
    """Apply only if `prev_seq` is your position and `frame_no` follows the last one of `incarnation`.

    head_seq: position after `events`. journal: why it cannot be written, and what to do; None: it can. revoked: version
    of the set of tokens that are valid no more; revocations: that set, in the frame that follows its change. rules:
    (user, version) of whose rules of notifications are others now: a hint, which nobody misses for good.
    """

    epoch: str
    incarnation: int
    frame_no: int
    prev_seq: int
    head_seq: int
    ts_ms: int
    events: tuple[OperationEvent, ...] = ()
    progress: tuple[ProgressUpdate, ...] = ()
    resources: Resources | None = None
    journal: str | None = None
    revoked: int = 0
    revocations: Revocations | None = None
    rules: tuple[tuple[str, int], ...] = ()


# --- data -------------------------------------------------------------------------------------


class DataFetch(Struct, frozen=True):
    """A range of an artefact, at most 256 KiB. → `DataChunk`"""

    operation_id: str
    name: str
    offset: int
    length: int


class DataChunk(Struct, frozen=True):
    """size_bytes, sha256: of the whole artefact."""

    offset: int
    size_bytes: int
    sha256: str
    chunk: bytes


class DataFocus(Struct, frozen=True):
    """Compute what is left of a frame from there outwards. x, y: parts of its width and height. → `Ack`"""

    operation_id: str
    x: float
    y: float


class DataRecolour(Struct, frozen=True):
    """Colour a finished frame again. look: the fields that change. → `DataRecoloured`"""

    operation_id: str
    look: dict[str, Any]


class DataRecoloured(Struct, frozen=True):
    """It can be fetched by its name, like any artefact."""

    artifact: Artifact


class DataTiles(Struct, frozen=True):
    """The colours of a part of a frame, every `step`-th pixel. → `DataPixels`"""

    operation_id: str
    x: int
    y: int
    width: int
    height: int
    step: int


class DataPixels(Struct, frozen=True):
    """Rows from the top, 3 bytes a pixel; width, height: of what is here."""

    width: int
    height: int
    rgb: bytes


class DataProbe(Struct, frozen=True):
    """What becomes of pixels of a frame. orbit: places of their orbits. → `DataProbed`"""

    operation_id: str
    points: tuple[tuple[int, int], ...]
    orbit: int


class DataProbed(Struct, frozen=True):
    """In the order of the request."""

    points: tuple[ProbedPoint, ...]


# --- request and reply ------------------------------------------------------------------------


class Request(Struct, frozen=True):
    """Body of a request: `id` is the asker's own number, `body` the encoded message of type `type`."""

    id: int
    type: str
    body: msgspec.Raw


class Reply(Struct, frozen=True, omit_defaults=True):
    """Exactly one of (type, body) and error."""

    id: int
    type: str = ""
    body: msgspec.Raw = msgspec.Raw(b"")
    error: ErrorInfo | None = None


# --- ingest -----------------------------------------------------------------------------------


class TileMeasure(Struct, frozen=True, array_like=True):
    """A worker's cumulative measure of the tile in its hands. done: pixels of this attempt.

    tile: a number from the owner's `tiles_total` on is work beside the tiles: a preview, shown as iterations only, or,
    after the last tile, what the owner's `tail_ns` is of.
    counter rises with every message of this source. iterations, cpu_ns: of this attempt.
    """

    generation: int
    counter: int
    tile: int
    attempt: int
    done: int
    iterations: int
    cpu_ns: int


class OperationMeasure(Struct, frozen=True, array_like=True):
    """An owner's cumulative measure of the whole operation.

    done: units finished for good (a render: pixels of committed tiles). committed: bitmap of committed tiles, tile i is
    bit i % 8 of byte i // 8; tiles in it are not counted again from `TileMeasure`. steps: (current, total); a render is
    at 0 while it waits for its first. ended: of tiles that were put down or lost, the last such attempt, whose work is
    counted here and not again from its `TileMeasure`. memory_bytes: of the processes that work on it, resident.
    workers: that have a part of it in hand; slots: that might. deaths: of workers with a part of it, this claim's.
    left_ns: CPU time that the owner expects beyond `cpu_ns`, of work in hand as well, shared by `slots`; None if `done`
    and `total` say as much. tail_ns: CPU time after all of that, by one process alone. Times are estimated from both,
    the bar is not.
    """

    generation: int
    counter: int
    measured_at_ms: int
    done: float
    total: float | None = None
    unit: str = ""
    step: str = ""
    steps: tuple[int, int] | None = None
    message: str = ""
    details: Params | None = None
    tiles_total: int = 0
    tiles_done: int = 0
    committed: bytes = b""
    previewed: int = 0
    iterations: int = 0
    cpu_ns: int = 0
    ended: tuple[tuple[int, int], ...] = ()
    memory_bytes: int = 0
    workers: int = 0
    slots: int = 0
    deaths: int = 0
    left_ns: int | None = None
    tail_ns: int = 0


PROGRESS_HEADER = 18
"""version byte · kind byte (0 tile, 1 operation) · handle u64 · source u64, big endian.

Handle and source lead in the clear, so that the broker keeps only the newest message a
(handle, source) between two ticks and decodes just those: coalescing costs a dictionary store.
"""

_TILE = b"\x01\x00"
_OPERATION = b"\x01\x01"
_encoder = msgspec.msgpack.Encoder()
_tile_decoder = msgspec.msgpack.Decoder(TileMeasure)
_operation_decoder = msgspec.msgpack.Decoder(OperationMeasure)


def pack_progress(handle: int, source: int, measure: TileMeasure | OperationMeasure) -> bytes:
    """One message for `ingest`. handle, source: 0 ≤ x < 2⁶⁴."""
    kind = _TILE if isinstance(measure, TileMeasure) else _OPERATION
    return b"".join((kind, handle.to_bytes(8, "big"), source.to_bytes(8, "big"), _encoder.encode(measure)))


def unpack_progress(message: bytes) -> TileMeasure | OperationMeasure:
    """The measure behind the header. Raises BadRequestError."""
    try:
        head, body = message[:2], memoryview(message)[PROGRESS_HEADER:]
        if head == _TILE:
            return _tile_decoder.decode(body)
        if head == _OPERATION:
            return _operation_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequestError(f"progress: {str(error)[:200]}") from None
    raise BadRequestError("progress: unknown version or kind")


_MESSAGES: dict[str, type[Struct]] = {
    struct.__name__: struct
    for struct in (
        Ack,
        Announce,
        Assign,
        CancelReply,
        ControlFrame,
        DataChunk,
        DataFetch,
        DataFocus,
        DataRecolour,
        DataRecoloured,
        DataTiles,
        DataPixels,
        DataProbe,
        DataProbed,
        DoCancel,
        DoExchange,
        DoExplain,
        DoGet,
        DoGetRules,
        DoHistory,
        DoKinds,
        DoList,
        DoPause,
        DoOperationReport,
        DoPerformance,
        DoPeriodReport,
        DoPriority,
        DoRevoke,
        DoSetRules,
        DoSignInLink,
        DoSubmit,
        DoTimeline,
        Events,
        EventsSince,
        Exchanged,
        Explained,
        FeedFrame,
        GatewayHello,
        GatewayWelcome,
        GetRevocations,
        KindsKnown,
        ListReply,
        Metrics,
        MetricsText,
        OperationReply,
        OperationReport,
        Outcome,
        OwnerHeartbeat,
        OwnerHello,
        OwnerWelcome,
        HelloAsked,
        HistoryReply,
        PauseOwner,
        PerformanceReply,
        PeriodReport,
        PauseState,
        PriorityOwner,
        ProgressState,
        ProgressStateReply,
        Release,
        Reply,
        Request,
        Revocations,
        RevokeReply,
        RulesReply,
        Snapshot,
        SnapshotPage,
        Started,
        Status,
        StatusReply,
        Submitted,
        TimelineReply,
        Usage,
    )
}


def pack(message: Struct) -> list[bytes]:
    """The frames `[version + type, body]` of a message."""
    return [bytes((VERSION,)) + type(message).__name__.encode(), _encoder.encode(message)]


def unpack(frames: list[bytes]) -> Struct:
    """A message from its last two frames. Raises BadRequestError or UnsupportedError."""
    if len(frames) != 2 or not frames[0]:
        raise BadRequestError(f"expected two frames, got {len(frames)}")
    if frames[0][0] != VERSION:
        raise UnsupportedError(f"rfm.zmq version {frames[0][0]}, this is {VERSION}")
    name = frames[0][1:].decode("ascii", "replace")
    return _decode(name, frames[1])


def pack_request(request_id: int, message: Struct) -> list[bytes]:
    """`message` as a request that wants a reply."""
    return pack(Request(request_id, type(message).__name__, msgspec.Raw(_encoder.encode(message))))


def pack_reply(request_id: int, answer: Struct | ErrorInfo) -> list[bytes]:
    """The reply to request `request_id`."""
    if isinstance(answer, ErrorInfo):
        return pack(Reply(request_id, error=answer))
    return pack(Reply(request_id, type(answer).__name__, msgspec.Raw(_encoder.encode(answer))))


def unpack_body(message: Request | Reply) -> Struct:
    """What a request or a successful reply carries. Raises BadRequestError or UnsupportedError."""
    return _decode(message.type, bytes(message.body))


def _decode(name: str, body: bytes) -> Struct:
    struct = _MESSAGES.get(name)
    if struct is None:
        raise UnsupportedError(f"unknown message {name[:64]!r}")
    try:
        return msgspec.msgpack.decode(body, type=struct)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{name}: {str(error)[:200]}") from None
