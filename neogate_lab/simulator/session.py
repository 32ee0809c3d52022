"""One TCP session: login, serial actions, events between them, and the faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from neogate_lab.simulator import ami
from neogate_lab.simulator.ami import Replies, Request, RequestReader
from neogate_lab.simulator.firmware import Firmware

_OFF = frozenset({"off", "no", "false", "0", "n", "f"})
_FORBIDDEN = frozenset({"command", "originate", "getconfig", "updateconfig", "listcommands"})


@dataclass(slots=True)
class Faults:
    """What is broken at the moment; the knobs of SimulatedGateway turn it."""

    frozen: bool = False
    reply_delay: float = 0.0
    swallow: int = 0
    swallow_after_running: bool = False
    cuts: int = 0
    trickle: int = 0
    trickle_interval: float = 0.001
    interleave: bool = False
    refusal: str | None = None
    refusals_left: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What does not change while the gateway lives."""

    username: str
    password: str = field(repr=False)
    login_delay: float = 1.0
    login_timeout: float = 30.0
    max_line: int = 1024
    drop_long_lines: bool = False
    max_backlog: int = 1 << 20


@dataclass(slots=True)
class Hub:
    """What all sessions of one gateway share."""

    settings: Settings
    firmware: Firmware
    replies: Replies
    run: Callable[[Request, int], Awaitable[bytes]]  # a CLI command and its session's number
    reset: Callable[[], None]  # everybody was dropped
    faults: Faults
    changed: Callable[[], None]
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    thaw_timer: asyncio.TimerHandle | None = None
    live: set[Session] = field(default_factory=set)
    opened: int = 0
    logins: int = 0
    login_attempts: int = 0

    def prepare(self) -> None:
        """Begin to serve on the running loop."""
        self.thawed = asyncio.Event()
        if self.thaw_timer is not None or not self.faults.frozen:
            # A timed freeze does not outlive the loop that was to end it.
            self.thaw()

    def freeze(self, seconds: float | None) -> None:
        """Answer nothing from now on, for so long or until `thaw`."""
        self.thaw()
        self.faults.frozen = True
        self.thawed.clear()
        if seconds is not None:
            self.thaw_timer = asyncio.get_running_loop().call_later(seconds, self.thaw)

    def thaw(self) -> None:
        """End a freeze."""
        if self.thaw_timer is not None:
            self.thaw_timer.cancel()
            self.thaw_timer = None
        self.faults.frozen = False
        self.thawed.set()

    def broadcast(self, data: bytes) -> None:
        """Queue an event for every session that listens."""
        for session in tuple(self.live):
            session.deliver(data)
        self.changed()


class Session:
    """Serves one client until either side closes."""

    def __init__(
        self, hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        hub.opened += 1
        self.number = hub.opened
        self.authenticated = False
        self.task: asyncio.Task[None] | None = None
        self._hub = hub
        self._reader, self._writer = reader, writer
        self._requests = RequestReader(hub.settings.max_line)
        self._replies = hub.replies
        self._events: deque[bytes] = deque()
        self._backlog = 0
        self._wants_events = True
        self._challenge = ""
        self._busy = False
        self._closing = False
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._actions: dict[str, Callable[[Request], Awaitable[None]]] = {
            "challenge": self._challenge_client,
            "login": self._login,
            "logoff": self._logoff,
            "ping": self._ping,
            "events": self._set_events,
            "smscommand": self._command,
        }

    async def run(self) -> None:
        """Talk until the end."""
        loop = asyncio.get_running_loop()
        watchdog = loop.call_later(self._hub.settings.login_timeout, self._expire)
        pump = loop.create_task(self._pump())
        try:
            await self._write(f"{self._hub.firmware.banner}\r\n".encode())
            while not self._closing and (request := await self._next_request()) is not None:
                await self._hub.thawed.wait()
                self._busy = True
                await self._serve(request)
                self._busy = False
                await self._flush()
                self._hub.changed()
        except (ConnectionError, TimeoutError):
            pass  # a client may go whenever it likes
        finally:
            watchdog.cancel()
            pump.cancel()
            self.leave()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def deliver(self, data: bytes) -> None:
        """Queue an event; a client that does not read its backlog is dropped (WIRE §3)."""
        if not (self.authenticated and self._wants_events):
            return
        self._events.append(data)
        self._backlog += len(data)
        if self._backlog > self._hub.settings.max_backlog:
            self.drop(reset=True)
        self._wake.set()

    def drop(self, *, reset: bool) -> None:
        """End the session now, with an EOF or a reset."""
        if reset:
            sock = self._writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        self.leave()
        if self.task is not None:
            self.task.cancel()

    def leave(self) -> None:
        """Close, and count no longer."""
        self._closing = True
        self._hub.live.discard(self)
        self._writer.close()
        self._hub.changed()

    def abort(self) -> None:
        """End without waiting for the client to read what is left."""
        self._writer.transport.abort()
        self.drop(reset=False)

    async def _next_request(self) -> Request | None:
        while (request := self._requests.next()) is None:
            data = await self._reader.read(65536)
            if not data:
                return None
            self._requests.feed(data)
        return request

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._put(data)

    async def _put(self, data: bytes) -> None:
        faults = self._hub.faults
        rest = memoryview(data)
        while rest:
            await self._hub.thawed.wait()
            size = faults.trickle or len(rest)
            self._writer.write(bytes(rest[:size]))
            rest = rest[size:]
            await self._writer.drain()
            if faults.trickle and rest:
                await asyncio.sleep(faults.trickle_interval)

    async def _reply(self, data: bytes) -> None:
        faults = self._hub.faults
        if faults.reply_delay:
            await asyncio.sleep(faults.reply_delay)
        if faults.cuts:
            faults.cuts -= 1
            await self._write(data[: len(data) // 2])
            self.leave()
            return
        await self._write(data)

    async def _pump(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._flush()

    async def _flush(self) -> None:
        async with self._lock:
            while self._may_deliver():
                data = self._events.popleft()
                await self._put(data)
                self._backlog -= len(data)

    def _may_deliver(self) -> bool:
        now = not self._busy or self._hub.faults.interleave
        return bool(self._events) and now and not self._closing

    def _expire(self) -> None:
        if not self.authenticated:
            self.drop(reset=False)

    async def _serve(self, request: Request) -> None:
        if request.too_long:
            if not self._hub.settings.drop_long_lines:
                message = "Failed to parse message: line too long"
                await self._reply(self._replies.error(request, message))
            return
        name = request.get("Action").lower()
        if not name:
            await self._reply(self._replies.error(request, "Missing action in request"))
        elif not self.authenticated and name not in ("challenge", "login", "logoff"):
            await self._reply(self._replies.error(request, "Permission denied"))
        elif name in self._actions:
            await self._actions[name](request)
        elif name in _FORBIDDEN:
            await self._reply(self._replies.error(request, "Permission denied"))
        else:
            await self._reply(self._replies.error(request, "Invalid/unknown command"))

    async def _login(self, request: Request) -> None:
        hub = self._hub
        if self.authenticated:
            accepted = self._replies.success(request, ("Message", "Already authenticated"))
            await self._reply(accepted)
            return
        hub.login_attempts += 1
        hub.changed()
        refusal = self._refusal(request)
        if refusal:
            await asyncio.sleep(hub.settings.login_delay)
            await self._reply(self._replies.error(request, refusal))
            self.leave()
            return
        hub.logins += 1
        self.authenticated = True
        self._wants_events = request.get("Events").lower() not in _OFF
        accepted = self._replies.success(request, ("Message", "Authentication accepted"))
        await self._reply(accepted)
        if hub.firmware.fully_booted:
            headers = [("Privilege", "system,all"), ("Status", "Fully Booted")]
            self.deliver(ami.event("FullyBooted", headers))

    async def _challenge_client(self, request: Request) -> None:
        if request.get("AuthType").lower() != "md5":
            await self._reply(self._replies.error(request, "Must specify AuthType"))
            return
        self._challenge = f"{self._hub.opened * 7919 + 100_000_000}"
        await self._reply(self._replies.success(request, ("Challenge", self._challenge)))

    def _secret(self, request: Request) -> str:
        """What the client must send to prove the password."""
        password = self._hub.settings.password
        if request.get("AuthType").lower() != "md5" or not self._challenge:
            return password
        return hashlib.md5(
            ami.wire_bytes(self._challenge + password), usedforsecurity=False
        ).hexdigest()

    def _refusal(self, request: Request) -> str:
        faults, settings = self._hub.faults, self._hub.settings
        if faults.refusal is not None:
            message = faults.refusal
            if faults.refusals_left is not None:
                faults.refusals_left -= 1
                if faults.refusals_left <= 0:
                    faults.refusal = faults.refusals_left = None
            return message
        given = request.get("Username"), request.get("Secret") or request.get("Key")
        wanted = settings.username, self._secret(request)
        same = [
            hmac.compare_digest(ami.wire_bytes(one), ami.wire_bytes(other))
            for one, other in zip(given, wanted, strict=True)
        ]
        return "" if all(same) else "Authentication failed"

    async def _logoff(self, request: Request) -> None:
        await self._reply(self._replies.goodbye(request))
        self.leave()

    async def _ping(self, request: Request) -> None:
        now = f"{time.time():.6f}"
        await self._reply(self._replies.success(request, ("Ping", "Pong"), ("Timestamp", now)))

    async def _set_events(self, request: Request) -> None:
        mask = request.get("EventMask").lower()
        if not mask:
            await self._reply(self._replies.error(request, "Invalid event mask"))
            return
        self._wants_events = mask not in _OFF
        if not self._wants_events:
            self._events.clear()
            self._backlog = 0
        state = "On" if self._wants_events else "Off"
        await self._reply(self._replies.success(request, ("Events", state)))

    async def _command(self, request: Request) -> None:
        hub = self._hub
        text = request.get("Command")
        if hub.faults.swallow:
            hub.faults.swallow -= 1
            if hub.faults.swallow_after_running:
                await hub.run(request, self.number)
            return
        if not text:
            await self._reply(self._replies.error(request, "No command provided"))
            return
        reply = await hub.run(request, self.number)
        hub.changed()
        await self._reply(reply)
