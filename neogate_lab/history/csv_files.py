"""Tables to CSV and back, cell by cell; never where the file is.

A CSV cell that a spreadsheet would run gets an apostrophe in front; so does one that begins with
apostrophes before such a start, which makes the step reversible. In a file written without this the
header is quoted, which tells the reader that there is nothing to undo.
"""

from __future__ import annotations

import codecs
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["header", "names_of", "parse", "write"]

_RUNS = r"^'*[=+\-@\t\r]"
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"  # plain and phone numbers; `$` is the end of text in RE2
_UNDO = r"^'('*[=+\-@\t\r])"
_QUOTED = r'[",;\t\r\n]|^\s|\s$'
_OFFSET = r"(Z|[+-][0-9]{2}:?[0-9]{2})$"


def write(
    table: Table, batches: Iterable[pa.RecordBatch], file: IO[bytes], *, safe: bool, bom: bool
) -> None:
    """Write rows as RFC 4180, in UTF-8.

    Parameters
    ----------
    safe : bool
        Put an apostrophe before cells that a spreadsheet would run.
    bom : bool
        Begin with the mark by which Excel knows UTF-8.
    """
    names = table.names if safe else [f'"{name}"' for name in table.names]
    mark = codecs.BOM_UTF8 if bom else b""
    file.write(mark + f"{','.join(names)}\r\n".encode())
    for lines in _ahead(lambda batch: _lines(table, batch, safe), batches):
        file.write(lines)


def _ahead(
    make: Callable[[pa.RecordBatch], memoryview], batches: Iterable[pa.RecordBatch]
) -> Iterator[memoryview]:
    """Make a few pieces at the same time, and give them in order."""
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[memoryview]] = deque()
    with ThreadPoolExecutor(threads, "neogate-csv") as pool:
        for batch in batches:
            waiting.append(pool.submit(make, batch))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _lines(table: Table, batch: pa.RecordBatch, safe: bool) -> memoryview:
    import pyarrow.compute as pc

    if not batch.num_rows:
        return memoryview(b"")
    cells = [
        _cells(column.kind, array, safe)
        for column, array in zip(table.columns, batch.columns, strict=True)
    ]
    absent = {"null_handling": "replace", "null_replacement": ""}
    cells[-1] = pc.binary_join_element_wise(cells[-1], "\r\n", "", **absent)
    lines = pc.binary_join_element_wise(*cells, ",", **absent)
    # All lines stand one after the other in one buffer already.
    _, offsets, data = lines.buffers()
    places = memoryview(offsets).cast("i")
    return memoryview(data)[places[lines.offset] : places[lines.offset + len(lines)]]


def header(file: IO[bytes]) -> str:
    """The first line, without the mark of UTF-8."""
    return file.readline(65_536).decode("utf-8-sig", "replace").rstrip("\r\n")


def names_of(line: str) -> tuple[list[str], str]:
    """Column names of a header line, and what separates them."""
    delimiter = max(",;\t", key=line.count)
    return [name.strip().strip('"').strip().lower() for name in line.split(delimiter)], delimiter


def parse(
    table: Table, file: IO[bytes], names: list[str], delimiter: str, *, safe: bool, shown: str
) -> pa.Table:
    """Read the rows below the header; their columns in the table's order.

    Raises
    ------
    InvalidRequest
        A line or a cell doesn't fit; it is never shown.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    try:
        whole = csv.read_csv(
            file,
            read_options=csv.ReadOptions(skip_rows=1, column_names=names),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException:  # its words would show the line
        raise InvalidRequest(
            f"{shown} can't be read as CSV: it isn't UTF-8, or a line has not {len(names)} cells"
        ) from None
    first = whole[names[0]]
    if pc.any(pc.equal(first, "")).as_py():  # spreadsheets leave rows of nothing at the end
        filled = [pc.not_equal(column, "") for column in whole.columns]
        whole = whole.filter(_any(filled))
    declared = [column for column in table.columns if column.name in names]
    columns = []
    for column in declared:
        try:
            columns.append(_parse(column.kind, whole[column.name], safe, delimiter == ";"))
        except pa.ArrowException:
            raise InvalidRequest(
                f"{shown}: a cell of column {column.name} is not of its type"
            ) from None
    return pa.table(columns, names=[column.name for column in declared])


def _cells(kind: str, array: pa.Array, safe: bool) -> pa.Array:
    """Cells as they stand in the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "time":
        naive = array.cast(pa.timestamp("us"))
        return pc.strftime(naive, format="%Y-%m-%dT%H:%M:%S+00:00", locale="C")
    if kind == "cat":
        words = _cells("text", array.dictionary, safe)
        return words.take(array.indices)
    text = array.cast(pa.string())
    if kind != "text":
        return text
    if safe:
        runs = pc.match_substring_regex(text, _RUNS)
        plain = pc.match_substring_regex(text, _NUMBER)
        text = pc.if_else(pc.and_not(runs, plain), pc.binary_join_element_wise("'", text, ""), text)
    doubled = pc.replace_substring(text, '"', '""')
    quoted = pc.binary_join_element_wise('"', doubled, '"', "")
    return pc.if_else(pc.match_substring_regex(text, _QUOTED), quoted, text)


def _parse(kind: str, cells: pa.ChunkedArray, safe: bool, comma: bool) -> pa.ChunkedArray:
    """The values of cells; `ArrowException` if one is not of the kind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind in ("text", "cat"):
        if safe:
            cells = pc.replace_substring_regex(cells, _UNDO, r"\1", max_replacements=1)
        return cells
    cells = pc.utf8_trim_whitespace(cells)
    cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
    if kind == "time":
        aware = pc.match_substring_regex(cells, _OFFSET)
        none = pa.scalar(None, pa.string())
        utc = pc.if_else(aware, cells, none).cast(pa.timestamp("us", "UTC"))
        naive = pc.if_else(aware, none, cells).cast(pa.timestamp("us"))
        return pc.coalesce(utc, naive.cast(pa.int64()).cast(pa.timestamp("us", "UTC")))
    if kind == "flag":
        return pc.utf8_lower(cells).cast(pa.bool_())
    if kind == "float" and comma:
        cells = pc.replace_substring(cells, ",", ".")
    if kind == "float":
        return cells.cast(pa.float64())
    try:
        return cells.cast(pa.int64())
    except pa.ArrowInvalid:  # a spreadsheet may turn 100000 into 1E+05
        return cells.cast(pa.float64()).cast(pa.int64())


def _any(masks: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    found = masks[0]
    for mask in masks[1:]:
        found = pc.or_(found, mask)
    return found
