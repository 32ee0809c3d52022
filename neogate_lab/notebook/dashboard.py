"""Dashboard: the four panels in tabs under the state of the connection; each does its own work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from neogate_lab.notebook.compose import ComposePanel
from neogate_lab.notebook.inbox import InboxPanel
from neogate_lab.notebook.monitor import SignalPanel
from neogate_lab.notebook.panel import Panel, Tone, among, as_html, button
from neogate_lab.notebook.ussd import UssdPanel

if TYPE_CHECKING:
    from neogate_lab.gateway import Gateway

__all__ = ["Dashboard"]

LOOK = 0.5
"""Seconds between looks at the connection."""


class Dashboard(Panel):
    """Signal, inbox, SMS and USSD of one gateway in tabs, under the state of its connection.

    Parameters
    ----------
    gw : Gateway
        From `neogate_lab.connect` or `neogate_lab.demo`.

    Raises
    ------
    InvalidRequest
        An unknown keyword, or no gateway.

    Examples
    --------
    >>> Dashboard(gw)  # doctest: +SKIP
    """

    title = "NeoGate"
    css_class = "neogate-dashboard"
    takes = " alone"

    def __init__(self, gw: Gateway, **unknown: object) -> None:
        self._state = ""
        super().__init__(gw, None, unknown)
        self.layout.max_width = "1024px"

    def _build(self) -> list[widgets.Widget]:
        self.connection = self._html("connection", live=True)
        self.reconnect_button = button(
            "Reconnect", "Try again to connect, now", f"{self.css_class}-reconnect"
        )
        self.reconnect_button.on_click(self._pressed(self._reconnect))
        self.reconnect_button.layout.flex = "0 0 auto"
        self.plan = self._html("plan")  # counts down, which nobody wants read out
        return [
            widgets.HBox(
                [widgets.VBox([self.connection, self.plan]), self.reconnect_button],
                layout=widgets.Layout(justify_content="space-between"),
            )
        ]

    def _build_below(self) -> list[widgets.Widget]:
        with among("dashboard"):
            self.signal = SignalPanel(self._gw)
            self.inbox = InboxPanel(self._gw)
            self.compose = ComposePanel(self._gw)
            self.ussd = UssdPanel(self._gw)
        self._panels: tuple[Panel, ...] = (self.signal, self.inbox, self.compose, self.ussd)
        for panel in self._panels:
            panel.children[0].layout.display = "none"  # the tab has its name
        self.tabs = widgets.Tab(
            self._panels, titles=[panel.title for panel in self._panels], selected_index=0
        )
        self.tabs.add_class(f"{self.css_class}-tabs")
        self._show_state()
        return [self.tabs]

    def _update_controls(self) -> None:
        self.reconnect_button.disabled = self._busy or self._retired

    def _instead(self) -> str:
        return "gw shows the same state, and each of its verbs does without."

    def _snapshot(self) -> str:
        self.signal._known.wait(LOOK)
        return f"{self.connection.value}{self.signal._snapshot()}"

    def _lost(self, error: BaseException) -> None:
        self._show_state()
        super()._lost(error)

    def _look(self) -> float:
        with self._lock:
            if not self._retired:
                self._show_state()
        return LOOK

    def _show_state(self) -> None:
        state, plan = self._gw.status, ""
        if state.startswith("down: "):
            state, _, plan = state.rpartition("; ")
        shown = f'<div class="neogate-text neogate-muted">{as_html(plan)}</div>' if plan else ""
        self.plan.value, self.plan.layout.display = shown, "" if plan else "none"
        if state == self._state:
            return
        self._state = state
        self._known.set()
        tone: Tone = "good" if state == "connected" else "bad"
        sign = {"good": "✓", "bad": "✗"}[tone]
        self.connection.value = (
            f'<div class="neogate-text neogate-{tone}">'
            f'<i aria-hidden="true">{sign}</i> <b>{as_html(state)}</b></div>'
        )

    def _reconnect(self) -> None:
        def then(_: None, error: BaseException | None) -> None:
            if self._retired:
                return
            self._show_state()
            self._set_busy(False)
            if error is not None:
                self._say_error(error)
            else:
                self._say("plain", "")

        self._set_busy(True)
        self._say("busy", "reconnecting")
        self._ask(lambda link: link.reconnect(), then)

    def retire(self, reason: str = "This panel was closed.") -> None:
        """Retire its panels with it."""
        with self._lock:
            for panel in self._panels:
                panel.retire(reason)
            super().retire(reason)
