"""How every picture looks: colours, fonts, figures without pyplot; never what is drawn."""

from __future__ import annotations

import io
import math
import unicodedata
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "FAINT",
    "GREY",
    "GRID",
    "HATCHES",
    "HEIGHT",
    "MOST_LANES",
    "PALETTE",
    "SMALL",
    "TINTS",
    "WIDTH",
    "Picture",
    "drawable",
    "families",
    "gateway_name",
    "inches",
    "left_to_right",
    "legend_above",
    "minus",
    "note",
    "own_axes",
    "row_names",
    "rows_high",
    "shortened",
    "time_axis",
    "tone",
]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Okabe and Ito's colours for colour-blind readers; their yellow is too faint for a line."""

GREY, FAINT, GRID = 0.667, 0.267, 0.106
"""How far from the ground, 0, to ink, 1: see `tone`."""

TINTS = ("#cfdfec", "#f6eed8", "#bfd6b6", "#f3dfe8")
"""Light and dark in turns, so that neighbours differ on paper too."""

HATCHES = ("", "////", "....")
SMALL = 8.5
WIDTH, HEIGHT = 10.0, 4.5

MOST_LANES = 100
"""So many ports have a row of their own; the letters would be too small to read."""

_LEAST_SIZE = 5.0
_ROWS_AT_EASE = 12
_WORDS_WIDE = 1.25


def tone(ax: Axes, share: float) -> str:
    """A grey between the ground of the axes, 0, and ink on it, 1; the ground may be dark."""
    faces = (ax.get_facecolor(), ax.figure.get_facecolor(), "white")
    red, green, blue, _ = next(face for face in map(to_rgba, faces) if face[3])
    ink = float(red + green + blue < 1.5)
    red, green, blue = ((1 - share) * part + share * ink for part in (red, green, blue))
    return to_hex((red, green, blue))


def shortened(text: str, most: int) -> str:
    """Its beginning and its end: names that are alike mostly differ at the end."""
    if len(text) <= most:
        return text
    tail = most // 2 - 1
    return f"{text[: most - tail - 1].rstrip()}…{text[-tail:].lstrip()}"


def minus(number: float) -> str:
    """A whole number as matplotlib writes them on axes."""
    return f"{number:.0f}".replace("-", "\N{MINUS SIGN}")


def inches(ax: Axes) -> tuple[float, float]:
    """Width and height of axes, before a layout made room for the words around them."""
    box = ax.get_position()
    width, height = ax.figure.get_figure(root=True).get_size_inches()
    return box.width * width, box.height * height


def gateway_name(name: object) -> str:
    """A gateway's name as rows and lines bear it."""
    return shortened(drawable(str(name)), 24)


def rows_high(count: int, each: float) -> float:
    """Inches for so many rows: `each` has less as they get many, so that a picture fits a page."""
    return each * min(float(count), math.sqrt(_ROWS_AT_EASE * count))


def row_names(ax: Axes, names: Sequence[str], places: Any) -> float:
    """Name rows, in any script: smaller where rows are low, then only some; the size of letters."""
    lines = max((name.count("\n") + 1 for name in names), default=1)
    room = 0.8 * 72 * inches(ax)[1] / max(len(names), 1) / lines
    size = min(max(room, _LEAST_SIZE), SMALL)
    step = math.ceil(_LEAST_SIZE / room)
    ax.set_yticks(places[::step], names[::step], fontsize=size, fontfamily=families())
    for tick in ax.yaxis.get_major_ticks():
        tick.label1.set_parse_math(False)
        tick.label2.set_parse_math(False)
    ax.tick_params(axis="y", length=0)
    return size


def legend_above(ax: Axes, handles: Sequence[Any], words: Sequence[str] = ()) -> None:
    """A legend over the axes, a few beside each other; none if there is nothing to tell."""
    if not handles:
        return
    legend = ax.legend(
        handles,
        words or [str(handle.get_label()) for handle in handles],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        frameon=False,
        ncols=min(len(handles), max(int(inches(ax)[0] / _WORDS_WIDE), 1)),
        prop=FontProperties(family=families(), size=SMALL),
        borderaxespad=0.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def note(ax: Axes, text: str) -> None:
    """Say in the middle of the axes why there is nothing to see."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        fontsize=12,
        color=tone(ax, GREY),
        fontfamily=families(),
        parse_math=False,
    )


# A tick says all that tells it from its neighbours: "08:01:30", never a bare "30".
_TICKS = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
_FIRST_TICKS = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M:%S"]
_BESIDE = ["", "", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d"]


def time_axis(ax: Axes) -> None:
    """Ticks of the time axis, in UTC whatever matplotlib is set to, with room for their words."""
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator,
        tz=UTC,
        formats=_TICKS,
        zero_formats=_FIRST_TICKS,
        offset_formats=_BESIDE,
    )
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(formatter)


class Picture(Figure):
    """A figure that IPython shows although pyplot never heard of it."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


class PictureAxes(Axes):
    """Axes that a notebook shows as the figure they are in."""

    def _repr_png_(self) -> bytes | None:
        figure = self.figure
        return figure._repr_png_() if isinstance(figure, Picture) else None


def own_axes(height: float = HEIGHT) -> Axes:
    """Axes on a figure of their own, `height` inches high."""
    figure = Picture(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot(axes_class=PictureAxes)


# Matplotlib's own font has no Chinese, Japanese or Korean; one of these is on most machines.
_MORE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)


def families() -> list[str]:
    """Fonts to try in turn, for texts in any script."""
    own = rcParams["font.family"]
    return [*([own] if isinstance(own, str) else own), *_more_fonts()]


@lru_cache(maxsize=1)
def _more_fonts() -> tuple[str, ...]:
    installed = set(fontManager.get_font_names())
    return tuple(name for name in _MORE_FONTS if name in installed)


def left_to_right(text: str) -> str:
    """Keep the order of our words around a stranger's that are written from right to left."""
    turned = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return "\N{LEFT-TO-RIGHT MARK}" + text if turned else text


def drawable(text: str) -> str:
    """A stranger's text on one line; □ for what no font can show, which would be warned of."""
    fonts = [get_font(findfont(FontProperties(family=[name]))) for name in families()]

    def show(letter: str) -> str:
        if not letter.isprintable():
            return " "
        return letter if any(font.get_char_index(ord(letter)) for font in fonts) else "□"

    return "".join(show(letter) for letter in text).strip()
