"""The command's frame: its name, its help, and how each verb ends; never what a verb does."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from typer.core import TyperGroup

import neogate_lab as ng
from neogate_lab import times
from neogate_lab.cli.terminal import plain

__all__ = [
    "Every",
    "OfGateways",
    "OfPorts",
    "RadioPort",
    "RecordedStore",
    "Since",
    "Store",
    "Target",
    "Targets",
    "Until",
    "Username",
    "app",
    "in_options",
    "period",
    "polite",
    "stoppable",
    "tell_unknown",
]

P = ParamSpec("P")
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


def period(given: str | float) -> float:
    """Seconds of "10s", "5m" or a number of seconds, as an option or its default gives it."""
    text = str(given)
    try:
        return times.seconds(float(text) if _NUMBER.fullmatch(text) else text, "it")
    except ng.InvalidRequest:
        raise typer.BadParameter(
            f"{text!r} is no period above zero: give 10s, 5m, 2h, 1d, or seconds as a number"
        ) from None


def moment(text: str) -> datetime:
    """A time, or how long ago, as an option gives it."""
    try:
        return times.moment(text, datetime.now(UTC))
    except ng.InvalidRequest:
        raise typer.BadParameter(
            f'{text!r} is no time: give for example 2026-11-20, "2026-11-20 08:00" (UTC), or how '
            "long ago: 30m, 2h, 7d"
        ) from None


Target = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="Host, host:port or the name of a profile; default NEOGATE_HOST.",
        show_default=False,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help="Hosts, host:port or names of profiles; default NEOGATE_HOST.",
        show_default=False,
    ),
]
Store = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder to record into, made if need be; default the profile's, or neogate.neogate.",
        show_default=False,
    ),
]
RecordedStore = Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")]
RadioPort = Annotated[
    int, typer.Option(min=1, metavar="PORT", help="Radio port as printed on the box.")
]
Every = Annotated[
    float,
    typer.Option(
        parser=period,
        metavar="PERIOD",
        help="Distance of the measurements; default 10s.",
        show_default=False,
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        parser=moment,
        metavar="TIME",
        help="From this time (UTC) on, or for so long: 2h.",
        show_default=False,
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Before this time (UTC).", show_default=False),
]
OfGateways = Annotated[
    list[str] | None,
    typer.Option(
        "--gateway", metavar="NAME", help="Of this gateway; again for more.", show_default=False
    ),
]
OfPorts = Annotated[
    list[int] | None,
    typer.Option(
        "--port", min=1, metavar="PORT", help="Of this port; again for more.", show_default=False
    ),
]
Username = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of the API user; default the profile's, or NEOGATE_USERNAME.",
        show_default=False,
    ),
]


class _InWords(TyperGroup):
    """Says in one line also what goes wrong where no command runs yet: its help on a full disk."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            typer.echo(f"neogate-lab: {error}", err=True)
            raise SystemExit(1) from None
        finally:
            _drop_unwritable()


def _drop_unwritable() -> None:
    """Keep what could not be written, which was told, from the interpreter's own last try."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=_InWords,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def polite(command: Callable[P, None]) -> Callable[P, None]:
    """Say what went wrong in one line and leave with 1; leave with 130 when interrupted."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _warnings_in_words():
                command(*args, **kwargs)
                if sys.stdout is not None:
                    sys.stdout.flush()  # a full disk is told here, not by the interpreter's end
        except (ng.NeogateError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # `| head`: typer knows how to end that
                raise
            typer.echo(f"neogate-lab: {in_options(plain(str(error)), kwargs)}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("neogate-lab: interrupted", err=True)
            raise typer.Exit(130) from None

    return run


def in_options(message: str, names: Iterable[str]) -> str:
    """An error of the API in the command line's words: ``username=`` is ``--username`` here."""
    for name in names:
        message = re.sub(rf"\b{name}=(?=(\S)?)", _as_option(name), message)
    return message


def _as_option(name: str) -> Callable[[re.Match[str]], str]:
    option = f"--{name.replace('_', '-')}"
    return lambda found: option if not found[1] or found[1] in ",.:;)" else f"{option} "


def tell_unknown(store: ng.Store, gateways: Iterable[str]) -> None:
    """Name the gateways that a store has never heard of: what is asked of them is empty."""
    asked = {*gateways}
    if not asked:
        return
    known = {*store.connections()["gateway"], *store.surveys()["gateway"]}
    for name in sorted(asked - known):
        there = ", ".join(sorted(known)) or "none yet"
        typer.echo(
            f"neogate-lab: no gateway {plain(name)!r} is in the store; there is {plain(there)}",
            err=True,
        )


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Show the package's warnings as a line of the command, not as a place in its source."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, ng.NeogateWarning):
                typer.echo(f"neogate-lab: {plain(str(message))}", err=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt what runs inside.

    Service managers end a process by SIGTERM, and scripts start it in the background, where a shell
    has SIGINT ignored: both shall end it as Ctrl-C does.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, signal.default_int_handler) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neogate-lab {ng.__version__}")  # at once, so that a full disk is told
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """Signal surveys, SMS and USSD with NeoGate TG GSM gateways.

    Start with `neogate-lab demo`: it needs no hardware. When a gateway refuses, `neogate-lab
    doctor` says why.

    The exit status is 0 if what was asked was done, 1 if not, 2 for a command line that can't be
    read, and 130 after Ctrl-C before there was anything to keep.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that can't show a letter is no error
            stream.reconfigure(errors="replace")
