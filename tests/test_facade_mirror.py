"""The facade says what the one implementation says: same verbs, signatures and docstrings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest

from neogate_lab.connecting import connect
from neogate_lab.gateway import Gateway, UssdSession
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.ussd import AsyncUssdSession

VERBS = (
    "close",
    "command",
    "diagnostics",
    "loopback",
    "off_sms",
    "on_sms",
    "reconnect",
    "resume_outbox",
    "sample",
    "send_sms",
    "spans",
    "ussd",
    "ussd_all",
    "ussd_session",
    "wait_for_sms",
    "waiting",
)

# What the facade needs but its users don't, or what it does in another way (`survey` returns a
# handle with a progress bar, `send_many` takes a frame, `listen` calls back on another thread).
PLUMBING = {"check_sms", "keep", "known_ports", "listen", "open", "port_of", "send_many", "survey"}

# As the design promises them: a parameter may be added at the end, if it has a default.
PROMISED = {
    "spans": "",
    "diagnostics": "port=None",
    "sample": "label=''",
    "signal": "since=None, until=None, port=None, label=None",
    "survey": "every='10s', duration=None, port=None, label='', name=None, progress=True",
    "inbox": "since=None, until=None, port=None, sender=None",
    "outbox": "since=None, until=None, port=None, status=None",
    "wait_for_sms": "sender=None, contains=None, port=None, since=None, timeout=60",
    "on_sms": "handler, name=None, incomplete=False",
    "off_sms": "name",
    "send_many": "frame, *, progress=True, dry_run=False, retry_failed=False",
    "resume_outbox": "",
    "send_sms": "to, text, *, port, wait=True, timeout=None, key=None",
    "ussd": "code, *, port, timeout=30",
    "ussd_session": "port=1",
    "ussd_all": "code, port=None",
    "balances": "code=None",
    "loopback": "from_port, to_port, n=10",
    "command": "command",
    "export": "path, table='signal', redact=None, spreadsheet_safe=True, **filters",
    "close": "",
}
PROMISED_CONNECT = (
    "target=None, *, username=None, password=None, port=5038, name=None, store=None, "
    "span_offset=1, gateway_timezone=None, connect_timeout=10.0, command_timeout=15.0, "
    "keepalive=30.0, sms_interval=10.0, sms_status_timeout=180.0, sms_budget=None, "
    "part_timeout=300.0, max_line=1024, record=None"
)


def parameters(verb: Callable[..., Any]) -> list[inspect.Parameter]:
    """A verb's parameters with their annotations resolved; return types differ by design."""
    names = vars(sys.modules[verb.__module__])

    def resolved(parameter: inspect.Parameter) -> inspect.Parameter:
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = eval(annotation, names)
        return parameter.replace(annotation=annotation)

    return [resolved(parameter) for parameter in inspect.signature(verb).parameters.values()]


@pytest.mark.parametrize("verb", VERBS)
def test_verb_has_the_same_signature(verb: str) -> None:
    assert parameters(getattr(Gateway, verb)) == parameters(getattr(AsyncGateway, verb))


@pytest.mark.parametrize("verb", VERBS)
def test_verb_has_the_same_docstring(verb: str) -> None:
    assert getattr(AsyncGateway, verb).__doc__
    assert getattr(Gateway, verb).__doc__ == getattr(AsyncGateway, verb).__doc__


@pytest.mark.parametrize("verb", ["send", "transcript"])
def test_ussd_session_is_mirrored_too(verb: str) -> None:
    ours, theirs = getattr(UssdSession, verb), getattr(AsyncUssdSession, verb)
    assert parameters(ours) == parameters(theirs)
    assert ours.__doc__
    assert ours.__doc__ == theirs.__doc__


def test_no_verb_is_forgotten() -> None:
    methods = {
        name
        for name, member in vars(AsyncGateway).items()
        if callable(member) and not name.startswith("_")
    }
    assert methods - PLUMBING == set(VERBS)


def test_no_facade_verb_is_a_coroutine() -> None:
    waits = [name for name in dir(Gateway) if inspect.iscoroutinefunction(getattr(Gateway, name))]
    assert waits == []


@pytest.mark.parametrize(
    ("verb", "promised"),
    [
        *((getattr(Gateway, name), f"self, {promised}") for name, promised in PROMISED.items()),
        (connect, PROMISED_CONNECT),
    ],
    ids=[*PROMISED, "connect"],
)
def test_what_was_promised_can_be_called_so(verb: Callable[..., Any], promised: str) -> None:
    wanted = list(inspect.signature(eval(f"lambda {promised}: None")).parameters.values())
    found = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(verb).parameters.values()
    ]
    promised_names = {parameter.name for parameter in wanted}
    assert [parameter for parameter in found if parameter.name in promised_names] == wanted
    added = [parameter for parameter in found if parameter.name not in promised_names]
    assert all(parameter.default is not inspect.Parameter.empty for parameter in added)


def test_a_difference_would_be_seen() -> None:
    def one(self: object, port: int = 1) -> int: ...  # type: ignore[empty-body]
    def other(self: object, port: int = 2) -> int: ...  # type: ignore[empty-body]
    def third(self: object, port: str = "1") -> int: ...  # type: ignore[empty-body]

    assert parameters(one) == parameters(one)
    assert parameters(one) != parameters(other)
    assert parameters(one) != parameters(third)
