"""Names of the environment: what is known, and what a misspelt one may mean."""

from __future__ import annotations

import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

import rfm_runtime
from rfm_runtime.config.environment import VARIABLES, unknown_variables

NAMES = sorted(VARIABLES)


def test_what_is_known_is_not_spoken_of():
    assert unknown_variables([*NAMES, "PATH", "HOME", "_RFM_RUNTIME_COMPLETE", "RFMX"]) == []


def test_every_name_that_the_code_reads_is_known():
    """Whoever adds one adds it to the list."""
    folder = Path(rfm_runtime.__file__).parent
    read = {
        name
        for path in folder.rglob("*.py")
        for name in re.findall(
            r"""environ(?:\.get\(|\.pop\(|\[)["'](RFM_[A-Z_]+)["']""", path.read_text(encoding="utf-8")
        )
    }
    assert len(read) > 5
    assert read <= VARIABLES


@given(st.sampled_from([name for name in NAMES if len(name) > len("RFM_") + 6]), st.data())
def test_two_letters_the_wrong_way_round_are_found(name, data):
    at = data.draw(st.integers(len("RFM_"), len(name) - 2))
    wrong = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    found = unknown_variables([wrong])
    assert found == [] if wrong in VARIABLES else found[0].nearest in VARIABLES


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RFM_TOKENFILE", "RFM_TOKEN_FILE"),
        ("RFM_TOKEN_FLIE", "RFM_TOKEN_FILE"),
        ("RFM_URI", "RFM_URL"),
        ("rfm_workers", "RFM_WORKERS"),
        ("RFM_WORKER", "RFM_WORKERS"),
        ("RFM_LOGLEVEL", "RFM_LOG_LEVEL"),
        ("RFM_CONFIG_FILES", ""),
    ],
)
def test_the_nearest_is_the_one_that_is_meant(name, nearest):
    (found,) = unknown_variables([name])
    assert (found.name, found.nearest) == (name, nearest)
    assert (nearest or "means something") in found.said
