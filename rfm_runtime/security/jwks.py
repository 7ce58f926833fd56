"""A JSON Web Key Set at a fixed address, as issuers publish theirs (RFC 7517): cached for an hour, fetched in a thread.

The address is the administrator's; nothing that a token says leads to a request but that there is one, once a minute.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Sequence
from typing import IO
from urllib.parse import urlsplit

from rfm_runtime.config.loopback import is_loopback
from rfm_runtime.errors import BadRequestError
from rfm_runtime.security.keys import Key, public_keys

__all__ = ["Jwks"]

log = logging.getLogger("rfm_runtime.security")

CACHED_S = 3600.0
STALE_S = 2 * CACHED_S
"""Keys that could not be fetched again are used for so long in all: an issuer may be away, a key that it took back must
not be good for ever."""

AGAIN_S = 60.0
"""Between two fetches, whatever is asked for."""

SILENT_S = 5.0
FETCH_S = 10.0
LIMIT_BYTES = 256 * 1024
PIECE_BYTES = 16 * 1024


class Jwks:
    """Keys of `url`: https, or http on loopback. algorithms: those that are allowed. Raises BadRequestError."""

    changes = True
    trouble = ""

    def __init__(self, url: str, algorithms: Collection[str] | None) -> None:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise BadRequestError(f"{url!r} is no address", hint="write it as https://HOST/PATH") from None
        if not host or parts.scheme not in ("https", "http") or parts.username is not None:
            raise BadRequestError(f"{url!r} is no address of a key set", hint="write it as https://HOST/PATH")
        if parts.scheme == "http" and not is_loopback(host):
            raise BadRequestError(
                f"{url!r} is plain text: whoever is on the way could give out keys", hint="use https://"
            )
        self._url = url
        self._algorithms = algorithms
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if is_loopback(host):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)
        self._lock = threading.Lock()
        self._found: tuple[Key, ...] = ()
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._fetching = False

    def held(self) -> Sequence[Key]:
        """As `KeySource` says: an issuer that is away ends nobody's session."""
        return self._found

    def known(self) -> Sequence[Key]:
        """As `KeySource` says."""
        if self._fetched_s is not None and time.monotonic() - self._fetched_s > STALE_S:
            return ()
        return self._found

    def look(self, kid: object) -> bool:
        """As `KeySource` says. Never waits."""
        with self._lock:
            now_s = time.monotonic()
            old = self._fetched_s is None or now_s - self._fetched_s >= CACHED_S
            news = old or (kid is not None and all(key.kid != kid for key in self._found))
            rested = self._tried_s is None or now_s - self._tried_s >= AGAIN_S
            if news and rested and not self._fetching:
                self._tried_s = now_s
                try:
                    threading.Thread(target=self._fetch, name="jwks", daemon=True).start()
                except RuntimeError as error:
                    # No more threads, or no memory for one: as an issuer that is away, it is tried again later.
                    log.warning("the keys of %s could not be fetched: %s", self._url, error)
                else:
                    self._fetching = True
            return self._fetching

    def _fetch(self) -> None:
        found: tuple[Key, ...] | None = None
        why = ""
        try:
            found = public_keys(self._content(), self._algorithms)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # urllib's errors are OSErrors.
            why = f"the keys of {self._url} could not be fetched: {error}"
            log.warning("%s", why)
        except BadRequestError as error:
            why = f"the keys of {self._url} cannot be used: {error.message}"
            log.warning("%s", why)
        except Exception:
            # What somebody else publishes ends neither this thread nor the use of the keys so far.
            why = f"the keys of {self._url} cannot be used"
            log.exception("%s", why)
        with self._lock:
            # In one step: whoever sees the new keys is not told that they are being fetched.
            self._fetching = False
            self.trouble = why
            if found is not None:
                self._found, self._fetched_s = found, time.monotonic()
        if found is not None:
            log.info("%d keys were fetched from %s", len(found), self._url)

    def _content(self) -> bytes:
        deadline_s = time.monotonic() + FETCH_S
        request = urllib.request.Request(self._url, headers={"Accept": "application/json"})
        with self._opener.open(request, timeout=SILENT_S) as answer:
            content = b""
            # As it comes: whoever sends a byte a second would never be silent.
            while piece := answer.read1(PIECE_BYTES):
                content += piece
                if len(content) > LIMIT_BYTES:
                    raise ValueError("it is larger than any key set")
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"it takes longer than {FETCH_S:g} s")
        return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The address is fixed: keys from somewhere else are somebody else's."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        del req, fp, msg, headers, newurl
        raise OSError(f"it answers with a redirect (HTTP {code}), which is not followed")
