"""The survey's clock: ticks on a fixed grid, missed ticks as rows, time asleep as one gap.

A tick is due at start + k * every, whatever the ticks before it took. One that is measured late has
its latency; one whose whole interval passed is a row with error ``missed``. When the wall clock ran
ahead of the monotonic one, the machine slept (or its clock was set): that is one row of
`connections`, not a million of `signal`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from neogate_lab.errors import InvalidRequest
from neogate_lab.link.clock import Clock
from neogate_lab.protocol.records import RssiBound, SpanDetail

__all__ = ["Measurement", "Sampler", "Target", "check_label", "failed", "measured"]

SampleError = Literal["", "no_answer", "disconnected", "refused", "missed", "unparsed"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of one port, as stored in the table `signal`; None is unknown."""

    time: datetime
    gateway: str
    port: int
    span: int
    ok: bool
    error: SampleError = ""
    signal_raw: int | None = None
    signal: int | None = None
    rssi_dbm: int | None = None
    rssi_bound: RssiBound = ""
    ber: int | None = None
    up: bool | None = None
    registered: bool | None = None
    roaming: bool | None = None
    network: str = ""
    network_status: str = ""
    state: str = ""
    last_event: str = ""
    latency_ms: float | None = None
    label: str = ""
    survey: str = ""
    row_id: int | None = None

    def as_row(self) -> dict[str, Any]:
        """The row of `signal`, its row_id apart."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "row_id"}


_FROM_DETAIL = (
    "signal_raw",
    "signal",
    "rssi_dbm",
    "rssi_bound",
    "ber",
    "registered",
    "roaming",
    "network",
    "network_status",
    "state",
    "last_event",
)


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be measured: one port at one tick, under its label."""

    time: datetime
    gateway: str
    port: int
    span: int
    label: str = ""
    survey: str = ""

    def fields(self) -> dict[str, Any]:
        """The columns that a measurement takes over."""
        return {name: getattr(self, name) for name in self.__slots__}


def measured(target: Target, detail: SpanDetail, latency_ms: float) -> Measurement:
    """The measurement that a gateway's answer gives."""
    return Measurement(
        **target.fields(),
        ok=True,
        up=detail.status.up,
        latency_ms=latency_ms,
        **{name: getattr(detail, name) for name in _FROM_DETAIL},
    )


def failed(target: Target, error: SampleError, latency_ms: float | None = None) -> Measurement:
    """The measurement that failed."""
    return Measurement(**target.fields(), ok=False, error=error, latency_ms=latency_ms)


class Sampler:
    """One survey's ticks.

    Parameters
    ----------
    measure : callable
        Measures the targets of one tick and records the rows; never raises for a failed link.
    skip : callable
        Records the targets of a tick that nobody measured.
    gap : callable
        Records (event, seconds) when time passed unseen.
    every, duration : float
        Seconds; `duration` None for open end.
    ports : sequence of (port, span)
    """

    def __init__(
        self,
        measure: Callable[[Sequence[Target]], Awaitable[object]],
        skip: Callable[[Sequence[Target]], Awaitable[object]],
        gap: Callable[[str, float], None],
        *,
        gateway: str,
        every: float,
        duration: float | None,
        ports: Callable[[], Sequence[tuple[int, int]]],
        label: str,
        name: str,
        clock: Clock,
        on_tick: Callable[[int], object] = lambda done: None,
    ) -> None:
        self.every = every
        self.total = None if duration is None else max(1, math.ceil(duration / every - 1e-9))
        self.done = 0
        self.name = name
        self.started_at = clock.now()
        self._measure = measure
        self._skip = skip
        self._gap = gap
        self._gateway = gateway
        self._ports = ports
        self._labels: dict[int | None, str] = {None: label}
        self._clock = clock
        self._on_tick = on_tick
        self._stop = asyncio.Event()

    def mark(self, label: str, ports: Sequence[int] | None) -> None:
        """From the next tick on, rows carry this label: those of some ports, or of all."""
        if ports is None:
            self._labels = {None: label}
        else:
            self._labels.update(dict.fromkeys(ports, label))

    def stop(self) -> None:
        """End after the tick that runs now."""
        self._stop.set()

    async def run(self) -> bool:
        """Measure until the end; True when it came to its planned end, False when stopped."""
        anchor = self.started_at
        step = timedelta(seconds=self.every)
        offset = self._offset()
        number = 0
        while self.total is None or number < self.total:
            await self._sleep_until(anchor + number * step)
            if self._stop.is_set():
                return False
            jumped = self._offset() - offset
            offset += jumped
            if abs(jumped) > max(1.0, self.every / 2):
                self._gap("asleep" if jumped > 0 else "clock_changed", jumped)
                if jumped < 0:  # the grid goes back with the clock, else the survey would wait
                    anchor += timedelta(seconds=math.floor(jumped / self.every) * self.every)
                else:
                    number = self._current(anchor)
                continue
            current = self._current(anchor)
            for missed in range(
                number, current if self.total is None else min(current, self.total)
            ):
                await self._skip(self._targets(anchor + missed * step))
                self._ticked()
            number = current
            if self.total is not None and number >= self.total:
                break
            await self._measure(self._targets(anchor + number * step))
            self._ticked()
            number += 1
        return True

    def _current(self, anchor: datetime) -> int:
        """The tick whose interval we are in."""
        passed = (self._clock.now() - anchor).total_seconds()
        return max(0, math.floor(passed / self.every + 1e-9))

    def _offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _targets(self, time: datetime) -> list[Target]:
        everywhere = self._labels[None]
        return [
            Target(time, self._gateway, port, span, self._labels.get(port, everywhere), self.name)
            for port, span in self._ports()
        ]

    def _ticked(self) -> None:
        self.done += 1
        self._on_tick(self.done)

    async def _sleep_until(self, due: datetime) -> None:
        """Sleep by slices, so that a clock that was set, or a stop, is seen soon."""
        while not self._stop.is_set():
            left = (due - self._clock.now()).total_seconds()
            if left <= 0:
                return
            sleeper = asyncio.ensure_future(self._clock.sleep(min(left, max(1.0, self.every))))
            stopped = asyncio.ensure_future(self._stop.wait())
            try:
                await asyncio.wait({sleeper, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                stopped.cancel()


def check_label(label: object) -> None:
    """Labels are text: an analyst's None or 3 would be a surprise in the table."""
    if not isinstance(label, str):
        raise InvalidRequest(f"label must be text, not {label!r}")
