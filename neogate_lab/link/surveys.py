"""The surveys of one gateway: begun anew or taken up by name; survey.py is the life of one."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from neogate_lab.choice import PortChoice
from neogate_lab.errors import GatewayClosed, InvalidRequest
from neogate_lab.link.clock import Clock
from neogate_lab.link.ledger import Ledger, SurveyLock
from neogate_lab.link.options import check_seconds
from neogate_lab.link.ports import Ports
from neogate_lab.link.sampler import Sampler, check_label
from neogate_lab.link.survey import AsyncSurvey, Earlier, Settings

__all__ = ["SurveyDesk"]

logger = logging.getLogger(__name__)

SHORTEST_TICK = 0.1
"""Seconds."""
CLAIMS, CLAIM_AGAIN = 3, 0.02
"""Tries, and seconds between them: who looks whether a survey lives has its lock for an instant."""


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
        self._closed = False

    @property
    def running(self) -> list[AsyncSurvey]:
        """Those that run, in the order in which they began."""
        return [survey for survey in self._surveys if survey.running]

    def close(self) -> list[AsyncSurvey]:
        """Begin none from now on; those that run."""
        self._closed = True
        return self.running

    async def begin(
        self,
        settings: Settings,
        port: PortChoice,
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
            survey, earlier = await self._make(name, lock, settings, on_tick, start)
            if self._closed:
                raise GatewayClosed(f"{self._where} was closed; connect again")
        except BaseException:
            lock.release()
            raise
        survey.start()  # and with that it is ended by `close`, and lets go of the lock itself
        self._surveys = [*self.running, survey]
        await survey.begun()
        if self._closed:
            raise GatewayClosed(f"{self._where} was closed; connect again")
        if earlier is not None and earlier.reason in ("died", "closed", "failed"):
            gap = (self._clock.now() - earlier.stopped_at).total_seconds()
            self._record_gap("not_running", f"survey {name!r}: {earlier.reason}", gap)
        if survey.notice:
            logger.info("%s: %s", self._where, survey.notice)
        return survey

    async def _claim(self, name: str | None) -> tuple[str, SurveyLock]:
        """A survey's name, and the lock that keeps others from measuring under it."""
        if name is not None:
            lock = self._ledger.survey_lock(self._gateway, name)
            for _ in range(CLAIMS):
                if lock.acquire():
                    return name, lock
                await asyncio.sleep(CLAIM_AGAIN)
            if any(survey.name == name for survey in self.running):
                raise InvalidRequest(
                    f"a survey called {name!r} runs already: stop() it first, or give another name"
                )
            raise InvalidRequest(
                f"{lock.holder} measures {self._gateway} under the survey name {name!r} already: "
                "stop it there, or give another name"
            )
        begun = f"survey {self._clock.now():%Y-%m-%d %H:%M:%S}"
        for number in itertools.count(1):
            new = begun if number == 1 else f"{begun} ({number})"
            lock = self._ledger.survey_lock(self._gateway, new)
            if lock.acquire():
                free = False
                try:
                    free = await self._earlier(new) is None
                finally:
                    if not free:
                        lock.release()
                if free:
                    return new, lock
        raise AssertionError("unreachable: numbers do not end")

    async def _earlier(self, name: str) -> Earlier | None:
        return await Earlier.find(self._ledger, self._gateway, name, self._clock.now())

    async def _make(
        self,
        name: str,
        lock: SurveyLock,
        settings: Settings,
        on_tick: Callable[[int], object],
        start: datetime | None,
    ) -> tuple[AsyncSurvey, Earlier | None]:
        earlier = await self._earlier(name)
        if earlier is not None:
            settings = earlier.taken_up_with(settings, name)
        wanted = None if settings.ports is None else await self._ports.resolve(settings.ports)
        beside = ""
        if earlier is None or not earlier.complete:
            beside = await self._others_at_work(name, settings)
        begun_with: set[tuple[int, int]] = set()

        def to_measure() -> Sequence[tuple[int | None, int | None]]:
            # A port that vanishes goes on as rows that failed: silence would look like no survey.
            begun_with.update(self._ports.known)
            return wanted or sorted(begun_with) or self._ports.to_measure

        sampler = Sampler(
            self._ports.measure,
            self._ports.skip,
            lambda *_: self._look_at_clock(),
            gateway=self._gateway,
            every=settings.every,
            duration=settings.duration,
            start=start,
            ports=to_measure,
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
            beside=beside,
            clock=self._clock,
        )
        return survey, earlier

    async def _others_at_work(self, name: str, settings: Settings) -> str:
        """Who else measures some of these ports, in one line."""
        known = {name, *(survey.name for survey in self.running)}
        rows = await asyncio.wrap_future(self._ledger.open_surveys(self._gateway))
        told = []
        for other, row in {row["name"]: row for row in rows if row["name"] not in known}.items():
            ports = json.loads(row["ports"]) if row["ports"] else None
            if ports and settings.ports and not {*ports} & {*settings.ports}:
                continue
            lock = self._ledger.survey_lock(self._gateway, other)
            if lock.taken():  # else its process died
                told.append(
                    f"{lock.holder} measures {self._gateway} as well, every {row['every_s']:g} s: "
                    f"its rows stand beside these with survey={other!r}"
                )
        return "; ".join(told)
