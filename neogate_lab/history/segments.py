"""Sealed segments: one table and day each, written once as Parquet, listed in the journal and read
with the selection pushed down; never when to seal.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neogate_lab.errors import StoreError
from neogate_lab.history.frames import arrow_schema, completed, values_of
from neogate_lab.history.phases import reached
from neogate_lab.history.places import sync_folder
from neogate_lab.history.schema import Table
from neogate_lab.history.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "DAY_US",
    "Segment",
    "damaged",
    "days",
    "enlist",
    "listed",
    "parse",
    "read",
    "sealed_to",
    "sort",
    "write",
]

DAY_US = 86_400_000_000
_GROUP = 65_536  # rows that a filter reads or skips at once
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_NAME = re.compile(r"\d{4,}-\d\d-\d\d\.(\d+)-(\d+)\.parquet")


@dataclass(frozen=True, slots=True)
class Segment:
    """A listed file: its rows' day (since 1970 UTC), row_ids and times (µs), ends included."""

    table: str
    day: int
    first_row: int
    last_row: int
    rows: int
    first_time: int
    last_time: int

    @property
    def name(self) -> str:
        """Path below the folder of segments: the same rows always get the same one."""
        day = date.fromordinal(_EPOCH_ORDINAL + self.day)
        return f"{self.table}/{day}.{self.first_row}-{self.last_row}.parquet"


def parse(name: str) -> tuple[int, int] | None:
    """First and last row_id of a segment's file name; None for any other file."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def listed(connection: sqlite3.Connection, table: str) -> list[Segment]:
    """The table's segments by day, then row_id."""
    names = ", ".join(f'"{field.name}"' for field in fields(Segment))
    sql = f'SELECT {names} FROM segments WHERE "table" = ? ORDER BY day, first_row'  # noqa: S608 - names of a dataclass
    return [Segment(*values) for values in connection.execute(sql, (table,))]


def sealed_to(connection: sqlite3.Connection, table: str) -> int:
    """The last row_id that is in segments; 0 if none is."""
    sql = 'SELECT coalesce(max(last_row), 0) FROM segments WHERE "table" = ?'
    (row_id,) = connection.execute(sql, (table,)).fetchone()
    return int(row_id)


def enlist(
    connection: sqlite3.Connection, new: Iterable[Segment], old: Iterable[Segment] = ()
) -> None:
    """List `new` instead of `old`, in the caller's transaction."""
    key = 'DELETE FROM segments WHERE "table" = ? AND day = ? AND first_row = ?'
    connection.executemany(key, [(one.table, one.day, one.first_row) for one in old])
    marks = ", ".join("?" * len(fields(Segment)))
    connection.executemany(
        f"INSERT INTO segments VALUES ({marks})",  # noqa: S608 - question marks
        [astuple(one) for one in new],
    )
    reached("listed")


def write(folder: Path, table: Table, data: pa.Table) -> Segment:
    """Write sorted rows of one day durably in the place that their row_ids name.

    The caller holds the seal lock: a file that a killed process left there is overwritten.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pc.min_max(data["row_id"]).as_py()
    times = data[table.time].cast("int64")
    first, last = times[0].as_py(), times[-1].as_py()
    segment = Segment(
        table.name, first // DAY_US, rows["min"], rows["max"], data.num_rows, first, last
    )
    path = folder / segment.name
    for parent in (folder, path.parent):
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(parent.parent)
    draft = path.with_suffix(".tmp")
    repeating = [
        column.name
        for column in table.columns
        if column.kind != "float" and column.name != "row_id"
    ]
    try:
        with open(draft, "wb", opener=_private) as file:
            pq.write_table(
                data.unify_dictionaries(),
                file,
                row_group_size=_GROUP,
                compression="zstd",
                use_dictionary=repeating,
                column_encoding={"row_id": "DELTA_BINARY_PACKED"},
                write_page_checksum=True,
            )
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)  # a full disk needs the room
        raise
    reached("written")
    draft.replace(path)
    sync_folder(path.parent)
    reached("renamed")
    return segment


def sort(table: Table, data: pa.Table) -> pa.Table:
    """Rows by time, then row_id."""
    keys = [(table.time, "ascending"), ("row_id", "ascending")]
    return data.unify_dictionaries().sort_by(keys)


def read(path: Path, selection: Selection, rows: tuple[int, int] | None = None) -> pa.Table:
    """The selected rows of a segment, in order, of row_ids in `rows` only (ends included).

    Raises
    ------
    FileNotFoundError
        There is no such file, perhaps since it was merged a moment ago.
    StoreError
        The file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return _selected(file, selection, _bounds(selection, rows))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, AttributeError, KeyError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> StoreError:
    """Say which file can't be read, and what still can."""
    return StoreError(
        f"{path} is missing, damaged or can't be read ({type(error).__name__}): restore a copy of "
        "this file; all other days can be read with since= and until="
    )


def _bounds(
    selection: Selection, rows: tuple[int, int] | None
) -> dict[str, tuple[int | None, int | None]]:
    """The least and the greatest value that a column may have."""
    first, last = rows or (None, None)
    if selection.after_row is not None:
        first = max(first or 0, selection.after_row + 1)
    until = None if selection.until is None else selection.until - 1
    bounds = {selection.table.time: (selection.since, until), "row_id": (first, last)}
    return {name: bound for name, bound in bounds.items() if bound != (None, None)}


def _selected(
    file: pq.ParquetFile,
    selection: Selection,
    bounds: dict[str, tuple[int | None, int | None]],
) -> pa.Table:
    import pyarrow.compute as pc

    table, schema = selection.table, arrow_schema(selection.table)
    unknown = {column.name for column in table.later(file.schema_arrow.names)}
    if any(name in unknown for name, _ in selection.equals):
        return schema.empty_table()
    groups, cut = _groups(file, selection, bounds)
    if not groups:
        return schema.empty_table()
    mask, start, end = None, 0, None
    wanted = [*cut, *(name for name, _ in selection.equals)]
    if wanted:
        narrow = file.read_row_groups(groups, columns=list(dict.fromkeys(wanted)))
        if table.time in cut:  # the rows are sorted by it
            start, end = _span(narrow[table.time], *bounds[table.time])
            narrow = narrow.slice(start, end - start)
        for name, values in selection.equals:
            fits = _is_in(narrow[name], values_of(table.column(name), values))
            mask = fits if mask is None else pc.and_(mask, fits)
        if "row_id" in cut:
            mask = _within(narrow["row_id"], *bounds["row_id"], mask)
        if not narrow.num_rows or (mask is not None and not pc.any(mask).as_py()):
            return schema.empty_table()
    data = file.read_row_groups(groups, columns=[n for n in schema.names if n not in unknown])
    data = completed(table, data)
    if data.schema != schema:
        data = data.cast(schema)
    data = data if end is None else data.slice(start, end - start)
    return data if mask is None else data.filter(mask)


def _groups(
    file: pq.ParquetFile,
    selection: Selection,
    bounds: dict[str, tuple[int | None, int | None]],
) -> tuple[list[int], list[str]]:
    """Row groups that may hold selected rows, and the columns by which some are out of bounds."""
    place = {name: number for number, name in enumerate(file.schema_arrow.names)}
    equals = [
        (place[name], [value for value in values if value is not None])
        for name, values in selection.equals
        if selection.table.column(name).kind in ("text", "cat", "int8", "int16", "int32", "int64")
    ]
    groups: list[int] = []
    cut: set[str] = set()
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        cuts = set()
        for name, (least, most) in bounds.items():
            found = group.column(place[name]).statistics
            if (least is not None and found.max_raw < least) or (
                most is not None and found.min_raw > most
            ):
                break
            if (least is not None and found.min_raw < least) or (
                most is not None and found.max_raw > most
            ):
                cuts.add(name)
        else:
            if all(_may_hold(group.column(c).statistics, values) for c, values in equals):
                groups.append(number)
                cut |= cuts
    return groups, sorted(cut)


def _span(times: pa.ChunkedArray, least: int | None, most: int | None) -> tuple[int, int]:
    """Where the rows within these times start and end."""
    import numpy as np

    sorted_times = times.cast("int64").to_numpy()
    start = 0 if least is None else int(np.searchsorted(sorted_times, least))
    end = len(times) if most is None else int(np.searchsorted(sorted_times, most, side="right"))
    return start, max(start, end)


def _may_hold(statistics: Any, values: Sequence[Any]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= value <= statistics.max for value in values)


def _within(column: Any, least: int | None, most: int | None, mask: Any) -> Any:
    import pyarrow.compute as pc

    for bound, fits in ((least, pc.greater_equal), (most, pc.less_equal)):
        if bound is not None:
            found = fits(column, bound)
            mask = found if mask is None else pc.and_(mask, found)
    return mask


def _is_in(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    def fits(chunk: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(chunk.type):  # few words, many cells
            return pc.is_in(chunk.dictionary, values, skip_nulls=True).take(chunk.indices)
        return pc.is_in(chunk, values, skip_nulls=True)

    return pa.chunked_array([fits(chunk) for chunk in column.chunks], pa.bool_())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def days(data: pa.Table, table: Table) -> Iterator[pa.Table]:
    """Cut sorted rows into one table a day."""
    import numpy as np

    numbers = data[table.time].cast("int64").to_numpy() // DAY_US
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, end in pairwise(starts):
        yield data.slice(start, end - start)
