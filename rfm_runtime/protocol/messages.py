"""`rfm.v1`, between a watcher and a gateway: the data of every request, reply and notice.

A struct here is the `data` of an envelope; `REQUESTS`, `REPLIES` and `NOTICES` name the envelope
types they belong to. Events and progress are in `operation`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from rfm_runtime.protocol.crew import GetWorkers, WorkersReply
from rfm_runtime.protocol.figures import GetOperationReport, GetPeriodReport, OperationReport, PeriodReport
from rfm_runtime.protocol.history import GetPerformance, History, HistoryReply, PerformanceReply
from rfm_runtime.protocol.limits import CHUNK_LIMIT_BYTES, PAGE_LIMIT
from rfm_runtime.protocol.notifying import GetRules, RulesChanged, RulesReply, SetRules
from rfm_runtime.protocol.operation import (
    Artifact,
    ErrorInfo,
    Labels,
    Name,
    Operation,
    OperationFilter,
    OperationId,
    Position,
    Priority,
    ProgressUpdate,
    Text,
)
from rfm_runtime.protocol.probing import ProbePoints, ProbeReply, SetFocus
from rfm_runtime.protocol.reports import (
    Alive,
    Asked,
    Report,
    ReportAgain,
    ReportCanceled,
    ReportCompleted,
    Reported,
    ReportFailed,
    ReportPaused,
    ReportProgress,
    ReportReply,
    ReportResumed,
    ReportStarted,
)
from rfm_runtime.protocol.resources import GetMetrics, GetUsage, MetricsReply, Resources, UsageReply
from rfm_runtime.protocol.revocation import Revoke, RevokeReply
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import GetTimeline, TimelineReply
from rfm_runtime.protocol.values import Params

__all__ = [
    "NOTICES",
    "NOT_COMPUTED_RGB",
    "REPLIES",
    "REQUESTS",
    "ArtifactChunk",
    "AuthRefresh",
    "CancelOperation",
    "CancelReply",
    "ChangePriority",
    "ClientInfo",
    "Explain",
    "Explanation",
    "FetchArtifact",
    "FetchTiles",
    "GetOperation",
    "Goodbye",
    "Heartbeat",
    "Hello",
    "Kind",
    "Kinds",
    "KindsReply",
    "Limits",
    "ListOperations",
    "ListReply",
    "Live",
    "Ok",
    "OperationList",
    "OperationReply",
    "Pause",
    "Ping",
    "Pong",
    "Recolour",
    "RecolourReply",
    "Resume",
    "ResumeFrom",
    "ServerInfo",
    "Submit",
    "SubmitMany",
    "SubmitManyReply",
    "SubmitReply",
    "SubmitRequest",
    "Subscribe",
    "Subscribed",
    "Throttled",
    "TilePixels",
    "TokenExpiring",
    "Unsubscribe",
    "Welcome",
]

MaxHz = Annotated[float, Meta(gt=0, le=60)]
Place = Annotated[int, Meta(ge=0, le=65_535)]
Side = Annotated[int, Meta(ge=1, le=65_536)]
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]
Look = Annotated[
    dict[
        Annotated[str, Meta(max_length=64)],
        bool | Annotated[int, Meta(ge=-(2**31), le=2**31)] | Number | Annotated[str, Meta(max_length=32_768)],
    ],
    Meta(max_length=32),
]
RequestKey = Annotated[str, Meta(min_length=1, max_length=128)]


# --- connecting -------------------------------------------------------------------------------


class ClientInfo(Struct, frozen=True, omit_defaults=True):
    """Who connects, for logs and lists."""

    name: Name = ""
    version: Annotated[str, Meta(max_length=64)] = ""


class ResumeFrom(Struct, frozen=True, omit_defaults=True):
    """The last event the client has: *everything I may see after `seq` of `epoch`*.

    epoch: of the newest `welcome` or `live`. partial: a list was begun since, and no `live` followed: another is due.
    """

    epoch: Annotated[str, Meta(max_length=64)]
    seq: Position
    partial: bool = False


class Hello(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """First message of a client, within 5 s. code: of a sign-in link, instead of a token."""

    token: Annotated[str, Meta(max_length=8192)] | None = None
    code: Annotated[str, Meta(max_length=256)] | None = None
    client: ClientInfo = ClientInfo()
    caps: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] = []
    resume: ResumeFrom | None = None
    max_hz: MaxHz | None = None


class Limits(Struct, frozen=True, kw_only=True):
    """What the server will take from this client."""

    inbound_bytes: int
    batch: int
    commands_per_s: float
    commands_burst: int
    max_hz: float


class ServerInfo(Struct, frozen=True):
    """Version and start (ms since 1970) of the server."""

    version: str
    started_at: int


class Welcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Answer to `hello`; epoch and seq are the position to resume from even if nothing follows.

    epoch: names the log, and what of it this client may see: under another one, what it knows counts no more.
    token: the one that was made for the code of a sign-in link, to be shown from now on.
    """

    session: str
    epoch: str
    seq: int
    durable: bool
    caps: list[str]
    heartbeat_s: float
    limits: Limits
    roles: list[str]
    user: str
    server: ServerInfo
    token_expires_at: int | None = None
    token: str | None = None


class Subscribe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which operations to see from now on; replaces an earlier subscription. metrics: and what the runtime uses."""

    operations: (
        Literal["active", "all", "mine"] | Annotated[list[OperationId], Meta(max_length=1000)] | OperationFilter
    ) = "active"
    detail: Literal["summary", "tiles"] = "summary"
    max_hz: MaxHz | None = None
    metrics: bool = False


class Subscribed(Struct, frozen=True):
    """`recovered`: the replay that follows is complete; otherwise a snapshot follows."""

    recovered: bool


class Unsubscribe(Struct, frozen=True):
    """See nothing any more."""


class Live(Struct, frozen=True):
    """Replay or snapshot is done; what follows happens now. `epoch`, `seq`: the position reached.

    The epoch is another one than before if other rights came with a fresh token; the list before it has what they show.
    """

    epoch: str
    seq: int


class OperationList(Struct, frozen=True, kw_only=True):
    """One page of a snapshot. On the first page of a new snapshot `first` is true."""

    operations: list[Operation]
    more: bool
    first: bool = False


# --- requests ---------------------------------------------------------------------------------


class SubmitRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A new operation. `request_key` makes repeating it harmless; the client mints id and key.

    params: JSON values, whatever the encoding: integers of 64 bits, finite numbers, nested at most PARAMS_DEPTH deep.
    """

    operation_id: OperationId
    kind: Name
    request_key: RequestKey
    params: Params = {}
    name: Name = ""
    priority: Priority = 0
    labels: Labels = {}
    parent_id: OperationId | None = None
    correlation_id: Annotated[str, Meta(max_length=64)] | None = None


class Submit(SubmitRequest, frozen=True, kw_only=True, omit_defaults=True):
    """`submit`."""


class SubmitMany(Struct, frozen=True):
    """`submit_many`: all are journalled in one batch, or the first bad one refuses all."""

    operations: Annotated[list[SubmitRequest], Meta(min_length=1, max_length=256)]


class SubmitReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Journalled. `duplicate`: the same key and body was accepted before."""

    operation_id: str
    seq: int
    duplicate: bool = False


class SubmitManyReply(Struct, frozen=True):
    """One reply an operation, in the order of the request."""

    operations: list[SubmitReply]


class CancelOperation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`soft` lets the kernel return; after `deadline_ms` (default 1,000) its process is killed.

    `hard` kills at once. An operation of an external program is only ever asked.
    """

    operation_id: OperationId
    mode: Literal["soft", "hard"] = "soft"
    deadline_ms: Annotated[int, Meta(ge=0, le=3_600_000)] | None = None
    reason: Text | None = None


class CancelReply(Struct, frozen=True):
    """`cancelling` also for what is already being cancelled."""

    state: Literal["cancelling", "already_terminal"]


class Pause(Struct, frozen=True):
    """Stop dispatching; running tiles stop and keep what they have."""

    operation_id: OperationId


class Resume(Struct, frozen=True):
    """Undo `pause`."""

    operation_id: OperationId


class ChangePriority(Struct, frozen=True):
    """`set_priority`: a higher band runs first."""

    operation_id: OperationId
    priority: Priority


class ListOperations(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Newest first; `cursor` is the one of the previous page."""

    filter: OperationFilter = OperationFilter()
    cursor: Annotated[str, Meta(max_length=256)] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_LIMIT)] = 100


class ListReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One page, which may be short, or empty; no `cursor` on the last."""

    operations: list[Operation]
    cursor: str | None = None


class GetOperation(Struct, frozen=True):
    """One operation."""

    operation_id: OperationId


class OperationReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The operation and the parameters it was submitted with."""

    operation: Operation
    params: dict[str, Any] = {}


class Explain(Struct, frozen=True):
    """Why is it in this state, what is it waiting for?"""

    operation_id: OperationId


class Explanation(Struct, frozen=True):
    """One sentence a line, the most important first."""

    lines: list[str]


class FetchArtifact(Struct, frozen=True, kw_only=True):
    """A range of an artefact, at most 256 KiB: ask again for the next."""

    operation_id: OperationId
    name: Name
    offset: Position = 0
    length: Annotated[int, Meta(ge=1, le=CHUNK_LIMIT_BYTES)] = CHUNK_LIMIT_BYTES


class ArtifactChunk(Struct, frozen=True, kw_only=True):
    """Bytes of an artefact; sent as a binary (MessagePack) message whatever the session's encoding."""

    operation_id: str
    name: str
    offset: int
    size_bytes: int
    sha256: str
    chunk: bytes


class FetchTiles(Struct, frozen=True, kw_only=True):
    """The colours of a part of a render, as far as it is computed. x, y, width, height: pixels of the frame.

    step: every so many-th pixel of it in both directions; 8 is what the preview computes first. At most 65,536 pixels
    in one answer.
    """

    operation_id: OperationId
    x: Place = 0
    y: Place = 0
    width: Side
    height: Side
    step: Annotated[int, Meta(ge=1, le=64)] = 1


NOT_COMPUTED_RGB = (38, 38, 38)
"""Colour of pixels that are not there yet: in none of the palettes."""


class TilePixels(Struct, frozen=True, kw_only=True):
    """Rows from the top, 3 bytes a pixel (sRGB); sent as a binary (MessagePack) message whatever the encoding.

    x, y: of the first pixel. width, height: of what is here, after `step`. What is not computed yet is dark grey
    (NOT_COMPUTED_RGB).
    """

    operation_id: str
    x: int
    y: int
    width: int
    height: int
    step: int
    rgb: bytes


class Recolour(Struct, frozen=True, kw_only=True):
    """Colour a finished render again, without computing it again.

    look: those of its parameters that have to do with colours and change, by name.
    """

    operation_id: OperationId
    look: Look


class RecolourReply(Struct, frozen=True):
    """The picture can be fetched by its name with `fetch_artifact`, until newer ones of the same frame displace it."""

    artifact: Artifact


class Kinds(Struct, frozen=True):
    """What can be submitted here?"""


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of operation that an engine offers, with the JSON schema of its parameters."""

    kind: str
    description: str
    params_schema: dict[str, Any]


class KindsReply(Struct, frozen=True):
    """Answer to `kinds`."""

    kinds: list[Kind]


class AuthRefresh(Struct, frozen=True):
    """A fresh token of the same user."""

    token: Annotated[str, Meta(max_length=8192)]


class Ping(Struct, frozen=True):
    """Round trip through the gateway."""


# --- replies and notices ----------------------------------------------------------------------


class Ok(Struct, frozen=True):
    """Done and journalled, nothing to add."""


class Pong(Struct, frozen=True):
    """Answer to `ping`."""


class Heartbeat(Struct, frozen=True):
    """Sent after 20 s of silence."""


class Throttled(Struct, frozen=True):
    """This session gets progress `hz` times a second at most, as it reads too slowly; over once that is `max_hz`."""

    hz: float
    max_hz: float | None = None


class TokenExpiring(Struct, frozen=True):
    """A minute ahead: show a fresh token with `auth_refresh`, or be closed with 4003. Ms since 1970."""

    expires_at: int


class Goodbye(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Last message before a close."""

    code: int
    reconnect: bool
    reason: str = ""
    retry_after_ms: int | None = None


REQUESTS: dict[str, type[Struct]] = {
    "hello": Hello,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "submit": Submit,
    "submit_many": SubmitMany,
    "cancel_operation": CancelOperation,
    "pause": Pause,
    "resume": Resume,
    "set_priority": ChangePriority,
    "list_operations": ListOperations,
    "get_operation": GetOperation,
    "explain": Explain,
    "fetch_artifact": FetchArtifact,
    "fetch_tiles": FetchTiles,
    "probe_points": ProbePoints,
    "set_focus": SetFocus,
    "recolour": Recolour,
    "kinds": Kinds,
    "get_metrics": GetMetrics,
    "get_usage": GetUsage,
    "get_workers": GetWorkers,
    "get_rules": GetRules,
    "set_rules": SetRules,
    "history": History,
    "timeline": GetTimeline,
    "period_report": GetPeriodReport,
    "operation_report": GetOperationReport,
    "performance": GetPerformance,
    "auth_refresh": AuthRefresh,
    "revoke": Revoke,
    "sign_in_link": SignInLink,
    "ping": Ping,
    "heartbeat": Alive,
    "report": Report,
    "operation_started": ReportStarted,
    "progress_update": ReportProgress,
    "operation_paused": ReportPaused,
    "operation_resumed": ReportResumed,
    "operation_completed": ReportCompleted,
    "operation_failed": ReportFailed,
    "operation_canceled": ReportCanceled,
}
"""Envelope type → data, client to server."""

REPLIES: dict[str, type[Struct]] = {
    "welcome": Welcome,
    "subscribed": Subscribed,
    "submit_reply": SubmitReply,
    "submit_many_reply": SubmitManyReply,
    "cancel_reply": CancelReply,
    "ok": Ok,
    "list_reply": ListReply,
    "operation": OperationReply,
    "explanation": Explanation,
    "artifact_chunk": ArtifactChunk,
    "tile_pixels": TilePixels,
    "probe_reply": ProbeReply,
    "recolour_reply": RecolourReply,
    "kinds_reply": KindsReply,
    "pong": Pong,
    "history_reply": HistoryReply,
    "timeline_reply": TimelineReply,
    "period_report_reply": PeriodReport,
    "operation_report_reply": OperationReport,
    "metrics_reply": MetricsReply,
    "usage_reply": UsageReply,
    "workers_reply": WorkersReply,
    "rules_reply": RulesReply,
    "performance_reply": PerformanceReply,
    "report_reply": ReportReply,
    "reported": Reported,
    "revoke_reply": RevokeReply,
    "error": ErrorInfo,
}
"""Envelope type → data, server to client, with `re`."""

NOTICES: dict[str, type[Struct]] = {
    "operation_list": OperationList,
    "live": Live,
    "progress_update": ProgressUpdate,
    "throttled": Throttled,
    "heartbeat": Heartbeat,
    "goodbye": Goodbye,
    "token_expiring": TokenExpiring,
    "asked": Asked,
    "metrics": Resources,
    "report_again": ReportAgain,
    "rules_changed": RulesChanged,
}
"""Envelope type → data, server to client, unasked. Events (`EVENT_TYPES`) carry `OperationEvent`."""
