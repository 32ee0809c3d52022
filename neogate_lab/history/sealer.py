"""When rows leave the journal for segments, and small segments merge; never what readers see."""

from __future__ import annotations

import atexit
import contextlib
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neogate_lab.errors import StoreError
from neogate_lab.history import codec, frames, segments
from neogate_lab.history.journal import Journal, store_error
from neogate_lab.history.locks import FileLock
from neogate_lab.history.phases import reached
from neogate_lab.history.schema import TABLES, Table
from neogate_lab.history.segments import Segment
from neogate_lab.history.selection import Selection
from neogate_lab.history.writer import Writer

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Sealer"]

logger = logging.getLogger(__name__)

SEAL_ROWS = 65_536  # rows of a table that are worth a segment
SEAL_AGE_US = segments.DAY_US
_CHUNK = 131_072  # rows in memory, and in the transaction that others wait for
_FETCH = 4_096
_SMALL = 262_144  # rows below which a segment is merged
_OPEN_DAY = 8  # small segments that a day may have while it still grows
_PAUSE_S = 60.0
_SLICE_S = 0.05
_EXIT_S = 2.0

_SEALABLE = [table for table in TABLES.values() if table.sealable]


class Sealer:
    """Moves unchanging rows of one store into segments, one sealer at a time among all processes.

    Parameters
    ----------
    journal : Journal
        The store's.
    folder : Path
        Where the segments are.
    clock : callable
        Gives the present as an aware datetime; rows of a day ago are sealed though they be few.
    """

    def __init__(self, journal: Journal, folder: Path, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._folder = folder
        self._clock = clock
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._seen = 0
        self._failing = False
        _sealers.add(self)

    def seal(self, writer: Writer) -> int:
        """Seal all that can be sealed, and merge; how many rows were sealed.

        Raises
        ------
        StoreError
            The disk failed or is full: what is not sealed is still in the journal.
        """
        done: Future[int] = Future()

        def work() -> None:
            try:
                with self._translated(), self._locked(wait=True) as held:
                    if not held:
                        raise StoreError(f"the store {self._journal.folder} is closed")
                    self._tidy()
                    rows = self._work(writer, _SEALABLE)
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                done.set_exception(error)
            else:
                done.set_result(rows)

        # An interrupt ends the wait alone: the lock must be held until the rows have moved.
        threading.Thread(target=work, name="neogate-sealer", daemon=True).start()
        return done.result()

    def tidy(self) -> None:
        """Remove what a killed sealer left, unless another is at work.

        Raises
        ------
        StoreError
            There are segments of rows that the journal never had: it is not the one they belong to.
        """
        if self._folder.exists():
            with self._translated(), self._locked(wait=False) as held:
                if held:
                    self._tidy()

    def consider(self, writer: Writer, connection: sqlite3.Connection) -> None:
        """Start sealing in the background if it is worth it; called after every commit."""
        now, changes = time.monotonic(), connection.total_changes
        if self._stopping or (now < self._next and changes - self._seen < SEAL_ROWS):
            return
        self._next, self._seen = now + _PAUSE_S, changes
        due: list[Table] = []
        try:
            due = [table for table in _SEALABLE if self._due(connection, table)]
        except sqlite3.Error:  # whoever writes next is told of it
            return
        except Exception as error:  # noqa: BLE001 - a clock of the user's must not end the writer
            self._complain(f"the store's clock failed: {error!r}")
        if due:
            thread = threading.Thread(
                target=self._background, args=(writer, due), name="neogate-sealer", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter is leaving: the rows stay in the journal
                return
            self._thread = thread

    def stop(self) -> None:
        """Ask the background to end after the segment at hand, without waiting."""
        self._stopping = True

    def close(self, timeout: float | None = None) -> None:
        """End the background's work after the segment at hand; wait for it."""
        self.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _background(self, writer: Writer, tables: list[Table]) -> None:
        try:
            with self._translated(), self._locked(wait=False) as held:
                if held:
                    self._tidy()
                    self._work(writer, tables)
            self._failing = False
        except StoreError as error:
            self._complain(str(error))

    def _complain(self, reason: str) -> None:
        if not self._failing and not self._stopping:
            logger.warning("rows stay in the journal for now: %s", reason)
        self._failing = True

    def _due(self, connection: sqlite3.Connection, table: Table) -> bool:
        first, last, oldest = connection.execute(
            f"SELECT min(row_id), max(row_id), (SELECT {table.time} FROM {table.name} "  # noqa: S608 - names come from the schema
            f"ORDER BY row_id LIMIT 1) FROM {table.name}"
        ).fetchone()
        if first is None:
            return False
        age = codec.micros(self._clock()) - oldest
        return bool(last - first >= SEAL_ROWS - 1 or age >= SEAL_AGE_US)

    def _work(self, writer: Writer, tables: list[Table]) -> int:
        import pyarrow as pa

        rows = 0
        for table in tables:
            with self._journal.reading() as connection:
                last = _last_row(connection, table)  # what comes meanwhile waits for its turn
            while not self._stopping and (sealed := self._seal(writer, table, last)):
                rows += sealed
            self._merge(writer, table)
        pa.default_memory_pool().release_unused()  # a recorder runs for weeks
        return rows

    def _seal(self, writer: Writer, table: Table, last: int) -> int:
        """Seal the next rows of a table by row_id, up to `last`; how many."""
        with self._journal.reading() as connection:
            start = segments.sealed_to(connection, table.name)
            data = _rows(connection, table, start, last)
        if data is None:
            return 0
        end = data["row_id"][-1].as_py()
        days = list(segments.days(segments.sort(table, data), table))
        new = [segments.write(self._folder, table, day) for day in days]

        def move(connection: sqlite3.Connection) -> None:
            if segments.sealed_to(connection, table.name) != start:
                raise StoreError(
                    f"another process sealed {self._folder.parent} at the same time: its file "
                    "system does not pass locks on; seal from one machine only"
                )
            segments.enlist(connection, new)
            connection.execute(f'DELETE FROM "{table.name}" WHERE row_id <= ?', (end,))  # noqa: S608 - names come from the schema
            reached("deleted")

        writer.submit(move).result()
        return int(data.num_rows)

    def _merge(self, writer: Writer, table: Table) -> None:
        """Make one segment of the small ones of a day that is over, or of many of the last day."""
        with self._journal.reading() as connection:
            listed = segments.listed(connection, table.name)
        by_day: dict[int, list[Segment]] = {}
        for segment in listed:
            if segment.rows < _SMALL:
                by_day.setdefault(segment.day, []).append(segment)
        last = max((segment.day for segment in listed), default=0)
        for day, small in by_day.items():
            for group in _groups(small):
                if self._stopping or len(group) < (_OPEN_DAY if day == last else 2):
                    continue
                self._join(writer, table, group)

    def _join(self, writer: Writer, table: Table, old: list[Segment]) -> None:
        import pyarrow as pa

        everything = Selection(table)
        try:
            data = [segments.read(self._folder / one.name, everything) for one in old]
        except (StoreError, FileNotFoundError) as error:
            # Readers of that day are told; the damage must not spread to the other segments.
            logger.warning("segments of a day stay apart: %s", error)
            return
        new = segments.write(self._folder, table, segments.sort(table, pa.concat_tables(data)))
        writer.submit(partial(segments.enlist, new=[new], old=old)).result()
        for one in old:
            with contextlib.suppress(OSError):  # open elsewhere: it goes next time
                (self._folder / one.name).unlink()

    def _tidy(self) -> None:
        with self._journal.reading() as connection:
            given = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
            listed = {
                one.name for table in _SEALABLE for one in segments.listed(connection, table.name)
            }
        orphans = []
        for table in _SEALABLE:
            folder = self._folder / table.name
            for path in folder.iterdir() if folder.exists() else ():
                rows = segments.parse(path.name)
                if rows is not None and f"{table.name}/{path.name}" not in listed:
                    if rows[1] > given.get(table.name, 0):
                        raise StoreError(
                            f"{path} holds rows that journal.sqlite never had: restore the journal "
                            "that belongs to these segments, or move the folder away"
                        )
                    orphans.append(path)
                elif rows is None and path.suffix == ".tmp":
                    orphans.append(path)
        for path in orphans:  # their rows are in the journal, or in the segment they were merged to
            with contextlib.suppress(OSError):
                path.unlink()

    @contextlib.contextmanager
    def _locked(self, *, wait: bool) -> Iterator[bool]:
        lock = FileLock(self._journal.folder / "locks" / "seal")
        try:
            while not lock.acquire() and wait and not self._stopping:
                time.sleep(_SLICE_S)
            yield lock.held
        finally:
            lock.release()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise store_error(error, self._journal.folder) from error


def _last_row(connection: sqlite3.Connection, table: Table) -> int:
    """The last row that may be sealed.

    Rows leave in order of row_id, without a gap: what is sealed is told by one number. So parts
    that are still open keep the ones after them back.
    """
    (last,) = connection.execute(
        f"SELECT coalesce(max(row_id), 0) FROM {table.name}"  # noqa: S608 - names come from the schema
    ).fetchone()
    if table.name == "message_parts":
        (held,) = connection.execute("SELECT min(row_id) FROM open_parts").fetchone()
        last = last if held is None else min(last, held - 1)
    return int(last)


def _rows(connection: sqlite3.Connection, table: Table, start: int, last: int) -> pa.Table | None:
    """Rows after `start` and up to `last`, as many as fit a segment; None if there are none."""
    import pyarrow as pa

    names = ", ".join(f'"{name}"' for name in table.names)
    cursor = connection.execute(
        f'SELECT {names} FROM "{table.name}" WHERE row_id > ? AND row_id <= ? '  # noqa: S608 - names come from the schema
        "ORDER BY row_id LIMIT ?",
        (start, last, _CHUNK),
    )
    batches = []
    while rows := cursor.fetchmany(_FETCH):
        batches.append(frames.batch_of(table, rows))
    return pa.Table.from_batches(batches) if batches else None


def _groups(small: list[Segment]) -> Iterator[list[Segment]]:
    """Cut segments, in order, where together they are no longer small."""
    group: list[Segment] = []
    for segment in small:
        group.append(segment)
        if sum(one.rows for one in group) >= _SMALL:
            yield group
            group = []
    if group:
        yield group


_sealers: weakref.WeakSet[Sealer] = weakref.WeakSet()


def _at_exit() -> None:
    for sealer in list(_sealers):
        sealer.close(_EXIT_S)


atexit.register(_at_exit)  # after the writer's, so it runs before it
