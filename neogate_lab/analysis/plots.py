"""Signal histories as pictures; they draw what was measured, and never what lies between.

Figures are made without pyplot, so that nothing stays behind in its global state. Every picture is
an ordinary `Axes` that notebooks show by itself. To keep one, draw it on your own::

    figure, ax = plt.subplots(layout="constrained")
    plots.signal_history(frame, ax=ax)
    figure.savefig("signal.png")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import Affine2D, Transform, blended_transform_factory

from neogate_lab.analysis.artists import Caption, Stroke
from neogate_lab.analysis.canvas import (
    FAINT,
    GREY,
    GRID,
    HATCHES,
    HEIGHT,
    MOST_LANES,
    PALETTE,
    SMALL,
    TINTS,
    WIDTH,
    Picture,
    drawable,
    families,
    gateway_name,
    inches,
    left_to_right,
    legend_above,
    minus,
    note,
    own_axes,
    row_names,
    shortened,
    time_axis,
    tone,
)
from neogate_lab.analysis.charts import (
    availability_strip,
    comparison,
    delivery,
    distribution,
    heatmap,
)
from neogate_lab.analysis.tables import Data
from neogate_lab.analysis.tracks import Band, Track, first_of_each, outline, tracks

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


_LEAST_TIME = np.timedelta64(4, "s")

_FEW = 240
"""Up to so many measurements a line, each one is marked."""

_RESTLESS = 4000.0
"""A line that goes up and down by so many dB in all, five to a pixel, hides others like a band."""

_ROW, _LANE = 0.065, 0.035
"""Heights of a row of labels and of a lane of marks, as parts of axes of the usual height."""

_COLUMNS_OF_PIXELS = 16_000
"""Longer lines are drawn by their extremes in so many columns. The usual picture has 1000; several
to a pixel keep the shading that many overlapping strokes have (`benchmarks/plot.py`)."""

_LEAST_DB = 12.0
"""So many dB are shown at least: one step of CSQ is 2 dB and should look small."""

_MOST_MARKS = 100
_MOST_CAPTIONS = 200
_MOST_IN_KEY = 12
_LEGEND_ROWS = 18
_MOST_DARK = 5


def signal_history(data: Data, ax: Axes | None = None) -> Axes:
    """Draw the signal strength of every port over time.

    A line is one port of one gateway. It breaks wherever nothing was measured: where a measurement
    failed, where it gave no value, where ticks are missing. Triangles mark values that are bounds
    (CSQ 0: at most -113 dBm, CSQ 31: at least -51 dBm; 3GPP TS 27.007 §8.5), ticks below a line
    mark a port that was registered but gave no value. Labels stand in bands.

    Up to seven ports share one scale. More ports, or several whose lines are too restless to lie
    on each other, have a lane each: one under the other, all of the same height in dB.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`, in any order.
    ax : Axes, optional
        Draw there; by default on a figure of its own, as high as it needs. The legend stands at
        the right of the axes: make your figure with ``layout="constrained"`` to have room for it.

    Returns
    -------
    Axes
        Time in UTC, signal strength in dBm; its lines hold dBm in lanes too. Notebooks show it as a
        picture; its ``figure`` can be saved.

    Raises
    ------
    InvalidRequest
        `data` is neither, or lacks columns of the table `signal`.
    """
    found, dark = tracks(data)
    dark = [f"{gateway_name(name)}: never reached" for name in dark]
    crowded = _crowded(found)
    if ax is None:
        # Lanes get lower as they get more; a hundred are still as high as their names.
        rows = min(len(found), MOST_LANES)
        ax = own_axes(HEIGHT * max(1.0, np.sqrt(rows / 8)) if crowded else HEIGHT)
    if not found:
        return _nothing(ax, dark)
    several = len({track.gateway for track in found}) > 1 or bool(dark)
    if crowded:
        _draw_lanes(ax, found, several, dark)
    else:
        _draw_together(ax, found, several, dark)
    return ax


def _crowded(found: Sequence[Track]) -> bool:
    if len(found) < 2 or len(found) > len(PALETTE):
        return len(found) > 1
    return any(np.nansum(np.abs(np.diff(track.value))) > _RESTLESS for track in found)


def _nothing(ax: Axes, dark: Sequence[str]) -> Axes:
    note(ax, "\n".join(["no measurements", *dark[:_MOST_DARK]]))
    ax.xaxis.set_major_locator(NullLocator())
    ax.yaxis.set_major_locator(NullLocator())
    _name_axes(ax)
    return ax


# -- one port --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A track and its looks."""

    track: Track
    name: str
    colour: str

    @property
    def caption(self) -> str:
        """The port, and the networks it was registered with."""
        if self.track.empty:
            return f"{self.name}  (no values)"
        networks = [drawable(name) for name in self.track.networks]
        shown = ", ".join(networks[:2]) + (" …" if len(networks) > 2 else "")
        return f"{self.name}  {shortened(shown, 28)}".rstrip()

    def draw(self, ax: Axes, transform: Transform | None = None, size: float = 1.0) -> None:
        """The values, broken at every gap, and the bounds among them."""
        track = self.track
        x = np.insert(track.times, track.breaks, track.times[track.breaks])
        y = np.insert(track.value, track.breaks, np.nan)
        if len(x) > 4 * _COLUMNS_OF_PIXELS and not track.empty:
            kept = outline(x, y, _COLUMNS_OF_PIXELS)
            x, y = x[kept], y[kept]
        there = ~np.isnan(y)
        alone = there & ~np.r_[False, there[:-1]] & ~np.r_[there[1:], False]
        dots = there if np.count_nonzero(there) <= _FEW else alone
        ax.xaxis.update_units(x)  # type: ignore[no-untyped-call]
        stroke = Stroke(
            x,
            y,
            label=self.name,
            color=self.colour,
            linewidth=0.7 + 0.6 * size,
            marker="o" if dots.any() else "",
            markersize=2.8 * size,
            markevery=np.flatnonzero(dots).tolist(),
        )
        if transform is not None:
            stroke.set_transform(transform)
        ax.add_line(stroke)
        for at, marker, _ in _bounds(track):
            if len(at):
                at = at[first_of_each(track.times[at], _MOST_MARKS)]
                (marks,) = ax.plot(
                    track.times[at], track.value[at], **_bound_look(ax, marker, self.colour, size)
                )
                if transform is not None:
                    marks.set_transform(transform)

    def draw_no_value(self, ax: Axes, height: float, size: float = 1.0) -> None:
        """Marks where it was registered without a value, so high in the axes."""
        times = self.track.times[self.track.no_value]
        times = times[first_of_each(times, _COLUMNS_OF_PIXELS)] if len(times) else times
        ax.plot(
            times,
            np.full(len(times), height),
            transform=ax.get_xaxis_transform(),
            **_no_value_look(self.colour, size),
        )


def _colours(ax: Axes) -> Sequence[str]:
    """Those of lines; the last is ink, which is white on a dark ground."""
    return (*PALETTE[:-1], tone(ax, 1))


def _bounds(track: Track) -> tuple[tuple[np.ndarray[Any, Any], str, str], ...]:
    return (
        (track.at_most, "v", "at most (CSQ 0)"),
        (track.at_least, "^", "at least (CSQ 31)"),
    )


def _bound_look(ax: Axes, marker: str, colour: str, size: float = 1.0) -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": 6.5 * size,
        "markerfacecolor": tone(ax, 0),
        "markeredgecolor": colour,
        "markeredgewidth": 1.3 * size,
        "zorder": 3,
    }


def _no_value_look(colour: str, size: float = 1.0) -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": "|",
        "markersize": 6 * size,
        "markeredgewidth": 1.5,
        "color": colour,
    }


# -- a few ports on one scale ----------------------------------------------------------------------


def _draw_together(ax: Axes, found: Sequence[Track], several: bool, dark: Sequence[str]) -> None:
    lines = [
        _Line(track, _port(track, several), colour)
        for track, colour in zip(found, _colours(ax), strict=False)
    ]
    for line in lines:
        line.draw(ax)
    labels = _Labels(ax, found)
    alike: dict[tuple[Band, ...], list[Track]] = {}
    for track in found:
        alike.setdefault(track.bands, []).append(track)
    alike.pop((), None)
    for number, (bands, owners) in enumerate(alike.items()):
        whose = "" if len(owners) == len(found) else f" ({_ports(owners, several)})"
        labels.draw(bands, 1 - (number + 1) * _ROW, _ROW, whose)
    head = len(alike) * _ROW
    if len(alike) == 1:
        labels.draw_borders(next(iter(alike)), 1 - head)
    silent = [line for line in lines if len(line.track.no_value)]
    foot = (len(silent) + 0.5) * _LANE if silent else 0.0
    for number, line in enumerate(reversed(silent)):
        line.draw_no_value(ax, (number + 0.75) * _LANE)
    if silent:
        border = Line2D(
            [0, 1], [foot, foot], transform=ax.transAxes, color=tone(ax, FAINT), linewidth=0.7
        )
        ax.add_artist(border)
    low, high = _scale(ax, found)
    whole = (high - low) / (1 - head - foot)
    ax.set_ylim(low - foot * whole, high + head * whole)
    ax.yaxis.set_major_locator(_Decibels(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    ax.grid(axis="y", color=tone(ax, GRID), linewidth=0.7)
    ax.set_axisbelow(True)
    _dress(ax, found)
    _number(ax, lines)
    _legend_beside(ax, *_entries(ax, lines, found, labels.key(), dark))


def _number(ax: Axes, lines: Sequence[_Line]) -> None:
    """The port at the end of each line, for readers and printers without colours."""
    valued = [line for line in lines if not line.track.empty]
    if len({line.track.port for line in valued}) < max(len(valued), 2):
        return  # nothing to tell apart, or not by its number
    low, high = ax.get_ylim()
    apart = 1.2 * SMALL / 72 / inches(ax)[1] * (high - low)
    ends = [np.flatnonzero(~np.isnan(line.track.value))[-1] for line in valued]
    level = np.array([line.track.value[end] for line, end in zip(valued, ends, strict=True)])
    order = np.argsort(level, kind="stable")
    steps = apart * np.arange(len(order))
    # Upwards until none lies on another; back down where that leads out of the axes.
    level[order] = np.maximum.accumulate(level[order] - steps) + steps
    level[order] = np.minimum(level[order], high - steps[::-1])
    for line, end, place in zip(valued, ends, level, strict=True):
        ax.annotate(
            str(line.track.port),
            (line.track.times[end], place),
            xytext=(3, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=SMALL,
            fontweight="bold",
            color=line.colour,
            path_effects=[withStroke(linewidth=2.5, foreground=tone(ax, 0))],
            annotation_clip=False,
            zorder=4,
        )


def _port(track: Track, several: bool) -> str:
    return f"port {track.port}" + (f" · {gateway_name(track.gateway)}" if several else "")


def _ports(owners: Sequence[Track], several: bool) -> str:
    names = [_port(track, several).removeprefix("port ") for track in owners]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ("port " if len(names) == 1 else "ports ") + ", ".join(names[:4]) + more


class _Decibels(MaxNLocator):
    """Ticks where CSQ can be (TS 27.007 §8.5): the room around the values has no dBm."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        ticks = np.asarray(super().tick_values(vmin, vmax))
        return ticks[(ticks >= -113) & (ticks <= -51)]


# -- many ports, a lane each -----------------------------------------------------------------------


def _draw_lanes(ax: Axes, found: Sequence[Track], several: bool, dark: Sequence[str]) -> None:
    """Lanes as high as each other in dB, so that fading compares; each around its own level."""
    shown = found[:MOST_LANES]
    ranges = [_range(track) for track in shown]
    span = max(high - low for low, high in ranges)
    labels = _Labels(ax, shown)
    shared = len({track.bands for track in shown}) == 1 and bool(shown[0].bands)
    height = inches(ax)[1]
    head = min(_ROW * HEIGHT / height, 0.2) if shared else 0.0
    if shared:
        labels.draw(shown[0].bands, 1 - head, head)
        labels.draw_borders(shown[0].bands, 1 - head)
    lane = (1 - head) / len(shown)
    room, foot = 0.8 * lane, 0.15 * lane
    size = float(np.clip(lane * height / 0.5, 0.5, 1.0))
    gateways = list(dict.fromkeys(track.gateway for track in shown))
    colours = _colours(ax)
    lines, marks = [], []
    for number, (track, (low, high)) in enumerate(zip(shown, ranges, strict=True)):
        bottom = 1 - head - (number + 1) * lane
        least = (low + high - span) / 2
        place = Affine2D().translate(0, -least).scale(1, room / span).translate(0, bottom + foot)
        line = _Line(
            track,
            _port(track, several),
            colours[gateways.index(track.gateway) % len(colours)],
        )
        lines.append(line)
        line.draw(ax, blended_transform_factory(ax.transData, place + ax.transAxes), size)
        if not shared:
            labels.draw(track.bands, bottom, lane, lane=True)
        if len(track.no_value):
            line.draw_no_value(ax, bottom + 0.08 * lane, size)
        for value in _reference(track, least, span, room * height):
            marks.append((bottom + foot + room * (value - least) / span, minus(value)))
    bottoms = 1 - head - (1 + np.arange(len(shown))) * lane
    ax.hlines(
        bottoms[:-1], 0, 1, transform=ax.transAxes, color=tone(ax, FAINT), linewidth=0.7, zorder=1
    )
    at = [place for place, _ in marks]
    ax.hlines(at, 0, 1, transform=ax.transAxes, color=tone(ax, GRID), linewidth=0.7, zorder=0.9)
    ax.set_ylim(0, 1)
    ax.set_yticks(at, [words for _, words in marks], minor=True, fontsize=7.0)
    ax.tick_params(
        axis="y", which="minor", length=2, color=tone(ax, FAINT), labelcolor=tone(ax, GREY)
    )
    row_names(ax, [line.caption for line in lines], bottoms + lane / 2)
    ax.tick_params(axis="y", which="major", pad=30 if marks else 4)
    _dress(ax, shown)
    ax.set_ylabel(f"received signal strength (dBm)\na lane is {span / 0.8:.0f} dB high")
    if len(found) > len(shown):
        dark = [f"{len(found) - len(shown)} more ports have no room here", *dark]
    legend_above(ax, *_entries(ax, [], shown, labels.key(), dark))


def _range(track: Track) -> tuple[float, float]:
    if track.empty:
        return -83 - _LEAST_DB / 2, -83 + _LEAST_DB / 2
    low, high = float(np.nanmin(track.value)) - 1, float(np.nanmax(track.value)) + 1
    short = max(_LEAST_DB - (high - low), 0.0) / 2
    return low - short, high + short


def _reference(track: Track, low: float, span: float, room: float) -> Sequence[float]:
    """The dBm to mark in a lane so many inches high; its median where there is room for one."""
    if track.empty or room < 0.1:
        return ()
    for step in (5, 10, 20):
        if room * step / span > 0.14 and 2 * step < span:
            return [value for value in range(-120, -40, step) if low < value < low + span]
    return (round(float(np.nanmedian(track.value))),)


# -- labels ----------------------------------------------------------------------------------------


class _Labels:
    """Bands of labels, and the key of those whose words have no room in any of their bands."""

    def __init__(self, ax: Axes, found: Sequence[Track]) -> None:
        self.ax = ax
        start, end = _span(found)
        points = 72 * inches(ax)[0] / (end - start).astype(float)
        widest: dict[str, float] = {}
        for band in (band for track in found for band in track.bands):
            width = (band.end - band.start).astype(float) * points
            widest[band.label] = max(width, widest.get(band.label, 0.0))
        self.untold = [
            label for label, width in widest.items() if width < 0.55 * SMALL * len(label) + 8
        ]
        # Where words tell labels apart, tints are enough.
        hatches = HATCHES if self.untold and len(widest) > len(TINTS) else HATCHES[:1]
        looks: list[dict[str, Any]] = [
            {"facecolor": tint, "hatch": hatch} for hatch, tint in product(hatches, TINTS)
        ]
        # In order of appearance, so that none changes its tint while a picture grows; but labels in
        # the key never share a look.
        crowded = len(widest) > len(looks)
        ordered = dict.fromkeys([*self.untold, *widest] if crowded else widest)
        self.looks = {label: looks[n % len(looks)] for n, label in enumerate(ordered)}

    def draw(
        self,
        bands: Sequence[Band],
        bottom: float,
        height: float,
        whose: str = "",
        lane: bool = False,
    ) -> None:
        """Bands in a row of the axes, with captions; behind what is drawn if it is a lane."""
        when: dict[str, list[tuple[Any, Any]]] = {}
        for band in bands:
            when.setdefault(band.label, []).append((band.start, band.end - band.start))
        for label, spans in when.items():
            self.ax.broken_barh(
                spans,
                (bottom, height) if lane else (bottom + 0.06 * height, 0.88 * height),
                transform=self.ax.get_xaxis_transform(),
                edgecolor="#999999",
                linewidth=0,
                zorder=0.5 if lane else 2.5,
                alpha=0.6 if lane else None,
                **self.looks[label],
            )
        middle, size = (0.82, 6.5) if lane else (0.5, SMALL)
        for band in sorted(bands, key=lambda band: band.start - band.end)[:_MOST_CAPTIONS]:
            text = left_to_right(drawable(band.label) + whose)
            self.ax.add_artist(Caption(text, band, bottom + middle * height, size))

    def draw_borders(self, bands: Sequence[Band], height: float) -> None:
        """Lines through the axes, up to the bands, where one label ends and another begins."""
        self.ax.vlines(
            [band.start for band in bands[1:_MOST_CAPTIONS]],
            0,
            height,
            transform=self.ax.get_xaxis_transform(),
            color=tone(self.ax, FAINT),
            linewidth=0.7,
            zorder=1,
        )

    def key(self) -> list[tuple[Any, str]]:
        """For the legend."""
        told = [
            (Patch(edgecolor="#999999", linewidth=0, **self.looks[label]), _short(label))
            for label in self.untold[:_MOST_IN_KEY]
        ]
        more = len(self.untold) - len(told)
        return [*told, (_nothing_to_see(), f"and {more} more labels")] if more else told


def _short(words: str) -> str:
    return shortened(drawable(words), 28)


# -- axes ------------------------------------------------------------------------------------------


def _span(found: Sequence[Track]) -> tuple[np.datetime64, np.datetime64]:
    """The first time, and the last or the end of the last label, with some room around them."""
    ends = [band.end for track in found for band in track.bands[-1:]]
    start = min(track.times[0] for track in found)
    end = max([*(track.times[-1] for track in found), *ends])
    margin = max((end - start) / 100, (_LEAST_TIME - (end - start)) / 2)
    return start - margin, end + margin


def _scale(ax: Axes, found: Sequence[Track]) -> tuple[float, float]:
    """The dBm to be shown: those of the values, and some room."""
    valued = [track.value for track in found if not track.empty]
    if not valued:
        note(ax, "no signal values")
        return -115.0, -49.0
    low = min(float(np.nanmin(value)) for value in valued) - 2
    high = max(float(np.nanmax(value)) for value in valued) + 2
    short = max(_LEAST_DB - (high - low), 0.0) / 2
    return low - short, high + short


def _dress(ax: Axes, found: Sequence[Track]) -> None:
    start, end = _span(found)
    ax.set_xlim(start, end)  # type: ignore[arg-type]
    time_axis(ax)
    _name_axes(ax)


def _name_axes(ax: Axes) -> None:
    ax.set_xlabel("time (UTC)")
    ax.set_ylabel("received signal strength (dBm)")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _nothing_to_see() -> Line2D:
    return Line2D([], [], linestyle="none")


def _entries(
    ax: Axes, lines: Sequence[_Line], found: Sequence[Track], key: Any, dark: Sequence[str]
) -> tuple[list[Any], list[str]]:
    """Handles and words of the legend."""
    entries = [(Line2D([], [], color=line.colour, linewidth=1.8), line.caption) for line in lines]
    for number, (_, marker, meaning) in enumerate(_bounds(found[0])):
        if any(len(_bounds(track)[number][0]) for track in found):
            entries.append((Line2D([], [], **_bound_look(ax, marker, tone(ax, GREY))), meaning))
    if any(len(track.no_value) for track in found):
        entries.append((Line2D([], [], **_no_value_look(tone(ax, GREY))), "registered, no value"))
    entries += key
    entries += [(_nothing_to_see(), words) for words in dark[:_MOST_DARK]]
    return [handle for handle, _ in entries], [words for _, words in entries]


def _legend_beside(ax: Axes, handles: list[Any], words: list[str]) -> None:
    columns = 1 + (len(handles) - 1) // _LEGEND_ROWS
    if isinstance(ax.figure, Picture):
        ax.figure.set_figwidth(WIDTH + 2.2 * (columns - 1))
    legend = ax.legend(
        handles,
        words,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        frameon=False,
        ncols=columns,
        prop=FontProperties(family=families(), size=SMALL),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
