"""Ingest: messages from the socket until they are told; ours are on disk by then, theirs never."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import neogate_lab as ng
from benchmarks import clients
from benchmarks.contest import Result, contest
from benchmarks.peer import USER, Peer
from neogate_lab.history import Store

__all__ = ["run"]

BURST = 5000
PATIENCE = 120.0
"""Seconds until a burst counts as lost."""


def run(rounds: int, folder: Path) -> list[Result]:
    """Messages a second in a burst, and how late a message is told at a thousand a second.

    Parameters
    ----------
    rounds : int
        Turns of each contestant.
    folder : Path
        Where the stores go; its disk is what is measured.
    """
    stores = (folder / f"store-{number}" for number in range(1_000_000))
    with Peer() as peer:
        peer.prepare(BURST)
        results = contest(
            "ingest",
            "messages/s ↑",
            {
                "panoramisk, no store": lambda: asyncio.run(_panoramisk(peer)),
                "asterisk-ami, no store": lambda: _asterisk_ami(peer),
                "neogate_lab, on disk": lambda: _ours(peer, next(stores)),
            },
            rounds=rounds,
            reference="panoramisk, no store",
        )
        results += contest(
            "told after commit, 1000/s",
            "ms, p50 ↓",
            {
                "one fdatasync": lambda: _fdatasync(folder / "file"),
                "one SQLite commit": lambda: _commit(next(stores).with_suffix(".db")),
                "neogate_lab Store.append": lambda: _stored(next(stores)),
                "neogate_lab on_sms": lambda: _told(peer, next(stores)),
            },
            rounds=rounds,
            reference="one fdatasync",
        )
    return results


class _Counter:
    """Counts to the end of the burst."""

    def __init__(self) -> None:
        self.count = 0
        self.done = threading.Event()

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.count == BURST:
            self.done.set()

    def rate(self, start: float) -> float:
        """Messages a second since `start`."""
        assert self.done.wait(PATIENCE), f"{self.count} of {BURST} messages came"
        return BURST / (time.perf_counter() - start)


@contextmanager
def _gateway(peer: Peer, store: Path) -> Iterator[ng.Gateway]:
    with ng.connect(
        peer.host, port=peer.port, username=USER[0], password=USER[1], store=store
    ) as gw:
        yield gw


def _ours(peer: Peer, store: Path) -> float:
    counter = _Counter()
    with _gateway(peer, store) as gw:
        gw.on_sms(counter, name="counter")
        start = time.perf_counter()
        peer.burst()
        rate = counter.rate(start)
        assert len(gw.inbox()) == BURST
    return rate


async def _panoramisk(peer: Peer) -> float:
    counter = _Counter()
    async with clients.panoramisk(peer.port, counter):
        start = time.perf_counter()
        peer.burst()
        return await asyncio.to_thread(counter.rate, start)


def _asterisk_ami(peer: Peer) -> float:
    counter = _Counter()
    with clients.asterisk_ami(peer.port, counter):
        start = time.perf_counter()
        peer.burst()
        return counter.rate(start)


def _told(peer: Peer, store: Path) -> float:
    """Milliseconds from the peer's write to the handler's call; the row is on disk by then."""
    count = 2000
    late: list[float] = []
    done = threading.Event()

    def told(sms: Any) -> None:
        late.append((time.monotonic_ns() - int(sms.text[1:])) / 1e6)
        if len(late) == count:
            done.set()

    with _gateway(peer, store) as gw:
        gw.on_sms(told)
        peer.stream(count, 1000.0)
        assert done.wait(PATIENCE), f"{len(late)} of {count} messages came"
    return statistics.median(late)


def _stored(path: Path) -> float:
    """Milliseconds from the store's verb to its future's callback, at a thousand rows a second."""
    count = 2000
    row = {"time": datetime.now(UTC), "gateway": "lab", "port": 1, "ok": True, "signal": 17}
    late: list[float] = []
    done = threading.Event()

    def told(start: float) -> None:
        late.append(1e3 * (time.perf_counter() - start))
        if len(late) == count:
            done.set()

    with Store(path) as store:
        begin = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, begin + number / 1000 - time.perf_counter()))
            start = time.perf_counter()
            store.append("signal", [row]).add_done_callback(lambda _, start=start: told(start))
        assert done.wait(PATIENCE), f"{len(late)} of {count} rows were told"
    return statistics.median(late)


def _fdatasync(path: Path) -> float:
    """Milliseconds to make one appended page durable."""
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(300):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def _commit(path: Path) -> float:
    """Milliseconds to commit one row as the store must: WAL, synchronous=FULL."""
    taken = []
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, sender, text)")
    for _ in range(300):
        start = time.perf_counter()
        connection.execute("INSERT INTO message (sender, text) VALUES ('+39333', 'Hello there')")
        taken.append(1e3 * (time.perf_counter() - start))
    connection.close()
    return statistics.median(taken)
