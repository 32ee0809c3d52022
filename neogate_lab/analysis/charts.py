"""Summaries as pictures: hours, labels, availability, comparisons, messages; never a history.

Each takes what `signal_summary` takes, draws on `ax` or on a figure of its own, and returns the
`Axes`. Colours are told apart by the colour-blind, and never carry a meaning alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, MultipleLocator

from neogate_lab.analysis import comparison as comparisons
from neogate_lab.analysis import summaries
from neogate_lab.analysis.canvas import (
    FAINT,
    GREY,
    GRID,
    MOST_LANES,
    PALETTE,
    SMALL,
    drawable,
    families,
    gateway_name,
    left_to_right,
    legend_above,
    minus,
    note,
    own_axes,
    row_names,
    rows_high,
    shortened,
    time_axis,
    tone,
)
from neogate_lab.analysis.findings import percent
from neogate_lab.analysis.tables import Data, column_of, extents, opened

__all__ = ["availability_strip", "comparison", "delivery", "distribution", "heatmap"]

MOST_DAYS = 62
_NAMED_DAYS = 31
_MOST_ROWS = 64

_KINDS = {
    "not_registered": ("#D55E00", "xx", "not registered"),
    "down": ("#E69F00", "//", "down"),
    "no_sim": ("#CC79A7", "\\\\", "no SIM"),
    "blind": ("#dddddd", "....", "nobody measured"),
}
"""Besides `power_off`, which is ink."""

_REGISTERED = "#56B4E9"

_UNKNOWN = 0
"""Stands for the ports of a gateway that was never reached; ports count from 1."""

_FATES = (
    ("n_sent", "#0072B2", "", "sent"),
    ("n_failed", "#D55E00", "//", "failed"),
    ("n_unknown", "#E69F00", "..", "unknown"),
    ("n_waiting", "#dddddd", "", "waiting"),
    ("n_cancelled", "#888888", "xx", "cancelled"),
)


def heatmap(data: Data, ax: Axes | None = None) -> Axes:
    """Draw the median signal strength of each hour of each day; the last 62 days.

    Hours without a value are left white. Rows of several ports are taken together: give one port's
    to see one port.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.
    ax : Axes, optional
        Draw there; by default on a figure of its own.

    Returns
    -------
    Axes
        Hour of the day across, days downwards, both UTC.
    """
    hours = summaries.strength_by_hour(data)
    hours = hours[hours["median_dbm"].notna()]
    days = hours["time"].dt.floor("D")
    last = days.max() if len(days) else pd.NaT
    hours = hours[days > last - pd.Timedelta(days=MOST_DAYS)]
    if hours.empty:
        return _empty(ax, "no signal values")
    first = hours["time"].min().floor("D")
    row = (hours["time"].dt.floor("D") - first).dt.days.to_numpy()
    grid = np.full((int(row.max()) + 1, 24), np.nan)
    grid[row, hours["time"].dt.hour.to_numpy()] = hours["median_dbm"].to_numpy()
    if ax is None:
        high = 0.24 if len(grid) <= _NAMED_DAYS else 0.12  # on a page, too, names can be read
        ax = own_axes(1.6 + high * max(len(grid), 5))
    ax.set_facecolor("white")  # unlike the darkest colour on any ground
    low, high = np.nanmin(grid), np.nanmax(grid)
    room = max(0.0, 10 - (high - low)) / 2  # a step or two should not look like day and night
    mesh = ax.pcolormesh(
        np.arange(25), np.arange(len(grid) + 1), grid, cmap="cividis", vmin=low - room,
        vmax=high + room, edgecolors="white", linewidth=0.5,
    )  # fmt: skip
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MultipleLocator(3))
    names = [(first + pd.Timedelta(days=day)).strftime("%a %d %b") for day in range(len(grid))]
    step = 1 + (len(names) - 1) // _NAMED_DAYS
    ax.set_yticks(np.arange(len(names))[::step] + 0.5, names[::step], fontsize=SMALL)
    ax.set_xlabel("hour of the day (UTC)")
    ax.figure.colorbar(mesh, ax=ax, label="median signal\nstrength (dBm)", pad=0.02)
    _bare(ax, "top", "right", "left", "bottom")
    return ax


def distribution(data: Data, by: str = "label", ax: Axes | None = None) -> Axes:
    """Draw how often each signal strength was measured, a row a label.

    A bar's height is a value's share of the row's measurements that were registered. A line marks
    the median; "no value" (registered, but the gateway shows none) stands left of the scale.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.
    by : str
        What makes a row: label, network, port, survey …
    ax : Axes, optional
        Draw there; by default on a figure of its own.

    Returns
    -------
    Axes
        Signal strength in dBm across, rows downwards.
    """
    column_of("signal", by)
    counts = summaries.value_counts(data, by)
    shown = counts.groupby(by, observed=True)["count"].sum()
    if not len(shown):
        return _empty(ax, "no measurements")
    rows = list(shown.sort_index().index)[:_MOST_ROWS]
    if ax is None:
        ax = own_axes(1.4 + rows_high(max(len(rows), 2), 0.75))
    value = counts["value"]
    low = float(value.min()) if value.notna().any() else -113.0
    high = float(value.max()) if value.notna().any() else -51.0
    silent_at = low - 6
    top = 0.0
    for name in rows:
        part = counts[counts[by] == name]
        top = max(top, float((part["count"] / part["count"].sum()).max()))
    for number, name in enumerate(rows):
        part = counts[counts[by] == name]
        share = part["count"] / part["count"].sum() / top * 0.72
        base = len(rows) - 1 - number
        known = part["value"].notna()
        ax.bar(part["value"][known], share[known], 1.7, bottom=base, color=PALETTE[0])
        if (~known).any():
            ax.bar(silent_at, share[~known].sum(), 1.7, bottom=base, color=tone(ax, 0),
                   edgecolor=PALETTE[0], hatch="///", linewidth=1)  # fmt: skip
        if known.any():
            middle = _weighted_median(part["value"][known], part["count"][known])
            ax.plot([middle, middle], [base, base + 0.9], color=tone(ax, 1), linewidth=1.4)
            ax.annotate(minus(middle), (middle, base + 0.9), xytext=(3, -7),
                        textcoords="offset points", fontsize=SMALL, color=tone(ax, 1),
                        path_effects=[withStroke(linewidth=2.5, foreground=tone(ax, 0))],
                        )  # fmt: skip
        ax.axhline(base, color=tone(ax, FAINT), linewidth=0.7, zorder=0)
    words = [f"port {name}" if by == "port" else str(name) for name in rows]
    names = [drawable(name) or f"(no {by})" for name in words]
    totals = [int(shown[name]) for name in rows]
    ticks = [f"{shortened(n, 30)}\nn = {t:,}" for n, t in zip(names, totals, strict=True)]
    _name_rows(ax, ticks, 0.4)
    ax.set_ylim(-0.08, len(rows) + 0.05)
    if counts["value"].isna().any():
        ax.set_xlim(silent_at - 3, high + 4)
        scale = [t for t in range(-110, -50, 10) if low - 3 <= t <= high + 3]
        ax.set_xticks(
            [silent_at, *scale],
            ["no value", *map(minus, scale)],
        )
    else:
        room = max(3.0, 10 - (high - low) / 2)  # one value should not look like a spread of them
        ax.set_xlim(low - room, high + room)
        ax.xaxis.set_major_locator(MaxNLocator(9, integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlabel("received signal strength (dBm); the line is the median")
    _left_out(ax, len(shown) - len(rows))
    _bare(ax, "top", "right", "left")
    return ax


def availability_strip(data: Data, ax: Axes | None = None) -> Axes:
    """Draw when each port was registered, when it was not and why, and when nobody measured.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.
    ax : Axes, optional
        Draw there; by default on a figure of its own.

    Returns
    -------
    Axes
        Time in UTC across, a strip a port, with its availability at the right.
    """
    return strip(_spans(data), summaries.availability(data), summaries.outages(data), ax)


def strip(
    spans: pd.DataFrame, share: pd.DataFrame, runs: pd.DataFrame, ax: Axes | None = None
) -> Axes:
    """The strip of answers that are there already: first and last tick, availability, outages."""
    if spans.empty:
        return _empty(ax, "no measurements")
    spans, share, runs = (
        each.assign(port=each["port"].astype("Int64").fillna(_UNKNOWN).astype(int))
        for each in (spans, share, runs)
    )
    shares: dict[Any, float] = share.set_index(["gateway", "port"])["availability"].to_dict()
    several = spans["gateway"].nunique() > 1
    ports = list(spans[["gateway", "port"]].itertuples(index=False, name=None))
    hidden = len(ports[MOST_LANES:])
    ports = ports[:MOST_LANES]
    if ax is None:
        ax = own_axes(1.6 + rows_high(max(len(ports), 3), 0.34))
    names = [
        ("no port known" if port == _UNKNOWN else f"port {port}")
        + (f" · {gateway_name(gateway)}" if several else "")
        for gateway, port in ports
    ]
    size = _name_rows(ax, names)
    start, end = spans["first"].min(), spans["last"].max()
    pixel = (end - start) / 1500  # an outage narrower than that shows all the same
    kinds = _KINDS | {"power_off": (tone(ax, 1), "", "power off")}
    seen: set[str] = set()
    for number, (gateway, port) in enumerate(ports):
        base = len(ports) - 1 - number - 0.36
        span = spans.iloc[number]
        ax.broken_barh([_bar(span["first"], span["last"], pixel)], (base, 0.72), color=_REGISTERED)
        mine = runs[(runs["gateway"] == gateway) & (runs["port"] == port)]
        for kind in ("blind", "not_registered", "down", "no_sim", "power_off"):
            chosen = mine[mine["kind"] == kind]
            if kind == "blind":  # failed ticks of a long time would hide what lies between them
                chosen = chosen[~(chosen["end"] - chosen["start"] < pixel)]
            if chosen.empty:
                continue
            seen.add(kind)
            colour, hatch, _ = kinds[kind]
            ends = chosen["end"].fillna(span["last"])
            bars = [_bar(s, e, pixel) for s, e in zip(chosen["start"], ends, strict=True)]
            ax.broken_barh(
                bars, (base, 0.72), facecolors=colour, hatch=hatch,
                edgecolor="white" if kind != "blind" else "#999999", linewidth=0,
            )  # fmt: skip
        known = shares.get((gateway, port), np.nan)
        text = "not measured" if np.isnan(known) else percent(known)
        ax.annotate(text, (1.005, base + 0.36), xycoords=ax.get_yaxis_transform(), va="center",
                    fontsize=size, annotation_clip=False)  # fmt: skip
    ax.set_ylim(-0.6, len(ports) - 0.4)
    time_axis(ax)
    ax.set_xlim(_naive(start), _naive(max(end, start + pd.Timedelta(seconds=4))))
    ax.set_xlabel("time (UTC); at the right: registered ÷ answered")
    _left_out(ax, hidden)
    handles = [Patch(color=_REGISTERED, label="registered")]
    handles += [
        Patch(facecolor=colour, hatch=hatch, edgecolor="#999999", linewidth=0, label=label)
        for kind, (colour, hatch, label) in kinds.items()
        if kind in seen
    ]
    legend_above(ax, handles)
    _bare(ax, "top", "right", "left")
    return ax


def comparison(
    data: Data, a: Any, b: Any, by: str = "label", overall: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw what `compare` answers: each port's difference, its 95 % interval and the verdict.

    Parameters
    ----------
    data, a, b, by, overall
        As for `compare`.
    ax : Axes, optional
        Draw there; by default on a figure of its own.

    Returns
    -------
    Axes
        Difference in dB across, right of zero where `b` is better; a row a port.
    """
    return compared(comparisons.compare(data, a, b, by=by, overall=overall), a, b, ax)


def compared(whole: pd.DataFrame, a: Any, b: Any, ax: Axes | None = None) -> Axes:
    """The picture of an answer of `compare` that is there already."""
    answer = whole.iloc[:_MOST_ROWS]
    if ax is None:
        rows = max(len(answer), 2)
        ax = own_axes(1.5 + max(rows_high(rows, 0.62), 0.34 * rows))  # a verdict over each bar
    known = answer[["difference_db", "ci_low", "ci_high"]].dropna()
    # An interval that says nothing would make the others too small to be seen.
    reach = 4.0
    if len(known):
        reach = max(reach, 1.4 * float(known["difference_db"].abs().max()) + 3)
    ax.axvspan(-2, 2, color=tone(ax, GRID), zorder=0)
    ax.axvline(0, color=tone(ax, GREY), linewidth=1)
    names = []
    for number, row in enumerate(answer.to_dict("records")):
        base = len(answer) - 1 - number
        several = answer["gateway"].nunique() > 1
        name = "all ports" if pd.isna(row["port"]) else f"port {row['port']}"
        names.append(name + (f" · {gateway_name(row['gateway'])}" if several else ""))
        middle, low, high = (row[n] for n in ("difference_db", "ci_low", "ci_high"))
        if middle == middle:
            sure = low > 0 or high < 0
            ends = [max(low, -2 * reach), min(high, 2 * reach)]
            if low == low:
                ax.plot(ends, [base, base], color=PALETTE[0], linewidth=2.4,
                        solid_capstyle="butt")  # fmt: skip
            ax.plot([middle], [base], "o", markersize=8, markeredgewidth=1.8, color=PALETTE[0],
                    markerfacecolor=PALETTE[0] if sure else tone(ax, 0))  # fmt: skip
        verdict = drawable(str(row["verdict"]))
        verdict = verdict if len(verdict) <= 132 else verdict[:131] + "…"
        ax.annotate(left_to_right(verdict), (0.5, base), xycoords=ax.get_yaxis_transform(),
                    xytext=(0, 10.5), textcoords="offset points", ha="center", va="center",
                    fontsize=SMALL, parse_math=False, fontfamily=families(), color=tone(ax, 1),
                    bbox={"facecolor": tone(ax, 0), "edgecolor": "none", "pad": 1.0})  # fmt: skip
    _name_rows(ax, names)
    ax.set_ylim(-0.5, len(answer) - 0.35)
    ax.set_xlim(-reach, reach)
    left, right = (shortened(drawable(str(each)), 24) for each in (a, b))
    label = ax.set_xlabel(
        left_to_right(
            f"←  {left} better        difference (dB), grey: less than one step of CSQ        "
            f"{right} better  →"
        ),
        fontfamily=families(),
    )
    label.set_parse_math(False)
    _left_out(ax, len(whole) - len(answer))
    handles = [
        Line2D([], [], color=PALETTE[0], marker="o", linewidth=2.4, label="95 % interval"),
        Line2D([], [], color=PALETTE[0], marker="o", markerfacecolor=tone(ax, 0),
               markeredgewidth=1.8, linewidth=2.4, label="the interval holds zero"),
    ]  # fmt: skip
    legend_above(ax, handles)
    _bare(ax, "top", "right", "left")
    return ax


def delivery(data: Data, ax: Axes | None = None) -> Axes:
    """Draw what became of the SMS of each port; "sent" means that the SMS centre took it.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `outbox`.
    ax : Axes, optional
        Draw there; by default on a figure of its own.

    Returns
    -------
    Axes
        Number of SMS across, a bar a port.
    """
    whole = summaries.delivery(data)
    answer = whole.iloc[:_MOST_ROWS]
    if answer.empty:
        return _empty(ax, "no SMS")
    if ax is None:
        ax = own_axes(1.5 + rows_high(max(len(answer), 2), 0.42))
    several = answer["gateway"].nunique() > 1
    base = np.arange(len(answer))[::-1]
    left = np.zeros(len(answer))
    handles = []
    for name, colour, hatch, label in _FATES:
        count = answer[name].to_numpy(float)
        if count.any():
            ax.barh(base, count, 0.66, left=left, color=colour, hatch=hatch, edgecolor="white",
                    linewidth=0.8)  # fmt: skip
            handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=label))
        left += count
    for y, total, share in zip(base, left, answer["delivery"], strict=True):
        if share == share:
            ax.annotate(f"{percent(share)} sent", (total, y), xytext=(5, 0), va="center",
                        textcoords="offset points", fontsize=SMALL)  # fmt: skip
    names = [
        f"port {row['port']}" + (f" · {gateway_name(row['gateway'])}" if several else "")
        for row in answer.to_dict("records")
    ]
    _name_rows(ax, names)
    ax.set_xlim(0, float(left.max()) * 1.16)
    ax.set_ylim(-0.6, len(answer) - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("SMS; at the bars: sent ÷ (sent, failed and unknown)")
    _left_out(ax, len(whole) - len(answer))
    legend_above(ax, handles)
    _bare(ax, "top", "right", "left")
    return ax


def _spans(data: Data) -> pd.DataFrame:
    """The first and last tick of each port."""
    table = opened(data, "signal", ("gateway", "port", "time"))
    return extents(table, "gateway", "port").sort_values(["gateway", "port"], ignore_index=True)


def _bar(start: pd.Timestamp, end: pd.Timestamp, least: pd.Timedelta) -> tuple[Any, Any]:
    width = max(end - start, least)
    return _naive(start), np.timedelta64(int(width.total_seconds() * 1e6), "us")


def _naive(time: pd.Timestamp) -> Any:
    return time.tz_localize(None).to_datetime64()


def _weighted_median(value: pd.Series, count: pd.Series) -> float:
    order = np.argsort(value.to_numpy(), kind="stable")
    upto = np.cumsum(count.to_numpy()[order])
    return float(value.to_numpy()[order][np.searchsorted(upto, upto[-1] / 2)])


def _name_rows(ax: Axes, names: Sequence[Any], offset: float = 0.0) -> float:
    """From the top down; the size of letters."""
    return row_names(ax, names, np.arange(len(names))[::-1] + offset)


def _left_out(ax: Axes, rows: int) -> None:
    if rows > 0:
        ax.annotate(f"{rows} more have no room here", (1, 0), xytext=(0, -34), ha="right",
                    xycoords="axes fraction", textcoords="offset points", va="bottom",
                    fontsize=SMALL, color=tone(ax, GREY), annotation_clip=False)  # fmt: skip


def _bare(ax: Axes, *sides: str) -> None:
    for side in sides:
        ax.spines[side].set_visible(False)


def _empty(ax: Axes | None, words: str) -> Axes:
    if ax is None:
        ax = own_axes()
    note(ax, words)
    ax.set_xticks([])
    ax.set_yticks([])
    _bare(ax, "top", "right", "left", "bottom")
    return ax
