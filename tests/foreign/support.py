"""What the tests of the facade share: connecting, waiting, and frames as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

import neogate_lab as ng
from neogate_lab import errors
from tests.support import eventually

from .gateway import Firmware, Port, ScriptedGateway
from .variants import TG200_PORTS

PASSWORD = "s3cret-W0rd"


@contextmanager
def scripted(
    firmware: Firmware | None = None, ports: Sequence[Port] = TG200_PORTS, **settings: Any
) -> Iterator[ScriptedGateway]:
    """Run a double, and check at the end that its clients behaved."""
    with ScriptedGateway(firmware, ports, **settings) as double:
        yield double
    assert double.violations == []


def connect(server: Any, **settings: Any) -> Any:
    """Connect through the public API, with short times."""
    usual: dict[str, Any] = {
        "username": "apiuser",
        "password": PASSWORD,
        "store": ":memory:",
        "connect_timeout": 3.0,
        "command_timeout": 3.0,
        "sms_interval": 0.02,
    }
    return ng.connect(server.host, port=server.port, **(usual | settings))


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as plain values: what is missing is None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in record.items()}
        for record in frame.to_dict("records")
    ]


def by_span(frame: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """A frame's rows by span."""
    return {row["span"]: row for row in rows(frame)}


def spans_again(gw: Any) -> int:
    """The number of ports as soon as the link is up, 0 before."""
    try:
        return len(gw.spans())
    except (errors.ConnectionLost, errors.NoAnswer):
        return 0


def pings(double: ScriptedGateway) -> int:
    """The keepalives that came so far."""
    actions = [action for peer in double.connections for action in list(peer.actions)]
    return sum(action["action"].lower() == "ping" for action in actions)


def messages(gw: Any, count: int) -> list[dict[str, Any]]:
    """Wait until exactly `count` messages are in the inbox, in order of arrival."""
    eventually(lambda: len(gw.inbox()) >= count)
    found = rows(gw.inbox().sort_values("row_id"))
    assert len(found) == count
    return found
