"""The gateway's SMS: what it sends and what becomes of it, and what comes in; never a command.

All times are model seconds; a timer and a place for events are handed in.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol, get_args

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import messages
from neogate_lab.simulator.firmware import Firmware
from neogate_lab.simulator.messages import Part
from neogate_lab.simulator.radio import Radio

SendOutcome = Literal["sent", "failed", "never"]
OUTCOMES = get_args(SendOutcome)

_PRICE = 2.0
_REDIAL = 5.0
_PRIVILEGE = ("Privilege", "all,smscommand")


class Timer(Protocol):
    """Calls something later."""

    def __call__(self, delay: float, callback: Callable[[], object], /) -> object:
        """Call `callback` after `delay` model seconds."""


class Emit(Protocol):
    """Takes an event for all sessions."""

    def __call__(self, name: str, headers: Iterable[tuple[str, str]], *, sms: bool) -> None:
        """Deliver the event; `sms` marks those that may end in a sentinel."""


@dataclass(frozen=True, slots=True)
class SentSms:
    """An SMS that the gateway was asked to send.

    Attributes
    ----------
    text : str
        As the gateway decoded it; what is not UTF-8 stands as U+FFFD.
    raw : str
        As it stood in the command.
    id : str
        "" when none was given.
    outcome : {"pending", "sent", "failed", "never", "lost"}
        `lost` was still waiting when the gateway restarted.
    time : float
        Model seconds when it was asked for.
    """

    span: int
    port: int
    to: str = field(repr=False)
    text: str = field(repr=False)
    raw: str = field(repr=False)
    id: str
    outcome: str
    segments: int
    time: float


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What becomes of an SMS, and when the gateway says so."""

    outcome: SendOutcome = "sent"
    delay: float | None = None
    twice: bool = False
    report_as: str | None = None


@dataclass(slots=True)
class PortNotes:
    """What a port remembers for its detail and for ``*100#``."""

    balance: float
    last_event: str = "D-Channel Up"
    last_at: str = "AT+CREG?"


@dataclass(slots=True)
class _Outgoing:
    """What one port still has to send."""

    queue: deque[tuple[int, SendPlan]] = field(default_factory=deque)
    sending: bool = False
    redialling: bool = False


class SmsTraffic:
    """Sends and receives for all ports of a device.

    Parameters
    ----------
    radio : Radio
    firmware : Firmware
    notes : dict of int to PortNotes
    seed : int
    now : callable
        Model seconds.
    later : Timer
    emit : Emit
    changed : callable
        Called after everything that can be looked at from outside.
    started_at : datetime
        What the gateway's clock showed at model time 0, without a zone.
    span_offset : int
    sms_delay : float
        Usual seconds until an SMS's outcome.
    """

    def __init__(
        self,
        radio: Radio,
        firmware: Firmware,
        notes: dict[int, PortNotes],
        *,
        seed: int,
        now: Callable[[], float],
        later: Timer,
        emit: Emit,
        changed: Callable[[], None],
        started_at: datetime,
        span_offset: int,
        sms_delay: float,
    ) -> None:
        self.sent: list[SentSms] = []
        self._radio, self._firmware, self._notes = radio, firmware, notes
        self._now, self._later, self._emit, self._changed = now, later, emit, changed
        self._started_at = started_at
        self._span_offset, self._sms_delay = span_offset, sms_delay
        self._rng = random.Random(f"{seed}/sms")  # noqa: S311
        self._plans: dict[int | None, list[tuple[SendPlan, int | None]]] = {}
        self._ports = {port: _Outgoing() for port in radio.ports}
        self._epoch = 0

    def send(self, port: int, to: str, raw: str, content: bytes, identity: str) -> None:
        """Queue an SMS; its outcome comes as an event."""
        text = content.decode("utf-8", "replace")
        self.sent.append(
            SentSms(
                span=port + self._span_offset,
                port=port,
                to=to,
                text=text,
                raw=raw,
                id=identity,
                outcome="pending",
                segments=len(messages.split(text)),
                time=self._now(),
            )
        )
        self._ports[port].queue.append((len(self.sent) - 1, self._plan(port)))
        self._next_sms(port)

    def decide(self, port: int | None, plan: SendPlan, times: int | None) -> None:
        """Take `plan` for what is asked for from now on; without `times`, for good."""
        if times is not None:
            self._plans.setdefault(port, []).append((plan, times))
        elif port is None:
            self._plans = {None: [(plan, None)]}
        else:
            self._plans[port] = [(plan, None)]

    def is_sending(self, port: int) -> bool:
        """Whether an SMS is on the air."""
        return self._ports[port].sending

    def _plan(self, port: int) -> SendPlan:
        for key in (port, None):
            plans = self._plans.get(key, [])
            if plans:
                plan, left = plans[-1]
                if left is not None:
                    plans[-1] = (plan, left - 1)
                    if left <= 1:
                        plans.pop()
                return plan
        return SendPlan()

    def _next_sms(self, port: int) -> None:
        outgoing = self._ports[port]
        if outgoing.sending or not outgoing.queue:
            return
        self._radio.step(self._now())
        if self._radio.truth(port).calling:
            # The driver retries by itself until the span is free.
            if not outgoing.redialling:
                outgoing.redialling = True
                self._soon(_REDIAL, lambda: self._redial(port))
            return
        number, plan = outgoing.queue.popleft()
        outgoing.sending = True
        delay = self._sms_delay if plan.delay is None else plan.delay
        on_air = min(delay, self._sms_delay)
        self._soon(on_air, lambda: self._left_modem(port, number, plan, delay - on_air))

    def _redial(self, port: int) -> None:
        self._ports[port].redialling = False
        self._next_sms(port)

    def _left_modem(self, port: int, number: int, plan: SendPlan, wait: float) -> None:
        outgoing = self._ports[port]
        self._radio.step(self._now())
        outcome = plan.outcome
        if outcome == "sent" and not self._radio.truth(port).registered:
            outcome = "failed"
        if wait > 0:
            self._soon(wait, lambda: self._settle(port, number, plan, outcome))
        else:
            self._settle(port, number, plan, outcome)
        outgoing.sending = False
        self._next_sms(port)

    def _settle(self, port: int, number: int, plan: SendPlan, outcome: SendOutcome) -> None:
        sms = replace(self.sent[number], outcome=outcome)
        self.sent[number] = sms
        notes = self._notes[port]
        notes.last_event = "SMS send failed" if outcome == "failed" else "SMS send OK"
        if outcome == "sent":
            notes.balance = round(notes.balance - _PRICE * sms.segments, 2)
            self._loop_back(port, sms)
        if outcome != "never":
            for _ in range(1 + plan.twice):
                identity = sms.id if plan.report_as is None else plan.report_as
                self.report(identity, accepted=outcome == "sent", port=port)
        self._changed()

    def report(self, identity: str, *, accepted: bool, port: int) -> None:
        """Emit the outcome of an SMS; an empty id is written ``(null)`` (WIRE §7)."""
        headers = [
            _PRIVILEGE,
            ("ID", identity or "(null)"),
            ("Smsc", self._radio.spare_sim(port).operator.smsc),
            ("Status", "1" if accepted else "0"),
        ]
        self._emit("UpdateSMSSend", headers, sms=True)

    def _loop_back(self, sender: int, sms: SentSms) -> None:
        """Deliver what was sent to a number of this gateway's own SIMs."""
        for port in self._radio.ports:
            target = self._radio.spare_sim(port)
            if self._radio.truth(port).registered and messages.same_number(target.number, sms.to):
                own = self._radio.spare_sim(sender).number
                self.receive(port, own, sms.text, start=min(1.0, self._sms_delay))

    def receive(
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
        start: float = 0.0,
        gap: float = 0.0,
        recvtime: str | None = None,
        split_surrogates: bool = False,
    ) -> list[Part]:
        """Cut `text` into parts and emit them; see SimulatedGateway.receive_sms."""
        if encoding not in messages.ENCODINGS:
            choices = ", ".join(messages.ENCODINGS)
            raise InvalidRequest(f"encoding {encoding!r} is not known: choose from {choices}")
        pieces = messages.split(text, split_surrogates=split_surrogates)
        total = len(pieces)
        if reference is None:
            reference = self._reference(sender) if total > 1 else ""
        unicode = not messages.is_gsm(text)
        first = self._firmware.first_index if total > 1 else self._firmware.single_index
        parts = [
            Part(
                port=port,
                sender=sender,
                content=messages.encode_content(piece, encoding, unicode=unicode),
                recvtime=recvtime if recvtime is not None else self._clock(),
                reference=reference,
                index=first + position,
                total=total,
                smsc=self._radio.spare_sim(port).operator.smsc,
            )
            for position, piece in enumerate(pieces)
        ]
        known = range(1, total + 1)
        chosen = list(known if order is None else order)
        missing, doubled, late = set(missing), set(doubled), dict(late or {})
        strange = sorted({*chosen, *missing, *doubled, *late} - set(known))
        if strange:
            raise InvalidRequest(
                f"part {strange[0]} does not exist: the text makes {total} part(s)"
            )
        out: list[Part] = []
        for place, number in enumerate(part for part in chosen if part not in missing):
            delay = start + place * gap + late.get(number, 0.0)
            for _ in range(1 + (number in doubled)):
                self._hand_over(parts[number - 1], delay)
                out.append(parts[number - 1])
        return out

    def _hand_over(self, part: Part, delay: float) -> None:
        if delay > 0:
            self._later(delay, lambda: self.receive_part(part))
        else:
            self.receive_part(part)

    def receive_part(self, part: Part) -> None:
        """Emit one part as it is."""
        self._notes[part.port].last_event = "SMS received"
        headers = [
            _PRIVILEGE,
            ("ID", part.reference),
            (self._firmware.span_header, str(part.port + self._span_offset)),
            ("Sender", part.sender),
            ("Recvtime", part.recvtime),
            ("Index", str(part.index)),
            ("Total", str(part.total)),
            ("Smsc", part.smsc),
            ("Content", part.content),
        ]
        self._emit("ReceivedSMS", headers, sms=True)

    def _reference(self, sender: str) -> str:
        number = self._rng.randrange(256)
        if not self._firmware.manual_reference:
            return str(number)
        digits = "".join(char for char in sender if char.isdigit())[-6:]
        return f"{number:02X}{digits:0>6}"

    def _clock(self) -> str:
        return (self._started_at + timedelta(seconds=self._now())).strftime("%Y-%m-%d %H:%M:%S")

    def reset(self) -> None:
        """Lose what a restart loses: queued SMS and those on the air."""
        self._epoch += 1
        for outgoing in self._ports.values():
            outgoing.queue.clear()
            outgoing.sending = outgoing.redialling = False
        self.sent[:] = [
            replace(sms, outcome="lost") if sms.outcome == "pending" else sms for sms in self.sent
        ]

    def _soon(self, delay: float, callback: Callable[[], None]) -> None:
        """Call back unless the gateway restarts first."""
        epoch = self._epoch

        def call() -> None:
            if epoch == self._epoch:
                callback()

        self._later(delay, call)
