"""The survey's clock: ticks on a fixed grid, missed ticks as rows, time asleep as one gap.

A tick is due at start + k * every, whatever the ticks before it took. One that is measured late has
its latency; one whose whole interval passed is a row with error ``missed``. When the wall clock ran
ahead of the monotonic one, the machine slept (or its clock was set): that is one row of
`connections`, not a million of `signal`. A clock that was set back moves the grid by whole ticks.
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

JUMP_SECONDS = 2.0
"""Wall and monotonic clock must part by so much at once to count as sleep, or as a set clock."""
SLICE_SECONDS = 10.0
"""The longest sleep between two looks at the clocks."""
MISSED_AT_ONCE = 256
"""Missed ticks that are recorded in one go."""


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
    power: bool | None = None
    sim: bool | None = None
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
        power=detail.status.power,
        sim=detail.status.sim,
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
        Records the targets of ticks that nobody measured.
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
        self._clock = clock
        self._on_tick = on_tick
        self._stop = asyncio.Event()
        self._stopped_at = self.started_at
        self._anchor = self.started_at
        self._step = timedelta(seconds=every)
        self._offset = self._wall_ahead()
        # From which tick on: a tick that is recorded late still bears the label of its own time.
        self._labels: list[tuple[int, dict[int | None, str]]] = [(0, {None: label})]

    def mark(self, label: str, ports: Sequence[int] | None) -> None:
        """From the next tick on, rows carry this label: those of some ports, or of all."""
        upcoming = self._first_from(self._clock.now())
        since, labels = self._labels[-1]
        labels = {None: label} if ports is None else {**labels, **dict.fromkeys(ports, label)}
        self._labels.append((max(since, upcoming), labels))

    def stop(self) -> None:
        """End after the tick that runs now."""
        if not self._stop.is_set():
            self._stopped_at = self._clock.now()
            self._stop.set()

    async def run(self) -> bool:
        """Measure until the end; True when it came to its planned end, False when stopped."""
        while self.total is None or self.done < self.total:
            jumped = await self._sleep_until(self._anchor + self.done * self._step)
            now = self._clock.now()
            current = (now - self._anchor) // self._step  # the tick whose interval we are in
            if jumped:
                self._gap("asleep" if jumped > 0 else "clock_changed", jumped)
                if jumped < 0:  # the grid goes back with the clock, else the survey would wait
                    self._anchor += (self._first_from(now) - self.done) * self._step
                else:
                    self._done(current)
            elif self._stop.is_set():
                await self._miss(self._first_from(self._stopped_at))
                return False
            elif current > self.done:
                await self._miss(current)
            else:
                await self._measure(self._targets(self.done))
                self._done(self.done + 1)
        return True

    async def _miss(self, until: int) -> None:
        """Record the ticks before `until` that nobody measured."""
        until = until if self.total is None else min(until, self.total)
        while self.done < until:
            missed = range(self.done, min(until, self.done + MISSED_AT_ONCE))
            await self._skip([target for tick in missed for target in self._targets(tick)])
            self._done(missed.stop)

    def _first_from(self, time: datetime) -> int:
        """The first tick that is due at `time` or later."""
        return -((self._anchor - time) // self._step)

    def _wall_ahead(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _targets(self, tick: int) -> list[Target]:
        time = self._anchor + tick * self._step
        labels = next(labels for since, labels in reversed(self._labels) if since <= tick)
        return [
            Target(time, self._gateway, port, span, labels.get(port, labels[None]), self.name)
            for port, span in self._ports()
        ]

    def _done(self, ticks: int) -> None:
        ticks = ticks if self.total is None else min(ticks, self.total)
        if ticks > self.done:
            self.done = ticks
            self._on_tick(ticks)

    async def _sleep_until(self, due: datetime) -> float:
        """Sleep until a tick is due; return at once by how many seconds the wall clock jumped."""
        while True:
            jumped = self._wall_ahead() - self._offset
            self._offset += jumped
            if abs(jumped) > JUMP_SECONDS:
                return jumped
            left = (due - self._clock.now()).total_seconds()
            if left <= 0 or self._stop.is_set():
                return 0.0
            sleeper = asyncio.ensure_future(self._clock.sleep(min(left, SLICE_SECONDS)))
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
