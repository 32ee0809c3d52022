"""Rows of the table signal as tracks, one a port, cut where nobody measured; draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab.analysis.tables import Data, fetch, micros, opened
from neogate_lab.errors import InvalidRequest

__all__ = ["Band", "Track", "first_of_each", "outline", "tracks"]

Array = np.ndarray[Any, Any]

_JOIN = 1.5
"""Neighbours further apart than this many of their usual distances are not joined."""

_COLUMNS = ("time", "gateway", "port", "ok", "rssi_dbm", "rssi_bound", "registered", "label")
_MORE = ("survey", "network")


def _times(words: pd.Series) -> pd.Series:
    return pd.to_datetime(words, utc=True)


def _flags(words: pd.Series) -> pd.Series:
    return words.astype("boolean")


_KINDS: dict[str, tuple[str, Callable[[pd.Series], pd.Series]]] = {
    "time": ("times", _times),
    "port": ("numbers", pd.to_numeric),
    "rssi_dbm": ("numbers", pd.to_numeric),
    "ok": ("flags", _flags),
    "registered": ("flags", _flags),
}


@dataclass(frozen=True, slots=True)
class Band:
    """A label, and the times (datetime64, UTC) between which it was measured."""

    label: str
    start: np.datetime64
    end: np.datetime64


@dataclass(frozen=True, slots=True)
class Track:
    """One port of one gateway, in the order of time.

    Attributes
    ----------
    gateway, port
        Whose.
    times : array of datetime64[us]
        UTC.
    value : array of float
        dBm; NaN where there is none.
    breaks : array of int
        Rows between which and the row before it was not measured.
    no_value, at_most, at_least : array of int
        Rows registered without a value, and rows whose value is only a bound.
    bands : tuple of Band
        Runs of equal labels, cut where no port was measured; unlabelled time is left out.
    networks : tuple of str
        Those it was registered with.
    """

    gateway: str
    port: int
    times: Array
    value: Array
    breaks: Array
    no_value: Array
    at_most: Array
    at_least: Array
    bands: tuple[Band, ...]
    networks: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether it has no value at all."""
        return bool(np.isnan(self.value).all())


def tracks(data: Data) -> tuple[list[Track], list[str]]:
    """Part rows into tracks.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`, in any order.

    Returns
    -------
    list of Track
        Ordered by gateway and port.
    list of str
        Gateways of which no port is known: those that were never reached.

    Raises
    ------
    InvalidRequest
        `data` is neither, or lacks columns of the table `signal`.
    """
    rows = _ordered(_frame(data))
    known = (rows["port"].notna() & rows["time"].notna()).to_numpy(bool)
    dark: list[str] = []
    if not known.all():
        reached = set(rows["gateway"][known])
        dark = sorted(str(name) for name in set(rows["gateway"][~known]) - reached)
        rows = rows[known]
    if rows.empty:
        return [], dark
    return _Parted(rows).tracks(), dark


def _frame(data: Data) -> pd.DataFrame:
    if not isinstance(data, pd.DataFrame):
        data = fetch(opened(data, "signal", (*_COLUMNS, *_MORE)))
    missing = [name for name in _COLUMNS if name not in data.columns]
    if missing:
        raise InvalidRequest(
            f"this is no frame of the table signal: it has no column {', '.join(missing)}"
        )
    kept: pd.DataFrame = data[[*_COLUMNS, *(name for name in _MORE if name in data.columns)]]
    return kept


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of time, those without one last."""
    columns = {}
    for name, (words, convert) in _KINDS.items():
        try:
            columns[name] = convert(frame[name])
        except (ValueError, TypeError) as error:
            words = f"the column {name} of this frame does not hold {words}"
            raise InvalidRequest(words) from error
    frame = frame.assign(**columns)
    if not frame["time"].is_monotonic_increasing:
        frame = frame.sort_values("time", kind="stable")
    return frame


class _Parted:
    """Rows of all ports as arrays: first in the order of time, then port by port."""

    def __init__(self, rows: pd.DataFrame) -> None:
        gateway, self.gateways = _codes(rows["gateway"])
        self.port = rows["port"].to_numpy(np.int64)
        self.line = gateway * (int(self.port.max()) + 1) + self.port
        self.micros = micros(rows["time"])
        survey = _codes(rows["survey"])[0] if "survey" in rows else np.zeros_like(self.line)
        self.usual = _usual(self.micros, self.line * (int(survey.max()) + 1) + survey)
        self.label, self.labels = _codes(rows["label"])
        self.stretch = None
        if any(self.labels[1:]):
            # Counts the times when no port at all was measured.
            self.stretch = _parted(self.micros, self.usual, np.fmax).cumsum()
        self.gateway = gateway
        self.network, self.networks = np.zeros_like(self.line), [""]
        if "network" in rows:
            self.network, self.networks = _codes(rows["network"])
        ok = rows["ok"].to_numpy(bool, na_value=False)
        registered = rows["registered"].to_numpy(bool, na_value=False)
        value = rows["rssi_dbm"].to_numpy(float, na_value=np.nan)
        self.value = value if ok.all() else np.where(ok, value, np.nan)
        self.no_value = ok & registered & np.isnan(self.value)
        self.bound, self.bounds = _codes(rows["rssi_bound"])
        if (self.line[1:] != self.line[:-1]).any():
            self._sort()
        self.breaks = _parted(self.micros, self.usual, np.fmin)

    def _sort(self) -> None:
        _, line = np.unique(self.line, return_inverse=True)
        # Small numbers are sorted by radix.
        order = np.argsort(line.astype(np.int16) if line.max() < 1 << 15 else line, kind="stable")
        for name, each in vars(self).items():
            if isinstance(each, np.ndarray):
                setattr(self, name, each[order])

    def tracks(self) -> list[Track]:
        ends = np.flatnonzero(self.line[1:] != self.line[:-1]) + 1
        return [
            self._track(slice(start, end)) for start, end in pairwise([0, *ends, len(self.line)])
        ]

    def _track(self, rows: slice) -> Track:
        times = self.micros[rows].view("datetime64[us]")
        value = self.value[rows]
        network = self.network[rows]
        changes = np.r_[0, np.flatnonzero(network[1:] != network[:-1]) + 1]
        networks = dict.fromkeys(self.networks[code] for code in network[changes])
        return Track(
            gateway=self.gateways[self.gateway[rows.start]],
            port=int(self.port[rows.start]),
            times=times,
            value=value,
            breaks=np.flatnonzero(self.breaks[rows][1:]) + 1,
            no_value=np.flatnonzero(self.no_value[rows]),
            at_most=self._at_bound("<=", rows),
            at_least=self._at_bound(">=", rows),
            bands=() if self.stretch is None else self._bands(times, rows),
            networks=tuple(filter(None, networks)),
        )

    def _at_bound(self, sign: str, rows: slice) -> Array:
        if sign not in self.bounds:
            return np.zeros(0, np.int64)
        marked = self.bound[rows] == self.bounds.index(sign)
        return np.flatnonzero(marked & ~np.isnan(self.value[rows]))

    def _bands(self, times: Array, rows: slice) -> tuple[Band, ...]:
        assert self.stretch is not None
        label, stretch = self.label[rows], self.stretch[rows]
        change = (label[1:] != label[:-1]) | (stretch[1:] != stretch[:-1])
        first = np.r_[0, np.flatnonzero(change) + 1]
        last = np.r_[first[1:], len(label)] - 1
        # A tick stands for the time until the next one.
        usual = np.nan_to_num(self.usual[rows][last], nan=0.0)
        end = times[last] + usual.astype("timedelta64[us]")
        end[:-1] = np.minimum(end[:-1], times[first[1:]])
        return tuple(
            Band(self.labels[label[f]], times[f], e)
            for f, e in zip(first, end, strict=True)
            if self.labels[label[f]]
        )


def _codes(words: pd.Series) -> tuple[Array, list[str]]:
    """Numbers for words, in the words' order; 0 and "" for none."""
    names = words.astype("category").cat
    texts = [str(name) for name in names.categories]
    ordered = sorted({"", *texts})
    place = np.array([0 if not t else ordered.index(t) for t in texts] + [0])
    codes = names.codes.to_numpy()
    if len(texts) == 1 and codes.min() == 0:
        return np.broadcast_to(place[0], len(codes)), ordered
    return place[codes], ordered


def _usual(micros: Array, group: Array) -> Array:
    """Each row's usual distance of ticks, in µs: the median of its group, NaN for none."""
    if not (group != group[0]).any():
        return np.broadcast_to(_median_distance(micros), len(group))
    order = np.argsort(group, kind="stable")
    usual = np.empty(len(group))
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        usual[rows] = _median_distance(micros[rows])
    return usual


def _median_distance(micros: Array) -> float:
    distance = np.diff(micros)
    if not len(distance):
        return np.nan
    # Ticks sit on a grid: what most distances are is their median too, and found sooner.
    common = distance[len(distance) // 2]
    if common > 0 and 2 * np.count_nonzero(distance == common) > len(distance):
        return float(common)
    distance = distance[distance > 0]
    return float(np.median(distance)) if len(distance) else np.nan


def _parted(micros: Array, usual: Array, choose: Callable[[Array, Array], Array]) -> Array:
    """Whether each row is further from the one before than ticks are, as `choose` of both says."""
    allowed = choose(usual[1:], usual[:-1]) * _JOIN
    passed = np.diff(micros)
    # A row alone has no usual distance; tracks follow each other backwards.
    near = (passed >= 0) & (passed <= np.nan_to_num(allowed, copy=False, nan=0.0))
    parted: Array = np.r_[True, ~near]
    return parted


def _starts(times: Array, columns: int) -> Array:
    """Where each of so many equal parts of the time begins; empty ones are left out."""
    edges = np.linspace(0, (times[-1] - times[0]).astype(float), columns, endpoint=False)
    starts = np.searchsorted(times, times[0] + np.ceil(edges).astype("timedelta64[us]"))
    starts = starts[starts < len(times)]
    distinct: Array = starts[np.r_[True, starts[1:] != starts[:-1]]]
    return distinct


def first_of_each(times: Array, columns: int) -> Array:
    """Which of many markers to draw: the first in each column of pixels."""
    return np.arange(len(times)) if len(times) <= columns else _starts(times, columns)


def outline(times: Array, value: Array, columns: int) -> Array:
    """Which points give the same picture: of each column the first, last, least, greatest.

    A missing first or last one breaks the line, as any gap of a column's width has.
    """
    first = _starts(times, columns)
    size = np.diff(np.r_[first, len(value)])
    kept = np.zeros(len(value), bool)
    kept[first] = kept[first + size - 1] = True
    for extreme in (np.fmin, np.fmax):
        at = np.flatnonzero(value == np.repeat(extreme.reduceat(value, first), size))
        column = np.searchsorted(first, at, side="right")
        kept[at[:1]] = kept[at[1:][column[1:] != column[:-1]]] = True
    return np.flatnonzero(kept)
