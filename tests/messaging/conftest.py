"""A simulated gateway that is quick, and facades on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import neogate_lab as ng

Connect = Callable[..., ng.Gateway]


@pytest.fixture
def sim() -> Iterator[ng.SimulatedGateway]:
    with ng.SimulatedGateway(
        sms_delay=0.02, ussd_delay=0.01, login_delay=0.02, restless=False
    ) as sim:
        yield sim


@pytest.fixture
def connect(sim: ng.SimulatedGateway) -> Iterator[Connect]:
    opened: list[ng.Gateway] = []

    def make(**settings: Any) -> ng.Gateway:
        usual: dict[str, Any] = {
            "port": sim.port,
            "username": sim.username,
            "password": sim.password,
            "name": "lab",
            "store": ":memory:",
            "sms_interval": 0.0,
        }
        opened.append(ng.connect(sim.host, **(usual | settings)))
        return opened[-1]

    yield make
    for gateway in opened:
        gateway.close()


@pytest.fixture
def gw(connect: Connect) -> ng.Gateway:
    return connect()
