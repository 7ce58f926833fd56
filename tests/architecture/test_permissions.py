"""The document of who may do what is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfm_runtime.cli.pages.rights import document

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.scenario("J50")
def test_the_document_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    assert written == document(), "docs/permissions.md is out of date: run `make docs`"
