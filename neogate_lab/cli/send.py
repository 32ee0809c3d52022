"""`neogate-lab send`: one SMS, and what became of it."""

from __future__ import annotations

from typing import Annotated

import typer

import neogate_lab as ng
from neogate_lab.cli import terminal
from neogate_lab.cli.base import RadioPort, Store, Username, app, polite, stoppable
from neogate_lab.protocol.gsm import segment

__all__ = ["send"]

_WORDS = {
    "sent": "sent: the SMS centre accepted it, which is not yet delivery",
    "failed": "failed",
    "unknown": "unknown: it was handed to the gateway, which never reported what became of it",
    "written": "written: handed to the gateway, whose report did not come in time",
    "cancelled": "cancelled: nothing was sent",
}


@app.command()
@polite
@stoppable()
def send(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Host, host:port or the name of a profile.")
    ],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it says, in quotes.")],
    to: Annotated[str, typer.Option(help="Number as the operator wants it, with or without +.")],
    port: RadioPort,
    key: Annotated[
        str | None,
        typer.Option(help="The same key in the same store never sends twice.", show_default=False),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for the gateway's report.")
    ] = 180.0,
    confirm_above: Annotated[
        int, typer.Option(min=0, help="Ask before sending more segments than this.")
    ] = 3,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")] = False,
    username: Username = None,
    store: Store = None,
) -> None:
    """Send one SMS, and say what became of it.

    The exit status is 0 only if the SMS centre accepted it. It is recorded in the store, which also
    keeps the pace of one SMS in 10 seconds and port. The password comes from a profile or
    NEOGATE_PASSWORD, or you are asked for it.
    """
    segments = segment(text).count
    if segments > confirm_above and not yes:
        if not terminal.somebody_there():
            raise ng.InvalidRequest(
                f"the text takes {segments} segments, each of which costs an SMS: allow it with "
                "--yes; nothing was sent"
            )
        if not typer.confirm(f"The text takes {segments} segments. Send it?"):
            print("nothing was sent")
            raise typer.Exit(1)
    with ng.connect(target, username=username, store=store) as gateway:
        result = gateway.send_sms(to, text, port=port, timeout=timeout, key=key)
    print(_told(result))
    if result.status != "sent":
        raise typer.Exit(1)


def _told(result: ng.SmsResult) -> str:
    words = _WORDS.get(result.status, result.status)
    why = f": {terminal.plain(result.error)}" if result.error else ""
    some = "1 segment" if result.segments == 1 else f"{result.segments} segments"
    earlier = "; an earlier call had sent it, and nothing was sent now" if result.earlier else ""
    return f"{words}{why} ({some}, port {result.port}, id {result.id}){earlier}"
