"""`neogate-lab spans`: what each port of a gateway hears now."""

from __future__ import annotations

import warnings

import typer

import neogate_lab as ng
from neogate_lab.cli.base import Targets, Username, app, polite
from neogate_lab.cli.terminal import plain, print_table

__all__ = ["spans"]


@app.command()
@polite
def spans(
    targets: Targets = None,
    username: Username = None,
) -> None:
    """Show the ports of gateways, and what each one hears now.

    The password comes from a profile or NEOGATE_PASSWORD, or you are asked for it. Nothing is
    recorded. Ends with 1 if a gateway did not answer.
    """
    several = targets is not None and len(targets) > 1
    failed: list[str] = []
    if several:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ng.NeogateWarning)
            with ng.connect_all(targets or [], username=username, store=":memory:") as fleet:
                frame = fleet.diagnostics()
        failed = [str(warning.message) for warning in caught]
    else:
        target = targets[0] if targets else None
        with ng.connect(target, username=username, store=":memory:") as gateway:
            frame = gateway.diagnostics()
    print_table(
        frame,
        ({"gateway": "gateway"} if several else {})
        | {
            "port": "port",
            "status": "status",
            "network": "network",
            "network_status": "registration",
            "rssi_dbm": "dBm",
            "rssi_bound": "",
            "model": "module",
        },
    )
    if failed:
        typer.echo(f"neogate-lab: {plain(failed[-1])}", err=True)
        raise typer.Exit(1)
