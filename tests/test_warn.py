"""A warning shows the user's line: the one that called, or the one that raised."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import neogate_lab
from neogate_lab.errors import NeogateWarning
from neogate_lab.warn import warn

PACKAGE = Path(neogate_lab.__file__).parent


def inside(source: str, **space: Any) -> dict[str, Any]:
    """Run `source` as if it stood in a module of the package."""
    space["warn"] = warn
    exec(compile(source, str(PACKAGE / "made_up.py"), "exec"), space)
    return space


def test_it_points_at_the_call_that_left_the_users_code() -> None:
    verb = inside("def verb():\n    helper()\ndef helper():\n    warn('it is so')")["verb"]
    with pytest.warns(NeogateWarning, match="it is so") as caught:
        verb()
    line = test_it_points_at_the_call_that_left_the_users_code.__code__.co_firstlineno + 3
    assert [(one.filename, one.lineno) for one in caught] == [(__file__, line)]


def test_it_points_at_the_users_line_that_raised() -> None:
    def handler() -> None:
        verb()  # back into the package: its own lines mean nothing to the user

    verb = inside("def verb():\n    1 / 0")["verb"]
    source = """
def call(handler):
    try:
        handler()
    except ZeroDivisionError as error:
        warn('a handler failed', error)
"""
    with pytest.warns(NeogateWarning, match="a handler failed") as caught:
        inside(source)["call"](handler)
    line = handler.__code__.co_firstlineno + 1
    assert [(one.filename, one.lineno) for one in caught] == [(__file__, line)]


def test_on_a_thread_of_ours_it_points_at_what_warns() -> None:
    run = inside("def run():\n    warn('nobody called')")["run"]
    thread = threading.Thread(target=run)
    with pytest.warns(NeogateWarning, match="nobody called") as caught:  # noqa: PT031 - comes from there
        thread.start()
        thread.join()
    assert [one.filename for one in caught] == [str(PACKAGE / "made_up.py")]


def test_the_same_from_the_same_line_is_told_once_as_pythons_own_are() -> None:
    verb = inside("def verb():\n    warn('again and again')")["verb"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            verb()
    assert len(caught) == 1
