"""Survey: a running measurement as notebooks handle it, with bar, frame and plot."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from neogate_lab import times
from neogate_lab.errors import InvalidRequest
from neogate_lab.progress import Bar

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from neogate_lab.fleet import Fleet
    from neogate_lab.gateway import Gateway
    from neogate_lab.link.fleet import AsyncFleetSurvey
    from neogate_lab.link.survey import AsyncSurvey

__all__ = ["Survey"]


class Survey:
    """A measurement on a fixed grid, in the background; made by `survey` of a gateway or fleet.

    A context manager too: leaving it stops the survey.

    Attributes
    ----------
    name : str
        Stands in the column `survey` of every row.
    """

    def __init__(
        self,
        gateway: Gateway | Fleet,
        *,
        every: times.Period,
        duration: times.Period | None,
        port: int | Iterable[int] | None,
        label: str,
        name: str | None,
        progress: bool,
    ) -> None:
        self._gateway = gateway
        bar: Bar | None = None
        dispatcher = gateway._dispatcher

        def on_tick(done: int) -> None:
            if bar is not None:
                dispatcher.submit(bar.show, done)

        begun: Coroutine[Any, Any, AsyncSurvey | AsyncFleetSurvey] = gateway._link.survey(
            every=times.seconds(every, "every"),
            duration=None if duration is None else times.seconds(duration, "duration"),
            port=port,
            label=label,
            name=name,
            on_tick=on_tick,
        )
        self._survey = gateway._run(begun)
        self.name = self._survey.name
        if progress:
            shown = bar = Bar(self.name, self._survey.total, "tick")
            gateway._loop.post(
                lambda: self._survey.when_ended(lambda: dispatcher.submit(shown.close))
            )

    def __repr__(self) -> str:
        state = "running" if self.running else "ended"
        total = "" if self.total is None else f" of {self.total}"
        return f"<Survey {self.name!r}: {state}, {self.done}{total} ticks>"

    def __enter__(self) -> Survey:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether more ticks are to come."""
        return self._survey.running

    @property
    def failed(self) -> dict[str, str]:
        """Gateways of a fleet at which it did not begin, and why."""
        failed = getattr(self._survey, "failed", {})
        return {name: str(error) for name, error in failed.items()}

    @property
    def done(self) -> int:
        """Ticks so far, missed ones too."""
        return self._survey.done

    @property
    def total(self) -> int | None:
        """Ticks planned; None for an open end."""
        return self._survey.total

    def mark(self, label: str, port: int | Iterable[int] | None = None) -> None:
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
        return self._gateway.store.signal(gateway=self._gateway.names, survey=self.name)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot its history so far; see `plots.signal_history`."""
        from neogate_lab.analysis import plots

        return plots.signal_history(self.frame(), ax=ax)
