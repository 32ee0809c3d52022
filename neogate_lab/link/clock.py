"""The clock as an argument: wall time, monotonic time and sleeping, so that tests own time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "JumpWatch", "SystemClock", "sleep_unless"]

JUMP_SECONDS = 2.0
"""Wall and monotonic clock must part by so much at once to count as sleep, or as a set clock."""


class Clock(Protocol):
    """What the link may know of time."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump; they stand still while a laptop sleeps (Linux)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:  # noqa: D102
        return datetime.now(UTC)

    def monotonic(self) -> float:  # noqa: D102
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:  # noqa: D102
        await asyncio.sleep(seconds)


async def sleep_unless(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Sleep for `seconds` of `clock`, or only until `event` is set."""
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    woken = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeper, woken}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
        woken.cancel()


class JumpWatch:
    """Notices that the wall clock left the monotonic one: the machine slept, or it was set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = self._wall_ahead()

    def jumped(self) -> float:
        """Seconds by which it did since the last look; 0.0 for what a correction may be."""
        jumped = self._wall_ahead() - self._ahead
        self._ahead += jumped
        return jumped if abs(jumped) > JUMP_SECONDS else 0.0

    def _wall_ahead(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()
