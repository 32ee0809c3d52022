"""What the tests of the link share: a clock that tests own, a peer that says what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from neogate_lab.link.session import Credentials, Session
from neogate_lab.protocol import commands
from neogate_lab.protocol.wire import Action, Packet

BANNER = b"Asterisk Call Manager/1.1\r\n"
START = datetime(2026, 11, 20, 8, tzinfo=UTC)


async def turn() -> None:
    """Let every task that can run do so."""
    for _ in range(50):
        await asyncio.sleep(0)


async def eventually(holds: Callable[[], Any]) -> Any:
    """Wait until something is true, and return it."""
    async with asyncio.timeout(5):
        while not (seen := holds()):  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.002)
    return seen


class FakeClock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._monotonic = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self._monotonic - 1000.0 + self._ahead)

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its time."""
        end = self._monotonic + seconds
        await turn()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            self._monotonic = max(due, self._monotonic)
            if not woken.done():
                woken.set_result(None)
                await turn()
        self._monotonic = end
        await turn()

    def stall(self, seconds: float) -> None:
        """Let time pass while nobody can do anything."""
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, or let the machine have slept."""
        self._ahead += seconds


class Peer:
    """One connection, as its other end sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def action(self) -> dict[str, str]:
        """The next action, its header names in lower case."""
        async with asyncio.timeout(5):
            block = await self._reader.readuntil(b"\r\n\r\n")
        headers = (line.split(":", 1) for line in block.decode().strip().split("\r\n"))
        return {name.strip().lower(): value.strip() for name, value in headers}

    async def rest(self) -> bytes:
        """What still comes until the client closes."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                while chunk := await self._reader.read(65536):
                    data += chunk
        return data

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear_login(self, *, echo: bool = True) -> dict[str, str]:
        """Greet, and accept the login."""
        self.say(BANNER)
        action = await self.action()
        self.say(answer(action if echo else {}, "Success", "Authentication accepted"))
        return action


def answer(action: dict[str, str], response: str, message: str) -> bytes:
    """A short response, with the ActionID of `action` if that has one."""
    return f"Response: {response}\r\n{_id(action)}Message: {message}\r\n\r\n".encode()


def follows(action: dict[str, str], body: str) -> bytes:
    """A command's output."""
    head = f"Response: Follows\r\nPrivilege: SMSCommand\r\n{_id(action)}"
    return f"{head}{body}--END COMMAND--\r\n\r\n".encode()


def event(name: str, **headers: object) -> bytes:
    """An SMS event."""
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return (
        f"Event: {name}\r\nPrivilege: all,smscommand\r\n{lines}--END SMS EVENT--\r\n\r\n".encode()
    )


def _id(action: dict[str, str]) -> str:
    return f"ActionID: {action['actionid']}\r\n" if "actionid" in action else ""


class Listening:
    """A server that hands every connection to the test."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self._peers.put_nowait(Peer(reader, writer))

    async def peer(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(5):
            return await self._peers.get()


@asynccontextmanager
async def listening() -> AsyncIterator[Listening]:
    """Listen on a free port."""
    listener = Listening()
    server = await asyncio.start_server(listener.arrived, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        for writer in listener.writers:
            writer.transport.abort()
        await turn()


class Opened:
    """A session with everything that it told."""

    def __init__(self) -> None:
        self.events: list[Packet] = []
        self.lost: list[str] = []
        self.traffic: list[tuple[str, bytes]] = []
        self.session: Session

    async def open(self, port: int, *, host: str = "127.0.0.1", **settings: Any) -> Session:
        usual: dict[str, Any] = {
            "events": True,
            "connect_timeout": 2.0,
            "command_timeout": 2.0,
            "keepalive": 30.0,
        }
        self.session = await Session.open(
            host,
            port,
            Credentials("apiuser", "s3cret"),
            where="lab",
            on_event=self.events.append,
            on_lost=self.lost.append,
            tap=lambda direction, data: self.traffic.append((direction, data)),
            **(usual | settings),
        )
        return self.session


@asynccontextmanager
async def session_with(*, echo: bool = True, **settings: Any) -> AsyncIterator[tuple[Opened, Peer]]:
    """A logged-in session and its peer."""
    opened = Opened()
    async with listening() as listener:
        opening = asyncio.create_task(opened.open(listener.port, **settings))
        peer = await listener.peer()
        await peer.hear_login(echo=echo)
        session = await opening
        try:
            yield opened, peer
        finally:
            peer.writer.transport.abort()
            await session.close()
            await turn()


def query(text: str = "gsm show spans") -> Action:
    """A query as the gateway takes it."""
    return commands.cli(text)
