"""Helpers that tests in every folder share; never a fixture, never a test."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from typer.testing import CliRunner

import neogate_lab as ng
from neogate_lab import cli

__all__ = [
    "UNHURRIED",
    "eventually",
    "interrupt_when",
    "login",
    "missing",
    "recorded",
    "run",
]

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 30.0) -> T:
    """Look until something true is seen that tells nobody when it is, and return it."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(0.005)
    return seen


def login(sim: Any, **settings: Any) -> dict[str, Any]:
    """How to log in at a simulated gateway, called "lab", whose SMS need not wait for each other.

    Parameters
    ----------
    sim : SimulatedGateway
        Whose host is to be given beside this.
    **settings
        More arguments, or others than those.
    """
    usual: dict[str, Any] = {
        "port": sim.port,
        "username": sim.username,
        "password": sim.password,
        "name": "lab",
        "sms_interval": 0.0,
    }
    return usual | settings


def run(*arguments: object, **environment: str) -> Any:
    """Run the command line within this process."""
    return CliRunner(env=environment).invoke(cli.app, [str(each) for each in arguments])


def recorded(store: Path, table: str = "signal") -> Any:
    """What another process has recorded; no rows while it still lays the store out."""
    if not store.is_dir() or not any(store.iterdir()):
        return []
    try:
        with ng.open_store(store) as opened:
            return opened.frame(table)
    except ng.StoreError:
        return []


def interrupt_when(holds: Callable[[], object]) -> threading.Thread:
    """Press the stop button as soon as something holds."""

    def press() -> None:
        eventually(holds)
        time.sleep(0.05)  # the main thread is still on its way into the wait
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def missing(reason: str) -> NoReturn:
    """Skip the test because this machine lacks something; on CI, where nothing may lack, fail.

    Parameters
    ----------
    reason : str
        What is missing and how to get it; shown in the summary.
    """
    if os.environ.get("CI"):
        pytest.fail(f"missing on CI: {reason}", pytrace=False)
    pytest.skip(reason)


UNHURRIED = (
    "import logging\n"
    "logging.getLogger('asyncio').addFilter(lambda said: ' took ' not in said.getMessage())\n"
)
"""For programs under -X dev, where asyncio tells of every turn that a busy machine made slow."""
