"""`neogate-lab simulate`: a simulated gateway for any client."""

from __future__ import annotations

from typing import Annotated

import typer

import neogate_lab as ng
from neogate_lab.cli.base import app, polite
from neogate_lab.cli.serving import serve

__all__ = ["simulate"]


@app.command()
@polite
def simulate(
    host: Annotated[
        str, typer.Option(help="Address to listen on; the protocol is cleartext.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 5038,
    ports: Annotated[int, typer.Option(help="Radio ports, 1-32.")] = 4,
    seed: Annotated[int, typer.Option(help="The same seed gives the same radio world.")] = 7,
    firmware: Annotated[str, typer.Option(help="tg200, v3, tg400, manual2013 or ami5.")] = "tg200",
    username: Annotated[str, typer.Option(help="The one API user.")] = "apiuser",
    password: Annotated[str, typer.Option(help="Its password.")] = "apipass",  # noqa: S107
    sms_every: Annotated[
        float | None,
        typer.Option(
            help="Mean seconds between SMS that come in; default: none do.", show_default=False
        ),
    ] = None,
) -> None:
    """Run a simulated gateway for any client, until Ctrl-C."""
    simulator = ng.SimulatedGateway(
        ports, seed, firmware, username, password, host, port, sms_every=sms_every
    )
    serve(simulator, f"simulated gateway ({firmware}, {ports} ports)")
