"""Loading settings: who wins, where each value came from, and what is said of one that cannot be used."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.config import Settings, cache_home, config_file, folders, load
from rfm_runtime.config.loading import SOCKET_PATH_LIMIT_BYTES
from rfm_runtime.errors import ConfigError, InsecureBindError

# Of each setting three values that differ from each other and from its default.
VALUES: dict[str, tuple[Any, Any, Any]] = {
    name: ("/a", "/b", "/c") if Settings.__annotations__[name] == "str" else (1, 2, 3)
    for name in Settings.__struct_fields__
} | {
    "host": ("::1", "localhost", "127.0.0.1"),
    "log_level": ("debug", "error", "warning"),
    "parts": ("broker", "engine", "broker+gateway"),
    "node": ("left", "right", "middle"),
    "broker_address": ("10.0.0.1:8770", "[::1]:8770", "broker.example:65532"),
    "broker_key": ("a" * 64, "b" * 64, "0" * 64),
    "data_address": ("10.0.0.2:8780", "10.0.0.3:1", "localhost:65535"),
    "interrupted": ("fail", "resume", "fail"),
    "allow_insecure": (True, False, True),
    "tls_client_auth": ("optional", "required", "optional"),
    "gateways": (2, 3, 4),
    "cancel_deadline_s": (2, 3, 4),
    "stale_after_s": (1, 2, 4),
    # Not less than what is shown.
    "retention_s": (1e8, 2e8, 3e8),
    "retention_operations": (10_001, 10_002, 10_003),
    "allowed_origins": (("https://a.example",), ("https://b.example:8443", "http://c.example"), ("http://[::1]:3000",)),
    "allowed_hosts": (("a.example",), ("b.example", "c.example"), ("d",)),
}


def toml(**values: Any) -> str:
    return "".join(f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in values.items())


def in_a_variable(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


@pytest.mark.scenario("G4")
@pytest.mark.parametrize(
    ("key", "names", "hint"),
    [
        ("allowed_origins", ["lab.example"], "https://lab.example:8443"),
        ("allowed_origins", ["https://lab.example/"], "https://lab.example:8443"),
        ("allowed_origins", ["*"], "https://lab.example:8443"),
        ("allowed_hosts", ["lab.example:8765"], "lab.example"),
        ("allowed_hosts", ["*.example"], "lab.example"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_name_that_no_browser_says_is_refused(key: str, names: list[str], hint: str) -> None:
    with pytest.raises(ConfigError, match=f"setting {key}") as refused:
        load({key: names})
    assert hint in (refused.value.hint or "")


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "settings.toml"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder of its own, without any XDG variable; near the root, since socket paths below it are short."""
    for variable in [name for name in os.environ if name.startswith(("XDG_", "RFM_"))]:
        monkeypatch.delenv(variable)
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        monkeypatch.setenv("HOME", folder)
        yield Path(folder)


@given(
    st.dictionaries(
        st.sampled_from(Settings.__struct_fields__), st.sets(st.sampled_from(["file", "environment", "option"]))
    )
)
def test_the_command_line_wins_then_the_environment_then_the_file_then_the_default(
    settings_file: Path, given_in: dict[str, set[str]]
) -> None:
    def layer(place: str, index: int) -> dict[str, Any]:
        return {key: VALUES[key][index] for key, places in given_in.items() if place in places}

    if any(places and key.startswith("tls_") for key, places in given_in.items()):
        # One alone is refused.
        given_in = {**{key: {"file"} for key in ("tls_certificate", "tls_key", "tls_client_ca")}, **given_in}
        given_in = {key: places or {"file"} for key, places in given_in.items()}
    settings_file.write_text(toml(**layer("file", 0)))
    environ = {f"RFM_{key.upper()}": in_a_variable(value) for key, value in layer("environment", 1).items()}
    loaded = load(layer("option", 2), file=settings_file, environ=environ)
    for key in Settings.__struct_fields__:
        places = given_in.get(key, set())
        value, origin = getattr(loaded.settings, key), loaded.origin[key]
        if "option" in places:
            assert (value, origin) == (VALUES[key][2], "option")
        elif "environment" in places:
            assert (value, origin) == (VALUES[key][1], f"environment RFM_{key.upper()}")
        elif "file" in places:
            assert (value, origin) == (VALUES[key][0], str(settings_file))
        else:
            assert origin == "default"


def answered(environ: dict[str, str]) -> Settings | ConfigError | InsecureBindError:
    try:
        return load({}, file=Path(os.devnull), environ=environ).settings
    except (ConfigError, InsecureBindError) as error:
        return error


@given(st.text(), st.sampled_from([name for name in Settings.__struct_fields__ if not name.endswith("_dir")]))
def test_any_text_of_the_environment_is_a_setting_that_the_processes_understand_or_refused(text: str, key: str) -> None:
    answer = answered({f"RFM_{key.upper()}": text})
    if isinstance(answer, Settings):
        assert msgspec.json.decode(msgspec.json.encode(answer), type=Settings) == answer
    else:
        assert answer.hint
        assert key in answer.message or isinstance(answer, InsecureBindError)


def test_without_anything_given_all_is_default(home: Path) -> None:
    loaded = load()
    assert set(loaded.origin.values()) == {"default"}
    assert loaded.settings == Settings(
        state_dir=str(home / ".local/state/rfm-runtime"),
        runtime_dir=str(home / ".local/state/rfm-runtime/run"),
        cache_dir=str(home / ".cache/rfm-runtime"),
    )


def test_an_option_that_is_none_was_not_given() -> None:
    assert load({"port": None}, environ={"RFM_PORT": "1"}).settings.port == 1


def test_variables_of_others_are_no_settings() -> None:
    assert (
        load({}, file=Path(os.devnull), environ={"RFM_TOKEN": "x", "PORT": "1", "rfm_port": "2"}).settings.port == 8765
    )


BAD = [
    ("port", "x"),
    ("port", -1),
    ("port", 65536),
    ("port", 1.5),
    ("port", ""),
    ("workers", True),
    ("gateways", 0),
    ("tick_s", 0),
    ("tick_s", "nan"),
    ("lease_s", "inf"),
    ("lease_s", float("inf")),
    ("drain_timeout_s", -0.1),
    ("max_hz", 61),
    ("log_level", "loud"),
    ("host", 1),
    ("state_dir", ""),
    ("state_dir", "~nobody-of-this-name/x"),
    ("state_dir", "a\0b"),
    ("cache_dir", 1),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_named_with_its_setting_and_its_origin(tmp_path: Path, key: str, value: Any) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(toml(**{key: value}) if value != float("inf") else f"{key} = inf\n")
    ways: list[tuple[str, dict[str, Any]]] = [
        (str(file), {"file": file, "environ": {}}),
        ("option", {"options": {key: value}, "environ": {}}),
    ]
    if isinstance(value, str):
        ways.append((f"environment RFM_{key.upper()}", {"environ": {f"RFM_{key.upper()}": value}}))
    for origin, arguments in ways:
        with pytest.raises(ConfigError) as caught:
            load(**arguments)
        assert key in caught.value.message
        assert repr(value).strip("'") in caught.value.message
        assert f"({origin})" in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "choices"), [("interrupted", "resume or fail"), ("log_level", "debug, info, warning or error")]
)
def test_who_chooses_what_there_is_not_is_told_what_there_is(key: str, choices: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({key: "bogus"}, environ={})
    assert "'bogus'" in caught.value.message
    assert caught.value.hint == f"choose {choices}"


@pytest.mark.parametrize("content", ["prot = 1", "[server]\nport = 1"])
def test_an_unknown_setting_is_refused_and_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"unknown setting '(prot|server)' \(.*settings.toml\)"):
        load(file=file, environ={})


@pytest.mark.parametrize("content", [b"port 8765", b"\xff\xfe", b"a = " + b"[" * 5000, b"port = 1\nport = 2"])
def test_a_file_that_is_no_toml_is_refused_and_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"settings\.toml is not TOML") as caught:
        load(file=file, environ={})
    assert caught.value.hint


@pytest.mark.parametrize("there", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, there: str) -> None:
    if there == "folder":
        (tmp_path / there).mkdir()
    with pytest.raises(ConfigError, match=rf"cannot read the settings file .*{there}: (No such file|Is a directory)"):
        load(file=tmp_path / there, environ={})


def test_the_users_file_is_read_where_it_exists_and_need_not(home: Path) -> None:
    assert config_file() == home / ".config/rfm-runtime/config.toml"
    assert load().settings.port == 8765
    config_file().parent.mkdir(parents=True)
    config_file().write_text("port = 1")
    loaded = load()
    assert (loaded.settings.port, loaded.origin["port"]) == (1, str(config_file()))


def test_the_xdg_folders_are_honoured(tmp_path: Path) -> None:
    environ = {f"XDG_{name}": f"/x/{name}" for name in ("STATE_HOME", "CACHE_HOME", "CONFIG_HOME", "RUNTIME_DIR")}
    found = folders(load(environ=environ).settings)
    assert found.state == Path("/x/STATE_HOME/rfm-runtime")
    assert found.runtime == Path("/x/RUNTIME_DIR/rfm-runtime")
    assert found.cache == cache_home(environ) == Path("/x/CACHE_HOME/rfm-runtime")
    assert config_file(environ) == Path("/x/CONFIG_HOME/rfm-runtime/config.toml")
    file = tmp_path / "rfm-runtime" / "config.toml"
    file.parent.mkdir()
    file.write_text("port = 1")
    assert load(environ={"XDG_CONFIG_HOME": str(tmp_path)}).origin["port"] == str(file)


def test_an_xdg_folder_that_is_empty_or_relative_is_ignored(home: Path) -> None:
    # https://specifications.freedesktop.org/basedir-spec: "must be absolute … should … ignore".
    environ = {"XDG_STATE_HOME": "x", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ".", "XDG_RUNTIME_DIR": "run"}
    assert load(environ=environ).settings == load(environ={}).settings
    assert config_file(environ) == home / ".config/rfm-runtime/config.toml"


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    # A number that no user has, and no HOME: as in a container that is run as an arbitrary user.
    code = (
        "import os; os.environ.pop('HOME', None); os.getuid = lambda: 2**31 - 7\n"
        "from rfm_runtime.config import load; from rfm_runtime.errors import ConfigError\n"
        "try: load(environ={})\nexcept ConfigError as error: print(error.message, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "no home folder" in done.stdout
    assert "set HOME" in done.stdout


def test_a_folder_becomes_absolute_wherever_it_was_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    settings = load({"state_dir": "here", "cache_dir": "~/there"}).settings
    assert (settings.state_dir, settings.cache_dir) == (str(home / "here"), str(home / "there"))


def test_a_runtime_dir_is_refused_exactly_where_a_socket_path_would_be_too_long() -> None:
    name = "/data-engine-00.sock"
    for path in ("/" + "r" * (SOCKET_PATH_LIMIT_BYTES - len(name) - 1), "/" + "é" * 43):
        assert load({"runtime_dir": path}, environ={}).settings.runtime_dir == path
        with pytest.raises(
            ConfigError, match=r"runtime_dir .* is too long: .* 10[89] bytes, 107 are allowed"
        ) as caught:
            load({"runtime_dir": path + path[-1]}, environ={})
        assert "--runtime-dir" in (caught.value.hint or "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
def test_plain_text_off_loopback_is_refused(host: str) -> None:
    with pytest.raises(InsecureBindError) as caught:
        load({"host": host}, environ={})
    assert "ssh -L" in (caught.value.hint or "")


@pytest.mark.parametrize("options", [{"tls_certificate": "/c", "tls_key": "/k"}, {"allow_insecure": True}])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_off_loopback_it_is_tls_or_what_was_asked_for(host: str, options: dict[str, Any]) -> None:
    loaded = load({"host": host, **options}, environ={}).settings
    assert (loaded.host, loaded.uses_tls) == (host, "tls_key" in options)


@pytest.mark.scenario("G5")
@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"tls_certificate": "/c"}, "tls_key"),
        ({"tls_key": "/k"}, "tls_certificate"),
        ({"tls_client_ca": "/a"}, "tls_certificate"),
        ({"tls_certificate": "/c", "tls_key": "/k", "tls_client_crl": "/r"}, "tls_client_ca"),
        ({"tls_certificate": "/c", "tls_key": "/k", "tls_users": "/u"}, "tls_client_ca"),
        ({"tls_client_auth": "required"}, "tls_client_ca"),
    ],
)
def test_half_of_tls_is_refused_and_never_plain_text(given: dict[str, Any], needed: str) -> None:
    with pytest.raises(ConfigError, match=f"{needed} is not") as caught:
        load(given, environ={})
    assert needed in (caught.value.hint or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_accepted(host: str) -> None:
    assert load({"host": host}, environ={}).settings.host == host


def test_no_two_things_have_one_path() -> None:
    where = folders(load({"state_dir": "/s", "runtime_dir": "/r", "cache_dir": "/c"}, environ={}).settings)
    paths = [where.journal, where.frames, where.artifacts, where.logs, where.connection, where.token, where.settings]
    paths += [where.lock, where.kernels, *(Path(where.endpoint(name)) for name in ("command", "control", "feed"))]
    assert all(a != b for a, b in itertools.combinations(paths, 2))
    assert where.endpoint("command") == "ipc:///r/command.sock"


@pytest.mark.parametrize("given", [{"retention_s": 3600.0}, {"retention_operations": 10, "finished_keep": 11}])
def test_what_is_shown_is_kept(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is less than") as caught:
        load(given, file=Path(os.devnull), environ={})
    assert "smaller as well" in (caught.value.hint or "")
    load({**given, "finished_keep_s": 60.0, "finished_keep": 2}, file=Path(os.devnull), environ={})
