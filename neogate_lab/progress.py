"""A progress bar for notebooks and terminals; it knows nothing of what progresses."""

from __future__ import annotations

from typing import Any

__all__ = ["Bar"]


class Bar:
    """A tqdm bar: opened in the cell that asked for it, moved by the dispatcher.

    Parameters
    ----------
    name, unit : str
        What is counted, and in what.
    total : int or None
        None is an open end.
    delay : float
        Seconds of work after which it appears.
    shown : bool
        False: never.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        unit: str,
        *,
        delay: float = 0.0,
        shown: bool = True,
    ) -> None:
        from tqdm.auto import tqdm

        class Quiet(tqdm):  # type: ignore[type-arg]
            monitor_interval = 0  # tqdm's own monitor is a thread that nobody ends

        self._bar: Any = Quiet(total=total, desc=name, unit=unit, delay=delay, disable=not shown)

    def show(self, done: int) -> None:
        """Move it to `done`."""
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave it as it stands."""
        self._bar.close()
