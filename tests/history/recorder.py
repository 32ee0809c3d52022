"""A process of its own that records numbered rows and says each one that it was told.

With a phase, it seals all the time and kills itself when it reaches the phase for the nth time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

from neogate_lab.errors import StoreError
from neogate_lab.history import phases, sealer
from neogate_lab.history.store import Store
from tests.history.samples import measurement, message, part


def die_at(phase: str, nth: int) -> None:
    left = count(nth - 1, -1)

    def reached(name: str) -> None:
        if name == phase and next(left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    phases.at = reached


def keep_sealing(store: Store) -> None:
    while True:
        try:
            store.seal()
        except StoreError:  # closed
            return


def main(path: str, name: str, most: int, phase: str = "", nth: str = "1") -> None:
    if phase:
        sealer._OPEN_DAY = 3  # so that it merges, too
    store = Store(path)
    if phase:
        die_at(phase, int(nth))
        threading.Thread(target=keep_sealing, args=(store,), daemon=True).start()

    def tell(kind: str, number: int) -> Callable[[Future[Any]], None]:
        return lambda done: print(kind, number, done.result(), flush=True)

    for number in count() if most == 0 else range(most):
        signal = store.append("signal", [measurement(number, label=f"{name}{number}")])
        signal.add_done_callback(tell("signal", number))
        text = f"{name}{number}"
        group = "" if number % 2 else text
        if group:
            store.receive("lab", part(number, content=text), group, None)
        parts = store.receive("lab", part(number, content=text), group, message(number, text=text))
        parts.add_done_callback(tell("message", number))
        if number % 20 == 19:
            parts.result()  # let the queue run empty now and then
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
