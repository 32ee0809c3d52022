"""InboxPanel: received SMS as they come, filtered, opened, exported; it sends nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import ipywidgets as widgets

from neogate_lab.errors import GatewayClosed
from neogate_lab.history.export import export
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.notebook.exporting import ExportRow
from neogate_lab.notebook.panel import Button, as_html, button, line, table, text_field
from neogate_lab.notebook.ports import ALL, PortPanel
from neogate_lab.times import Moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from neogate_lab.gateway import Gateway

__all__ = ["InboxPanel"]

PAGE = 10
PREVIEW = 160
"""Characters of a text that its row shows."""


@dataclass(slots=True)
class _Marks:
    """Which messages of a gateway were there before its first panel, or were opened since."""

    seen: set[int] = field(default_factory=set)
    begun: bool = False


_marks: WeakKeyDictionary[Any, _Marks] = WeakKeyDictionary()


class InboxPanel(PortPanel):
    """Received SMS as they come in: filter them, open one, copy its one-time code, export.

    Unread are those that came after the first panel of this gateway was made and were not opened
    in one; that is remembered as long as the kernel runs.

    Parameters
    ----------
    gw : Gateway
        From `neogate_lab.connect` or `neogate_lab.demo`.
    port : int, optional
        The port to begin with; default all.
    since : date, datetime, timedelta or str
        Show no older ones: a time, or how long ago.

    Raises
    ------
    InvalidRequest
        An unknown keyword, no gateway, or a value that can't be used.

    Examples
    --------
    >>> InboxPanel(gw, since="7d")  # doctest: +SKIP
    """

    title = "Inbox"
    css_class = "neogate-inbox"
    takes = ", port= and since="
    every_port = True

    def __init__(
        self, gw: Gateway, port: int | None = None, since: Moment = "30d", **unknown: object
    ) -> None:
        self._since = since
        self._messages: dict[int, ReceivedSms] = {}  # by row_id
        self._shown: list[ReceivedSms] = []  # newest first, as filtered
        self._page = 0
        self._open: int | None = None
        self._undo: Callable[[], None] | None = None
        self._news = False
        super().__init__(gw, port, unknown)

    def _build(self) -> list[widgets.Widget]:
        self.sender_field = text_field("Sender", f"{self.css_class}-sender", "200px")
        self.text_field = text_field("Text", f"{self.css_class}-contains", "200px")
        self.unread_field = widgets.Checkbox(
            description="unread only", indent=False, layout=widgets.Layout(width="120px")
        )
        self.unread_field.add_class(f"{self.css_class}-unread")
        self.sender_field.placeholder = self.text_field.placeholder = "contains …"
        for control in (self.sender_field, self.text_field, self.unread_field, self.port_field):
            control.observe(lambda change: self._filter(), "value")
        return [
            line(self.port_field, self.refresh_button),
            line(self.sender_field, self.text_field, self.unread_field),
        ]

    def _build_below(self) -> list[widgets.Widget]:
        self._rows = [_Row(self, place) for place in range(PAGE)]
        self.list = widgets.VBox([row.box for row in self._rows])
        self.list.add_class(f"{self.css_class}-list")
        self.count = self._html("count", live=True)
        self.newer_button = button("Newer", "Show newer messages", f"{self.css_class}-newer")
        self.older_button = button("Older", "Show older messages", f"{self.css_class}-older")
        self.read_button = button(
            "Mark all read", "Mark every message as read", f"{self.css_class}-read"
        )
        self.newer_button.on_click(self._pressed(lambda: self._turn(-1)))
        self.older_button.on_click(self._pressed(lambda: self._turn(1)))
        self.read_button.on_click(self._pressed(self._mark_read))
        self.message = self._html("message", live=True)
        self.code_field = text_field(
            "Code", f"{self.css_class}-code", "200px", tooltip="The one-time code: select and copy"
        )
        # Not read-only, for then JupyterLab takes keys for commands; but what is typed is undone.
        self.code_field.observe(lambda change: self._show_code(), "value")
        self.export_row = ExportRow(self, "messages", self._chosen)
        self._draw()
        return [
            self.count,
            self.list,
            line(self.newer_button, self.older_button, self.read_button),
            self.message,
            self.code_field,
            self.export_row,
        ]

    def _begin(self) -> None:
        self._say("busy", "reading")
        with suppress(GatewayClosed):  # which is told below
            self._undo = self._gw._listen(self._arrived)
        self._in_thread(lambda: _messages_of(self._gw.inbox(since=self._since)), self._take)
        super()._begin()

    def _update_controls(self) -> None:
        alive = not self._retired
        self.newer_button.disabled = not alive or self._page == 0
        self.older_button.disabled = not alive or (self._page + 1) * PAGE >= len(self._shown)
        self.read_button.disabled = not alive or not any(map(self._unread, self._messages.values()))
        self.export_row.enable(alive)
        for control in (self.sender_field, self.text_field, self.unread_field):
            control.disabled = not alive
        for row in self._rows:
            row.button.disabled = not alive

    def _instead(self) -> str:
        return "gw.inbox() does without."

    def _snapshot(self) -> str:
        # A panel's output is saved with the notebook: what strangers wrote stays out of it.
        latest = sorted(self._messages.values(), key=_age)[:PAGE]
        rows: list[tuple[str, ...]] = [(_when(sms), _port(sms), _size(sms)) for sms in latest]
        return table(("Received (UTC)", "Port", "Length"), rows) if rows else "<p>No messages.</p>"

    # -- messages --------------------------------------------------------------------------------
    @property
    def _seen(self) -> _Marks:
        return _marks.setdefault(self._gw, _Marks())

    def _take(self, messages: list[ReceivedSms] | None, error: BaseException | None) -> None:
        self._known.set()
        if self._retired:
            return
        if messages is None:
            if error is not None:
                self._say_error(error)
            return
        marks = self._seen
        if not marks.begun:
            marks.begun = True
            marks.seen |= {_id(sms) for sms in messages if _id(sms) not in self._messages}
        self._messages = {_id(sms): sms for sms in messages} | self._messages
        if self._said[1] == "reading":
            self._say("plain", "")
        self._filter(turn_back=False)

    def _look(self) -> float:
        # Many may come at once, and all rows are drawn anew.
        with self._lock:
            if self._news and not self._retired:
                self._news = False
                self._filter(turn_back=False)
        return super()._look()

    def _arrived(self, sms: ReceivedSms) -> None:
        with self._lock:
            if self._retired or sms.row_id is None:
                return
            new = sms.row_id not in self._messages
            self._messages[sms.row_id] = sms
            if new:
                self._say("good", "new message", f"on port {sms.port}")
            self._news = True
        self._hurry()

    def _unread(self, sms: ReceivedSms) -> bool:
        return _id(sms) not in self._seen.seen

    def _mark_read(self) -> None:
        self._seen.seen.update(self._messages)
        self._filter()

    def _filter(self, *, turn_back: bool = True) -> None:
        with self._lock:
            port, sender, text = self._wanted()
            unread = self.unread_field.value
            found = (
                sms
                for sms in self._messages.values()
                if (port == ALL or sms.port == port)
                and sender in sms.sender.casefold()
                and text in sms.text.casefold()
                and (not unread or self._unread(sms) or _id(sms) == self._open)
            )
            self._shown = sorted(found, key=_age)
            self._page = 0 if turn_back else min(self._page, max(len(self._shown) - 1, 0) // PAGE)
            self._draw()
            self._update_controls()

    def _wanted(self) -> tuple[int, str, str]:
        sender = self.sender_field.value.strip().casefold()
        return self.port_field.value or ALL, sender, self.text_field.value.strip().casefold()

    def _turn(self, pages: int) -> None:
        self._page += pages
        self._draw()
        self._update_controls()

    def _press(self, place: int) -> None:
        sms = self._shown[self._page * PAGE + place]
        self._open = _id(sms)
        self._seen.seen.add(self._open)
        self._filter(turn_back=False)

    def _chosen(self) -> Callable[[str], Path | str]:
        wanted = {_id(sms) for sms in self._shown}

        def write(path: str) -> Path | str:
            frame = self._gw.inbox()
            chosen = frame[frame["row_id"].isin(wanted)]
            return export(chosen, path, "messages", progress=False)

        return write

    # -- showing ---------------------------------------------------------------------------------
    def _draw(self) -> None:
        start = self._page * PAGE
        for place, row in enumerate(self._rows):
            here = self._shown[start + place : start + place + 1]
            row.show(here[0] if here else None)
        unread = sum(map(self._unread, self._messages.values()))
        many = len(self._shown)
        span = f"{start + 1}–{min(start + PAGE, many)} of {many}" if many else "no messages"
        hidden = len(self._messages) - many
        words = [
            span,
            f"{unread} unread",
            "times in UTC",
            *([f"{hidden} filtered out"] if hidden else []),
        ]
        self.count.value = f'<div class="neogate-text neogate-muted">{" · ".join(words)}</div>'
        self._show_message()

    def _show_message(self) -> None:
        sms = None if self._open is None else self._messages.get(self._open)
        if sms is None:
            self.message.value = ""
        else:
            flaw = f" · {sms.flaw}" if sms.flaw else ""
            self.message.value = (
                f'<div class="neogate-text neogate-answer"><span class="neogate-muted">'
                f"{as_html(sms.sender)} · port {_port(sms)} · {_when(sms)} UTC{flaw}</span>\n"
                f"{as_html(sms.text)}</div>"
            )
        self._show_code()

    def _show_code(self) -> None:
        sms = None if self._open is None else self._messages.get(self._open)
        code = "" if sms is None else sms.code
        self.code_field.value = code
        self.code_field.layout.display = "" if code else "none"

    def retire(self, reason: str = "This panel was closed.") -> None:
        """Stop listening and disable the controls."""
        with self._lock:
            if self._undo is not None:
                undo, self._undo = self._undo, None
                undo()
            super().retire(reason)


class _Row:
    """A line of the list: a button that opens the message, and what it is about."""

    def __init__(self, panel: InboxPanel, place: int) -> None:
        self._panel = panel
        self.button = Button(
            tooltip="Open this message", layout=widgets.Layout(width="158px", flex="0 0 auto")
        )
        self.button.add_class(f"{panel.css_class}-open")
        self.button.on_click(panel._pressed(lambda: panel._press(place)))
        self.text = widgets.HTML(layout=widgets.Layout(margin="2px 8px", flex="1 1 auto"))
        self.box = widgets.HBox([self.button, self.text])
        self.box.add_class("neogate-row")

    def show(self, sms: ReceivedSms | None) -> None:
        self.box.layout.display = "none" if sms is None else ""
        if sms is None:
            return
        unread = self._panel._unread(sms)
        self.button.description = ("● " if unread else "") + _when(sms)[5:]
        self.button.tooltip = "Open this unread message" if unread else "Open this message"
        self.button.button_style = "primary" if _id(sms) == self._panel._open else ""
        weight = ' class="neogate-unread"' if unread else ""
        preview = sms.text if len(sms.text) <= PREVIEW else f"{sms.text[:PREVIEW]}…"
        self.text.value = (
            f'<div class="neogate-preview"><span{weight}>{as_html(sms.sender)}</span> '
            f'<span class="neogate-muted">port {_port(sms)}</span> '
            f"{as_html(' '.join(preview.split()))}</div>"
        )


def _id(sms: ReceivedSms) -> int:
    return -1 if sms.row_id is None else sms.row_id


def _age(sms: ReceivedSms) -> tuple[float, int]:
    return -sms.received_at.timestamp(), -_id(sms)


def _when(sms: ReceivedSms) -> str:
    return f"{sms.received_at:%Y-%m-%d %H:%M:%S}"


def _port(sms: ReceivedSms) -> str:
    return "?" if sms.port is None else str(sms.port)


def _size(sms: ReceivedSms) -> str:
    return f"{len(sms.text)} characters"


def _messages_of(frame: pd.DataFrame) -> list[ReceivedSms]:
    """The rows of a frame of `messages`; what no panel shows stays at its default."""

    def number(value: Any) -> int | None:
        return None if str(value) == "<NA>" else int(value)

    def time(value: Any) -> datetime:
        moment: datetime = value.to_pydatetime()
        return moment

    names = ("row_id", "gateway", "port", "span", "sender", "text", "received_at")
    counts = ("parts", "total", "complete")
    return [
        ReceivedSms(
            row_id=int(row_id),
            gateway=str(gateway),
            port=number(port),
            span=number(span),
            sender=sender,
            text=text,
            received_at=time(received_at),
            parts=number(parts) or 1,
            total=number(total) or 1,
            complete=str(complete) != "False",
        )
        for row_id, gateway, port, span, sender, text, received_at, parts, total, complete in zip(
            *(frame[name] for name in (*names, *counts)), strict=True
        )
    ]
