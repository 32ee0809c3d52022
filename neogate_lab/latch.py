"""A thing that one thread waits for and another lets happen, once; it knows no loop and no call."""

from __future__ import annotations

import threading

__all__ = ["Latch"]


class Latch:
    """Opened once, by one thread, while others wait.

    A `threading.Event` is locked while it is looked at, and an interrupt at a bad moment leaves it
    so: then whoever sets it stands still for ever, be it the event loop of all gateways. Nothing
    here is held that the opener needs.
    """

    def __init__(self) -> None:
        self._opened = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def open(self) -> None:
        """Let everybody through, now and later; once."""
        self._opened = True
        self._gate.release()

    def wait(self, seconds: float) -> bool:
        """Wait for so long at most; whether it is open."""
        if not self._opened and self._gate.acquire(timeout=seconds):
            self._gate.release()  # for the next one
        return self._opened
