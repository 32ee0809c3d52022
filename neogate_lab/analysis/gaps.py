"""Why nobody measured: each blind time of a port, told once and with one reason; never a query."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["REASONS", "explained", "together"]

REASONS = {
    "paused": "survey paused",
    "ended": "no survey ran",
    "died": "recorder died",
    "asleep": "computer asleep",
    "link": "no link",
    "failed": "no answer",
}
"""Reasons in words, in the order in which a table shows them."""

_AFTER = {"paused": "paused", "died": "died"}
"""What follows a stretch of a survey that ended so; `ended` follows any other."""


def explained(
    runs: pd.DataFrame, ports: pd.DataFrame, surveys: pd.DataFrame, connections: pd.DataFrame
) -> pd.DataFrame:
    """Give each blind time the reason that held in its middle, so that reasons add up.

    Parameters
    ----------
    runs : DataFrame
        As `summaries.outages` answers.
    ports : DataFrame
        The last measurement of each port: gateway, port, last.
    surveys, connections : DataFrame
        The tables of these names; `surveys` from the beginning on.

    Returns
    -------
    DataFrame
        A row a blind time, sorted: gateway, port, start, end, seconds, open (it lasts until the
        last measurement, which failed) and reason, a key of `REASONS`: ``asleep`` and ``link`` as
        the link noted it; where no survey ran, what became of the last one; else ``failed``.
    """
    blind = runs[runs["kind"] == "blind"].astype({"gateway": "str"})
    last = ports.astype({"gateway": "str"})[["gateway", "port", "last"]]
    blind = blind.merge(last, on=["gateway", "port"]).drop(columns="kind")
    blind["open"] = blind["end"].isna()
    blind["end"] = blind["end"].fillna(blind.pop("last"))
    blind["seconds"] = (blind["end"] - blind["start"]).dt.total_seconds()
    blind["reason"] = "failed"
    for gateway, mine in blind.groupby("gateway", sort=False):
        middle = _micros(mine["start"] + (mine["end"] - mine["start"]) / 2)
        events = connections[connections["gateway"] == gateway].sort_values("time")
        stretches = surveys[surveys["gateway"] == gateway].sort_values("stopped_at")
        reason = np.full(len(mine), "failed" if len(stretches) else "ended", dtype=object)
        reason[_within(*_down(events), middle)] = "link"
        reason[_within(*_asleep(events), middle)] = "asleep"
        if len(stretches):
            over = _micros(stretches["stopped_at"])
            after = stretches["reason"].astype("str").map(_AFTER).fillna("ended").to_numpy()
            outside = ~_within(_micros(stretches["time"]), over, middle)
            before = np.searchsorted(over, middle, "right") - 1
            reason[outside] = np.where(before >= 0, after[before], "ended")[outside]
        blind.loc[mine.index, "reason"] = reason
    return blind.sort_values(["gateway", "port", "start"], ignore_index=True)


def together(blind: pd.DataFrame) -> list[dict[str, Any]]:
    """Tell what several ports of a gateway missed at about the same time as one, longest first.

    Parameters
    ----------
    blind : DataFrame
        As `explained` answers.

    Returns
    -------
    list of dict
        gateway, reason, start and end of the whole, seconds, open, ports (a set). Times of one
        reason are one where at least half of the longer is common to both.
    """
    told: list[dict[str, Any]] = []
    for _, mine in blind.sort_values(["start", "port"]).groupby(["gateway", "reason"]):
        lasting: list[dict[str, Any]] = []
        for row in mine.to_dict("records"):
            lasting = [gap for gap in lasting if gap["end"] > row["start"]]
            for gap in lasting:
                common = min(gap["end"], row["end"]) - row["start"]
                if 2 * common >= max(gap["end"] - gap["start"], row["end"] - row["start"]):
                    gap["ports"].add(row["port"])
                    gap["end"] = max(gap["end"], row["end"])
                    gap["open"] |= row["open"]
                    break
            else:
                lasting.append({str(name): row[name] for name in row} | {"ports": {row["port"]}})
                told.append(lasting[-1])
    for gap in told:
        gap["seconds"] = (gap["end"] - gap["start"]).total_seconds()
    return sorted(told, key=lambda gap: (-gap["seconds"], gap["start"], gap["gateway"]))


def _down(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """From when to when there was no link: until it came back, or its process ended."""
    up = events["event"].isin(["connected", "restored", "closed"])
    down = events["event"].isin(["lost", "unreachable"])
    return _micros(events.loc[down, "time"]), _micros(events["time"].where(up).bfill()[down])


def _asleep(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    noted = events[events["event"] == "asleep"]
    gap = pd.to_timedelta(noted["gap_s"].fillna(0.0), unit="s")
    return _micros(noted["time"] - gap), _micros(noted["time"])


def _within(begin: np.ndarray, end: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether each time lies in one of these intervals, which may overlap."""
    begun = np.searchsorted(np.sort(begin), at, "right")
    return begun > np.searchsorted(np.sort(end), at, "right")


def _micros(times: pd.Series) -> np.ndarray:
    """Since 1970; what is missing is never."""
    whole = times.dt.tz_convert(None).to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(whole), np.iinfo(np.int64).max, whole.astype(np.int64))
