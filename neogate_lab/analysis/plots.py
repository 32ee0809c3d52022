"""Recorded tables as pictures; they draw what was measured, and never what lies between.

Figures are made without pyplot, so that nothing stays behind in its global state. Every picture is
an ordinary `Axes` that notebooks show by itself; ``ax.figure.savefig("signal.png")`` keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, NullLocator

from neogate_lab.analysis.canvas import (
    FAINT,
    GREY,
    PALETTE,
    SMALL,
    STYLES,
    TINTS,
    WIDTH,
    Picture,
    drawable,
    families,
    note,
    own_axes,
    time_axis,
)
from neogate_lab.analysis.charts import (
    availability_strip,
    comparison,
    delivery,
    distribution,
    heatmap,
)
from neogate_lab.analysis.tables import Data, fetch, opened
from neogate_lab.errors import InvalidRequest

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase

__all__ = [
    "availability_strip",
    "comparison",
    "delivery",
    "distribution",
    "heatmap",
    "signal_history",
]


def __dir__() -> list[str]:
    return sorted(__all__)  # what completion offers


_JOIN = 1.5
"""Neighbours further apart than this many of their usual distances are not joined."""

_LEAST_TIME = np.timedelta64(4, "s")

_FEW = 240
"""Up to so many measurements a line, each one is marked."""

_ROW, _LANE = 0.065, 0.035
"""Heights of a row of labels and of a lane without values, as parts of the axes' height."""

_COLUMNS_OF_PIXELS = 16_000
"""Longer lines are drawn by their extremes in so many columns. The usual picture has 1000; several
to a pixel keep the shading that many overlapping strokes have (`benchmarks/plot.py`)."""

_LEAST_DB = 12.0
"""So many dB are shown at least: one step of CSQ is 2 dB and should look small."""

_MOST_ROWS = 6
_MOST_CAPTIONS = 200
_MOST_IN_LEGEND = 50
_LEGEND_ROWS = 18

_COLUMNS = ("time", "gateway", "port", "ok", "rssi_dbm", "rssi_bound", "registered", "label")


def signal_history(data: Data, ax: Axes | None = None) -> Axes:
    """Draw the signal strength of every port over time.

    A line is one port of one gateway. It breaks wherever nothing was measured: where a measurement
    failed, where it gave no value, where ticks are missing. Triangles mark values that are bounds
    (CSQ 0: at most -113 dBm, CSQ 31: at least -51 dBm; 3GPP TS 27.007 §8.5), ticks at the bottom
    mark a port that was registered but gave no value. Labels stand in bands at the top.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`, in any order.
    ax : Axes, optional
        Draw there; by default on a figure of its own. The legend stands at the right of the axes:
        make your figure with ``layout="constrained"`` to have room for it.

    Returns
    -------
    Axes
        Time in UTC, signal strength in dBm. Notebooks show it as a picture; its ``figure`` can be
        saved.

    Raises
    ------
    InvalidRequest
        `data` is neither, or lacks columns of the table `signal`.
    """
    frame = _signal_frame(data)
    if ax is None:
        ax = own_axes()
    if frame.empty:
        return _nothing(ax)
    frame = _with_breaks(frame)
    several = frame["gateway"].nunique() > 1
    looks = cycle(product(STYLES, PALETTE))
    lines: list[_Line] = []
    starts = np.flatnonzero(np.r_[True, np.diff(frame["line"]) != 0])
    for start, end in pairwise([*starts, len(frame)]):
        part = frame.iloc[start:end]
        gateway, port = part["gateway"].iloc[0], int(part["port"].iloc[0])
        style, colour = next(looks)
        name = f"port {port}" + (f" · {drawable(str(gateway))}" if several else "")
        lines.append(_Line(name, colour, style, part))
    for line in lines:
        line.draw(ax)
    headroom = _draw_labels(ax, lines)
    footroom = _draw_no_value(ax, lines)
    _scale(ax, frame, lines, headroom, footroom)
    _legend(ax, lines)
    return ax


def _signal_frame(data: Data) -> pd.DataFrame:
    if not isinstance(data, pd.DataFrame):
        data = fetch(opened(data, "signal", (*_COLUMNS, "survey", "network")))
    missing = [name for name in _COLUMNS if name not in data.columns]
    if missing:
        raise InvalidRequest(
            f"this is no frame of the table signal: it has no column {', '.join(missing)}"
        )
    kept = [*_COLUMNS, *(name for name in ("survey", "network") if name in data.columns)]
    frame = data[kept].reset_index(drop=True)
    try:
        frame["time"] = pd.to_datetime(frame["time"], utc=True)
    except (ValueError, TypeError) as error:
        raise InvalidRequest("the column time of this frame does not hold times") from error
    value = pd.to_numeric(frame["rssi_dbm"]).astype("Float64").to_numpy(float, na_value=np.nan)
    ok = frame["ok"].astype("boolean").fillna(False).to_numpy(bool)
    registered = frame["registered"].astype("boolean").fillna(False).to_numpy(bool)
    frame["value"] = np.where(ok, value, np.nan)
    frame["no_value"] = ok & registered & np.isnan(value)
    known = (frame["time"].notna() & frame["port"].notna()).to_numpy(bool)
    whole: pd.DataFrame = frame if known.all() else frame.loc[known]
    return whole


def _with_breaks(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort by line and time, and add what tells measuring from not measuring.

    `line` numbers the gateways and ports; `usual` is the row's distance of ticks in seconds;
    `breaks` says that the line was not measured between the row before and this one; `stretch`
    counts the times when no line at all was.
    """
    seconds = _naive(frame["time"]).astype(np.int64) / 1e6
    if (seconds[1:] < seconds[:-1]).any():
        order = np.argsort(seconds, kind="stable")
        frame, seconds = frame.iloc[order], seconds[order]
    line = _codes(frame["gateway"]) * (int(frame["port"].max()) + 1) + frame["port"].to_numpy(int)
    usual = _usual(seconds, line, _codes(frame["survey"]) if "survey" in frame else line * 0)
    stretch = _parted(seconds, usual, np.fmax).cumsum()
    # Rows of a line in the order of time: rows of one line only are that already.
    if len(line) and (line != line[0]).any():
        order = np.argsort(line, kind="stable")
        frame, seconds, line = frame.iloc[order], seconds[order], line[order]
        usual, stretch = usual[order], stretch[order]
    breaks = _parted(seconds, usual, np.fmin)
    frame = frame.reset_index(drop=True)
    return frame.assign(line=line, usual=usual, stretch=stretch, breaks=breaks)


def _codes(words: pd.Series) -> np.ndarray[Any, Any]:
    """Numbers for words, in their order; rows without a word share one."""
    names = words.astype("category").cat
    order = np.argsort(np.argsort(names.categories.astype("str")))
    codes = names.codes.to_numpy(np.int64)
    return np.where(codes < 0, 0, np.r_[order, 0][codes] + 1)


def _usual(
    seconds: np.ndarray[Any, Any], line: np.ndarray[Any, Any], survey: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Each row's usual distance of ticks: the median of its line and survey, NaN for none."""
    group = line * (int(survey.max()) + 1) + survey
    alone = not (group != group[0]).any()
    order = np.arange(len(group)) if alone else np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    usual = np.empty(len(group))
    for rows in np.split(order, bounds):
        distance = np.diff(seconds[rows])
        distance = distance[distance > 0]
        usual[rows] = np.median(distance) if len(distance) else np.nan
    return usual


def _parted(
    seconds: np.ndarray[Any, Any], usual: np.ndarray[Any, Any], choose: Any
) -> np.ndarray[Any, Any]:
    """Whether each row is further from the one before than ticks are, as `choose` of both says."""
    passed = np.diff(seconds)
    allowed = _JOIN * choose(usual[1:], usual[:-1])
    # A row alone has no usual distance: NaN is no comparison. Lines follow each other backwards.
    near = (passed == 0) | ((passed > 0) & (passed <= allowed))
    parted: np.ndarray[Any, Any] = np.r_[True, ~near]
    return parted


def _columns_of(times: np.ndarray[Any, Any], columns: int) -> np.ndarray[Any, Any]:
    since = (times - times[0]) / np.timedelta64(1, "us")
    column: np.ndarray[Any, Any] = (since * (columns / max(since[-1], 1))).astype(np.int64)
    return column


def _one_a_column(times: np.ndarray[Any, Any], columns: int) -> np.ndarray[Any, Any]:
    """Which of many markers to draw: the first in each column of pixels."""
    if len(times) <= columns:
        return np.arange(len(times))
    column = _columns_of(times, columns)
    return np.flatnonzero(np.r_[True, column[1:] != column[:-1]])


def _outline(
    times: np.ndarray[Any, Any], value: np.ndarray[Any, Any], columns: int
) -> np.ndarray[Any, Any]:
    """Which points give the same picture: of each column the first, last, least, greatest.

    A missing first or last one breaks the line, as any gap of a column's width has.
    """
    column = _columns_of(times, columns)
    first = np.flatnonzero(np.r_[True, column[1:] != column[:-1]])
    last = np.r_[first[1:], len(column)] - 1
    number = np.repeat(np.arange(len(first)), last - first + 1)
    missing = np.isnan(value)
    kept = [first, last]
    for sign, none in ((1, np.inf), (-1, np.inf)):
        rank = np.where(missing, none, sign * value)
        at = np.flatnonzero(rank == np.minimum.reduceat(rank, first)[number])
        kept.append(at[np.r_[True, number[at][1:] != number[at][:-1]]])
    return np.unique(np.concatenate(kept))


@dataclass(frozen=True, slots=True)
class _Band:
    """A label, and the times (datetime64, UTC) between which it was measured."""

    label: str
    start: np.datetime64
    end: np.datetime64


class _Line:
    """One port of one gateway: its rows and its looks."""

    def __init__(self, name: str, colour: str, style: Any, rows: pd.DataFrame) -> None:
        self.name, self.colour, self.style = name, colour, style
        self.rows = rows
        self.times = _naive(rows["time"])

    @property
    def caption(self) -> str:
        """For the legend: the port, and the networks it was registered with."""
        if self.rows["value"].isna().all():
            return f"{self.name}  (no values)"
        if "network" not in self.rows:
            return self.name
        networks = [drawable(str(n)) for n in self.rows["network"].dropna().unique() if n]
        shown = ", ".join(networks[:2]) + (" …" if len(networks) > 2 else "")
        if len(shown) > 28:
            shown = shown[:27] + "…"
        return f"{self.name}  {shown}".rstrip()

    def draw(self, ax: Axes) -> None:
        """The values, broken at every gap, and the bounds among them."""
        value = self.rows["value"].to_numpy()
        breaks = np.flatnonzero(self.rows["breaks"].to_numpy()[1:]) + 1
        x = np.insert(self.times, breaks, self.times[breaks])
        y = np.insert(value, breaks, np.nan)
        if len(x) > 4 * _COLUMNS_OF_PIXELS and not np.isnan(y).all():
            kept = _outline(x, y, _COLUMNS_OF_PIXELS)
            x, y = x[kept], y[kept]
        there = ~np.isnan(y)
        alone = there & ~np.r_[False, there[:-1]] & ~np.r_[there[1:], False]
        dots = there if np.count_nonzero(there) <= _FEW else alone
        ax.plot(
            x,
            y,
            label=self.name,
            color=self.colour,
            linestyle=self.style,
            linewidth=1.3,
            marker="o" if dots.any() else "",
            markersize=2.8,
            markevery=np.flatnonzero(dots).tolist(),
        )
        for sign, marker, _ in _BOUNDS:
            at = np.flatnonzero(self.at_bound(sign))
            if len(at):
                at = at[_one_a_column(self.times[at], _COLUMNS_OF_PIXELS)]
                ax.plot(self.times[at], value[at], **_bound_look(marker, self.colour))

    def at_bound(self, sign: str) -> np.ndarray[Any, Any]:
        """Which rows have a value that is only a bound."""
        known = ~np.isnan(self.rows["value"].to_numpy())
        found: np.ndarray[Any, Any] = (self.rows["rssi_bound"] == sign).to_numpy() & known
        return found

    @cached_property
    def bands(self) -> tuple[_Band, ...]:
        """The runs of equal labels, cut where nobody measured; unlabelled time left out."""
        words = self.rows["label"].astype("category").cat
        label, names = words.codes.to_numpy(), ["", *map(str, words.categories)]
        stretch = self.rows["stretch"].to_numpy()
        change = (label[1:] != label[:-1]) | (stretch[1:] != stretch[:-1])
        first = np.r_[0, np.flatnonzero(change) + 1]
        last = np.r_[first[1:], len(label)] - 1
        # A tick stands for the time until the next one.
        usual = np.nan_to_num(self.rows["usual"].to_numpy()[last], nan=0.0)
        end = self.times[last] + (usual * 1e6).astype("timedelta64[us]")
        end[:-1] = np.minimum(end[:-1], self.times[first[1:]])
        return tuple(
            _Band(names[label[f] + 1], self.times[f], e)
            for f, e in zip(first, end, strict=True)
            if names[label[f] + 1]
        )


_BOUNDS = (("<=", "v", "at most (CSQ 0)"), (">=", "^", "at least (CSQ 31)"))


def _bound_look(marker: str, colour: str) -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": 6.5,
        "markerfacecolor": "white",
        "markeredgecolor": colour,
        "markeredgewidth": 1.3,
        "zorder": 3,
    }


def _no_value_look(colour: str) -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": "|",
        "markersize": 6,
        "markeredgewidth": 1.5,
        "color": colour,
    }


def _draw_no_value(ax: Axes, lines: Sequence[_Line]) -> float:
    """A lane at the bottom for every port that was registered without a value; their height."""
    silent = [line for line in lines if line.rows["no_value"].any()]
    if not silent:
        return 0.0
    lane = min(_LANE, 0.25 / len(silent))
    for number, line in enumerate(reversed(silent)):
        times = line.times[line.rows["no_value"].to_numpy()]
        times = times[_one_a_column(times, _COLUMNS_OF_PIXELS)]
        ax.plot(
            times,
            np.full(len(times), (number + 0.75) * lane),
            transform=ax.get_xaxis_transform(),
            **_no_value_look(line.colour),
        )
    height = (len(silent) + 0.5) * lane
    border = Line2D([0, 1], [height, height], transform=ax.transAxes, color=FAINT, linewidth=0.7)
    ax.add_artist(border)
    return height


def _draw_labels(ax: Axes, lines: Sequence[_Line]) -> float:
    """Bands at the top, a row for the ports that were labelled alike; their height."""
    alike: dict[tuple[_Band, ...], list[_Line]] = {}
    for line in lines:
        alike.setdefault(line.bands, []).append(line)
    alike.pop((), None)
    tints: dict[str, str] = {}
    for number, (bands, owners) in enumerate(list(alike.items())[:_MOST_ROWS]):
        bottom = 1 - (number + 1) * _ROW
        whose = "" if len(owners) == len(lines) else f" ({_ports(owners)})"
        spans: dict[str, list[tuple[Any, Any]]] = {}
        for band in bands:
            tint = tints.setdefault(band.label, TINTS[len(tints) % len(TINTS)])
            spans.setdefault(tint, []).append((band.start, band.end - band.start))
        for tint, when in spans.items():
            ax.broken_barh(
                when,
                (bottom + 0.004, _ROW - 0.008),
                transform=ax.get_xaxis_transform(),
                facecolors=tint,
                zorder=2.5,
            )
        widest = sorted(bands, key=lambda band: band.start - band.end)[:_MOST_CAPTIONS]
        for band in widest:
            ax.add_artist(_Caption(drawable(band.label) + whose, band, bottom + _ROW / 2))
        if len(alike) == 1:
            borders = [band.start for band in bands[1:_MOST_CAPTIONS]]
            ax.vlines(
                borders,
                0,
                bottom,
                transform=ax.get_xaxis_transform(),
                color=FAINT,
                linewidth=0.7,
                zorder=1,
            )
    height = min(len(alike), _MOST_ROWS) * _ROW
    if len(alike) > _MOST_ROWS:
        height += _ROW
        more = sum(len(owners) for owners in list(alike.values())[_MOST_ROWS:])
        ax.text(
            0.008,
            1 - height + _ROW / 2,
            f"the labels of {more} more ports have no room here",
            transform=ax.transAxes,
            verticalalignment="center",
            fontsize=SMALL,
            color=GREY,
        )
    return height


class _Caption(Text):
    """A label written into its band: shortened to fit, and left out where not a letter fits."""

    def __init__(self, text: str, band: _Band, height: float) -> None:
        super().__init__(
            0,
            height,
            text,
            fontsize=SMALL,
            fontfamily=families(),
            color="#222222",
            verticalalignment="center",
            parse_math=False,
            clip_on=True,
            zorder=2.6,
        )
        self.whole = text
        self._edges = [float(edge) for edge in date2num([band.start, band.end])]  # type: ignore[no-untyped-call]
        self.set_in_layout(False)

    def draw(self, renderer: RendererBase) -> None:
        """Fit the text to the room that its band has now; the user may have zoomed."""
        axes = self.axes
        if axes is None:
            return
        low, high = sorted(axes.get_xlim())
        left, right = (
            axes.transData.transform((min(max(edge, low), high), 0.0))[0] for edge in self._edges
        )
        margin = float(renderer.points_to_pixels(4.0))  # type: ignore[arg-type]
        shown = self._shortened(right - left - 2 * margin, renderer)
        if shown:
            self.set_text(shown)
            self.set_transform(axes.transAxes)
            self.set_x(axes.transAxes.inverted().transform((left + margin, 0.0))[0])
            super().draw(renderer)

    def _shortened(self, room: float, renderer: RendererBase) -> str:
        font = self.get_fontproperties()

        def fits(text: str) -> bool:
            width = renderer.get_text_width_height_descent(text, font, ismath=False)[0]
            return bool(width <= room)

        if fits(self.whole):
            return self.whole
        low, high = 0, len(self.whole)
        while low < high:
            middle = (low + high + 1) // 2
            if fits(self.whole[:middle] + "…"):
                low = middle
            else:
                high = middle - 1
        return self.whole[:low].rstrip() + "…" if low else ""


def _ports(lines: Sequence[_Line]) -> str:
    names = [line.name.removeprefix("port ") for line in lines]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ("port " if len(names) == 1 else "ports ") + ", ".join(names[:4]) + more


def _scale(ax: Axes, frame: pd.DataFrame, lines: Sequence[_Line], head: float, foot: float) -> None:
    """Axes as wide as the measurements, and as high as the values and what stands around them."""
    low, high = float(frame["value"].min()) - 2, float(frame["value"].max()) + 2
    if np.isnan(low):
        low, high = -115.0, -49.0
        note(ax, "no signal values")
    if high - low < _LEAST_DB:
        middle = (low + high) / 2
        low, high = middle - _LEAST_DB / 2, middle + _LEAST_DB / 2
    whole = (high - low) / (1 - head - foot)
    ax.set_ylim(low - foot * whole, high + head * whole)
    ends = [band.end for line in lines for band in line.bands[-1:]]
    start = min(line.times[0] for line in lines)
    end = max([*(line.times[-1] for line in lines), *ends])
    margin = max((end - start) / 100, (_LEAST_TIME - (end - start)) / 2)
    ax.set_xlim(start - margin, end + margin)
    _dress(ax)


def _dress(ax: Axes) -> None:
    time_axis(ax)
    ax.yaxis.set_major_locator(_Decibels(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    ax.set_axisbelow(True)
    _name_axes(ax)


def _name_axes(ax: Axes) -> None:
    ax.set_xlabel("time (UTC)")
    ax.set_ylabel("received signal strength (dBm)")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _nothing(ax: Axes) -> Axes:
    note(ax, "no measurements")
    ax.xaxis.set_major_locator(NullLocator())
    ax.yaxis.set_major_locator(NullLocator())
    _name_axes(ax)
    return ax


class _Decibels(MaxNLocator):
    """Ticks where CSQ can be (TS 27.007 §8.5): the room around the values has no dBm."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        ticks = np.asarray(super().tick_values(vmin, vmax))
        return ticks[(ticks >= -113) & (ticks <= -51)]


def _legend(ax: Axes, lines: Sequence[_Line]) -> None:
    handles = [
        Line2D([], [], color=line.colour, linestyle=line.style, linewidth=1.8)
        for line in lines[:_MOST_IN_LEGEND]
    ]
    names = [line.caption for line in lines[:_MOST_IN_LEGEND]]
    if len(lines) > _MOST_IN_LEGEND:
        handles.append(Line2D([], [], linestyle="none"))
        names.append(f"and {len(lines) - _MOST_IN_LEGEND} more ports")
    for sign, marker, meaning in _BOUNDS:
        if any(line.at_bound(sign).any() for line in lines):
            handles.append(Line2D([], [], **_bound_look(marker, GREY)))
            names.append(meaning)
    if any(line.rows["no_value"].any() for line in lines):
        handles.append(Line2D([], [], **_no_value_look(GREY)))
        names.append("registered, no value")
    columns = 1 + (len(handles) - 1) // _LEGEND_ROWS
    figure = ax.figure
    if isinstance(figure, Picture):
        figure.set_figwidth(WIDTH + 2.2 * (columns - 1))
    legend = ax.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(1.005, 1.0),
        borderaxespad=0.0,
        frameon=False,
        ncols=columns,
        prop=FontProperties(family=families(), size=SMALL),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _naive(times: pd.Series) -> np.ndarray[Any, Any]:
    """UTC times as numpy keeps them, which is without a zone."""
    naive: np.ndarray[Any, Any] = times.dt.tz_localize(None).to_numpy("datetime64[us]")
    return naive
