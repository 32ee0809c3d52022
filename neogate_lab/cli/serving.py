"""A gateway that is none, served to any client until Ctrl-C; never what it answers."""

from __future__ import annotations

import time

from neogate_lab.cli.base import stoppable
from neogate_lab.cli.terminal import plain
from neogate_lab.simulator.served import Served

__all__ = ["serve"]


def serve(gateway: Served, what: str) -> None:
    """Listen, say how to connect to `what` it is, and stop in order."""
    try:
        with stoppable(), gateway:
            address = f"{gateway.host}:{gateway.port}"
            shown = "apipass" if gateway.password == "apipass" else "…"  # noqa: S105
            print(
                f'{what} on {address}; connect with ng.connect("{address}", '
                f'username="{plain(gateway.username)}", password="{shown}"), stop with Ctrl-C',
                flush=True,
            )
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print("stopped")
