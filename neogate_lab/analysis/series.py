"""Values in the order of time: refresh periods and independent readings; never a comparison."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab.analysis import readings
from neogate_lab.analysis.counts import Counts, numbered
from neogate_lab.analysis.tables import fetch, since_1970, stretch_of

__all__ = ["in_order", "independent", "refresh_by_port", "series"]

Array = np.ndarray[Any, Any]

_MOST_ROWS = 1_000_000
"""Up to so many rows are looked at one after the other; of longer tables, stretches all over."""

_SAMPLE = 250_000
_STRETCHES = 25

_PORT = ["gateway", "port"]


def series(table: Any, keys: list[str], stretch: int | None, counts: Counts) -> pd.DataFrame:
    """Fetch values in the order of time, all of them or those of stretches all over a long table.

    Parameters
    ----------
    table : ibis.Table
        With the columns of `keys`, gateway, port, time, ok and rssi_dbm.
    keys : list of str
        Columns to fetch.
    stretch : int, optional
        Also add `bucket`, as of `counted`.
    counts : Counts
        What `counted` said of the same table.

    Returns
    -------
    DataFrame
        gateway, port, the keys, `second` since 1970 and `value`, NaN is none; as `in_order` sorts.
    """
    names = list(dict.fromkeys([*_PORT, *keys]))
    rows = int(counts.count.sum())
    time = since_1970(table.time)
    if rows > _MOST_ROWS:
        first, last = _span(table, stretch, counts)
        period = max((last - first) // _STRETCHES, 1)
        width = max(int(period * _SAMPLE / rows), 1)
        table = table.filter(((time - first) % period).between(0, width - 1))
    value = table.ok.ifelse(table.rssi_dbm, None)
    # Under names of their own: groups may be made of any column, time and port among them.
    found = fetch(table.select(*names, n_time=since_1970(table.time), n_value=value))
    tick = found.pop("n_time").to_numpy(np.int64)
    if stretch is not None:
        found["bucket"] = stretch_of(tick, stretch)
    found["second"] = tick / 1e6
    found["value"] = found.pop("n_value").to_numpy(float, na_value=np.nan)
    return in_order(found)


def _span(table: Any, stretch: int | None, counts: Counts) -> tuple[int, int]:
    """From when to when nearly all rows are; a clock may be decades off for a few."""
    if stretch is None:
        stretch = 3600
        hours = table.mutate(hour=stretch_of(since_1970(table.time), stretch))
        found = fetch(hours.group_by("hour").aggregate(count=hours.count()))
        begin, count = found["hour"].to_numpy(), found["count"].to_numpy()
    else:
        begin, count = counts.first, counts.count
    low, high = np.quantile(begin, (0.01, 0.99), weights=count, method="inverted_cdf")
    first, last = max(int(low), counts.first.min()), int(high) + stretch * 1_000_000
    return int(first), int(min(last, counts.last.max()))


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by gateway, port and second, and the number of each port in `place`."""
    (place,), _ = numbered([rows], _PORT)
    order = np.argsort(rows["second"].to_numpy(), kind="stable")
    # Small numbers are sorted by radix.
    small = place.astype(np.int16) if place.max(initial=0) < 1 << 15 else place
    order = order[np.argsort(small[order], kind="stable")]
    return rows.assign(place=place).take(order).reset_index(drop=True)


def refresh_by_port(rows: pd.DataFrame) -> Array:
    """The refresh period of each row's port, in seconds; `rows` as `series` gives them."""
    return _refresh(rows)[rows["place"]]


def _refresh(rows: pd.DataFrame) -> Array:
    """The refresh period of each port, in seconds; NaN where too few changes show it."""
    place = rows["place"].to_numpy()
    ends = np.searchsorted(place, np.arange(place.max(initial=-1) + 2))
    second, value = rows["second"].to_numpy(), rows["value"].to_numpy()
    return np.array(
        [
            readings.refresh_period(second[start:end], value[start:end])
            for start, end in pairwise(ends)
        ]
    )


def independent(rows: pd.DataFrame, counts: Counts) -> pd.DataFrame:
    """Refresh period and number of independent readings of each group.

    Parameters
    ----------
    rows : DataFrame
        What `series` gave for the same groups.
    counts : Counts
        The groups.

    Returns
    -------
    DataFrame
        refresh_s and n_independent, one row a group.
    """
    names = list(counts.keys.columns)
    total = len(counts.keys)
    (group, known), _ = numbered([rows, counts.keys], names)
    group, there = _placed(group, known)  # a table that grows has new groups by now
    rows, group = rows[there], group[there]
    place, refresh = rows["place"].to_numpy(), _refresh(rows)
    if set(_PORT) <= set(names):
        begin = np.flatnonzero(np.diff(place, prepend=-1))
        (port, known), _ = numbered([counts.keys, rows[_PORT].take(begin)], _PORT)
        port, seen = _placed(port, known)
        port = np.append(place[begin], len(refresh))[port]
        usual = np.where(seen, np.append(refresh, np.nan)[port], np.nan)
    else:
        pairs = pd.DataFrame({"group": group, "refresh": refresh[place], "place": place})
        pairs = pairs.drop_duplicates(["group", "place"])
        port, seen = np.zeros(total, np.int64), np.zeros(total, bool)
        usual = pairs.groupby("group")["refresh"].median().reindex(range(total)).to_numpy()
    told, of = _told(rows, group, place, refresh, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Stretches leave groups out: those go by their port, or by all.
        alike = told.sum() / of.sum()
        if seen.any():
            parts = [np.bincount(port[seen], each[seen], len(refresh)) for each in (told, of)]
            by_port = np.where(parts[1] > 0, parts[0] / parts[1], alike)
            alike = np.where(seen, np.append(by_port, alike)[port], alike)
        share = np.where(of > 0, told / of, alike)
    n_values = counts.total(np.where(np.isnan(counts.value), 0, counts.count))
    told = np.where(n_values > 0, share * n_values, 0.0)
    return pd.DataFrame({"refresh_s": usual, "n_independent": told})


def _placed(number: Array, known: Array) -> tuple[Array, Array]:
    """Where each number stands among the known ones, which rise; and whether it does."""
    place = np.searchsorted(known, number)
    found = np.append(known, -1)[place] == number
    return np.where(found, place, len(known)), found


def _told(
    rows: pd.DataFrame, group: Array, place: Array, refresh: Array, total: int
) -> tuple[Array, Array]:
    """Independent readings of each group, and from how many readings they were counted."""
    value = rows["value"].to_numpy()
    valued = ~np.isnan(value)
    # Ports in one group are series of their own, whose independent readings add up.
    code = (group * len(refresh) + place)[valued]
    order = np.argsort(code, kind="stable")
    code = code[order]
    new = np.ones(len(code), bool)
    new[1:] = code[1:] != code[:-1]
    part = np.cumsum(new) - 1
    used = np.where(np.isnan(refresh), readings.UNSEEN_REFRESH, refresh)
    second, value, each = (
        array[valued][order] for array in (rows["second"].to_numpy(), value, used[place])
    )
    thin = readings.thinned(part, second, value, each)
    owner = code[new] // max(len(refresh), 1)
    told = np.bincount(owner, readings.means(*thin, int(new.sum())).independent, total)
    return told, np.bincount(group[valued], minlength=total)
