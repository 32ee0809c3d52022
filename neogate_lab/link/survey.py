"""A survey's life: its row in `surveys`, its marks, its end; sampler.py says when a tick is due."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from neogate_lab.errors import InvalidRequest, NeogateError, NoAnswer
from neogate_lab.link.clock import Clock
from neogate_lab.link.ledger import Ledger
from neogate_lab.link.sampler import Sampler, check_label

__all__ = ["AsyncSurvey"]

logger = logging.getLogger(__name__)

Ports = Sequence[tuple[int, int]]


class AsyncSurvey:
    """A measurement on a fixed grid, in the background; made by `AsyncGateway.survey`.

    Attributes
    ----------
    name : str
        Stands in the column `survey` of every row.
    """

    def __init__(
        self,
        sampler: Sampler,
        ledger: Ledger,
        resolve: Callable[[int | Iterable[int] | None], Awaitable[Ports]],
        *,
        gateway: str,
        ports: Ports | None,
        duration: float | None,
        label: str,
        clock: Clock,
    ) -> None:
        self.name = sampler.name
        self._sampler = sampler
        self._ledger = ledger
        self._resolve = resolve
        self._gateway = gateway
        self._clock = clock
        self._closing = False
        self._settings = {
            "time": sampler.started_at,
            "gateway": gateway,
            "name": sampler.name,
            "every_s": sampler.every,
            "duration_s": duration,
            "ports": "" if ports is None else json.dumps([port for port, _ in ports]),
            "label": label,
        }
        self._task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._log_failure)

    @property
    def running(self) -> bool:
        """Whether more ticks are to come."""
        return not self._task.done()

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

    async def mark(self, label: str, port: int | Iterable[int] | None = None) -> None:
        """Label what is measured from the next tick on, for some ports or for all."""
        check_label(label)
        if not self.running:
            raise InvalidRequest(f"the survey {self.name!r} has ended; start a new one")
        numbers = None if port is None else [number for number, _ in await self._resolve(port)]
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

    async def wait(self, timeout: float | None = None) -> None:
        """Return at its end; raise what ended it, or `NoAnswer` after `timeout` seconds."""
        done, _ = await asyncio.wait({self._task}, timeout=timeout)
        if not done:
            raise NoAnswer(f"the survey {self.name!r} still runs after {timeout:g} s")
        self._task.result()

    async def stop(self, *, closing: bool = False) -> None:
        """End it after the tick that runs now."""
        self._closing = closing or self._closing
        self._sampler.stop()
        await self.wait()

    async def _run(self) -> None:
        (row_id,) = await asyncio.wrap_future(self._ledger.append("surveys", [self._settings]))
        reason = "failed"
        try:
            finished = await self._sampler.run()
            reason = "done" if finished else "closed" if self._closing else "stopped"
        finally:
            ending = {"stopped_at": self._clock.now(), "reason": reason}
            await asyncio.wrap_future(self._ledger.update("surveys", row_id, ending))

    def _log_failure(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, NeogateError):
            logger.error("the survey %r ended: %s", self.name, error)
        elif error is not None:
            logger.error("the survey %r ended", self.name, exc_info=error)
