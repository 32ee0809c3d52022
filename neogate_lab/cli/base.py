"""The command's frame: its name, its help, and how each verb ends; never what a verb does."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, ParamSpec

import typer

import neogate_lab as ng
from neogate_lab.cli.terminal import plain

__all__ = ["app", "polite", "stoppable"]

P = ParamSpec("P")

app = typer.Typer(
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
            command(*args, **kwargs)
        except (ng.NeogateError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # `| head`: typer knows how to end that
                raise
            typer.echo(f"neogate-lab: {plain(str(error))}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("neogate-lab: interrupted", err=True)
            raise typer.Exit(130) from None

    return run


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
        print(f"neogate-lab {ng.__version__}")
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

    Start with `neogate-lab demo`: it needs no hardware.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that can't show a letter is no error
            stream.reconfigure(errors="replace")
