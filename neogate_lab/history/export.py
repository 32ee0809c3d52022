"""Tables to files and back, nothing lost on the way; never a query, a cell or a redaction rule."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history import csv_files, excel_files, parquet_files
from neogate_lab.history.codec import table_named
from neogate_lab.history.frames import batch_of_frame, conform, fits, frame_of_batches
from neogate_lab.history.places import Place, locate
from neogate_lab.history.redaction import Redaction
from neogate_lab.history.schema import TABLES, VIEWS, Table
from neogate_lab.progress import PATIENCE, Bar

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["export", "read_csv", "read_parquet"]

_SUFFIXES = (".parquet", ".csv", ".xlsx")
_ROWS = 65_536


def export(
    data: pd.DataFrame | Iterable[pa.RecordBatch],
    path: str | os.PathLike[str],
    table: str,
    *,
    redact: str | None = None,
    spreadsheet_safe: bool = True,
    partitioned: bool | None = None,
    bom: bool = False,
    progress: bool = True,
    key: bytes | None = None,
) -> Path | str:
    """Write rows to a file or a dataset, replacing it whole or not at all.

    Parameters
    ----------
    data : DataFrame or iterable of RecordBatch
        Rows with the table's columns; they are read once, and not all kept.
    path : str or path
        The suffix says the format: .parquet, .csv or .xlsx. Also a URL of fsspec, such as
        ``s3://…`` or ``memory://…``, where its package is installed.
    table : str
        The table or view that the rows belong to.
    redact : {None, "numbers", "text", "all"}
        What to hide; see `redaction.ACTIONS`.
    spreadsheet_safe : bool
        In CSV, put an apostrophe before cells that a spreadsheet would run; `read_csv` undoes it.
        Excel files never hold a formula.
    partitioned : bool, optional
        Write a folder of Parquet files by gateway and UTC day. Default: if `path` has no suffix.
        The folder belongs to the export, which replaces all of it: in one step on Linux and, for
        `read_parquet`, at URLs; elsewhere there may be none, or both, for a moment.
    bom : bool
        Begin CSV with the mark by which Excel knows UTF-8.
    progress : bool
        Show a bar when it takes longer than two seconds.
    key : bytes, optional
        Key of the tokens that stand for hidden cells; a random one if left out.

    Returns
    -------
    Path or str
        The file or folder; a URL as it was given.

    Raises
    ------
    InvalidRequest
        An unknown suffix, table or level, a missing folder, a frame of another table, a folder
        with other things in it, or more rows than Excel takes.
    StoreError
        It can't be written; what was there before is untouched.
    """
    declared = table_named(table, views=True)
    place = locate(path)
    suffix = _format(place, partitioned)
    if bom and suffix != ".csv":
        raise InvalidRequest("bom= is for CSV: end the path in .csv")
    redaction = None if redact is None else Redaction(redact, key or secrets.token_bytes(32))
    if suffix == "":
        if "gateway" not in declared.names:
            raise InvalidRequest(
                f"{table} has no gateway to partition by: end the path in .parquet"
            )
        parquet_files.check_owned(place)
    if suffix == ".xlsx":
        excel_files.check_installed()
    batches = _batches(declared, data)
    if redaction is not None:
        batches = (redaction.batch(declared, batch) for batch in batches)
    with contextlib.ExitStack() as stack:
        if suffix == "":
            create = stack.enter_context(place.replacing_folder())
            batches = stack.enter_context(_counted(batches, place.name, progress))
            parquet_files.write_dataset(declared, batches, create, redact)
            return place.answer()
        file = stack.enter_context(place.replacing())
        if suffix == ".xlsx":
            batches = stack.enter_context(excel_files.spooled(declared, batches))
        batches = stack.enter_context(_counted(batches, place.name, progress))
        if suffix == ".parquet":
            parquet_files.write(declared, batches, file, redact)
        elif suffix == ".csv":
            csv_files.write(declared, batches, file, safe=spreadsheet_safe, bom=bom)
        else:
            excel_files.write(declared, batches, file)
    return place.answer()


def read_parquet(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a Parquet export, a file or a dataset, with the declared types.

    Parameters
    ----------
    path : str or path
        A file, the folder of a dataset or of one of its partitions, or a URL of either.

    Returns
    -------
    DataFrame
        Equal to the one that was exported; rows of a dataset in the order of their time and
        row_id, as the store gives them.

    Raises
    ------
    InvalidRequest
        There is no such file, it isn't Parquet, of a newer version, or not one of this package's
        tables.
    """
    place = locate(path)
    dataset = place.is_folder()
    if not dataset:
        _check_there(place)
    whole = parquet_files.read(place, parquet_files.names(place) if dataset else [""])
    table = _fitting(whole.column_names, place)
    whole = conform(table, whole)
    if dataset and table.time in table.names:
        whole = whole.sort_by([(table.time, "ascending"), ("row_id", "ascending")])
    return frame_of_batches(table, whole.to_batches())


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
        UTF-8, with or without BOM; separated by comma, semicolon or tab. Also a URL of fsspec.
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
    place = locate(path)
    _check_there(place)
    with place.read() as file:
        header = csv_files.header(file)
    names, delimiter = csv_files.names_of(header)
    declared = _fitting(names, place, table)
    safe = not header.startswith('"') if spreadsheet_safe is None else spreadsheet_safe
    with place.read() as file:
        parsed = csv_files.parse(declared, file, names, delimiter, safe=safe, shown=str(place))
    return frame_of_batches(declared, conform(declared, parsed).to_batches())


def _format(place: Place, partitioned: bool | None) -> str:
    """The suffix that says the format, "" for a dataset; checks that something can be put there."""
    suffix = Path(place.name).suffix.lower()
    if partitioned is None:
        partitioned = not suffix
    if not place.name or place.name == "..":
        raise InvalidRequest(f"{place} is no name for a file or folder: give one")
    if partitioned and suffix in (".csv", ".xlsx"):
        raise InvalidRequest(f"{place.name}: only Parquet can be partitioned; leave off the suffix")
    if not partitioned and suffix not in _SUFFIXES:
        raise InvalidRequest(
            f"{place.name} has no known format: end it in {', '.join(_SUFFIXES)}, or in nothing "
            "for a Parquet dataset"
        )
    place.check_parent()
    if partitioned and place.is_file():
        raise InvalidRequest(f"{place} is a file: give a folder's name")
    if not partitioned and place.is_folder():
        raise InvalidRequest(f"{place} is a folder: give a file's name, or partitioned=True")
    return "" if partitioned else suffix


def _batches(table: Table, data: Any) -> Iterable[pa.RecordBatch]:
    """Small batches: what is made of one must fit in memory, and in Arrow's 2 GiB of text."""
    import pyarrow as pa

    for batch in [batch_of_frame(table, data)] if hasattr(data, "columns") else data:
        yield from pa.Table.from_batches([_own_words(batch)]).to_batches(max_chunksize=_ROWS)


def _own_words(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without words that none of its cells has: a selection of rows, a frame's category
    or a segment brings all words there were, and a file would hold them for everybody to find.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, array in enumerate(batch.columns):
        if pa.types.is_dictionary(array.type):
            used = pc.unique(array.indices).drop_null()
            if len(used) < len(array.dictionary):
                index = pc.index_in(array.indices, value_set=used)
                own = pa.DictionaryArray.from_arrays(index, array.dictionary.take(used))
                batch = batch.set_column(place, batch.schema.field(place), own)
    return batch


@contextlib.contextmanager
def _counted(
    batches: Iterable[pa.RecordBatch], name: str, progress: bool
) -> Iterator[Iterable[pa.RecordBatch]]:
    """Show how many rows went by, if that takes long."""
    bar = Bar(name, None, "row", delay=PATIENCE, scaled=True, shown=progress)

    def pass_on() -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in batches:
            yield batch
            done += batch.num_rows
            bar.show(done)

    with contextlib.closing(bar):
        yield pass_on()


def _fitting(names: Iterable[str], place: Place, wanted: str | None = None) -> Table:
    """Find the table with just these columns."""
    columns = list(names)
    if wanted is None:
        known = [*TABLES.values(), *VIEWS.values()]
    else:
        known = [table_named(wanted, views=True)]
    for table in known:
        if fits(table, columns):
            return table
    if wanted is not None:
        raise InvalidRequest(
            f"{place} has not the columns of {wanted}: {', '.join(known[0].names)}"
        )
    raise InvalidRequest(
        f"the columns of {place} are not those of any table: {', '.join(TABLES | VIEWS)}"
    )


def _check_there(place: Place) -> None:
    if not place.is_file():
        raise InvalidRequest(f"there is no file {place}: check the spelling")
