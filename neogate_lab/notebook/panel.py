"""What all panels share: escaping, the message line, life and updating; no verb of the gateway."""

from __future__ import annotations

import asyncio
import html
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import ipywidgets as widgets
import traitlets

from neogate_lab.errors import GatewayClosed, InvalidRequest, NeogateError
from neogate_lab.notebook import front
from neogate_lab.words import ranges

if TYPE_CHECKING:
    from neogate_lab.gateway import Gateway
    from neogate_lab.link.async_gateway import AsyncGateway

__all__ = [
    "LABEL_WIDTH",
    "Button",
    "Panel",
    "Tone",
    "among",
    "as_html",
    "button",
    "clock_time",
    "line",
    "table",
    "text_field",
]

T = TypeVar("T")
Tone = Literal["plain", "busy", "good", "bad"]

_SIGNS: dict[Tone, str] = {"plain": "", "busy": "…", "good": "✓", "bad": "✗"}
LABEL_WIDTH = "48px"
_FIRST_LOOK = 0.5
_PAUSE = 0.2
"""Seconds between two looks at least, whatever comes in."""
_AFTER_ERROR = 5.0
_STALE = 20.0
"""Seconds after which a press that waited for its page is not wanted any more."""

_NO_WIDGETS = (
    "This is how the panel began; its buttons need a front end with widgets: JupyterLab, "
    "Notebook 7 or Voila."
)
_VISIBLE = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)}
_VISIBLE |= {0x7F: "\u2421"} | dict.fromkeys((*range(128, 160), *range(55296, 57344)), "�")

_place: ContextVar[str] = ContextVar("place", default="")

_shown: weakref.WeakValueDictionary[tuple[type, int, int | None, str], Panel] = (
    weakref.WeakValueDictionary()
)

_made: dict[str, tuple[str, weakref.WeakSet[Panel]]] = {}
"""What a notebook's cell made when it ran last, by the cell and by that run."""


@contextmanager
def among(place: str) -> Iterator[None]:
    """Make panels as parts of another one: they only replace what was made in the same place."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def as_html(text: str) -> str:
    """A stranger's text as HTML that shows it and does nothing else.

    Control characters become their pictures, and `bdi` keeps right-to-left text from turning its
    surroundings. For `ipywidgets.HTML`, which knows no TeX; never `HTMLMath` or `Label`.
    """
    return f"<bdi>{html.escape(text.translate(_VISIBLE))}</bdi>"


def _cell() -> tuple[str, str]:
    """The cell that runs, and this run of it; "" where nobody tells, as outside of JupyterLab."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    parent: Mapping[str, Any] = getattr(shell, "get_parent", dict)()
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")


def clock_time(when: datetime) -> str:
    """Hours, minutes and seconds in UTC, as everywhere else in the package."""
    return when.astimezone(UTC).strftime("%H:%M:%S")


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A plain table; heads and cells are HTML, and the last cell's text keeps its line breaks."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        '<div class="neogate-scroll"><table class="neogate-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def text_field(description: str, css_class: str, width: str = "300px", **more: Any) -> widgets.Text:
    """A line to type in, with its label."""
    field = widgets.Text(
        description=description,
        style={"description_width": LABEL_WIDTH},
        layout=widgets.Layout(width=width),
        **more,
    )
    field.add_class(css_class)
    return field


class Button(widgets.Button):  # type: ignore[misc]
    """A button that keeps the focus while it can't be pressed: one that is disabled drops it."""

    disabled = traitlets.Bool(False)  # what the page gets instead is a class
    """Whether a press does nothing."""

    @traitlets.observe("disabled")
    def _dim(self, change: object) -> None:
        (self.add_class if self.disabled else self.remove_class)(front.OFF)


def button(description: str, tooltip: str, css_class: str, **more: Any) -> Button:
    """A button of words alone: icons would need a font that not every page has."""
    made = Button(
        description=description,
        tooltip=tooltip,
        layout=widgets.Layout(width="auto", min_width="76px"),
        **more,
    )
    made.add_class(css_class)
    return made


def line(*controls: widgets.Widget) -> widgets.HBox:
    """Controls beside each other, and below where there is no room."""
    return widgets.HBox(
        controls,
        layout=widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="0 10px"),
    )


class Panel(widgets.VBox):  # type: ignore[misc]
    """Base of the panels: a column of controls around a message line.

    No callback waits: it disables what may not be pressed twice, hands a coroutine to
    `Gateway._post`, and goes on when that is done. Making a panel of the same kind for the same
    gateway and port again, as a cell does when it is run again, retires the earlier one.

    Parameters
    ----------
    gw : Gateway
        From `neogate_lab.connect` or `neogate_lab.demo`.
    port : int, optional
        The port to begin with.

    Raises
    ------
    InvalidRequest
        An unknown keyword, no gateway, or no port of it.
    """

    title = ""
    css_class = "neogate-panel"
    asked = traitlets.Int(1).tag(sync=True)
    """Counts the presses; the page copies it into each field's `answered`."""
    takes = " and port="
    """Which arguments there are besides, for the error that names an unknown one."""
    lasting = False
    """Whether what it said last still matters when the gateway is closed."""

    def __init__(self, gw: Gateway, port: int | None, unknown: Mapping[str, object]) -> None:
        kind = type(self).__name__
        if unknown:
            raise InvalidRequest(
                f"{kind} knows no {', '.join(sorted(unknown))}; it takes a gateway{self.takes}"
            )
        if not callable(getattr(gw, "_post", None)):
            raise InvalidRequest(
                f"{kind} needs a gateway of neogate_lab.connect() or demo(), "
                f"not {type(gw).__name__}"
            )
        if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
            raise InvalidRequest(f"port must be a whole number from 1, not {port!r}")
        if port is not None and gw.ports and port not in gw.ports:
            raise InvalidRequest(f"{gw.name} has no port {port}; it has {ranges(gw.ports)}")
        self._gw = gw
        self._lock = threading.RLock()
        self._busy = False
        self._retired = False
        self._known = threading.Event()
        self._held: dict[widgets.Button, tuple[int, float, Callable[[], None]]] = {}
        self._wake: asyncio.Event | None = None
        self._said: tuple[Tone, str, str] = ("plain", "", "")
        self._not_seen: tuple[Tone, str, str] | None = None
        self._gone = ""
        self.status_line = self._html("status", live=True)
        self.status_line.add_class("neogate-message")
        self._prepare(port)
        heading = self._html("heading")
        heading.value = (
            f'{front.PAGE}<div class="neogate-title">{self.title} '
            f'<span class="neogate-muted">{as_html(gw.name)}</span></div>'
        )
        hello = button("", "", front.HELLO)
        hello.layout.display = "none"
        hello.on_click(lambda _: self._tell_all())
        super().__init__(
            [heading, hello, *self._build(), self.status_line, *self._build_below()],
            layout=widgets.Layout(width="100%", max_width="760px", padding="8px 0"),
        )
        self.add_class("neogate-panel")
        self.add_class(self.css_class)
        self._fields = [each for each in _inside(self, panels=False) if _is_field(each)]
        self._links = [self._have_answer(field) for field in self._fields]
        self._replace_earlier(port)
        self._begin()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._gw.name}>"

    def _repr_mimebundle_(self, **arguments: Any) -> Any:
        """The widget, and what is known already for where no widget can be shown."""
        bundle = super()._repr_mimebundle_(**arguments)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            self._known.wait(_FIRST_LOOK)
            hint = f"{_NO_WIDGETS} {self._instead()}"
            data["text/plain"] = f"{self!r}\n{hint}"
            data["text/html"] = (
                f'<div class="neogate-panel">{front.STYLE}<p><b>{self.title}</b> '
                f"{as_html(self._gw.name)}</p>{self._snapshot()}<p>{html.escape(hint)}</p></div>"
            )
        return bundle

    def _replace_earlier(self, port: int | None) -> None:
        """Retire what this panel is made instead of: its like, and what its cell made last time."""
        key = (type(self), id(self._gw), port, _place.get())
        like = _shown.get(key)
        earlier = [] if like is None else [like]
        cell, run = _cell()
        if cell:
            made_in, made = _made.get(cell, ("", weakref.WeakSet()))
            if made_in != run:
                earlier += made
                made = weakref.WeakSet()
            made.add(self)
            _made[cell] = (run, made)
        for panel in earlier:
            panel.retire("This panel was made again elsewhere; use the newer one.")
        _shown[key] = self

    # -- for the kinds of panel ------------------------------------------------------------------
    def _prepare(self, port: int | None) -> None:
        """Make what `_build` places."""

    def _begin(self) -> None:
        """Ask for what is to be shown; called once, when the panel is whole."""
        self._keep_up()

    def _look(self) -> float:
        """Look for news, on a worker thread; seconds until the next look."""
        return 3600.0  # there are none, but a gateway that is closed meanwhile is told

    def _snapshot(self) -> str:
        """What is known now, as HTML that needs no widgets; nothing of strangers."""
        return ""

    def _instead(self) -> str:
        """Which calls give the same without widgets."""
        return ""

    def _build(self) -> list[widgets.Widget]:
        """Make the controls that stand above the message line."""
        raise NotImplementedError

    def _build_below(self) -> list[widgets.Widget]:
        """Make what stands below the message line."""
        raise NotImplementedError

    def _update_controls(self) -> None:
        """Enable what may be pressed now; called after every change of state."""
        raise NotImplementedError

    def _html(self, name: str, *, live: bool = False) -> widgets.HTML:
        """Make a place for HTML; a live one is read out to who can't see that it changes."""
        made = widgets.HTML(layout=widgets.Layout(margin="2px", width="auto"))
        made.add_class(f"{self.css_class}-{name}")
        if live:
            made.add_class(front.LIVE)
        return made

    def _say(self, tone: Tone, status: str, words: str = "") -> None:
        """Show a message: a status word, or none, and what it means; neither is HTML yet."""
        sign = f'<i aria-hidden="true">{_SIGNS[tone]}</i> ' if _SIGNS[tone] else ""
        after = f" {as_html(words)}" if words else ""
        shown = (
            f'<div class="neogate-text neogate-{tone}">{sign}<b>{as_html(status)}</b>{after}</div>'
        )
        shown = shown if status else ""
        self._said = (tone, status, words)
        self.status_line.value = shown if shown == self._gone else shown + self._gone

    def _say_error(self, error: BaseException) -> None:
        known = isinstance(error, NeogateError)
        self._say("bad", "error:", str(error) if known else f"{type(error).__name__}: {error}")

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        self._update_controls()

    def _pressed(self, act: Callable[[], None]) -> Callable[[widgets.Button], None]:
        """Make a button's callback; ipywidgets would swallow what `act` raises."""

        def pressed(button: widgets.Button) -> None:
            with self._lock:
                if self._retired or button.disabled:
                    return
                try:
                    act()
                except Exception as error:  # noqa: BLE001 - shown
                    self._say_error(error)

        return pressed

    def _pressed_when_typed(
        self, button: Button, act: Callable[[], None], entered: widgets.Text | None = None
    ) -> None:
        """Have a button `act` on what the fields hold, and wait for what is still on its way here.

        Enter in the field `entered` presses it, too.

        A page holds back what is typed while an earlier letter is under way, and each widget's
        messages may take a way of their own; a press overtakes them. So a press from a page has
        every field answer: its answer can't overtake its value, for both are state of one widget.
        """
        pressed = self._pressed(act)

        def told(_: widgets.Widget, content: Mapping[str, object], buffers: object) -> None:
            with self._lock:
                earlier = self._held.get(button)
                # A page that went away for good must not hold its button for ever.
                again = earlier is not None and time.monotonic() - earlier[1] < _STALE
                press = content.get("event") in ("click", "submit")
                if not press or again or button.disabled or self._retired:
                    return
                self._say("busy", "waiting", "for what was typed last")
                number = self.asked + 1
                self._held[button] = (number, time.monotonic(), lambda: pressed(button))
                self.asked = number
                self._act_on_answers()
                if button in self._held:
                    self._ask(
                        lambda link: asyncio.sleep(_STALE),
                        lambda _, error: self._give_up(button, number, error),
                    )

        button.on_click(pressed)  # by a program, which sets the fields itself
        button.on_msg(button._handle_button_msg, remove=True)
        button.on_msg(told)
        if entered is not None:
            entered.on_msg(told)

    def _have_answer(self, field: widgets.Widget) -> widgets.Widget:
        field.add_traits(answered=traitlets.Int(0).tag(sync=True))
        field.observe(lambda change: self._act_on_answers(), "answered")
        return widgets.jsdlink((self, "asked"), (field, "answered"))

    def _act_on_answers(self) -> None:
        with self._lock:
            # A field that never answered is on a page that knows no links, or on none.
            answers = [field.answered for field in self._fields if field.answered]
            for button, (number, began, act) in list(self._held.items()):
                if answers and min(answers) < number:
                    continue
                del self._held[button]
                if time.monotonic() - began < _STALE:
                    act()
                else:
                    self._say("bad", "not done", "the page was away for too long; press it again")

    def _give_up(self, button: Button, number: int, error: BaseException | None) -> None:
        """Say that a page never answered, so that nobody waits for it; there is no press then."""
        held, _, act = self._held.get(button, (0, 0.0, lambda: None))
        if held != number:
            return
        del self._held[button]
        if error is None:
            self._say("bad", "not done", "the page did not answer; press again, or reload it")
        else:  # the gateway was closed, which the press will tell
            act()

    def _tell_all(self) -> None:
        """Send everything again, for a page misses what changes while it loads."""
        with self._lock:
            for widget in [*_inside(self, panels=False), self]:
                # What is typed on a page may be newer.
                typed = {"value", "answered"} if _is_field(widget) else set()
                widget.send_state(set(widget.keys) - typed)
                widget.layout.send_state()

    def _ask(
        self,
        make: Callable[[AsyncGateway], Coroutine[Any, Any, T]],
        then: Callable[[T | None, BaseException | None], None],
    ) -> None:
        """Run a coroutine on the gateway; `then` is called once, retired or not, and may raise."""

        def done(result: T | None, error: BaseException | None) -> None:
            with self._lock:
                try:
                    then(result, error)
                except Exception as mistake:  # noqa: BLE001 - shown
                    self._set_busy(False)
                    self._say_error(mistake)

        try:
            self._gw._post(make, done)
        except Exception as error:  # noqa: BLE001 - as if the coroutine had raised it
            done(None, error)

    def _keep_up(self) -> None:
        """Look again and again until the panel is retired or the gateway closed; that is shown."""

        async def follow(link: AsyncGateway) -> None:
            self._wake = asyncio.Event()
            while not self._retired:
                self._wake.clear()
                try:
                    pause = await asyncio.to_thread(self._look)
                except Exception as error:  # noqa: BLE001 - shown, and tried again
                    if link.closed:
                        raise GatewayClosed(f"{link.name} was closed; connect again") from None
                    pause = _AFTER_ERROR
                    self._later(lambda shown=error: self._looked(shown))  # type: ignore[misc]
                else:
                    if self._not_seen:
                        self._later(lambda: self._looked(None))
                await asyncio.sleep(_PAUSE)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):  # 3.11's wait_for can swallow a cancel
                        await self._wake.wait()

        def ended(_: None, error: BaseException | None) -> None:
            if error is not None and not self._retired:
                self._lost(error)

        self._ask(follow, ended)

    def _looked(self, error: BaseException | None) -> None:
        """Tell why nothing could be seen, and take that back when it can be seen again."""
        if self._retired or self._gone:
            return
        if error is not None:
            self._say_error(error)
        elif self._said == self._not_seen:
            self._say("plain", "")
        self._not_seen = None if error is None else self._said

    def _hurry(self) -> None:
        """Have the next look come at once."""

        async def wake(link: AsyncGateway) -> None:
            if self._wake is not None:
                self._wake.set()

        self._ask(wake, lambda result, error: None)

    def _lost(self, error: BaseException) -> None:
        """The gateway was closed: from now on the message line says so, below what else it says."""
        tone, status, words = self._said
        self._say_error(error)
        self._gone = self.status_line.value
        if self.lasting and status and tone != "busy":
            self._say(tone, status, words)

    def _in_thread(
        self, work: Callable[[], T], then: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Run what waits, a verb of the facade, on a worker thread; `then` as for `_ask`."""

        async def run(link: AsyncGateway) -> T:
            return await asyncio.to_thread(work)

        self._ask(run, then)

    def _later(self, act: Callable[[], None]) -> None:
        """Run `act` on the panels' thread: for what is told on the loop, which must not wait."""

        def done() -> None:
            with self._lock:
                act()

        self._gw._call_later(done)

    # -- life ------------------------------------------------------------------------------------
    def retire(self, reason: str = "This panel was closed.") -> None:
        """Stop updating and disable the controls; nothing that was sent is withdrawn."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            self._held.clear()
            self._set_busy(False)
            self._say("plain", reason)
            if self._wake is not None:
                self._hurry()

    def close(self) -> None:
        """Retire it and take it out of the notebook."""
        # ipywidgets calls this from __del__, also for a panel that was never finished.
        if self.comm is None:
            return
        self.retire()
        for widget in [*self._links, *_inside(self)]:
            widget.close()
        super().close()


def _inside(box: widgets.Box, *, panels: bool = True) -> list[widgets.Widget]:
    found: list[widgets.Widget] = []
    for child in box.children:
        if panels or not isinstance(child, Panel):
            inner = _inside(child, panels=panels) if isinstance(child, widgets.Box) else []
            found += [*inner, child]
    return found


def _is_field(widget: widgets.Widget) -> bool:
    return isinstance(widget, widgets.Text | widgets.Textarea | widgets.Dropdown | widgets.Checkbox)
