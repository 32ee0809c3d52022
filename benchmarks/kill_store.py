"""Kill a recorder in every phase and at random moments, and check the store each time."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from neogate_lab.history.phases import PHASES
from tests.history.crash import Lives

_LIVES = 10  # of one store: its checks grow with what is in it


def kill(folder: Path, phase: str, kills: int) -> tuple[str, int, int, int, float]:
    chance = Random(phase)
    told = orphans = 0
    slowest = 0.0
    lives = Lives(folder / f"{phase}0")
    for number in range(kills):
        if number % _LIVES == 0:
            lives = Lives(folder / f"{phase}{number}")
        lives.live(phase, chance)
        lives.check()
        if lives.lives == _LIVES or number == kills - 1:
            told += sum(map(len, lives.told.values()))
            orphans += lives.orphans
            slowest = max(slowest, lives.slowest_open_s)
    return phase, kills, told, orphans, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each phase")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="neogate-kill-"))
    start = time.monotonic()
    try:
        with ThreadPoolExecutor(4) as pool:
            rows = list(
                pool.map(lambda phase: kill(folder, phase, options.kills), (*PHASES, "random"))
            )
    finally:
        shutil.rmtree(folder)
    print(
        f"{'killed when':12} {'kills':>6} {'told':>8} {'orphans removed':>16} {'slowest open':>13}"
    )
    for phase, kills, told, orphans, slowest in rows:
        print(f"{phase:12} {kills:6} {told:8} {orphans:16} {slowest * 1e3:10.0f} ms")
    total = sum(row[1] for row in rows)
    print(f"{total} kills in {time.monotonic() - start:.0f} s: everything told is there once,")
    print("no segment is listed twice or left over")


if __name__ == "__main__":
    main()
