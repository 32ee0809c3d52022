"""`neogate-lab report`: a store as one HTML file to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import neogate_lab as ng
from neogate_lab.cli.base import app, polite
from neogate_lab.cli.terminal import plain

__all__ = ["report"]


@app.command()
@polite
def report(
    store: Annotated[Path, typer.Argument(help="The store's folder.")],
    path: Annotated[str, typer.Argument(help="File ending in .html; a URL such as s3://… too.")],
    since: Annotated[
        str | None,
        typer.Option(help="From this time (UTC) on, or for so long: 2h.", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Before this time (UTC).", show_default=False)
    ] = None,
    gateway: Annotated[
        list[str] | None, typer.Option(help="Of this gateway; again for more.", show_default=False)
    ] = None,
    port: Annotated[
        list[int] | None, typer.Option(help="Of this port; again for more.", show_default=False)
    ] = None,
    redact: Annotated[str, typer.Option(help="Hide all, numbers, text or none.")] = "all",
    title: Annotated[
        str | None, typer.Option(help="The heading, shown as it is given.", show_default=False)
    ] = None,
) -> None:
    """Write what was measured as one HTML file.

    It needs nothing else to be read or printed.

    Works while another process records into the store. What stood there is replaced.
    """
    with ng.open_store(store) as opened:
        written = ng.write_report(
            opened,
            path,
            gateway=gateway or None,
            since=since,
            until=until,
            port=port or None,
            redact=redact,
            title=title,
        )
    shown = path if isinstance(written, str) else str(written)
    print(f"wrote {plain(shown)}")
