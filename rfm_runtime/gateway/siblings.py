"""The other gateways on the same port: whoever is asked for the metrics answers for all. Owned by the gateway's loop.

Which gateway a scraper reaches is chance: figures of that one alone would jump from scrape to scrape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import zmq
from prometheus_client import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from rfm_runtime.errors import RfmError, UnsupportedError
from rfm_runtime.observe import logs
from rfm_runtime.observe.garbage import Garbage
from rfm_runtime.protocol.internal import Metrics, MetricsText, Request, pack_reply, unpack, unpack_body
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.rpc import Rpc

__all__ = ["Siblings", "merged"]

log = logs.get("gateway")

ASK_S = 1.0
"""A gateway that is frozen or dead must not keep a scraper waiting."""


class Siblings:
    """name: of this gateway. endpoints: of all, by name. own_text: what this one says of itself."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        name: str,
        endpoints: Mapping[str, str],
        own_text: Callable[[], str],
        garbage: Garbage,
    ) -> None:
        self._name = name
        self._own_text = own_text
        self._garbage = garbage
        loop = asyncio.get_running_loop()
        self._answering: Drain | None = None
        if name in endpoints:
            # What a killed predecessor left would make the bind fail.
            Path(endpoints[name].removeprefix("ipc://")).unlink(missing_ok=True)
            self._answering = Drain(loop, sockets.data_router(context, endpoints[name]), self._asked)
        self._others = {
            other: Rpc(loop, sockets.data_dealer(context, endpoint), on_garbage=partial(garbage.found, "siblings"))
            for other, endpoint in endpoints.items()
            if other != name
        }

    async def metrics_text(self) -> str:
        """Of all gateways, each figure with the name of the gateway whose it is."""
        others = await asyncio.gather(*(self._ask(name) for name in self._others))
        texts: dict[str, str | None] = {self._name: self._own_text(), **dict(zip(self._others, others, strict=True))}
        return merged(texts)

    def close(self) -> None:
        """Close all. Idempotent."""
        if self._answering is not None:
            self._answering.close()
        for rpc in self._others.values():
            rpc.close()

    async def _ask(self, name: str) -> str | None:
        try:
            return (await self._others[name].request(Metrics(), MetricsText, timeout_s=ASK_S)).text
        except RfmError as error:
            log.info("sibling_silent", sibling=name, error=error.message)
            return None

    def _asked(self, frames: list[bytes]) -> None:
        try:
            request = unpack(frames[1:])
            if not isinstance(request, Request) or not isinstance(unpack_body(request), Metrics):
                raise UnsupportedError("only Metrics is answered here")
        except RfmError as error:
            self._garbage.found("siblings", error)
            return
        if self._answering is not None:
            try:
                self._answering.send([frames[0], *pack_reply(request.id, MetricsText(self._own_text()))])
            except zmq.ZMQError as error:
                log.info("undeliverable", socket="siblings", error=str(error))


def merged(texts: Mapping[str, str | None]) -> str:
    """One exposition text of several, by gateway; of each family one description. None: it did not answer."""
    families: dict[str, Metric] = {}
    for gateway, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text or ""):
            whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                whole.add_sample(sample.name, {**sample.labels, "gateway": gateway}, sample.value)
    up = GaugeMetricFamily("rfm_gateway_up", "1 if this gateway answered the one that was asked", labels=["gateway"])
    for gateway, text in sorted(texts.items()):
        up.add_metric([gateway], float(text is not None))
    return generate_latest(_Families([up, *families.values()])).decode()


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """As the library says."""
        yield from self._families
