"""The surveys of one gateway: begun anew or taken up by name; survey.py is the life of one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from neogate_lab.errors import InvalidRequest
from neogate_lab.link.clock import Clock
from neogate_lab.link.ledger import Ledger, Lock
from neogate_lab.link.options import check_seconds
from neogate_lab.link.ports import Ports
from neogate_lab.link.sampler import Sampler, check_label
from neogate_lab.link.survey import AsyncSurvey, Earlier, Settings

__all__ = ["SurveyDesk"]

logger = logging.getLogger(__name__)

SHORTEST_TICK = 0.1
"""Seconds."""


class SurveyDesk:
    """Begins the surveys of one gateway, and knows which run.

    Parameters
    ----------
    gateway, where : str
        The gateway as tables name it, and as messages do.
    look_at_clock : callable
        Called when a survey noticed that time passed unseen.
    record_gap : callable
        Called with an event, a reason and seconds, for a survey that goes on after it did not run.
    """

    def __init__(
        self,
        ledger: Ledger,
        ports: Ports,
        *,
        gateway: str,
        where: str,
        look_at_clock: Callable[[], None],
        record_gap: Callable[[str, str, float], None],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._ports = ports
        self._gateway = gateway
        self._where = where
        self._look_at_clock = look_at_clock
        self._record_gap = record_gap
        self._clock = clock
        self._surveys: list[AsyncSurvey] = []

    @property
    def running(self) -> list[AsyncSurvey]:
        """Those that run, in the order in which they began."""
        return [survey for survey in self._surveys if survey.running]

    async def begin(
        self,
        settings: Settings,
        port: int | Iterable[int] | None,
        name: str | None,
        on_tick: Callable[[int], object],
        start: datetime | None,
    ) -> AsyncSurvey:
        """Check what is asked for, and measure from then on; see `AsyncGateway.survey`.

        The ports of `settings` are filled in here, from `port`.
        """
        check_label(settings.label)
        check_seconds("every", settings.every, above=0)
        if settings.duration is not None:
            check_seconds("duration", settings.duration, above=0)
        if settings.every < SHORTEST_TICK:
            raise InvalidRequest(
                f"every={settings.every:g} s is below {SHORTEST_TICK} s; the gateway caches its "
                "readings for longer than that"
            )
        if name is not None and not (isinstance(name, str) and name):
            raise InvalidRequest(f"name must be text that is not empty, not {name!r}")
        if port is not None:
            numbers = tuple(number for number, _ in await self._ports.resolve(port))
            settings = replace(settings, ports=numbers)
        if self._ports.listed and not await self._ports.resolve(None):
            raise InvalidRequest(f"{self._where} lists no ports")
        name, lock = await self._claim(name)
        try:
            survey = await self._begin(name, lock, settings, on_tick, start)
        except BaseException:
            lock.release()
            raise
        self._surveys = [*self.running, survey]
        if survey.notice:
            logger.info("%s: %s", self._where, survey.notice)
        return survey

    async def _claim(self, name: str | None) -> tuple[str, Lock]:
        """A survey's name, and the lock that keeps others from measuring under it."""
        if name is not None:
            lock = self._ledger.survey_lock(self._gateway, name)
            if not lock.acquire():
                here = any(survey.name == name for survey in self.running)
                raise InvalidRequest(
                    f"a survey called {name!r} runs already{'' if here else ' elsewhere'}: stop() "
                    "it first, or give another name"
                )
            return name, lock
        begun = f"survey {self._clock.now():%Y-%m-%d %H:%M:%S}"
        for number in itertools.count(1):
            new = begun if number == 1 else f"{begun} ({number})"
            lock = self._ledger.survey_lock(self._gateway, new)
            if lock.acquire():
                if await self._earlier(new) is None:
                    return new, lock
                lock.release()
        raise AssertionError("unreachable: numbers do not end")

    async def _earlier(self, name: str) -> Earlier | None:
        return await Earlier.find(self._ledger, self._gateway, name, self._clock.now())

    async def _begin(
        self,
        name: str,
        lock: Lock,
        settings: Settings,
        on_tick: Callable[[int], object],
        start: datetime | None,
    ) -> AsyncSurvey:
        earlier = await self._earlier(name)
        if earlier is not None:
            settings = earlier.taken_up_with(settings, name)
        wanted = None if settings.ports is None else await self._ports.resolve(settings.ports)
        sampler = Sampler(
            self._ports.measure,
            self._ports.skip,
            lambda *_: self._look_at_clock(),
            gateway=self._gateway,
            every=settings.every,
            duration=settings.duration,
            start=start,
            ports=lambda: wanted or self._ports.to_measure,
            labels={None: settings.label} if earlier is None else earlier.labels,
            name=name,
            clock=self._clock,
            on_tick=on_tick,
            started_at=None if earlier is None else earlier.started_at,
            done=0 if earlier is None else earlier.done,
        )
        survey = AsyncSurvey(
            sampler,
            self._ledger,
            lock,
            self._ports.resolve,
            gateway=self._gateway,
            settings=settings,
            earlier=earlier,
            clock=self._clock,
        )
        await survey.begin()
        if earlier is not None and earlier.reason in ("died", "closed", "failed"):
            gap = (self._clock.now() - earlier.stopped_at).total_seconds()
            self._record_gap("not_running", f"survey {name!r}: {earlier.reason}", gap)
        return survey
