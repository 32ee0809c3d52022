"""A simulated gateway behind real TCP, and a facade on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import neogate_lab as ng
from tests.support import login

Connect = Callable[..., ng.Gateway]


@pytest.fixture
def sim() -> Iterator[ng.SimulatedGateway]:
    with ng.SimulatedGateway(sms_delay=0.02, ussd_delay=0.02, restless=False) as simulator:
        yield simulator


@pytest.fixture
def connect(sim: ng.SimulatedGateway) -> Iterator[Connect]:
    """Connect to the simulator, with any options; closed at the end of the test."""
    opened: list[ng.Gateway] = []

    def connect(**options: Any) -> ng.Gateway:
        opened.append(ng.connect(sim.host, **login(sim, **({"store": ":memory:"} | options))))
        return opened[-1]

    yield connect
    for gateway in opened:
        gateway.close()


@pytest.fixture
def gw(connect: Connect) -> ng.Gateway:
    return connect()
