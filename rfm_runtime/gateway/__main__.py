"""The gateway's process: `python -m rfm_runtime.gateway`, started by the supervisor."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

from rfm_runtime.observe.loading import loading

with loading():
    import zmq

    from rfm_runtime.errors import RfmError, StartError
    from rfm_runtime.gateway.gateway import Gateway
    from rfm_runtime.gateway.listener import Listener
    from rfm_runtime.observe import logs
    from rfm_runtime.observe.bootstrap import Boot, bootstrap
    from rfm_runtime.observe.redaction import hide
    from rfm_runtime.security import curve_keys, token
    from rfm_runtime.security.authority import Authority, authenticator_of


async def serve(boot: Boot) -> None:
    """Until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if boot.listen_fd is None:
        raise StartError("a gateway needs its listening socket", hint="it is started by `rfm-runtime start`")
    secret = token.read(boot.folders.token)
    hide(secret)
    own = token.RuntimeToken(secret)
    authenticator = authenticator_of(boot.settings)
    if authenticator is not None:
        authenticator.prepare()
    authority = Authority(own, authenticator)
    tls = None
    if boot.settings.uses_tls:
        # Only then: it takes its time to load.
        from rfm_runtime.security.server_tls import ServerTls

        tls = ServerTls(boot.settings)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    gateway = Gateway(
        boot.settings,
        source=boot.source,
        authenticate=authority.authenticate,
        sign=authority.sign,
        keys=None if authenticator is None else authority,
        endpoints=boot.endpoints,
        context=context,
        gateways=_gateways(boot),
        tls=tls,
        towards=curve_keys.towards_broker(boot.settings, boot.folders),
        own=curve_keys.pair_if_any(boot.folders.keys),
    )
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    await gateway.start(Listener(socket.socket(fileno=boot.listen_fd)))
    stop = asyncio.create_task(stopped.wait())
    ready = asyncio.create_task(gateway.ready.wait())
    await boot.first_of(stop, ready)
    if ready.done():
        boot.tell("ready", ready=True)
    with boot.monitored("gateway", gateway.used):
        await stop
    ready.cancel()
    await gateway.stop()
    context.term()


def _gateways(boot: Boot) -> dict[str, str]:
    """Endpoints of all gateways by name; none where there is only one, which asks nobody."""
    count = boot.settings.gateways
    names = [f"gateway-{number}" for number in range(count)] if count > 1 else []
    return {boot.named(name): boot.folders.endpoint(name) for name in names}


def main() -> int:
    """Exit code 0 after an orderly stop, 1 with one line on stderr if it cannot start."""
    boot = bootstrap("gateway")
    try:
        asyncio.run(serve(boot))
    except RfmError as error:
        logs.get("gateway").error("gateway_failed", error=error.message, hint=error.hint, kept=error.kept)
        boot.tell("failed", error=error)
        print(f"{error.message} — {error.hint}" if error.hint else error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
