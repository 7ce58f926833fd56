"""Client certificates that are narrowed to some kinds of operations."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.errors import CertificateError
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.security.users import read_users

pytestmark = pytest.mark.scenario("J50")


def users(tmp_path: Path, text: str) -> dict[str, Principal]:
    path = tmp_path / "users.toml"
    path.write_text(text, encoding="utf-8")
    return read_users(path)


@pytest.mark.parametrize(("given", "kinds"), [("", None), ("kinds = []", ()), ('kinds = ["b", "a", "b"]', ("a", "b"))])
def test_a_certificate_may_be_about_some_kinds(tmp_path: Path, given: str, kinds: tuple[str, ...] | None) -> None:
    found = users(tmp_path, f'["ann@x"]\nuser = "ann"\nroles = ["operator"]\n{given}\n')
    assert found == {"ann@x": Principal("ann", ("operator",), kinds)}


@pytest.mark.parametrize("kinds", ['"external"', "[1]", '[""]', "true"])
def test_kinds_that_are_none_are_refused(tmp_path: Path, kinds: str) -> None:
    with pytest.raises(CertificateError, match="kinds"):
        users(tmp_path, f'["ann@x"]\nkinds = {kinds}\n')
