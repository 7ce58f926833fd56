"""One connection to a runtime, made again whenever it drops.

`link` decides when to try again; what is said on the connection belongs to its `Speaker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.http11 import Response
from websockets.typing import Subprotocol

from rfm_runtime._version import __version__
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.link import (
    Failure,
    Link,
    LinkState,
    after_close,
    after_status,
    connected,
    failed,
    given_up,
    heard,
    impatient,
    silent,
)
from rfm_runtime.client.outbox import Pending
from rfm_runtime.client.verifying import Verifier, distrusted, refused_by_tls
from rfm_runtime.config import Trust, check_url, default_port, is_loopback
from rfm_runtime.core.text import printable, shortened
from rfm_runtime.errors import (
    BadRequestError,
    CertificateError,
    InsecureUrlError,
    NoRuntimeError,
    RfmError,
    UnauthorizedError,
    UnavailableError,
)
from rfm_runtime.observe.wire import WIRE
from rfm_runtime.protocol.limits import BATCH_LIMIT as SEND_LIMIT
from rfm_runtime.protocol.limits import INBOUND_LIMIT_BYTES, OUTBOUND_LIMIT_BYTES
from rfm_runtime.protocol.messages import AuthRefresh, ClientInfo, Goodbye, Hello, ResumeFrom, TokenExpiring, Welcome
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.wire import decode_batch, decode_message, encode, join

__all__ = ["OPEN_S", "Connection", "Encoding", "GetToken", "Speaker"]

GetToken = Callable[[], str | Awaitable[str]]
Encoding = Literal["json", "msgpack"]

OPEN_S = 10.0
"""To open a connection, the server's first word included."""

BATCH_LIMIT = 1_000_000
"""Envelopes in one message of our own server: bounded by its size, not by their number."""

SEND_LIMIT_BYTES = INBOUND_LIMIT_BYTES // 2
"""In one message to a server, which may be configured to take less than it does by default."""

REFRESH = 2**52
"""Number of the request that shows a fresh token: no other one is that high."""

FIRST = REFRESH + 1
"""Number of what is said before everything that waits."""

FIRST_AGAIN_S = 0.5
"""Until it is said again on the same connection, when the server was busy and does not say."""

SILENT_HEARTBEATS = 4.0
"""A server that is not heard for so many is taken for gone: another gateway may be there, or another way to it."""

log = logging.getLogger("rfm_runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Who speaks and listens on a connection. All are called in its event loop.

    resume_from: where to go on; None at first. welcomed: the server has let us in; answered with what is said
    before everything that waits, if anything; it is said again where the server asks for patience. to_send: what
    was not sent on this connection, in the order to send it. answered: the answer to a request, by its number.
    noticed: something that nobody asked for. dropped: the connection is gone, another one may come. told: `state`
    has changed; details for people.
    """

    resume_from: Callable[[], ResumeFrom | None]
    welcomed: Callable[[Welcome], Struct | None]
    to_send: Callable[[], list[Pending]]
    answered: Callable[[int, Struct], None]
    noticed: Callable[[Struct], None]
    dropped: Callable[[], None]
    told: Callable[[dict[str, Any]], None]


class _Hearing(ClientConnection):
    """Tells of bytes, not of whole messages: on a narrow network a large one takes many heartbeats."""

    on_bytes: Callable[[], None] | None = None

    def __init__(self, *arguments: Any, on_lost: Callable[[Exception], None], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._on_lost = on_lost

    def data_received(self, data: bytes) -> None:
        """As the library says."""
        if self.on_bytes is not None:
            self.on_bytes()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """As the library says, which keeps to itself what TLS says of a handshake that seemed to be over."""
        if exc is not None:
            self._on_lost(exc)
        super().connection_lost(exc)


class Connection:
    """url, token: of the server; with a connection file both are read from it before each try.

    link: state, and how lost connections are made again. trust: how a server is known that no connection file names.
    code: of a sign-in link, said until it is taken instead of a token; the token that is given for it is shown then.
    """

    def __init__(
        self,
        speaker: Speaker,
        link: Link,
        *,
        url: str | None,
        token: str | None,
        connection_file: Path | None,
        get_token: GetToken | None,
        name: str,
        encoding: Encoding,
        trust: Trust,
        code: str = "",
    ) -> None:
        self._speaker = speaker
        self.link = link
        self.url = url
        # A server takes one of them alone.
        self._token = None if code else token
        self._code = code
        self._connection_file = connection_file
        self._get_token = get_token
        self._name = name
        self._encoding = encoding
        self._trust = trust.resolved()
        self._verifier = Verifier()
        self._socket: ClientConnection | None = None
        self._heard_s = 0.0
        self._closing = False
        self._has_lived = False
        self._used_token = ""
        self._goodbye: Goodbye | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._first: Struct | None = None
        self._first_again: asyncio.Task[None] | None = None
        self._gave_up_s: float | None = None
        self._wants_token = False
        self._is_garbled = False
        # Whether a first connection is waited for, for however long.
        self.is_patient = True
        self._hurry = asyncio.Event()

    # --- life -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep it until it is closed.

        Once there is no other try raises UnauthorizedError, TokenExpiredError, UnavailableError; CertificateError or
        InsecureUrlError where nothing was said, since it would not have been secret, or not to whom it was meant for.
        """
        self._closing = False
        while True:
            failure = await self._try()
            self._wants_token, self._is_garbled = failure.fresh_token, failure.garbled
            self._socket = None
            if self._closing:
                return
            self._speaker.dropped()
            if not (self.is_patient or self._has_lived or self._connection_file):
                failure = impatient(self.link, failure)
            can_refresh = failure.fresh_token and self._can_refresh()
            # Once is not enough: a server that restarts closes what it has just accepted.
            is_troubled = bool(failure.trouble) and (failure.error is not None or failure.reason == self.link.reason)
            self.link, wait_s = failed(self.link, failure, time.monotonic(), random, can_refresh=can_refresh)
            if wait_s is None:
                self._speaker.told({"reason": failure.reason})
                if failure.error is not None:
                    raise failure.error
                unauthorised = self.link.state == "unauthorised"
                if unauthorised:
                    raise UnauthorizedError(failure.reason)
                raise UnavailableError(failure.reason, hint=self.advice)
            told = {"attempt": self.link.attempt, "next_try_in_s": wait_s, "reason": failure.reason}
            if is_troubled:
                told |= {
                    "trouble": failure.trouble,
                    "hint": self.advice if failure.error is None else failure.error.hint,
                }
            self._speaker.told(told)
            await self._wait(wait_s)
            if failure.fresh_token and self._get_token is not None:
                given = await self._renew(self._get_token)
                if failure.dead and given == self._used_token:
                    self.link = given_up(self.link, failure.reason)
                    self._speaker.told({"reason": failure.reason})
                    raise failure.error or UnauthorizedError(f"{failure.reason}, and there is no other than that")

    async def _wait(self, wait_s: float) -> None:
        """Until the next try is due, or wanted."""
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()

    def retry_now(self) -> None:
        """Make the next try at once, if one is waited for."""
        self._hurry.set()

    def use_token(self, token: str) -> None:
        """Show this one from the next try on."""
        self._token = token

    def has_shown(self, token: str) -> None:
        """The server has taken this one on the connection that there is."""
        self._token = self._used_token = token

    @property
    def advice(self) -> str:
        """What to look at where no connection comes about: this machine's commands know nothing of another."""
        if self._wants_token:
            return UnauthorizedError.default_hint
        if self._connection_file is not None:
            return "see `rfm-runtime status`"
        if self._is_garbled:
            return "write the address with wss://, if that port speaks TLS; else check what listens there"
        parts = urlsplit(self.url or "")
        port = default_port(self.url or "")
        if port is not None:
            return f"the address names no port, so {port} was tried: write it as {parts.scheme}://{parts.netloc}:8765"
        if is_loopback(parts.hostname or ""):
            return "check the port, and that a runtime, or a tunnel to one, listens there"
        return (
            "check the address and its port, that a runtime runs there and listens for others (`rfm-runtime status` on "
            "that host), and that no firewall is in between"
        )

    async def _renew(self, get_token: GetToken) -> str | None:
        """Ask for another token. Raises what the callback raises, unless a connection was there before: None then."""
        try:
            fresh = get_token()
            self._token = (fresh if isinstance(fresh, str) else await fresh).strip()
            return self._token
        except RfmError:
            raise
        except Exception:
            if not self._has_lived:
                raise
            # Who gives out tokens may be away as well: the present one is refused once more, and it is asked again.
            log.warning("no fresh token could be had", exc_info=True)
            return None

    async def close(self) -> None:
        """Close it with a code that says *done*: a cancelled task would close it as a fault."""
        self._closing = True
        if self._socket is not None:
            await self._socket.close()

    def ended(self, state: LinkState, reason: str) -> None:
        """Nothing comes any more."""
        if self.link.state != state:
            self.link = Link(self.link.backoff, self.link.max_retries, state=state, reason=reason)
            self._speaker.told({"reason": reason})

    def live(self) -> None:
        """All that was to be known first has come."""
        if self.link.state != "live":
            self._has_lived = True
            self.link = connected(self.link, time.monotonic())
            self._speaker.told({})

    # --- one try ----------------------------------------------------------------------------

    def _can_refresh(self) -> bool:
        """Whether another token than the refused one can be had: from a callback, or a connection file written anew."""
        if self._get_token is not None or self._connection_file is None:
            return self._get_token is not None
        try:
            return ConnectionInfo.read(self._connection_file).token != self._used_token
        except NoRuntimeError:
            return True

    async def _try(self) -> Failure:
        """One connection, from opening to its end; why it ended."""
        self._goodbye = None
        self._gave_up_s = None
        faults: list[Exception] = []
        options: dict[str, Any] = {}
        try:
            url, token, options = self._where()
            self._used_token = token
            async with connect(
                url,
                subprotocols=[Subprotocol(f"rfm.v1.{self._encoding}")],
                # Said again in `hello`; here it keeps us out of the queue of those who have none.
                additional_headers={"Authorization": f"Bearer {token}"} if _fits_header(token) else None,
                max_size=OUTBOUND_LIMIT_BYTES,
                compression=None,
                open_timeout=OPEN_S,
                close_timeout=1.0,
                proxy=None,
                logger=WIRE,
                create_connection=cast("type[ClientConnection]", partial(_Hearing, on_lost=faults.append)),
                **options,
            ) as connection:
                refused = await self._converse(connection, token)
                if refused is not None:
                    return Failure(refused.message, retry=False, error=refused)
                return Failure("closed", retry=True)
        except (CertificateError, InsecureUrlError) as unsafe:
            return Failure(unsafe.message, retry=False, error=unsafe)
        except ConnectionClosed as closed:
            return refused_by_tls(closed, *faults) or self._closed(closed)
        except InvalidStatus as refused:
            return _refused(refused.response)
        except InvalidURI as bad:
            return Failure(f"not a WebSocket address: {bad.uri}", retry=False)
        except ssl.SSLCertVerificationError as bad_certificate:
            # Of a runtime of this machine the file by which it is known is written anew with each certificate.
            return distrusted(
                bad_certificate, urlsplit(self.url or "").hostname, again=self._connection_file is not None
            )
        except BadRequestError as garbage:
            return Failure(f"what listens there does not speak rfm.v1: {garbage.message}", retry=False)
        except NoRuntimeError as nobody:
            return Failure(nobody.message, retry=True, nearby=True)
        except ConnectionRefusedError as nobody:
            nearby = is_loopback(urlsplit(self.url or "").hostname or "")
            # asyncio's own words would be "Connect call failed ('127.0.0.1', 8765)".
            reason = os.strerror(nobody.errno or errno.ECONNREFUSED)
            return Failure(f"no connection: {reason}", retry=True, nearby=nearby)
        except socket.gaierror as unknown:
            return _unknown_host(unknown)
        except (OSError, TimeoutError, InvalidHandshake) as broken:
            return refused_by_tls(broken, *faults) or _broken(broken, tls="ssl" in options)

    def _where(self) -> tuple[str, str, dict[str, Any]]:
        """Address, token, and what TLS takes. Raises CertificateError, InsecureUrlError, NoRuntimeError."""
        if self._connection_file is None:
            url, token = self.url or "", self._token or ""
            check_url(url, token or self._code, self._trust)
            return url, token, self._verifier.options(url, self._trust)
        info = ConnectionInfo.read(self._connection_file).serving()
        self.url = info.url
        # Whoever listens there is known by what it has written, in a folder that is ours alone.
        known = replace(self._trust, ca_file=info.ca_file or self._trust.ca_file)
        return info.url, info.token, self._verifier.options(info.url, known, info.server_name)

    def _closed(self, closed: ConnectionClosed) -> Failure:
        if self._gave_up_s is not None:
            return Failure(f"the server said nothing for {self._gave_up_s:.1f} s", retry=True)
        code = closed.rcvd.code if closed.rcvd is not None else 1006
        reason = closed.rcvd.reason if closed.rcvd is not None else ""
        retry_after_s = None
        if self._goodbye is not None:
            code, reason = self._goodbye.code, self._goodbye.reason
            if self._goodbye.retry_after_ms is not None:
                retry_after_s = self._goodbye.retry_after_ms / 1000
        return after_close(
            code,
            reason,
            retry_after_s,
            welcomed=self._socket is not None,
            token=bool(self._used_token),
            certificate=self._trust.client_cert is not None,
        )

    # --- what is said -----------------------------------------------------------------------

    def encode(self, message: Struct, number: int = 0) -> bytes:
        """In this connection's encoding. Raises what the encoder raises."""
        return encode(message, self._encoding, ts=0, request_id=number or None)

    async def send_waiting(self) -> None:
        """Send what the speaker has; without a connection it waits for the next one."""
        connection = self._socket
        if connection is None:
            return
        for pending in self._speaker.to_send():
            if pending.sent:
                continue
            if connection.transport.is_closing():
                # It has broken, and the library will know in a moment. Nothing written to it arrives.
                return
            pending.sent = True
            pending.times += 1
            try:
                await self._send(connection, pending.message, pending.number)
            except ConnectionClosed:
                # The reader sees it as well; what was not sent is sent by the next connection.
                pending.sent = False
                return

    async def send_all(self, messages: Iterable[tuple[Struct, int]]) -> None:
        """Send these, each with its number or 0, in as few WebSocket messages as a server takes; lost without one."""
        connection = self._socket
        if connection is None:
            return
        try:
            for batch in _batches(self.encode(message, number) for message, number in messages):
                if connection.transport.is_closing():
                    return
                await connection.send(join(batch, self._encoding), text=self._encoding == "json")
        except ConnectionClosed:
            # The reader sees it as well.
            return

    async def _send(self, connection: ClientConnection, message: Struct, number: int = 0) -> None:
        await connection.send(self.encode(message, number), text=self._encoding == "json")

    async def _converse(self, connection: ClientConnection, token: str) -> RfmError | None:
        """Until it is closed. The error with which our first word was refused for good, if it was."""
        hello = Hello(
            token=None if self._code else token,
            code=self._code or None,
            client=ClientInfo(self._name, __version__),
            resume=self._speaker.resume_from(),
        )
        if isinstance(connection, _Hearing):
            connection.on_bytes = self._heard
        await self._send(connection, hello)
        silence: asyncio.Task[None] | None = None
        try:
            async for message in connection:
                self._heard()
                for number, data in self._decode(message):
                    if isinstance(data, Welcome):
                        if self._code and data.token:
                            self._code = ""
                            self.has_shown(data.token)
                        silence = silence or asyncio.create_task(self._notice_silence(connection, data.heartbeat_s))
                        self._first = self._speaker.welcomed(data)
                        if self._first is not None:
                            await self._send(connection, self._first, FIRST)
                        self._socket = connection
                        await self.send_waiting()
                    elif (refused := self._answered(connection, number, data)) is not None:
                        return refused
            return None
        finally:
            for task in (silence, self._refreshing, self._first_again):
                if task is not None:
                    task.cancel()
            self._refreshing = self._first_again = None

    def _answered(self, connection: ClientConnection, number: int, data: Struct) -> RfmError | None:
        """Take an answer, or what nobody asked for; the error if our first word was refused for good."""
        if number == REFRESH:
            self._refreshed(data)
        elif number == FIRST and isinstance(data, ErrorInfo):
            if not data.temporary:
                return data.to_exception()
            self._first_again = asyncio.create_task(self._say_first_again(connection, data.retry_after_ms))
        elif number in (0, FIRST):
            self._notice(connection, data)
        else:
            self._speaker.answered(number, data)
        return None

    async def _say_first_again(self, connection: ClientConnection, retry_after_ms: int | None) -> None:
        """Another connection would be one more handshake, and no less of what there is too much of."""
        await asyncio.sleep(FIRST_AGAIN_S if retry_after_ms is None else retry_after_ms / 1000)
        if self._first is None:
            return
        try:
            await self._send(connection, self._first, FIRST)
        except ConnectionClosed:
            # The reader sees it as well; the next connection says it anew.
            return

    def _notice(self, connection: ClientConnection, data: Struct) -> None:
        """What nobody asked for."""
        if isinstance(data, Goodbye):
            self._goodbye = data
        elif isinstance(data, TokenExpiring):
            going = self._refreshing is not None and not self._refreshing.done()
            if self._get_token is not None and not going:
                self._refreshing = asyncio.create_task(self._refresh(connection, self._get_token))
        elif self._socket is not None:
            self._speaker.noticed(data)

    async def _refresh(self, connection: ClientConnection, get_token: GetToken) -> None:
        """Show a fresh token before the present one has expired, so that the connection goes on with it."""
        try:
            await self._renew(get_token)
            if self._token and self._token != self._used_token:
                self._used_token = self._token
                await self._send(connection, AuthRefresh(self._token), REFRESH)
        except ConnectionClosed:
            # The next connection shows it.
            return
        except RfmError as error:
            log.info("no fresh token: %s", error.message)
        except Exception:
            # Once the token has expired it is asked for again, and then it counts.
            log.warning("no fresh token could be had", exc_info=True)

    def _refreshed(self, answer: Struct) -> None:
        if isinstance(answer, ErrorInfo):
            log.warning("the fresh token was refused: %s", answer.message)

    def _decode(self, message: str | bytes) -> Iterator[tuple[int, Struct]]:
        """(number of the request that it answers, or 0; what is said), without what this version does not know."""
        encoding: Encoding = "json" if isinstance(message, str) else "msgpack"
        for envelope in decode_batch(message, encoding, batch_limit=BATCH_LIMIT):
            data = decode_message(envelope, encoding)
            if data is not None:
                yield envelope.re or 0, data

    def _heard(self) -> None:
        self._heard_s = time.monotonic()
        if self.link.state == "stale":
            self.link = heard(self.link)
            self._speaker.told({})

    async def _notice_silence(self, connection: ClientConnection, heartbeat_s: float) -> None:
        """Say so when nothing came for two heartbeats: a peer that vanished without a word is no live one."""
        while True:
            silent_s = time.monotonic() - self._heard_s
            if silent_s >= SILENT_HEARTBEATS * heartbeat_s:
                self._gave_up_s = silent_s
                connection.transport.abort()
                return
            if silent_s >= 2.0 * heartbeat_s and self.link.state == "live":
                self.link = silent(self.link, silent_s)
                self._speaker.told({"silent_s": silent_s})
            await asyncio.sleep(max(2.0 * heartbeat_s - silent_s, heartbeat_s / 4))


def _batches(parts: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for part in parts:
        if batch and (len(batch) == SEND_LIMIT or size + len(part) > SEND_LIMIT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part)
    if batch:
        yield batch


def _fits_header(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable()


def _broken(error: BaseException, *, tls: bool) -> Failure:
    said = str(error) or type(error).__name__
    garbled = not tls and isinstance(error, InvalidMessage)
    trouble = "tls_wanted" if garbled else ""
    if tls and isinstance(error, ConnectionResetError):
        said = "closed while TLS was begun; does that port speak it?"
        trouble = "no_tls"
    elif garbled:
        said += "; does that port speak TLS (wss://)?"
    return Failure(f"no connection: {said}", retry=True, lasting=garbled, garbled=garbled, trouble=trouble)


def _unknown_host(error: socket.gaierror) -> Failure:
    told = f"the host's name cannot be resolved: {error.strerror}"
    wrong = UnavailableError(told, hint="check the host's name in the address; does this machine have a network?")
    # Another answer than that there is no such name is a fault of who was asked.
    return Failure(told, retry=True, lasting=error.errno == socket.EAI_NONAME, error=wrong)


def _refused(response: Response) -> Failure:
    """What was answered instead of the upgrade. Our own server says to the millisecond when to come back."""
    value = response.headers.get("Retry-After")
    seconds = float(value) if value is not None and value.isdecimal() else None
    try:
        error = msgspec.json.decode(response.body or b"", type=ErrorInfo)
    except msgspec.DecodeError:
        # Somebody else's: whole seconds, told to many at once.
        first = shortened(printable((response.body or b"").decode("utf-8", "replace").partition("\n")[0]), 80)
        return after_status(response.status_code, seconds, spread_s=0.0 if seconds is None else 1.0, said=first)
    retry_after_s = seconds if error.retry_after_ms is None else error.retry_after_ms / 1000
    return after_status(response.status_code, retry_after_s)
