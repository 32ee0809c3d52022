"""SignalPanel: every port's signal as it is recorded, live; start, stop and label a survey."""

from __future__ import annotations

import io
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from neogate_lab.analysis.quality import quality
from neogate_lab.errors import InvalidRequest, NeogateError
from neogate_lab.notebook.exporting import ExportRow
from neogate_lab.notebook.panel import as_html, button, line, table, text_field
from neogate_lab.notebook.ports import ALL, PortPanel, dbm
from neogate_lab.times import seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from neogate_lab.gateway import Gateway
    from neogate_lab.history.live import LiveFrame
    from neogate_lab.survey import Survey
    from neogate_lab.times import Period

__all__ = ["SignalPanel"]

LOOK = 0.5
"""Seconds between looks for new rows."""

_SHARE = 0.2
"""The most of a core's time that drawing may take: a day of 32 ports takes a second a picture."""

_TAIL = 4096
"""So many of the newest rows hold the last one of each port, 32 of them at most."""

_FEW = 8
"""So many ports or labels are named in the words that stand for the picture."""

_WINDOWS = {
    "10 minutes": timedelta(minutes=10),
    "1 hour": timedelta(hours=1),
    "6 hours": timedelta(hours=6),
    "24 hours": timedelta(days=1),
    "7 days": timedelta(days=7),
}


class SignalPanel(PortPanel):
    """Every port's signal as it is recorded, by this notebook or by a recorder in another process.

    "Start" begins a survey in the background, which goes on when the panel is closed or made
    again; the panel takes up one that runs already. Everything is in `Gateway.signal`.

    Parameters
    ----------
    gw : Gateway
        From `neogate_lab.connect` or `neogate_lab.demo`.
    port : int, optional
        The port to begin with; default all.
    every : float, str or timedelta
        Distance of the measurements: seconds, or "10s", "1m".

    Raises
    ------
    InvalidRequest
        An unknown keyword, no gateway, or no port number.

    Examples
    --------
    >>> SignalPanel(gw, every="2s")  # doctest: +SKIP
    """

    title = "Signal"
    css_class = "neogate-signal"
    takes = ", port= and every="
    every_port = True

    def __init__(
        self, gw: Gateway, port: int | None = None, every: Period = "10s", **unknown: object
    ) -> None:
        self._every = every if isinstance(every, str) else f"{seconds(every, 'every'):g}s"
        self._live: LiveFrame | None = None
        self._live_window = timedelta(0)
        self._drawn: tuple[object, ...] = ()
        self._survey: Survey | None = None
        self._paused = False
        super().__init__(gw, port, unknown)
        self.layout.max_width = "1000px"

    def _build(self) -> list[widgets.Widget]:
        self.every_field = text_field("Every", f"{self.css_class}-every", "150px")
        self.every_field.value = self._every
        self.label_field = text_field(
            "Label", f"{self.css_class}-label", "260px", placeholder="roof antenna"
        )
        self.window_field = widgets.Dropdown(
            description="Show",
            options=list(_WINDOWS.items()),
            value=_WINDOWS["1 hour"],
            style={"description_width": "48px"},
            layout=widgets.Layout(width="190px"),
        )
        self.window_field.add_class(f"{self.css_class}-window")
        self.start_button = button(
            "Start",
            "Begin to measure every port",
            f"{self.css_class}-start",
            button_style="primary",
        )
        self.stop_button = button("Stop", "End the measurement", f"{self.css_class}-stop")
        self.mark_button = button(
            "Mark",
            "Give this label to what is measured from now on, at every port",
            f"{self.css_class}-mark",
        )
        self._pressed_when_typed(self.start_button, self._start)
        self.stop_button.on_click(self._pressed(self._stop))
        self._pressed_when_typed(self.mark_button, self._mark)
        for control in (self.port_field, self.window_field):
            control.observe(lambda change: self._hurry(), "value")
        return [
            line(self.every_field, self.start_button, self.stop_button),
            line(self.label_field, self.mark_button),
            line(self.port_field, self.refresh_button, self.window_field),
        ]

    def _build_below(self) -> list[widgets.Widget]:
        self.plot = widgets.Image(
            format="png",
            layout=widgets.Layout(width="100%", max_width="1000px", display="none"),
        )
        self.plot.add_class(f"{self.css_class}-plot")
        self.plot.add_class("neogate-plot")
        self.plot_words = self._html("words")
        self.plot_words.add_class("neogate-plot-words")
        self.plot_words.layout.display = "none"  # it is the picture's alternative text
        self.values = self._html("values")
        self.export_row = ExportRow(self, "signal", self._chosen)
        self._adopt()
        self._update_controls()
        return [self.plot, self.plot_words, self.values, self.export_row]

    def _begin(self) -> None:
        if self._survey is not None:
            self._say_state()
        super()._begin()

    def _instead(self) -> str:
        return "gw.survey(), gw.signal() and survey.plot() do without."

    def _snapshot(self) -> str:
        return self.values.value or super()._snapshot()

    def _update_controls(self) -> None:
        idle = not (self._busy or self._retired)
        running = self._survey is not None
        self.start_button.disabled = not idle or running
        self.stop_button.disabled = self.mark_button.disabled = not idle or not running
        self.every_field.disabled = self._retired or running
        self.label_field.disabled = self.window_field.disabled = self._retired
        self.export_row.enable(not self._retired)

    # -- the survey ------------------------------------------------------------------------------
    def _adopt(self) -> None:
        """Take up a survey that runs; let go of one that has ended."""
        if self._survey is None or not self._survey.running:
            self._survey = next(iter(self._gw.surveys), None)

    def _start(self) -> None:
        every, label = self.every_field.value.strip(), self.label_field.value.strip()
        self._do(
            "starting",
            lambda: self._gw.survey(every=_period(every), label=label, progress=False),
            lambda survey: "; ".join(
                filter(None, [f"every port, every {every}: {survey.name}", survey.notice])
            ),
        )

    def _stop(self) -> None:
        survey = self._running()
        self._do("stopping", lambda: _stopped(survey), lambda ended: ended.name)

    def _mark(self) -> None:
        survey, label = self._running(), self.label_field.value.strip()
        self._do(
            "marking",
            lambda: _marked(survey, label),
            lambda marked: f"what is measured from now on is {label or 'without a label'}",
        )

    def _say_state(self) -> None:
        if self._survey is None:
            return
        self._paused = self._survey.paused
        if self._paused:
            self._say("plain", "paused", f"{self._survey.name}; its resume() goes on")
        else:
            self._say("good", "measuring", self._survey.name)

    def _running(self) -> Survey:
        if self._survey is None:
            raise InvalidRequest("nothing is measured now: press Start first")
        return self._survey

    def _do(self, doing: str, work: Any, words: Any) -> None:
        """Run a verb of the facade on a worker thread; the buttons come back when it is done."""

        def then(survey: Survey | None, error: BaseException | None) -> None:
            if self._retired:
                return
            self._survey = survey if error is None else self._survey
            self._adopt()
            if error is not None:
                self._say_error(error)
            else:
                running = self._survey is not None
                self._say("good", "measuring" if running else "stopped", words(survey))
            self._set_busy(False)
            self._hurry()

        self._set_busy(True)
        self._say("busy", doing)
        self._in_thread(work, then)

    def _chosen(self) -> Callable[[str], Path | str]:
        since, port = self.window_field.value, self.port_field.value or ALL
        ports = None if port == ALL else port
        return lambda path: self._gw.export(path, "signal", progress=False, since=since, port=ports)

    # -- looking, on a worker thread -------------------------------------------------------------
    def _look(self) -> float:
        """Show what is new; the seconds until the next look."""
        self._ask_again_if_up()
        window, port = self.window_field.value, self.port_field.value or ALL
        live = self._live
        if live is None or window != self._live_window:
            live = self._gw.store.live("signal", gateway=self._gw.name, since=window)
            with self._lock:
                self._live, self._live_window = None if self._retired else live, window
        before = time.perf_counter()
        rows = live.refresh()
        self._look_at_survey()
        recent = _recent(rows, window)
        state = (len(rows), len(recent), window, port)
        if state == self._drawn:
            return LOOK
        if len(recent) < len(rows) / 2:
            self._live_window = timedelta(0)  # mostly too old by now: read anew
        rows = recent if port == ALL else recent[(recent["port"] == port).fillna(False)]
        picture, words = (_picture(rows), _described(rows)) if len(rows) else (b"", "")
        self._show(_values(rows), picture, words)
        self._drawn = state
        return max(LOOK, (time.perf_counter() - before) * (1 / _SHARE - 1))

    def _look_at_survey(self) -> None:
        """Have it told when one began, paused, went on or ended, whoever made it do so."""
        survey, failure = self._survey, None
        if survey is None:
            changed = bool(self._gw.surveys)
        else:
            changed = not survey.running or survey.paused != self._paused
        if survey is not None and not survey.running:
            try:
                survey.wait(timeout=1.0)  # raises what ended it
            except NeogateError as error:
                failure = error
        if changed:
            self._later(lambda: self._follow_survey(failure))

    def _follow_survey(self, failure: NeogateError | None) -> None:
        if self._retired or self._busy:
            return
        earlier = self._survey
        self._adopt()
        self._update_controls()
        if failure is not None:
            self._say_error(failure)
        elif self._survey is not None:
            self._say_state()
        elif earlier is not None:
            self._say("plain", "ended", earlier.name)

    def retire(self, reason: str = "This panel was closed.") -> None:
        """Stop updating and disable the controls; a survey goes on."""
        with self._lock:
            super().retire(reason)
            self._live = None  # a day of 32 ports is some 50 MB

    def _show(self, values: str, picture: bytes, words: str) -> None:
        with self._lock:
            self._known.set()
            if self._retired:
                return
            self.values.value = values
            self.plot.value, self.plot_words.value = picture, as_html(words)
            self.plot.layout.display = "" if picture else "none"


def _period(text: str) -> float | str:
    """What was typed; a bare number means seconds."""
    try:
        return float(text)
    except ValueError:
        return text


def _stopped(survey: Survey) -> Survey:
    survey.stop()
    return survey


def _marked(survey: Survey, label: str) -> Survey:
    survey.mark(label)
    return survey


def _recent(rows: pd.DataFrame, window: timedelta) -> pd.DataFrame:
    import pandas as pd

    wanted = rows["time"] >= pd.Timestamp.now("UTC") - window
    return rows if wanted.all() else rows[wanted]


def _picture(rows: pd.DataFrame) -> bytes:
    from matplotlib.figure import Figure

    from neogate_lab.analysis import plots

    figure = plots.signal_history(rows).figure
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _described(rows: pd.DataFrame) -> str:
    """What the picture shows, for who can't see it."""
    ports = sorted(rows["port"].dropna().unique())
    named = ", ".join(map(str, ports)) if len(ports) <= _FEW else f"{ports[0]} to {ports[-1]}"
    which = f"port{'s' if len(ports) > 1 else ''} {named}"
    first, last = rows["time"].min(), rows["time"].max()
    signal = rows["rssi_dbm"].dropna()
    span = f"{dbm(int(signal.min()))} to {dbm(int(signal.max()))}" if len(signal) else "no values"
    labels = [str(label) for label in rows["label"].dropna().unique() if label]
    shown = [*labels[:_FEW], *(["others"] if len(labels) > _FEW else [])]
    under = f", labelled {', '.join(shown)}" if shown else ""
    return (
        f"Signal of {which} from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC: "
        f"{span}{under}. The last values are in the table below."
    )


def _values(rows: pd.DataFrame) -> str:
    """The last measurement of each port."""
    latest = rows.tail(_TAIL).drop_duplicates("port", keep="last").sort_values("port")
    cells: list[tuple[str, ...]] = []
    for row in latest.itertuples():
        value: Any = row.rssi_dbm
        word = quality(value) if str(row.ok) == "True" else str(row.error).replace("_", " ")
        cells.append(
            (
                str(row.port),
                as_html(str(row.network)),
                "–" if str(value) == "<NA>" else dbm(int(value), str(row.rssi_bound)),
                as_html(word),
                as_html(str(row.network_status)),
                f"{row.time:%H:%M:%S}",
                as_html(str(row.label)),
            )
        )
    heads = ("Port", "Network", "Signal", "Quality", "Registration", "Time (UTC)", "Label")
    return table(heads, cells) if cells else "<p>Nothing was measured in this time.</p>"
