"""`neogate-lab export`: a table of a store as a file that others read."""

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

__all__ = ["export"]


@app.command()
@polite
def export(
    store: RecordedStore,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="File ending in .parquet, .csv or .xlsx; no suffix: a folder of Parquet files by "
            "gateway and day. A URL such as s3://… too.",
        ),
    ],
    table: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="signal, inbox, outbox, ussd_log, connections, identities, surveys, marks or "
            "message_parts.",
        ),
    ] = "signal",
    redact: Annotated[
        Literal["numbers", "text", "all"] | None,
        typer.Option(help="Hide numbers, text or all.", show_default=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    gateway: OfGateways = None,
    port: OfPorts = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="With this label; again for more.", show_default=False),
    ] = None,
    partitioned: Annotated[
        bool, typer.Option("--partitioned", help="A folder, whatever the suffix.")
    ] = False,
    bom: Annotated[
        bool, typer.Option("--bom", help="CSV for Excel: say that it is UTF-8.")
    ] = False,
    spreadsheet_safe: Annotated[
        bool, typer.Option(help="CSV: disarm cells that a spreadsheet would run.")
    ] = True,
) -> None:
    """Write a table of a store to a file, whole or not at all.

    Works while another process records into the store. What stood there is replaced.
    """
    with ng.open_store(store) as opened:
        tell_unknown(opened, gateway or ())
        written = opened.export(
            path,
            table,
            redact=redact,
            spreadsheet_safe=spreadsheet_safe,
            partitioned=partitioned or None,
            bom=bom,
            progress=watched(),
            since=since,
            until=until,
            gateway=gateway or None,
            port=port or None,
            label=label or None,
        )
    print(f"wrote {plain(str(written))}")
