"""How every picture looks: colours, fonts, figures without pyplot; never what is drawn."""

from __future__ import annotations

import io
from datetime import UTC
from functools import lru_cache

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

__all__ = [
    "FAINT",
    "GREY",
    "PALETTE",
    "SMALL",
    "STYLES",
    "TINTS",
    "WIDTH",
    "Picture",
    "drawable",
    "families",
    "note",
    "own_axes",
    "time_axis",
]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Okabe and Ito's colours for colour-blind readers; their yellow is too faint for a line."""

STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
GREY = "#555555"
FAINT = "#bbbbbb"
TINTS = ("#dde6ee", "#f0e9d8", "#e3ecdf", "#ecdfe6")
SMALL = 8.5
WIDTH, HEIGHT = 10.0, 4.5


def note(ax: Axes, text: str) -> None:
    """Say in the middle of the axes why there is nothing to see."""
    ax.text(
        0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=12, color=GREY
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


def drawable(text: str) -> str:
    """A stranger's text on one line; □ for what no font can show, which would be warned of."""
    fonts = [get_font(findfont(FontProperties(family=[name]))) for name in families()]

    def show(letter: str) -> str:
        if not letter.isprintable():
            return " "
        return letter if any(font.get_char_index(ord(letter)) for font in fonts) else "□"

    return "".join(show(letter) for letter in text).strip()
