"""One `load()` of the settings, and the folders that follow from them.

Command line > environment (`RFM_…`) > TOML file > default. The runtime's processes get the
resolved settings as a JSON file from the supervisor, so that all of them agree.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from rfm_runtime.config.endpoints import BROKER_PORTS, KEY_DIGITS, Endpoints, address, is_key, is_node
from rfm_runtime.config.loopback import is_loopback
from rfm_runtime.config.origins import host_of, origin_of
from rfm_runtime.config.settings import Settings
from rfm_runtime.config.wanted import wanted
from rfm_runtime.errors import ConfigError, InsecureBindError

__all__ = [
    "BY_ITSELF",
    "SOCKET_PATH_LIMIT_BYTES",
    "Folders",
    "Loaded",
    "away",
    "cache_home",
    "config_file",
    "data_home",
    "folders",
    "load",
]

SOCKET_PATH_LIMIT_BYTES = 107
"""`sun_path` has 108 bytes with its terminator (unix(7))."""


TLS_FILES = ("tls_certificate", "tls_key", "tls_client_ca", "tls_client_crl", "tls_users")
FILES = frozenset({*TLS_FILES, "token_secret_file", "token_previous_secret_file", "token_public_keys", "token_jwks"})
"""Settings that name a file, or nothing."""


BY_ITSELF: Mapping[str, Any] = {
    "host": "127.0.0.1",
    "parts": "all",
    "broker_address": "",
    "data_address": "",
    "allow_insecure": False,
    "tls_client_auth": "optional",
    **dict.fromkeys(TLS_FILES, ""),
}
"""Of a runtime that serves the command which has started it: whatever the user's faces, it faces nobody."""


class Folders(Struct, frozen=True):
    """Paths below the configured folders. `runtime` is 0700 and holds sockets and secrets."""

    state: Path
    runtime: Path
    cache: Path

    @property
    def journal(self) -> Path:
        """The SQLite journal."""
        return self.state / "journal.db"

    @property
    def reserve(self) -> Path:
        """Room for outcomes on a full disk."""
        return self.state / "journal.reserve"

    @property
    def backups(self) -> Path:
        """Where `rfm-runtime db backup` puts them unless told otherwise."""
        return self.state / "backups"

    @property
    def journal_lock(self) -> Path:
        """Held by the supervisor while it lives: a journal has one writer, wherever the runtime folder is."""
        return self.state / "journal.lock"

    @property
    def shown(self) -> Path:
        """What watchers were last shown of live operations."""
        return self.state / "shown"

    @property
    def last_words(self) -> Path:
        """Outcomes that programs could not tell before they ended, a file each."""
        return self.state / "outcomes"

    @property
    def frames(self) -> Path:
        """One folder an unfinished render."""
        return self.state / "frames"

    @property
    def artifacts(self) -> Path:
        """One folder a finished operation."""
        return self.state / "artifacts"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.state / "logs"

    @property
    def audit(self) -> Path:
        """Who came in, was refused, and did what to whom: a file a process; 0700."""
        return self.state / "audit"

    @property
    def connection(self) -> Path:
        """Where, and with which token, a client of this user connects; 0600."""
        return self.runtime / "connection.json"

    @property
    def token(self) -> Path:
        """The runtime's own token; 0600."""
        return self.runtime / "token"

    @property
    def settings(self) -> Path:
        """The resolved settings for the runtime's processes."""
        return self.runtime / "settings.json"

    @property
    def troubles(self) -> Path:
        """Which processes end by themselves again and again."""
        return self.runtime / "troubles.json"

    @property
    def served_certificate(self) -> Path:
        """What the gateways show to TLS clients, for those of this machine to know them by."""
        return self.runtime / "server.pem"

    @property
    def certificates(self) -> Path:
        """The local authority of `rfm-runtime certs`, and what it has issued; 0700."""
        return self.state / "certs"

    @property
    def lock(self) -> Path:
        """Held by the supervisor while it lives."""
        return self.runtime / "lock"

    @property
    def vital(self) -> tuple[Path, ...]:
        """What a runtime lives on: with one of these gone or replaced, operations or their outcomes are."""
        journal = self.journal
        beside = (journal.with_name(f"{journal.name}{suffix}") for suffix in ("-wal", "-shm"))
        state = (journal, *beside, self.reserve, self.shown, self.journal_lock)
        left = sorted(self.last_words.glob("*.last"))
        return (*state, *left, self.connection, self.token, self.settings, self.lock)

    @property
    def private(self) -> tuple[Path, ...]:
        """What of ours is nobody else's business, besides what is vital: folders, and files with keys in them."""
        below = (self.logs, self.frames, self.artifacts, self.last_words, self.backups, self.audit)
        keys = (*self.keys.glob("*"), *self.certificates.glob("*.key"), *self.certificates.glob("*/*.key"))
        return (*below, self.keys, self.certificates, *sorted(keys))

    def endpoint(self, name: str) -> str:
        """The ipc endpoint of a socket, e.g. `command`."""
        return f"ipc://{self.runtime / (name + '.sock')}"

    @property
    def endpoints(self) -> Endpoints:
        """The broker's, on its own host."""
        return Endpoints(**{name: self.endpoint(name) for name in Endpoints.__struct_fields__})

    @property
    def keys(self) -> Path:
        """This host's key pair, and whose keys it lets in."""
        return self.state / "keys"

    def temporaries(self, name: str) -> Path:
        """The link to a process's temporary folder."""
        return self.runtime / f"{name}.tmp"

    @property
    def kernels(self) -> Path:
        """Compiled kernels, one folder a cache key."""
        return self.cache / "kernels"


class Loaded(Struct, frozen=True):
    """Settings and where each comes from: "option", "environment RFM_…", a file, or "default"."""

    settings: Settings
    origin: dict[str, str]


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    value = environ.get(variable, "")
    if value.startswith("/"):
        return Path(value)
    try:
        return Path.home() / fallback
    except RuntimeError:
        raise ConfigError(
            f"this user has no home folder, and {variable} is not set", hint=f"set HOME, or {variable}"
        ) from None


def _default_folders(environ: Mapping[str, str]) -> dict[str, str]:
    runtime_home = environ.get("XDG_RUNTIME_DIR", "")
    state = _xdg(environ, "XDG_STATE_HOME", ".local/state") / "rfm-runtime"
    # Without a login session there is no XDG_RUNTIME_DIR: the state folder is private as well.
    runtime = Path(runtime_home) / "rfm-runtime" if runtime_home.startswith("/") else state / "run"
    return {"state_dir": str(state), "runtime_dir": str(runtime), "cache_dir": str(cache_home(environ))}


def cache_home(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CACHE_HOME/rfm-runtime`."""
    return _xdg(os.environ if environ is None else environ, "XDG_CACHE_HOME", ".cache") / "rfm-runtime"


def data_home(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_DATA_HOME/rfm-runtime`: what its user keeps."""
    return _xdg(os.environ if environ is None else environ, "XDG_DATA_HOME", ".local/share") / "rfm-runtime"


def config_file(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CONFIG_HOME/rfm-runtime/config.toml`, which need not exist."""
    return (
        _xdg(os.environ if environ is None else environ, "XDG_CONFIG_HOME", ".config") / "rfm-runtime" / "config.toml"
    )


def folders(settings: Settings) -> Folders:
    """The paths that follow from the settings."""
    return Folders(Path(settings.state_dir), Path(settings.runtime_dir), Path(settings.cache_dir))


def away(settings: Settings) -> Endpoints | None:
    """Where the broker is reached from other hosts; None: it is not."""
    if not settings.broker_address:
        return None
    return address(settings.broker_address, "broker_address", BROKER_PORTS).endpoints()


def load(
    options: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Resolved settings. options: those given on the command line (None values are not given).

    file: a TOML file that must exist; without it `config_file()` is read where it exists.
    Raises ConfigError naming the setting, its value and its origin; InsecureBindError off loopback.
    """
    environ = os.environ if environ is None else environ
    path = file or config_file(environ)
    values: dict[str, Any] = dict(_default_folders(environ))
    origin = dict.fromkeys(Settings.__struct_fields__, "default")
    for layer, name in (
        ({} if file is None and not path.is_file() else _from_file(path), str(path)),
        (_from_environment(environ), "environment"),
        ({key: value for key, value in (options or {}).items() if value is not None}, "option"),
    ):
        for key, value in layer.items():
            source = f"environment RFM_{key.upper()}" if name == "environment" else name
            values[key] = _checked(key, value, source)
            origin[key] = source
    settings = msgspec.convert(values, Settings)
    _check_folders(settings)
    _check_tls(settings)
    _check_host(settings)
    _check_retention(settings)
    _check_hosts(settings)
    return Loaded(settings, origin)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the settings file {path}: {error.strerror}",
            hint="check the path given with --config",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="settings are lines like `port = 8765`") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    fields = set(Settings.__struct_fields__)
    return {
        key[4:].lower(): value for key, value in environ.items() if key.startswith("RFM_") and key[4:].lower() in fields
    }


def _checked(key: str, value: Any, source: str) -> Any:
    hint = "list the settings with `rfm-runtime config show`"
    if key not in Settings.__struct_fields__:
        raise ConfigError(f"unknown setting {key!r} ({source})", hint=hint)
    hints = get_type_hints(Settings, include_extras=True)
    if isinstance(value, str) and get_origin(hints[key]) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        value = msgspec.convert(value, hints[key], strict=not isinstance(value, str))
    except msgspec.ValidationError:
        choices = get_args(hints[key]) if get_origin(hints[key]) is Literal else ()
        if choices:
            raise ConfigError(
                f"setting {key} = {value!r} ({source}): there is no such choice",
                hint=f"choose {', '.join(choices[:-1])} or {choices[-1]}",
            ) from None
        raise ConfigError(
            f"setting {key} = {value!r} ({source}): it has to be {wanted(hints[key])}", hint=hint
        ) from None
    if isinstance(value, float) and not math.isfinite(value):
        # The processes get the settings as JSON, which has no word for it.
        raise ConfigError(f"setting {key} = {value} ({source}): Expected a finite number", hint=hint)
    if key in _NAMES:
        _check_names(key, value, source)
    if key.endswith("_dir") or (key in FILES and value and "://" not in value):
        return _path(key, value, source, "folder" if key.endswith("_dir") else "file")
    return value


def _is_name(text: str) -> bool:
    host = host_of(text)
    return host is not None and host[1] is None


_NAMES: dict[str, tuple[Callable[[str], Any], str]] = {
    "allowed_origins": (origin_of, "write scheme, name and port as a browser does: https://lab.example:8443"),
    "allowed_hosts": (_is_name, "write names without a port: lab.example"),
}


def _check_names(key: str, names: tuple[str, ...], source: str) -> None:
    is_good, hint = _NAMES[key]
    for name in names:
        if not is_good(name):
            raise ConfigError(f"setting {key} = {name!r} ({source}): a browser never says that", hint=hint)


def _path(key: str, value: str, source: str, what: str) -> str:
    # Processes of ours have another folder than the user, and an empty variable would mean the one that the program
    # happens to be started in.
    if not value or "\0" in value:
        raise ConfigError(
            f"setting {key} = {value!r} ({source}): Expected a {what}", hint=f"name a {what}, or leave it out"
        )
    try:
        return str(Path(value).expanduser().absolute())
    except RuntimeError:
        raise ConfigError(
            f"setting {key} = {value!r} ({source}): no such user", hint=f"write the {what} from / on"
        ) from None


def _check_folders(settings: Settings) -> None:
    longest = len(os.fsencode(folders(settings).endpoint("data-engine-00"))) - len("ipc://")
    if longest > SOCKET_PATH_LIMIT_BYTES:
        raise ConfigError(
            f"runtime_dir {settings.runtime_dir} is too long: its socket paths would have {longest} bytes, "
            f"{SOCKET_PATH_LIMIT_BYTES} are allowed",
            hint="choose a shorter folder with --runtime-dir or RFM_RUNTIME_DIR",
        )


def _check_retention(settings: Settings) -> None:
    """What is shown is on disk."""
    for kept, shown in (("retention_s", "finished_keep_s"), ("retention_operations", "finished_keep")):
        if getattr(settings, kept) < getattr(settings, shown):
            raise ConfigError(
                f"{kept} = {getattr(settings, kept):g} is less than {shown} = {getattr(settings, shown):g}: "
                "what the runtime still lists would be gone after its restart",
                hint=f"make {kept} larger, or {shown} smaller as well",
            )


def _check_tls(settings: Settings) -> None:
    """What belongs together; the files themselves are read by who serves."""
    for given, needed, why in (
        ("tls_key", "tls_certificate", "a key is of no use without its certificate"),
        ("tls_certificate", "tls_key", "a certificate is of no use without its key"),
        ("tls_client_ca", "tls_certificate", "only TLS has client certificates"),
        ("tls_client_crl", "tls_client_ca", "without it no client certificate is taken"),
        ("tls_users", "tls_client_ca", "without it no client certificate is taken"),
    ):
        if getattr(settings, given) and not getattr(settings, needed):
            raise ConfigError(f"{given} is set, and {needed} is not: {why}", hint=f"set {needed} to a PEM file")
    if settings.tls_client_auth == "required" and not settings.tls_client_ca:
        raise ConfigError(
            "tls_client_auth is required, and tls_client_ca is not set: nobody could come in",
            hint="set tls_client_ca to the certificates of the authorities whose clients may",
        )


def _check_host(settings: Settings) -> None:
    if is_loopback(settings.host) or settings.uses_tls or settings.allow_insecure:
        return
    raise InsecureBindError(
        f"{settings.host} is not a loopback address, and this server speaks plain text",
        hint="encrypt it: `rfm-runtime certs init`, then --tls-certificate and --tls-key (tls_certificate, tls_key); "
        "or listen on 127.0.0.1 and reach it through an SSH tunnel: ssh -L 8765:127.0.0.1:8765 HOST; or, where nobody "
        "can listen in, --allow-insecure (allow_insecure)",
    )


def _check_hosts(settings: Settings) -> None:
    """That each can be what it is to be; what goes with what depends on the part that is started."""
    if settings.broker_address:
        address(settings.broker_address, "broker_address", BROKER_PORTS)
    if settings.data_address and address(settings.data_address, "data_address").is_wildcard:
        raise ConfigError(
            f"setting data_address = {settings.data_address!r}: nobody can connect to that",
            hint="name the address of this host that gateways reach it at, e.g. data_address = '10.0.0.2:8780'",
        )
    if settings.broker_key and not is_key(settings.broker_key):
        raise ConfigError(
            f"setting broker_key = {settings.broker_key[:80]!r}: Expected {KEY_DIGITS} hexadecimal digits",
            hint="`rfm-runtime keys show` on the broker's host prints it",
        )
    if settings.node and not is_node(settings.node):
        raise ConfigError(
            f"setting node = {settings.node[:80]!r}: Expected a short name",
            hint="1 to 64 letters, digits, points, hyphens and underscores",
        )
