"""`python -m tests.fuzz --reader bvh --count 100000 --out FOLDER`: damaged files for a reader, and figures as JSON.

A run writes a file of figures after every piece and goes on from there; `--table FOLDER` prints all figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fuzz.readers import READERS, run

PIECE = 2500  # inputs between two files of figures
_COUNTS = ("count", "read", "refused", "warned", "slow_once")


def main() -> None:
    """Runs a reader, or prints what runs have found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--reader", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--count", type=int, default=1000, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder of the figures; without one they are printed alone")
    parser.add_argument("--table", type=Path, help="print the figures of a folder, and do nothing else")
    parser.add_argument("--keep", type=Path, help="write the inputs of the numbers that are given with --numbers here")
    parser.add_argument("--numbers", type=int, nargs="+", default=[])
    given = parser.parse_args()
    logging.getLogger("hmr4d").setLevel(logging.WARNING)
    if given.table is not None:
        sys.stdout.write(table(given.table))
        return
    if given.numbers:
        for name in given.reader:
            _repeat(name, given.numbers, given.seed, given.keep)
        return
    for first in range(0, given.count, PIECE):  # all readers in turn
        for name in given.reader:
            numbers = range(first, min(first + PIECE, given.count))
            path = None if given.out is None else given.out / f"{name}_{given.seed}_{first:06d}_{len(numbers)}.json"
            if path is None or not path.exists():
                _piece(name, numbers, given.seed, path)


def _piece(name: str, numbers: range, seed: int, path: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(name, numbers, seed, Path(folder))
    figures = {"reader": name, "seed": seed, "first": numbers.start, "count": len(numbers), **asdict(outcome)}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.stdout.write(
        f"{name} {numbers.start}+{len(numbers)}: {outcome.read} read ({outcome.warned} with a warning), "
        f"{outcome.refused} refused, {outcome.num_faults} faults, slowest {outcome.slowest:.2f} s, "
        f"{outcome.memory:.0f} MB\n"
    )
    for what, (count, first) in sorted(outcome.faults.items(), key=lambda item: -item[1][0]):
        sys.stdout.write(f"  {count} times, first input {first}: {what}\n")
    sys.stdout.flush()


def _repeat(name: str, numbers: list[int], seed: int, keep: Path | None) -> None:
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) if keep is None else keep / f"{name}_{number}"
            place.mkdir(parents=True, exist_ok=True)
            _piece(name, range(number, number + 1), seed, None)
            if keep is not None:
                run(name, range(number, number + 1), seed, place)


def table(folder: Path) -> str:
    """The figures of a folder, a line for each reader."""
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        row = rows.setdefault(figures["reader"], {key: 0 for key in _COUNTS} | {"faults": {}})
        for key in _COUNTS:
            row[key] += figures.get(key, 0)
        for key in ("slowest", "memory"):
            row[key] = max(row.get(key, 0.0), figures[key])
        for what, (count, first) in figures["faults"].items():
            row["faults"].setdefault(what, [0, first])[0] += count
    lines = [
        "| reader | inputs | read | with a warning | refused | faults | slowest s | slow once | memory MB |",
        "|---|" + "---:|" * 8,
    ]
    for name, row in rows.items():
        faults = sum(count for count, _ in row["faults"].values())
        lines.append(
            f"| {name} | {row['count']} | {row['read']} | {row['warned']} | {row['refused']} | {faults} | "
            f"{row['slowest']:.2f} | {row['slow_once']} | {row['memory']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
