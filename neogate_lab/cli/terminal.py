"""Writing to a terminal: strangers' text made harmless, tables that fit; never what they hold."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "plain",
    "plain_lines",
    "print_table",
    "say",
    "shorten",
    "somebody_there",
    "watched",
    "width",
]


def somebody_there() -> bool:
    """Whether questions can be asked: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def watched() -> bool:
    """Whether a progress bar is seen by somebody: standard error is a terminal, and no log."""
    return sys.stderr is not None and sys.stderr.isatty()


def say(text: str) -> None:
    """A line of the story, above the progress bar if there is one."""
    from tqdm.auto import tqdm

    tqdm.write(plain(text), file=sys.stdout)


# ECMA-48: control sequences, strings (titles, links) up to their terminator, and short escapes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def plain(text: str) -> str:
    """A stranger's text on one line, without anything that a terminal would obey."""
    text = re.sub(r"\s*[\r\n]+\s*", " / ", _ESCAPES.sub("", text).strip())
    return "".join(letter if letter.isprintable() else " " for letter in text)


def plain_lines(text: str) -> list[str]:
    """A stranger's text line by line, as `plain` makes each."""
    return [plain(line) for line in _ESCAPES.sub("", text).strip().splitlines()]


def width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def shorten(text: str, room: int) -> str:
    """`text` in at most `room` columns."""
    if width(text) <= room:
        return text
    while text and width(text) > room - 1:
        text = text[:-1]
    return text + "…"


def _cells(column: pd.Series) -> list[str]:
    """One column's values as text; "-" is unknown."""
    forms: dict[str, Callable[[Any], str]] = {
        "M": lambda time: f"{time:%H:%M:%S}",
        "b": lambda flag: "yes" if flag else "no",
        "f": lambda number: f"{number:.1f}",
    }
    form = forms.get(column.dtype.kind, lambda value: plain(str(value)))
    unknown = column.isna()
    return ["-" if na else form(value) for value, na in zip(column, unknown, strict=True)]


def print_table(frame: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Print some columns under other headings, as wide as the terminal at most."""
    if frame.empty:
        print("  (none)")
        return
    cells = [_cells(frame[name]) for name in columns]
    headings = list(columns.values())
    natural = [
        max(width(heading), *map(width, column))
        for heading, column in zip(headings, cells, strict=True)
    ]
    words = [frame[name].dtype.kind not in "bifM" for name in columns]
    room = _fit(natural, words, get_terminal_size((80, 24)).columns - 2 * len(natural))
    for row in [headings, *zip(*cells, strict=True)]:
        parts = []
        for text, size, name in zip(row, room, columns, strict=True):
            text = shorten(text, size)
            gap = " " * (size - width(text))
            parts.append(gap + text if frame[name].dtype.kind in "if" else text + gap)
        print("  " + "  ".join(parts).rstrip())


def _fit(natural: list[int], words: list[bool], room: int) -> list[int]:
    """Take from the widest columns until all fit: words first, numbers and times when need be."""
    widths = list(natural)
    for least, shrinking in ((8, words), (4, words), (4, [True] * len(words))):
        while sum(widths) > room:
            wide = [w if may and w > least else 0 for w, may in zip(widths, shrinking, strict=True)]
            if not any(wide):
                break
            widths[wide.index(max(wide))] -= 1
    return widths
