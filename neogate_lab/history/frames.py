"""Rows to Arrow to DataFrame, as the schema declares them; never a file, a query or a filter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.codec import encode_row, table_named
from neogate_lab.history.schema import Column, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "arrow_schema",
    "batch_of",
    "batch_of_frame",
    "completed",
    "conform",
    "fits",
    "frame_of",
    "frame_of_batches",
    "values_of",
]

_MANY = 100_000  # rows that are worth threads: numpy copies columns beside each other


def frame_of(table: str | Table, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make the DataFrame of a table or view from rows by column name.

    Parameters
    ----------
    table : str or Table
        A name in `schema.TABLES` or `schema.VIEWS`; or what is declared there.
    rows : iterable of mapping
        Aware UTC datetimes, str, int, bool, float; None or left out is unknown.

    Returns
    -------
    DataFrame
        One row each, in the order given, with the declared columns and types, also when empty.

    Raises
    ------
    InvalidRequest
        An unknown table or column, or a value that its column can't hold.
    """
    declared = table if isinstance(table, Table) else table_named(table, views=True)
    encoded = [encode_row(declared, row, stored=True) for row in rows]
    return frame_of_batches(declared, [batch_of(declared, encoded)])


def frame_of_records(view: str, records: Iterable[object]) -> pd.DataFrame:
    """Make the DataFrame of a view from records that have its columns as attributes."""
    names = table_named(view, views=True).names
    return frame_of(view, ({name: getattr(each, name) for name in names} for each in records))


def arrow_schema(table: Table) -> pa.Schema:
    """The table's columns as an Arrow schema, units and meaning in each field's metadata."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(
                column.name, _arrow_type(column), metadata={"unit": column.unit, "doc": column.doc}
            )
            for column in table.columns
        ]
    )


def batch_of(table: Table, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Make an Arrow batch from rows of SQLite values in the order of the table's columns."""
    import pyarrow as pa

    values = zip(*rows, strict=True) if rows else ((),) * len(table.columns)
    arrays = [_array(column, data) for column, data in zip(table.columns, values, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table))


def batch_of_frame(table: Table, frame: pd.DataFrame) -> pa.RecordBatch:
    """Make an Arrow batch from a DataFrame that has the table's columns, in any order.

    Raises
    ------
    InvalidRequest
        Columns are missing or too many, or hold what the schema doesn't allow.
    """
    import pyarrow as pa

    if not fits(table, [str(name) for name in frame.columns]):
        raise InvalidRequest(
            f"this frame's columns are not those of {table.name}: {', '.join(table.names)}"
        )
    try:
        data = pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise InvalidRequest(
            f"this frame does not hold what {table.name} declares; take it as this package made it"
        ) from error
    whole = conform(table, data).combine_chunks()
    batches = whole.to_batches()
    return batches[0] if batches else batch_of(table, [])


def values_of(column: Column, values: Sequence[Any]) -> pa.Array:
    """Make an Arrow array of SQLite values of one column; a category's are plain words."""
    import pyarrow as pa

    if column.kind == "flag":
        return pa.array(values, pa.int8()).cast(pa.bool_())
    return pa.array(values, pa.string() if column.kind == "cat" else _arrow_type(column))


def fits(table: Table, names: Sequence[str]) -> bool:
    """Whether these are the table's columns, in any order, now or in an earlier version."""
    whole = [*names, *(column.name for column in table.later(names))]
    return sorted(whole) == sorted(table.names)


def completed(table: Table, data: pa.Table) -> pa.Table:
    """Add the columns that came after `data` was written, unknown throughout, in order."""
    later = table.later(data.column_names)
    if not later:
        return data
    for column in later:
        nothing = "" if column.kind in ("text", "cat") else None
        data = data.append_column(column.name, _array(column, [nothing] * data.num_rows))
    return data.select(list(table.names))


def conform(table: Table, data: pa.Table) -> pa.Table:
    """Give Arrow data that `fits` the table its declared types, or raise `InvalidRequest`.

    Other tools change them: dictionaries become strings, microseconds nanoseconds.
    """
    import pyarrow as pa

    schema = arrow_schema(table)
    data = completed(table, data)
    columns = []
    for column, field in zip(table.columns, schema, strict=True):
        values = data[column.name]
        try:
            if column.kind == "cat" and values.type != field.type:
                values = values.cast(pa.string()).dictionary_encode()
            if column.kind in ("text", "cat") and values.null_count:
                values = values.cast(pa.string()).fill_null("")
                values = values.dictionary_encode() if column.kind == "cat" else values
            columns.append(values if values.type == field.type else values.cast(field.type))
        except pa.ArrowException as error:
            raise InvalidRequest(
                f"column {column.name} does not hold what {table.name} declares"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def frame_of_batches(table: Table, batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Make the DataFrame of Arrow batches: pandas types as declared, categories sorted and only
    those present, a fresh index.
    """
    import pandas as pd
    import pyarrow as pa

    whole = pa.Table.from_batches(batches, schema=arrow_schema(table))
    threads = min(4, os.cpu_count() or 1) if whole.num_rows > _MANY else 1
    with ThreadPoolExecutor(threads) as pool:
        arrays = pool.map(lambda column: _pandas(column, whole[column.name]), table.columns)
        columns = dict(zip(table.names, arrays, strict=True))
    return pd.DataFrame(columns, index=pd.RangeIndex(whole.num_rows), copy=False)


def _arrow_type(column: Column) -> pa.DataType:
    import pyarrow as pa

    kinds = {
        "time": lambda: pa.timestamp("us", tz="UTC"),
        "text": pa.string,
        "cat": lambda: pa.dictionary(pa.int32(), pa.string()),
        "flag": pa.bool_,
        "float": pa.float64,
        "int8": pa.int8,
        "int16": pa.int16,
        "int32": pa.int32,
        "int64": pa.int64,
    }
    made: pa.DataType = kinds[column.kind]()
    return made


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    array = values_of(column, values)
    return array.dictionary_encode() if column.kind == "cat" else array


def _pandas(column: Column, data: pa.ChunkedArray) -> Any:
    import pandas as pd

    if column.kind == "cat":
        return _categorical(data)
    if column.kind == "text":
        return data.to_pandas().astype("str")
    if column.kind in ("time", "float"):
        return data.to_pandas()
    dtype: Any = pd.api.types.pandas_dtype(
        "boolean" if column.kind == "flag" else column.kind.capitalize()
    )
    return dtype.__from_arrow__(data)


def _categorical(data: pa.ChunkedArray) -> Any:
    import numpy as np
    import pandas as pd

    data = data.unify_dictionaries()
    if not len(data):
        return pd.Categorical.from_codes([], dtype=pd.CategoricalDtype(pd.Index([], dtype="str")))
    words = data.chunk(0).dictionary.to_pylist()
    # Chunk by chunk: what fits the processor's cache is several times faster than the whole.
    chunks = [chunk.indices.to_numpy() for chunk in data.chunks]
    seen = np.zeros(len(words), bool)
    for codes in chunks:
        if seen.all():
            break
        seen[codes] = True
    used = sorted(np.flatnonzero(seen).tolist(), key=words.__getitem__)
    place = np.zeros(len(words), np.min_scalar_type(-max(len(used), 1)))
    place[used] = np.arange(len(used))
    placed = np.zeros(len(data), place.dtype)
    start = 0
    for codes in chunks if len(used) > 1 else ():
        np.take(place, codes, out=placed[start : start + len(codes)], mode="clip")
        start += len(codes)
    categories: Any = pd.Index([words[code] for code in used], dtype="str")
    coded: Any = placed
    return pd.Categorical.from_codes(coded, dtype=pd.CategoricalDtype(categories), validate=False)
