"""Handlers are kept by name, so that a re-run cell replaces its own; their errors are kept too."""

from __future__ import annotations

import functools
import logging
import warnings

import pytest

from neogate_lab.errors import InvalidRequest, NeogateWarning
from neogate_lab.link.handlers import Handlers
from neogate_lab.link.inbox import ReceivedSms

from .support import START

WHOLE = ReceivedSms("lab", 1, 2, "900", "hi", START)
PART = ReceivedSms("lab", 1, 2, "900", "hi[…]", START, parts=1, total=2, complete=False)


def remember(message: ReceivedSms) -> None:
    """A handler with a name of its own."""


def test_a_function_is_known_by_its_name() -> None:
    handlers = Handlers()
    assert handlers.add(remember, None, False) == "remember"
    assert handlers.wanting(WHOLE) == [("remember", remember)]


def test_the_same_name_replaces() -> None:
    handlers = Handlers()
    handlers.add(remember, "a", False)
    handlers.add(print, "a", False)
    assert handlers.wanting(WHOLE) == [("a", print)]


@pytest.mark.parametrize("nameless", [lambda message: None, functools.partial(remember)])
def test_what_has_no_name_needs_one(nameless: object) -> None:
    handlers = Handlers()
    with pytest.raises(InvalidRequest, match=r"name='\.\.\.'"):
        handlers.add(nameless, None, False)  # type: ignore[arg-type]
    assert handlers.add(nameless, "mine", False) == "mine"  # type: ignore[arg-type]


def test_a_handler_is_callable() -> None:
    with pytest.raises(InvalidRequest, match="callable, not str"):
        Handlers().add("print", None, False)  # type: ignore[arg-type]


def test_incomplete_messages_only_for_those_who_asked() -> None:
    handlers = Handlers()
    handlers.add(remember, "whole", False)
    handlers.add(remember, "all", True)
    assert [name for name, _ in handlers.wanting(PART)] == ["all"]
    assert [name for name, _ in handlers.wanting(WHOLE)] == ["whole", "all"]


def test_removing() -> None:
    handlers = Handlers()
    handlers.add(remember, None, False)
    handlers.remove("remember")
    assert handlers.wanting(WHOLE) == []
    with pytest.raises(InvalidRequest, match="there are: none"):
        handlers.remove("remember")


def test_a_failure_is_warned_of_and_kept_without_the_message() -> None:
    handlers = Handlers()
    error = KeyError("x")
    with pytest.warns(NeogateWarning, match="'mine' raised KeyError") as caught:
        handlers.failed("mine", error)
    assert list(handlers.errors) == [("mine", error)]
    assert len(caught) == 1


def test_the_latest_hundred_failures_are_kept() -> None:
    handlers = Handlers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(150):
            handlers.failed(f"h{number}", ValueError(number))
    assert [name for name, _ in handlers.errors] == [f"h{n}" for n in range(50, 150)]


def test_where_warnings_are_errors_the_delivery_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    handlers = Handlers()
    with caplog.at_level(logging.ERROR):
        handlers.failed("mine", ValueError())
    assert len(handlers.errors) == 1
    assert "'mine'" in caplog.text
