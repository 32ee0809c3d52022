"""What matplotlib has no artist for: captions that fit, and long strokes; never a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.dates import date2num
from matplotlib.lines import Line2D
from matplotlib.text import Text

from neogate_lab.analysis.canvas import families

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase

    from neogate_lab.analysis.tracks import Band

__all__ = ["Caption", "Stroke"]

_PIECE, _LONG = 2000, 16_000
"""Points a piece, and in a stroke that pays for the pieces."""


class Stroke(Line2D):
    """A line that is drawn piece by piece.

    Agg sorts all that one stroke touches, so a stroke of many points, which go up and down over
    the same pixels, takes twice the time of its pieces. The picture is the same.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw the pieces, each from where the one before ended, then the marks."""
        x, y = (np.asarray(each) for each in self.get_data(orig=False))
        if len(x) < _LONG:
            super().draw(renderer)
            return
        for start in range(0, len(x) - 1, _PIECE):
            points = slice(start, start + _PIECE + 1)
            self._like(x[points], y[points], marker="").draw(renderer)
        self._like(x, y, linestyle="none").draw(renderer)
        self.stale = False

    def _like(self, x: Any, y: Any, **changes: Any) -> Line2D:
        piece = Line2D(x, y)
        piece.update_from(self)
        piece.set(**changes)
        return piece


class Caption(Text):
    """A label written into its band: shortened to fit, and left out where not a letter fits."""

    def __init__(self, text: str, band: Band, height: float, size: float) -> None:
        super().__init__(
            0,
            height,
            text,
            fontsize=size,
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
