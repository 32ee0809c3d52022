"""Kill a process in the middle of a batch of SMS, many times in each phase; print what came of it.

Usage: ``python -m benchmarks.kill_outbox [KILLS]``. It fails when an SMS went out twice, or
was left out without being reported as unknown.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.killing import PHASES, SIZE, Outcome, kill_and_resume

COLUMNS = ("sent", "unknown", "unknown_gone_out", "twice", "lost")


def one(number: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return kill_and_resume(Path(folder) / "lab.neogate", PHASES[number % len(PHASES)], number)


def main(kills: int) -> int:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(one, range(kills)))
    print(f"{'phase':<18}{'batches':>8}{'SMS':>6}", *(f"{name:>17}" for name in COLUMNS), sep="")
    for phase in (*PHASES, "all"):
        chosen = [outcome for outcome in outcomes if phase in (outcome.phase, "all")]
        sums = [sum(getattr(outcome, name) for outcome in chosen) for name in COLUMNS]
        numbers = "".join(f"{total:>17}" for total in sums)
        print(f"{phase:<18}{len(chosen):>8}{SIZE * len(chosen):>6}{numbers}")
    return int(any(outcome.twice or outcome.lost for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 102))
