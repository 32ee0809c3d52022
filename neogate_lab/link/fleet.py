"""AsyncFleet: a verb on many gateways at once, on one loop; never a frame, never a thread."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

from neogate_lab.choice import PortChoice
from neogate_lab.errors import InvalidRequest, NeogateError, NoAnswer
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.clock import SystemClock
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.options import check_seconds
from neogate_lab.link.outbox import SmsResult
from neogate_lab.link.survey import AsyncSurvey, Settings
from neogate_lab.times import Moment

__all__ = ["Answers", "AsyncFleet", "AsyncFleetSurvey", "listed"]

T = TypeVar("T")

AT_ONCE = 50
"""Gateways that are opened together; the next ones follow when these are through, or late."""
LATE = 0.25
"""Seconds after which those that are still being opened hold up nobody."""
TOGETHER = 25
"""Gateways up to which all are measured in the same instant."""
APART = 0.01
"""Seconds between the ticks of more gateways: what many do in the same instant, they do late."""
TOLD = 10
"""Gateways that one message names with their reasons."""


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """What each gateway answered, by name, and why the others did not."""

    given: dict[str, T]
    failed: dict[str, NeogateError]


class AsyncFleet:
    """Several gateways, asked at the same time: none waits for another.

    Parameters
    ----------
    gateways : sequence of AsyncGateway
        Not opened yet, of different names.
    """

    def __init__(self, gateways: Sequence[AsyncGateway]) -> None:
        self._gateways = {gateway.name: gateway for gateway in gateways}
        self._survey_names: set[str] = set()

    # -- life ------------------------------------------------------------------------------------
    async def open(self) -> Answers[None]:
        """Open all; one that can't be reached goes on trying, as `AsyncGateway.open` says.

        Raises
        ------
        NeogateError
            None could be opened: all are closed again.
        """
        opening: list[asyncio.Task[AsyncGateway]] = []
        waiting = iter(self._gateways.values())
        try:
            while some := list(itertools.islice(waiting, AT_ONCE)):
                tasks = [asyncio.ensure_future(each.open(patient=True)) for each in some]
                opening += tasks
                await asyncio.wait(tasks, timeout=LATE)
            await asyncio.gather(*opening)
            failed = self.troubles
            given = dict.fromkeys(name for name in self._gateways if name not in failed)
            return _checked(Answers(given, failed))
        except BaseException:
            for task in opening:
                task.cancel()
            await asyncio.gather(*opening, return_exceptions=True)
            await self.close()
            raise

    async def close(self) -> None:
        """Close all."""
        results = await asyncio.gather(
            *(gateway.close() for gateway in self._gateways.values()), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                raise error

    @property
    def troubles(self) -> dict[str, NeogateError]:
        """The gateways that have any, by name; see `AsyncGateway.trouble`."""
        found = ((name, each.trouble) for name, each in self._gateways.items())
        return {name: error for name, error in found if error is not None}

    # -- verbs -----------------------------------------------------------------------------------
    async def each(self, ask: Callable[[AsyncGateway], Awaitable[T]]) -> Answers[T]:
        """Ask all gateways at the same time.

        Parameters
        ----------
        ask : callable
            Gets a gateway and returns what is to be awaited.

        Raises
        ------
        NeogateError
            All failed; of the same type as their errors, if that is one.
        """

        async def one(gateway: AsyncGateway) -> T:
            return await ask(gateway)

        return _checked(await _gather({name: one(each) for name, each in self._gateways.items()}))

    async def wait_for_sms(
        self,
        sender: str | None = None,
        contains: str | None = None,
        port: PortChoice = None,
        since: Moment | None = None,
        timeout: float = 60,
    ) -> ReceivedSms:
        """Wait for a received SMS at any of the gateways; see `AsyncGateway.wait_for_sms`."""
        check_seconds("timeout", timeout, least=0)
        tasks = {
            asyncio.ensure_future(each.wait_for_sms(sender, contains, port, since, timeout)): name
            for name, each in self._gateways.items()
        }
        failed: dict[str, NeogateError] = {}
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, NeogateError):
                        raise error
                    failed[tasks[task]] = error
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        others = {name: e for name, e in failed.items() if not isinstance(e, NoAnswer)}
        if len(others) == len(failed):
            _checked(Answers({}, failed))
        raise NoAnswer(
            f"no such SMS reached any of {len(failed) - len(others)} gateways within "
            f"{timeout:g} s; what did arrive is in inbox()"
            + (f"; not waited for at:\n{listed(others)}" if others else "")
        )

    async def send_many(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        dry_run: bool = False,
        retry_failed: bool = False,
        batch: str = "",
        progress: Callable[[int, SmsResult], object] | None = None,
    ) -> list[SmsResult]:
        """Send a batch of SMS, each through the gateway that it names as ``gateway``.

        All are checked by all gateways before the first is sent; see `AsyncGateway.send_many`. When
        one gateway refuses its part after that, its messages come back as ``cancelled``.
        """
        rows: dict[str, list[int]] = {}
        for number, message in enumerate(messages):
            rows.setdefault(message["gateway"], []).append(number)
        if strange := [name for name in rows if name not in self._gateways]:
            raise InvalidRequest(
                f"no gateway of this fleet is called {', '.join(map(repr, strange))}; there are "
                f"{', '.join(self._gateways)}; nothing was sent"
            )
        of = {name: [messages[number] for number in numbers] for name, numbers in rows.items()}

        def teller(name: str) -> Callable[[int, SmsResult], object] | None:
            return progress and (lambda number, sms: progress(rows[name][number], sms))

        checked = await _gather(
            {
                name: self._gateways[name].send_many(
                    some, dry_run=True, retry_failed=retry_failed, batch=batch
                )
                for name, some in of.items()
            }
        )
        if checked.failed:
            raise _kind(checked.failed)(
                f"nothing was sent, at no gateway; rows are those of one gateway, counted from 0:\n"
                f"{listed(checked.failed)}"
            )
        if dry_run:
            return _in_order(rows, checked.given)
        sent = await _gather(
            {
                name: self._gateways[name].send_many(
                    some, retry_failed=retry_failed, batch=batch, progress=teller(name)
                )
                for name, some in of.items()
            }
        )
        for name, error in _checked(sent).failed.items():
            sent.given[name] = [
                replace(sms, status="cancelled", error=str(error)) for sms in checked.given[name]
            ]
        return _in_order(rows, sent.given)

    async def survey(
        self,
        *,
        every: float,
        duration: float | None = None,
        port: PortChoice = None,
        label: str = "",
        name: str | None = None,
        on_tick: Callable[[int], object] = lambda done: None,
    ) -> AsyncFleetSurvey:
        """Measure at all gateways; see `AsyncGateway.survey`.

        Up to `TOGETHER` gateways share their ticks; those of more are spread, `APART` at most.
        """
        check_seconds("every", every, above=0)
        now = SystemClock().now()
        if name is None:
            first = f"survey {now:%Y-%m-%d %H:%M:%S}"
            more = (f"{first} ({number})" for number in itertools.count(2))
            names = itertools.chain([first], more)
            name = next(new for new in names if new not in self._survey_names)
        self._survey_names.add(name)
        ticks = _Ticks(on_tick, len(self._gateways))
        gateways = len(self._gateways)
        apart = 0.0 if gateways <= TOGETHER else min(APART, every / gateways)
        starts = {
            each: now + timedelta(seconds=number * apart)
            for number, each in enumerate(self._gateways)
        }

        begun: list[AsyncSurvey] = []

        async def begin(gateway: AsyncGateway) -> AsyncSurvey:
            survey = await gateway.survey(
                every=every,
                duration=duration,
                port=port,
                label=label,
                name=name,
                on_tick=ticks.counter(),
                start=starts[gateway.name],
            )
            begun.append(survey)
            return survey

        try:
            answers = await self.each(begin)
        except BaseException:  # interrupted: none may go on that nobody has a handle of
            await asyncio.gather(*(survey.stop() for survey in begun), return_exceptions=True)
            raise
        ticks.gateways = len(answers.given)
        return AsyncFleetSurvey(name, answers.given, answers.failed)


class AsyncFleetSurvey:
    """One survey of several gateways; made by `AsyncFleet.survey`.

    Attributes
    ----------
    name : str
        Stands in the column `survey` of every row of every gateway.
    failed : dict of str to NeogateError
        Gateways at which it did not begin.
    """

    def __init__(
        self,
        name: str,
        surveys: Mapping[str, AsyncSurvey],
        failed: Mapping[str, NeogateError],
    ) -> None:
        self.name = name
        self.failed = dict(failed)
        self._surveys = dict(surveys)

    @property
    def running(self) -> bool:
        """Whether more ticks are to come at any gateway."""
        return any(survey.running for survey in self._surveys.values())

    @property
    def paused(self) -> bool:
        """Whether it measures nothing anywhere until it is resumed."""
        going = [survey for survey in self._surveys.values() if survey.running]
        return bool(going) and all(survey.paused for survey in going)

    @property
    def settings(self) -> Settings:
        """What it was asked to do."""
        return next(iter(self._surveys.values())).settings

    @property
    def notice(self) -> str:
        """That it goes on, or who else measures, in one line; "" for a new one that is alone."""
        told = [survey.notice for survey in self._surveys.values() if survey.notice]
        more = f"; likewise at {len(told) - 1} other gateways" if len(told) > 1 else ""
        return f"{told[0]}{more}" if told else ""

    @property
    def done(self) -> int:
        """Ticks so far, missed ones too; the mean of the gateways, rounded down."""
        return sum(survey.done for survey in self._surveys.values()) // len(self._surveys)

    @property
    def total(self) -> int | None:
        """Ticks planned; None for an open end."""
        return next(iter(self._surveys.values())).total

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop once it has ended at every gateway."""
        left = itertools.count(len(self._surveys) - 1, -1)

        def ended() -> None:
            if next(left) == 0:
                callback()

        for survey in self._surveys.values():
            survey.when_ended(ended)

    async def mark(self, label: str, port: PortChoice = None) -> Answers[None]:
        """Label what is measured from the next tick on, at all gateways."""
        return await self._each(lambda survey: survey.mark(label, port))

    async def pause(self) -> Answers[None]:
        """Measure nothing anywhere from now on, until `resume`."""
        return await self._each(lambda survey: survey.pause())

    async def resume(self) -> Answers[None]:
        """Measure again, on the same grid."""
        return await self._each(lambda survey: survey.resume())

    async def wait(self, timeout: float | None = None) -> Answers[None]:
        """Return at the end of all; raise what ended them, or `NoAnswer` after `timeout`."""
        return await self._each(lambda survey: survey.wait(timeout), strict=True)

    async def stop(self) -> Answers[None]:
        """End all after the tick that runs now."""
        return await self._each(lambda survey: survey.stop(), strict=True)

    def end(self) -> None:
        """As `stop`, without waiting; on the loop."""
        for survey in self._surveys.values():
            survey.end()

    async def _each(
        self, ask: Callable[[AsyncSurvey], Coroutine[Any, Any, T]], *, strict: bool = False
    ) -> Answers[T]:
        answers = await _gather({name: ask(survey) for name, survey in self._surveys.items()})
        for error in answers.failed.values() if strict else ():
            raise error
        return _checked(answers)


class _Ticks:
    """Counts the ticks of all gateways, and tells how many each has done in the mean."""

    def __init__(self, on_tick: Callable[[int], object], gateways: int) -> None:
        self.gateways = gateways
        self._on_tick = on_tick
        self._count = 0
        self._told = 0

    def counter(self) -> Callable[[int], None]:
        """What one gateway is to call with the number of its ticks so far."""
        before = 0

        def count(done: int) -> None:
            nonlocal before
            self._count += done - before
            before = done
            mean = self._count // self.gateways
            if mean != self._told:
                self._told = mean
                self._on_tick(mean)

        return count


def _in_order(
    rows: Mapping[str, Sequence[int]], results: Mapping[str, Sequence[SmsResult]]
) -> list[SmsResult]:
    found = {
        number: sms
        for name, numbers in rows.items()
        for number, sms in zip(numbers, results[name], strict=True)
    }
    return [found[number] for number in sorted(found)]


def listed(failed: Mapping[str, NeogateError]) -> str:
    """The gateways that failed and why, a line each; like reasons together."""
    reasons: dict[str, list[str]] = {}
    for name, error in failed.items():
        reasons.setdefault(str(error), []).append(name)
    lines = [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    if len(lines) > TOLD:
        lines[TOLD:] = [f"  and {len(lines) - TOLD} more"]
    return "\n".join(lines)


async def _gather(asked: Mapping[str, Coroutine[Any, Any, T]]) -> Answers[T]:
    results = await asyncio.gather(*asked.values(), return_exceptions=True)
    given: dict[str, T] = {}
    failed: dict[str, NeogateError] = {}
    for name, result in zip(asked, results, strict=True):
        if isinstance(result, NeogateError):
            failed[name] = result
        elif isinstance(result, BaseException):
            raise result
        else:
            given[name] = result
    return Answers(given, failed)


def _checked(answers: Answers[T]) -> Answers[T]:
    """Raise if nobody answered; with one gateway, or one reason, in its very words."""
    if answers.given or not answers.failed:
        return answers
    errors = list(answers.failed.values())
    if len({str(error) for error in errors}) == 1:
        raise errors[0]
    raise _kind(answers.failed)(
        f"none of {len(errors)} gateways could do it:\n{listed(answers.failed)}"
    )


def _kind(failed: Mapping[str, NeogateError]) -> type[NeogateError]:
    """The nearest type that all the errors have in common."""
    first, *others = (type(error) for error in failed.values())
    shared = (kind for kind in first.__mro__ if all(issubclass(each, kind) for each in others))
    return next(kind for kind in shared if issubclass(kind, NeogateError))
