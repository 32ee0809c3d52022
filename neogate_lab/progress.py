"""A progress bar for notebooks and terminals; it knows nothing of what progresses."""

from __future__ import annotations

from typing import Any

__all__ = ["PATIENCE", "Bar"]

PATIENCE = 2.0
"""Seconds after which long work shows a bar."""

_TIMED = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s{postfix}"
_TIMED_ENDLESS = "{desc}: {n_fmt} {unit}s{postfix}"


class Bar:
    """A tqdm bar: opened in the cell that asked for it, moved by whoever does the work.

    Parameters
    ----------
    name, unit : str
        What is counted, and in what.
    total : int or None
        None is an open end.
    done : int
        How many there are already.
    pace : float, optional
        Seconds that each takes, where that is known: the time left is exact then.
    delay : float
        Seconds of work after which it appears.
    scaled : bool
        Show thousands and millions as such, where counts are large.
    shown : bool
        False: never.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        unit: str,
        *,
        done: int = 0,
        pace: float | None = None,
        delay: float = 0.0,
        scaled: bool = False,
        shown: bool = True,
    ) -> None:
        from tqdm.auto import tqdm

        class Quiet(tqdm):  # type: ignore[type-arg]
            monitor_interval = 0  # tqdm's own monitor is a thread that nobody ends

            def display(self, *args: Any, **options: Any) -> Any:
                # A notebook's bar turns red when it is closed early, as if that were a failure.
                if options.get("bar_style") == "danger":
                    options["bar_style"] = ""
                return super().display(*args, **options)

        self._total, self._pace = total, pace
        form = None if pace is None else _TIMED_ENDLESS if total is None else _TIMED
        self._bar: Any = Quiet(
            total=total,
            initial=done,
            desc=name,
            unit=unit,
            unit_scale=scaled,
            bar_format=form,
            postfix=self._time(done),
            delay=delay,
            disable=not shown,
        )

    def show(self, done: int, note: str = "") -> None:
        """Move it to `done`, with a word beside the time."""
        if self._pace is not None:
            self._bar.postfix = ", ".join(filter(None, [self._time(done), note]))
        if done == self._bar.n:
            self._bar.refresh()
        else:
            self._bar.update(done - self._bar.n)

    def close(self, *, leave: bool = True) -> None:
        """Leave it as it stands, or take it away."""
        if not leave:
            self._bar.leave = False
            self._bar.total = None  # a notebook's keeps the bar of what it takes for unfinished
        self._bar.close()

    def _time(self, done: int) -> str | None:
        """What passed, or what is left."""
        if self._pace is None:
            return None
        if self._total is None:
            return f"{_clock(done * self._pace)} passed"
        return f"{_clock((self._total - done) * self._pace)} left"


def _clock(seconds: float) -> str:
    from tqdm.auto import tqdm

    shown: str = tqdm.format_interval(seconds)
    return shown
