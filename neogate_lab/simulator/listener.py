"""One thread with an event loop that listens and serves sessions; never what a gateway answers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from neogate_lab.errors import InvalidRequest
from neogate_lab.latch import Latch
from neogate_lab.simulator.session import Hub, Session

T = TypeVar("T")

_SLICE = 0.25
"""Seconds: waits are cut into slices because some platforms notice an interrupt only between."""

_LAST_TURNS = 5
"""Turns of the loop from a connection's arrival until it is taken, or closed, at most."""


def _words(error: OSError) -> str:
    """The system's words: asyncio wraps them in its own."""
    known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno) if known and error.errno else str(error.strerror or error)


class Activity:
    """Lets threads wait for something to happen on the loop."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def notify(self) -> None:
        """Something happened."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait_until(self, holds: Callable[[], bool], timeout: float) -> bool:
        """Wait until `holds()`, asked again after everything that happens."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._count
            # Asked without the lock: it may itself need the loop, which may want to notify.
            if holds():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._condition:
                self._condition.wait_for(lambda seen=seen: self._count != seen, left)  # type: ignore[misc]


class Listener:
    """Listens for a hub, from `start` to `stop`, as often as wanted."""

    def __init__(
        self,
        hub: Hub,
        host: str,
        port: int,
        activity: Activity,
        background: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._hub = hub
        self._activity = activity
        self._background = background
        # One caller at a time talks to the loop; the loop's own thread never takes it.
        self._control = threading.RLock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._server: asyncio.Server | None = None
        self._served: dict[asyncio.Task[None], Session] = {}
        self._reopening: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._loop is not None

    def start(self) -> None:
        """Listen; once a port was found, always on that one."""
        with self._control:
            if self._loop is not None:
                return
            ready: concurrent.futures.Future[None] = concurrent.futures.Future()
            # An empty context: nothing of the starting notebook cell clings to the thread.
            context = contextvars.Context()
            self._thread = threading.Thread(
                target=context.run, args=(self._run, ready), name="neogate-simulator", daemon=True
            )
            self._thread.start()
            try:
                ready.result()
            except OSError as error:
                self._thread.join()
                self._thread = None
                raise InvalidRequest(
                    f"can't listen on {self.host}:{self.port} ({_words(error)}): choose another "
                    "port, or 0 for a free one"
                ) from error

    def stop(self) -> None:
        """Close every socket and join the thread."""
        with self._control:
            if self._loop is None or self._thread is None or self._stopping is None:
                return
            # An interrupted stop may find the loop gone already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._loop = self._thread = self._stopping = None
        self._activity.notify()

    def call(self, action: Callable[[], T]) -> T:
        """Run `action` on the loop's thread, or here while there is none."""
        with self._control:
            loop = self._loop
            if loop is None:
                return action()
            done = Latch()
            outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

            def run() -> None:
                try:
                    outcome.set_result(action())
                except Exception as error:  # noqa: BLE001  # raised again where it was called
                    outcome.set_exception(error)
                done.open()

            loop.call_soon_threadsafe(run)
            while not done.wait(_SLICE):
                pass
            return outcome.result()

    def call_running(self, action: Callable[[], T]) -> T:
        """Like `call`, for what makes no sense without a listening gateway."""
        with self._control:
            if self._loop is None:
                raise InvalidRequest("the simulated gateway is not running: use `with`, or start()")
            return self.call(action)

    def restart(self, down: float) -> None:
        """Drop everybody, refuse connections for `down` seconds, listen again."""
        with self._control:
            loop = self.call_running(asyncio.get_running_loop)
            asyncio.run_coroutine_threadsafe(self._reboot(down), loop).result()

    def _run(self, ready: concurrent.futures.Future[None]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve(ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)  # no loop could be made: who waits for it has to know

    async def _serve(self, ready: concurrent.futures.Future[None]) -> None:
        stopping = asyncio.Event()
        self._hub.prepare()
        try:
            await self._listen()
        except OSError as error:
            ready.set_exception(error)
            return
        loop = asyncio.get_running_loop()
        background = loop.create_task(self._background()) if self._background else None
        self._loop, self._stopping = loop, stopping
        ready.set_result(None)
        await stopping.wait()
        await self._close_listener()
        if background is not None:
            background.cancel()
        for session in tuple(self._served.values()):
            session.abort()
        self._hub.reset()
        await asyncio.gather(*self._served, return_exceptions=True)
        # One more turn of the loop lets the aborted transports close their sockets.
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, start_serving=False
        )
        self.port = self._server.sockets[0].getsockname()[1]
        await self._server.start_serving()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # it came just before nobody was to come any more
            writer.transport.abort()
            return
        session = Session(self._hub, reader, writer)
        self._hub.live.add(session)
        task = asyncio.get_running_loop().create_task(session.run())
        session.task = task
        self._served[task] = session
        task.add_done_callback(self._served.pop)
        self._activity.notify()

    async def _close_listener(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        server, self._server = self._server, None
        if server is not None:
            # A server that is closed while somebody is on the way in leaves his socket open.
            with contextlib.suppress(NotImplementedError):  # Windows
                for each in server.sockets:
                    asyncio.get_running_loop().remove_reader(each)
            for _ in range(_LAST_TURNS):
                await asyncio.sleep(0)
            server.close()

    async def _reboot(self, down: float) -> None:
        await self._close_listener()
        for session in tuple(self._hub.live):
            session.drop(reset=False)
        self._hub.reset()
        if down:
            self._reopening = asyncio.get_running_loop().create_task(self._come_back(down))
        else:
            await self._listen()

    async def _come_back(self, down: float) -> None:
        await asyncio.sleep(down)
        await self._listen()
        self._activity.notify()
