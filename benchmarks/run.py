"""Runs all contests, or some, and prints one table; it never decides a test."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import importing, ingest, parse, plot, round_trip
from benchmarks.contest import Result, table

__all__ = ["main"]


def main() -> None:
    """Run what the command line asks for."""
    beside = Path("artifacts")  # not in /tmp, which may be memory: a disk is measured
    beside.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=beside) as name:
        folder = Path(name)
        contests: dict[str, Callable[[int], list[Result]]] = {
            "parse": parse.run,
            "round-trip": round_trip.run,
            "ingest": lambda rounds: ingest.run(rounds, folder),
            "import": importing.run,
            "plot": plot.run,
        }
        parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
        parser.add_argument("which", nargs="*", choices=[[], *contests], help="default: all")
        parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant")
        asked = parser.parse_args()
        results = [
            result for which in asked.which or contests for result in contests[which](asked.rounds)
        ]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {asked.rounds} rounds\n")
    print(table(results))


if __name__ == "__main__":
    main()
