"""Warnings, each pointing at a line of the user's; what they say is written where it is known."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from neogate_lab.errors import NeogateWarning

__all__ = ["warn"]

_PACKAGE = str(Path(__file__).parent) + os.sep
_MACHINERY = frozenset(
    {"asyncio", "concurrent", "contextlib", "nest_asyncio", "nest_asyncio2", "threading"}
)
"""What stands between our lines and the user's, or, on a thread of ours, below them all."""


def warn(text: str, error: BaseException | None = None) -> None:
    """Warn, and point at the first line on the way out that is not of this package.

    Where there is none, on a thread of ours, it is the line that warns.

    Parameters
    ----------
    text : str
        What happened, and what to do.
    error : BaseException, optional
        What code of the user's raised when we called it: then it is that code's line.
    """
    frame, line = next(_raised(error), None) or next(_called(sys._getframe(1)))
    space = frame.f_globals
    warnings.warn_explicit(
        text,
        NeogateWarning,
        frame.f_code.co_filename,
        line,
        module=str(space.get("__name__", "<string>")),  # of None it would say nothing
        registry=space.setdefault("__warningregistry__", {}),
    )


def _raised(error: BaseException | None) -> Iterator[tuple[FrameType, int]]:
    for frame, line in traceback.walk_tb(None if error is None else error.__traceback__):
        if _is_users(frame):
            yield frame, line


def _called(first: FrameType) -> Iterator[tuple[FrameType, int]]:
    for frame, line in traceback.walk_stack(first):
        if _is_users(frame):
            yield frame, line
    yield first, first.f_lineno


def _is_users(frame: FrameType) -> bool:
    part = str(frame.f_globals.get("__name__")).partition(".")[0]
    return part not in _MACHINERY and not frame.f_code.co_filename.startswith(_PACKAGE)
