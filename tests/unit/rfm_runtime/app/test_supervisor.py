"""What is said of a process that ended: what it said itself, or wrote last, and never half a word."""

from __future__ import annotations

from rfm_runtime.app.supervisor import CAUSE_CHARS, cause
from rfm_runtime.errors import JournalError


def test_what_it_said_itself_goes_before_what_it_wrote() -> None:
    error = JournalError("the journal is damaged", hint="restore a backup")
    assert cause("exit code 1", error, "a warning\nthe last line") == (
        "exit code 1: the journal is damaged; restore a backup"
    )
    assert cause("exit code 1", None, "Traceback\nKeyError: 'x'") == "exit code 1: KeyError: 'x'"
    assert cause("signal SIGKILL", None, "") == "signal SIGKILL"


def test_what_is_long_is_cut_between_words_and_says_so() -> None:
    words = " ".join(f"word{number}" for number in range(200))
    said = cause("exit code 1", JournalError(words, hint="and so on"), "")
    assert len(said) <= CAUSE_CHARS
    assert said.endswith(" …")
    kept = said.removesuffix(" …").removeprefix("exit code 1: ").split()
    assert kept == words.split()[: len(kept)]
    assert len(cause("exit code 1", None, "x" * 1000)) <= CAUSE_CHARS
