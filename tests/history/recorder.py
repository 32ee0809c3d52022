"""A process of its own that records numbered rows and says each one that it was told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

from neogate_lab.history.store import Store
from tests.history.samples import measurement, message, part


def main(path: str, name: str, most: int) -> None:
    store = Store(path)

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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
