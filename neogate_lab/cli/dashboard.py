"""`neogate-lab dashboard`: the panels as a page in the browser, served to this machine alone."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

import neogate_lab as ng
from neogate_lab import config
from neogate_lab.cli.base import Store, Target, Username, app, polite, stoppable

__all__ = ["dashboard"]

_NEEDED = ("voila", "ipykernel")
_WARNING = 30
_HARMLESS = (
    "dashboard.ipynb is not trusted",
    "websocket_ping_timeout",
    "Got events for closed stream",
    "WebSocketClosedError",
    "restart failed",
    "restarted failed",
    "404 GET /api/kernels/",
    "Kernel does not exist",
    "403 GET /api/kernels/",
    "'Forbidden'",
    "invalid/expired login cookie",
)
"""Words of warnings that no setting mends: of what a kernel said while its page was closed; of
what follows "Kernel … died", which is told; of pages that an earlier dashboard left open."""

_EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8")


@app.command()
@polite
def dashboard(
    target: Target = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the page on 127.0.0.1.")
    ] = 8866,
    username: Username = None,
    store: Store = None,
    dark: Annotated[bool, typer.Option("--dark", help="Light on dark.")] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    demo: Annotated[bool, typer.Option("--demo", help="Show a simulated gateway.")] = False,
) -> None:
    """Serve the panels as a page in the browser, until Ctrl-C.

    Signal, inbox, SMS and USSD of one gateway.

    The page is for this machine alone, and its address holds a secret: who has it can send SMS.
    From elsewhere, go through SSH: ssh -L 8866:127.0.0.1:8866 HOST. Each open page has a
    connection of its own, and its survey lasts as long as the page: for longer ones, neogate-lab
    record. The password comes from a profile or NEOGATE_PASSWORD, or you are asked for it.
    """
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise ng.InvalidRequest(
            f"the dashboard needs {' and '.join(lacking)}, which this environment lacks: "
            "pip install 'neogate-lab[dashboard]'"
        )
    from voila.app import Voila

    from neogate_lab.notebook import served

    connection: dict[str, Any] = {}
    if not demo:
        endpoint = config.resolve(
            target, username=username, password=None, port=config.DEFAULT_PORT, name=None
        )
        # In the environment of this process and its kernels; a command line is seen by everybody.
        os.environ["NEOGATE_PASSWORD"] = endpoint.password
        connection = {
            "target": target,
            "username": username,
            "store": store and str(store.absolute()),
        }
    os.environ.update(served.order(demo=demo, folder=Path.cwd(), **connection))
    _check_free(port)
    for logger in ("Voila", "asyncio", "tornado.general", "tornado.access"):
        logging.getLogger(logger).addFilter(_alarming)
    token = secrets.token_urlsafe(24)
    address = f"http://127.0.0.1:{port}/?token={token}"
    typer.echo(f"Dashboard: {address}\nCtrl-C ends it.")
    with stoppable():
        _stop_in_order()
        Voila.launch_instance(
            [
                str(served.NOTEBOOK),
                "--VoilaConfiguration.template=neogate",
                # For pages that could not say goodbye.
                "--MappingKernelManager.cull_interval=60",
                "--MappingKernelManager.cull_idle_timeout=300",
                # A kernel started again under the same id would know none of its page's panels.
                "--KernelRestarter.restart_limit=0",
                # Others that are installed may not fit Voila's own JupyterLab.
                *(f"--VoilaConfiguration.extension_allowlist={name}" for name in _EXTENSIONS),
                f"--VoilaConfiguration.theme={'dark' if dark else 'light'}",
            ],
            ip="127.0.0.1",
            port=port,
            port_retries=0,
            token=token,
            open_browser=browser,
            log_level=_WARNING,
        )


def _stop_in_order() -> None:
    """Have Ctrl-C stop the server's loop between two steps; the next one interrupts its end."""
    from tornado.ioloop import IOLoop

    loop = IOLoop.current()

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        loop.add_callback_from_signal(loop.stop)

    loop.add_callback(signal.signal, signal.SIGINT, stop)


def _alarming(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    return not any(words in said for words in _HARMLESS)


def _check_free(port: int) -> None:
    try:
        with socket.create_server(("127.0.0.1", port)):
            pass
    except OSError as error:
        words = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            words = "it is taken, perhaps another dashboard runs"
        raise ng.InvalidRequest(
            f"port {port} of 127.0.0.1 can't be used: {words}; give another --port"
        ) from None
