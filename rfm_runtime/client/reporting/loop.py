"""The event loop of a program's reports, which goes on while the program ends.

asyncio looks names of hosts up in an executor, and that takes nothing any more once the main thread is over: a short
program could not tell a server elsewhere how it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

__all__ = ["Loop"]


class Loop(asyncio.SelectorEventLoop):
    """Looks each name up in a thread of its own, which nothing waits for at the end."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`."""
        found: asyncio.Future[Any] = self.create_future()

        def tell(answer: Any, error: OSError | None) -> None:
            if found.cancelled():
                return
            if error is None:
                found.set_result(answer)
            else:
                found.set_exception(error)

        def look_up() -> None:
            answer, failed = None, None
            try:
                answer = socket.getaddrinfo(host, port, **options)
            except OSError as error:
                failed = error
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                self.call_soon_threadsafe(tell, answer, failed)

        threading.Thread(target=look_up, name="rfm-names", daemon=True).start()
        return await found
