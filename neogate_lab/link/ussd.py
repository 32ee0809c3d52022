"""USSD: one exchange at a time a port, on sessions of the pool, never mixing up two answers.

A USSD can't be cancelled. After a time-out the modem stays in `USSD SENDING`, and a late answer may
be handed to the next request on the span (WIRE §9): so each request first waits until the port is
ready, and a reply that may be another's is marked as doubtful.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from weakref import WeakValueDictionary

from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    LoginRefused,
    NoAnswer,
    ProtocolError,
    Unreachable,
)
from neogate_lab.link.clock import Clock
from neogate_lab.link.connection import Connection
from neogate_lab.link.ledger import Ledger, Row, append_or_log
from neogate_lab.link.pool import SessionPool
from neogate_lab.link.session import Session
from neogate_lab.protocol import commands
from neogate_lab.protocol.records import SpanDetail, UssdReply, parse_ussd_reply
from neogate_lab.protocol.wire import Action
from neogate_lab.warn import warn

__all__ = ["AsyncUssdSession", "Caller", "UssdDesk", "UssdProgress", "UssdStage", "UssdTurn"]

logger = logging.getLogger(__name__)

_UNANSWERED = {NoAnswer: "no_answer", ConnectionLost: "disconnected", GatewayClosed: "disconnected"}
"""What the table says of an exchange that raised; an interrupt otherwise."""
POLL_SECONDS = 1.0
"""Between looks at a port that is still busy with an earlier USSD."""
REFUSED_SECONDS = 600.0
"""For so long no second session is tried after one was refused."""

UssdStage = Literal["busy", "sent"]
"""What a USSD waits for: the port, which is busy with an earlier one, or once sent the network."""
UssdProgress = Callable[[UssdStage], object]
"""Called on the loop with every stage of a USSD; one that was never `sent` left nothing behind."""


class Caller:
    """Somebody who has taken a port."""


@dataclass(frozen=True, slots=True)
class UssdTurn:
    """One exchange of a USSD session: what was sent, and what came."""

    time: datetime
    sent: str
    reply: UssdReply


class UssdDesk:
    """Runs USSD exchanges of one gateway.

    Parameters
    ----------
    detail : callable
        Reads a span's detail on a given session.
    gateway, where : str
        The gateway as tables name it, and as messages do.
    command_timeout : float
        Seconds that the gateway may take beyond the USSD's own time-out.
    """

    def __init__(
        self,
        ledger: Ledger,
        connection: Connection,
        pool: SessionPool,
        detail: Callable[[Session, int], Awaitable[SpanDetail]],
        *,
        gateway: str,
        where: str,
        command_timeout: float,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._connection = connection
        self._pool = pool
        self._detail = detail
        self._gateway = gateway
        self._where = where
        self._command_timeout = command_timeout
        self._clock = clock
        # Weak: a conversation that nobody holds any more gives its port back.
        self._taken: WeakValueDictionary[int, object] = WeakValueDictionary()
        # Ports whose last USSD got no answer: the next one may be handed it.
        self._doubted: set[int] = set()
        self._warned = False
        self._alone_until = float("-inf")

    def take(self, port: int, who: object) -> None:
        """Reserve a port for one conversation."""
        self.check_free([port], who)
        self._taken[port] = who

    def check_free(self, ports: Iterable[int], who: object = None) -> None:
        """Raise `InvalidRequest` if one of the ports is in somebody else's conversation."""
        taken = [str(port) for port in ports if self._taken.get(port, who) is not who]
        if taken:
            raise InvalidRequest(
                f"port {', '.join(taken)} of {self._where} is in the middle of another USSD; "
                "wait for its answer, or leave its ussd_session"
            )

    def leave(self, port: int, who: object) -> None:
        """Give the port back."""
        if self._taken.get(port) is who:
            del self._taken[port]

    async def run(
        self,
        command: Action,
        sent: str,
        *,
        port: int,
        span: int,
        timeout: float,
        progress: UssdProgress | None = None,
    ) -> UssdReply:
        """Send a checked command on a port that the caller has taken; the reply is on disk."""
        _ = self._connection.session  # while the link is down: ConnectionLost at once

        def tell(stage: UssdStage) -> None:
            try:
                if progress is not None:
                    progress(stage)
            except Exception:  # an onlooker must not keep the USSD from its end
                logger.exception("%s: whoever follows a USSD failed", self._where)

        async with self._session() as session:
            ready = await self._until_ready(session, port, span, timeout, tell)
            row = {
                "time": self._clock.now(),
                "gateway": self._gateway,
                "port": port,
                "span": span,
                "code": sent,
            }
            if ready is False:
                reply = UssdReply(port=port, span=span, code=sent, outcome="busy")
                row["latency_ms"] = None
            else:
                began = self._clock.monotonic()
                reply = await self._exchange(session, command, row, timeout, tell)
                # What the gateway says of itself takes nothing from the modem.
                by_itself = reply.outcome in ("timeout", "busy", "failed")
                if port in self._doubted and not by_itself:
                    self._doubted.discard(port)
                    reply = replace(reply, doubtful=True)
                row["latency_ms"] = 1000 * (self._clock.monotonic() - began)
        for name in ("outcome", "menu", "text", "dcs", "raw", "doubtful"):
            row[name] = getattr(reply, name)
        await asyncio.wrap_future(self._ledger.append("ussd", [row]))
        return reply

    async def run_all(
        self,
        ports: Sequence[tuple[int, int]],
        code: str,
        ask: Callable[[int], Awaitable[UssdReply]],
    ) -> list[UssdReply]:
        """Ask each (port, span) at the same time; a refusal or silence is an answer, too."""
        self.check_free(port for port, _ in ports)

        async def one(port: int, span: int) -> UssdReply:
            try:
                return await ask(port)
            except CommandRefused as error:
                return UssdReply(port, span, code, "failed", text=str(error))
            except NoAnswer as error:
                return UssdReply(port, span, code, "timeout", text=str(error))

        answers = await asyncio.gather(*(one(*each) for each in ports), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, UssdReply)]

    async def _exchange(
        self,
        session: Session,
        command: Action,
        row: Row,
        timeout: float,
        tell: Callable[[UssdStage], None],
    ) -> UssdReply:
        """Send it and read the answer; what was sent and got none is a row as well."""
        port, span, sent = row["port"], row["span"], row["code"]
        written = False

        def leaves() -> None:
            nonlocal written
            written = True
            tell("sent")

        try:
            body = await session.command(
                command,
                timeout=timeout + self._command_timeout,
                what=f"the USSD on port {port}",
                on_written=leaves,
            )
        except CommandRefused:  # answered, so nothing is left in the modem
            await self._record_unanswered(row, "refused", doubtful=False)
            raise
        except BaseException as error:
            if not written:  # it was still in line behind other questions
                raise
            outcome = next(
                (name for kind, name in _UNANSWERED.items() if isinstance(error, kind)),
                "interrupted",
            )
            self._doubted.add(port)
            await self._record_unanswered(row, outcome, doubtful=True)
            raise
        try:
            reply = parse_ussd_reply(body, port=port, span=span, code=sent)
        except ProtocolError:
            raw = body.decode("utf-8", "backslashreplace").strip()
            return UssdReply(
                port=port, span=span, code=sent, outcome="failed", raw=raw, doubtful=True
            )
        if reply.outcome == "timeout":
            self._doubted.add(port)
        return reply

    async def _record_unanswered(self, row: Row, outcome: str, *, doubtful: bool) -> None:
        """On disk before the error is told, which a failing disk does not hide."""
        row = {**row, "outcome": outcome, "doubtful": doubtful}
        what = f"{self._where}: a USSD without an answer was not recorded"
        recorded = append_or_log(self._ledger, "ussd", row, what)
        if outcome != "interrupted":  # the stop button waits for no disk
            await asyncio.wrap_future(recorded)

    async def _until_ready(
        self,
        session: Session,
        port: int,
        span: int,
        timeout: float,
        tell: Callable[[UssdStage], None],
    ) -> bool | None:
        """True when the port is free, False when it stays busy, None when it does not say."""
        deadline = self._clock.monotonic() + timeout
        was_busy = False
        while True:
            try:
                detail = await self._detail(session, span)
            except (CommandRefused, NoAnswer):
                return None
            state = detail.state.upper()
            if "USSD" not in state:
                # A port that was seen to end its USSD owes nothing; one that says READY and gave
                # no answer may still hand a late one to the next request.
                if state and was_busy:
                    self._doubted.discard(port)
                return True if state else None
            if not was_busy:
                logger.info("%s: port %d is busy with an earlier USSD", self._where, port)
                tell("busy")
            was_busy = True
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            await self._clock.sleep(min(POLL_SECONDS, left))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            yield await self._second_session(stack) or self._connection.session

    async def _second_session(self, stack: AsyncExitStack) -> Session | None:
        if self._clock.monotonic() < self._alone_until:
            return None
        try:
            return await stack.enter_async_context(self._pool.session())
        except (LoginRefused, Unreachable, ProtocolError, NoAnswer, ConnectionLost) as error:
            self._alone_until = self._clock.monotonic() + REFUSED_SECONDS
            if not self._warned:
                self._warned = True
                warn(
                    f"{self._where} allows no second session ({error}); a USSD now delays "
                    "everything else on its connection until it is answered"
                )
            return None


class AsyncUssdSession:
    """A conversation with a USSD menu; made by `ussd_session`, an async context manager.

    A NeoGate knows no way to end a menu: leaving the session only gives the port back, and the
    network drops the menu by its own time-out (WIRE §9).
    """

    def __init__(
        self, desk: UssdDesk, clock: Clock, *, port: int, span: int, max_line: int
    ) -> None:
        self._max_line = max_line
        self._desk = desk
        self._clock = clock
        self._port = port
        self._span = span
        self._left = False
        self._turns: list[UssdTurn] = []

    async def __aenter__(self) -> AsyncUssdSession:
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Reserve the port; `send` does so too, unless the session was left."""
        self._desk.take(self._port, self)
        self._left = False

    def close(self) -> None:
        """Give the port back."""
        self._left = True
        self._desk.leave(self._port, self)

    async def send(
        self, text: str, *, timeout: float = 30, progress: UssdProgress | None = None
    ) -> UssdReply:
        """Send a code, or an answer to the open menu.

        Parameters
        ----------
        text : str
            ``[0-9*#+]+`` when no menu is open; else any one-line text without a double quote, which
            would end it, or a backslash, which the gateway's parser eats (WIRE §7).
        timeout : float
            Seconds that the network may take, and before that an earlier USSD of the port.
        progress : callable, optional
            Called with ``"busy"`` if the port is still busy with an earlier USSD, and with
            ``"sent"`` when the text leaves; until then giving up leaves nothing behind.

        Raises
        ------
        InvalidRequest
            The text can't be sent, or the session was left.
        """
        if self._left:
            raise InvalidRequest("this USSD session was left; begin a new one with ussd_session()")
        if self._turns and self._turns[-1].reply.menu:
            command = commands.ussd_reply(self._span, text, timeout)
        else:
            command = commands.send_ussd(self._span, text, timeout)
        self._desk.take(self._port, self)
        now = self._clock.now()
        reply = await self._desk.run(
            commands.cli(command, self._max_line),
            text,
            port=self._port,
            span=self._span,
            timeout=timeout,
            progress=progress,
        )
        self._turns.append(UssdTurn(now, text, reply))
        return reply

    def transcript(self) -> list[UssdTurn]:
        """The exchanges so far, in order."""
        return list(self._turns)
