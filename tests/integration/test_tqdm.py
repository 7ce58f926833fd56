"""Scripts written for tqdm, with one import changed: what they print is the same, and they are seen and stopped."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

from rfm_runtime import Client
from rfm_runtime.testing.runtime import Runtime
from tests.integration.test_reporting import Script, ended, environment, named, no_script_is_left

__all__ = ["no_script_is_left"]

pytestmark = pytest.mark.integration

# From tqdm's documentation, shortened only in how long they take.
SCRIPTS = {
    "iterable": """
        text = ""
        for char in tqdm(["a", "b", "c", "d"], desc="iterable"):
            sleep(0.02)
            text = text + char
        print(text)
    """,
    "trange": """
        for i in trange(100, desc="trange", unit_scale=True):
            sleep(0.001)
    """,
    "description": """
        pbar = tqdm(["a", "b", "c", "d"], desc="description")
        for char in pbar:
            sleep(0.02)
            pbar.set_description("Processing %s" % char)
    """,
    "manual": """
        with tqdm(total=100, desc="manual") as pbar:
            for i in range(10):
                sleep(0.005)
                pbar.update(10)
    """,
    "closed": """
        pbar = tqdm(total=100, desc="closed", unit="B", unit_scale=True, unit_divisor=1024)
        for i in range(10):
            sleep(0.005)
            pbar.update(10)
        pbar.close()
    """,
    "postfix": """
        with trange(10, desc="postfix") as t:
            for i in t:
                t.set_description("GEN %i" % i)
                t.set_postfix(loss=0.5, gen=i, str="h", lst=[1, 2])
                sleep(0.005)
    """,
    "from the start": """
        with tqdm(total=4, desc="from the start", postfix={"best": "?"}, initial=1, ascii=True) as bar:
            for i in range(3):
                sleep(0.005)
                bar.update()
    """,
    "nested": """
        for i in trange(2, desc="nested"):
            for j in trange(3, desc="inner", leave=False):
                sleep(0.005)
    """,
    "writing": """
        bar = trange(10, desc="writing")
        for i in bar:
            sleep(0.01)
            if not (i % 3):
                tqdm.write("Done task %i" % i)
    """,
    "generator": """
        def numbers():
            yield from range(5)
        print(sum(tqdm(numbers(), desc="generator")))
    """,
}


def run(code: str, module: str, running: Runtime) -> tuple[int, str, str]:
    source = f"from time import sleep\nfrom {module} import tqdm, trange\n{textwrap.dedent(code)}"
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environment(running),
        capture_output=True,
        check=False,
        timeout=60,
    )
    # As bytes: a carriage return is to stay one.
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def last_bars(err: str) -> list[str]:
    """What stays on the screen, without times and rates."""
    lines = [line.split("\r")[-1].strip() for line in err.split("\n")]
    return [re.sub(r"\[.*?(, [a-z].*)?\]$", r"\1", line) for line in lines]


@pytest.mark.scenario("J11")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_the_same_and_is_seen(running: Runtime, client: Client, name: str) -> None:
    theirs = run(SCRIPTS[name], "tqdm", running)
    ours = run(SCRIPTS[name], "rfm_runtime.tqdm", running)
    assert ours[:2] == theirs[:2], ours[2]
    assert last_bars(ours[2]) == last_bars(theirs[2])
    operation = ended(client, name)
    assert operation.state == "completed"
    assert operation.latest is not None
    assert operation.latest.total in (None, operation.latest.done)


def test_description_and_postfix_travel(running: Runtime, client: Client) -> None:
    code = SCRIPTS["postfix"].replace('desc="postfix"', 'desc="figures"')
    assert run(code, "rfm_runtime.tqdm", running)[0] == 0
    latest = ended(client, "figures").latest
    assert latest is not None
    assert latest.step == "GEN 9"
    assert latest.details == {"loss": 0.5, "gen": 9, "str": "h", "lst": [1, 2]}


def test_a_bar_is_cancelled_from_elsewhere(running: Runtime, client: Client) -> None:
    script = Script(
        """
        import time
        from rfm_runtime import OperationCanceled
        from rfm_runtime.tqdm import tqdm
        try:
            for i in tqdm(range(10_000), desc="to stop"): time.sleep(0.005)
        except OperationCanceled:
            print("canceled")
        """,
        environment(running),
    )
    operation = named(client, "to stop")
    client.cancel(operation.operation_id)
    assert client.wait(operation.operation_id, 10) == "canceled"
    assert script.end()[:2] == (0, "canceled\n")


@pytest.mark.scenario("J11")
@pytest.mark.parametrize(
    ("name", "code", "state"),
    [
        (
            "broken",
            "for i in tqdm(range(9), desc='broken'):\n    sleep(0.05)\n    if i == 4: raise ValueError(i)",
            "failed",
        ),
        ("left", "for i in tqdm(range(9), desc='left'):\n    if i == 4: break", "canceled"),
        ("dropped", "def f():\n    bar = tqdm(total=9, desc='dropped')\n    bar.update(4)\nf()", "canceled"),
        ("in vain", "with tqdm(total=9, desc='in vain') as bar:\n    raise ValueError('x')", "failed"),
        ("silent", "for i in tqdm(range(3), desc='silent', disable=None): pass", "completed"),
    ],
)
def test_a_bar_ends_as_its_loop_does(running: Runtime, client: Client, name: str, code: str, state: str) -> None:
    run(code, "rfm_runtime.tqdm", running)
    assert ended(client, name).state == state


def test_a_disabled_bar_is_no_operation(running: Runtime, client: Client) -> None:
    assert run("for i in tqdm(range(3), desc='disabled', disable=True): pass", "rfm_runtime.tqdm", running)[0] == 0
    assert all(operation.name != "disabled" for operation in client.operations())


def test_items_are_counted_once(running: Runtime, client: Client) -> None:
    code = "for i in tqdm(range(5), desc='slow items'):\n    sleep(0.15)\n    if i == 3: break"
    run(code, "rfm_runtime.tqdm", running)
    latest = ended(client, "slow items").latest
    assert latest is not None
    assert latest.done == 3


def test_updates_that_are_drawn_are_counted_once(running: Runtime, client: Client) -> None:
    code = "bar = tqdm(desc='drawn')\nfor _ in range(4):\n    bar.update(1000)\n    sleep(0.15)\nbar.close()"
    run(code, "rfm_runtime.tqdm", running)
    latest = ended(client, "drawn").latest
    assert latest is not None
    assert latest.done == 4000
