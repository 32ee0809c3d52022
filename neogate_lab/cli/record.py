"""`neogate-lab record`: gateways measured for weeks, by a process of its own."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated

import typer

import neogate_lab as ng
from neogate_lab import config
from neogate_lab.cli.base import Every, Store, Targets, Username, app, polite, stoppable
from neogate_lab.cli.terminal import plain, shorten

__all__ = ["record"]

logger = logging.getLogger(__name__)

_FIRST_DELAY, _LAST_DELAY = 15.0, 600.0
_LOOK = 1.0


@app.command()
@polite
def record(
    targets: Targets = None,
    every: Every = 10.0,
    store: Store = None,
    label: Annotated[str, typer.Option(help="What is measured: place, antenna, operator.")] = "",
    name: Annotated[str, typer.Option(help="The survey's name in tables.")] = "record",
    username: Username = None,
    wire: Annotated[
        Path | None,
        typer.Option(
            help="Keep the raw traffic of the one gateway there, for `replay`.", show_default=False
        ),
    ] = None,
) -> None:
    """Measure gateways and receive SMS, for weeks if wanted.

    Goes on until SIGTERM or Ctrl-C. Says only what changes; connections come back by themselves. A
    notebook reads along through ng.open_store. One recorder is enough for a gateway: a second one
    on this store refuses, or with another --name measures beside it. The password comes from a
    profile or NEOGATE_PASSWORD, or you are asked for it.
    """
    # Arrow's own allocators keep what sealing has freed: a week grows by tens of MiB with them.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    wanted = list(dict.fromkeys(targets or [os.environ.get("NEOGATE_HOST", "")]))
    if wanted == [""]:
        raise ng.InvalidRequest("which gateways? name them, or set NEOGATE_HOST")
    if wire is not None and len(wanted) > 1:
        raise ng.InvalidRequest("--wire keeps the traffic of one gateway: name one")
    named = [config.locate(target).settings.get("store") for target in wanted]
    folder = config.store_path(store, named)
    try:
        with stoppable(), ExitStack() as stack:
            status = stack.enter_context(_told())
            opened = stack.enter_context(ng.Store(folder))
            recorder = _Recorder(wanted, opened, every, label, name, username, wire)
            stack.callback(recorder.close)
            while True:
                recorder.look()
                status.show(recorder.status)
                time.sleep(_LOOK)
    except KeyboardInterrupt:
        typer.echo("neogate-lab: stopped", err=True)


class _Recorder:
    """The gateways: found, measured, and looked for again while none of them is there."""

    def __init__(
        self,
        targets: list[str],
        store: ng.Store,
        every: float,
        label: str,
        name: str,
        username: str | None,
        wire: Path | None,
    ) -> None:
        self._targets = targets
        self._store, self._username, self._wire = store, username, wire
        self._every, self._label, self._name = every, label, name
        self._fleet: ng.Fleet | None = None
        self._survey: ng.Survey | None = None
        self._told: set[str] = set()
        self._trouble = ""
        self._delay = _FIRST_DELAY
        self._due = 0.0

    @property
    def status(self) -> str:
        """In a few words."""
        if self._fleet is None or self._survey is None:
            return f"{', '.join(self._targets)}: {self._trouble}"
        done = self._survey.done
        return " · ".join(f"{each.name}: {each.status}, {done} ticks" for each in self._fleet)

    def look(self) -> None:
        """Start what does not run; raise what can't be mended."""
        if self._survey is not None and not self._survey.running:
            self._survey.wait(timeout=1.0)  # raises what ended it
            self._survey = None
        if self._survey is None and time.monotonic() >= self._due:
            self._begin()
        self._tell()

    def _begin(self) -> None:
        first = not self._trouble
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ng.NeogateWarning)  # the log says it, too
                if self._fleet is None:
                    self._fleet = self._connect()
                self._survey = self._fleet.survey(
                    every=self._every, label=self._label, name=self._name, progress=False
                )
                if self._survey.failed:
                    raise ng.InvalidRequest("; ".join(self._survey.failed.values()))
        except (ng.InvalidRequest, ng.StoreError):
            raise
        except ng.NeogateError as error:
            if first and isinstance(error, ng.LoginRefused | ng.ProtocolError):
                raise
            if str(error) != self._trouble:
                logger.warning("%s; looked for again until it answers", error)
            self._trouble = str(error)
            self._due = time.monotonic() + self._delay
            self._delay = min(2 * self._delay, _LAST_DELAY)
        else:
            self._trouble, self._delay = "", _FIRST_DELAY

    def _connect(self) -> ng.Fleet:
        wire = {} if self._wire is None else {"record": self._wire}
        fleet = ng.connect_all(
            [{"target": target, **wire} for target in self._targets],
            username=self._username,
            store=self._store,
        )
        for error in filter(None, (each.trouble for each in fleet)):
            refused = isinstance(error, ng.LoginRefused)
            then = "not tried again" if refused else "looked for again until it answers"
            logger.warning("%s; %s", error, then)
        return fleet

    def _tell(self) -> None:
        if self._survey is None:
            return
        for each in self._fleet or ():
            if each.name not in self._told and each.ports:
                ports = len(each.ports)
                logger.info("%s: recording %d ports every %gs", each.name, ports, self._every)
                self._told.add(each.name)

    def close(self) -> None:
        """End the measurement and say goodbye."""
        if self._fleet is not None:
            self._fleet.close()


class _Status(logging.Handler):
    """A line at the bottom of a terminal, and what is logged above it; elsewhere the log alone."""

    def __init__(self) -> None:
        super().__init__()
        self._live = sys.stderr.isatty()
        self._line = ""

    def show(self, line: str) -> None:
        """Let the line say this from now on."""
        if self._live:
            self.acquire()
            try:
                self._line = shorten(plain(line), get_terminal_size((80, 24)).columns - 1)
                self._write(f"\r\x1b[2K{self._line}")
            finally:
                self.release()

    def emit(self, record: logging.LogRecord) -> None:
        clear = "\r\x1b[2K" if self._live else ""
        self._write(f"{clear}{self.format(record)}\n{self._line}")

    def clear(self) -> None:
        """Take the line away."""
        if self._live:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # whoever watched is gone, and the recording goes on
            self._live = False


class _Plain(logging.Formatter):
    """Time in UTC and the message on one line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        return f"{when:%Y-%m-%dT%H:%M:%SZ} {plain(record.getMessage())}"


@contextmanager
def _told() -> Iterator[_Status]:
    """Show what the package logs."""
    package = logging.getLogger("neogate_lab")
    level = package.level
    status = _Status()
    status.setFormatter(_Plain())
    package.addHandler(status)
    package.setLevel(logging.INFO)
    try:
        yield status
    finally:
        status.clear()
        package.removeHandler(status)
        package.setLevel(level)
