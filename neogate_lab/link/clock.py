"""The clock as an argument: wall time, monotonic time and sleeping, so that tests own time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


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
