"""The gateway behind its sessions: it runs commands and holds USSD dialogs; never a socket.

All times are model seconds; a timer and a place for events are handed in.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from neogate_lab.simulator import cli_text, messages
from neogate_lab.simulator.firmware import Firmware
from neogate_lab.simulator.radio import Radio
from neogate_lab.simulator.sms import Emit, PortNotes, SmsTraffic, Timer
from neogate_lab.simulator.ussd import Dialog, UssdAnswer

_MAX_NUMBER = 64
_COMMANDS_KEPT = 100_000
_MENU_PATIENCE = 120.0
_NETWORK_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Command:
    """A CLI command as a session sent it.

    Attributes
    ----------
    session : int
        Number of the session, counted from 1 since the start.
    words : tuple of str
        The command as the driver cuts it.
    span : int or None
        The span it names, if any.
    time : float
        Model seconds.
    """

    session: int
    text: str = field(repr=False)
    words: tuple[str, ...] = field(repr=False)
    span: int | None
    time: float


@dataclass(slots=True)
class _Exchange:
    """The USSD of one port."""

    dialog: Dialog
    waiting: asyncio.Future[UssdAnswer] | None = None
    unanswered: int = 0
    menus: int = 0


class Device:
    """Everything a gateway does, on a radio model.

    Parameters
    ----------
    radio : Radio
    firmware : Firmware
    seed : int
    now : callable
        Model seconds.
    later : Timer
    emit : Emit
    changed : callable
        Called after everything that can be looked at from outside.
    started_at : datetime
        What the gateway's clock showed at model time 0, without a zone.
    sms_delay, ussd_delay : float
        Usual seconds until an SMS's outcome and a USSD's answer.
    max_text : int
        Longest text to send, in bytes before encoding.
    plus_is_blank : bool
        How a literal ``+`` in a text to send is read (WIRE §7).
    """

    def __init__(
        self,
        radio: Radio,
        firmware: Firmware,
        *,
        seed: int,
        now: Callable[[], float],
        later: Timer,
        emit: Emit,
        changed: Callable[[], None],
        started_at: datetime,
        span_offset: int,
        sms_delay: float,
        ussd_delay: float,
        max_text: int,
        plus_is_blank: bool,
    ) -> None:
        self.radio, self.firmware = radio, firmware
        self.commands: deque[Command] = deque(maxlen=_COMMANDS_KEPT)
        rng = random.Random(f"{seed}/balances")  # noqa: S311
        self.notes = {port: PortNotes(round(rng.uniform(5.0, 400.0), 2)) for port in radio.ports}
        self.sms = SmsTraffic(
            radio,
            firmware,
            self.notes,
            seed=seed,
            now=now,
            later=later,
            emit=emit,
            changed=changed,
            started_at=started_at,
            span_offset=span_offset,
            sms_delay=sms_delay,
        )
        self._now, self._later, self._changed = now, later, changed
        self._span_offset, self._ussd_delay = span_offset, ussd_delay
        self._span_limit = max(cli_text.SPAN_LIMIT, radio.ports[-1] + span_offset)
        self._max_text, self._plus_is_blank = max_text, plus_is_blank
        self._exchanges = {
            port: _Exchange(Dialog(radio.spare_sim(port), self._balance_of(port)))
            for port in radio.ports
        }
        self._detail = firmware.detail_words
        self._handlers = {
            ("gsm", "send", "sms"): self._send_sms,
            ("gsm", "show", "spans"): self._show_spans,
            self._detail: self._show_span,
        }
        self._epoch = 0

    def catch_up(self) -> None:
        """Bring the radio model up to now."""
        self.radio.step(self._now())

    async def execute(self, text: str, session: int) -> str:
        """Run one CLI command and return its output; only a USSD takes time."""
        self.catch_up()
        words = cli_text.split_words(text)
        self.commands.append(
            Command(session, text, tuple(words), self._named_span(words), self._now())
        )
        self._changed()
        lowered = tuple(word.lower() for word in words)
        if lowered[:3] == ("gsm", "send", "ussd"):
            return await self._send_ussd(text, words)
        # The longest command wins; the manual's "gsm show N" must not swallow "gsm show span N".
        for size in (3, 2):
            handler = self._handlers.get(lowered[:size])
            if handler and not (size == 2 and lowered[2:3] == ("span",)):
                return handler(text, words)
        if not words:
            return ""
        if lowered[:1] == ("core",):
            return f"You don't have permissions to run '{' '.join(words)}' command\n"
        known = [*self._handlers, ("gsm", "send", "ussd")]
        return cli_text.no_such_command(text, words, known)

    def _named_span(self, words: list[str]) -> int | None:
        where = 3 if len(words) > 3 else 2
        number = cli_text.leading_number(words[where]) if len(words) > where else 0
        return number or None

    def _span(self, word: str, command: str) -> tuple[int, str]:
        """Port of a span's word, or the words of refusal."""
        span = cli_text.leading_number(word)
        if not 1 <= span <= self._span_limit:
            return 0, cli_text.invalid_span(word, self._span_limit)
        port = span - self._span_offset
        if port not in self.radio.ports:
            return 0, cli_text.no_gsm(span, command)
        return port, ""

    def _show_spans(self, text: str, words: list[str]) -> str:
        if len(words) != 3:
            return cli_text.SHOW_SPANS_USAGE
        return "".join(
            cli_text.spans_line(self._view(port), self.firmware) for port in self.radio.ports
        )

    def _show_span(self, text: str, words: list[str]) -> str:
        if len(words) != len(self._detail) + 1:
            return cli_text.SHOW_SPAN_USAGE.format(" ".join(self._detail))
        port, refusal = self._span(words[-1], text)
        return refusal or cli_text.detail(self._view(port), self.firmware)

    def _view(self, port: int) -> cli_text.SpanView:
        state, notes = self.radio.state(port), self.notes[port]
        truth = self.radio.truth(port)
        return cli_text.SpanView(
            span=port + self._span_offset,
            port=port,
            truth=truth,
            sim=state.sim,
            alarm=state.alarm,
            blocked=state.blocked,
            imei=self.radio.imei(port),
            network=state.network,
            network_status=state.network_status,
            state=state.state if state.state is not None else self._busy_with(port),
            last_event=notes.last_event,
            last_at=notes.last_at,
        )

    def _busy_with(self, port: int) -> str:
        truth = self.radio.truth(port)
        if truth.pin_error:
            return "SIM PIN REQ"
        if self._exchanges[port].unanswered:
            return "USSD SENDING"
        if self.sms.is_sending(port):
            return "SMS SENDING"
        if truth.calling:
            return f"CALL ACTIVE Called to {self.radio.spare_sim(port).number}"
        return "READY" if truth.registered else "NET REQ"

    def _send_sms(self, text: str, words: list[str]) -> str:
        if len(words) < 6:
            return cli_text.SEND_SMS_USAGE
        port, refusal = self._span(words[3], text)
        if refusal:
            return refusal
        to, raw = words[4], words[5]
        if len(to) > _MAX_NUMBER:
            return "Destination number to long.\n"
        content = messages.decode_command_text(raw, plus_is_blank=self._plus_is_blank)
        if len(content) > self._max_text:
            return "SMS message to long.\n"
        self.sms.send(port, to, raw, content, words[6] if len(words) > 6 else "")
        return ""

    async def _send_ussd(self, text: str, words: list[str]) -> str:
        if len(words) < 5:
            return cli_text.SEND_USSD_USAGE
        port, refusal = self._span(words[3], text)
        if refusal:
            return refusal
        span, exchange = port + self._span_offset, self._exchanges[port]
        seconds = cli_text.leading_number(words[5]) if len(words) > 5 else 0
        if exchange.waiting is not None:
            return cli_text.ussd_trouble(span, "busy", self.firmware)
        self.notes[port].last_at = f'AT+CUSD=1,"{words[4]}"'
        truth = self.radio.truth(port)
        if not truth.registered or truth.calling:
            return cli_text.ussd_trouble(span, "failed", self.firmware)
        exchange.waiting = asyncio.get_running_loop().create_future()
        self._ask_network(exchange, words[4])
        self._soon(seconds if seconds > 0 else 30.0, self._giver_up(exchange.waiting))
        try:
            answer = await exchange.waiting
        finally:
            exchange.waiting = None
        if answer.trouble:
            return cli_text.ussd_trouble(span, answer.trouble, self.firmware)
        self.notes[port].last_event = "USSD received"
        return cli_text.ussd_success(span, answer, self.firmware)

    def _ask_network(self, exchange: _Exchange, text: str) -> None:
        answer = exchange.dialog.ask(text)
        exchange.menus += 1
        if answer.m == 1:
            menu = exchange.menus
            self._soon(_MENU_PATIENCE, lambda: self._close_menu(exchange, menu))
        delay = self._ussd_delay if answer.delay is None else answer.delay
        exchange.unanswered += 1
        if answer.trouble == "never":
            self._soon(_NETWORK_PATIENCE, lambda: self._arrive(exchange, None))
        else:
            self._soon(delay, lambda: self._arrive(exchange, answer))

    def _arrive(self, exchange: _Exchange, answer: UssdAnswer | None) -> None:
        """Take an answer from the network: whoever waits gets it, if it was asked for or not."""
        exchange.unanswered = max(0, exchange.unanswered - 1)
        if answer is not None and exchange.waiting is not None and not exchange.waiting.done():
            exchange.waiting.set_result(answer)

    def _giver_up(self, waiting: asyncio.Future[UssdAnswer]) -> Callable[[], None]:
        def give_up() -> None:
            if not waiting.done():
                waiting.set_result(UssdAnswer(trouble="timeout"))

        return give_up

    def _close_menu(self, exchange: _Exchange, menu: int) -> None:
        if exchange.menus == menu:
            exchange.dialog.close()

    def set_ussd(self, port: int, code: str, answer: UssdAnswer) -> None:
        """Answer `code` on `port` like this from now on."""
        self._exchanges[port].dialog.set(code, answer)

    def reset(self) -> None:
        """Lose what a restart loses: SMS not yet sent, dialogs, waiting USSDs."""
        self._epoch += 1
        self.sms.reset()
        for notes in self.notes.values():
            notes.last_event, notes.last_at = "D-Channel Up", "AT+CREG?"
        for exchange in self._exchanges.values():
            exchange.dialog.close()
            exchange.unanswered = 0

    def _balance_of(self, port: int) -> Callable[[], float]:
        return lambda: self.notes[port].balance

    def _soon(self, delay: float, callback: Callable[[], None]) -> None:
        """Call back unless the gateway restarts first."""
        epoch = self._epoch

        def call() -> None:
            if epoch == self._epoch:
                callback()

        self._later(delay, call)
