"""SimulatedGateway: the model behind TCP in one thread of its own, with knobs for every fault.

It writes its wire text itself and knows nothing of the client's code, so that it can catch its
mistakes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import ami, traffic, ussd
from neogate_lab.simulator import firmware as firmwares
from neogate_lab.simulator.ami import Replies, Request
from neogate_lab.simulator.checks import positive, whole
from neogate_lab.simulator.device import Command, Device
from neogate_lab.simulator.knobs import FaultKnobs, PortKnobs
from neogate_lab.simulator.listener import Activity, Listener
from neogate_lab.simulator.messages import Part
from neogate_lab.simulator.radio import PortTruth, Radio
from neogate_lab.simulator.served import Served
from neogate_lab.simulator.session import Faults, Hub, Settings
from neogate_lab.simulator.sms import OUTCOMES, SendOutcome, SendPlan, SentSms


class SimulatedGateway(PortKnobs, FaultKnobs, Served):
    """A NeoGate TG that exists only here, on real TCP; ready when ``with`` returns.

    Every method may be called from any thread, and what it did holds when it returns. Times given
    to the radio, to SMS and to USSD are model seconds; those of faults are real ones.

    Parameters
    ----------
    ports : int
        Radio ports, 1-32. The last of four or more has no SIM, the last but one of eight or more a
        wrong PIN; port 3 is so weak that it often shows -1. Port p is span p + `span_offset`.
    seed : int
        The same seed gives the same air, SIMs and balances.
    firmware : {"tg200", "v3", "tg400", "manual2013", "ami5"}
    username, password : str
        The one user it knows.
    host : str
    port : int
        0 takes a free one: see `port` after the start.
    echo_action_id, sentinel : bool, optional
        As the firmware does by default (WIRE §2, §8).
    first_index, single_index : int, optional
        ``Index`` of the first part of a long SMS and of a single part, 0 or 1; so too.
    span_offset : int
    sms_delay : float
        Usual seconds from a sent SMS to its outcome.
    ussd_delay : float
        Usual seconds until the network answers a USSD.
    refresh : float
        Seconds for which the driver shows a cached signal (WIRE §6); 0 shows each measurement.
    restless : bool
        False: no outages and no calls by themselves. There are none in the first 300 s anyway.
    sms_every : float, optional
        Mean seconds between SMS that come in by themselves; None: none do.
    speed : float
        Model seconds in a real one.
    clock : callable, optional
        Returns model seconds, instead of the real clock times `speed`; delays go by `speed` still.
    clock_offset : float
        Hours by which the gateway's own clock is ahead of UTC.
    max_text : int
        Longest SMS in bytes before encoding.
    max_line : int
        Longest header line in characters.
    drop_long_lines : bool
        True: a longer one makes its action vanish, instead of an error.
    plus_is_blank : bool
        Whether a literal ``+`` in an SMS to send is a blank.
    login_delay : float
        Seconds before a wrong login is answered.
    login_timeout : float
        Seconds after which a session without login is closed.
    max_backlog : int
        Bytes of unread events after which a client is dropped.

    Raises
    ------
    InvalidRequest
        An argument is out of range; the message names the choices.

    Examples
    --------
    >>> with SimulatedGateway(ports=4, seed=7) as sim:
    ...     sim.receive_sms(port=1, sender="+79001234567", text="hello")[0].index
    1
    """

    def __init__(
        self,
        ports: int = 4,
        seed: int = 7,
        firmware: str = "tg200",
        username: str = "apiuser",
        password: str = "apipass",  # noqa: S107
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        echo_action_id: bool | None = None,
        sentinel: bool | None = None,
        first_index: int | None = None,
        single_index: int | None = None,
        span_offset: int = 1,
        sms_delay: float = 3.0,
        ussd_delay: float = 0.5,
        refresh: float = 10.0,
        restless: bool = True,
        sms_every: float | None = None,
        speed: float = 1.0,
        clock: Callable[[], float] | None = None,
        clock_offset: float = 0.0,
        max_text: int = 1024,
        max_line: int = 1024,
        drop_long_lines: bool = False,
        plus_is_blank: bool = True,
        login_delay: float = 1.0,
        login_timeout: float = 30.0,
        max_backlog: int = 1 << 20,
    ) -> None:
        whole("ports", ports, 1, 32)
        whole("seed", seed, None, None)
        whole("port", port, 0, 65535)
        whole("span_offset", span_offset, 0, 32)
        for name, index in (("first_index", first_index), ("single_index", single_index)):
            if index is not None:
                whole(name, index, 0, 1)
        whole("max_text", max_text, 1, None)
        whole("max_line", max_line, 64, None)
        for name, number in (
            ("sms_delay", sms_delay),
            ("ussd_delay", ussd_delay),
            ("refresh", refresh),
            ("login_delay", login_delay),
            ("login_timeout", login_timeout),
        ):
            positive(name, number, zero=True)
        positive("speed", speed)
        if sms_every is not None:
            positive("sms_every", sms_every)
        self._variant = firmwares.choose(
            firmware,
            echo_action_id=echo_action_id,
            sentinel=sentinel,
            first_index=first_index,
            single_index=single_index,
        )
        self._speed, self._clock = speed, clock
        self._begun = time.monotonic()
        self._started_at = datetime.now(UTC)
        self._seed, self._sms_every = seed, sms_every
        self._radio = Radio(ports, seed, refresh=refresh, restless=restless)
        self._activity = Activity()
        self._device = Device(
            self._radio,
            self._variant,
            seed=seed,
            now=self.now,
            later=self._later,
            emit=self._emit,
            changed=self._activity.notify,
            started_at=self._started_at.replace(tzinfo=None) + timedelta(hours=clock_offset),
            span_offset=span_offset,
            sms_delay=sms_delay,
            ussd_delay=ussd_delay,
            max_text=max_text,
            plus_is_blank=plus_is_blank,
        )
        settings = Settings(
            username, password, login_delay, login_timeout, max_line, drop_long_lines, max_backlog
        )
        self._hub = Hub(
            settings,
            self._variant,
            Replies(self._variant),
            self._run,
            self._device.reset,
            Faults(),
            self._activity.notify,
        )
        background = None if sms_every is None else self._traffic
        self._listener = Listener(self._hub, host, port, self._activity, background)

    def __repr__(self) -> str:
        state = "listening" if self._listener.running else "stopped"
        return (
            f"<SimulatedGateway {self._variant.name} {self.host}:{self.port}, "
            f"{self._radio.ports[-1]} ports, {state}>"
        )

    def restart(self, down: float = 0.0) -> None:
        """Reboot: drop everybody, lose queued SMS and USSD dialogs, come back on the same port.

        Parameters
        ----------
        down : float
            Real seconds during which connections are refused. With 0 it listens when this returns.
        """
        positive("down", down, zero=True)
        self._listener.restart(down)

    @property
    def firmware(self) -> str:
        """Name of the firmware variant."""
        return self._variant.name

    @property
    def sessions(self) -> int:
        """How many connections are open."""
        return len(self._hub.live)

    @property
    def login_attempts(self) -> int:
        """How many logins were tried, accepted or not."""
        return self._hub.login_attempts

    @property
    def connections(self) -> int:
        """How many connections were ever accepted."""
        return self._hub.opened

    @property
    def commands(self) -> list[Command]:
        """CLI commands in the order in which they ran, the last 100,000."""
        return list(self._device.commands)

    @property
    def sent(self) -> list[SentSms]:
        """What it was asked to send, in order; an id that stands twice was sent twice."""
        return list(self._device.sms.sent)

    @property
    def sent_per_id(self) -> Counter[str]:
        """How often each id was asked for."""
        return Counter(sms.id for sms in self.sent)

    @property
    def started_at(self) -> datetime:
        """UTC at model time 0."""
        return self._started_at

    def now(self) -> float:
        """Model time in seconds."""
        if self._clock is not None:
            return self._clock()
        return (time.monotonic() - self._begun) * self._speed

    def truth(self, port: int, at: float | datetime | None = None) -> PortTruth:
        """What is really so on a port, behind the driver's cache.

        Parameters
        ----------
        port : int
        at : float or datetime, optional
            Model seconds, or a time (naive means UTC); default now.
        """
        self._radio.check(port)
        if isinstance(at, datetime):
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            at = (at - self._started_at).total_seconds() * self._speed

        def look() -> PortTruth:
            self._radio.step(self.now())
            return self._radio.truth(port, at)

        return self._listener.call(look)

    def number(self, port: int) -> str:
        """Phone number of the port's SIM; an SMS sent to it comes back in on that port."""
        return self._radio.spare_sim(self._radio.check(port)).number

    def balance(self, port: int) -> float:
        """What ``*100#`` tells; each accepted segment costs 2."""
        return self._device.notes[self._radio.check(port)].balance

    def wait_until(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Wait until `condition` holds, looked at after everything that happens here.

        Parameters
        ----------
        condition : callable
            For example ``lambda: sim.sessions == 0``.
        timeout : float
            Real seconds.

        Returns
        -------
        bool
            Whether it came to hold in time.
        """
        return self._activity.wait_until(condition, timeout)

    def receive_sms(
        self,
        port: int,
        sender: str,
        text: str,
        *,
        reference: str | None = None,
        encoding: str = "percent",
        order: Iterable[int] | None = None,
        missing: Iterable[int] = (),
        doubled: Iterable[int] = (),
        late: Mapping[int, float] | None = None,
        gap: float = 0.0,
        recvtime: str | None = None,
        split_surrogates: bool = False,
    ) -> list[Part]:
        """Let an SMS come in; it comes even on a port without SIM, as the caller wishes.

        Parameters
        ----------
        port : int
        sender : str
            Number, short code or name.
        text : str
            Cut into parts as networks do: 160/153 septets or 70/67 UTF-16 units.
        reference : str, optional
            ``ID`` of a long SMS; by default drawn from 0-255.
        encoding : {"percent", "plain", "ucs2", "latin1"}
            How ``Content`` is written (WIRE §8).
        order : sequence of int, optional
            The parts to send, from 1, in this order.
        missing, doubled : sequence of int
            Parts that never come, or come twice.
        late : dict of int to float
            Seconds by which a part is late.
        gap : float
            Seconds between parts.
        recvtime : str, optional
            Instead of the gateway's clock.
        split_surrogates : bool
            Cut emoji in two, as careless senders do.

        Returns
        -------
        list of Part
            What is sent, in the order before `late`.
        """
        self._radio.check(port)
        return self._listener.call_running(
            lambda: self._device.sms.receive(
                port,
                sender,
                text,
                reference=reference,
                encoding=encoding,
                order=order,
                missing=missing,
                doubled=doubled,
                late=late,
                gap=gap,
                recvtime=recvtime,
                split_surrogates=split_surrogates,
            )
        )

    def receive_part(
        self,
        port: int,
        sender: str,
        content: str,
        *,
        reference: str = "",
        index: int | None = None,
        total: int = 1,
        recvtime: str = "2019-11-05 14:03:21",
        smsc: str | None = None,
    ) -> Part:
        """Let one part come in, its content written as given."""
        self._radio.check(port)
        first = self._variant.single_index if total == 1 else self._variant.first_index
        part = Part(
            port=port,
            sender=sender,
            content=content,
            recvtime=recvtime,
            reference=reference,
            index=first if index is None else index,
            total=total,
            smsc=self._radio.spare_sim(port).operator.smsc if smsc is None else smsc,
        )
        self._listener.call_running(lambda: self._device.sms.receive_part(part))
        return part

    def set_send_outcome(
        self,
        port: int | None = None,
        outcome: SendOutcome = "sent",
        delay: float | None = None,
        *,
        twice: bool = False,
        report_as: str | None = None,
        times: int | None = None,
    ) -> None:
        """Decide what becomes of SMS asked for from now on.

        Parameters
        ----------
        port : int, optional
            Only there; default all ports.
        outcome : {"sent", "failed", "never"}
            `never`: no outcome is ever reported.
        delay : float, optional
            Seconds until the report; the modem is free after `sms_delay` all the same.
        twice : bool
            The outcome is reported twice.
        report_as : str, optional
            Another id in the report; "" is written ``(null)``.
        times : int, optional
            Only for the next n; then what was decided before.
        """
        if outcome not in OUTCOMES:
            raise InvalidRequest(
                f"outcome {outcome!r} is not known: choose from {', '.join(OUTCOMES)}"
            )
        if port is not None:
            self._radio.check(port)
        if delay is not None:
            positive("delay", delay, zero=True)
        if times is not None:
            whole("times", times, 1, None)
        plan = SendPlan(outcome, delay, twice, report_as)

        self._listener.call(lambda: self._device.sms.decide(port, plan, times))

    def report_sms(self, id: str = "", *, accepted: bool = True, port: int = 1) -> None:
        """Report the outcome of any SMS: another client's id, or "" for ``(null)``."""
        self._radio.check(port)
        self._listener.call_running(
            lambda: self._device.sms.report(id, accepted=accepted, port=port)
        )

    def set_ussd(
        self,
        port: int | None,
        code: str,
        reply: ussd.Tree,
        *,
        dcs: int | None = None,
        delay: float | None = None,
    ) -> None:
        """Answer a USSD code like this from now on.

        Parameters
        ----------
        port : int, optional
            None: on all ports.
        code : str
        reply : str, UssdAnswer or dict
            A text; an answer with all its knobs; or a menu as nested dicts, where ``""`` is the
            menu's text and every other key a choice.
        dcs : int, optional
            Data coding scheme of the texts; by default 15 for GSM text, else 72.
        delay : float, optional
            Seconds until each answer.
        """
        ports = self._radio.ports if port is None else [self._radio.check(port)]
        answer = ussd.answer_from(reply, dcs=dcs, delay=delay)

        def learn() -> None:
            for each in ports:
                self._device.set_ussd(each, code, answer)

        self._listener.call(learn)

    async def _run(self, request: Request, session: int) -> bytes:
        body = await self._device.execute(request.get("Command"), session)
        return self._hub.replies.command(request, body)

    def _later(self, delay: float, callback: Callable[[], object], /) -> object:
        return asyncio.get_running_loop().call_later(delay / self._speed, callback)

    def _emit(self, name: str, headers: Iterable[tuple[str, str]], *, sms: bool) -> None:
        self._hub.broadcast(ami.event(name, headers, sentinel=sms and self._variant.sentinel))

    def _traffic(self) -> Coroutine[Any, Any, None]:
        assert self._sms_every is not None
        return traffic.incoming(self._device, self._seed, self._sms_every / self._speed)
