"""`neogate-lab doctor`: what is wrong between here and a gateway, in plain words."""

from __future__ import annotations

import textwrap
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated

import typer

from neogate_lab.cli.base import Target, Username, app, in_options, polite
from neogate_lab.cli.terminal import plain
from neogate_lab.doctor import Finding, examine

__all__ = ["doctor"]

_INDENT = 22


@app.command()
@polite
def doctor(
    target: Target = None,
    username: Username = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="The store to look at; default the profile's, or neogate.neogate.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for each step.")] = 10.0,
) -> None:
    """Say what is wrong between here and a gateway, step by step.

    Looks at this computer, the address, the connection, the login, the ports, events and the
    clock, and says for what fails what may be the reason and what to do. Sends no SMS and no USSD
    code. The exit status is 0 only if nothing failed. The password comes from a profile or
    NEOGATE_PASSWORD, or you are asked for it.
    """
    failed = 0
    for finding in examine(target, username=username, store=store, timeout=timeout):
        _show(finding)
        failed += finding.status == "failed"
    if failed:
        print(f"\n{failed} step{'s' * (failed > 1)} failed: begin with the first")
        raise typer.Exit(1)
    print("\nnothing failed")


def _show(finding: Finding) -> None:
    room = max(40, get_terminal_size((80, 24)).columns)
    status = finding.status.upper() if finding.status == "failed" else finding.status
    head = f"{status:<10} {finding.step:<10} "
    for first, text in ((head, finding.text), *((" " * _INDENT + "- ", c) for c in finding.causes)):
        lines = textwrap.wrap(
            in_options(plain(text), ("store", "timeout", "username")),
            room,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
        )
        print("\n".join(lines) or first, flush=True)
