"""What analysis reads and answers with: any `data` as an Ibis table, answers as typed frames.

Expressions keep to what DuckDB, PostgreSQL and Spark answer alike: grouping, counting, integer
seconds since 1970. What needs more than that is done on the small tables that come back.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import TABLES, Column

__all__ = ["Data", "column_of", "fetch", "opened", "typed"]

_ENGINE_TYPES = {
    "time": "timestamp('UTC')",
    "text": "string",
    "cat": "string",
    "flag": "boolean",
    "float": "float64",
    **{kind: kind for kind in ("int8", "int16", "int32", "int64")},
}

Data = Any
"""A DataFrame, a `Store`, a path or URL of Parquet, or an Ibis table."""


def opened(data: Data, table: str, columns: Collection[str]) -> Any:
    """Open `data` as an Ibis table that has these columns of a declared table.

    Parameters
    ----------
    data : DataFrame, Store, str, path or Ibis table
        A folder of Parquet files is read whole, Hive partitions as columns; a URL through fsspec.
    table : str
        Which table of a store, and where the columns are declared.
    columns : collection of str
        Those needed.

    Returns
    -------
    ibis.Table
        On DuckDB in this process, or wherever the Ibis table given lives.

    Raises
    ------
    InvalidRequest
        `data` is none of these, can't be read, or lacks columns.
    """
    import ibis

    declared = TABLES[table]
    names = [name for name in declared.names if name in columns]
    if isinstance(data, ibis.Table):
        source = data
    elif isinstance(data, pd.DataFrame):
        present = [name for name in names if name in data.columns]
        _check([*present, *(column.name for column in declared.later(present))], names, table)
        source = ibis.duckdb.connect().create_table(table, _plain(data[present]), temp=True)
    elif isinstance(data, str | os.PathLike):
        source = _parquet(os.fspath(data), ibis.duckdb.connect())
    elif _is_store(data):
        return opened(data.frame(table), table, columns)
    else:
        raise InvalidRequest(
            f"a {type(data).__name__} can't be analysed; give a DataFrame of the table {table}, a "
            "Store, a path or URL of Parquet, or an Ibis table"
        )
    absent = [column for column in declared.later(source.columns) if column.name in names]
    if absent:  # written before these columns came
        source = source.mutate(
            **{column.name: ibis.null(_ENGINE_TYPES[column.kind]) for column in absent}
        )
    _check(source.columns, names, table)
    return source.select(*names)


def fetch(expression: Any) -> pd.DataFrame:
    """Run an Ibis expression; `InvalidRequest` in one sentence if its engine can't."""
    import ibis

    try:
        frame: pd.DataFrame = expression.execute()
    except ibis.common.exceptions.IbisError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidRequest(
            f"this engine can't run that ({first}); export to Parquet and give the path instead"
        ) from error
    return frame


def typed(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Give an answer its declared columns and types, whatever an engine made of them."""
    made = {column.name: _typed(column, frame[column.name]) for column in columns}
    return pd.DataFrame(made, index=pd.RangeIndex(len(frame)))


def column_of(table: str, name: str) -> Column:
    """The declaration of a column; `InvalidRequest` names those that there are."""
    if name not in TABLES[table].names:
        raise InvalidRequest(
            f"{table} has no column {name!r}; its columns are {', '.join(TABLES[table].names)}"
        )
    return TABLES[table].column(name)


def utc(times: pd.Series) -> pd.Series:
    """Times as `datetime64[us, UTC]`; some engines answer naive ones, some in nanoseconds."""
    return pd.to_datetime(times, utc=True).astype("datetime64[us, UTC]")


def _typed(column: Column, values: pd.Series) -> Any:
    if column.kind == "time":
        return utc(values).array
    if column.kind == "text":
        return values.astype("str").fillna("").array
    if column.kind == "cat":
        words = values.astype("str").fillna("")
        return pd.Categorical(words, categories=pd.Index(sorted(words.unique()), dtype="str"))
    if column.kind == "flag":
        return values.astype("boolean").array
    if column.kind == "float":
        return pd.to_numeric(values).astype("Float64").to_numpy(float, na_value=np.nan)
    whole: Any = column.kind.capitalize()
    return pd.to_numeric(values).astype("Float64").astype(whole).array


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as the words that they are, for engines that know only words."""
    words = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(words, "str")) if words else frame


def _is_store(data: object) -> bool:
    from neogate_lab.history.store import Store

    return isinstance(data, Store)


def _parquet(path: str, connection: Any) -> Any:
    import duckdb

    scheme, separator, _ = path.partition("://")
    if not separator:
        place = Path(path).expanduser()
        if not place.exists() and not any(letter in path for letter in "*?["):
            raise InvalidRequest(f"there is no file or folder {place}: check the spelling")
        path = str(place / "**" / "*.parquet") if place.is_dir() else str(place)
    elif scheme != "file":
        try:
            import fsspec
        except ImportError as error:
            raise InvalidRequest(f"{scheme} URLs need the package fsspec: install it") from error
        try:
            connection.register_filesystem(fsspec.filesystem(scheme))
        except (ImportError, ValueError) as error:
            raise InvalidRequest(f"fsspec can't open {scheme} URLs: {error}") from error
        if not path.endswith(".parquet"):
            path = path.rstrip("/") + "/**/*.parquet"
    try:
        return connection.read_parquet(path, hive_partitioning=True)
    except duckdb.Error as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidRequest(f"{path} can't be read as Parquet: {first}") from error


def _check(found: Collection[str], needed: Collection[str], table: str) -> None:
    missing = [name for name in needed if name not in found]
    if missing:
        raise InvalidRequest(
            f"this is not the table {table}: it has no column {', '.join(missing)}"
        )
