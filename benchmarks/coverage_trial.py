"""Do the intervals of `compare` cover the truth? Radio data with known truth says; no test does.

    python -m benchmarks.coverage_trial            1000 runs a cell, several minutes on 4 cores
    python -m benchmarks.coverage_trial --runs 200 --seed 7

A run is two sides of one port, one after the other, of a signal that fades as an AR(1) process from
refresh to refresh, whose driver renews its value on its own clock (and shows what it has until
then, whatever was changed), and which is rounded to CSQ and read every 10 s. The true means lie
anywhere within the steps of CSQ. Everything is estimated from the readings alone, by the code that
`compare` runs, the refresh period too. The second table is of conditions for which the method was
not chosen: other fading and refresh periods, missed ticks, sides of unequal length, and fading
that begins anew on the other side ("apart"), where the trial's usual one goes on.

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
    minutes: tuple[int, int]
    refresh: float
    noise: float
    memory: float
    missed: float = 0.0
    apart: bool = False


def faded(cell: Cell, runs: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """The AR(1) process, with a variance of 1, from refresh to refresh, (runs, length)."""
    fading = rng.standard_normal((length, runs))
    for i in range(1, length):
        fading[i] = cell.memory * fading[i - 1] + np.sqrt(1 - cell.memory**2) * fading[i]
    return fading.T


def simulate(cell: Cell, runs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True means (runs, 2) and what is read, (runs, ticks), in dBm; NaN is a missed tick."""
    border = 60.0 * cell.minutes[0]
    ticks = np.arange(0, border + 60 * cell.minutes[1], EVERY)
    phase = rng.random((runs, 1)) * cell.refresh
    shown = np.floor((ticks + phase) / cell.refresh).astype(int)
    fading = faded(cell, runs, int(shown.max()) + 1, rng)
    truth = 15 + rng.random((runs, 2))
    side = shown * cell.refresh - phase >= border
    level = np.take_along_axis(truth, side.astype(int), axis=1)
    noise = np.take_along_axis(fading, shown, axis=1)
    if cell.apart:
        fading = faded(cell, runs, fading.shape[1], rng)
        noise = np.where(side, np.take_along_axis(fading, shown, axis=1), noise)
    csq = np.rint(level + cell.noise * noise)
    csq[rng.random(csq.shape) < cell.missed] = np.nan
    return -113 + 2 * truth, -113 + 2 * csq


def judge(value: np.ndarray, border: int) -> tuple[float, float, float, float]:
    """Difference b - a, half of its interval, half of the plain one, and the refresh period."""
    there = np.flatnonzero(~np.isnan(value))
    group = (there >= border).astype(int)
    time, value = there * EVERY, value[there]
    refresh = readings.refresh_period(time, value)
    used = readings.UNSEEN_REFRESH if np.isnan(refresh) else refresh
    told = readings.means(*readings.thinned(group, time, value, np.full(len(time), used)), 2)
    error = told.error.sum()
    freedom = error**2 / (told.error**2 / told.freedom).sum()
    half = float(readings.student(np.asarray(freedom)) * np.sqrt(error))
    a, b = value[group == 0], value[group == 1]
    plain = 1.96 * np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(b.mean() - a.mean()), half, float(plain), refresh


def trial(job: tuple[Cell, int, int]) -> tuple[float, ...]:
    cell, runs, seed = job
    parts = (*cell.minutes, cell.refresh, 10 * cell.noise, 100 * (1 + cell.memory))
    rng = np.random.default_rng([seed, *(round(part) for part in parts)])
    truth, value = simulate(cell, runs, rng)
    border = round(60 * cell.minutes[0] / EVERY)
    middle, half, plain, refresh = np.array([judge(each, border) for each in value]).T
    off = middle - (truth[:, 1] - truth[:, 0])
    told = ~np.isnan(refresh)
    near = np.abs(refresh[told] / max(cell.refresh, EVERY) - 1) <= 0.1
    return (
        100 * float(np.mean(np.abs(off) <= half)),
        100 * float(np.mean(np.abs(off) > half)),
        100 * float(np.mean(off + SHIFT > half)),
        float(np.median(half)),
        100 * float(told.mean()),
        100 * float(near.mean()) if told.any() else np.nan,
        100 * float(np.mean(np.abs(off) <= plain)),
    )


def cells() -> Iterator[Cell]:
    for minutes, refresh, noise, memory in product(MINUTES, REFRESH, NOISE, MEMORY):
        yield Cell((minutes, minutes), refresh, noise, memory)


def other_cells() -> Iterator[Cell]:
    for minutes in (10, 25, 120):
        for refresh, noise, memory in product((15.0, 30.0), (0.7, 1.5), (-0.2, 0.3, 0.65)):
            yield Cell((minutes, minutes), refresh, noise, memory)
    for refresh, noise, memory in product((10.0, 60.0), (0.4, 1.0), MEMORY):
        yield Cell((30, 30), refresh, noise, memory, missed=0.2)
        yield Cell((10, 10), refresh, noise, memory, apart=True)
        yield Cell((10, 120), refresh, noise, memory, apart=True)


def table(grid: list[Cell], results: list[tuple[float, ...]], runs: int) -> None:
    print("| min | refresh | noise | AR(1) | covered | alarm | power | half | refresh | plain |")
    print("|----:|--------:|------:|------:|--------:|------:|------:|-----:|--------:|------:|")
    for cell, (cover, alarm, power, half, told, near, plain) in zip(grid, results, strict=True):
        mark = "" if 93 <= cover <= 97 else " low" if cover < 93 else " high"
        a, b = cell.minutes
        length = f"{a}" if a == b else f"{a} and {b}"
        length += f", {cell.missed:.0%} missed" if cell.missed else ", apart" if cell.apart else ""
        what = f"{length} | {cell.refresh:.0f} | {cell.noise} | {cell.memory}"
        print(
            f"| {what} | {cover:.1f}{mark} | {alarm:.1f} | {power:.0f} | {half:.1f} "
            f"| {told:.0f}/{near:.0f} | {plain:.0f} |"
        )
    covered = np.array([result[0] for result in results])
    low, high = np.sum(covered < 93), np.sum(covered > 97)
    print(f"\n{runs} runs a cell: of {len(covered)} cells {len(covered) - low - high} within "
          f"93-97 %, {low} below, {high} above\n")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage_trial")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.processes) as pool:
        for grid in (list(cells()), list(other_cells())):
            jobs = [(cell, asked.runs, asked.seed) for cell in grid]
            table(grid, list(pool.map(trial, jobs)), asked.runs)


if __name__ == "__main__":
    main()
