"""Sessions beside the main one, for USSD: opened when needed, closed when idle, blind to events.

A USSD may run for half a minute, and a session does one thing at a time (WIRE §3): on the main
session it would stall every event and query.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from neogate_lab.errors import GatewayClosed
from neogate_lab.link.session import Session

__all__ = ["SessionPool"]

MAX_SESSIONS = 4
IDLE_SECONDS = 60.0


class SessionPool:
    """At most four sessions, each lent to one user at a time.

    Parameters
    ----------
    open_session : callable
        Opens one; its errors reach whoever asked for a session.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[Session]],
        *,
        limit: int = MAX_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._open = open_session
        self._idle_seconds = idle_seconds
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[tuple[Session, asyncio.TimerHandle]] = []
        self._lent: set[Session] = set()
        self._closers: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lend a session; one that was left in the middle of a command is not used again.

        Raises
        ------
        GatewayClosed
            The pool was closed, perhaps while this waited.
        """
        async with self._slots:
            self._check_open()
            session = self._take_idle() or await self._open()
            self._lent.add(session)
            try:
                self._check_open()
                yield session
            finally:
                self._lent.discard(session)
                self._give_back(session)

    def _check_open(self) -> None:
        if self._closed:
            raise GatewayClosed("the gateway was closed; connect again")

    def _take_idle(self) -> Session | None:
        while self._idle:
            session, timer = self._idle.pop()
            timer.cancel()
            if session.is_open:
                return session
        return None

    def _give_back(self, session: Session) -> None:
        if self._closed or not session.is_idle:  # the next user would wait for its answer
            self._discard(session)
        elif session.is_open:
            timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, session)
            self._idle.append((session, timer))

    def _expire(self, session: Session) -> None:
        self._idle = [(other, timer) for other, timer in self._idle if other is not session]
        self._discard(session)

    def _discard(self, session: Session) -> None:
        task = asyncio.get_running_loop().create_task(session.close())
        self._closers.add(task)
        task.add_done_callback(self._closers.discard)

    async def close(self) -> None:
        """Close every session, lent ones too, and lend no more."""
        self._closed = True
        sessions = [*self._lent]
        for session, timer in self._idle:
            timer.cancel()
            sessions.append(session)
        self._idle.clear()
        await asyncio.gather(*(session.close() for session in sessions), *self._closers)
