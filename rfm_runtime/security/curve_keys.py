"""This host's key pair, and the list of hosts it lets in: files of mode 0600 in a folder of mode 0700.

The private key is in one file and nowhere else: no argument, setting, log or error has it. The list is read again
whenever its file has changed, so that `rfm-runtime keys` needs no word with a running process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import zmq
from zmq.utils import z85

from rfm_runtime.config import Folders, Settings
from rfm_runtime.core.peers import allowing, listed, revoking, written
from rfm_runtime.errors import ConfigError, SetupError
from rfm_runtime.protocol.keys import KEY_BYTES, KeyPair, Towards, key_of
from rfm_runtime.security.token import make_private, write_private

__all__ = ["AllowList", "allow", "entrance", "init", "own_pair", "pair_if_any", "revoke", "towards", "towards_broker"]

OWN = "own.secret"
ALLOWED = "allowed"
LOCK = ".lock"


def init(folder: Path, *, replace: bool = False) -> bytes:
    """Make this host's key pair; its public key. Raises ConfigError if there is one, unless it is to be replaced."""
    with _changing(folder):
        path = folder / OWN
        if path.exists() and not replace:
            raise ConfigError(
                f"this host has a key pair: {path}",
                hint="`rfm-runtime keys show` prints its public key; --replace makes another, "
                "which every other host then has to be told",
            )
        _, secret = zmq.curve_keypair()
        raw = z85.decode(secret)
        write_private(path, raw.hex() + "\n")
        return _pair(raw).public


def own_pair(folder: Path) -> KeyPair:
    """This host's. Raises ConfigError if there is none, SetupError if others can read it."""
    path = folder / OWN
    try:
        found = path.stat()
        text = path.read_bytes().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"this host has no key pair ({path} does not exist)",
            hint="make one with `rfm-runtime keys init`; hosts know each other by their keys",
        ) from None
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}", hint="make it readable for this user") from None
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SetupError(
            f"{path} can be read by others, so this host's key is no secret",
            hint=f"chmod 600 {path}; if others were on this machine, make another: rfm-runtime keys init --replace",
        )
    try:
        raw = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ConfigError(f"{path} is no key", hint="make another with `rfm-runtime keys init --replace`")
    return _pair(raw)


def pair_if_any(folder: Path) -> KeyPair | None:
    """This host's, if it has one. Raises ConfigError, SetupError for one that cannot be used."""
    return own_pair(folder) if (folder / OWN).exists() else None


def _pair(secret: bytes) -> KeyPair:
    return KeyPair(z85.decode(zmq.curve_public(z85.encode(secret))), secret)


def entrance(folder: Path) -> tuple[KeyPair, AllowList]:
    """This host's keys, and whom it lets in. Raises ConfigError, SetupError."""
    return own_pair(folder), AllowList(folder)


def towards_broker(settings: Settings, folders: Folders) -> Towards | None:
    """What connections to the broker take; None where it is on this host. Raises ConfigError, SetupError."""
    return towards(folders.keys, settings.broker_key if settings.is_away_from_broker else "")


def towards(folder: Path, peer: str) -> Towards | None:
    """What connections to the host with the public key `peer` take; "" is this one. Raises ConfigError, SetupError."""
    return Towards(own_pair(folder), key_of(peer)) if peer else None


class AllowList:
    """Hosts that may connect: names and keys in the file of that folder. Raises ConfigError at first, never later."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ALLOWED
        self._read_at: tuple[int, int, int] | None = None
        self.problem: str | None = None
        self.allowed = self._read()

    def refresh(self) -> bool:
        """Read it if it has changed; whether it is another list now. One that is damaged changes nothing."""
        if self._stamp() == self._read_at:
            return False
        before = self.allowed
        try:
            self.allowed = self._read()
            self.problem = None
        except (ConfigError, SetupError) as error:
            self.problem = error.message
        return self.allowed != before

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> dict[str, str]:
        self._read_at = self._stamp()
        return _list(self._path)


def _list(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}", hint="make it readable for this user") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text", hint="remove it, and allow the hosts anew") from None
    return listed(text, str(path))


def allow(folder: Path, name: str, key: str) -> None:
    """Let the host with this public key in. Raises ConfigError, SetupError."""
    with _changing(folder):
        own = pair_if_any(folder)
        known = "" if own is None else own.public.hex()
        write_private(folder / ALLOWED, written(allowing(_list(folder / ALLOWED), name, key, known)))


def revoke(folder: Path, name: str) -> None:
    """Let that host in no more; it is cut off within a second where it is connected. Raises ConfigError, SetupError."""
    with _changing(folder):
        write_private(folder / ALLOWED, written(revoking(_list(folder / ALLOWED), name)))


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """One at a time: of two commands at once neither undoes what the other did."""
    try:
        make_private(folder)
        folder.chmod(0o700)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(
            f"cannot write into the folder {folder}: {error.strerror}", hint="choose another with --state-dir"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
