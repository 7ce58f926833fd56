"""What all tests share: the list of covered scenarios, and that nothing is skipped unnoticed in CI."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.txt"

# Deadlines of single examples measure the machine, not the code; every test has a time-out.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scenarios", action="store_true", help="list docs/scenarios.md with the tests of each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    covered: dict[str, list[str]] = defaultdict(list)
    known = set(scenario_numbers())
    for item in items:
        for mark in item.iter_markers("scenario"):
            for number in mark.args:
                if number not in known:
                    raise pytest.UsageError(f"{item.nodeid}: docs/scenarios.md has no scenario {number}")
                covered[number].append(item.nodeid)
    config.stash[COVERED] = covered


COVERED = pytest.StashKey[dict[str, list[str]]]()


def scenario_numbers() -> list[str]:
    """The numbers of docs/scenarios.md, in its order."""
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    found = re.findall(r"(?<![A-Za-z0-9])([A-J]\d+)(?=\s)", text)
    return list(dict.fromkeys(found))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--scenarios"):
        return
    covered = config.stash[COVERED]
    numbers = scenario_numbers()
    terminalreporter.section("scenarios")
    for number in numbers:
        tests = covered.get(number, [])
        files = sorted({test.split("::")[0] for test in tests})
        terminalreporter.line(f"{number:4} {len(tests):3}  {', '.join(files) or '-'}")
    done = sum(1 for number in numbers if covered.get(number))
    terminalreporter.line(f"{done} of {len(numbers)} scenarios have a test")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> object:
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(call.excinfo.value) if call.excinfo else ""
        allowed = [line for line in ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines() if line]
        if not any(line in reason for line in allowed if not line.startswith("#")):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI for a reason that is not in {ALLOWED_SKIPS.name}: {reason}"
    return report
