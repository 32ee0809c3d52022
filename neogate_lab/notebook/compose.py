"""ComposePanel: write an SMS, see what it costs, send it and follow what becomes of it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakSet

import ipywidgets as widgets

from neogate_lab.errors import InvalidRequest
from neogate_lab.notebook.panel import (
    LABEL_WIDTH,
    Tone,
    as_html,
    button,
    clock_time,
    line,
    table,
    text_field,
)
from neogate_lab.notebook.ports import PortPanel
from neogate_lab.protocol import gsm

if TYPE_CHECKING:
    from neogate_lab.gateway import Gateway
    from neogate_lab.link.async_gateway import AsyncGateway
    from neogate_lab.link.outbox import SmsResult

__all__ = ["ComposePanel"]

PATIENCE = 30.0
"""Seconds after which the button comes back although nothing is known of the last SMS yet."""

LOOK = 1.0
"""Seconds between looks at what an SMS waits for."""

HISTORY = 50

_MEANINGS: dict[str, tuple[Tone, str]] = {
    "queued": ("busy", "waiting for its turn on the port"),
    "written": ("busy", "handed to the gateway, which has not reported yet"),
    "sent": ("good", "accepted by the SMS centre; whether it is delivered nobody reports"),
    "failed": ("bad", ""),
    "unknown": (
        "bad",
        "no report came in time; it may have gone out, so look before sending again",
    ),
    "cancelled": ("bad", ""),
}
_FEW = 0.1
_NEARLY_FULL = 10
_ENCODINGS = {"gsm7": "GSM-7", "ucs2": "UCS-2"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the history."""

    key: str
    began: datetime
    to: str
    text: str
    port: int
    segments: int
    status: str = "queued"
    error: str = ""


class _History:
    """What a gateway's panels sent, oldest first; it outlives them, as what they sent does."""

    def __init__(self) -> None:
        self.entries: tuple[_Entry, ...] = ()
        self._lock = threading.Lock()
        self._panels: WeakSet[ComposePanel] = WeakSet()

    def show_in(self, panel: ComposePanel) -> None:
        """Have a panel show what was sent, and what becomes of it."""
        with self._lock:
            self._panels.add(panel)
        with panel._lock:
            panel._show_history()

    def leave(self, panel: ComposePanel) -> None:
        """Tell a panel no more; ipywidgets keeps it for ever."""
        with self._lock:
            self._panels.discard(panel)

    def take(self, entry: _Entry) -> None:
        """Keep what is known of an SMS now; only on the panels' thread, with no lock."""
        with self._lock:
            others = (earlier for earlier in self.entries if earlier.key != entry.key)
            entries = sorted((*others, entry), key=lambda each: each.began)
            self.entries = tuple(entries[-HISTORY:])
            panels = list(self._panels)
        for panel in panels:
            panel._follow(entry)


_histories: WeakKeyDictionary[Any, _History] = WeakKeyDictionary()


class ComposePanel(PortPanel):
    """Write an SMS, see what it costs, send it and follow what becomes of it.

    The history lists what this gateway's panels sent since the kernel began; everything is in
    `Gateway.outbox`.

    Parameters
    ----------
    gw : Gateway
        From `neogate_lab.connect` or `neogate_lab.demo`.
    port : int, optional
        The port to begin with; default the first that is up.
    confirm_above : int
        An SMS of more segments is only sent after a second press.

    Raises
    ------
    InvalidRequest
        An unknown keyword, no gateway, or a value that can't be used.

    Examples
    --------
    >>> ComposePanel(gw, port=1)  # doctest: +SKIP
    """

    title = "Send an SMS"
    css_class = "neogate-compose"
    lasting = True
    takes = ", port= and confirm_above="

    def __init__(
        self, gw: Gateway, port: int | None = None, confirm_above: int = 3, **unknown: object
    ) -> None:
        if isinstance(confirm_above, bool) or not isinstance(confirm_above, int):
            raise InvalidRequest(
                f"confirm_above must be a whole number of segments, not {confirm_above!r}"
            )
        self._confirm_above = confirm_above
        self._latest = ""  # the key that the button and the message line belong to
        super().__init__(gw, port, unknown)

    def _build(self) -> list[widgets.Widget]:
        self.to_field = text_field("To", f"{self.css_class}-to", placeholder="+79261234567")
        self.text_field = widgets.Textarea(
            description="Text",
            rows=4,
            style={"description_width": LABEL_WIDTH},
            layout=widgets.Layout(width="auto"),
        )
        self.text_field.add_class(f"{self.css_class}-text")
        self.counter = self._html("counter")
        self.warning = self._html("warning", live=True)
        self.send_button = button(
            "Send", "Send this SMS once", f"{self.css_class}-send", button_style="primary"
        )
        self.confirm_button = button(
            "Send it", "Send this SMS, whatever it costs", f"{self.css_class}-confirm"
        )
        self.cancel_button = button(
            "Don't", "Send nothing, and go on writing", f"{self.css_class}-cancel"
        )
        self.confirmation = line(self.confirm_button, self.cancel_button)
        self._pressed_when_typed(self.send_button, self._send_or_confirm)
        self._pressed_when_typed(self.confirm_button, self._confirmed)
        self.cancel_button.on_click(self._pressed(self._not_confirmed))
        for field in (self.to_field, self.text_field, self.port_field):
            field.observe(lambda change: self._edited(), "value")
        self._confirming, self._asked_for = False, ("", "", 0)
        self._count()
        self._update_controls()
        foot = widgets.Layout(justify_content="space-between", margin="0 0 0 54px")
        return [
            line(self.to_field, self.port_field, self.refresh_button),
            self.text_field,
            widgets.HBox(
                [widgets.VBox([self.counter, self.warning]), self.send_button], layout=foot
            ),
        ]

    def _build_below(self) -> list[widgets.Widget]:
        self.history = self._html("history")
        return [self.confirmation, self.history]

    def _begin(self) -> None:
        self._sent.show_in(self)
        super()._begin()

    @property
    def _sent(self) -> _History:
        return _histories.setdefault(self._gw, _History())

    def _instead(self) -> str:
        return "gw.send_sms(to, text, port=1) does without."

    def _update_controls(self) -> None:
        self.send_button.disabled = self._busy or self._retired or self._confirming
        self.confirmation.layout.display = "" if self._confirming else "none"
        for choice in (self.confirm_button, self.cancel_button):
            choice.disabled = self._retired or not self._confirming
        self.to_field.disabled = self.text_field.disabled = self._retired

    def _count(self) -> None:
        text = self.text_field.value
        cost = gsm.segment(text)
        room = cost.capacity * max(cost.count, 1)
        refusal = self._refusal()
        warning = f"can't be sent: {refusal}" if refusal else _warning(text, cost)
        shown = f'<div class="neogate-text neogate-warn">{as_html(warning)}</div>'
        self.warning.value = shown if warning else ""
        self.counter.value = (
            f'<div class="neogate-text neogate-muted">'
            f"{_plural(len(text), 'character')} · "
            f"{_ENCODINGS[cost.encoding]} · {_plural(cost.count if text else 0, 'segment')} · "
            f"{cost.units} of {room}</div>"
        )

    def _refusal(self) -> str:
        """Why this text would be refused; "" if nothing is known against it."""
        text, port = self.text_field.value, self.port_field.value or 1
        number = self.to_field.value.strip()
        if self._refused(number, "-", port):
            number = "0"  # it is being typed; this is the shortest
        return self._refused(number, text, port) if text else ""

    def _refused(self, to: str, text: str, port: int) -> str:
        try:
            self._gw._check_sms(to, text, port)
        except InvalidRequest as error:
            return str(error)
        return ""

    def _edited(self) -> None:
        self._count()
        if self._confirming:
            self._not_confirmed()

    # -- sending ---------------------------------------------------------------------------------
    def _send_or_confirm(self) -> None:
        self._gw._check_sms(*self._written())
        count = gsm.segment(self.text_field.value).count
        if count <= self._confirm_above:
            self._send_sms()
            return
        self._confirming, self._asked_for = True, self._written()
        self._update_controls()
        self._say("plain", f"{count} segments", f"are charged as {count} SMS. Send it?")

    def _confirmed(self) -> None:
        self._confirming = False
        self._update_controls()
        if self._written() == self._asked_for:
            self._send_sms()
        else:  # the page's last letters came with the press: nobody has agreed to them yet
            self._send_or_confirm()

    def _not_confirmed(self) -> None:
        self._confirming = False
        self._update_controls()
        self._say("plain", "not sent")

    def _written(self) -> tuple[str, str, int]:
        return self.to_field.value.strip(), self.text_field.value, self._chosen_port()

    def _send_sms(self) -> None:
        to, text, port = self._written()
        # A key ties the steps below to one SMS: asking again can only return it, never send it.
        key = f"panel-{uuid4().hex}"
        entry = _Entry(key, datetime.now(UTC), to, text, port, gsm.segment(text).count)
        gw, sent = self._gw, self._sent

        async def send(link: AsyncGateway) -> SmsResult:
            return await link.send_sms(to, text, port=port, key=key, progress=told)

        def told(result: SmsResult) -> None:
            known = replace(entry, status=result.status, error=result.error)
            gw._call_later(lambda: sent.take(known))

        def ended(result: SmsResult | None, error: BaseException | None) -> None:
            self._release(key)
            if key == self._latest and not self._retired and error is not None:
                self._say_error(error)

        self._latest = key
        self._set_busy(True)
        self._say("busy", "sending")
        self._ask(send, ended)
        self._ask(lambda link: asyncio.sleep(PATIENCE), lambda *done: self._release(key))

    def _release(self, key: str) -> None:
        if key == self._latest and not self._retired:
            self._set_busy(False)

    # -- what becomes of it ----------------------------------------------------------------------
    def _follow(self, entry: _Entry) -> None:
        with self._lock:
            if self._retired:
                return
            if entry.key == self._latest:
                self._say(*self._meaning(entry.status, entry.error))
                if entry.status == "queued":
                    self._hurry()
            self._show_history()

    def _meaning(self, status: str, error: str = "") -> tuple[Tone, str, str]:
        tone, words = _MEANINGS.get(status, ("plain", ""))
        if status == "queued" and not self._is_up():
            words = "waiting for the connection"
        return tone, status, words or error

    def _look(self) -> float:
        """What a queued SMS waits for changes while nobody tells anything of it."""
        pause = super()._look()
        with self._lock:
            if self._retired or self._said[1] != "queued":
                return pause
            self._say(*self._meaning("queued"))
            return min(pause, LOOK)

    def retire(self, reason: str = "This panel was closed.") -> None:
        """Stop updating and disable the controls; nothing that was sent is withdrawn."""
        with self._lock:
            super().retire(reason)
            self._sent.leave(self)

    def _show_history(self) -> None:
        heads = ("Time (UTC)", "Port", "To", "Segments", "Status", "Text")
        rows = [_row(entry) for entry in reversed(self._sent.entries)]
        self.history.value = table(heads, rows) if rows else ""


def _row(entry: _Entry) -> tuple[str, ...]:
    why = f'<div style="min-width: 14em; white-space: normal">{as_html(entry.error)}</div>'
    return (
        clock_time(entry.began),
        str(entry.port),
        as_html(entry.to),
        str(entry.segments),
        as_html(entry.status) + (why if entry.error else ""),
        as_html(entry.text),
    )


def _warning(text: str, cost: gsm.Segments) -> str:
    """What makes a text dearer than it needs to be; "" if nothing does."""
    if cost.encoding == "ucs2":
        odd = [mark for mark in text if gsm.segment(mark).encoding == "ucs2"]
        # A text in another alphabet has no choice; a stray quotation mark in a Latin one has.
        cheaper = gsm.segment("".join(" " if mark in odd else mark for mark in text)).count
        if len(odd) <= _FEW * len(text) and cheaper < cost.count:
            return (
                f"without {' '.join(dict.fromkeys(odd))} it would be "
                f"{_plural(cheaper, 'segment')} of GSM-7, not {cost.count}"
            )
    left = cost.capacity * cost.count - cost.units
    if cost.count > 1:
        return f"charged as {cost.count} SMS"
    if text and left < _NEARLY_FULL:
        return f"{_plural(left, 'unit')} left; beyond that it is charged as 2 SMS"
    return ""


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
