"""How many independent readings a series of cached, rounded values holds; pure arithmetic.

The driver caches its value (WIRE §4), so a repeat is no new observation. A series is thinned to
one reading a refresh, and the readings' number is corrected for what each remembers of the one
before. `benchmarks/coverage_trial.py` is the trial by which this method was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

__all__ = [
    "UNSEEN_REFRESH",
    "Means",
    "means",
    "refresh_period",
    "rounding",
    "student",
    "thinned",
]

Array = np.ndarray[Any, Any]

UNSEEN_REFRESH = 60.0
"""Seconds taken for a refresh period that too few changes show: the longest that is usual."""

_STEP = 2.0
"""dB between neighbouring values of CSQ (3GPP TS 27.007 §8.5)."""

_FEWEST_CHANGES = 5
_CHUNK = 48
_DARK = 60  # ticks
_MOST_STRETCHES = 9
_MOST_CANDIDATES = 40_000
_MOST_BATCHES = 60
"""Longer series are averaged to so many batches first: what is remembered over long, and the
rounding noise that hides it between neighbours, both show in batches."""


def refresh_period(time: Array, value: Array) -> float:
    """Find how often the cached value is renewed, from the lengths of runs of equal values.

    All changes of a value that is renewed every `R` seconds stand on a lattice of distance `R`, to
    a tick. The largest `R` that the changes keep to is taken, in stretches short enough for the
    lattice not to drift away, and the median of the stretches.

    Parameters
    ----------
    time : ndarray of float, shape (n,)
        Seconds, rising.
    value : ndarray of float, shape (n,)
        Readings; NaN is none.

    Returns
    -------
    float
        Seconds, never less than the distance of ticks; NaN where too few changes were seen to tell,
        or where they keep to no period, or to none better than to a shorter one.
    """
    if len(time) < 3:
        return np.nan
    passed = np.diff(time)
    tick = float(np.median(passed))
    if tick <= 0:
        return np.nan
    known = ~np.isnan(value)
    change = known[1:] & known[:-1] & (value[1:] != value[:-1]) & (passed < 1.5 * tick)
    at = time[1:][change] / tick
    if len(at) < _FEWEST_CHANGES:
        return np.nan
    # Nobody knows what the lattice did while nothing was read for long.
    dark = np.flatnonzero(passed > _DARK * tick)
    piece = np.searchsorted(dark, np.flatnonzero(change))
    pieces = np.split(at, np.flatnonzero(np.diff(piece)) + 1)
    stretches = [
        stretch
        for part in pieces
        for stretch in np.array_split(part, max(1, len(part) // _CHUNK))
        if len(stretch) >= _FEWEST_CHANGES
    ]
    if len(stretches) > _MOST_STRETCHES:
        stretches = stretches[:: -(-len(stretches) // _MOST_STRETCHES)]
    found = np.array([_lattice(stretch - stretch[0]) for stretch in stretches])
    seen = found[~np.isnan(found)]
    return float(np.median(seen)) * tick if len(seen) and 2 * len(seen) > len(found) else np.nan


def _lattice(at: Array) -> float:
    """The largest distance, in ticks, of a lattice to which `at` keeps; NaN for none.

    One change in twelve may be off it: another label, a restart.
    """
    runs = np.sort(np.diff(at))
    shortest = round(runs[int(0.12 * len(runs))])
    low, high = max(1.0, 0.45 * shortest), shortest + 1.0
    # Neighbouring candidates part by a quarter of a tick over the whole stretch.
    count = int(np.log(high / low) * 4 * float(at[-1])) + 2
    candidates = np.geomspace(high, low, min(count, _MOST_CANDIDATES))
    phase = np.sort(np.mod(at, candidates[:, None]), axis=1)
    kept = len(at) - (len(at) // 12 if shortest >= 2 else 0)
    around = np.concatenate([phase, phase + candidates[:, None]], axis=1)
    arc = (around[:, kept - 1 : kept - 1 + len(at)] - phase).min(axis=1)
    # How likely all changes lie within a tick by chance: every tick is a lattice already, so one
    # of one to two ticks has to be told from it among all the candidates.
    tries = len(candidates) if shortest < 2 else 1
    chance = tries * len(at) * comb(len(at), kept) * candidates ** (1.0 - kept)
    fits = (arc < 1.0) & (chance < 0.05)
    if not fits.any():
        return 1.0 if shortest < 2 else np.nan
    first = int(np.argmax(fits))
    rest = np.flatnonzero(~fits[first:])
    last = first + (int(rest[0]) if len(rest) else len(fits) - first)
    best = first + int(np.argmin(arc[first:last]))
    # Few changes keep to many a distance: not to be told where the shortest run keeps them better.
    short = int(np.argmin(np.abs(candidates - shortest)))
    if 2 <= shortest < 0.9 * candidates[best] and arc[short] < arc[best]:
        return np.nan
    return float(candidates[best])


def thinned(group: Array, time: Array, value: Array, refresh: Array) -> tuple[Array, Array, Array]:
    """Keep one reading a refresh.

    Parameters
    ----------
    group, time, value, refresh : ndarray, shape (n,)
        Sorted by group, then time; `refresh` in seconds.

    Returns
    -------
    group, slot, value : ndarray
        Of the last reading in each slot of one refresh.
    """
    # A hair is added, so that ticks on the slots' borders all fall on the same side.
    slot = np.floor(time / refresh + 1e-6).astype(np.int64)
    last = np.ones(len(slot), dtype=bool)
    last[:-1] = (slot[1:] != slot[:-1]) | (group[1:] != group[:-1])
    return group[last], slot[last], value[last]


@dataclass(frozen=True, slots=True)
class Means:
    """What thinned readings say of each group's mean; arrays of one element a group.

    `error` is the variance of the mean in dB², rounding to whole CSQ included; `freedom` its
    degrees of freedom; `spread` the variance of the readings; `independent` how many independent
    readings would tell as much. NaN where there are fewer than two readings.
    """

    spread: Array
    error: Array
    freedom: Array
    independent: Array


def means(group: Array, slot: Array, value: Array, groups: int) -> Means:
    """Judge the means of groups of thinned readings.

    The readings of a group are averaged to at most 60 batches, whose autocorrelation at lag one is
    r: of their variance without the noise of rounding (Sheppard's step²/12, but at most a fifth: a
    signal that hardly moves rounds to less). In n batches of a signal that remembers ρ it is
    ρ - (1 + 4 ρ) / n on average (Marriott and Pope 1954), which is solved for ρ. It may be
    negative: cut off at 0, chance alone would widen the interval. The mean's variance is
    (1 + ρ) / (1 - ρ) times that of independent readings, or about (1 + ρ - ρ²) / (1 - ρ) times that
    of batches, which are smoothed already. The degrees of freedom are those of the variance of such
    a series, (n - 1) (1 - ρ²) / (1 + ρ²). That ρ is an estimate too takes no more of them: the
    factor grows faster than ρ, and so is too large on average, the more so the fewer batches there
    are. What rounding hides is added; it is bounded, not estimated, and takes none either.

    Parameters
    ----------
    group, slot, value : ndarray, shape (n,)
        As `thinned` gives them; groups are 0 … groups - 1.
    groups : int
        How many there are.
    """
    n = np.bincount(group, minlength=groups).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(group, value, groups) / n
        spread = np.bincount(group, (value - mean[group]) ** 2, groups) / (n - 1)
        size = np.maximum(1, np.ceil(n / _MOST_BATCHES)).astype(np.int64)
        batch = slot // size[group]
        new = np.ones(len(batch), dtype=bool)
        new[1:] = (batch[1:] != batch[:-1]) | (group[1:] != group[:-1])
        number = np.cumsum(new) - 1
        owner, place = group[new], batch[new]
        level = np.bincount(number, value) / np.bincount(number) if len(value) else value
        count = np.bincount(owner, minlength=groups).astype(float)
        centre = np.bincount(owner, level, groups) / count
        off = level - centre[owner]
        near = (owner[1:] == owner[:-1]) & (place[1:] == place[:-1] + 1)
        square = np.bincount(owner, off**2, groups) / count
        product = np.bincount(owner[1:][near], (off[1:] * off[:-1])[near], groups) / count
        white = np.minimum(_STEP**2 / 12 / size, square / 5)
        signal = square - white
        r = np.where(signal > 0, product / signal, 0.0)
        r = np.clip((count * r + 1) / np.maximum(count - 4, 1), -0.5, 0.97)
        factor = np.minimum((1 + r - r**2 * (size > 1)) / (1 - r), 0.8 * count)
        sampling = signal * factor / (count - factor) + white / count
        # However equal all were, the next may be a step off.
        sampling = np.maximum(sampling, (_STEP / n) ** 2)
        error = sampling + rounding(spread)
        freedom = (count - 1) * (1 - r**2) / (1 + r**2)
        freedom = np.maximum(freedom, 1.0) * (error / sampling) ** 2
        independent = np.where(spread > 0, np.clip(spread / sampling, 1.0, n), n)
        nothing = n < 2
        return Means(
            spread=np.where(nothing, np.nan, spread),
            error=np.where(nothing, np.nan, error),
            freedom=freedom,
            independent=np.where(nothing, n, independent),
        )


def rounding(spread: Array) -> Array:
    """Variance in dB² of what rounding to CSQ adds to a mean, unknown where within the step it is.

    Noise of a step or more makes rounding harmless; a signal that never leaves its step may be
    anywhere in it. The first terms of the Fourier series of the rounding error (Sheppard).
    """
    sigma2 = np.maximum(spread / _STEP**2 - 1 / 12, 0.0)
    amplitudes = [
        _STEP / (np.pi * k) * np.exp(-2 * (np.pi * k) ** 2 * sigma2) for k in (1, 2, 3, 4)
    ]
    return np.asarray(sum(amplitude**2 / 2 for amplitude in amplitudes))


def student(freedom: Array) -> Array:
    """The 97.5 % point of Student's t (Cornish-Fisher series), exact for one and two degrees."""
    z, f = 1.959963985, np.maximum(freedom, 3.0)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    series = z + sum(term / f ** (k + 1) for k, term in enumerate(terms))
    low = np.exp(np.interp(freedom, [1.0, 2.0, 3.0], np.log([12.7062, 4.3027, 3.1824])))
    return np.asarray(np.where(freedom < 3.0, low, series))
