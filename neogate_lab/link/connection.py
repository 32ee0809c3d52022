"""Keeps a gateway's main session open: first connect, reconnect with backoff, a row a change.

A login that is refused at the first connect stops; credentials that once worked, and a login that
is in use elsewhere, are tried again, but slowly, so that a changed password does not turn into a
storm of attempts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime

from neogate_lab.errors import (
    ConnectionLost,
    GatewayClosed,
    LoginRefused,
    NeogateError,
)
from neogate_lab.link.clock import Clock, sleep_unless
from neogate_lab.link.session import Session

__all__ = ["Connection"]

logger = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.25, 30.0
"""Seconds before the first and the later attempts; doubled in between, with jitter."""
REFUSED_DELAY, REFUSED_LAST_DELAY = 30.0, 600.0
"""Seconds between attempts while the gateway refuses a login that once worked."""


class Connection:
    """The main session, or the reason why there is none.

    Parameters
    ----------
    where : str
        The gateway as messages name it.
    open_session : callable
        Opens a session; its argument is to be called with the reason when the session is lost.
    record : callable
        Called with (event, reason, gap_s) for each change of the link.
    """

    def __init__(
        self,
        where: str,
        open_session: Callable[[Callable[[str], None]], Awaitable[Session]],
        record: Callable[[str, str, float | None], None],
        clock: Clock,
    ) -> None:
        self._where = where
        self._open = open_session
        self._record = record
        self._clock = clock
        self._session: Session | None = None
        self._up = asyncio.Event()
        self._down_since: float | None = clock.monotonic()
        self._reason = "not connected yet"
        self._trouble: NeogateError | None = None
        self._next_try: float | None = None
        self._restoring: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._connected_once = False
        self._closed = False

    async def start(self, listened_until: datetime | None = None, *, patient: bool = False) -> None:
        """Connect for the first time; errors reach the caller and nothing is tried again.

        Parameters
        ----------
        listened_until : datetime, optional
            When an earlier process was last known to listen: the time since then is a gap.
        patient : bool
            Keep an error as `trouble` instead, and let the link come up when it can; a refused
            login is not tried again all the same.
        """
        try:
            session = await self._open(self._lost)
        except NeogateError as error:
            if not patient:
                raise
            self._down_since = self._clock.monotonic()
            self._fail(error)
            event = "refused" if self._refused(error) else "unreachable"
            self._record(event, self._nameless(error), self._since(listened_until))
            if not self._hopeless(error):
                self._begin_restoring(refused=self._refused(error))
        else:
            self._arrive(session)
            self._connected_once = True
            reason = ""
            if listened_until is not None:
                since = f"{listened_until:%Y-%m-%d %H:%M:%S} UTC"
                reason = f"nobody is known to have listened since {since}"
            self._record("connected", reason, self._since(listened_until))

    def _since(self, moment: datetime | None) -> float | None:
        if moment is None:
            return None
        return max(0.0, (self._clock.now() - moment).total_seconds())

    @property
    def session(self) -> Session:
        """The open session.

        Raises
        ------
        GatewayClosed
            It was closed.
        ConnectionLost
            What happened, and when the next attempt is.
        """
        if self._closed:
            raise GatewayClosed(f"the connection to {self._where} was closed; connect again")
        if self._session is None or not self._session.is_open:
            raise ConnectionLost(f"no connection to {self._where}: {self._reason}; {self._plan()}")
        return self._session

    @property
    def trouble(self) -> NeogateError | None:
        """Why there is no session; None while there is one."""
        if self.is_up:
            return None
        return self._trouble or ConnectionLost(f"no connection to {self._where}: {self._reason}")

    def _plan(self) -> str:
        trying = self._restoring is not None and not self._restoring.done()
        if self._trouble is not None and not trying:
            return "it is not tried again before reconnect() is called"
        if self._next_try is None:
            return "it is being restored"
        left = max(0.0, self._next_try - self._clock.monotonic())
        return f"the next attempt is in {left:.0f} s"

    @property
    def is_up(self) -> bool:
        """Whether requests can be written now."""
        return not self._closed and self._session is not None and self._session.is_open

    @property
    def down_since(self) -> float | None:
        """Monotonic time since when the link is down; None while it is up."""
        return None if self.is_up else self._down_since or self._clock.monotonic()

    @property
    def status(self) -> str:
        """One line for reprs and panels."""
        if self._closed:
            return "closed"
        return "connected" if self.is_up else f"down: {self._reason}; {self._plan()}"

    async def wait_until_up(self) -> None:
        """Return when requests can be written."""
        await self._up.wait()

    def retry_now(self) -> None:
        """Do not wait for the next attempt's time, also after one that hangs now."""
        if not self.is_up:
            self._hurry.set()
            if self._restoring is None or self._restoring.done():
                self._begin_restoring()

    async def close(self) -> None:
        """Log off and stay closed."""
        if self._closed:
            return
        self._closed = True
        session, self._session = self._session, None
        if self._connected_once:
            self._record("closed", "", None)
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.gather(self._restoring, return_exceptions=True)
        if session is not None:
            await session.close()

    # -- losing and restoring --------------------------------------------------------------------
    def _arrive(self, session: Session) -> None:
        self._session = session
        self._trouble = None
        self._down_since = self._next_try = None
        self._up.set()

    def _lost(self, reason: str) -> None:
        if self._closed:
            return
        self._session = None
        self._up.clear()
        self._down_since = self._clock.monotonic()
        self._reason = reason
        self._record("lost", reason, None)
        logger.warning("%s: connection lost: %s", self._where, reason)
        self._begin_restoring()

    def _fail(self, error: Exception) -> None:
        self._reason = str(error).removeprefix(f"no connection to {self._where}: ")
        self._trouble = error if isinstance(error, NeogateError) else None

    def _nameless(self, error: NeogateError) -> str:
        """For the table, whose column `gateway` says which and is hidden in redacted copies."""
        return str(error).replace(self._where, "the gateway")

    @staticmethod
    def _refused(error: NeogateError) -> bool:
        return isinstance(error, LoginRefused)

    def _hopeless(self, error: NeogateError) -> bool:
        """Whether trying again could only lock the user out: the credentials never worked."""
        in_use = "already in use" in str(error).lower()
        return self._refused(error) and not self._connected_once and not in_use

    def _begin_restoring(self, *, refused: bool = False) -> None:
        self._restoring = asyncio.get_running_loop().create_task(self._restore(refused))

    async def _restore(self, refused: bool) -> None:
        delay, slow = FIRST_DELAY, REFUSED_DELAY
        while True:
            await self._pause((slow if refused else delay) * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                session = await self._open(self._lost)
            except LoginRefused as error:
                if not refused:
                    self._record("refused", self._nameless(error), None)
                    logger.warning("%s", error)
                else:
                    slow = min(2 * slow, REFUSED_LAST_DELAY)
                refused = True
                self._fail(error)
                if self._hopeless(error):
                    return
            except Exception as error:  # whatever it is, the link must come back
                if not isinstance(error, NeogateError):
                    logger.error("%s: reconnecting failed", self._where, exc_info=error)
                refused = False
                self._fail(error)
                delay = min(2 * delay, LAST_DELAY)
            else:
                gap = self._clock.monotonic() - (self._down_since or 0.0)
                self._arrive(session)
                self._record("restored" if self._connected_once else "connected", "", gap)
                self._connected_once = True
                logger.warning("%s: connection restored after %.1f s", self._where, gap)
                return

    async def _pause(self, seconds: float) -> None:
        self._next_try = self._clock.monotonic() + seconds
        try:
            await sleep_unless(self._clock, seconds, self._hurry)
        finally:
            self._hurry.clear()
            self._next_try = None
