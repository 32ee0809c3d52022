"""The threads that run what users and panels gave us, so that neither a loop nor a panel waits."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Dispatcher", "acquire"]

logger = logging.getLogger(__name__)


class _Line:
    """A thread that calls what is submitted, one after the other."""

    def __init__(self, name: str) -> None:
        self.ended = False  # `Thread.is_alive` can't be trusted after an interrupt, see LoopThread
        self._queue: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except BaseException:  # an interrupt may come when it runs already
            self.end()
            raise

    def submit(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._queue.put((call, args))

    def end(self) -> None:
        """End it after what was submitted."""
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Wait for its end, so long at most."""
        if not self.ended and threading.get_ident() != self._thread.ident:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            call, args = item
            try:
                call(*args)
            except BaseException:  # also sys.exit(): the thread must outlive what it calls
                logger.exception("a callback failed")
            del item, call, args  # an idle thread must not keep the last message alive
        self.ended = True


class Dispatcher:
    """Calls what is submitted, in two lines, each in its order; use `acquire` to get the one.

    A user's handler may take minutes, as one that answers an SMS does; what panels and bars show
    must not wait for it.
    """

    def __init__(self) -> None:
        self._users = 0
        self._pid = os.getpid()
        self._lines: list[_Line] = []
        try:
            for name in ("neogate-dispatcher", "neogate-panels"):
                self._lines.append(_Line(name))
        except BaseException:  # no more threads: then none is left behind either
            for line in self._lines:
                line.end()
            raise

    def submit(self, call: Callable[..., object], *args: Any) -> None:
        """Have a user's `call(*args)` run soon; its error is logged."""
        self._lines[0].submit(call, args)

    def show(self, call: Callable[..., object], *args: Any) -> None:
        """Have `call(*args)`, which is ours and short, run soon; its error is logged."""
        self._lines[1].submit(call, args)

    @property
    def alive(self) -> bool:
        """Whether the threads run in this very process."""
        return self._pid == os.getpid() and not any(line.ended for line in self._lines)

    def release(self, *, wait: bool = True) -> None:
        """Give it back; with its last user it runs what was submitted, and ends."""
        global _shared
        with _lock:
            self._users -= 1
            if self._users > 0:
                return
            if _shared is self:
                _shared = None
        for line in self._lines:
            line.end()
        if wait and self._pid == os.getpid():
            end = time.monotonic() + 2.0
            for line in self._lines:
                line.join(max(0.0, end - time.monotonic()))


_lock = threading.RLock()  # a signal handler may close a gateway within `acquire`
_shared: Dispatcher | None = None


def acquire() -> Dispatcher:
    """Return this process's dispatcher, started if need be, with one more user."""
    global _shared
    with _lock:
        if _shared is None or not _shared.alive:
            _shared = Dispatcher()
        _shared._users += 1
        return _shared


def _after_fork() -> None:
    global _lock, _shared
    _lock = threading.RLock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
