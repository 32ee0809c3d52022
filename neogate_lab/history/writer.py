"""The thread that writes: whatever is queued goes into one transaction; it knows no table."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import sqlite3
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from neogate_lab.errors import StoreError
from neogate_lab.history.journal import Journal, store_error
from neogate_lab.history.phases import reached

__all__ = ["Writer"]

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

_MOST = 4096  # operations in one transaction: under a flood, someone must be told at last
_EXIT_S = 2.0
_SLICE_S = 0.5  # the stop button can end a wait in between
_SETTLE_SLICES = 4


@dataclass(slots=True)
class _Job:
    operation: Operation[Any]
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs operations on the journal, in order, and resolves their futures after the commit.

    Parameters
    ----------
    journal : Journal
        What to write to; opened at the first operation.
    on_stop : callable
        Called once, when everything queued is done and nothing more will come.
    on_commit : callable
        Called with the writer and its connection after transactions, when everyone was told.
    """

    def __init__(
        self,
        journal: Journal,
        on_stop: Callable[[], None],
        on_commit: Callable[[Writer, sqlite3.Connection], None],
    ) -> None:
        self._journal = journal
        self._on_stop = on_stop
        self._on_commit = on_commit
        self._closed = False
        self._last: Future[Any] | None = None  # of what was queued: done when all of it is
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._fresh()
        _writers.add(self)

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue `operation`; its result comes when the transaction it took part in is committed.

        The future can't be cancelled: what was handed over is written, also when nobody waits.
        """
        job = _Job(operation)
        job.future.set_running_or_notify_cancel()
        with self._mutex:
            if self._closed:
                raise StoreError(f"the store {self._journal.folder} is closed: open it again")
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="neogate-writer", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # too many, or the interpreter is leaving
                    raise StoreError(
                        f"the store {self._journal.folder} can't be written: {error}"
                    ) from error
                self._thread = thread
            self._queue.put(job)
            self._last = job.future
            reached("queued")
        return job.future

    def settle(self) -> None:
        """Wait until what was queued before is written, or can't be; but for no disk that hangs."""
        last = self._last
        if last is None or threading.current_thread() is self._thread:
            return
        for _ in range(_SETTLE_SLICES):
            if wait([last], _SLICE_S).done:
                return

    def stop(self) -> None:
        """Ask the thread to end after what is queued, without waiting."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            if self._thread is not None:
                self._queue.put(None)
                return
        self._on_stop()

    def close(self, timeout: float | None = None) -> None:
        """Write what is queued, then end; wait for it up to `timeout` seconds."""
        self.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while self._turn():
            pass
        with self._database:
            self._disconnect()
        self._on_stop()

    def _turn(self) -> bool:
        """Write what is queued and tell; False at the end of the queue."""
        jobs = [self._queue.get()]
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _MOST:
                jobs.append(self._queue.get_nowait())
        with self._database:
            tell = self._commit([job for job in jobs if job is not None])
        for call in tell:
            call()
        with self._database:
            if self._connection is not None:
                self._on_commit(self, self._connection)
        return jobs[-1] is not None  # nothing is queued after the None of `stop`

    def _commit(self, jobs: list[_Job]) -> list[Callable[[], None]]:
        """Run `jobs` in one transaction; the calls that tell their futures."""
        if not jobs:
            return []
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to its future
            self._disconnect()
            return [self._failure(job, error) for job in jobs]
        try:
            tell = [self._attempt(connection, job) for job in jobs]
            connection.execute("COMMIT")
            reached("committed")
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to its future
            self._disconnect()
            if len(jobs) == 1:
                return [self._failure(jobs[0], error)]
            # The transaction is gone: alone, each may still be written, and only the culprit fails.
            return [call for job in jobs for call in self._commit([job])]
        return tell

    def _attempt(self, connection: sqlite3.Connection, job: _Job) -> Callable[[], None]:
        connection.execute("SAVEPOINT job")
        try:
            result = job.operation(connection)
        except Exception as error:
            if not connection.in_transaction:  # a full disk ends the whole transaction
                raise
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            return self._failure(job, error)
        connection.execute("RELEASE job")
        return lambda: job.future.set_result(result)

    def _failure(self, job: _Job, error: Exception) -> Callable[[], None]:
        if isinstance(error, sqlite3.Error | OSError):
            failed = store_error(error, self._journal.folder)
            failed.__cause__ = error
            error = failed
        return lambda: job.future.set_exception(error)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._journal.connect()
            self._identity = self._journal.identity
        elif self._journal.identity != self._identity:
            # SQLite would go on writing to a file that nobody can ever read.
            raise StoreError(f"the store {self._journal.folder} was replaced: open it again")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fresh(self) -> None:
        self._mutex = threading.RLock()  # guards the queue's end; a finalizer may `stop` in between
        self._database = threading.Lock()  # guards the connection
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._last = None
        self._thread = None
        self._connection = None


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_forking: list[Writer] = []
_fork_turn = threading.RLock()


def _before_fork() -> None:
    # SQLite's locks don't survive a fork: no process may inherit an open connection.
    _fork_turn.acquire()
    for writer in list(_writers):
        writer._mutex.acquire()
        writer._database.acquire()
        writer._disconnect()
        _forking.append(writer)


def _after_fork_in_parent() -> None:
    while _forking:
        writer = _forking.pop()
        writer._database.release()
        writer._mutex.release()
    _fork_turn.release()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop()._fresh()
    _fork_turn.release()


def _at_exit() -> None:
    for writer in list(_writers):
        writer.close(_EXIT_S)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
