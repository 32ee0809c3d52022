"""What holds for every test: nothing is left running, and hypothesis searches the same way again.

``--nested-loops`` applies nest_asyncio before anything is collected, as another library in the same
kernel might have; ``--hypothesis-profile=explore`` looks for new counterexamples.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

T = TypeVar("T")

_MAIN_LOOP = pytest.StashKey[asyncio.AbstractEventLoop]()

GRACE = 5.0
"""Seconds that a thread or socket which is already ending may take; a test never waits for it."""

hypothesis.settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("explore", max_examples=2000, database=None, deadline=None)
hypothesis.settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nested-loops",
        action="store_true",
        help="apply nest_asyncio to the whole process, as another library might have",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Four at least: tests wait for answers more than they compute."""
    return max(4, os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    # Plugins ask for the main thread's loop, which is made on demand: the first test to meet that
    # would seem to have left it behind.
    config.stash[_MAIN_LOOP] = loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    if not config.getoption("--nested-loops"):
        return
    if sys.version_info < (3, 14):
        import nest_asyncio as nested
    else:
        import nest_asyncio2 as nested
    nested.apply(loop)  # patches the loop's class, so every later loop too


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_MAIN_LOOP].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("asyncio") is not None:
            item.fixturenames.insert(0, no_task_left.__name__)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread of ours, no socket and no complaint of asyncio outlives its test.

    What a fixture of a wider scope opened was there before, and may stay.
    """
    threads, sockets = _threads(), _sockets()
    with _asyncio_errors() as complaints:
        yield
        left = [*_lasting(_threads, threads), *_lasting(_sockets, sockets)]
    assert not left, f"left behind: {left}"
    assert not complaints, f"asyncio complained: {complaints}"


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """No task outlives an asynchronous test."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"left behind: {left}"


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("neogate-")}


def _sockets() -> set[str]:
    """Open sockets by their inode, where the system tells."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # the descriptor of this very listing is gone
            found.add(str(entry.readlink()))
    return {target for target in found if target.startswith("socket:")}


def _lasting(look: Callable[[], set[T]], before: set[T]) -> set[T]:
    """What is there that was not, once what was ending has ended."""
    end = time.monotonic() + GRACE
    while (left := look() - before) and time.monotonic() < end:
        gc.collect()  # a facade that nobody holds any more ends its threads by itself
        time.sleep(0.01)
    return left


@contextlib.contextmanager
def _asyncio_errors() -> Iterator[list[str]]:
    """Collect what asyncio can only log: a destroyed task, an exception that nobody asked for."""
    complaints: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        yield complaints
    finally:
        logger.removeHandler(handler)
