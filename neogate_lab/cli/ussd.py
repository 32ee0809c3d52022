"""`neogate-lab ussd`: a USSD code, and the conversation that its menu asks for."""

from __future__ import annotations

from typing import Annotated

import typer

import neogate_lab as ng
from neogate_lab.cli import terminal
from neogate_lab.cli.base import RadioPort, Store, Username, app, polite, stoppable

__all__ = ["ussd"]

_WORDS = {
    "ended": "the network ended the session",
    "other_client": "another client answered it",
    "not_supported": "the network does not support it",
    "network_timeout": "the network took too long",
    "failed": "the gateway could not send it",
    "busy": "the port is busy with an earlier USSD: try again in a minute",
    "timeout": "no answer came in time: the port stays busy for a while",
}


@app.command()
@polite
@stoppable()
def ussd(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Host, host:port or the name of a profile.")
    ],
    code: Annotated[
        str, typer.Argument(metavar="CODE", help='For example "*100#"; quotes keep the shell off.')
    ],
    port: RadioPort,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600.0, help="Seconds that the network may take.")
    ] = 30.0,
    username: Username = None,
    store: Store = None,
) -> None:
    """Run a USSD code; in a terminal, walk the menu that it opens.

    The exit status is 0 only if the network answered. Every exchange is recorded in the store. The
    password comes from a profile or NEOGATE_PASSWORD, or you are asked for it.
    """
    asks = terminal.somebody_there()
    with (
        ng.connect(target, username=username, store=store) as gateway,
        gateway.ussd_session(port) as session,
    ):
        reply = session.send(code, timeout=timeout)
        _show(reply)
        while reply.menu and asks:
            answer = typer.prompt("answer (empty: leave)", default="", show_default=False)
            if not answer.strip():
                break
            try:
                reply = session.send(answer.strip(), timeout=timeout)
            except ng.InvalidRequest as error:
                print(error)
                continue
            _show(reply)
    if reply.menu:
        print("the menu is left as it is: the network drops it after a while")
    if reply.outcome not in ("done", "menu", "ended"):
        raise typer.Exit(1)


def _show(reply: ng.UssdReply) -> None:
    for line in terminal.plain_lines(reply.text):
        print(line)
    if reply.outcome in _WORDS:
        print(f"({_WORDS[reply.outcome]})")
    if reply.doubtful:
        print("(doubtful: this may be the late answer to an earlier code)")
