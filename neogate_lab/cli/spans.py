"""`neogate-lab spans`: what each port of a gateway hears now."""

from __future__ import annotations

import neogate_lab as ng
from neogate_lab.cli.base import Target, Username, app, polite
from neogate_lab.cli.terminal import print_table

__all__ = ["spans"]


@app.command()
@polite
def spans(
    target: Target = None,
    username: Username = None,
) -> None:
    """Show the ports of a gateway, and what each one hears now.

    The password comes from a profile or NEOGATE_PASSWORD, or you are asked for it. Nothing is
    recorded.
    """
    with ng.connect(target, username=username, store=":memory:") as gateway:
        frame = gateway.diagnostics()
    print_table(
        frame,
        {
            "port": "port",
            "status": "status",
            "network": "network",
            "network_status": "registration",
            "rssi_dbm": "dBm",
            "rssi_bound": "",
            "model": "module",
        },
    )
