"""A panel with a list of ports: operator, signal and state beside each; never what it is for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import ipywidgets as widgets
import traitlets

from neogate_lab.analysis.quality import quality
from neogate_lab.errors import ConnectionLost, InvalidRequest
from neogate_lab.notebook.panel import LABEL_WIDTH, Panel, Tone, as_html, button, table

if TYPE_CHECKING:
    from neogate_lab.link.async_gateway import AsyncGateway
    from neogate_lab.protocol.records import SpanDetail, SpanStatus

__all__ = ["ALL", "PortPanel", "dbm"]

ALL = 0
"""The choice of no port in particular."""

_LOOK = 1.0
"""Seconds between looks for a connection that the ports can be asked for on."""
_ASK_AGAIN = 5.0
"""Seconds until they are asked for again when the question failed on a connection that is up."""

_Asked = dict[str, "asyncio.Task[Any]"]
_asked: WeakKeyDictionary[Any, _Asked] = WeakKeyDictionary()


def dbm(value: float, bound: str = "") -> str:
    """A signal strength as people write it; "" and a bound that is none are left out."""
    signs = {"<=": "≤ ", ">=": "≥ "}
    return f"{signs.get(bound, '')}{value:g}".replace("-", "−") + " dBm"


class _PortField(widgets.Dropdown):  # type: ignore[misc]
    """A list that changes what is said of its ports, and not which one is chosen.

    One of ipywidgets chooses the first option when it gets new ones, and tells it.
    """

    _wanted: int | None = None

    def offer(self, options: list[tuple[str, int | None]], wanted: int | None) -> None:
        """Change the options, with one of them chosen."""
        self._wanted = wanted
        self.options = options
        self.value = wanted

    @traitlets.observe("options")
    def _propagate_options(self, change: object) -> None:
        values = [value for _, value in self._options_full]
        if change is None or self._wanted not in values:
            super()._propagate_options(change)
            return
        place = values.index(self._wanted)
        with self.hold_sync():
            self.set_trait("_options_labels", tuple(label for label, _ in self._options_full))
            self._options_values = tuple(values)
            self.index = place
            self.label, self.value = self._options_full[place]


class PortPanel(Panel):
    """Base of the panels that have a list of ports."""

    every_port = False
    """Whether all ports together can be chosen, too."""

    def _prepare(self, port: int | None) -> None:
        self._ports: list[tuple[int, SpanStatus]] = []
        self._details: dict[int, SpanDetail] = {}
        self._ports_failed = self._asking = False
        self._ask_again_at = 0.0  # by the monotonic clock
        self._trouble: tuple[Tone, str, str] | None = None  # what it said of that failure
        first = [("all", ALL)] if self.every_port else [("asking …", None)]
        self.port_field = _PortField(
            description="Port",
            options=first if port is None else [(str(port), port)],
            style={"description_width": LABEL_WIDTH},
            layout=widgets.Layout(width="330px"),
        )
        self.refresh_button = button(
            "Refresh", "Ask the gateway for its ports again", f"{self.css_class}-refresh"
        )
        self.port_field.add_class(f"{self.css_class}-port")
        self.refresh_button.on_click(self._pressed(self._ask_for_ports))

    def _begin(self) -> None:
        self._ask_for_ports()
        super()._begin()

    def _look(self) -> float:
        return self._ask_again_if_up() or super()._look()

    def _ask_again_if_up(self) -> float:
        """Ask for the ports again if that failed and may succeed now; a part of every `_look`.

        Returns
        -------
        float
            Seconds until the next look that this needs; 0 for none.
        """
        with self._lock:
            if self._retired or not self._ports_failed:
                return 0.0
            due = not self._asking and time.monotonic() >= self._ask_again_at
            if due and self._is_up():
                self._ask_for_ports(by_itself=True)
            return _LOOK

    def _is_up(self) -> bool:
        return self._gw.status.startswith("connected")

    def _chosen_port(self) -> int:
        port = self.port_field.value
        if port is None and self._ports:
            raise InvalidRequest("no port is chosen: choose one in the list")
        if port is None:
            raise InvalidRequest("the ports are not known yet: press Refresh")
        return int(port)

    def _ask_for_ports(self, *, by_itself: bool = False) -> None:
        async def ask(link: AsyncGateway) -> list[tuple[int, SpanStatus]]:
            statuses = await _together(link, "spans", link.spans)
            return [(link.port_of(status.span), status) for status in statuses]

        self._asking = self.refresh_button.disabled = True
        self._ask(ask, lambda ports, error: self._take_ports(ports, error, by_itself))

    def _take_ports(
        self,
        ports: list[tuple[int, SpanStatus]] | None,
        error: BaseException | None,
        by_itself: bool,
    ) -> None:
        self._asking = False
        if self._retired:
            return
        self.refresh_button.disabled = False
        self._update_controls()
        if ports is None:
            self._known.set()
            if self.port_field.value is None:
                self.port_field.offer([("not known", None)], None)
            if error is not None:
                self._tell(error, by_itself)
                self._have_asked_again()
            return
        self._ports_failed = False
        if self._said == self._trouble:
            self._say("plain", "")
        self._ports = ports
        usable = [port for port, status in ports if status.sim is not False and status.up]
        there = [port for port, _ in ports]
        chosen = self.port_field.value
        best = ALL if self.every_port else next(iter(usable or there), None)
        if chosen is None:
            chosen = best
        elif chosen != ALL and chosen not in there:
            self._say(
                "bad",
                "error:",
                f"{self._gw.name} has no port {chosen}; it has {', '.join(map(str, there))}",
            )
            chosen = ALL if self.every_port else None  # what is sent by another costs money, too
        self._offer(chosen)
        self._ask_for_details(by_itself)

    def _tell(self, error: BaseException, by_itself: bool) -> None:
        """Say why nothing is known, but nothing that nobody asked for in place of other words."""
        if not by_itself or self._said == self._trouble or not self._said[1]:
            self._say_error(error)
            self._trouble = self._said

    def _have_asked_again(self) -> None:
        self._ports_failed = True
        self._ask_again_at = time.monotonic() + (_ASK_AGAIN if self._is_up() else 0.0)
        self._hurry()

    def _ask_for_details(self, by_itself: bool) -> None:
        """Operator and signal come after the ports: that takes a question to each of them."""

        async def ask(link: AsyncGateway) -> dict[int, SpanDetail]:
            details = await _together(link, "diagnostics", link.diagnostics)
            return {link.port_of(detail.span): detail for detail in details}

        def take(details: dict[int, SpanDetail] | None, error: BaseException | None) -> None:
            self._known.set()
            if self._retired:
                return
            if details is None:
                if error is not None:
                    self._tell(error, by_itself)
                if isinstance(error, ConnectionLost):
                    self._have_asked_again()
                return
            self._details = details
            self._offer(self.port_field.value)

        self._ask(ask, take)

    def _offer(self, chosen: int | None) -> None:
        options: list[tuple[str, int | None]] = [
            (self._port_label(port, status), port) for port, status in self._ports
        ]
        if self.every_port:
            options.insert(0, ("all", ALL))
        elif chosen is None and options:
            options.insert(0, ("choose …", None))
        self.port_field.offer(options or [("none", None)], chosen)

    def _port_label(self, port: int, status: SpanStatus) -> str:
        return f"{port}: {' · '.join(self._port_words(port, status))}"

    def _port_words(self, port: int, status: SpanStatus) -> list[str]:
        words = ["power off" if status.power is False else status.status or "no status"]
        detail = self._details.get(port)
        if detail is not None and status.sim is not False and status.power is not False:
            # The signal first: a page cuts what does not fit, and operators have long names.
            signal = quality(detail.rssi_dbm)
            value = detail.rssi_dbm
            words.append(signal if value is None else f"{dbm(value, detail.rssi_bound)}, {signal}")
            words.append(detail.network or detail.operator)
        return [word for word in words if word]

    def _snapshot(self) -> str:
        rows: list[tuple[str, ...]] = [
            (str(port), as_html(" · ".join(self._port_words(port, status))))
            for port, status in self._ports
        ]
        return table(("Port", "State"), rows) if rows else ""

    def retire(self, reason: str = "This panel was closed.") -> None:
        """Stop updating and disable the controls; nothing that was sent is withdrawn."""
        with self._lock:
            super().retire(reason)
            self.port_field.disabled = self.refresh_button.disabled = True


async def _together(
    link: AsyncGateway, what: str, ask: Callable[[], Coroutine[Any, Any, list[Any]]]
) -> list[Any]:
    """Ask once for all panels that want the same at the same time."""
    tasks = _asked.setdefault(link, {})
    task = tasks.get(what)
    if task is None or task.done():
        task = tasks[what] = link.keep(ask())
    return cast("list[Any]", await asyncio.shield(task))
