"""Whose tokens a runtime takes, as its settings say: its own, and those of a secret or of an issuer's public keys.

Keys are in files, which are read again when they change: tokens are rotated without a restart.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rfm_runtime.config import Settings
from rfm_runtime.config.loopback import is_loopback
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.claims import ClaimNames
from rfm_runtime.errors import BadRequestError, ConfigError, MissingExtraError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.security.jwt_authenticator import SECRET_BYTES, JWTAuthenticator
from rfm_runtime.security.token import RuntimeToken
from rfm_runtime.security.trusted import changeable

if TYPE_CHECKING:
    from rfm_runtime.security.keys import Key

__all__ = ["SECRET_VARIABLE", "WEAK", "Authority", "authenticator_of", "previous_file", "weakness"]

log = logging.getLogger("rfm_runtime.security")

SECRET_VARIABLE = "RFM_TOKEN_SECRET"
"""No setting: settings are shown, and written to a file."""

FILE_LIMIT_BYTES = 256 * 1024
LOOK_S = 1.0
"""How often it is looked whether a file has changed."""


WEAK = f"the secret of tokens is shorter than {SECRET_BYTES} bytes: whoever sees a token can find it by trying"

SIGN_IN_ISSUER = "rfm-runtime/sign-in"


class Authority:
    """The runtime's own token, then those that it made for sign-in links, then tokens of `authenticator`."""

    def __init__(self, own: RuntimeToken, authenticator: JWTAuthenticator | None = None) -> None:
        self._own = own
        self._authenticator = authenticator
        self._made: JWTAuthenticator | None = None

    def authenticate(self, offered: str) -> Grant | None:
        """What a token grants. Raises UnavailableError while keys are fetched, one of which it may be of, and
        TokenExpiredError for one that was valid once.
        """
        grant = self._own.authenticate(offered)
        if grant is None and offered.count(".") == 2:
            grant = self._sign_ins().sign_in(offered)
        if grant is not None or self._authenticator is None:
            return grant
        return self._authenticator.sign_in(offered)

    def sign(self, principal: Principal, lifetime_s: float) -> str:
        """A token for somebody, which every gateway with the same own token takes, until the runtime is restarted."""
        return self._sign_ins().issue(principal.user, principal.roles, lifetime_s=lifetime_s, kinds=principal.kinds)

    def look(self) -> bool:
        """Whether the authenticator's keys are others since it was asked last; the runtime's own never are."""
        return self._authenticator is not None and self._authenticator.look()

    @property
    def trouble(self) -> str:
        """Why newer keys are not used, for people; "" if all is well."""
        return "" if self._authenticator is None else self._authenticator.trouble

    def vouched(self, grant: Grant) -> Grant | None:
        """What a token grants by the keys of now; None: its key is gone."""
        return grant if self._authenticator is None else self._authenticator.vouched(grant)

    def _sign_ins(self) -> JWTAuthenticator:
        # Only then: PyJWT takes its time and its memory to load.
        if self._made is None:
            from rfm_runtime.security import keys

            source = keys.FixedKeys(keys.secret(self._own.derived(), None))
            self._made = JWTAuthenticator.of(source, audience=SIGN_IN_ISSUER, issuer=SIGN_IN_ISSUER, names=ClaimNames())
        return self._made


def authenticator_of(settings: Settings, environ: Mapping[str, str] | None = None) -> JWTAuthenticator | None:
    """For the tokens that the settings name keys of; None if they name none.

    Raises ConfigError for keys that cannot be read or used, and for a secret that is too short for a server that others
    can reach; MissingExtraError.
    """
    environ = os.environ if environ is None else environ
    given = environ.get(SECRET_VARIABLE, "")
    if not (settings.token_secret_file or settings.token_public_keys or settings.token_jwks or given):
        _needs_a_key(settings)
        return None
    if settings.token_secret_file and given:
        raise ConfigError(
            f"there are two secrets: in token_secret_file, and in {SECRET_VARIABLE}",
            hint=f"keep the file, and unset {SECRET_VARIABLE}; or leave token_secret_file out",
        )
    try:
        from rfm_runtime.security import keys
    except ImportError:
        raise MissingExtraError("checking tokens", "server") from None
    algorithms = _algorithms(settings, keys.ALGORITHMS)
    secrets, public = algorithms, algorithms
    is_public = bool(settings.token_public_keys or settings.token_jwks)
    if algorithms is not None and is_public and (settings.token_secret_file or given):
        # Of one list each kind of key takes what it can be used for.
        secrets = tuple(one for one in algorithms if one in keys.SECRET_ALGORITHMS)
        public = tuple(one for one in algorithms if one not in keys.SECRET_ALGORITHMS)
    sources: list[keys.KeySource] = []
    if settings.token_secret_file:
        sources.append(FileKeys(_secrets_of(settings), lambda: _read_secrets(settings, secrets)))
    elif given:
        with _named(SECRET_VARIABLE):
            fixed = keys.secret(given.strip().encode(), secrets)
        _long_enough(settings, [fixed])
        sources.append(keys.FixedKeys(fixed))
    if settings.token_public_keys:
        sources.append(_public_file("token_public_keys", settings.token_public_keys, public))
    if "://" in settings.token_jwks:
        from rfm_runtime.security.jwks import Jwks

        with _named("token_jwks"):
            sources.append(Jwks(settings.token_jwks, public))
    elif settings.token_jwks:
        sources.append(_public_file("token_jwks", settings.token_jwks, public))
    names = ClaimNames(settings.token_user_claim, settings.token_roles_claim)
    return JWTAuthenticator.of(*sources, audience=settings.token_audience, issuer=settings.token_issuer, names=names)


def weakness(settings: Settings) -> str | None:
    """What is said of a secret that is too short, where nobody else can reach the server. Raises like the above."""
    made = authenticator_of(settings)
    if made is None or not made.is_weak:
        return None
    return WEAK


def previous_file(settings: Settings) -> Path:
    """Where the secret before the present one is, if there is one."""
    if settings.token_previous_secret_file:
        return Path(settings.token_previous_secret_file)
    present = Path(settings.token_secret_file)
    return present.with_name(f"{present.name}.previous")


class FileKeys:
    """Keys of files, read again when one of them changes. What cannot be read then leaves those that there were."""

    changes = True
    trouble = ""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Sequence[Key]]) -> None:
        self._paths = paths
        self._read = read
        self._looked_s = time.monotonic()
        self._seen = self._look()
        self._found = read()

    def held(self) -> Sequence[Key]:
        """As `KeySource` says."""
        return self._found

    def known(self) -> Sequence[Key]:
        """As `KeySource` says."""
        return self._found

    def look(self, kid: object) -> bool:
        """As `KeySource` says."""
        del kid
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._read_again()
        return False

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_identity(path) for path in self._paths]

    def _read_again(self) -> None:
        try:
            self._found = self._read()
        except ConfigError as error:
            self.trouble = f"{error.message}; the keys before are used ({error.hint})"
            log.warning("%s; the keys so far are used on (%s)", error.message, error.hint)
        except Exception:
            # Whoever writes the file must not decide who else can sign in.
            names = ", ".join(map(str, self._paths))
            self.trouble = f"{names} cannot be used; the keys before are used (`rfm-runtime logs` says more)"
            log.exception("%s cannot be used; the keys so far are used on", names)
        else:
            self.trouble = ""
            log.info("keys were read again: %s", ", ".join(map(str, self._paths)))


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid


def _secrets_of(settings: Settings) -> tuple[Path, Path]:
    return Path(settings.token_secret_file), previous_file(settings)


def _read_secrets(settings: Settings, algorithms: Sequence[str] | None) -> tuple[Key, ...]:
    from rfm_runtime.security import keys

    present, previous = _secrets_of(settings)
    with _named(str(present)):
        found = [keys.secret(_private(present, "token_secret_file").strip(), algorithms)]
    if settings.token_previous_secret_file or previous.exists():
        lines = _private(previous, "token_previous_secret_file").strip().splitlines()
        until_s = _until_s(settings, previous, lines[1].decode("ascii", "replace") if len(lines) > 1 else "")
        with _named(str(previous)):
            found.append(keys.secret(lines[0].strip() if lines else b"", algorithms, until_s=until_s))
    _long_enough(settings, found)
    return tuple(found)


def _long_enough(settings: Settings, found: Sequence[Key]) -> None:
    """Whenever secrets are read, also while it runs. Raises ConfigError."""
    secrets = [len(key.material) for key in found if isinstance(key.material, bytes)]
    if min(secrets, default=SECRET_BYTES) < SECRET_BYTES and not is_loopback(settings.host):
        raise ConfigError(
            f"the secret of tokens is shorter than {SECRET_BYTES} bytes, too short for a server that others can reach",
            hint="make one with `rfm-runtime token rotate`, or openssl rand -hex 32",
        )


def _until_s(settings: Settings, path: Path, line: str) -> float:
    text = settings.token_previous_until or line.strip().removeprefix("until ")
    hint = "write the time as 2027-01-31T12:00:00Z into token_previous_until"
    if not text:
        raise ConfigError(f"until when the previous secret in {path} is accepted is not said", hint=hint)
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text[:64]!r} is no time until which a secret is accepted ({path})", hint=hint) from None
    if until.tzinfo is None:
        raise ConfigError(f"{text!r} does not say in which time zone ({path})", hint=hint)
    return until.timestamp()


def _public_file(setting: str, name: str, algorithms: Sequence[str] | None) -> FileKeys:
    path = Path(name)
    return FileKeys((path,), lambda: _read_public(path, algorithms, setting))


def _read_public(path: Path, algorithms: Sequence[str] | None, setting: str = "token_public_keys") -> tuple[Key, ...]:
    from rfm_runtime.security import keys

    with _named(str(path)):
        found = keys.public_keys(_content(path, setting), algorithms)
    if not found:
        # No reason not to start: a gateway that begins anew must not be away because keys were taken back.
        log.warning("%s has no key: no token of its issuer is taken", path)
    return found


def _private(path: Path, setting: str) -> bytes:
    """What others cannot read, nor its group change. setting: which names it. Raises ConfigError."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, setting, error) from None
    if stat.S_ISDIR(mode):
        raise _unreadable(path, setting, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if stat.S_IMODE(mode) & 0o027:
        raise ConfigError(
            f"{path} is open to others (mode {stat.S_IMODE(mode):o}), so what it has is no secret",
            hint=f"close it, and think about a new secret: chmod 600 {path}",
        )
    return _content(path, setting)


def _content(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
            changeable_by = changeable(path, os.fstat(file.fileno()))
    except OSError as error:
        raise _unreadable(path, setting, error) from None
    if changeable_by is not None:
        raise ConfigError(changeable_by[0], hint=changeable_by[1])
    if len(content) > FILE_LIMIT_BYTES:
        raise ConfigError(f"{path} is larger than any file of keys", hint=f"name another one in {setting}")
    return content


def _unreadable(path: Path, setting: str, error: OSError) -> ConfigError:
    make = ", or make it: rfm-runtime token rotate" if setting == "token_secret_file" else ""
    return ConfigError(
        f"cannot read {path}: {error.strerror}", hint=f"name a file that this user can read in {setting}{make}"
    )


def _algorithms(settings: Settings, known: Sequence[str]) -> tuple[str, ...] | None:
    if not settings.token_algorithms.strip():
        return None
    chosen = tuple(part.strip() for part in settings.token_algorithms.split(",") if part.strip())
    if unknown := [one for one in chosen if one not in known]:
        raise ConfigError(
            f"token_algorithms names {', '.join(map(repr, unknown))}, which is none here",
            hint=f"choose of {', '.join(known)}",
        )
    return chosen


def _needs_a_key(settings: Settings) -> None:
    for name in ("token_previous_secret_file", "token_previous_until", "token_algorithms"):
        if getattr(settings, name):
            raise ConfigError(
                f"{name} is set, and no key that tokens are checked with",
                hint="set token_secret_file, token_public_keys or token_jwks as well",
            )


@contextmanager
def _named(where: str) -> Iterator[None]:
    """What is wrong with a key is said with where it is."""
    try:
        yield
    except BadRequestError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
