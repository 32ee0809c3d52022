"""How often each value occurs in each group: counted by an engine, judged here alike for all.

CSQ has 32 values, so that a count of each says everything about a group; means, medians and
quantiles come from the counts and are the same on every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab.analysis.tables import fetch, micros, since_1970, stretch_of

__all__ = ["Counts", "Quantiles", "counted", "numbered"]

Array = np.ndarray[Any, Any]

_DENSE = 1 << 26
"""Up to so many possible groups are looked up in a table; more are sorted."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each value occurs in each group.

    Arrays have one element for each group and value: `group`, 0 … len(keys) - 1; `value`, NaN is
    none; how many rows had it, were `answered`, and `registered` as well; and `first` and `last` of
    them, or of their stretch of time, in microseconds since 1970. `keys` has one row a group,
    sorted.
    """

    keys: pd.DataFrame
    group: Array
    value: Array
    count: Array
    answered: Array
    registered: Array
    first: Array
    last: Array

    def total(self, what: Array) -> Array:
        """The sum of one of the arrays, for each group."""
        return np.bincount(self.group, what, len(self.keys))

    def availability(self) -> pd.DataFrame:
        """n, n_answered, n_registered, measured and availability of each group."""
        n, answered, registered = map(self.total, (self.count, self.answered, self.registered))
        with np.errstate(invalid="ignore", divide="ignore"):
            return pd.DataFrame(
                {
                    "n": n,
                    "n_answered": answered,
                    "n_registered": registered,
                    "measured": answered / n,
                    "availability": registered / answered,
                }
            )

    def strength(self) -> pd.DataFrame:
        """Counts, mean and quantiles of the values of each group."""
        there = ~np.isnan(self.value)
        group, value, count = (each[there] for each in (self.group, self.value, self.count))
        total = len(self.keys)
        n, n_values = self.total(self.count), np.bincount(group, count, total)
        quantile = Quantiles(group, value, count, total)
        median = quantile(0.5)
        spread = Quantiles(group, np.abs(value - median[group]), count, total)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(group, value * count, total) / n_values
        return pd.DataFrame(
            {
                "n": n,
                "n_values": n_values,
                "n_missing": n - n_values,
                "mean_dbm": mean,
                "median_dbm": median,
                "mad_db": spread(0.5),
                "p10_dbm": quantile(0.1),
                "p90_dbm": quantile(0.9),
                "n_no_value": self.total(np.where(there, 0, self.registered)),
            }
        )


def counted(table: Any, keys: list[str], stretch: int | None = None) -> Counts:
    """Count the values of `signal` in each group.

    Parameters
    ----------
    table : ibis.Table
        With the columns of `keys`, time, ok, registered and rssi_dbm.
    keys : list of str
        Columns that make a group.
    stretch : int, optional
        Also group by stretches of so many seconds: `bucket` in the keys, their start in
        microseconds since 1970.
    """
    names = list(keys)
    if stretch is not None:
        table = table.mutate(bucket=stretch_of(since_1970(table.time), stretch))
        names.append("bucket")
    # Under names of its own: groups may be made of rssi_dbm or registered, too.
    table = table.mutate(n_value=table.ok.ifelse(table.rssi_dbm, None))
    span = {}
    if stretch is None:
        span = {"n_first": table.time.min(), "n_last": table.time.max()}
    rows = fetch(
        table.group_by([*names, "n_value"]).aggregate(
            n_rows=table.count(),
            n_answered=table.count(where=table.ok),
            n_registered=table.count(where=table.ok & table.registered),
            **span,
        )
    )
    if stretch is None:
        first, last = (micros(rows[name]) for name in span)
    else:
        first = rows["bucket"].to_numpy()
        last = first + stretch * 1_000_000
    (group,), there = numbered([rows], names)
    # Spark says missing, not 0, where the condition is missing in all rows.
    n_rows, n_answered, n_registered = (
        rows[name].fillna(0).to_numpy() for name in ("n_rows", "n_answered", "n_registered")
    )
    value = rows["n_value"].to_numpy(float, na_value=np.nan)
    return Counts(there, group, value, n_rows, n_answered, n_registered, first, last)


def numbered(frames: Sequence[pd.DataFrame], names: list[str]) -> tuple[list[Array], pd.DataFrame]:
    """Number the groups that frames have in common by what their columns hold.

    Returns
    -------
    list of ndarray
        For each frame, each row's number.
    DataFrame
        The columns of each group in the order of the numbers: sorted, missing last.
    """
    whole = pd.concat([frame[names] for frame in frames], ignore_index=True)
    number, size = np.zeros(len(whole), np.int64), 1
    for name in names:
        codes, words = pd.factorize(whole[name], sort=True)
        if size * (len(words) + 1) >= 1 << 62:
            number, size = _ranked(number, size)
        codes = np.where(codes < 0, len(words), codes)
        number, size = number * (len(words) + 1) + codes, size * (len(words) + 1)
    number, size = _ranked(number, size)
    first = np.empty(size, np.int64)
    first[number[::-1]] = np.arange(len(number) - 1, -1, -1)
    ends = np.cumsum([len(frame) for frame in frames])
    return np.split(number, ends[:-1]), whole.take(first).reset_index(drop=True)


def _ranked(number: Array, size: int) -> tuple[Array, int]:
    """The same order with no number left out, and how many there are."""
    if size > _DENSE:
        found, rank = np.unique(number, return_inverse=True)
        return rank, len(found)
    there = np.zeros(size, bool)
    there[number] = True
    rank = np.cumsum(there) - 1
    return rank[number], int(there.sum())


class Quantiles:
    """Quantiles of groups of counted values, interpolated as numpy and DuckDB do."""

    def __init__(self, group: Array, value: Array, count: Array, groups: int) -> None:
        low, high = (value.min(), value.max()) if len(value) else (0.0, 0.0)
        order = np.argsort(group * (high - low + 1) + (value - low))
        self._value = value[order]
        self._upto = np.cumsum(count[order])
        self._n = np.bincount(group, count, groups).astype(np.int64)
        self._start = np.cumsum(self._n) - self._n

    def __call__(self, share: float) -> Array:
        """The value of each group below which this share of its values lies; NaN for no values."""
        if not len(self._value):
            return np.full(len(self._n), np.nan)
        place = share * (self._n - 1)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, self._n - 1)
        below, above = (self._at(each) for each in (low, high))
        found = below + (above - below) * (place - low)
        return np.where(self._n > 0, found, np.nan)

    def _at(self, place: Array) -> Array:
        index = np.searchsorted(self._upto, self._start + place, side="right")
        found: Array = self._value[np.minimum(index, len(self._value) - 1)]
        return found
