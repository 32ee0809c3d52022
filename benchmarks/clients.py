"""The other clients, ready to use: panoramisk (asyncio) and asterisk-ami (threads)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from asterisk.ami import AMIClient, SimpleAction  # type: ignore[import-untyped]
from asterisk.ami.event import Event  # type: ignore[import-untyped]
from asterisk.ami.response import Response  # type: ignore[import-untyped]
from panoramisk import Manager  # type: ignore[import-untyped]
from panoramisk.ami_protocol import AMIProtocol  # type: ignore[import-untyped]

from benchmarks.peer import USER

__all__ = [
    "asterisk_ami",
    "panoramisk",
    "parse_with_asterisk_ami",
    "parse_with_panoramisk",
    "query",
]


def query(manager: Any, command: str) -> Any:
    """Send a command through panoramisk; an awaitable."""
    return manager.send_action({"Action": "smscommand", "Command": command})


@contextlib.asynccontextmanager
async def panoramisk(port: int, on_event: Callable[[], object] | None = None) -> Any:
    """Log in with panoramisk on the running loop."""
    logged_in = asyncio.Event()
    manager = Manager(
        loop=asyncio.get_running_loop(),
        host="127.0.0.1",
        port=port,
        username=USER[0],
        secret=USER[1],
        ping_delay=3600,
        on_login=lambda _: logged_in.set(),
    )
    await manager.connect()
    await logged_in.wait()
    if on_event is not None:
        manager.register_event("ReceivedSMS", lambda *_: on_event())
    try:
        yield manager
    finally:
        manager.close()
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def asterisk_ami(
    port: int, on_event: Callable[[], object] | None = None
) -> Iterator[Callable[[str], Any]]:
    """Log in with asterisk-ami; a function that runs a command and waits."""
    client = AMIClient("127.0.0.1", port)
    if on_event is not None:
        client.add_event_listener(lambda **_: on_event())
    client.login(*USER).response  # noqa: B018 - reading it waits

    def run(command: str) -> Any:
        response = client.send_action(SimpleAction("smscommand", Command=command)).response
        assert response is not None
        return response

    try:
        yield run
    finally:
        client._socket.shutdown(socket.SHUT_RDWR)
        client._thread.join(3)
        client.disconnect()


class _Sink:
    """Takes what panoramisk dispatches; counts it."""

    save_stream = None

    def __init__(self) -> None:
        self.count = 0

    def dispatch(self, event: Any) -> None:
        self.count += 1


class _Answers(dict[Any, Any]):
    """Makes panoramisk believe that it asked for every response."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def get(self, key: Any, default: Any = None) -> Any:
        return self if key is not None else None

    def add_message(self, message: Any) -> bool:
        self._sink.count += 1
        return False


def parse_with_panoramisk(pieces: list[bytes]) -> int:
    """Feed the pieces to panoramisk's protocol; how many messages it found."""
    protocol = AMIProtocol()
    protocol.connection_made(None)
    sink = _Sink()
    protocol.factory = sink
    protocol.encoding = "utf8"
    protocol.responses = _Answers(sink)
    for piece in pieces:
        protocol.data_received(piece)
    return sink.count


class _Replay:
    """A socket that gives the pieces, then the end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter(pieces)

    def recv(self, size: int) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        pass


def parse_with_asterisk_ami(pieces: list[bytes]) -> int:
    """Feed the pieces to asterisk-ami's reader; how many messages it found."""
    client = AMIClient()
    client._socket = _Replay(pieces)
    client.finished = threading.Event()
    packs = client._next_pack()
    next(packs)
    count = 0
    for pack in packs:
        parsed = Response.read(pack) if Response.match(pack) else Event.read(pack)
        count += parsed is not None
    return count
