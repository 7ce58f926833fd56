"""Which hosts may connect: the list of their public keys, and what is said of those that are not on it.

The list is a text of lines `NAME KEY`, the key in hexadecimal digits; `#` begins a remark. Values in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping

from rfm_runtime.config.endpoints import is_key, is_node
from rfm_runtime.errors import ConfigError

__all__ = ["Doorkeeper", "allowing", "listed", "revoking", "written"]

SAY_AGAIN_S = 60.0
"""Whoever is refused tries again within seconds, for days if need be: the log has it once a minute."""

REMEMBERED = 256
"""Refused keys that are told apart: inventing keys costs nothing."""

HEAD = "# Hosts that may connect to this one: rfm-runtime keys allow | revoke | list\n"


def listed(text: str, file: str) -> dict[str, str]:
    """Keys by name. file: what it is called. Raises ConfigError that names the line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not is_node(words[0]) or not is_key(words[1]):
            raise ConfigError(
                f"{file}, line {number}: Expected a name and a key of 64 hexadecimal digits",
                hint="correct or remove the line; `rfm-runtime keys allow` writes it",
            )
        if words[0] in found:
            raise ConfigError(f"{file}, line {number}: {words[0]} is there twice", hint="remove one of the lines")
        found[words[0]] = words[1]
    return found


def written(allowed: Mapping[str, str]) -> str:
    """The text that `listed` reads."""
    return HEAD + "".join(f"{name} {key}\n" for name, key in sorted(allowed.items()))


def allowing(allowed: Mapping[str, str], name: str, key: str, own: str = "") -> dict[str, str]:
    """The list with one more; the same again changes nothing. own: this host's key, "" if it has none.

    Raises ConfigError, also for the own key: that is let in anyway, and another host's was meant.
    """
    if not is_node(name):
        raise ConfigError(
            f"a host cannot be called {name[:80]!r}", hint="1 to 64 letters, digits, points, hyphens and underscores"
        )
    if not is_key(key):
        raise ConfigError(
            f"{key[:80]!r} is no public key", hint="`rfm-runtime keys show` on that host prints its 64 digits"
        )
    if key == own:
        raise ConfigError(
            "this is the key of this host itself", hint=f"give the one that `rfm-runtime keys show` prints on {name}"
        )
    if allowed.get(name, key) != key:
        raise ConfigError(
            f"{name} is allowed with another key", hint=f"take that back first: rfm-runtime keys revoke {name}"
        )
    other = next((known for known, its in allowed.items() if its == key and known != name), None)
    if other is not None:
        raise ConfigError(f"this key is allowed already, as {other}", hint="a host needs one name")
    return {**allowed, name: key}


def revoking(allowed: Mapping[str, str], name: str) -> dict[str, str]:
    """The list without that one. Raises ConfigError."""
    if name not in allowed:
        known = ", ".join(sorted(allowed)) or "none"
        raise ConfigError(f"no host {name[:80]!r} is allowed here", hint=f"those that are: {known}")
    return {other: key for other, key in allowed.items() if other != name}


class Doorkeeper:
    """Says who of those that come may in. own: this host's key, which is always let in.

    refused: how often somebody was not.
    """

    def __init__(self, own: bytes, allowed: Mapping[str, str]) -> None:
        self._own = own
        self.refused = 0
        self._said_s: dict[bytes, float] = {}
        self._names = self._by_key(allowed)

    def _by_key(self, allowed: Mapping[str, str]) -> dict[bytes, str]:
        return {bytes.fromhex(key): name for name, key in allowed.items()} | {self._own: "this host"}

    def relist(self, allowed: Mapping[str, str]) -> list[str]:
        """The list is another one from now on; names of those who were let in so far and are not any more."""
        before, self._names = self._names, self._by_key(allowed)
        return [name for key, name in before.items() if key not in self._names]

    def knock(self, key: bytes) -> str | None:
        """The name of whoever has this key; None: it is refused."""
        name = self._names.get(key)
        if name is None:
            self.refused += 1
        return name

    def worth_saying(self, key: bytes, now_s: float) -> bool:
        """Whether this refusal is to be logged. now_s: monotonic."""
        said_s = self._said_s.get(key)
        if said_s is not None and now_s - said_s < SAY_AGAIN_S:
            return False
        if len(self._said_s) >= REMEMBERED:
            self._said_s = {known: at for known, at in self._said_s.items() if now_s - at < SAY_AGAIN_S}
            if len(self._said_s) >= REMEMBERED:
                return False
        self._said_s[key] = now_s
        return True
