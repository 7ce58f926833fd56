"""Where the broker's sockets are: ipc paths on its own host, four ports in a row for others. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from rfm_runtime.config import loopback
from rfm_runtime.errors import ConfigError

__all__ = ["BROKER_PORTS", "KEY_DIGITS", "Address", "Endpoints", "address", "is_key", "is_loopback", "is_node"]

BROKER_PORTS = 4
"""`command`, `control`, `feed` and `ingest`, from the port of `broker_address` on."""

KEY_DIGITS = 64
"""Of a key of CURVE, 32 bytes, as people copy it: hexadecimal digits mean nothing to any shell."""

NODE_LIMIT = 64


class Endpoints(Struct, frozen=True, kw_only=True):
    """The broker's, as it binds them and as engines, gateways and reporters connect to them."""

    command: str
    control: str
    feed: str
    ingest: str

    @property
    def are_remote(self) -> bool:
        """Whether they are reached over the network, whoever is at the other end."""
        return self.command.startswith("tcp://")


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a port of it."""

    host: str
    port: int

    def endpoint(self, offset: int = 0) -> str:
        """For ZeroMQ: of the port that is `offset` above."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port + offset}"

    def endpoints(self) -> Endpoints:
        """The broker's, of a broker that is here."""
        return Endpoints(
            command=self.endpoint(0), control=self.endpoint(1), feed=self.endpoint(2), ingest=self.endpoint(3)
        )

    @property
    def is_wildcard(self) -> bool:
        """Whether it means all addresses of a host: one can listen there, and not connect."""
        return loopback.is_wildcard(self.host)


def address(text: str, key: str, ports: int = 1) -> Address:
    """HOST:PORT or [HOST]:PORT, of which `ports` ports are used. Raises ConfigError that names the setting `key`."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    is_name = bool(bare) and bare.isascii() and all(letter.isalnum() or letter in ".-_:%" for letter in bare)
    is_port = port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65536 - ports
    if not colon or not is_name or (":" in bare) != bracketed or not is_port:
        used = "" if ports == 1 else f"; the {ports} ports from there on are used"
        raise ConfigError(
            f"setting {key} = {text[:100]!r}: Expected HOST:PORT{used}", hint=f"write it as in {key} = '10.0.0.1:8770'"
        )
    return Address(bare, int(port))


def is_loopback(endpoint: str) -> bool:
    """Whether nobody else than this host is at the other end of a tcp endpoint."""
    return loopback.is_loopback(endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]"))


def is_key(text: str) -> bool:
    """Whether it is a public key as `rfm-runtime keys show` prints it."""
    return len(text) == KEY_DIGITS and set(text) <= set("0123456789abcdef")


def is_node(text: str) -> bool:
    """Whether it can be the name of a host among those of a runtime."""
    allowed = text.isascii() and all(letter.isalnum() or letter in "._-" for letter in text)
    return allowed and text[:1].isalnum() and len(text) <= NODE_LIMIT
