"""One TCP session with a gateway: banner, login, pairing, events, keepalive; it never reconnects.

The gateway works strictly serially on a session (WIRE §3): requests wait in line, and a deadline
counts from when its request is at the head. A caller that gave up leaves its place in the line as a
tombstone, which eats the late answer; once overdue, an answer is known as nobody's by its
ActionID, and where the gateway echoes none the session ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NoReturn

from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    LoginRefused,
    NoAnswer,
    ProtocolError,
    Unreachable,
)
from neogate_lab.protocol import commands
from neogate_lab.protocol.records import cli_error
from neogate_lab.protocol.wire import Action, Packet, PacketParser, encode

__all__ = ["Credentials", "Secret", "Session"]

logger = logging.getLogger(__name__)

GREETING = b"Asterisk Call Manager"
LOGOFF_GRACE = 1.0
"""Seconds to wait for the gateway's goodbye."""
PROBE_TIMEOUT = 5.0
"""Seconds in which a silent gateway must say anything at all after an overdue answer."""


class Secret(str):
    """A password, which tracebacks that show variables (``%xmode Verbose``) don't show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"

    @classmethod
    def of(cls, value: Any) -> Any:
        """`value`, hidden if it is text; what is none fails later, in words."""
        return cls(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password of the gateway's API; never shown."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(eq=False, slots=True)
class _Request:
    """A place in the line."""

    action_id: str
    timeout: float
    what: str
    answer: asyncio.Future[Packet]
    data: bytes = field(repr=False)
    on_written: Callable[[], None] | None = None
    written: bool = False
    deadline: asyncio.TimerHandle | None = None


def _written(address: tuple[Any, ...]) -> str:
    """An address as text, with the interface that a link-local one of IPv6 is at."""
    scope = address[3] if len(address) > 3 else 0
    return f"{address[0]}%{scope}" if scope else str(address[0])


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a name.

    In a thread of its own: those of asyncio are waited for, by a loop that ends and by the
    interpreter when it exits, and a lookup can hang for half a minute.
    """
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def tell(addresses: list[str], error: Exception | None) -> None:
        if found.done():  # nobody waits for it any more
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look() -> None:
        addresses: list[str] = []
        failure: Exception | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(_written(info[4]) for info in infos))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, addresses, failure)

    threading.Thread(target=look, name="neogate-resolver", daemon=True).start()
    return await found


class Session(asyncio.Protocol):
    """A logged-in session; made by `open`.

    Parameters
    ----------
    where : str
        The gateway as messages name it.
    command_timeout, keepalive : float
        Seconds; see `neogate_lab.connect`.
    on_event : callable
        Called on the loop with every event packet, in order.
    on_lost : callable
        Called once on the loop with the reason when the session ends by itself.
    tap : callable, optional
        Called with ("<" or ">", bytes) for every packet received or action sent, and for what the
        end cut off, for the wire log.
    """

    def __init__(
        self,
        where: str,
        *,
        command_timeout: float,
        keepalive: float,
        on_event: Callable[[Packet], None],
        on_lost: Callable[[str], None],
        tap: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._where = where
        self._command_timeout = command_timeout
        self._keepalive = keepalive
        self._on_event = on_event
        self._on_lost = on_lost
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._parser = PacketParser()
        self._line: deque[_Request] = deque()
        self._action_ids = (f"ng{number}" for number in itertools.count(1))
        self._transport: asyncio.Transport | None = None
        self._banner: asyncio.Future[Packet] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._reason = ""
        self._closing = False
        self._logged_in = False
        self._owed = False
        self._last_packet = self._loop.time()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepalive_timer: asyncio.TimerHandle | None = None
        self.echoes_action_id = True

    # -- opening and closing ---------------------------------------------------------------------
    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        credentials: Credentials,
        *,
        events: bool,
        connect_timeout: float,
        where: str,
        command_timeout: float,
        keepalive: float,
        on_event: Callable[[Packet], None],
        on_lost: Callable[[str], None],
        tap: Callable[[str, bytes], None] | None = None,
    ) -> Session:
        """Connect, check the banner, log in.

        Raises
        ------
        Unreachable
            No connection, or it was closed before the banner.
        ProtocolError
            The peer is no NeoGate; no credentials were sent.
        LoginRefused
            The gateway's answer to the login; one attempt was made.
        NoAnswer
            The login was not answered within `command_timeout`.
        """
        session = cls(
            where,
            command_timeout=command_timeout,
            keepalive=keepalive,
            on_event=on_event,
            on_lost=on_lost,
            tap=tap,
        )
        login = commands.login(credentials.username, credentials.password, events=events)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + connect_timeout
        try:
            async with asyncio.timeout_at(deadline):
                await session._connect(host, port)
        except TimeoutError:
            raise Unreachable(
                f"{where} did not accept a connection within {connect_timeout:g} s; check the "
                "address, that this machine can reach it, and that its API is switched on and "
                "allows this machine's address"
            ) from None
        except (OSError, UnicodeError) as error:  # the latter for a name that no DNS can hold
            code = getattr(error, "errno", None)
            if isinstance(error, socket.gaierror | UnicodeError):
                raise Unreachable(
                    f"no connection to {where}: no address is known for that name; check its "
                    "spelling and this machine's network, or give the gateway's address"
                ) from error
            reason = os.strerror(code) if code is not None and code > 0 else error
            raise Unreachable(
                f"no connection to {where}: {reason}; check the address and "
                "port, and that the gateway's API is switched on and allows this machine's address"
            ) from error
        try:
            await session._greet(deadline, connect_timeout)
            await session._log_in(login)
        except BaseException:
            session._closing = True
            session._abort()
            raise
        session._keep_alive_in(keepalive)
        return session

    async def _connect(self, host: str, port: int) -> None:
        *others, last = await _addresses(host, port)
        for address in others:
            try:
                await self._loop.create_connection(lambda: self, address, port)
            except OSError as error:
                logger.debug("%s: nothing at %s: %s", self._where, address, error)
            else:
                return
        await self._loop.create_connection(lambda: self, last, port)

    async def _greet(self, deadline: float, connect_timeout: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                banner = await asyncio.shield(self._banner)
        except TimeoutError:
            came = self._parser.pending
            raise ProtocolError(
                f"{self._where} accepted the connection but sent "
                f"{'only ' + repr(came[:80]) if came else 'nothing'} within {connect_timeout:g} s, "
                "where a NeoGate greets with 'Asterisk Call Manager'; check the port (the API "
                "listens on 5038); no credentials were sent",
                came,
            ) from None
        if not banner.raw.startswith(GREETING):
            raise self._not_a_gateway(banner.raw)

    def _not_a_gateway(self, came: bytes) -> ProtocolError:
        return ProtocolError(
            f"{self._where} is no NeoGate: it greeted with {came[:80]!r} instead of "
            "'Asterisk Call Manager'; check the address and port (the API listens on 5038); "
            "no credentials were sent",
            came,
        )

    async def _log_in(self, login: Action) -> None:
        try:
            answer = await self.request(login, what="the login")
        except ConnectionLost as error:
            raise Unreachable(
                f"{self._where} closed the connection at the login without a word; is this "
                "machine's address on the gateway's list of permitted addresses?"
            ) from error
        if answer.get("Response").strip().lower() != "success":
            words = answer.get("Message").strip() or answer.get("Response").strip()
            raise LoginRefused(
                f"{self._where} refused the login: {words!r}; check user name and password, and "
                "that this machine's address is permitted (the gateway gives the same answer for "
                "each of these)"
            )
        self.echoes_action_id = bool(answer.get("ActionID").strip())
        self._logged_in = True

    @property
    def is_open(self) -> bool:
        """Whether a request may be written now."""
        return self._transport is not None and not self._closing and not self._ended.done()

    @property
    def peer(self) -> str:
        """The address and port that it leads to; "" without a connection."""
        found = None if self._transport is None else self._transport.get_extra_info("peername")
        return f"{found[0]}:{found[1]}" if found else ""

    @property
    def is_idle(self) -> bool:
        """Whether no answer can be due any more, not even one that was given up."""
        return not self._line and not self._owed

    async def close(self) -> None:
        """Say goodbye and close; waits at most two seconds."""
        polite, self._closing = self.is_open, True
        try:
            if polite and self._line:
                # A busy gateway reads the Logoff only after its running command: do not wait.
                self._write(encode(commands.logoff()))
            elif polite:
                with contextlib.suppress(NoAnswer, ConnectionLost):
                    await self._ask(commands.logoff(), LOGOFF_GRACE, "the logoff")
            if self._transport is not None:
                self._transport.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOGOFF_GRACE):
                        await asyncio.shield(self._ended)
        finally:
            self._abort()

    def _abort(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # -- requests --------------------------------------------------------------------------------
    async def request(
        self,
        action: Action,
        *,
        timeout: float | None = None,
        what: str,
        on_written: Callable[[], None] | None = None,
    ) -> Packet:
        """Send one action and return the packet that answers it.

        Parameters
        ----------
        action : Action
            Written in a single write: at once, or where no ActionID is echoed, in its turn.
        timeout : float, optional
            Seconds from when it is at the head of the line; default `command_timeout`.
        what : str
            How error messages call it; never holds numbers or text.
        on_written : callable, optional
            Called on the loop when it is written; it may not raise.

        Raises
        ------
        NoAnswer
            Nothing came in time.
        ConnectionLost
            The session is, or went, down.
        """
        if not self.is_open:
            reason = self._reason or "it was closed"
            raise ConnectionLost(f"the connection to {self._where} is down: {reason}")
        seconds = self._command_timeout if timeout is None else timeout
        return await self._ask(action, seconds, what, on_written)

    async def _ask(
        self,
        action: Action,
        timeout: float,
        what: str,
        on_written: Callable[[], None] | None = None,
    ) -> Packet:
        action_id = next(self._action_ids)
        data = encode(action, action_id)
        answer: asyncio.Future[Packet] = self._loop.create_future()
        request = _Request(action_id, timeout, what, answer, data, on_written)
        self._line.append(request)
        if self.echoes_action_id:
            self._send(request)
        self._serve_head()
        return await request.answer

    async def command(
        self,
        action: Action,
        *,
        timeout: float | None = None,
        what: str,
        on_written: Callable[[], None] | None = None,
    ) -> bytes:
        """Run one CLI command, as `commands.cli` makes it, and return the body of its reply.

        Raises
        ------
        CommandRefused
            With the gateway's words, redacted, whether as an error response or as an error
            inside a reply that looks like success (WIRE §2).
        NoAnswer, ConnectionLost
            As `request`.
        """
        answer = await self.request(action, timeout=timeout, what=what, on_written=on_written)
        if answer.body is None:
            if answer.get("Response").strip().lower() == "error":
                self._refuse(what, answer.get("Message").strip())
            return b""
        words = cli_error(answer.body)
        if words is not None:
            self._refuse(what, words)
        return answer.body

    def _refuse(self, what: str, words: str) -> NoReturn:
        raise CommandRefused(f"{self._where} refused {what}: {words}")

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        if self._tap is not None:
            self._tap(">", data)
        self._transport.write(data)

    def _send(self, request: _Request) -> None:
        request.written = True
        self._write(request.data)
        if request.on_written is not None:
            request.on_written()

    def _serve_head(self) -> None:
        """Start the clock of the request that the gateway works on now, given up or not.

        Where no ActionID is echoed it is written only now: were two under way and one answer lost,
        the other would be taken for it.
        """
        while self._line and self._line[0].deadline is None:
            head = self._line[0]
            if not head.written and head.answer.done():
                self._line.popleft()
                continue
            if not head.written:
                self._send(head)
            head.deadline = self._loop.call_later(head.timeout, self._overdue, head)

    def _overdue(self, request: _Request) -> None:
        late = f"no answer to {request.what} within {request.timeout:g} s"
        if not request.answer.done():
            request.answer.set_exception(NoAnswer(f"{self._where} gave {late}"))
        if not self.echoes_action_id:
            # Without ids answers pair by order, and the order can no longer be trusted.
            self._fail(late)
            return
        self._line.remove(request)
        self._owed = True
        self._serve_head()
        if self._loop.time() - self._last_packet >= request.timeout:
            self._start(self._probe())

    async def _probe(self) -> None:
        """Tell a lost answer from a dead link: a live gateway says something to a ping.

        Bytes alone are no sign of life: after an answer that never ends, all is taken for its body.
        """
        silent_since = self._last_packet
        with contextlib.suppress(TimeoutError, ConnectionLost):
            async with asyncio.timeout(PROBE_TIMEOUT):
                await self.request(commands.ping(), what="a ping")
        if self._last_packet == silent_since and self.is_open:
            within = " within a packet" if self._parser.pending else ""
            self._fail(f"the gateway fell silent{within}")

    def _keep_alive_in(self, seconds: float) -> None:
        self._keepalive_timer = self._loop.call_later(seconds, self._keep_alive)

    def _keep_alive(self) -> None:
        if not self.is_open:
            return
        idle = self._loop.time() - self._last_packet
        if idle < self._keepalive:
            self._keep_alive_in(self._keepalive - idle)
            return
        # A running command is not a dead link: its own deadline watches over it.
        if not self._line:
            self._start(self._ping())
        self._keep_alive_in(self._keepalive)

    async def _ping(self) -> None:
        try:
            await self.request(commands.ping(), what="the keepalive")
        except NoAnswer as error:
            self._fail(str(error))
        except ConnectionLost:
            logger.debug("%s: keepalive given up, the link went down", self._where)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what the transport calls ----------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport  # asyncio sets TCP_NODELAY itself

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            for packet in self._parser.feed(data):
                self._last_packet = self._loop.time()
                if self._tap is not None:
                    self._tap("<", packet.raw)
                self._receive(packet)
        except ProtocolError as error:
            if not self._banner.done():
                self._banner.set_exception(self._not_a_gateway(error.data))
            self._fail(str(error))

    def _receive(self, packet: Packet) -> None:
        if packet.kind == "banner":
            if not self._banner.done():
                self._banner.set_result(packet)
        elif packet.kind == "response":
            self._answer(packet)
        elif packet.kind == "event":
            self._on_event(packet)
        else:
            logger.debug("%s: %d bytes that are no packet", self._where, len(packet.raw))

    def _answer(self, packet: Packet) -> None:
        """Pair a response with its request: by ActionID when present, else by order."""
        action_id = packet.get("ActionID").strip()
        if not action_id:
            if self._owed:
                self._fail("an answer without ActionID came while an earlier one was still due")
                return
            # Some firmware echoes it at the login only.
            self.echoes_action_id = False
        for request in self._line:
            if not action_id or request.action_id == action_id:
                break
        else:
            logger.debug("%s: an answer that nobody waits for", self._where)
            return
        self._line.remove(request)
        if request.deadline is not None:
            request.deadline.cancel()
        if not request.answer.done():
            request.answer.set_result(packet)
        self._serve_head()

    def _fail(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:  # noqa: D102
        self._reason = self._reason or "the gateway closed the connection"
        return False

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        if self._tap is not None and self._parser.pending:
            self._tap("<", self._parser.pending)
        self._reason = self._reason or (
            f"the connection broke ({error})" if error else "the connection was closed"
        )
        if not self._ended.done():
            self._ended.set_result(None)
        if not self._banner.done():
            came = self._parser.pending
            self._banner.set_exception(
                self._not_a_gateway(came)
                if came
                else Unreachable(
                    f"{self._where} closed the connection at once; is this machine's address on "
                    "the gateway's list of permitted addresses?"
                )
            )
        # Nobody may be waiting for it (an interrupted connect): its error is not news then.
        self._banner.exception()
        for request in self._line:
            if request.deadline is not None:
                request.deadline.cancel()
            if not request.answer.done():
                request.answer.set_exception(
                    ConnectionLost(f"the connection to {self._where} was lost: {self._reason}")
                )
                request.answer.exception()
        self._line.clear()
        for task in self._tasks:
            task.cancel()
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        if self._logged_in and not self._closing:
            self._on_lost(self._reason)
