"""A simulated gateway behind real TCP, a facade on it, and a patient eye for what panels show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import neogate_lab as ng
from tests.support import login

Connect = Callable[..., ng.Gateway]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a panel, which other threads update, shows what is expected."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(0.005)


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
