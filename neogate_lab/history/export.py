"""Tables to Parquet and CSV files and back, nothing lost on the way; never a query or a redaction
rule.

A CSV cell that a spreadsheet would run gets an apostrophe in front; so does one that begins with
apostrophes before such a start, which makes the step reversible. In a file written without this the
header is quoted, which tells the reader that there is nothing to undo.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history.codec import table_named
from neogate_lab.history.frames import (
    arrow_schema,
    batch_of_frame,
    conform,
    frame_of_batches,
)
from neogate_lab.history.redaction import Redaction
from neogate_lab.history.schema import SCHEMA_VERSION, TABLES, VIEWS, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["check_path", "export", "read_csv", "read_parquet"]

_PREFIX = "neogate_lab."
_RUNS = r"^'*[=+\-@\t\r]"
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"  # plain and phone numbers; `$` is the end of text in RE2
_UNDO = r"^'('*[=+\-@\t\r])"
_QUOTED = r'[",;\t\r\n]|^\s|\s$'
_OFFSET = r"(Z|[+-][0-9]{2}:?[0-9]{2})$"


def export(
    data: pd.DataFrame | Iterable[pa.RecordBatch],
    path: str | os.PathLike[str],
    table: str,
    *,
    redact: str | None = None,
    spreadsheet_safe: bool = True,
    key: bytes | None = None,
) -> Path:
    """Write rows to a .parquet or .csv file, replacing it whole or not at all.

    Parameters
    ----------
    data : DataFrame or iterable of RecordBatch
        Rows with the table's columns.
    path : str or path
        The suffix says the format.
    table : str
        The table or view that the rows belong to.
    redact : {None, "numbers", "text", "all"}
        What to hide; see `redaction.ACTIONS`.
    spreadsheet_safe : bool
        In CSV, put an apostrophe before cells that a spreadsheet would run; `read_csv` undoes it.
    key : bytes, optional
        Key of the tokens that stand for hidden cells; a random one if left out.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidRequest
        An unknown suffix, table or level, a missing folder, or a frame of another table.
    StoreError
        The file can't be written; what was there before is untouched.
    """
    declared = table_named(table, views=True)
    write = _WRITERS[check_path(path)]
    redaction = None if redact is None else Redaction(redact, key or secrets.token_bytes(32))
    target = Path(path).expanduser()
    batches = _batches(declared, data)
    if redaction is not None:
        batches = (redaction.batch(declared, batch) for batch in batches)
    with _replacing(target) as file:
        write(declared, batches, file, redact, spreadsheet_safe)
    return target


def check_path(path: str | os.PathLike[str]) -> str:
    """Return the format's suffix; `InvalidRequest` names the formats, or the missing folder."""
    target = Path(path).expanduser()
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise InvalidRequest(
            f"{target.name or target} has no known format: end it in {' or '.join(_WRITERS)}"
        )
    if not target.parent.is_dir():
        raise InvalidRequest(f"there is no folder {target.parent}: make it first")
    if target.is_dir():
        raise InvalidRequest(f"{target} is a folder: give a file's name")
    return suffix


def read_parquet(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a Parquet export with the declared types.

    Returns
    -------
    DataFrame
        Equal to the one that was exported.

    Raises
    ------
    InvalidRequest
        It isn't a file, not Parquet, of a newer version, or not one of this package's tables.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = _source(path)
    try:
        whole = pq.read_table(source, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequest(f"{source} can't be read as Parquet: {error}") from error
    metadata = whole.schema.metadata or {}
    version = int(metadata.get(f"{_PREFIX}schema_version".encode(), b"0"))
    if version > SCHEMA_VERSION:
        raise InvalidRequest(f"{source} was written by a newer neogate_lab: upgrade to read it")
    table = _fitting(whole.column_names, source)
    return frame_of_batches(table, conform(table, whole).to_batches())


def read_csv(
    path: str | os.PathLike[str],
    table: str | None = None,
    *,
    spreadsheet_safe: bool | None = None,
) -> pd.DataFrame:
    """Read a CSV export with the declared types, also one that a spreadsheet saved again.

    Parameters
    ----------
    path : str or path
        UTF-8, with or without BOM; separated by comma, semicolon or tab.
    table : str, optional
        Which table it is; the header tells if left out.
    spreadsheet_safe : bool, optional
        How it was written; the header tells if left out.

    Returns
    -------
    DataFrame
        Equal to the one that was exported. Times without an offset are taken as UTC.

    Raises
    ------
    InvalidRequest
        It isn't a file, its header is no table's, or a cell doesn't fit its column; the message
        names the column, never the cell.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    source = _source(path)
    header = _header(source)
    delimiter = max(",;\t", key=header.count)
    names = [name.strip().strip('"').strip().lower() for name in header.split(delimiter)]
    declared = _fitting(names, source, table)
    try:
        whole = csv.read_csv(
            source,
            read_options=csv.ReadOptions(skip_rows=1, column_names=names),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException:  # its words would show the line
        raise InvalidRequest(
            f"{source} can't be read as CSV: it isn't UTF-8, or a line has not {len(names)} cells"
        ) from None
    first = whole[names[0]]
    if pc.any(pc.equal(first, "")).as_py():  # spreadsheets leave rows of nothing at the end
        filled = [pc.not_equal(column, "") for column in whole.columns]
        whole = whole.filter(_any(filled))
    if spreadsheet_safe is None:
        spreadsheet_safe = not header.startswith('"')
    columns = []
    for column in declared.columns:
        cells = whole[column.name]
        try:
            columns.append(_parse(column.kind, cells, spreadsheet_safe, delimiter == ";"))
        except pa.ArrowException:
            raise InvalidRequest(
                f"{source}: a cell of column {column.name} is not of its type"
            ) from None
    parsed = pa.table(columns, names=list(declared.names))
    return frame_of_batches(declared, conform(declared, parsed).to_batches())


def _batches(table: Table, data: Any) -> Iterable[pa.RecordBatch]:
    return [batch_of_frame(table, data)] if hasattr(data, "columns") else data


def _write_parquet(
    table: Table, batches: Iterable[pa.RecordBatch], file: IO[bytes], redact: str | None, _: bool
) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    gateways: set[str] = set()
    times: list[Any] = []
    with pq.ParquetWriter(file, arrow_schema(table), compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            if "gateway" in table.names:
                gateways.update(pc.unique(batch["gateway"].cast("string")).to_pylist())
            if table.time in table.names and batch.num_rows:
                span = pc.min_max(batch[table.time]).as_py()
                times += [time for time in span.values() if time is not None]
        about = {
            "table": table.name,
            "schema_version": SCHEMA_VERSION,
            "units": {column.name: column.unit for column in table.columns if column.unit},
            "gateways": sorted(gateways),
            "time_range": [time.isoformat() for time in (min(times), max(times))] if times else [],
            "redacted": redact or "",
            "package_version": _package_version(),
        }
        metadata = {
            f"{_PREFIX}{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in about.items()
        }
        # Arrow's readers look into the schema that is kept under this key, all others beside it.
        schema = base64.b64encode(arrow_schema(table).with_metadata(metadata).serialize())
        writer.add_key_value_metadata({**metadata, "ARROW:schema": schema})


def _write_csv(
    table: Table, batches: Iterable[pa.RecordBatch], file: IO[bytes], _: str | None, safe: bool
) -> None:
    import pyarrow.compute as pc

    names = table.names if safe else [f'"{name}"' for name in table.names]
    file.write(f"{','.join(names)}\r\n".encode())
    for batch in batches:
        if not batch.num_rows:
            continue
        cells = [
            _cells(column.kind, array, safe)
            for column, array in zip(table.columns, batch.columns, strict=True)
        ]
        joined = {"null_handling": "replace", "null_replacement": ""}
        cells[-1] = pc.binary_join_element_wise(cells[-1], "\r\n", "", **joined)
        lines = pc.binary_join_element_wise(*cells, ",", **joined)
        _, offsets, text = lines.buffers()  # the lines stand there one behind the other
        ends = memoryview(offsets).cast("i")
        file.write(text[ends[lines.offset] : ends[lines.offset + len(lines)]])


_WRITERS: dict[str, Callable[..., None]] = {".parquet": _write_parquet, ".csv": _write_csv}


def _cells(kind: str, array: pa.Array, safe: bool) -> pa.Array:
    """Cells as they stand in the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "time":
        ticks = array.cast(pa.timestamp("us")).dictionary_encode()  # many ports share one
        words = pc.strftime(ticks.dictionary, format="%Y-%m-%dT%H:%M:%S+00:00", locale="C")
        return words.take(ticks.indices)
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


def _fitting(names: Iterable[str], source: Path, wanted: str | None = None) -> Table:
    """Find the table with just these columns."""
    columns = list(names)
    known = (
        [table_named(wanted, views=True)]
        if wanted is not None
        else [
            *TABLES.values(),
            *VIEWS.values(),
        ]
    )
    for table in known:
        if sorted(table.names) == sorted(columns):
            return table
    if wanted is not None:
        raise InvalidRequest(
            f"{source} has not the columns of {wanted}: {', '.join(known[0].names)}"
        )
    raise InvalidRequest(
        f"the columns of {source} are not those of any table: {', '.join(TABLES | VIEWS)}"
    )


def _source(path: str | os.PathLike[str]) -> Path:
    source = Path(path).expanduser()
    if not source.is_file():
        raise InvalidRequest(f"there is no file {source}: check the spelling")
    return source


def _header(source: Path) -> str:
    with source.open("rb") as file:
        line = file.readline(65_536)
    return line.decode("utf-8-sig", "replace").rstrip("\r\n")


def _package_version() -> str:
    try:
        return importlib.metadata.version("neogate-lab")
    except importlib.metadata.PackageNotFoundError:
        return ""  # run from a source tree


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """Give a file beside `target` that takes its place when everything is on disk."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise StoreError(
            f"{target} can't be written ({error.strerror or error}): nothing was changed there"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):  # there is none once it was renamed
            draft.unlink()
