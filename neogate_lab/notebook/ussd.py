"""UssdPanel: dial a code, read the answer, walk the menu it opens; outcomes in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from neogate_lab.errors import InvalidRequest
from neogate_lab.notebook.panel import (
    Button,
    Tone,
    as_html,
    button,
    clock_time,
    line,
    table,
    text_field,
)
from neogate_lab.notebook.ports import PortPanel

if TYPE_CHECKING:
    from neogate_lab.gateway import Gateway
    from neogate_lab.link.async_gateway import AsyncGateway
    from neogate_lab.link.ussd import AsyncUssdSession, UssdProgress, UssdStage
    from neogate_lab.protocol.records import UssdReply

    _Exchange = Callable[
        [AsyncGateway, UssdProgress], Coroutine[Any, Any, tuple[AsyncUssdSession, UssdReply]]
    ]

__all__ = ["UssdPanel"]

TIMEOUT = 30.0
"""Seconds that the network may take, the gateway's own default (WIRE §9)."""

TURNS = 100

PRESETS = ("*100#", "*101#", "*102#", "*111#")
"""Where many operators tell the balance or begin their menu."""

_UNSENT = "nothing was sent: it still waited for the port"
_STOPPED = (
    "the code was sent, and a USSD can't be cancelled: the port stays busy until the network "
    "answers or gives up, and a late answer is lost"
)

_MEANINGS: dict[str, tuple[Tone, str, str]] = {
    "done": ("good", "answered", ""),
    "menu": ("good", "menu", "the network waits for your choice"),
    "ended": ("plain", "ended", "the network closed the session"),
    "other_client": ("bad", "taken", "another client of this SIM got the answer"),
    "not_supported": ("bad", "not supported", "the network does not know this operation"),
    "network_timeout": ("bad", "network timeout", "the network gave up waiting"),
    "failed": ("bad", "failed", "the gateway could not send it; is the port registered?"),
    "busy": ("bad", "busy", "the port is still occupied by an earlier USSD; try again later"),
    "timeout": (
        "bad",
        "timeout",
        "no answer in time; a USSD can't be cancelled, so the port stays busy until the network "
        "lets go",
    ),
}


@dataclass(frozen=True, slots=True)
class _Turn:
    """A line of the transcript."""

    time: datetime
    port: int
    sent: str
    outcome: str
    text: str = ""


class UssdPanel(PortPanel):
    """Dial a USSD code, read the answer, and walk the menu that it opens.

    While a menu is open the port belongs to this panel; "Leave" gives it back. Everything is in
    `Gateway.ussd_log`.

    Parameters
    ----------
    gw : Gateway
        From `neogate_lab.connect` or `neogate_lab.demo`.
    port : int, optional
        The port to begin with; default the first that is up.
    presets : iterable of str, or dict of str to str
        Codes to choose from, or names and their codes: ``{"balance": "*100#"}``. What is dialled
        joins them.

    Raises
    ------
    InvalidRequest
        An unknown keyword, no gateway, or a value that can't be used.

    Examples
    --------
    >>> UssdPanel(gw, port=1)  # doctest: +SKIP
    """

    title = "USSD"
    css_class = "neogate-ussd"
    lasting = True
    takes = ", port= and presets="

    def __init__(
        self,
        gw: Gateway,
        port: int | None = None,
        presets: Iterable[str] | Mapping[str, str] = PRESETS,
        **unknown: object,
    ) -> None:
        self._presets = _named(presets)
        self._waiting: asyncio.Task[tuple[AsyncUssdSession, UssdReply]] | None = None
        self._stopping = False
        self._session: AsyncUssdSession | None = None
        self._question: UssdReply | None = None  # of the menu that is open
        self._turns: list[_Turn] = []
        super().__init__(gw, port, unknown)

    def _build(self) -> list[widgets.Widget]:
        self.code_field = text_field("Code", f"{self.css_class}-code", placeholder="*100#")
        self.preset_field = widgets.Dropdown(
            description="Presets",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="230px"),
        )
        self.preset_field.add_class(f"{self.css_class}-presets")
        self._offer_presets()
        self.preset_field.observe(self._take_preset, "value")
        self.send_button = button(
            "Dial", "Send this code", f"{self.css_class}-send", button_style="primary"
        )
        self.stop_button = button(
            "Stop waiting",
            "Wait no longer; a USSD that was sent can't be cancelled",
            f"{self.css_class}-stop",
        )
        self._pressed_when_typed(self.send_button, self._dial, self.code_field)
        self.stop_button.on_click(self._pressed(self._stop_waiting))
        return [
            line(self.code_field, self.preset_field),
            line(self.port_field, self.refresh_button, self.send_button, self.stop_button),
        ]

    def _build_below(self) -> list[widgets.Widget]:
        self.answer = self._html("answer", live=True)
        self.choices = widgets.VBox(
            layout=widgets.Layout(align_items="flex-start", margin="0 0 0 10px")
        )
        self.reply_field = text_field("Reply", f"{self.css_class}-reply", placeholder="1")
        self.reply_button = button(
            "Reply", "Send this answer to the menu", f"{self.css_class}-reply-send"
        )
        self.leave_button = button(
            "Leave",
            "Give the port back; the network closes the menu by itself",
            f"{self.css_class}-leave",
        )
        self.transcript = self._html("transcript")
        self.choices.add_class(f"{self.css_class}-choices")
        self._pressed_when_typed(self.reply_button, self._reply, self.reply_field)
        self.leave_button.on_click(self._pressed(self._leave))
        self._menu = widgets.VBox(
            [self.choices, line(self.reply_field, self.reply_button, self.leave_button)]
        )
        self._update_controls()
        return [self.answer, self._menu, self.transcript]

    def _update_controls(self) -> None:
        idle = not (self._busy or self._retired)
        in_menu = self._session is not None
        self.send_button.disabled = not idle
        self.stop_button.disabled = self._retired or self._waiting is None or self._stopping
        self.code_field.disabled = self.preset_field.disabled = self._retired
        # A menu belongs to the port that opened it.
        self.port_field.disabled = self.refresh_button.disabled = not idle or in_menu
        self._menu.layout.display = "" if in_menu else "none"
        self.reply_field.disabled = self._retired
        for control in (self.reply_button, self.leave_button, *self.choices.children):
            control.disabled = not (idle and in_menu)

    def _instead(self) -> str:
        return 'gw.ussd("*100#", port=1) and gw.ussd_session(port=1) do without.'

    # -- presets ---------------------------------------------------------------------------------
    def _offer_presets(self) -> None:
        self.preset_field.options = [("choose …", ""), *self._presets.items()]
        self.preset_field.index = 0

    def _take_preset(self, change: Mapping[str, Any]) -> None:
        if change["new"]:
            self.code_field.value = change["new"]
            self.preset_field.value = ""  # so that the same can be chosen again

    def _remember(self, code: str) -> None:
        if code not in self._presets.values():
            self._presets[code] = code
            self._offer_presets()

    # -- talking ---------------------------------------------------------------------------------
    def _dial(self) -> None:
        code, port, earlier = self.code_field.value.strip(), self._chosen_port(), self._session

        async def dial(
            link: AsyncGateway, told: UssdProgress
        ) -> tuple[AsyncUssdSession, UssdReply]:
            session = link.ussd_session(port)
            if earlier is not None:
                earlier.close()
            try:
                session.open()
                return session, await _say_in(session, code, told)
            except InvalidRequest:
                session.close()
                if earlier is not None:  # nothing was sent, so its menu is still there
                    earlier.open()
                raise

        self._exchange(dial, code, port)

    def _reply(self) -> None:
        self._answer_menu(self.reply_field.value.strip())

    def _answer_menu(self, text: str) -> None:
        session, port = self._session, self._chosen_port()
        if session is None:
            raise InvalidRequest("no menu is open: dial a code first")

        async def answer(
            link: AsyncGateway, told: UssdProgress
        ) -> tuple[AsyncUssdSession, UssdReply]:
            return session, await _say_in(session, text, told)

        self._exchange(answer, text, port)

    def _exchange(self, make: _Exchange, sent: str, port: int) -> None:
        began = datetime.now(UTC)
        stages: list[UssdStage] = []

        def told(stage: UssdStage) -> None:
            stages.append(stage)
            self._later(lambda: self._say_stage(stage))

        async def stoppable(link: AsyncGateway) -> tuple[AsyncUssdSession, UssdReply] | None:
            self._waiting = waiting = asyncio.ensure_future(make(link, told))
            self._later(self._update_controls)
            try:
                return await waiting
            except asyncio.CancelledError:
                if not self._stopping:
                    waiting.cancel()
                    raise
                return None

        def then(
            result: tuple[AsyncUssdSession, UssdReply] | None, error: BaseException | None
        ) -> None:
            stopped = "stopped" if "sent" in stages else "not sent"
            self._waiting, self._stopping = None, False
            if result is not None:
                session, reply = result
                if sent.startswith(("*", "#")):
                    self._remember(sent)
                self._session = session if reply.menu else None
                self._turns.append(
                    _Turn(began, port, sent, _MEANINGS[reply.outcome][1], reply.text)
                )
            elif not isinstance(error, InvalidRequest):
                self._session = None
                self._turns.append(_Turn(began, port, sent, "error" if error else stopped))
            if self._retired:
                self._give_port_back()
                return
            if result is not None:
                self._show(result[1])
            else:
                if error is not None:
                    self._say_error(error)
                else:
                    self._say("plain", "stopped waiting", _STOPPED if "sent" in stages else _UNSENT)
                self._show_answer(self._question if self._session is not None else None)
            self._show_transcript()
            self._set_busy(False)

        self._set_busy(True)
        self._show_answer(None)  # it would seem to belong to what is sent now, perhaps elsewhere
        self._say("busy", "waiting", "for the port")
        self._ask(stoppable, then)

    def _say_stage(self, stage: UssdStage) -> None:
        words = {
            "busy": "for the port, which is still busy with an earlier USSD",
            "sent": f"for the network, up to {TIMEOUT:g} s",
        }
        if not self._retired:
            self._say("busy", "waiting", words[stage])

    def _stop_waiting(self) -> None:
        self._stopping = True
        self._update_controls()

        async def stop(link: AsyncGateway) -> None:
            if self._waiting is not None:
                self._waiting.cancel()

        self._ask(stop, lambda result, error: None)

    def _leave(self) -> None:
        self._give_port_back()
        self._show_choices({})
        self._update_controls()
        self._say("plain", "left", "the port is free again; the network closes the menu by itself")

    def _give_port_back(self) -> None:
        session, self._session = self._session, None

        async def leave(link: AsyncGateway) -> None:
            if session is not None:
                session.close()

        if session is not None:
            self._ask(leave, lambda result, error: None)

    def retire(self, reason: str = "This panel was closed.") -> None:
        """Stop updating, disable the controls, and give back the port."""
        with self._lock:
            if not self._busy:  # else when its answer is there
                self._give_port_back()
            super().retire(reason)

    # -- showing ---------------------------------------------------------------------------------
    def _show(self, reply: UssdReply) -> None:
        tone, status, words = _MEANINGS[reply.outcome]
        if reply.doubtful:
            tone, words = "bad", "this may be the late answer to an earlier code"
        self._say(tone, status, words)
        self.reply_field.value = ""
        self._question = reply
        self._show_answer(reply)

    def _show_answer(self, reply: UssdReply | None) -> None:
        text = "" if reply is None else reply.text
        shown = f'<div class="neogate-text neogate-answer">{as_html(text)}</div>'
        self.answer.value = shown if text else ""
        self._show_choices(reply.choices if reply is not None and reply.menu else {})

    def _show_choices(self, choices: dict[str, str]) -> None:
        earlier = self.choices.children
        self.choices.children = tuple(self._choice(*item) for item in choices.items())
        for choice in earlier:
            choice.close()

    def _choice(self, key: str, text: str) -> Button:
        # A button's description is set as text, neither HTML nor TeX.
        button = Button(
            description=f"{key}  {text}",
            tooltip=f"Answer {key}",
            layout=widgets.Layout(width="auto", max_width="100%"),
        )
        button.on_click(self._pressed(lambda: self._answer_menu(key)))
        return button

    def _show_transcript(self) -> None:
        self.transcript.value = table(
            ("Time (UTC)", "Port", "Sent", "Outcome", "Answer"),
            [
                (
                    clock_time(turn.time),
                    str(turn.port),
                    as_html(turn.sent),
                    as_html(turn.outcome),
                    as_html(turn.text),
                )
                for turn in reversed(self._turns[-TURNS:])
            ],
        )


def _named(presets: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(presets, str) or not isinstance(presets, Iterable):
        raise InvalidRequest('presets takes codes, ["*100#"], or names and codes, as a dict')
    named = dict(presets) if isinstance(presets, Mapping) else {code: code for code in presets}
    for code in named.values():
        if not (isinstance(code, str) and code.strip()):
            raise InvalidRequest(f"a preset must be a USSD code as text, not {code!r}")
    return named


async def _say_in(session: AsyncUssdSession, text: str, told: UssdProgress) -> UssdReply:
    """One exchange; the port is kept only while a menu is open."""
    try:
        reply = await session.send(text, timeout=TIMEOUT, progress=told)
    except InvalidRequest:
        raise
    except BaseException:
        session.close()
        raise
    if not reply.menu:
        session.close()
    return reply
