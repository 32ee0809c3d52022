"""Journal and segments read as one table, sorted and streamed; never written here."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from neogate_lab.history import codec, frames, segments
from neogate_lab.history.journal import Journal
from neogate_lab.history.schema import Table
from neogate_lab.history.segments import DAY_US, Segment
from neogate_lab.history.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Scan", "journal_batches", "sealed_rows"]

_BATCH = 16_384  # rows that SQLite gives at once
_TRIES = 5

_DAYS = (
    'SELECT ("{time}" - (("{time}" % {day}) + {day}) % {day}) / {day}, min("{time}") '
    'FROM "{table}" NOT INDEXED WHERE row_id > ? GROUP BY 1'
)


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is read in one go: segments of a day, and the journal's rows of that day or none."""

    day: int
    segments: tuple[Segment, ...]
    journal: bool

    @property
    def mixed(self) -> bool:
        """Whether the sources overlap, so that the rows must be sorted."""
        return len(self.segments) + self.journal > 1


class Scan:
    """The selected rows as Arrow batches, sorted by time, then row_id, as of one moment.

    Parameters
    ----------
    journal : Journal
        The store's.
    folder : Path
        Where the segments are.
    selection : Selection
        Which rows.
    ahead : int
        Files that are read before they are asked for: speed for memory.

    Attributes
    ----------
    newest : int
        Once it is iterated: the last row_id of that moment, selected or not.
    """

    def __init__(
        self, journal: Journal, folder: Path, selection: Selection, *, ahead: int = 1
    ) -> None:
        self._ahead = ahead
        self._journal = journal
        self._folder = folder
        self._selection = selection
        self.newest = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with self._journal.reading() as connection:
            selection = self._selection
            if not selection.table.sealable:
                yield from journal_batches(connection, selection)
                return
            self.newest = _newest(connection, selection.table)
            units = _units(
                _wanted(segments.listed(connection, selection.table.name), selection),
                _journal_days(connection, selection),
            )
            if not any(unit.segments for unit in units):
                yield from journal_batches(connection, selection)
                return
            with ThreadPoolExecutor(self._ahead, "neogate-reader") as pool:
                for unit, data in self._loaded(pool, units):
                    yield from _unit_batches(connection, selection, unit, data)
                    del data  # before the next is waited for: a day is some tens of MiB

    def _loaded(
        self, pool: ThreadPoolExecutor, units: list[_Unit]
    ) -> Iterator[tuple[_Unit, list[pa.Table]]]:
        running: deque[tuple[_Unit, Future[list[pa.Table]]]] = deque()
        try:
            for unit in units:
                running.append((unit, pool.submit(self._load, unit)))
                if len(running) > self._ahead:
                    yield running[0][0], running.popleft()[1].result()  # and keep none of it
            while running:
                yield running[0][0], running.popleft()[1].result()
        finally:  # nobody may wait for what nobody wants any more
            for _, data in running:
                data.cancel()

    def _load(self, unit: _Unit) -> list[pa.Table]:
        return [self._read(segment) for segment in unit.segments]

    def _read(self, segment: Segment) -> pa.Table:
        try:
            return segments.read(self._folder / segment.name, self._selection)
        except FileNotFoundError:
            return self._read_merged(segment)

    def _read_merged(self, segment: Segment) -> pa.Table:
        """The segment's rows from the files that took its place since this moment."""
        import pyarrow as pa

        within = (segment.first_row, segment.last_row)
        for attempt in range(_TRIES):
            with self._journal.reading() as connection:
                found = [
                    one
                    for one in segments.listed(connection, segment.table)
                    if one.day == segment.day
                    and one.first_row <= segment.last_row
                    and one.last_row >= segment.first_row
                ]
            try:
                data = [
                    segments.read(self._folder / one.name, self._selection, within) for one in found
                ]
            except FileNotFoundError as error:
                if attempt == _TRIES - 1:
                    raise segments.damaged(self._folder / segment.name, error) from error
            else:
                return pa.concat_tables(data)
        raise AssertionError


def sealed_rows(
    connection: sqlite3.Connection, folder: Path, selection: Selection
) -> list[codec.Row]:
    """The selected rows that are in segments, by row_id; for a caller who keeps sealers out."""
    rows: list[codec.Row] = []
    for segment in _wanted(segments.listed(connection, selection.table.name), selection):
        rows += segments.read(folder / segment.name, selection).to_pylist()
    return sorted(rows, key=lambda row: int(row["row_id"]))


def _wanted(listed: list[Segment], selection: Selection) -> list[Segment]:
    return [
        segment
        for segment in listed
        if (selection.since is None or segment.last_time >= selection.since)
        and (selection.until is None or segment.first_time < selection.until)
        and (selection.after_row is None or segment.last_row > selection.after_row)
    ]


def _newest(connection: sqlite3.Connection, table: Table) -> int:
    (last,) = connection.execute(f'SELECT max(row_id) FROM "{table.name}"').fetchone()  # noqa: S608 - names come from the schema
    return last or segments.sealed_to(connection, table.name)


def _journal_days(connection: sqlite3.Connection, selection: Selection) -> dict[int, int]:
    """Days of which the journal has rows, with the earliest time of each."""
    table = selection.table
    if selection.after_row is not None:  # found by row_id: what is new is little
        sql = _DAYS.format(time=table.time, table=table.name, day=DAY_US)
        return dict(connection.execute(sql, (selection.after_row,)))
    days: dict[int, int] = {}
    sql = f'SELECT min("{table.time}") FROM "{table.name}" WHERE "{table.time}" >= ?'  # noqa: S608 - names come from the schema
    start = -(1 << 63)
    while (first := connection.execute(sql, (start,)).fetchone()[0]) is not None:
        days[first // DAY_US] = first
        start = (first // DAY_US + 1) * DAY_US
    return days


def _units(listed: list[Segment], journal: dict[int, int]) -> list[_Unit]:
    """What to read in order: sources that follow each other one by one, others of a day at once."""
    by_day: dict[int, list[Segment]] = {day: [] for day in journal}
    for segment in listed:
        by_day.setdefault(segment.day, []).append(segment)
    units = []
    for day in sorted(by_day):
        chain = sorted(by_day[day], key=lambda one: (one.first_time, one.first_row))
        follows = all(
            (a.last_time, a.last_row) < (b.first_time, b.first_row) for a, b in pairwise(chain)
        )
        if follows and chain and day in journal:
            follows = chain[-1].last_time <= journal[day]
        if follows:
            units += [_Unit(day, (segment,), False) for segment in chain]
            units += [_Unit(day, (), True)] if day in journal else []
        else:
            units.append(_Unit(day, tuple(chain), day in journal))
    return units


def _unit_batches(
    connection: sqlite3.Connection, selection: Selection, unit: _Unit, data: list[pa.Table]
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if unit.journal:
        start, end = unit.day * DAY_US, (unit.day + 1) * DAY_US
        since = start if selection.since is None else max(start, selection.since)
        until = end if selection.until is None else min(end, selection.until)
        batches = journal_batches(connection, replace(selection, since=since, until=until))
        if not unit.segments:
            yield from batches
            return
        schema = frames.arrow_schema(selection.table)
        data = [*data, pa.Table.from_batches(batches, schema=schema)]
    for table in (
        data if not unit.mixed else [segments.sort(selection.table, pa.concat_tables(data))]
    ):
        yield from table.to_batches()


def journal_batches(
    connection: sqlite3.Connection, selection: Selection
) -> Iterator[pa.RecordBatch]:
    """The selected rows that are in the journal, in order."""
    names = ", ".join(f'"{name}"' for name in selection.table.names)
    rest, parameters = selection.sql()
    cursor = connection.execute(f"SELECT {names} FROM {rest}", parameters)  # noqa: S608 - names come from the schema
    while found := cursor.fetchmany(_BATCH):
        yield frames.batch_of(selection.table, found)
