"""A quick simulated gateway, and bare connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from neogate_lab.simulator import SimulatedGateway

from .raw import Raw


@pytest.fixture
def make_sim() -> Iterator[Callable[..., SimulatedGateway]]:
    """Start gateways that answer at once unless told otherwise; they end with the test."""
    with ExitStack() as stack:

        def make(**knobs: Any) -> SimulatedGateway:
            quick = {"sms_delay": 0.02, "ussd_delay": 0.02, "login_delay": 0.02}
            return stack.enter_context(SimulatedGateway(**{**quick, **knobs}))

        yield make


@pytest.fixture
def sim(make_sim: Callable[..., SimulatedGateway]) -> SimulatedGateway:
    return make_sim()


@pytest.fixture
def connect() -> Iterator[Callable[[SimulatedGateway], Raw]]:
    """Open connections that close with the test."""
    with ExitStack() as stack:
        yield lambda sim: stack.enter_context(Raw(sim))
