"""AsyncGateway: the one implementation of every wire verb; it returns records, never frames."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from neogate_lab.choice import PortChoice
from neogate_lab.errors import (
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    NeogateError,
    NoAnswer,
    ProtocolError,
)
from neogate_lab.link import loopback as loopbacks
from neogate_lab.link.clock import Clock, JumpWatch, SystemClock
from neogate_lab.link.connection import Connection
from neogate_lab.link.handlers import Handlers, SmsHandler
from neogate_lab.link.inbound import Inbound, wanted
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.ledger import Ledger, append_or_log
from neogate_lab.link.loopback import LoopbackTrip
from neogate_lab.link.memory import MemoryLedger
from neogate_lab.link.options import (
    DEFAULT_PORT,
    LinkOptions,
    address_of,
    check_seconds,
    check_words,
)
from neogate_lab.link.outbox import Outbox, Progress, SmsResult
from neogate_lab.link.pool import SessionPool
from neogate_lab.link.ports import Ports, needs_port
from neogate_lab.link.sampler import Measurement, Target, check_label
from neogate_lab.link.session import Credentials, Secret, Session
from neogate_lab.link.sms import SmsDesk
from neogate_lab.link.survey import AsyncSurvey, Settings
from neogate_lab.link.surveys import SurveyDesk
from neogate_lab.link.ussd import AsyncUssdSession, Caller, UssdDesk
from neogate_lab.link.wirelog import WireLog
from neogate_lab.protocol import commands
from neogate_lab.protocol.records import (
    SpanDetail,
    SpanStatus,
    UssdReply,
    mask_pins,
    parse_send_status,
)
from neogate_lab.protocol.wire import Packet
from neogate_lab.times import Moment, moment

__all__ = ["AsyncGateway"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

ASK_AGAIN = 5.0
"""Seconds until a gateway that could not tell its ports is asked again."""
NOTE_SECONDS = 10.0
"""Between notes that somebody listens: so much too long is the gap after a crash."""
CLOSE_GRACE = 1.0
"""Seconds that a survey's running tick gets to finish when the gateway is closed."""
CANCELS = 5
"""Times that a task is cancelled: a handler may swallow one, as Python 3.11's `wait_for` can."""


class AsyncGateway:
    """A gateway for asyncio programs; `neogate_lab.connect` gives the one for notebooks.

    Parameters
    ----------
    host : str
        Name or address of the gateway.
    username, password : str
        Of the gateway's API user.
    port : int
        TCP port of its API.
    name : str, optional
        The gateway's name in tables; default host, or ``host:port`` when the port is not 5038.
    ledger : Ledger, optional
        Where everything is recorded: a store, or (default) memory.
    clock : Clock, optional
        For tests.
    **options
        See `neogate_lab.connect`: span_offset, gateway_timezone, connect_timeout,
        command_timeout, keepalive, sms_interval, sms_status_timeout, sms_budget, part_timeout,
        max_line, record.

    Examples
    --------
    >>> async def main():
    ...     async with AsyncGateway("192.168.5.150", username="apiuser", password="…") as gw:
    ...         return await gw.spans()
    """

    def __init__(
        self,
        host: str,
        *,
        username: str,
        password: str,
        port: int = DEFAULT_PORT,
        name: str | None = None,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        password = Secret.of(password)
        self._where = str(host)
        self._opened = False
        self._closed = False
        try:
            self._options = LinkOptions(**options)
        except TypeError as error:
            raise InvalidRequest(f"unknown option: {error}") from None
        if not isinstance(host, str) or not host:
            raise InvalidRequest(f"host must be a name or an address, not {host!r}")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise InvalidRequest(f"port must be a whole number from 1 to 65535, not {port!r}")
        self.host = host
        self.port = port
        self.endpoint = address_of(host, port)
        self.name = name or self.endpoint
        self._where = self.name if self.name == self.endpoint else f"{self.name} ({self.endpoint})"
        self._credentials = Credentials(username, password)
        commands.login(username, password)  # what can't be sent fails here, before any connection
        self._ledger: Ledger = MemoryLedger() if ledger is None else ledger
        self._clock: Clock = SystemClock() if clock is None else clock
        self._handlers = Handlers()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._learning: asyncio.Task[None] | None = None
        self._wirelog: WireLog | None = None

    def __repr__(self) -> str:
        state = self._connection.status if self._opened else "not opened"
        return f"<AsyncGateway {self._where}: {state}>"

    # -- life ------------------------------------------------------------------------------------
    async def open(self, *, patient: bool = False) -> AsyncGateway:
        """Connect, log in and learn the ports; sends no SMS by itself.

        Parameters
        ----------
        patient : bool
            Do not give up a gateway that can't be reached: return all the same, with the reason in
            `trouble`, and go on trying. A refused login is not tried again.

        Raises
        ------
        Unreachable, ProtocolError, LoginRefused, NoAnswer
            No connection; no NeoGate there; the login was refused (one attempt is made), or not
            answered within `command_timeout`.
        GatewayClosed
            It was closed: an AsyncGateway is opened once.
        """
        if self._closed:
            raise GatewayClosed(f"{self._where} was closed; make a new AsyncGateway")
        if self._opened:
            return self
        self._assemble()
        self._opened = True
        try:
            await self._inbound.start()
            await self._connection.start(self._inbound.listened_until, patient=patient)
            self.keep(self._note_time())
            self.keep(self._take_reports())
            self.keep(self._call_handlers())
            await self._sms.take_up()
            if not (self._connection.is_up and await self._list_ports()):
                self._learning = self.keep(self._learn_ports())
        except BaseException:
            await self.close()
            raise
        return self

    async def _list_ports(self) -> bool:
        try:
            await self.spans()
        except (CommandRefused, NoAnswer, ConnectionLost, ProtocolError) as error:
            logger.warning("%s: its ports are not known yet: %s", self._where, error)
            return False
        return True

    async def _learn_ports(self) -> None:
        with contextlib.suppress(GatewayClosed):  # just when it was to ask
            await self._connection.wait_until_up()
            while not await self._list_ports():
                await self._clock.sleep(ASK_AGAIN)
                await self._connection.wait_until_up()

    def _assemble(self) -> None:
        """Make the parts; none of them does anything yet."""
        options = self._options
        if options.record is not None:
            self._wirelog = WireLog(options.record, (self._credentials.password,))
        self._connection = Connection(self._where, self._open_main, self._record_link, self._clock)
        self._pool = SessionPool(self._open_beside)
        self._ports = Ports(
            self._ledger,
            self._connection,
            gateway=self.name,
            where=self._where,
            span_offset=options.span_offset,
            clock=self._clock,
        )
        self._inbound = Inbound(
            self._ledger,
            gateway=self.name,
            endpoint=self.endpoint,
            port_of=self.port_of,
            zone=options.zone,
            part_timeout=options.part_timeout,
            clock=self._clock,
        )
        self._outbox = Outbox(
            self._ledger,
            self._connection,
            self._transmit,
            self._ports.up,
            interval=options.sms_interval,
            status_timeout=options.sms_status_timeout,
            clock=self._clock,
        )
        self._sms = SmsDesk(
            self._ledger,
            self._outbox,
            self._ports,
            options,
            gateway=self.name,
            where=self._where,
            clock=self._clock,
        )
        self._ussd = UssdDesk(
            self._ledger,
            self._connection,
            self._pool,
            self._ports.detail,
            gateway=self.name,
            where=self._where,
            command_timeout=options.command_timeout,
            clock=self._clock,
        )
        self._surveys = SurveyDesk(
            self._ledger,
            self._ports,
            gateway=self.name,
            where=self._where,
            look_at_clock=self._look_at_clock,
            record_gap=self._record_link,
            clock=self._clock,
        )
        self._jumps = JumpWatch(self._clock)
        self._reports: asyncio.Queue[tuple[str, bool, str]] = asyncio.Queue()
        self._told: asyncio.Queue[ReceivedSms] = asyncio.Queue()
        self._inbound.listen(self._told.put_nowait)

    async def close(self) -> None:
        """Stop surveys, withdraw what is queued, log off; safe to call again."""
        if self._closed or not self._opened:
            self._closed = True
            return
        self._closed = True
        stopping = [
            asyncio.ensure_future(survey.stop(closing=True)) for survey in self._surveys.close()
        ]
        # A stack, read upwards: when a step fails or is interrupted, the others are still taken.
        async with contextlib.AsyncExitStack() as steps:
            if self._wirelog is not None:
                steps.callback(self._wirelog.close)
            steps.push_async_callback(self._end_tasks)
            steps.push_async_callback(self._inbound.close)
            if self._connection.is_up:
                self._inbound.note()
            steps.push_async_callback(lambda: asyncio.gather(*stopping, return_exceptions=True))
            steps.push_async_callback(self._pool.close)
            steps.push_async_callback(self._connection.close)  # ends what a hanging tick waits for
            if stopping:
                steps.push_async_callback(asyncio.wait, stopping, timeout=CLOSE_GRACE)
            steps.push_async_callback(self._outbox.close)

    async def _end_tasks(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE):
                await self._reports.join()
        others = self._tasks - {asyncio.current_task()}
        for _ in range(CANCELS):
            for task in others:
                task.cancel()
            if others:
                _, others = await asyncio.wait(others, timeout=CLOSE_GRACE / CANCELS)
        for task in others:
            logger.error("%s: %r did not end when it was closed", self._where, task.get_coro())
        for task in self._tasks:  # a handler that closes its own gateway is the last to end
            task.cancel()

    async def __aenter__(self) -> AsyncGateway:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def status(self) -> str:
        """The link in one line: connected, closed, or why it is down and what comes next."""
        if self._closed or not self._opened:
            return "closed"
        unrecorded = self._inbound.trouble if self._connection.is_up else None
        return f"connected, but {unrecorded}" if unrecorded else self._connection.status

    @property
    def trouble(self) -> NeogateError | None:
        """Why the link is down, or why what arrives is not recorded; None while all is well."""
        if self._closed or not self._opened:
            return GatewayClosed(f"{self._where} is not open; connect again")
        return self._connection.trouble or self._inbound.trouble

    @property
    def peer(self) -> str:
        """The address and port that the connection leads to; "" while it is down."""
        up = self._opened and self._connection.is_up
        return self._connection.session.peer if up else ""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def handler_errors(self) -> list[tuple[str, BaseException]]:
        """The latest failures of handlers: name and exception."""
        return list(self._handlers.errors)

    async def reconnect(self) -> None:
        """Try to restore a lost link now, without waiting for the next attempt's time."""
        self._check_open()
        self._connection.retry_now()

    # -- looking ---------------------------------------------------------------------------------
    async def spans(self) -> list[SpanStatus]:
        """Status of every port, as `gsm show spans` says now (WIRE §5).

        Raises
        ------
        ConnectionLost, NoAnswer, CommandRefused, ProtocolError
            The link is down; the gateway is silent; it refused; its answer lists no port.
        """
        self._check_open()
        return await self._ports.spans()

    async def diagnostics(self, port: PortChoice = None) -> list[SpanDetail]:
        """Detail of some ports or of all, as `gsm show span N` says now (WIRE §6).

        Parameters
        ----------
        port : int or iterable of int, optional
            Physical ports, from 1.

        Raises
        ------
        InvalidRequest
            A port that `gsm show spans` does not list.
        ConnectionLost, NoAnswer, CommandRefused, ProtocolError
            As `spans`; or the answer holds nothing that is known.
        """
        self._check_open()
        return await self._ports.diagnostics(port)

    async def sample(self, label: str = "", *, port: PortChoice = None) -> list[Measurement]:
        """Measure the signal of some ports or of all once, and record it.

        Parameters
        ----------
        label : str
            What is being measured.
        port : int or iterable of int, optional
            Physical ports, from 1.

        Raises
        ------
        InvalidRequest
            A port that does not exist, a label that is no text.
        """
        check_label(label)
        self._check_open()
        ports = self._ports.to_measure if port is None else await self._resolve(port)
        now = self._clock.now()
        return await self._ports.measure(
            [Target(now, self.name, number, span, label) for number, span in ports]
        )

    async def command(self, command: str) -> list[str]:
        """Run a query and return the lines of its answer; the escape hatch.

        Parameters
        ----------
        command : str
            For example ``"gsm show spans"``; never `gsm send` or `gsm power`.

        Raises
        ------
        InvalidRequest
            It would send or switch something, or can't be written on one line.
        CommandRefused
            With the gateway's words.
        ConnectionLost, NoAnswer
            As `spans`.
        """
        action = commands.cli(commands.check_query(command), self._options.max_line)
        body = await self._session.command(action, what="the command")
        text = mask_pins(body.decode("utf-8", "backslashreplace"))
        return text.strip("\r\n").splitlines()

    # -- messages --------------------------------------------------------------------------------
    async def wait_for_sms(
        self,
        sender: str | None = None,
        contains: str | None = None,
        port: PortChoice = None,
        since: Moment | None = None,
        timeout: float = 60,
    ) -> ReceivedSms:
        """Wait for a received SMS.

        Parameters
        ----------
        sender : str, optional
            Exactly this sender.
        contains : str, optional
            A part of the text.
        port : int or iterable of int, optional
            Physical ports, from 1.
        since : datetime, date, timedelta or str, optional
            Also one that came since then ("2m", a timedelta, a time; naive is UTC), before this
            process too; default now.
        timeout : float
            Seconds; with 0, only what is on record is looked at.

        Raises
        ------
        NoAnswer
            No such message came in time.
        InvalidRequest
            A port that does not exist, a time that can't be read, a sender that is no text.
        """
        self._check_open()
        check_seconds("timeout", timeout, least=0)
        check_words("sender", sender)
        check_words("contains", contains)
        ports = None if port is None else {number for number, _ in await self._resolve(port)}

        from_when = None if since is None else moment(since, self._clock.now())
        which = wanted(sender, contains, ports)
        try:
            return await self._inbound.wait(which, since=from_when, timeout=timeout)
        except TimeoutError:
            raise NoAnswer(
                f"no such SMS reached {self._where} within {timeout:g} s; what did arrive is in "
                "inbox()"
            ) from None

    def on_sms(self, handler: SmsHandler, name: str | None = None, incomplete: bool = False) -> str:
        """Have `handler` called with every received message, once, after it is on disk.

        Parameters
        ----------
        handler : callable
            Gets a `ReceivedSms`; a coroutine function for an AsyncGateway only.
        name : str, optional
            A handler of the same name is replaced; default its qualified name.
        incomplete : bool
            Also for messages whose parts did not all come within `part_timeout`.

        Returns
        -------
        str
            The name, for `off_sms`.

        Raises
        ------
        InvalidRequest
            Not callable, a lambda without a name, or a name that is no text.
        GatewayClosed
            Nothing will be received any more.
        """
        if self._closed:
            raise GatewayClosed(f"{self._where} was closed; connect again")
        return self._handlers.add(handler, name, incomplete)

    def off_sms(self, name: str) -> None:
        """Remove a handler.

        Raises
        ------
        InvalidRequest
            There is none of this name.
        """
        self._handlers.remove(name)

    def listen(self, listener: Callable[[ReceivedSms], None]) -> Callable[[], None]:
        """Call `listener` on the loop with every message, also incomplete; returns its undoing."""
        return self._inbound.listen(listener)

    @needs_port
    async def send_sms(
        self,
        to: str,
        text: str,
        *,
        port: int,
        wait: bool = True,
        timeout: float | None = None,
        key: str | None = None,
        progress: Progress | None = None,
    ) -> SmsResult:
        """Send one SMS; never twice.

        Parameters
        ----------
        to : str
            Number as the operator wants it, with or without ``+`` (WIRE §7); passed on as given.
        text : str
            At most 1024 bytes of UTF-8, and `max_line` characters once encoded.
        port : int
            Physical port, from 1.
        wait : bool
            Wait for the gateway's report; False returns as soon as it is queued on disk.
        timeout : float, optional
            Seconds to wait after the write; default `sms_status_timeout`.
        key : str, optional
            The same key never sends twice: the earlier result is returned.
        progress : callable, optional
            Called with a `SmsResult` once it is queued, and at every change, until its end.

        Returns
        -------
        SmsResult
            Also for a failure: see its `status` and `error`.

        Raises
        ------
        InvalidRequest
            The number, text, port or key can't be used; nothing was sent.
        BudgetExceeded
            It would go over `sms_budget`.
        StoreError
            It could not be recorded, so it was not sent.
        """
        self._check_open()
        return await self._sms.send(
            to, text, port=port, wait=wait, timeout=timeout, key=key, progress=progress
        )

    def check_sms(self, to: str, text: str, port: int) -> None:
        """Raise what `send_sms` would raise of an SMS by itself, without asking the gateway."""
        self._sms.check(to, text, port)

    async def send_many(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        dry_run: bool = False,
        retry_failed: bool = False,
        batch: str = "",
        progress: Callable[[int, SmsResult], object] | None = None,
    ) -> list[SmsResult]:
        """Send a batch of SMS, each at most once, all queued on disk before the first leaves.

        An interrupt withdraws what is still queued; the same call again sends exactly that. While
        the link is down the batch waits, and what may go by any port also while none is up.

        Parameters
        ----------
        messages : iterable of mapping
            ``to``, ``text``, ``port`` (a number, or "auto": spread over the ports that are up; one
            that waits moves on when its port goes down, and no more once it was written) and,
            optionally, ``key``. Without a key a message gets one made of `batch`, its number, its
            text, and how often the same came before in `messages`: so the same batch again sends
            nothing twice, whatever its ports.
        dry_run : bool
            Check everything and send nothing: new ones come back as ``planned``, with `due_at`.
        retry_failed : bool
            Send again what the gateway reported as failed.
        batch : str
            A name that sets equal batches apart: another name sends the same messages again.
        progress : callable, optional
            Called with a message's number and its `SmsResult`, once queued and at every change.

        Returns
        -------
        list of SmsResult
            One a message, in order.

        Raises
        ------
        InvalidRequest
            Some can't be sent, and so none was: the message names every one of them, and why.
        BudgetExceeded
            Together they go over `sms_budget`.
        ConnectionLost, NoAnswer, CommandRefused, ProtocolError
            "auto" has to ask which ports are up; as `spans`.
        StoreError
            It could not be recorded, so it was not sent.
        """
        self._check_open()
        return await self._sms.send_many(
            list(messages),
            dry_run=dry_run,
            retry_failed=retry_failed,
            batch=batch,
            progress=progress,
        )

    async def resume_outbox(self, *, wait: bool = True) -> list[SmsResult]:
        """Take up what processes that ended left in the outbox of this gateway.

        What they had queued is sent. What they had written is never sent again: its report is
        waited for, and without one it becomes ``unknown`` after `sms_status_timeout`. An interrupt
        withdraws what is still queued.

        Parameters
        ----------
        wait : bool
            Wait for the gateway's reports; False returns at once, and it goes on.

        Returns
        -------
        list of SmsResult
            One an SMS that was taken up.

        Raises
        ------
        StoreError
            The store failed.
        """
        self._check_open()
        return await self._outbox.resume(self.name, wait=wait)

    async def waiting(self) -> list[SmsResult]:
        """What is queued at this gateway, by any process, and when each is due.

        Returns
        -------
        list of SmsResult
            In order; `due_at` is when its turn comes while the link is up.
        """
        self._check_open()
        return await self._outbox.waiting(self.name)

    async def loopback(
        self,
        from_port: int,
        to_port: int,
        n: int = 10,
        *,
        number: str | None = None,
        segments: int = 1,
        timeout: float = 120,
    ) -> list[LoopbackTrip]:
        """Send SMS from one port to another, and measure delay and loss.

        Parameters
        ----------
        from_port, to_port : int
            Physical ports, from 1; may be the same.
        n : int
            How many; each costs what `segments` SMS cost, and the pace is `sms_interval`.
        number : str, optional
            Number of the SIM in `to_port`; default what the gateway tells as its own number.
        segments : int
            Parts of each, 1 to 5: how parts fare is measured too.
        timeout : float
            Seconds to wait for the last after all were sent; a long one that is still without
            some parts after `part_timeout` is lost, too.

        Returns
        -------
        list of LoopbackTrip
            One an SMS, in order.

        Raises
        ------
        InvalidRequest
            A value can't be used, or the number is not known; nothing was sent.
        BudgetExceeded
            It would go over `sms_budget`.
        """
        self._check_open()
        return await loopbacks.measure(
            self._ports,
            self._inbound,
            self.send_many,
            from_port=from_port,
            to_port=to_port,
            n=n,
            number=number,
            segments=segments,
            timeout=timeout,
            clock=self._clock,
        )

    # -- USSD ------------------------------------------------------------------------------------
    @needs_port
    async def ussd(self, code: str, *, port: int, timeout: float = 30) -> UssdReply:
        """Run a USSD code and return what the network answered, whatever it was.

        Parameters
        ----------
        code : str
            ``[0-9*#+]+``, for example ``"*100#"``; also the choice of an open menu.
        port : int
            Physical port, from 1.
        timeout : float
            Seconds that the network may take; the gateway's default is 30 (WIRE §9).

        Raises
        ------
        InvalidRequest
            The code or port can't be used, or a USSD is under way on the port; nothing was sent.
        CommandRefused, ConnectionLost
            The gateway refused the command; the link is down.
        NoAnswer
            The gateway itself was silent; a silent network is an `outcome`.
        """
        self._check_open()
        port, span = self._ports.place(port)
        command = commands.cli(commands.send_ussd(span, code, timeout), self._options.max_line)
        await self._resolve(port)
        who = Caller()
        self._ussd.take(port, who)
        try:
            return await self._ussd.run(command, code, port=port, span=span, timeout=timeout)
        finally:
            self._ussd.leave(port, who)

    async def ussd_all(
        self, code: str, port: PortChoice = None, *, timeout: float = 30
    ) -> list[UssdReply]:
        """Run a USSD code on several ports at the same time, up to four at once.

        Parameters
        ----------
        code : str
            ``[0-9*#+]+``, for example ``"*100#"``.
        port : int or iterable of int, optional
            Physical ports, from 1; default all that are up.
        timeout : float
            Seconds that the network may take, each.

        Returns
        -------
        list of UssdReply
            One a port; a refusal of the gateway is ``failed``, its silence ``timeout``, both with
            the reason as text.

        Raises
        ------
        InvalidRequest
            The code or a port can't be used, or a USSD is under way on one; nothing was sent.
        ConnectionLost
            The link is, or went, down.
        NoAnswer, CommandRefused, ProtocolError
            Which ports there are has to be asked first; as `spans`.
        """
        self._check_open()
        ports = await (self._ports.up() if port is None else self._resolve(port))
        commands.send_ussd(1, code, timeout)
        return await self._ussd.run_all(
            ports, code, lambda number: self.ussd(code, port=number, timeout=timeout)
        )

    def ussd_session(self, port: int = 1) -> AsyncUssdSession:
        """A conversation with a USSD menu on one port; a context manager.

        Begin with a code; each answer to a menu is any one-line text without a double quote or a
        backslash: the gateway's parser would end the text at the one and eat the other.

        Parameters
        ----------
        port : int
            Physical port, from 1.

        Raises
        ------
        InvalidRequest
            No such port.
        """
        self._check_open()
        port, span = self._ports.place(port)
        if self._ports.known and (port, span) not in self._ports.known:
            raise self._ports.missing([port])
        return AsyncUssdSession(
            self._ussd, self._clock, port=port, span=span, max_line=self._options.max_line
        )

    # -- surveys ---------------------------------------------------------------------------------
    async def survey(
        self,
        *,
        every: float = 10.0,
        duration: float | None = None,
        port: PortChoice = None,
        label: str = "",
        name: str | None = None,
        on_tick: Callable[[int], object] = lambda done: None,
        start: datetime | None = None,
    ) -> AsyncSurvey:
        """Measure on a fixed grid in the background, and record every tick.

        A name that is on record goes on with that survey, on its grid and under its label in force;
        see `Gateway.survey`.

        Parameters
        ----------
        every, duration : float
            Seconds; no `duration` is an open end.
        port : int or iterable of int, optional
            Physical ports, from 1; default all.
        label, name : str
            What is measured; how the survey is called (default: after its start).
        on_tick : callable
            Called on the loop with the number of ticks so far.
        start : datetime, optional
            When the first tick is due, in UTC; default now.

        Raises
        ------
        InvalidRequest
            A value can't be used, a port does not exist, a survey of this name runs already, here
            or in another process on this store, or is on record with other settings.
        """
        self._check_open()
        settings = Settings(every, duration, label=label)
        return await self._surveys.begin(settings, port, name, on_tick, start)

    def keep(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something beside the verbs, until it ends or the gateway is closed."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closed:  # nobody else would end it
            task.cancel()
        return task

    # -- ports -----------------------------------------------------------------------------------
    @property
    def ports(self) -> list[int]:
        """The ports that the gateway listed last; empty while nobody knows."""
        return [port for port, _ in self._ports.known] if self._opened else []

    @property
    def known_ports(self) -> str:
        """The ports that the gateway listed last, as people write them: "1-4"."""
        return str(self._ports) if self._opened else ""

    def port_of(self, span: int) -> int:
        """The physical port of a span (WIRE §4)."""
        return span - self._options.span_offset

    async def _resolve(self, port: PortChoice) -> list[tuple[int, int]]:
        self._check_open()
        return await self._ports.resolve(port)

    # -- behind the verbs ------------------------------------------------------------------------
    def _check_open(self) -> None:
        if self._closed:
            raise GatewayClosed(f"{self._where} was closed; connect again")
        if not self._opened:
            raise GatewayClosed("not connected yet: use `async with`, or await open()")

    @property
    def _session(self) -> Session:
        self._check_open()
        return self._connection.session

    async def _open_session(
        self, events: bool, on_event: Callable[[Packet], None], on_lost: Callable[[str], None]
    ) -> Session:
        return await Session.open(
            self.host,
            self.port,
            self._credentials,
            events=events,
            connect_timeout=self._options.connect_timeout,
            where=self._where,
            command_timeout=self._options.command_timeout,
            keepalive=self._options.keepalive,
            on_event=on_event,
            on_lost=on_lost,
            tap=None if self._wirelog is None else self._wirelog.session(self._clock.now),
        )

    def _open_main(self, on_lost: Callable[[str], None]) -> Awaitable[Session]:
        self._ports.forget_spelling()
        return self._open_session(True, self._take_event, on_lost)

    def _open_beside(self) -> Awaitable[Session]:
        return self._open_session(False, lambda packet: None, lambda reason: None)

    def _take_event(self, packet: Packet) -> None:
        event = packet.get("Event").strip().lower()
        try:
            if event == "receivedsms":
                self._inbound.arrived(packet)
            elif event == "updatesmssend":
                status = parse_send_status(packet)
                if status.id:
                    self._reports.put_nowait((status.id, status.accepted, status.smsc))
        except NeogateError as error:
            logger.error("%s: an event could not be understood: %s", self._where, error)
        except Exception:  # one event must not take the link down
            logger.exception("%s: an event could not be handled", self._where)

    async def _take_reports(self) -> None:
        while True:
            sms_id, accepted, smsc = await self._reports.get()
            try:
                await self._outbox.report(sms_id, accepted, smsc)
            except Exception:  # one report must not take the others down
                logger.exception("%s: a send report could not be stored", self._where)
            self._reports.task_done()

    async def _call_handlers(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while not task.cancelling():  # a handler may have swallowed the cancel
            sms = await self._told.get()
            for name, handler in self._handlers.wanting(sms):
                try:
                    answer = handler(sms)
                    if asyncio.iscoroutine(answer):
                        await answer
                except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code
                    self._handlers.failed(name, error)

    async def _transmit(self, row: dict[str, Any]) -> None:
        text = commands.send_sms(
            row["span"], row["to"], row["text"], row["id"], self._options.max_line
        )
        await self._session.command(
            commands.cli(text, self._options.max_line), what=f"an SMS on port {row['port']}"
        )

    async def _note_time(self) -> None:
        """Have time that passes unseen found: by the next process, or by a look at the clock."""
        while True:
            if self._connection.is_up:
                self._inbound.note()
            await self._clock.sleep(NOTE_SECONDS)
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        # One watch for the link and all surveys: what each of them notices is one row.
        if jumped := self._jumps.jumped():
            self._record_link("asleep" if jumped > 0 else "clock_changed", "", jumped)

    def _record_link(self, event: str, reason: str, gap: float | None) -> None:
        if event == "restored" and (self._learning is None or self._learning.done()):
            self._learning = self.keep(self._learn_ports())  # a module may have come or gone
        row = {
            "time": self._clock.now(),
            "gateway": self.name,
            "event": event,
            "reason": reason,
            "gap_s": gap,
        }
        what = f"{self._where}: the change of the link was not recorded"
        append_or_log(self._ledger, "connections", row, what)
