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
from neogate_lab import times
from neogate_lab.cli.base import Username, app, polite, stoppable
from neogate_lab.cli.terminal import plain, shorten

__all__ = ["record"]

logger = logging.getLogger(__name__)

_FIRST_DELAY, _LAST_DELAY = 15.0, 600.0
_LOOK = 1.0


@app.command()
@polite
def record(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="Hosts, host:port or names of profiles; default NEOGATE_HOST.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[str, typer.Option(help="Distance of the measurements.")] = "10s",
    store: Annotated[Path, typer.Option(help="Folder to record into; made if there is none.")] = (
        Path("neogate.neogate")
    ),
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
    notebook reads along through ng.open_store. The password comes from a profile or
    NEOGATE_PASSWORD, or you are asked for it.
    """
    # Arrow's own allocators keep what sealing has freed: a week grows by tens of MiB with them.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    times.seconds(every, "every")
    wanted: list[str | None] = list(dict.fromkeys(targets)) if targets else [None]
    if wire is not None and len(wanted) > 1:
        raise ng.InvalidRequest("--wire keeps the traffic of one gateway: name one")
    try:
        with stoppable(), ExitStack() as stack:
            status = stack.enter_context(_told())
            opened = stack.enter_context(ng.Store(store))
            recorders = [
                _Recorder(target, opened, every, label, name, username, wire) for target in wanted
            ]
            for each in recorders:
                stack.callback(each.close)
            while True:
                for each in recorders:
                    each.look()
                status.show(" · ".join(each.status for each in recorders))
                time.sleep(_LOOK)
    except KeyboardInterrupt:
        typer.echo("neogate-lab: stopped", err=True)


class _Recorder:
    """One gateway: found, measured, and looked for again if it isn't there yet."""

    def __init__(
        self,
        target: str | None,
        store: ng.Store,
        every: str,
        label: str,
        name: str,
        username: str | None,
        wire: Path | None,
    ) -> None:
        self._target = target
        self._store, self._username, self._wire = store, username, wire
        self._every, self._label, self._name = every, label, name
        self._gateway: ng.Gateway | None = None
        self._survey: ng.Survey | None = None
        self._trouble = ""
        self._delay = _FIRST_DELAY
        self._due = 0.0

    @property
    def status(self) -> str:
        """In a few words."""
        if self._gateway is None or self._survey is None:
            return f"{self._target or 'gateway'}: {self._trouble}"
        return f"{self._gateway.name}: {self._gateway.status}, {self._survey.done} ticks"

    def look(self) -> None:
        """Start what does not run; raise what can't be mended."""
        if self._survey is not None and not self._survey.running:
            self._survey.wait(timeout=1.0)  # raises what ended it
            self._survey = None
        if self._survey is None and time.monotonic() >= self._due:
            self._begin()

    def _begin(self) -> None:
        first = not self._trouble
        try:
            if self._gateway is None:
                self._gateway = ng.connect(
                    self._target, username=self._username, store=self._store, record=self._wire
                )
            ports = len(self._gateway.spans())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ng.NeogateWarning)  # the log says it, too
                self._survey = self._gateway.survey(
                    every=self._every, label=self._label, name=self._name, progress=False
                )
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
            name = self._gateway.name
            every = self._survey.settings.every
            logger.info("%s: recording %d ports every %gs", name, ports, every)
            self._trouble, self._delay = "", _FIRST_DELAY

    def close(self) -> None:
        """End the measurement and say goodbye."""
        if self._gateway is not None:
            self._gateway.close()


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
