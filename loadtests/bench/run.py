"""Run the benchmarks, print both sides and the ratio of each, write `results/latest.json`.

    python loadtests/bench/run.py [--only P4 …] [--quick] [--docs]

Every `pNN_*.py` beside this file has `run(quick) -> list[dict]`; each row has
`{id, what, ours, peer, unit, ratio, target, met}` and gets `machine` and `when` here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "latest.json"
DOCS = FOLDER.parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="a target's number, e.g. P4; repeatable")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: shows that it works, not how fast")
    parser.add_argument("--docs", action="store_true", help=f"write the table of {DOCS.name}; needs a full run")
    arguments = parser.parse_args()
    if arguments.docs and (arguments.only or arguments.quick):
        parser.error("the docs have figures of one full run: leave out --only and --quick")
    wanted = {name.upper() for value in arguments.only for name in value.replace(",", " ").split()}
    known = {f"P{int(path.name[1:3])}": path for path in sorted(FOLDER.glob("p[0-9][0-9]_*.py"))}
    if unknown := wanted - known.keys():
        print(f"no benchmark for {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    rows = []
    for number, path in known.items():
        if wanted and number not in wanted:
            continue
        print(f"{number} {path.stem} …", file=sys.stderr, flush=True)
        rows += _run(path, quick=arguments.quick)
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    machine = f"{_cpu()}, {psutil.cpu_count()} cores, {system}"
    when = datetime.now(UTC).isoformat(timespec="seconds")
    for row in rows:
        row |= {"machine": machine, "when": when}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    _print(rows, machine)
    if arguments.docs:
        _document(rows, machine, when)
    return 0


def _run(path: Path, *, quick: bool) -> list[dict[str, Any]]:
    """In a process of its own: what one benchmark has loaded is neither there nor collected while another measures."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_rows, path, quick).result()


def _rows(path: Path, quick: bool) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows: list[dict[str, Any]] = module.run(quick=quick)
    return rows


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _print(rows: list[dict[str, Any]], machine: str) -> None:
    table = Table(title=machine)
    for column in ("", "what", "ours", "peer", "unit", "ratio", "target", "met"):
        table.add_column(column, justify="right" if column in {"ours", "peer", "ratio"} else "left")
    for row in rows:
        table.add_row(
            *(row["id"], row["what"], _number(row["ours"]), _number(row["peer"]), row["unit"]),
            *(_number(row["ratio"]), row["target"], "yes" if row["met"] else "[bold]no[/bold]"),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _document(rows: list[dict[str, Any]], machine: str, when: str) -> None:
    lines = [f"{machine}, {when[:10]}.", "", "| target | what | ours | peer | unit | ratio | to reach | met |"]
    lines.append("| --- | --- | ---: | ---: | --- | ---: | --- | --- |")
    for row in rows:
        ours, peer, ratio = (_number(row[key]) for key in ("ours", "peer", "ratio"))
        met = "yes" if row["met"] else "**no**"
        lines.append(
            f"| {row['id']} | {row['what']} | {ours} | {peer} | {row['unit']} | {ratio} | {row['target']} | {met} |"
        )
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
