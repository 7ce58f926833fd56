"""The broker's process: `python -m rfm_runtime.broker`, started by the supervisor."""

from __future__ import annotations

import asyncio
import signal
import sys

from rfm_runtime.observe.loading import loading

with loading():
    import zmq

    from rfm_runtime.broker.broker import Broker
    from rfm_runtime.config import Settings, away
    from rfm_runtime.core.counts import counted
    from rfm_runtime.errors import RfmError
    from rfm_runtime.observe import logs
    from rfm_runtime.observe.bootstrap import Boot, bootstrap
    from rfm_runtime.render.request import validate
    from rfm_runtime.security import curve_keys
    from rfm_runtime.store.journal import open_journal
    from rfm_runtime.transport.hosts import Entrance


async def serve(boot: Boot) -> None:
    """Until SIGTERM or SIGINT; SIGUSR1 begins to drain."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    elsewhere = away(boot.settings)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broker = Broker(
        boot.settings,
        boot.folders.endpoints,
        open_journal(boot.settings),
        validators={"render.escape_time": validate},
        context=context,
        shown=boot.folders.shown,
        last_words=boot.folders.last_words,
        away=elsewhere,
        entrance=None if elsewhere is None else Entrance(*curve_keys.entrance(boot.folders.keys)),
        first=boot.first,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, broker.drain)
    broker.start()
    boot.tell(f"ready{_goes_on(broker.unfinished, boot.settings)}", ready=True)
    with boot.monitored("broker", broker.used):
        await stopped.wait()
    # A second signal does what signals do by default: it ends the process at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    await broker.stop()
    context.term()


def _goes_on(unfinished: int, settings: Settings) -> str:
    """What becomes of the operations that the last runtime has not finished."""
    if not unfinished:
        return ""
    fate = "what had begun has failed (--interrupted fail)" if settings.interrupted == "fail" else "renders go on"
    return f", {counted(unfinished, 'unfinished operation')} of the last runtime: {fate}"


def main() -> int:
    """Exit code 0 after an orderly stop, 1 with one line on stderr if it cannot start."""
    boot = bootstrap("broker")
    try:
        asyncio.run(serve(boot))
    except RfmError as error:
        logs.get("broker").error("broker_failed", error=error.message, hint=error.hint, kept=error.kept)
        boot.tell("failed", error=error)
        print(f"{error.message} — {error.hint}" if error.hint else error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
