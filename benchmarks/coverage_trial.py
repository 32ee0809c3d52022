"""Do the intervals of `compare` cover the truth? Radio data with known truth says; no test does.

    python -m benchmarks.coverage_trial            1000 runs a cell, several minutes on 4 cores
    python -m benchmarks.coverage_trial --runs 200

A run is two sides of one port, one after the other, of a signal that fades as an AR(1) process from
refresh to refresh, whose driver renews its value on its own clock, and which is rounded to CSQ and
read every 10 s. The true means lie anywhere within the steps of CSQ. Everything is estimated from
the readings alone, by the code that `compare` runs, the refresh period too.

covered: the 95 % interval holds the true difference (to be: 93-97); alarm: without a difference,
one side is called better (to be: at most 5); power: 6 dB are called better; half: half of the
interval's width in dB (median); refresh: the period was told, and how often within 10 % if so.
"plain" is the interval from all readings as if they were independent: why all this is done.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np

from neogate_lab.analysis import readings

EVERY = 10.0
NOISE = (0.4, 1.0, 2.0)
MEMORY = (0.0, 0.5, 0.8)
REFRESH = (10.0, 20.0, 60.0)
MINUTES = (10, 30, 60, 180, 360)
SHIFT = 6.0


@dataclass(frozen=True)
class Cell:
    minutes: int
    refresh: float
    noise: float
    memory: float


def simulate(cell: Cell, runs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True means (runs, 2) in dBm and what is read, (runs, 2, ticks) in dBm; b is not shifted."""
    ticks = np.arange(0, 2 * 60 * cell.minutes, EVERY)
    shown = np.floor((ticks + rng.random((runs, 1)) * cell.refresh) / cell.refresh).astype(int)
    fading = rng.standard_normal((int(shown.max()) + 1, runs))
    for i in range(1, len(fading)):
        fading[i] = cell.memory * fading[i - 1] + np.sqrt(1 - cell.memory**2) * fading[i]
    side = (np.arange(len(ticks)) >= len(ticks) // 2).astype(int)
    truth = 15 + rng.random((runs, 2))
    level = truth[:, side]
    csq = np.rint(level + cell.noise * np.take_along_axis(fading.T, shown, axis=1))
    return -113 + 2 * truth, (-113 + 2 * csq).reshape(runs, 2, -1)


def judge(value: np.ndarray) -> tuple[float, float, float]:
    """Difference, half of its interval, and the refresh period, from (2, ticks) readings."""
    ticks = value.shape[1]
    time = np.arange(2 * ticks) * EVERY
    flat = value.reshape(-1)
    refresh = readings.refresh_period(time, flat)
    used = readings.UNSEEN_REFRESH if np.isnan(refresh) else refresh
    group = np.repeat([0, 1], ticks)
    told = readings.means(*readings.thinned(group, time, flat, np.full(2 * ticks, used)), 2)
    error = told.error.sum()
    freedom = error**2 / (told.error**2 / told.freedom).sum()
    half = float(readings.student(np.asarray(freedom)) * np.sqrt(error))
    return float(value[1].mean() - value[0].mean()), half, refresh


def trial(job: tuple[Cell, int]) -> tuple[float, ...]:
    cell, runs = job
    seed = [int(cell.minutes), int(cell.refresh), int(10 * cell.noise), int(10 * cell.memory)]
    truth, value = simulate(cell, runs, np.random.default_rng(seed))
    found = np.array([judge(each) for each in value])
    middle, half, refresh = found.T
    off = middle - (truth[:, 1] - truth[:, 0])
    told = ~np.isnan(refresh)
    near = np.abs(refresh[told] / max(cell.refresh, EVERY) - 1) <= 0.1
    spread = value.var(axis=2, ddof=1).sum(axis=1) / value.shape[2]
    return (
        100 * float(np.mean(np.abs(off) <= half)),
        100 * float(np.mean(np.abs(off) > half)),
        100 * float(np.mean(off + SHIFT > half)),
        float(np.median(half)),
        100 * float(told.mean()),
        100 * float(near.mean()) if told.any() else np.nan,
        100 * float(np.mean(np.abs(off) <= 1.96 * np.sqrt(spread))),
    )


def cells() -> Iterator[Cell]:
    for each in product(MINUTES, REFRESH, NOISE, MEMORY):
        yield Cell(*each)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage_trial")
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    grid = list(cells())
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(trial, [(cell, runs) for cell in grid]))
    print("| min | refresh | noise | AR(1) | covered | alarm | power | half | refresh | plain |")
    print("|----:|--------:|------:|------:|--------:|------:|------:|-----:|--------:|------:|")
    for cell, (cover, alarm, power, half, told, near, plain) in zip(grid, results, strict=True):
        mark = "" if 93 <= cover <= 97 else " low" if cover < 93 else " high"
        what = f"{cell.minutes} | {cell.refresh:.0f} | {cell.noise} | {cell.memory}"
        print(
            f"| {what} | {cover:.1f}{mark} | {alarm:.1f} | {power:.0f} | {half:.1f} "
            f"| {told:.0f}/{near:.0f} | {plain:.0f} |"
        )
    cover = np.array([result[0] for result in results])
    print(f"\n{runs} runs a cell: {np.mean((cover >= 93) & (cover <= 97)):.0%} of the cells within "
          f"93-97 %, {np.mean(cover < 93):.0%} below, {np.mean(cover > 97):.0%} above")  # fmt: skip


if __name__ == "__main__":
    main()
