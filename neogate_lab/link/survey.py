"""A survey's life: its rows in `surveys`, marks, pauses, its end, and how it goes on by name in
another process; sampler.py says when a tick is due.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from neogate_lab.choice import PortChoice
from neogate_lab.errors import InvalidRequest, NeogateError, NoAnswer
from neogate_lab.link.clock import Clock
from neogate_lab.link.ledger import Ledger, SurveyLock
from neogate_lab.link.sampler import Sampler, check_label, ticks_of

__all__ = ["AsyncSurvey", "Earlier", "Settings"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a survey was asked to do; ports None is all."""

    every: float = 10.0
    duration: float | None = None
    ports: tuple[int, ...] | None = None
    label: str = ""

    def __str__(self) -> str:
        ports = "" if self.ports is None else f", port={list(self.ports)}"
        return f"every={self.every:g}, duration={_number(self.duration)}{ports}"

    def row(self) -> dict[str, Any]:
        """Its columns of the table `surveys`."""
        return {
            "every_s": self.every,
            "duration_s": self.duration,
            "ports": "" if self.ports is None else json.dumps(list(self.ports)),
            "label": self.label,
        }


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is on record of a survey that may go on.

    Attributes
    ----------
    settings : Settings
        The label is the one that it was given last.
    started_at, stopped_at : datetime
        Its first tick; since when it was not measured.
    done : int
        Ticks that it had.
    labels : dict
        In force, by port; that of None is for the others.
    died : int or None
        The row of a stretch that has no end on record.
    reason : str
        Why it does not run.
    """

    settings: Settings
    started_at: datetime
    stopped_at: datetime
    done: int
    labels: Mapping[int | None, str]
    died: int | None
    reason: str

    @classmethod
    async def find(cls, ledger: Ledger, gateway: str, name: str, now: datetime) -> Earlier | None:
        """What is on record under this name, for the holder of the survey's lock."""
        stretches, marks, last = await asyncio.wrap_future(ledger.recall_survey(gateway, name))
        if not stretches:
            return None
        newest, first = stretches[-1], stretches[0]
        ports = json.loads(newest["ports"]) if newest["ports"] else None
        settings = Settings(
            newest["every_s"],
            newest["duration_s"],
            None if ports is None else tuple(ports),
            newest["label"],
        )
        step = timedelta(seconds=settings.every)
        died = newest.get("stopped_at") is None
        if died:
            # The next tick after its last one was the first that nobody measured.
            newest["stopped_at"] = newest["time"] if last is None else min(last + step, now)
            newest["reason"] = "died"
        labels: dict[int | None, str] = {None: first["label"]}
        for mark in marks:
            if mark["port"] is None:
                labels.clear()
            labels[mark["port"]] = mark["label"]

        def ticks(time: datetime) -> int:
            return -int((first["time"] - time) // step)

        # Versions before this left the stretches of killed processes open: nobody knows their ends.
        ended = [row for row in stretches if row["stopped_at"] is not None]
        done = sum(max(0, ticks(row["stopped_at"]) - ticks(row["time"])) for row in ended)
        if settings.duration is not None:
            total = ticks_of(settings.duration, settings.every)
            done = total if newest["reason"] == "done" else min(done, total)
        return cls(
            settings,
            first["time"],
            newest["stopped_at"],
            done,
            labels,
            newest["row_id"] if died else None,
            newest["reason"],
        )

    @property
    def complete(self) -> bool:
        """Whether it came to its planned end."""
        length = self.settings.duration
        return length is not None and self.done >= ticks_of(length, self.settings.every)

    def taken_up_with(self, asked: Settings, name: str) -> Settings:
        """The settings with which it goes on.

        All left out, its own; the label left out, its own; otherwise those asked for must be its
        own, the label apart: with two distances of ticks under one name, gaps could not be told.

        Raises
        ------
        InvalidRequest
            They differ.
        """
        own = self.settings
        if asked == Settings():
            return own
        asked = replace(asked, label=asked.label or own.label)
        if (asked.every, asked.duration, _set(asked.ports)) != (
            own.every,
            own.duration,
            _set(own.ports),
        ):
            raise InvalidRequest(
                f"a survey called {name!r} is on record with {own}, not {asked}: give those, or "
                "the name alone, to go on with it; give another name to begin a new one"
            )
        return asked

    def notice(self, name: str) -> str:
        """One line for whoever takes it up."""
        length = self.settings.duration
        total = "" if length is None else f" of {ticks_of(length, self.settings.every)}"
        if self.complete:
            return (
                f"the survey {name!r} has come to its end with {self.done}{total} ticks, and "
                "measures no more; give another name to begin a new one"
            )
        return (
            f"the survey {name!r} goes on after {self.done}{total} ticks; nothing was measured "
            f"since {self.stopped_at:%Y-%m-%d %H:%M:%S} UTC ({self.reason})"
        )


class AsyncSurvey:
    """A measurement on a fixed grid, in the background; made by `AsyncGateway.survey`.

    Attributes
    ----------
    name : str
        Stands in the column `survey` of every row.
    settings : Settings
        What it was asked to do.
    notice : str
        That it is an earlier one which goes on, and that other processes measure the same ports,
        in one line; "" for a new one that is alone.
    """

    def __init__(
        self,
        sampler: Sampler,
        ledger: Ledger,
        lock: SurveyLock,
        resolve: Callable[[PortChoice], Awaitable[Sequence[tuple[int, int]]]],
        *,
        gateway: str,
        settings: Settings,
        earlier: Earlier | None,
        beside: str,
        clock: Clock,
    ) -> None:
        self.name = sampler.name
        self.settings = settings
        went_before = "" if earlier is None else earlier.notice(sampler.name)
        self.notice = "; ".join(filter(None, [went_before, beside]))
        self._sampler = sampler
        self._ledger = ledger
        self._lock = lock
        self._resolve = resolve
        self._gateway = gateway
        self._earlier = earlier
        self._clock = clock
        self._closing = False
        self._turn = asyncio.Lock()  # of those who write its rows
        self._row: int | None = None  # of the stretch that is open
        self._last_row = 0
        self._task: asyncio.Task[None]
        self._began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited = True  # by `begun`

    def start(self) -> None:
        """Record its start, and measure from then on, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def begun(self) -> None:
        """Return when its start is on record; raise why it is not. An interrupt ends it."""
        try:
            await asyncio.wait({self._task, self._began}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._awaited = False
            self.end()
            raise
        if not self._began.done():
            self._task.result()

    async def _record_start(self) -> None:
        earlier = self._earlier
        if earlier is None:
            await self._open(self._sampler.started_at)
        elif not earlier.complete:
            if earlier.died is not None:
                ending = {"stopped_at": earlier.stopped_at, "reason": earlier.reason}
                await asyncio.wrap_future(self._ledger.update("surveys", earlier.died, ending))
            if self.settings.label != earlier.settings.label:
                await self._label(self.settings.label, None)
            await self._open(self._clock.now())

    @property
    def running(self) -> bool:
        """Whether more ticks are to come, perhaps after a pause."""
        return not self._task.done()

    @property
    def paused(self) -> bool:
        """Whether it measures nothing until it is resumed."""
        return self.running and self._sampler.paused

    @property
    def done(self) -> int:
        """Ticks so far, missed ones too."""
        return self._sampler.done

    @property
    def total(self) -> int | None:
        """Ticks planned; None for an open end."""
        return self._sampler.total

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop once it has ended."""
        self._task.add_done_callback(lambda task: callback())

    async def mark(self, label: str, port: PortChoice = None) -> None:
        """Label what is measured from the next tick on, for some ports or for all."""
        check_label(label)
        self._check_running()
        numbers = None if port is None else [number for number, _ in await self._resolve(port)]
        await self._label(label, numbers)

    async def _label(self, label: str, numbers: Sequence[int] | None) -> None:
        self._sampler.mark(label, numbers)
        rows = [
            {
                "time": self._clock.now(),
                "gateway": self._gateway,
                "port": number,
                "label": label,
                "survey": self.name,
            }
            for number in (numbers if numbers is not None else [None])
        ]
        await asyncio.wrap_future(self._ledger.append("marks", rows))

    async def pause(self) -> None:
        """Measure nothing from now on, until `resume`: those ticks are not missed ones."""
        async with self._turn:
            self._check_running()
            since = self._sampler.pause()
            await self._end({"stopped_at": since, "reason": "paused"})

    async def resume(self) -> None:
        """Measure again, on the same grid."""
        async with self._turn:
            self._check_running()
            if self._sampler.paused:
                await self._open(self._sampler.resume())

    async def wait(self, timeout: float | None = None) -> None:
        """Return at its end; raise what ended it, or `NoAnswer` after `timeout` seconds."""
        done, _ = await asyncio.wait({self._task}, timeout=timeout)
        if not done:
            raise NoAnswer(f"the survey {self.name!r} still runs after {timeout:g} s")
        self._task.result()

    async def stop(self, *, closing: bool = False) -> None:
        """End it after the tick that runs now."""
        self._closing = closing or self._closing
        self.end()
        await self.wait()

    def end(self) -> None:
        """As `stop`, without waiting; on the loop."""
        self._sampler.stop()

    async def _run(self) -> None:
        reason = "failed"
        try:
            await self._record_start()
            self._began.set_result(None)
            finished = await self._sampler.run()
            reason = "done" if finished else "closed" if self._closing else "stopped"
        finally:
            async with self._turn:
                if self._row is not None:
                    stopped = self._sampler.stopped_at or self._clock.now()
                    await self._end({"stopped_at": stopped, "reason": reason})
                elif reason == "stopped":  # within a pause: it was not measured since that
                    await self._change(self._last_row, {"reason": reason})

    async def _open(self, time: datetime) -> None:
        """Record that a stretch begins."""
        row = {
            **self.settings.row(),
            "time": time,
            "gateway": self._gateway,
            "name": self.name,
        }
        (self._row,) = await asyncio.wrap_future(self._ledger.append("surveys", [row]))
        self._last_row = self._row

    async def _end(self, ending: Mapping[str, Any]) -> None:
        """Record that the open stretch ended, if there is one."""
        if self._row is not None:
            row, self._row = self._row, None
            await self._change(row, ending)

    async def _change(self, row: int, values: Mapping[str, Any]) -> None:
        if row:
            await asyncio.wrap_future(self._ledger.update("surveys", row, values))

    def _check_running(self) -> None:
        if not self.running:
            raise InvalidRequest(
                f"the survey {self.name!r} has ended; survey(name={self.name!r}) goes on with it, "
                "another name begins a new one"
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._lock.release()
        error = None if task.cancelled() else task.exception()
        if self._awaited and not self._began.done():
            return  # `begun` raises it
        if isinstance(error, NeogateError):
            logger.error("the survey %r ended: %s", self.name, error)
        elif error is not None:
            logger.error("the survey %r ended", self.name, exc_info=error)


def _set(ports: tuple[int, ...] | None) -> frozenset[int] | None:
    return None if ports is None else frozenset(ports)


def _number(value: float | None) -> str:
    return "None" if value is None else f"{value:g}"
