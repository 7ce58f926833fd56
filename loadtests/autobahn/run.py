"""The outside conformance suite for WebSocket servers (autobahntestsuite): the bare library, and our gateway's layer.

    python loadtests/autobahn/run.py --wstest .venv/.wstest/bin/wstest [--cases "1.*"] [--docs]

The suite is a client that expects an echo, which a gateway is not. So both servers have a handler that echoes: one is
the library as it comes, the other has the gateway's listener, its connections, its options and its way of writing.
Their limit of a message's size is raised to the suite's, and compression, which is not negotiated, is left out.
Exit code 1 if ours fails a case that the bare library does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.version import version as library

from rfm_runtime.app.folders import listen
from rfm_runtime.config import Settings
from rfm_runtime.core.sessions.doorstep import Doorstep
from rfm_runtime.gateway.connection import Connection, Threshold, options
from rfm_runtime.gateway.listener import Listener

DOCS = Path(__file__).parent.parent.parent / "docs" / "security.md"
BEGIN, END = "<!-- autobahn -->\n", "<!-- end of autobahn -->\n"
MESSAGE_BYTES = 16 * 1024 * 1024
"""The suite's longest message."""

WITHOUT = ["12.*", "13.*"]
GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits, performance",
    "10": "automatic fragmentation",
}
FAILURES = {"FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"}


async def echo_plainly(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        return


async def echo_as_a_gateway_writes(connection: Connection) -> None:
    try:
        async for message in connection:
            text = isinstance(message, str)
            connection.put(message.encode() if isinstance(message, str) else message, text=text)
    except ConnectionClosed:
        return


async def bare() -> Server:
    return await serve(echo_plainly, "127.0.0.1", 0, compression=None, max_size=MESSAGE_BYTES)


async def ours() -> Server:
    folder = tempfile.gettempdir()
    settings = Settings(
        state_dir=folder, runtime_dir=folder, cache_dir=folder, port=0, inbound_limit_bytes=MESSAGE_BYTES
    )
    step = Doorstep(settings.handshakes_open, settings.connections_per_address)
    threshold = Threshold(step, Counter(), settings.hello_timeout_s)
    handler: Any = echo_as_a_gateway_writes
    listener = Listener(listen(settings))
    listener.on_accept = threshold.came
    return await serve(handler, sock=listener, **options(settings, threshold))


async def tested(wstest: Path, cases: list[str], reports: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """What the suite says: by server and case."""
    servers = {"bare": await bare(), "ours": await ours()}
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": name, "url": f"ws://127.0.0.1:{port}"} for name, port in ports.items()],
        "cases": cases,
        "exclude-cases": WITHOUT,
        "exclude-agent-cases": {},
    }
    file = reports / "spec.json"
    file.write_text(json.dumps(spec))
    # Its own packages, not ours.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    suite = await asyncio.create_subprocess_exec(
        str(wstest), "--mode", "fuzzingclient", "--spec", str(file), cwd=reports, env=env, stdout=subprocess.DEVNULL
    )
    try:
        code = await suite.wait()
    finally:
        if suite.returncode is None:
            suite.kill()
        for server in servers.values():
            server.close()
    if code != 0:
        sys.exit(f"wstest ended with {code}")
    found: dict[str, dict[str, dict[str, Any]]] = json.loads((reports / "index.json").read_text())
    return found


def behaviours(results: dict[str, dict[str, Any]], group: str) -> Counter[str]:
    """How many cases of a group ended how; `behaviorClose` where the close alone was wrong."""
    return Counter(verdict(result) for case, result in results.items() if case.split(".")[0] == group)


def verdict(result: dict[str, Any]) -> str:
    behaviour, close = str(result["behavior"]), str(result["behaviorClose"])
    return close if behaviour not in FAILURES and close in FAILURES else behaviour


def said(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = ["| cases | bare library | gateway's layer |", "| --- | --- | --- |"]
    for group, name in GROUPS.items():
        both = [said(behaviours(found[server], group)) for server in ("bare", "ours")]
        if any(both):
            lines.append(f"| {group} {name} | {both[0]} | {both[1]} |")
    return "\n".join(lines) + "\n"


def worse(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Cases that ours fails and the bare library does not."""
    return [
        f"{case}: {verdict(result)}, the bare library: {verdict(found['bare'][case])}"
        for case, result in found["ours"].items()
        if verdict(result) in FAILURES and verdict(found["bare"][case]) not in FAILURES
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wstest", type=Path, required=True, help="the suite's command")
    parser.add_argument("--cases", default="*", help="with commas, e.g. 1.*,6.*")
    parser.add_argument("--docs", action="store_true", help=f"write the table of {DOCS.name}; needs all cases")
    arguments = parser.parse_args()
    if arguments.docs and arguments.cases != "*":
        parser.error("the docs have figures of one full run: leave out --cases")
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(tested(arguments.wstest.absolute(), arguments.cases.split(","), Path(folder)))
    failures = worse(found)
    both = [case for case, result in found["ours"].items() if verdict(result) in FAILURES]
    count = len(found["ours"])
    summary = f"{count} cases, websockets {library}; failures that the bare library does not have: {len(failures)}\n"
    summary += f"Failed by both: {', '.join(sorted(set(both) - {line.split(':')[0] for line in failures}))}\n"
    print(table(found), summary, *failures, sep="\n")
    if arguments.docs:
        text = DOCS.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCS.write_text(f"{before}{BEGIN}\n{table(found)}\n{summary}\n{END}{after}", encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
