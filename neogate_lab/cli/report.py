"""`neogate-lab report`: a store as one HTML file to hand on."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import neogate_lab as ng
from neogate_lab.cli.base import (
    OfGateways,
    OfPorts,
    RecordedStore,
    Since,
    Until,
    app,
    polite,
    tell_unknown,
)
from neogate_lab.cli.terminal import plain, watched

__all__ = ["report"]


@app.command()
@polite
def report(
    store: RecordedStore,
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="File ending in .html; a URL such as s3://… too."),
    ],
    since: Since = None,
    until: Until = None,
    gateway: OfGateways = None,
    port: OfPorts = None,
    redact: Annotated[
        Literal["all", "numbers", "text", "none"],
        typer.Option(help="Hide all, numbers, text or none."),
    ] = "all",
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The heading, shown as it is given.", show_default=False),
    ] = None,
) -> None:
    """Write what was measured as one HTML file.

    It needs nothing else to be read or printed.

    Works while another process records into the store. What stood there is replaced.
    """
    with ng.open_store(store) as opened:
        tell_unknown(opened, gateway or ())
        written = ng.write_report(
            opened,
            path,
            gateway=gateway or None,
            since=since,
            until=until,
            port=port or None,
            redact=redact,
            title=title,
            progress=watched(),
        )
    print(f"wrote {plain(str(written))}")
