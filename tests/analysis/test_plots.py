"""What a signal history draws, and what it must never draw."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text

from neogate_lab.analysis import artists, canvas, plots
from neogate_lab.errors import InvalidRequest
from neogate_lab.history import Store
from neogate_lab.history.frames import frame_of

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def row(tick, csq=15, *, port=1, every=10.0, **changes):
    """One row of `signal`; csq None is "registered, but no value"."""
    known = csq is not None
    return {
        "row_id": tick + 1,
        "time": START + timedelta(seconds=tick * every),
        "gateway": "lab",
        "port": port,
        "span": None if port is None else port + 1,
        "ok": True,
        "registered": True,
        "signal_raw": csq if known else -1,
        "signal": csq,
        "rssi_dbm": -113 + 2 * csq if known else None,
        "rssi_bound": {0: "<=", 31: ">="}.get(csq, ""),
        "network": "MegaFon",
        "survey": "s",
    } | changes


def failed(tick, **changes):
    lost = {"ok": False, "error": "no_answer", "registered": None, "network": ""}
    return row(tick, None, **(lost | {"signal_raw": None} | changes))


def draw(rows, **options):
    return plots.signal_history(frame_of("signal", rows), **options)


def line(ax, name="port 1"):
    (found,) = [each for each in ax.lines if each.get_label() == name]
    return found


def segments(drawn):
    """The straight pieces that a line consists of, as pairs of seconds after START."""
    seconds = (drawn.get_xdata() - np.datetime64(START.replace(tzinfo=None))) / np.timedelta64(
        1, "s"
    )
    there = ~np.isnan(drawn.get_ydata())
    return [
        (seconds[i], seconds[i + 1]) for i in range(len(there) - 1) if there[i] and there[i + 1]
    ]


def points(drawn):
    return sorted(
        (float(y) for y in drawn.get_ydata() if not np.isnan(y)),
    )


def rendered(ax):
    ax.figure.canvas.draw()
    return ax.figure.canvas.get_renderer()


def texts(ax):
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def lanes(ax):
    """Times of the marks at the bottom, by colour."""
    return {
        each.get_color(): len(each.get_xdata()) for each in ax.lines if each.get_marker() == "|"
    }


# -- lines -----------------------------------------------------------------------------------------


def test_one_line_a_gateway_and_port():
    rows = [row(t, port=p, gateway=g) for g in ("lab", "attic") for p in (1, 2) for t in range(3)]
    ax = draw(rows)
    names = [each.get_label() for each in ax.lines]
    assert names == ["port 1 · attic", "port 2 · attic", "port 1 · lab", "port 2 · lab"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"{name}  MegaFon" for name in names
    ]


def test_values_are_drawn_in_dbm_at_their_times_whatever_the_order_of_the_rows():
    ax = draw([row(2, 12), row(0, 10), row(1, 11)])
    assert list(line(ax).get_ydata()) == [-93, -91, -89]
    assert segments(line(ax)) == [(0, 10), (10, 20)]


@pytest.mark.parametrize(
    "hole",
    [
        pytest.param([failed(2)], id="a failed measurement"),
        pytest.param([failed(2, error="missed")], id="a tick that was missed"),
        pytest.param([row(2, None)], id="registered, but no value"),
        pytest.param([row(2, None, registered=False)], id="not registered"),
        pytest.param([], id="a tick without a row"),
        pytest.param([row(2, 9, ok=False)], id="a value of an answer that was not understood"),
    ],
)
def test_a_gap_is_never_bridged(hole):
    ax = draw([row(0), row(1), *hole, row(3), row(4)])
    assert segments(line(ax)) == [(0, 10), (30, 40)]


def test_a_late_tick_is_no_gap():
    late = row(2) | {"time": START + timedelta(seconds=24)}
    assert segments(line(draw([row(0), row(1), late, row(3)]))) == [(0, 10), (10, 24), (24, 30)]


def test_two_surveys_are_not_joined():
    ax = draw([*(row(t, survey="a") for t in range(3)), *(row(t, survey="b") for t in (9, 10))])
    assert segments(line(ax)) == [(0, 10), (10, 20), (90, 100)]


def test_surveys_of_different_pace_keep_each_their_own():
    slow = [row(t, every=60, survey="slow") for t in range(3)]
    fast = [row(t, every=5, survey="fast") | {"time": START + timedelta(seconds=900 + 5 * t)}
            for t in range(3)]  # fmt: skip
    assert segments(line(draw(slow + fast))) == [(0, 60), (60, 120), (900, 905), (905, 910)]


def test_single_samples_are_points():
    ax = draw([row(0, survey=""), row(500, survey="x")])
    assert segments(line(ax)) == []
    assert points(line(ax)) == [-83, -83]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 7]), st.sampled_from(["value", "none", "failed"])),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_happened_only_neighbouring_values_are_joined(steps):
    rows, tick, values = [row(-2), row(-1)], 0, {-2, -1}
    for skipped, kind in steps:
        tick += skipped
        rows.append({"value": row, "none": lambda t: row(t, None), "failed": failed}[kind](tick))
        if kind == "value":
            values.add(tick)
        tick += 1
    ticks = sorted(values)
    # Enough regular rows behind it that ten seconds are the usual distance.
    rows += [row(tick + 100 + t) for t in range(60)]
    ticks += [tick + 100 + t for t in range(60)]
    expected = [(10.0 * a, 10.0 * b) for a, b in pairwise(ticks) if b == a + 1]
    assert segments(line(draw(rows))) == expected


def test_a_lone_value_can_be_seen_in_a_long_history():
    rows = [row(t) for t in range(1000)]
    rows[500:503] = [failed(500), row(501, 20), failed(502)]
    drawn = line(draw(rows))
    (mark,) = drawn.get_markevery()
    assert drawn.get_ydata()[mark] == -73
    assert drawn.get_marker() == "o"


def test_lines_that_share_a_scale_differ_in_colour():
    ax = draw([row(t, port=p) for p in range(1, 8) for t in range(2)])
    drawn = [line(ax, f"port {p}") for p in range(1, 8)]
    assert len({each.get_color() for each in drawn}) == 7
    assert all(each.get_transform() == ax.transData for each in drawn)


def test_lines_bear_their_port_at_their_end_for_readers_without_colours():
    ax = draw([row(t, 10 + p // 2, port=p) for p in range(1, 5) for t in range(20)])
    marks = {text.get_text(): text.xy for text in ax.texts if text.get_text().isdigit()}
    assert list(marks) == ["1", "2", "3", "4"]
    heights = [ax.transData.transform((0, y))[1] for _, y in marks.values()]
    assert np.diff(heights).min() > canvas.SMALL / 72 * ax.figure.dpi  # 2 and 3 end as high
    assert {time for time, _ in marks.values()} == {np.datetime64("2026-11-20T08:03:10")}


def test_ports_of_lines_that_end_at_the_top_stay_in_the_picture():
    ax = draw([row(t, 31, port=p, label="roof") for p in range(1, 8) for t in range(20)])
    heights = [text.xy[1] for text in ax.texts if text.get_text().isdigit()]
    bottom, top = ax.get_ylim()
    assert bottom < min(heights)
    assert max(heights) <= top
    assert len(set(heights)) == 7


def test_one_line_alone_and_ports_of_two_gateways_bear_no_number():
    both = [row(t, gateway=name) for name in ("lab", "attic") for t in range(3)]
    for rows in ([row(t) for t in range(3)], both):
        assert [text for text in draw(rows).texts if text.get_text()] == []


def test_the_number_of_artists_does_not_grow_with_the_history():
    small, large = (draw([row(t, t % 32) for t in range(n)]) for n in (64, 6400))
    assert len(small.get_children()) == len(large.get_children())


# -- what is no value, or not quite one ------------------------------------------------------------


def test_registered_without_a_value_is_marked_at_the_bottom():
    rows = [
        *(row(t, None if t in (1, 2) else 3, port=1) for t in range(4)),
        *(row(t, 10, port=2) for t in range(4)),
    ]
    ax = draw(rows)
    assert lanes(ax) == {line(ax).get_color(): 2}
    (marks,) = [each for each in ax.lines if each.get_marker() == "|"]
    bottom, top = ax.get_ylim()
    lowest = min(points(line(ax)) + points(line(ax, "port 2")))
    assert bottom < bottom + marks.get_ydata()[0] * (top - bottom) < lowest
    assert "registered, no value" in texts(ax)


@pytest.mark.parametrize(
    "silent", [failed(1), row(1, None, registered=False), row(1, None, registered=None)]
)
def test_other_reasons_for_no_value_are_not_marked_so(silent):
    ax = draw([row(0), silent, row(2)])
    assert lanes(ax) == {}
    assert "registered, no value" not in texts(ax)


def test_bounds_are_marked():
    ax = draw([row(0, 0), row(1, 1), row(2, 31)])
    marked = {each.get_marker(): list(each.get_ydata()) for each in ax.lines}
    assert marked["v"] == [-113]
    assert marked["^"] == [-51]
    assert {"at most (CSQ 0)", "at least (CSQ 31)"} <= set(texts(ax))


def test_ticks_stay_where_a_signal_can_be():
    ax = draw([row(0, 0, label="x"), row(1, None), row(2, 31)])
    assert all(-113 <= tick <= -51 for tick in ax.get_yticks())


def test_a_port_without_any_value_is_named_in_the_legend():
    ax = draw([*(row(t) for t in range(3)), *(failed(t, port=2) for t in range(3))])
    assert "port 2  (no values)" in texts(ax)


@pytest.mark.parametrize("rows", [[], [failed(0), failed(1)]])
def test_nothing_measured_is_said_in_words(rows):
    ax = draw(rows)
    rendered(ax)
    assert ("no signal values" if rows else "no measurements") in texts(ax)


# -- labels ----------------------------------------------------------------------------------------


def bands(ax):
    """(start, end) in seconds after START of every band."""
    zero = mpl.dates.date2num(START)
    return sorted(
        tuple((np.array(path.get_extents().intervalx) - zero).__mul__(86400).round(3))
        for collection in ax.collections
        if isinstance(collection, PolyCollection)
        for path in collection.get_paths()
    )


def captions(ax):
    rendered(ax)
    return [text for text in ax.texts + ax.artists if isinstance(text, artists.Caption)]


def test_labels_are_bands_with_captions():
    ax = draw([row(t, label="sill" if t < 40 else "roof") for t in range(80)])
    assert bands(ax) == [(0, 400), (400, 800)]
    assert sorted(caption.get_text() for caption in captions(ax)) == ["roof", "sill"]


def test_ports_with_labels_of_their_own_have_bands_of_their_own():
    rows = [
        row(t, port=p, label="roof" if p == 2 and t > 40 else "sill")
        for p in (1, 2, 3)
        for t in range(80)
    ]
    shown = sorted(caption.get_text() for caption in captions(draw(rows)))
    assert shown == ["roof (port 2)", "sill (port 2)", "sill (ports 1, 3)"]


def test_a_gap_of_one_port_does_not_cut_the_band():
    rows = [
        row(t, port=p, label="sill") for p in (1, 2) for t in range(20) if p == 1 or t not in (7, 8)
    ]
    assert bands(draw(rows)) == [(0, 200)]


def test_a_time_when_nobody_measured_cuts_the_band():
    rows = [row(t, port=p, label="sill") for p in (1, 2) for t in (*range(5), *range(50, 55))]
    assert bands(draw(rows)) == [(0, 50), (500, 550)]


def test_time_without_a_label_has_no_band():
    ax = draw([row(t, label="roof" if t > 2 else "") for t in range(6)])
    assert bands(ax) == [(30, 60)]


def test_captions_stay_in_their_bands_and_values_below_them():
    words = "a label that is far too long for the little time that it was measured"
    ax = draw([row(t, 31, label=words if t < 5 else "rest") for t in range(40)])
    renderer = rendered(ax)
    (short,) = [text for text in captions(ax) if text.get_text() != "rest"]
    assert short.get_text().endswith("…")
    box = short.get_window_extent(renderer)
    edges = ax.transData.transform([(mpl.dates.date2num(START), 0), (edge(50), 0)])[:, 0]
    assert edges[0] <= box.x0
    assert box.x1 <= edges[1]
    assert ax.transData.transform((0, -51))[1] < box.y0


def edge(seconds):
    return mpl.dates.date2num(START + timedelta(seconds=seconds))


def test_a_band_too_small_for_a_letter_has_no_caption_and_does_not_fail():
    ax = draw([row(t, label=f"{t:04d}") for t in range(3000)])
    rendered(ax)
    assert len(bands(ax)) == 3000


def test_labels_of_seven_ports_leave_room_for_the_values():
    rows = [row(t, port=p, label=f"place {p}") for p in range(1, 8) for t in range(3)]
    ax = draw(rows)
    assert len(captions(ax)) == 7
    low, high = ax.get_ylim()
    assert (high - -83) / (high - low) < 0.8


def legend(ax):
    drawn = ax.get_legend()
    return [text.get_text() for text in drawn.get_texts()] if drawn else []


def test_labels_whose_bands_are_too_short_for_words_stand_in_the_legend():
    rows = [row(t, label="south" if t // 5 % 2 else "north") for t in range(600)]
    ax = draw(rows)
    assert legend(ax) == ["port 1  MegaFon", "north", "south"]
    north, south = ax.get_legend().get_patches()
    assert north.get_facecolor() != south.get_facecolor()
    tints = {tuple(each.get_facecolor()[0]) for each in ax.collections if len(each.get_facecolor())}
    assert {north.get_facecolor(), south.get_facecolor()} <= tints
    assert legend(draw([row(t, label="north") for t in range(600)])) == ["port 1  MegaFon"]


def test_labels_in_the_legend_look_different_from_each_other():
    short = ["north", "south", "east", "west"]
    long = [f"place {n}" for n in range(9)]
    rows = [row(t, label=short[t // 2 % 4] if t < 40 else long[(t - 40) // 40]) for t in range(400)]
    drawn = draw(rows).get_legend()
    assert legend(draw(rows))[1:] == short
    assert len({patch.get_facecolor() for patch in drawn.get_patches()}) == 4


def test_a_label_keeps_its_tint_while_the_picture_grows():
    def tints(ticks):
        ax = draw([row(t, label="sill" if t < 60 else "roof") for t in range(ticks)])
        found = [each for each in ax.collections if each.get_transform() != ax.transData]
        return [tuple(each.get_facecolor()[0]) for each in found if len(each.get_facecolor())]

    sill, roof = tints(120)
    assert sill != roof
    for ticks in (62, 66, 72, 90):
        assert tints(ticks) == [sill, roof]


def test_more_labels_than_the_legend_holds_are_counted():
    ax = draw([row(t, label=f"{t // 3:04d}") for t in range(600)])
    assert legend(ax)[-1] == "and 188 more labels"


# -- lanes -----------------------------------------------------------------------------------------


def lane(ax, name):
    """The line's lowest and highest pixel, and where its name stands."""
    drawn = line(ax, name)
    heights = drawn.get_transform().transform(np.c_[np.zeros(len(drawn.get_ydata())),
                                                    drawn.get_ydata()])[:, 1]  # fmt: skip
    (tick,) = (each for each in ax.yaxis.get_major_ticks()
               if each.label1.get_text().startswith(f"{name}  "))  # fmt: skip
    return (
        np.nanmin(heights),
        ax.transData.transform((0, tick.get_loc()))[1],
        np.nanmax(heights),
    )


def names(ax):
    return [tick.label1.get_text() for tick in ax.yaxis.get_major_ticks()]


def test_more_ports_than_colours_have_a_lane_each():
    ax = draw([row(t, 1 + t % 20, port=p) for p in range(1, 33) for t in range(40)])
    assert names(ax) == [f"port {p}  MegaFon" for p in range(1, 33)]
    assert legend(ax) == []
    rendered(ax)
    above = np.inf
    for port in range(1, 33):
        low, name, high = lane(ax, f"port {port}")
        assert low < name < high < above
        above = low
    assert list(line(ax, "port 9").get_ydata()[:2]) == [-111, -109]


def test_ports_whose_lines_would_hide_each_other_have_lanes():
    dense = [row(t, t % 3 + 10, port=p) for p in (1, 2) for t in range(4100)]
    assert names(draw(dense)) == ["port 1  MegaFon", "port 2  MegaFon"]
    assert legend(draw(dense[:4100])) == ["port 1  MegaFon"]  # alone it hides nothing
    calm = [row(t, t // 1000 + 10, port=p) for p in (1, 2) for t in range(4100)]
    assert legend(draw(calm)) == ["port 1  MegaFon", "port 2  MegaFon"]


def test_the_words_beside_lanes_stay_in_the_picture_also_where_it_is_smaller():
    ax = draw([row(t, 1 + t % 20, port=p) for p in range(1, 9) for t in range(40)])
    ax.figure.set_size_inches(0.87 * ax.figure.get_size_inches())
    rendered(ax)
    words, whole = ax.yaxis.label.get_window_extent(), ax.figure.bbox
    assert "a lane is" in ax.get_ylabel()
    assert whole.y0 <= words.y0 < words.y1 <= whole.y1


def test_a_decibel_is_as_high_in_every_lane():
    rows = [row(t, (10 + t % 2) if p % 2 else (20 + 4 * (t % 2)), port=p)
            for p in range(1, 9) for t in range(9)]  # fmt: skip
    ax = draw(rows)
    rendered(ax)
    calm, lively = (lane(ax, f"port {p}") for p in (1, 2))
    assert (lively[2] - lively[0]) / (calm[2] - calm[0]) == pytest.approx(4)


def test_a_low_lane_tells_the_level_that_its_line_is_around():
    csq = {port: 6 + port % 16 for port in range(1, 33)}
    ax = draw([row(t, each, port=port) for port, usual in csq.items()
               for t, each in enumerate((5, usual, usual, usual, 25))])  # fmt: skip
    rendered(ax)
    told = zip(ax.yaxis.get_minorticklocs(), ax.get_yticklabels(minor=True), strict=True)
    shown = {round(place, 6): text.get_text() for place, text in told}
    for port, usual in csq.items():
        dbm = -113 + 2 * usual
        height = line(ax, f"port {port}").get_transform().transform((0, dbm))[1]
        place = ax.transData.inverted().transform((0, height))[1]
        assert shown[round(place, 6)] == f"−{-dbm}"


def test_lanes_hold_labels_of_their_own():
    rows = [row(t, port=p, label=f"place {p}") for p in range(1, 33) for t in range(30)]
    ax = draw(rows)
    shown = {caption.get_text(): caption.get_position()[1] for caption in captions(ax)}
    assert list(shown) == [f"place {p}" for p in range(1, 33)]
    for port in range(1, 33):
        low, _, high = (ax.transAxes.inverted().transform((0, y))[1] for y in
                        lane(ax, f"port {port}"))  # fmt: skip
        assert low - 1 / 32 < shown[f"place {port}"] < high + 1 / 32


def test_lanes_with_the_same_labels_share_a_row_above():
    rows = [row(t, port=p, label="roof") for p in range(1, 10) for t in range(30)]
    ax = draw(rows)
    assert [caption.get_text() for caption in captions(ax)] == ["roof"]
    (caption,) = captions(ax)
    assert ax.transAxes.transform((0, caption.get_position()[1]))[1] > lane(ax, "port 1")[2]


def test_registered_without_a_value_is_marked_in_its_own_lane():
    ax = draw([row(t, None if (p, t) == (3, 4) else 9, port=p) for p in range(1, 9)
               for t in range(9)])  # fmt: skip
    rendered(ax)
    (marks,) = [each for each in ax.lines if each.get_marker() == "|"]
    height = marks.get_transform().transform((0, marks.get_ydata()[0]))[1]
    assert lane(ax, "port 4")[2] < height < lane(ax, "port 3")[0]
    assert legend(ax) == ["registered, no value"]


def test_a_fleet_larger_than_a_picture_says_what_it_leaves_out():
    rows = [row(t, port=p, gateway=f"g{g:02d}") for g in range(30) for p in (1, 2, 3, 4)
            for t in range(2)]  # fmt: skip
    ax = draw(rows)
    assert len(names(ax)) == 100
    assert "20 more ports have no room here" in legend(ax)


@pytest.mark.parametrize("ports", [2, 20])
def test_gateways_that_were_never_reached_are_named(ports):
    rows = [row(t, port=p) for p in range(1, ports + 1) for t in range(3)]
    dark = [failed(t, gateway="attic", port=None) for t in range(3)]
    assert "attic: never reached" in legend(draw(rows + dark))
    assert any("attic: never reached" in text for text in texts(draw(dark)))


@pytest.mark.parametrize("ports", [4, 32])
def test_given_axes_keep_their_figure_as_it_is(ports):
    figure = Figure(figsize=(4, 3), layout="constrained")
    own, other = figure.subplots(1, 2)
    draw([row(t, port=p, label="x") for p in range(1, ports + 1) for t in range(3)], ax=own)
    assert tuple(figure.get_size_inches()) == (4, 3)
    assert figure.axes == [own, other]
    figure.canvas.draw()


# -- strangers' text -------------------------------------------------------------------------------

HOSTILE = [
    r"$\frac{1}{0$",
    "100$ and $5",
    r"$x^2$",
    "a\nb\x1b[31mc\u202e",
    "室外天线 📡",
    "_hidden",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_strangers_is_never_read_as_tex(text):
    rows = [
        row(t, label=text, network=text, gateway=g) for g in (text or "x", "lab") for t in range(40)
    ]
    ax = draw(rows)
    rendered(ax)  # warnings, such as one for a missing glyph, are errors
    for artist in ax.figure.findobj(Text):
        if "$" in artist.get_text():
            assert not artist.get_parse_math()
    if text.isascii() and text.isprintable():
        assert any(text in shown for shown in texts(ax))


def test_letters_that_no_font_has_become_boxes(monkeypatch):
    monkeypatch.setattr(canvas, "_more_fonts", lambda: ())
    assert canvas.drawable("天线 №1, крыша") == "□□ №1, крыша"
    assert canvas.drawable("line\nbreak\x1b") == "line break"


# -- axes ------------------------------------------------------------------------------------------


def test_axes_tell_their_units():
    ax = draw([row(0), row(1)])
    assert ax.get_xlabel() == "time (UTC)"
    assert ax.get_ylabel() == "received signal strength (dBm)"


def test_time_is_utc_wherever_the_user_lives():
    with mpl.rc_context({"timezone": "Asia/Tokyo"}):
        ax = draw([row(t) for t in range(361)])
        rendered(ax)
        assert isinstance(ax.xaxis.get_major_formatter(), ConciseDateFormatter)
        shown = [label.get_text() for label in ax.get_xticklabels()]
        offset = ax.xaxis.get_major_formatter().get_offset()
    assert "08:30" in shown
    assert "2026-11-20" in offset


@pytest.mark.parametrize("ports", [7, 8])
def test_the_legend_covers_no_data(ports):
    rows = [row(t, None if t == 1 else 0, port=p) for p in range(1, ports + 1) for t in range(3)]
    ax = draw(rows)
    renderer = rendered(ax)
    box, data = (each.get_window_extent(renderer) for each in (ax.get_legend(), ax))
    assert box.x0 >= data.x1 or box.y0 >= data.y1
    assert box.x1 <= ax.figure.bbox.x1
    assert 0 <= box.y0 <= box.y1 <= ax.figure.bbox.y1


def test_given_axes_are_drawn_on_and_returned():
    own = Figure(layout="constrained").add_subplot()
    assert draw([row(0), row(1)], ax=own) is own
    assert line(own).axes is own


def test_a_notebook_shows_it():
    ax = draw([row(0), row(1)])
    assert ax._repr_png_().startswith(b"\x89PNG\r\n\x1a\n")
    assert ax.figure._repr_png_() == ax._repr_png_()


def test_no_pyplot_state_is_left_behind():
    code = (
        "import sys; from neogate_lab.analysis import canvas, plots\n"
        "from neogate_lab.history.frames import frame_of\n"
        "plots.signal_history(frame_of('signal', []))._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what can be drawn -----------------------------------------------------------------------------


def test_a_store_can_be_drawn(tmp_path):
    with Store(tmp_path / "lab.neogate") as store:
        rows = [row(0), row(1)]
        for each in rows:
            del each["row_id"]
        store.append("signal", rows).result()
        assert points(line(plots.signal_history(store))) == [-83, -83]


@pytest.mark.parametrize(
    "typed",
    [
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: frame.astype(object),
        lambda frame: frame.assign(port=frame["port"].astype(float)),
        lambda frame: frame.assign(time=frame["time"].dt.tz_convert("Asia/Tokyo")),
        lambda frame: frame.assign(time=frame["time"].dt.tz_localize(None)),
        lambda frame: frame.assign(time=frame["time"].astype("datetime64[ns, UTC]")),
    ],
    ids=["arrow", "objects", "ports with fractions", "Tokyo", "no zone", "nanoseconds"],
)
def test_columns_may_have_any_type_that_holds_the_same(typed):
    frame = frame_of("signal", [row(t, c, port=p) for p in (1, 2) for t, c in enumerate((9, None))])
    ax = plots.signal_history(typed(frame))
    assert {name: list(line(ax, name).get_ydata()[:1]) for name in ("port 1", "port 2")} == {
        "port 1": [-95],
        "port 2": [-95],
    }
    assert line(ax).get_xdata()[0] == np.datetime64("2026-11-20T08:00")


def test_the_frame_is_left_as_it_was():
    frame = frame_of("signal", [row(1), row(0)])
    before = frame.copy()
    plots.signal_history(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, 2], "^list can't be analysed"),
        (frame_of("messages", []), "no column time, ok, rssi_dbm"),
        (frame_of("signal", [row(0)]).assign(time="soon"), "column time .* does not hold times"),
        (frame_of("signal", [row(0)]).assign(rssi_dbm="weak"), "rssi_dbm .* does not hold numbers"),
        (frame_of("signal", [row(0)]).assign(port="first"), "port .* does not hold numbers"),
        (frame_of("signal", [row(0)]).assign(ok="maybe"), "ok .* does not hold flags"),
    ],
)
def test_what_is_no_signal_frame_is_refused_in_words(data, words):
    with pytest.raises(InvalidRequest, match=words):
        plots.signal_history(data)
