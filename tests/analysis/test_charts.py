"""Pictures of summaries: what they show, and that strangers' text stays text."""

from __future__ import annotations

from itertools import pairwise

import ibis
import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

import neogate_lab as ng
from neogate_lab.analysis import charts, plots
from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import frame_of
from tests.analysis.radio import at, failed, frame, measured, row

STRANGE = "$\\frac{roof}$ <b>天线</b>\x1b[31m"


def two_sides(label="roof"):
    rows = measured(1, seconds=3600, level=12, label="sill")
    return frame(rows + measured(2, begin=3600, seconds=3600, level=15, label=label))


def messages(**counts):
    return frame_of(
        "outbox",
        [
            {"row_id": 1, "queued_at": at(0), "gateway": "lab", "port": 1, "status": status,
             "segments": 1, "written_at": at(1), "status_at": at(3)}
            for status, count in counts.items() for _ in range(count)
        ],
    )  # fmt: skip


def texts(ax):
    return [text.get_text() for text in ax.figure.findobj(Text) if text.get_text()]


CHARTS = {
    "heatmap": plots.heatmap,
    "distribution": plots.distribution,
    "availability_strip": plots.availability_strip,
    "comparison": lambda data, ax=None: plots.comparison(data, "sill", "roof", ax=ax),
    "signal_history": plots.signal_history,
}


@pytest.mark.parametrize("chart", CHARTS)
def test_axes_in_axes_out_and_nothing_left_in_pyplot(chart):
    given = Figure(layout="constrained").add_subplot()
    assert CHARTS[chart](two_sides(), ax=given) is given
    own = CHARTS[chart](two_sides())
    assert own._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "chart", ["heatmap", "distribution", "availability_strip", "signal_history"]
)
def test_nothing_measured_is_said(chart):
    assert {"no measurements", "no signal values"} & set(texts(CHARTS[chart](frame([]))))


def test_strangers_text_is_never_read_as_tex():
    data = two_sides(STRANGE)
    for ax in (
        plots.distribution(data),
        plots.comparison(data, "sill", STRANGE),
        plots.availability_strip(data.assign(gateway=pd.Categorical([STRANGE, "b"] * 360))),
    ):
        ax.figure.canvas.draw()
        for text in ax.figure.findobj(Text):
            if "frac" in text.get_text():
                assert not text.get_parse_math()
                assert "\x1b" not in text.get_text()


def with_one_never_reached():
    """Two ports of one gateway, and another whose ports nobody ever got to know."""
    dark = [failed(10 * t, gateway="attic", port=None) for t in range(9)]
    return frame([row(10 * t, port=p) for t in range(9) for p in (1, 2)] + dark)


def test_a_gateway_that_was_never_reached_is_not_drawn_as_registered():
    ax = plots.availability_strip(with_one_never_reached())
    assert {"port 1 · lab", "port 2 · lab", "no port known · attic"} <= set(texts(ax))
    assert "not measured" in texts(ax)
    (dark,) = (
        bars
        for bars in ax.collections
        if to_hex(bars.get_facecolor()[0]) == charts._KINDS["blind"][0]
    )
    drawn, shown = (each.get_paths()[0].get_extents() for each in (dark, ax.collections[0]))
    assert (drawn.x0, drawn.x1) == pytest.approx((shown.x0, shown.x1))
    assert drawn.y0 < 2 < drawn.y1  # attic's is the uppermost of three rows


@pytest.mark.parametrize(
    "draw",
    [plots.signal_history, lambda data: plots.distribution(data, by="port")],
    ids=["history", "by port"],
)
def test_ports_are_whole_numbers_beside_a_gateway_that_was_never_reached(draw):
    table = ibis.memtable(with_one_never_reached())  # engines make floats of ports with gaps
    shown = {text.split()[1] for text in texts(draw(table)) if text.startswith("port ")}
    assert shown == {"1", "2"}


def test_the_heatmap_has_an_hour_a_cell_and_leaves_unmeasured_hours_out():
    rows = [row(0, 10), row(1800, 20), row(1900, 20), row(7200, 14), failed(90000), row(93600, 8)]
    (mesh,) = (
        each for each in plots.heatmap(frame(rows)).collections if each.get_array() is not None
    )
    grid = np.ma.filled(mesh.get_array(), np.nan)
    assert grid.shape == (2, 24)
    assert {(day, hour): grid[day, hour] for day, hour in np.argwhere(~np.isnan(grid))} == {
        (0, 8): -73, (0, 10): -85, (1, 10): -97,
    }  # fmt: skip


def test_two_months_of_a_heatmap_fit_a_page_and_name_every_second_day():
    rows = [row(86400 * day, 15) for day in range(70)]
    ax = plots.heatmap(frame(rows))
    assert ax.figure.get_figheight() < 10
    assert len(ax.get_yticks()) == 31
    assert ax.get_ylim() == (62, 0)


def test_the_distribution_counts_no_value_beside_the_scale():
    rows = [row(t, 15, label="roof") for t in range(6)] + [
        row(t + 6, None, label="roof") for t in range(2)
    ]
    ax = plots.distribution(frame(rows))
    heights = sorted(round(bar.get_height() / 0.72, 3) for bar in ax.patches)
    assert heights == pytest.approx([1 / 3, 1], abs=0.01)
    assert "no value" in texts(ax)
    assert "−83" in texts(ax)
    assert "roof\nn = 8" in texts(ax)
    with pytest.raises(InvalidRequest, match="no column"):
        plots.distribution(frame(rows), by="place")


def test_the_distribution_of_one_value_does_not_look_like_a_spread():
    ax = plots.distribution(frame([row(0, 15, label="roof")]))
    low, high = ax.get_xlim()
    assert high - low >= 20
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_the_median_of_a_distribution_stands_above_its_bar():
    ax = plots.distribution(frame([row(t, 15, label="roof") for t in range(6)]))
    ax.figure.canvas.draw()
    (words,) = (each for each in ax.texts if each.get_text() == "−83")
    assert words.get_window_extent().y0 > ax.patches[0].get_window_extent().y1


def test_the_strip_shows_each_kind_of_absence_and_how_much_was_there():
    rows = [row(10 * t) for t in range(40)]
    rows[4] |= {"registered": False}
    rows[9] = failed(90)
    rows[12] |= {"registered": None, "up": False}
    ax = plots.availability_strip(frame(rows))
    shown = {text.get_text() for text in ax.get_legend().get_texts()}
    assert shown == {"registered", "not registered", "down", "nobody measured"}
    assert "94.9 %" in texts(ax)


def test_a_share_is_never_rounded_to_all_or_nothing():
    rows = [row(t, registered=t == 0) for t in range(2001)]
    assert "< 0.1 %" in texts(plots.availability_strip(frame(rows)))
    rows = [row(t, registered=t != 0) for t in range(2001)]
    assert "> 99.9 %" in texts(plots.availability_strip(frame(rows)))


def test_the_comparison_shows_the_verdict_and_which_side_is_which():
    ax = plots.comparison(two_sides(), "sill", "roof")
    assert any(text.startswith("roof is ") for text in texts(ax))
    assert "sill better" in ax.get_xlabel()
    assert ax.get_xlabel().index("sill") < ax.get_xlabel().index("roof")


def test_delivery_counts_fates():
    ax = plots.delivery(messages(sent=6, failed=2, queued=1))
    assert [bar.get_width() for bar in ax.patches] == [6, 2, 1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "sent",
        "failed",
        "waiting",
    ]
    assert "75 % sent" in texts(ax)
    assert "no SMS" in texts(plots.delivery(messages()))


# -- many rows -------------------------------------------------------------------------------------


def row_names(ax):
    return [tick.label1.get_text() for tick in ax.yaxis.get_major_ticks()]


def overlaps(ax):
    """Whether the names of two rows lie on each other."""
    ax.figure.canvas.draw()
    boxes = [tick.label1.get_window_extent() for tick in ax.yaxis.get_major_ticks()]
    boxes.sort(key=lambda box: box.y0)
    return any(low.y1 > high.y0 + 1 for low, high in pairwise(boxes))


def largest_box():
    rows = [row(10 * t, 10 + t % 3, port=p, label="sill" if t < 9 else "roof")
            for t in range(18) for p in range(1, 33)]  # fmt: skip
    return frame(rows)


MANY = {
    "availability_strip": plots.availability_strip,
    "distribution": lambda data, ax=None: plots.distribution(data, by="port", ax=ax),
    "comparison": lambda data, ax=None: plots.comparison(data, "sill", "roof", ax=ax),
    "signal_history": plots.signal_history,
}


@pytest.mark.parametrize("chart", MANY)
def test_the_largest_gateway_has_a_row_a_port_on_one_page(chart):
    ax = MANY[chart](largest_box())
    assert [int(name.split()[1]) for name in row_names(ax)] == list(range(1, 33))
    assert not overlaps(ax)
    assert ax.figure.get_size_inches()[1] < 17
    assert not any("no room" in text for text in texts(ax))


@pytest.mark.parametrize("chart", MANY)
def test_names_of_rows_shrink_where_the_axes_given_are_small(chart):
    figure = Figure(figsize=(5, 3), layout="constrained")
    ax = MANY[chart](largest_box(), ax=figure.add_subplot())
    assert tuple(figure.get_size_inches()) == (5, 3)
    assert not overlaps(ax)


def test_a_fleet_larger_than_a_strip_says_what_it_leaves_out():
    rows = [row(10 * t, gateway=f"g{g:02d}", port=p) for g in range(30) for p in (1, 2, 3, 4)
            for t in (0, 1)]  # fmt: skip
    ax = plots.availability_strip(frame(rows))
    assert len(row_names(ax)) == 100
    assert "20 more have no room here" in texts(ax)


def test_gateways_that_differ_at_the_end_of_their_names_stay_apart():
    gateways = [f"north tower of the office building {n}" for n in (1, 2)]
    rows = [row(10 * t, gateway=name) for name in gateways for t in range(3)]
    for ax in (plots.availability_strip(frame(rows)), plots.signal_history(frame(rows))):
        shown = {text for text in texts(ax) if text.startswith("port 1 · north")}
        assert len(shown) == 2


# -- a million points ------------------------------------------------------------------------------


def pixels(ax):
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba())[..., :3].astype(int)


@pytest.mark.parametrize("holes", [False, True])
def test_long_lines_are_drawn_by_their_extremes_and_look_the_same(monkeypatch, holes):
    ticks = 200_000
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, 0.005, ticks)) + rng.normal(0, 0.5, ticks)
    data = frame([row(0)]).loc[np.zeros(ticks, int)].reset_index(drop=True)
    data["time"] = data["time"] + pd.to_timedelta(10 * np.arange(ticks), unit="s")
    data["rssi_dbm"] = pd.array(np.clip(-80 + 2 * np.rint(walk), -111, -53), dtype="Int16")
    if holes:
        data.loc[40_000:60_000, ["ok", "rssi_dbm"]] = [False, pd.NA]
        data.loc[rng.random(ticks) < 0.001, "rssi_dbm"] = pd.NA
    ax = ng.plots.signal_history(data)
    assert max(len(line.get_xdata()) for line in ax.lines) < 65_000
    drawn = pixels(ax)
    monkeypatch.setattr(plots, "_COLUMNS_OF_PIXELS", ticks)
    monkeypatch.setattr(plots, "Stroke", Line2D)
    raw = pixels(ng.plots.signal_history(data))
    ink = (raw < 250).any(axis=2)
    # Shades at the edges of strokes that lie on each other may be lighter or darker by a bit.
    differs = (np.abs(drawn - raw) > 32).any(axis=2)
    assert differs.sum() <= 0.015 * ink.sum()


def drawn_colours(ax):
    """Of the lines, and of the words on the axes."""
    return {to_hex(each.get_color()) for each in [*ax.lines, *ax.texts] if each.get_visible()}


def seven_ports():
    return frame([row(t, 10 + p, port=p) for p in range(1, 8) for t in range(0, 100, 10)])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.signal_history(seven_ports()),
        lambda: plots.distribution(two_sides()),
        lambda: plots.comparison(two_sides(), "sill", "roof"),
        lambda: plots.heatmap(frame([])),
    ],
    ids=["history", "distribution", "comparison", "nothing"],
)
@pytest.mark.parametrize(("style", "ground"), [("default", 1.0), ("dark_background", 0.0)])
def test_what_is_drawn_stands_out_from_a_light_and_a_dark_ground(draw, style, ground):
    with mpl.style.context(style):
        ax = draw()
        ax.figure.canvas.draw()
    assert to_hex(ax.get_facecolor()) == to_hex([ground] * 3)
    for colour in drawn_colours(ax):
        brightness = np.dot(to_rgb(colour), [0.299, 0.587, 0.114])
        assert abs(brightness - ground) > 0.25, colour


def test_words_stand_on_the_ground_of_the_axes_that_were_given():
    figure = Figure(facecolor="black", layout="constrained")
    ax = plots.comparison(two_sides(), "sill", "roof", ax=figure.add_subplot(facecolor="none"))
    (verdict,) = (text for text in ax.texts if "roof" in text.get_text())
    assert to_hex(verdict.get_color()) == "#ffffff"
    assert to_hex(verdict.get_bbox_patch().get_facecolor()) == "#000000"


def test_hours_without_a_value_are_white_also_among_dark_pictures():
    with mpl.style.context("dark_background"):
        ax = plots.heatmap(frame([row(0, 2), row(7200, 20)]))
    assert to_hex(ax.get_facecolor()) == "#ffffff"


def test_names_written_from_right_to_left_leave_our_words_in_their_order():
    ax = plots.comparison(two_sides("שלום"), "שלום", "sill")
    sentences = [
        ax.get_xlabel(),
        *(text.get_text() for text in ax.texts if "שלום" in text.get_text()),
    ]
    assert len(sentences) == 2
    assert all(each.startswith("\N{LEFT-TO-RIGHT MARK}") for each in sentences)
    plain = plots.comparison(two_sides(), "sill", "roof")
    assert plain.get_xlabel().startswith("←")
