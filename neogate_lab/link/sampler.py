"""The survey's clock: ticks on a fixed grid, missed ticks as rows, time asleep as one gap.

A tick is due at start + k * every, whatever the ticks before it took. One that is measured late has
its latency; one whose whole interval passed is a row with error ``missed``. When the wall clock ran
ahead of the monotonic one, the machine slept (or its clock was set): that is one row of
`connections`, not a million of `signal`. A clock that was set back moves the grid by whole ticks.
A pause skips ticks of the grid: they are neither measured nor missed, and don't count as done.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from neogate_lab.errors import InvalidRequest
from neogate_lab.link.clock import Clock, JumpWatch, sleep_unless
from neogate_lab.protocol.records import RssiBound, SpanDetail

__all__ = ["Measurement", "Sampler", "Target", "check_label", "failed", "measured", "ticks_of"]

SampleError = Literal["", "no_answer", "disconnected", "refused", "missed", "unparsed"]

SLICE_SECONDS = 10.0
"""The longest sleep between two looks at the clocks."""
MISSED_AT_ONCE = 256
"""Missed ticks that are recorded in one go."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of one port, as stored in the table `signal`; None is unknown."""

    time: datetime
    gateway: str
    port: int | None
    span: int | None
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
    power: bool | None = None
    sim: bool | None = None
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
    """What is to be measured: one port at one tick, under its label.

    Port and span are None for a gateway that has not told its ports yet.
    """

    time: datetime
    gateway: str
    port: int | None
    span: int | None
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


@dataclass(slots=True)
class _Pause:
    since: datetime
    until: datetime | None = None


def ticks_of(seconds: float, every: float) -> int:
    """How many ticks come in so many seconds: one at least."""
    return max(1, math.ceil(seconds / every - 1e-9))


class Sampler:
    """One survey's ticks.

    Parameters
    ----------
    measure : callable
        Measures the targets of one tick and records the rows; never raises for a failed link.
    skip : callable
        Records the targets of ticks that nobody measured.
    gap : callable
        Called with (event, seconds) when time passed unseen.
    every, duration : float
        Seconds; `duration` None for open end.
    start : datetime, optional
        When the first tick is due; default now.
    ports : callable
        Gives (port, span) of what is to be measured; None is not known yet.
    labels : mapping of port to str
        Labels of single ports; that of None is for the others.
    started_at : datetime, optional
        The first tick, when a survey is taken up again: its grid goes on from there.
    done : int
        Ticks that it had by then.
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
        start: datetime | None = None,
        ports: Callable[[], Sequence[tuple[int | None, int | None]]],
        labels: Mapping[int | None, str],
        name: str,
        clock: Clock,
        on_tick: Callable[[int], object] = lambda done: None,
        started_at: datetime | None = None,
        done: int = 0,
    ) -> None:
        self.every = every
        self.total = None if duration is None else ticks_of(duration, every)
        self.name = name
        self.started_at = started_at or start or clock.now()
        self._measure = measure
        self._skip = skip
        self._gap = gap
        self._gateway = gateway
        self._ports = ports
        self._clock = clock
        self._on_tick = on_tick
        self._changed = asyncio.Event()  # stopped, paused or resumed: whoever sleeps has to look
        self.stopped_at: datetime | None = None  # when `stop` was called
        self._pauses: deque[_Pause] = deque()
        self._anchor = self.started_at
        self._step = timedelta(seconds=every)
        self._jumps = JumpWatch(clock)
        self._next = 0  # on the grid; beyond `done` by what was skipped
        self._skipped = 0
        if started_at is not None:
            now = clock.now()
            self._next = max(0, self._first_from(now))
            self._skipped = self._next - done
            self._move_grid(now)  # nowhere, unless the clock was set back to before the start
        # From which tick on: a tick that is recorded late still bears the label of its own time.
        self._labels: list[tuple[int, dict[int | None, str]]] = [(self._next, dict(labels))]

    @property
    def done(self) -> int:
        """Ticks so far, missed ones and those slept through too."""
        return self._next - self._skipped

    @property
    def paused(self) -> bool:
        """Whether it measures nothing until it is resumed."""
        return bool(self._pauses) and self._pauses[-1].until is None

    def mark(self, label: str, ports: Sequence[int] | None) -> None:
        """From the next tick on, rows carry this label: those of some ports, or of all."""
        upcoming = self._first_from(self._clock.now())
        since, labels = self._labels[-1]
        labels = {None: label} if ports is None else {**labels, **dict.fromkeys(ports, label)}
        self._labels.append((max(since, upcoming), labels))

    def pause(self) -> datetime:
        """Skip all ticks from now on until `resume`; since when."""
        if not self.paused:
            self._pauses.append(_Pause(self._clock.now()))
            self._changed.set()
        return self._pauses[-1].since

    def resume(self) -> datetime:
        """Measure again from the next tick of the grid on; when that was asked for."""
        now = self._clock.now()
        if self.paused:
            self._pauses[-1].until = now
            self._changed.set()
        return now

    def stop(self) -> None:
        """End after the tick that runs now."""
        if self.stopped_at is None:
            self.stopped_at = self._clock.now()
            self._changed.set()

    async def run(self) -> bool:
        """Measure until the end; True when it came to its planned end, False when stopped."""
        while self.total is None or self.done < self.total:
            self._changed.clear()
            if self._in_pause():
                if not await self._rest():
                    return False
                continue
            jumped = await self._sleep_until(self._anchor + self._next * self._step)
            now = self._clock.now()
            current = (now - self._anchor) // self._step  # the tick whose interval we are in
            if jumped:
                self._gap("asleep" if jumped > 0 else "clock_changed", jumped)
                if jumped < 0:
                    self._move_grid(now)
                else:
                    self._advance(current)
            elif self.stopped_at is not None:
                stop = self._first_from(self.stopped_at)
                if self._next >= stop:
                    return False
                await self._miss(stop)
            elif current > self._next:
                await self._miss(current)
            elif current == self._next and not self._in_pause():  # else a pause woke it
                await self._measure(self._targets(self._next))
                self._advance(self._next + 1)
        return True

    def _in_pause(self) -> bool:
        """Whether the next tick falls into a pause."""
        return bool(self._pauses) and self._next >= self._first_from(self._pauses[0].since)

    async def _rest(self) -> bool:
        """Sit a pause out, and skip its ticks; False when stopped meanwhile."""
        pause = self._pauses[0]
        while pause.until is None:
            if self.stopped_at is not None:
                return False
            await self._changed.wait()
            self._changed.clear()
        self._pauses.popleft()
        self._jumps.jumped()  # a sleep within a pause is no gap of its own
        first = max(self._next, self._first_from(pause.until))
        self._skipped += first - self._next
        self._next = first
        now = self._clock.now()
        if self._first_from(now) < first:  # set back meanwhile
            self._move_grid(now)
        return True

    def _move_grid(self, now: datetime) -> None:
        """Have the next tick come within one interval: when the clock is set back, the grid goes
        back with it by whole ticks, else the survey would wait.
        """
        self._anchor += (self._first_from(now) - self._next) * self._step

    async def _miss(self, until: int) -> None:
        """Record the ticks before `until` that nobody measured."""
        if self._pauses:
            until = min(until, self._first_from(self._pauses[0].since))
        if self.total is not None:
            until = min(until, self.total + self._skipped)
        while self._next < until:
            missed = range(self._next, min(until, self._next + MISSED_AT_ONCE))
            await self._skip([target for tick in missed for target in self._targets(tick)])
            self._advance(missed.stop)

    def _first_from(self, time: datetime) -> int:
        """The first tick that is due at `time` or later."""
        return -((self._anchor - time) // self._step)

    def _targets(self, tick: int) -> list[Target]:
        time = self._anchor + tick * self._step
        labels = next(labels for since, labels in reversed(self._labels) if since <= tick)
        return [
            Target(time, self._gateway, port, span, labels.get(port, labels[None]), self.name)
            for port, span in self._ports()
        ]

    def _advance(self, tick: int) -> None:
        """Everything before this tick is done."""
        if self.total is not None:
            tick = min(tick, self.total + self._skipped)
        if tick > self._next:
            self._next = tick
            self._on_tick(self.done)

    async def _sleep_until(self, due: datetime) -> float:
        """Sleep until a tick is due; return at once by how many seconds the wall clock jumped."""
        while True:
            if jumped := self._jumps.jumped():
                return jumped
            left = (due - self._clock.now()).total_seconds()
            if left <= 0 or self.stopped_at is not None or self._changed.is_set():
                return 0.0
            await sleep_unless(self._clock, min(left, SLICE_SECONDS), self._changed)


def check_label(label: object) -> None:
    """Labels are text: an analyst's None or 3 would be a surprise in the table."""
    if not isinstance(label, str):
        raise InvalidRequest(f"label must be text, not {label!r}")
