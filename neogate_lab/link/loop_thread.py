"""One event-loop thread a process: run, interrupt, guard, fork, exit; it knows nothing of gateways.

Whoever needs the loop calls `acquire` and later `release`; the thread ends with its last user, so
that a closed gateway leaves no thread behind.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from neogate_lab.errors import GatewayClosed, NeogateError, WrongThread
from neogate_lab.latch import Latch

__all__ = ["LoopThread", "acquire"]

T = TypeVar("T")

WAIT_SLICE = 0.25
"""Seconds: waits are cut into slices because some platforms notice an interrupt only between."""

INTERRUPT_GRACE = 0.5
"""Seconds that an interrupted call gets to clean up before KeyboardInterrupt leaves anyway."""

EXIT_GRACE = 2.0
"""Seconds that all gateways together get to say goodbye when the interpreter exits."""

_ENDED = "the gateway was closed while this call waited"


class _Call:
    """One coroutine on its way through the loop: a task there, a waitable here.

    Cancelling a concurrent future returns before the task has cleaned up; this waits for the task.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, certain: bool = False) -> None:
        self._certain = certain
        self.done = Latch()
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._outcome: tuple[Any, BaseException | None] = (None, None)

    def start(self) -> None:
        if self._cancelled and not self._certain:
            self._coroutine.close()
            self._outcome = (None, GatewayClosed(_ENDED))
            self.done.open()
            return
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._finish)

    def cancel(self) -> None:
        self._cancelled = True
        if self._task is not None and self._certain:  # never before its first step
            asyncio.get_running_loop().call_soon(self._task.cancel)
        elif self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """The loop has ended: what it did not start will never run."""
        if self._task is None:
            self._coroutine.close()

    def _finish(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._outcome = (None, GatewayClosed(_ENDED))
        else:
            error = task.exception()
            self._outcome = (None if error else task.result(), error)
        self._task = None  # it holds the error, whose traceback holds the frame that holds this
        self.done.open()

    def result(self) -> Any:
        value, error = self._outcome
        if error is None:
            return value
        try:
            raise error
        finally:
            # The traceback refers to this frame, which refers to the error: break the circle.
            self._outcome = (None, None)
            del error


class LoopThread:
    """A daemon thread with a running event loop; use `acquire` to get the process's one."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._users = 0
        self._exiting = False
        self._farewells: dict[object, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._ready = Latch()
        self._serving = False
        # Before 3.13 an interrupt within `Thread.is_alive` makes it deny a thread that runs.
        self._ended = False
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        # An empty context: output of long-lived tasks must not land in the cell that started them.
        context = contextvars.Context()
        self._thread = threading.Thread(
            target=context.run, args=(self._main,), name="neogate-loop", daemon=True
        )
        self._thread.start()
        while not self._ready.wait(WAIT_SLICE):
            pass
        if self._failure is not None:
            raise NeogateError(
                f"no event loop could be started ({self._failure}): close what this process has "
                "open and does not need, such as files and gateways, then try again"
            ) from self._failure

    def _main(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except Exception as error:
            if not self._serving:
                self._failure = error  # out of files, say: who waits for the loop has to know
            # At exit some Pythons (3.12.1) refuse the thread in which asyncio ends its resolver.
            elif not (self._exiting and isinstance(error, RuntimeError)):
                raise
        finally:
            self._ended = True
            if not self._serving:
                self._ready.open()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._serving = True
        self._ready.open()
        await self._stop.wait()

    @property
    def alive(self) -> bool:
        """Whether the thread runs in this very process."""
        return self._pid == os.getpid() and not self._ended

    def check_caller(self) -> None:
        """Raise unless a blocking call may be made from here.

        Raises
        ------
        WrongThread
            On the loop thread itself, which would wait for itself.
        GatewayClosed
            In a forked child, where nobody runs the loop, or after the end.
        """
        # Thread identities, not asyncio's own check: nest_asyncio removes that one.
        if threading.get_ident() == self._thread.ident:
            raise WrongThread(
                "a blocking verb was called on the event-loop thread, where it would wait for "
                "itself; call it from a cell, another thread, or a handler given to on_sms()"
            )
        if self._pid != os.getpid():
            raise GatewayClosed(
                "this process was forked after connecting, and the connection stayed with the "
                "parent; call neogate_lab.connect() again here"
            )
        if self._ended:
            raise GatewayClosed("the event loop has ended; call neogate_lab.connect() again")

    def run(self, coroutine: Coroutine[Any, Any, T], *, certain: bool = False) -> T:
        """Run a coroutine on the loop and wait for its result.

        `KeyboardInterrupt` cancels it, waits at most `INTERRUPT_GRACE` for its clean-up and is
        raised in any case; a second interrupt leaves at once. What is `certain` is begun even
        then, lest an interrupt that comes early leaves open what was to be closed.
        """
        try:
            self.check_caller()
        except BaseException:
            coroutine.close()
            raise
        call = _Call(coroutine, certain=certain)

        def start() -> None:
            if self._stop.is_set():  # what begins now would be left lying in the middle
                call.cancel()
            call.start()

        try:
            self.post(start)
            while not call.done.wait(WAIT_SLICE):
                if self._ended:
                    raise GatewayClosed("the event loop ended while this call waited")
        except BaseException:
            if not self._ended:
                with contextlib.suppress(GatewayClosed):
                    self.post(call.cancel)
                    call.done.wait(INTERRUPT_GRACE)
            else:
                call.abandon()
            raise
        result: T = call.result()
        return result

    def post(self, callback: Callable[[], object]) -> None:
        """Have the loop call `callback` soon, in an empty context, without waiting."""
        try:
            self._loop.call_soon_threadsafe(callback, context=contextvars.Context())
        except RuntimeError as error:
            raise GatewayClosed("the event loop has ended; connect again") from error

    def at_exit(self, owner: object, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await `farewell()` on the loop if the interpreter exits before `forget(owner)`."""
        self._farewells[owner] = farewell

    def forget(self, owner: object) -> None:
        """Withdraw what `at_exit` registered."""
        self._farewells.pop(owner, None)

    def release(self) -> None:
        """Give the loop back; the last user's release ends the thread."""
        global _shared
        with _lock:
            self._users -= 1
            if self._users > 0:
                return
            if _shared is self:
                _shared = None
        self._end(EXIT_GRACE)

    def _end(self, grace: float) -> None:
        if not self.alive:
            return
        self.post(self._stop.set)
        # The last user may be a finalizer that the loop thread itself happened to run.
        if threading.get_ident() != self._thread.ident:
            self._thread.join(grace)

    def _exit(self) -> None:
        """At interpreter exit: no new thread, no name resolved, two seconds at most."""
        if not self.alive:
            return
        self._exiting = True
        deadline = time.monotonic() + EXIT_GRACE
        calls = [_Call(farewell()) for farewell in list(self._farewells.values())]
        for call in calls:
            self.post(call.start)
        for call in calls:
            call.done.wait(max(0.0, deadline - time.monotonic()))
        self._end(max(0.1, deadline - time.monotonic()))


_lock = threading.RLock()  # a signal handler may close a gateway within `acquire`
_shared: LoopThread | None = None


def acquire() -> LoopThread:
    """Return this process's loop thread, started if need be, with one more user."""
    global _shared
    with _lock:
        if _shared is None or not _shared.alive:
            _shared = LoopThread()
        _shared._users += 1
        return _shared


def _exit_shared() -> None:
    if _shared is not None:
        _shared._exit()


def _after_fork() -> None:
    """The child has neither the thread nor, perhaps, an unlocked lock."""
    global _lock, _shared
    _lock = threading.RLock()
    _shared = None


atexit.register(_exit_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
