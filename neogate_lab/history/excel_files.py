"""Tables to Excel workbooks, values as values; never a formula, a link, or where the file is."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import arrow_schema
from neogate_lab.history.schema import Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MOST_ROWS", "check_installed", "spooled", "write"]

MOST_ROWS = 1_048_576
"""Rows of a sheet, the header among them."""
_LONGEST = 32_767  # characters of a cell
_EXACT = 10**15  # Excel keeps 15 digits of a number
_WIDTHS = {"time": 23, "text": 20, "cat": 14}


def check_installed() -> None:
    """Raise `InvalidRequest` where XlsxWriter is missing."""
    try:
        import xlsxwriter  # noqa: F401
    except ImportError:
        raise InvalidRequest(
            "Excel files need XlsxWriter, which is not installed: "
            "pip install 'neogate-lab[excel]', or export to .csv or .parquet"
        ) from None


def write(table: Table, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> None:
    """Write one sheet: real dates in UTC, numbers and flags, text that is never run.

    A number of more than 15 digits, an infinite one and a time before 1900 become text: Excel has
    no such values.

    Parameters
    ----------
    batches : iterable of RecordBatch
        As `spooled` gives them: a workbook that was begun has to be finished.
    """
    import xlsxwriter

    # constant_memory: a row goes to disk as soon as the next one begins.
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    target = _Target(file)
    with xlsxwriter.Workbook(target, options) as book:
        book.use_zip64()  # only taken up beyond 4 GiB
        book.set_properties({"title": f"{table.name}: {table.row}", "comments": "times are UTC"})
        _fill(table, batches, book)
    if target.error is not None:
        raise target.error


class _Target:
    """Takes a workbook to its end, which one that was begun has to reach, on a full disk too."""

    def __init__(self, file: IO[bytes]) -> None:
        self.error: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """What is flushed is for the owner of the file to say."""


def _fill(table: Table, batches: Iterable[pa.RecordBatch], book: Any) -> None:
    sheet = book.add_worksheet(table.name)
    sheet.freeze_panes(1, 0)
    bold = book.add_format({"bold": True})
    stamp = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
    for place, column in enumerate(table.columns):
        sheet.set_column(place, place, _WIDTHS.get(column.kind, 10))
        title = f"{column.name} (UTC)" if column.kind == "time" else column.name
        sheet.write_string(0, place, title, bold)
    row = 0
    for batch in batches:
        columns = [_values(column.kind, batch[column.name]) for column in table.columns]
        for values in zip(*columns, strict=True):
            row += 1
            for place, value in enumerate(values):
                _put(sheet, row, place, value, stamp)


def _values(kind: str, array: pa.Array) -> list[Any]:
    import pyarrow as pa

    if kind == "time":
        array = array.cast(pa.timestamp("us"))  # Excel has no zones: the header says UTC
    return list(array.to_pylist())


def _put(sheet: Any, row: int, place: int, value: Any, stamp: Any) -> None:
    if value is None or value == "":
        return
    if isinstance(value, str):
        sheet.write_string(row, place, value)
    elif isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, int | float):
        if abs(value) < _EXACT or (isinstance(value, float) and math.isfinite(value)):
            sheet.write_number(row, place, value)
        elif value == value:
            sheet.write_string(row, place, str(value))
    elif value.year >= 1900:
        sheet.write_datetime(row, place, value, stamp)
    else:
        sheet.write_string(row, place, value.isoformat(" "))


@contextmanager
def spooled(table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[Iterable[pa.RecordBatch]]:
    """Keep rows in a temporary file until it is known that all of them fit.

    Raises
    ------
    InvalidRequest
        There are more rows, or a longer text, than Excel takes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    words = [column.name for column in table.columns if column.kind in ("text", "cat")]
    count = 0
    with tempfile.TemporaryFile() as file:
        with pa.ipc.new_stream(file, arrow_schema(table)) as stream:
            for batch in batches:
                count += batch.num_rows
                if count >= MOST_ROWS:
                    raise InvalidRequest(
                        f"a sheet holds {MOST_ROWS:,} rows, the header among them, and there are "
                        "more: choose fewer by since=, until=, port= or label=, or export to "
                        ".parquet or .csv"
                    )
                for name in words:
                    longest = pc.max(pc.utf8_length(batch[name].cast(pa.string()))).as_py()
                    if longest is not None and longest > _LONGEST:
                        raise InvalidRequest(
                            f"a text of column {name} is longer than the {_LONGEST:,} characters "
                            "of an Excel cell: export to .parquet or .csv"
                        )
                stream.write_batch(batch)
        file.seek(0)
        yield pa.ipc.open_stream(file)
