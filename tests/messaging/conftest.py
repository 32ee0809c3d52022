"""A simulated gateway that is quick, and facades on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import neogate_lab as ng
from tests.support import login

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
        opened.append(ng.connect(sim.host, **login(sim, **({"store": ":memory:"} | settings))))
        return opened[-1]

    yield make
    for gateway in opened:
        gateway.close()


@pytest.fixture
def gw(connect: Connect) -> ng.Gateway:
    return connect()
