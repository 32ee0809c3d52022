"""Survey: a running measurement as notebooks handle it, with bar, frame and plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from neogate_lab import times
from neogate_lab.choice import PortChoice
from neogate_lab.dispatcher import Dispatcher
from neogate_lab.errors import InvalidRequest
from neogate_lab.link.survey import AsyncSurvey, Settings
from neogate_lab.progress import Bar

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from neogate_lab.fleet import Fleet
    from neogate_lab.gateway import Gateway
    from neogate_lab.link.fleet import AsyncFleetSurvey

__all__ = ["Survey"]


class _Progress:
    """The bar of a survey, if it has one; moved on the dispatcher. Holds no facade."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._survey: AsyncSurvey | AsyncFleetSurvey | None = None
        self._bar: Bar | None = None
        self.note = ""

    def open(self, survey: AsyncSurvey | AsyncFleetSurvey, shown: bool) -> None:
        """Show one in the present cell, and no other any more."""
        if self._bar is not None:
            self._bar.close()  # at once: two that are open at a time take a line each
            self._bar = None
        self._survey = survey
        if shown:
            self._bar = Bar(
                survey.name, survey.total, "tick", done=survey.done, pace=survey.settings.every
            )
            if self.note:
                self.show(survey.done)

    def show(self, done: int) -> None:
        """Move it."""
        if (bar := self._bar) is not None:
            self._dispatcher.show(bar.show, done, self.note)

    def close(self) -> None:
        """Leave it as it stands; one that did not come to its planned end says that it ended."""
        bar, self._bar = self._bar, None
        if bar is not None and self._survey is not None:
            if self._survey.done != self._survey.total:
                self._dispatcher.show(bar.show, self._survey.done, "ended")
            self._dispatcher.show(bar.close)


class Survey:
    """A measurement on a fixed grid, in the background; made by `survey` of a gateway or fleet.

    A context manager too: leaving it stops the survey.

    Attributes
    ----------
    name : str
        Stands in the column `survey` of every row.
    notice : str
        That it is an earlier one which goes on, and that other processes measure the same ports,
        in one line; "" for a new one that is alone.
    settings : Settings
        What it was asked to do: every, duration (seconds), ports, label.
    """

    def __init__(
        self, gateway: Gateway | Fleet, settings: Settings, *, name: str | None, progress: bool
    ) -> None:
        self._gateway = gateway
        self._asked = settings
        self._named = name is not None
        self._progress = bar = _Progress(gateway._dispatcher)
        begun: list[AsyncSurvey | AsyncFleetSurvey] = []

        async def begin() -> AsyncSurvey | AsyncFleetSurvey:
            begun.append(
                await gateway._link.survey(
                    every=settings.every,
                    duration=settings.duration,
                    port=settings.ports,
                    label=settings.label,
                    name=name,
                    on_tick=bar.show,
                )
            )
            return begun[0]

        try:
            self._survey = survey = gateway._run(begin())
        except BaseException:  # interrupted just then: none may run that nobody has a handle of
            for survey in begun:
                gateway._loop.post(survey.end)
            raise
        self.name = survey.name
        self.notice = survey.notice
        self.settings = survey.settings
        self.show_progress(progress)
        gateway._loop.post(lambda: survey.when_ended(bar.close))

    @staticmethod
    def settings_of(
        every: times.Period,
        duration: times.Period | None,
        port: PortChoice,
        label: str,
    ) -> Settings:
        """What `Gateway.survey` is asked for, read once."""
        ports = port if port is None or isinstance(port, Iterable) else [port]
        return Settings(
            times.seconds(every, "every"),
            None if duration is None else times.seconds(duration, "duration"),
            None if ports is None else tuple(ports),
            label,
        )

    def of(self, owner: object) -> bool:
        """Whether this gateway or fleet made it; one of a fleet runs at its gateways, too."""
        return self._gateway is owner

    def is_asked_for(self, settings: Settings, name: str | None) -> bool:
        """Whether `Gateway.survey` with these arguments means this one."""
        if (name is not None) != self._named or name not in (None, self.name):
            return False
        return settings == self._asked or (self._named and settings == Settings())

    def show_progress(self, shown: bool = True) -> None:
        """Show the bar in this cell, and no other any more."""
        self._progress.open(self._survey, shown and self.running)

    def __repr__(self) -> str:
        state = "paused" if self.paused else "running" if self.running else "ended"
        total = "" if self.total is None else f" of {self.total}"
        return f"<Survey {self.name!r}: {state}, {self.done}{total} ticks>"

    def __enter__(self) -> Survey:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether more ticks are to come, perhaps after a pause."""
        return self._survey.running

    @property
    def paused(self) -> bool:
        """Whether it measures nothing until `resume`."""
        return self._survey.paused

    @property
    def failed(self) -> dict[str, str]:
        """Gateways of a fleet at which it did not begin, and why."""
        failed = getattr(self._survey, "failed", {})
        return {name: str(error) for name, error in failed.items()}

    @property
    def done(self) -> int:
        """Ticks so far, missed ones too; those of a pause are none."""
        return self._survey.done

    @property
    def total(self) -> int | None:
        """Ticks planned; None for an open end."""
        return self._survey.total

    def mark(self, label: str, port: PortChoice = None) -> None:
        """Label what is measured from the next tick on.

        Parameters
        ----------
        label : str
            Place, antenna, operator: whatever is to be compared.
        port : int or iterable of int, optional
            Physical ports, from 1; default all.

        Raises
        ------
        InvalidRequest
            The label is no text, the port does not exist, or the survey has ended.
        """
        self._gateway._run(self._survey.mark(label, port))

    def pause(self) -> None:
        """Measure nothing from now on, until `resume`; again is fine.

        What was due meanwhile is no missed measurement: the table `surveys` tells when and why
        nothing was measured. A planned end moves.

        Raises
        ------
        InvalidRequest
            The survey has ended.
        """
        self._gateway._run(self._survey.pause())
        self._progress.note = "paused"
        self._progress.show(self.done)

    def resume(self) -> None:
        """Measure again, on the same grid; again is fine.

        Raises
        ------
        InvalidRequest
            The survey has ended; its name in `Gateway.survey` goes on with it.
        """
        self._gateway._run(self._survey.resume())
        self._progress.note = ""
        self._progress.show(self.done)

    def wait(self, timeout: times.Period | None = None) -> None:
        """Wait for its end.

        Parameters
        ----------
        timeout : float, str or timedelta, optional
            Seconds, or a period such as "2h".

        Raises
        ------
        InvalidRequest
            It has no planned end, and no timeout was given.
        NoAnswer
            It still runs after `timeout`.
        StoreError
            It ended because its rows could not be stored.
        """
        if self.total is None and timeout is None and self.running:
            raise InvalidRequest(
                f"the survey {self.name!r} has no end: give survey() a duration, or wait() a "
                "timeout"
            )
        limit = None if timeout is None else times.seconds(timeout, "timeout")
        if not self._gateway.closed:
            self._gateway._run(self._survey.wait(limit))

    def stop(self) -> None:
        """End it after the tick that runs now; again is fine.

        Raises
        ------
        StoreError
            It had ended before, because its rows could not be stored.
        """
        if not self._gateway.closed:
            self._gateway._run(self._survey.stop())

    def frame(self) -> pd.DataFrame:
        """Its rows of the table `signal` so far."""
        return self._gateway._read("signal", survey=self.name)

    def summary(self, by: str | Sequence[str] = ("gateway", "port", "label")) -> pd.DataFrame:
        """Summarise its measurements so far; see `signal_summary`.

        Parameters
        ----------
        by : str or sequence of str
            Columns of `signal` that make a group.
        """
        from neogate_lab.analysis.summaries import signal_summary

        return signal_summary(self.frame(), by=by)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot its history so far; see `plots.signal_history`."""
        from neogate_lab.analysis import plots

        return plots.signal_history(self.frame(), ax=ax)
