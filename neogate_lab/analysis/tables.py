"""What analysis reads and answers with: any `data` as an Ibis table, answers as typed frames.

Expressions keep to what DuckDB, PostgreSQL and Spark answer alike: grouping, counting, integer
seconds since 1970. What needs more than that is done on the small tables that come back.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab.errors import InvalidRequest, NeogateError
from neogate_lab.history.schema import TABLES, Column

__all__ = [
    "Data",
    "column_of",
    "extents",
    "fetch",
    "filled",
    "micros",
    "opened",
    "since_1970",
    "stretch_of",
    "typed",
    "utc",
]

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
        On DuckDB in this process, or wherever the Ibis table given lives. Rows without the time
        that every row has are left out.

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
        try:
            source.get_backend()
        except ibis.common.exceptions.IbisError as error:
            raise InvalidRequest(
                "this Ibis table belongs to no connection: take it from one, as con.table(…) or "
                "con.read_parquet(…)"
            ) from error
    elif isinstance(data, pd.DataFrame):
        present = [name for name in names if name in data.columns]
        if twice := [name for name in present if isinstance(data[name], pd.DataFrame)]:
            raise InvalidRequest(f"this frame has more than one column {', '.join(twice)}")
        _check([*present, *(column.name for column in declared.later(present))], names, table)
        source = _framed(data[present], table, ibis.duckdb.connect())
    elif isinstance(data, str | os.PathLike):
        source = _parquet(os.fspath(data), ibis.duckdb.connect())
    elif _is_store(data):
        source = data.table(table)
    else:
        kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
        raise InvalidRequest(
            f"{kind.removeprefix('builtins.')} can't be analysed; give a pandas DataFrame of the "
            f"table {table}, a Store, a path or URL of Parquet, or an Ibis table"
        )
    absent = [column for column in declared.later(source.columns) if column.name in names]
    if absent:  # written before these columns came
        source = source.mutate(
            **{column.name: ibis.null(_ENGINE_TYPES[column.kind]) for column in absent}
        )
    _check(source.columns, names, table)
    found = source.select(**{name: _fitting(declared.column(name), source) for name in names})
    return found.filter(found[declared.time].notnull()) if declared.time in names else found


def _fitting(column: Column, source: Any) -> Any:
    """A column of the declared type, where another tool or engine keeps it a little otherwise."""
    values = source[column.name]
    found = values.type()
    wanted = _ENGINE_TYPES[column.kind]
    if column.kind in ("text", "cat"):
        # Partitions by gateway make a number of one that is called 7.
        return values if found.is_string() else values.cast(wanted)
    if found.is_numeric():
        if found.is_decimal() or column.kind in ("flag", "float"):
            values = values.cast("float64")
        if column.kind == "flag":  # a CSV's column of nothing is one of NaN
            return values.isnan().ifelse(None, values != 0)
    fits = {"time": found.is_timestamp(), "flag": found.is_boolean()}
    if fits.get(column.kind, found.is_numeric()):
        return values
    if found.is_null():
        return values.cast(wanted)
    raise InvalidRequest(
        f"this is not the table as declared: its column {column.name} is {found}, which is no "
        f"{wanted.partition('(')[0]}; read exports with read_parquet or read_csv"
    )


def fetch(expression: Any) -> pd.DataFrame:
    """Run an Ibis expression.

    Returns
    -------
    DataFrame
        Columns of the types that the expression says, whatever the engine's driver makes of them;
        text is never missing.

    Raises
    ------
    InvalidRequest
        Its engine can't; in one sentence.
    """
    schema = expression.schema()
    times: list[str] = []
    if expression.get_backend().name == "pyspark":
        # Its driver shifts times by the session's zone, if that was changed since it was connected.
        times = [name for name, kind in schema.items() if kind.is_timestamp()]
        expression = expression.mutate([since_1970(expression[name]).name(name) for name in times])
    try:
        found = _run(expression)
    except NeogateError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        engine = expression.get_backend().name
        advice = ": export the table to Parquet and give its path or URL, which DuckDB reads here"
        raise InvalidRequest(
            f"{engine} can't answer this ({first}){'' if engine == 'duckdb' else advice}"
        ) from error
    text = [name for name, kind in schema.items() if kind.is_string()]
    frame: pd.DataFrame = found.to_pandas()
    for name in times:
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
    return frame.fillna(dict.fromkeys(text, "")) if text else frame


def _run(expression: Any) -> Any:
    import duckdb

    try:
        return expression.to_pyarrow()
    except duckdb.IOException:  # a store's segments were merged a moment ago: look again
        return expression.to_pyarrow()


def filled(table: Any, names: Collection[str]) -> Any:
    """The table with its missing words as "", so that they make one group."""
    import ibis

    schema = table.schema()
    words = [name for name in names if schema[name].is_string()]
    return table.mutate(**{name: ibis.coalesce(table[name], "") for name in words})


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


def extents(table: Any, *by: str, **more: Any) -> pd.DataFrame:
    """How many rows each group of an Ibis table has, from when to when; and `more` of each.

    Returns
    -------
    DataFrame
        The columns `by`, then n, first, last and those of `more`; in no order.
    """
    time = table.time
    rows = fetch(
        table.group_by(list(by)).aggregate(
            n=table.count(), first=time.min(), last=time.max(), **more
        )
    )
    return rows.assign(first=utc(rows["first"]), last=utc(rows["last"]))


def utc(times: pd.Series) -> pd.Series:
    """Times as `datetime64[us, UTC]`; some engines answer naive ones, some in nanoseconds."""
    return pd.to_datetime(times, utc=True).astype("datetime64[us, UTC]")


_MICROS = {"duckdb": "epoch_us", "pyspark": "unix_micros"}
"""What engines call microseconds since 1970, where Ibis's seconds are rounded."""


def since_1970(time: Any) -> Any:
    """A column of times as whole microseconds since 1970.

    Exact on DuckDB, Spark and PostgreSQL from 14 on; of engines that tell seconds only, seconds.
    """
    name = _MICROS.get(time.get_backend().name)
    if name is None:
        return time.epoch_seconds() * 1_000_000
    if name == "unix_micros":  # takes no time without a zone
        time = time.cast("timestamp('UTC')")
    return _function(name, time.type())(time)


@cache
def _function(name: str, kind: Any) -> Any:
    """A function that an engine has; each one made stays in memory."""
    import ibis

    def signature(time: Any) -> int: ...  # type: ignore[empty-body]

    return ibis.udf.scalar.builtin(signature, name=name, signature=((kind,), "int64"))


def stretch_of(time: Any, seconds: int) -> Any:
    """The start of the stretch of so many seconds that a time lies in; microseconds since 1970."""
    length = seconds * 1_000_000
    # Engines' % is negative before 1970, so that times are moved by whole stretches first.
    later = (10**17 // length + 1) * length
    return time - (time + later) % length


def micros(times: pd.Series) -> np.ndarray[Any, Any]:
    """Microseconds since 1970 of times without a missing one."""
    return utc(times).astype("int64").to_numpy()


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


def _plain(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """What engines know: categories as the words that they are, columns of nothing with a type."""
    kinds = {"text": "str", "cat": "str", "flag": "boolean", "time": "datetime64[us, UTC]"}
    made = {}
    for name in frame:
        column = TABLES[table].column(str(name))
        nothing = frame[name].dtype == object and not frame[name].notna().any()
        if nothing or isinstance(frame[name].dtype, pd.CategoricalDtype):
            made[name] = kinds.get(column.kind, "Float64") if nothing else "str"
    return frame.astype(made) if made else frame


def _framed(frame: pd.DataFrame, table: str, connection: Any) -> Any:
    try:
        return connection.create_table(table, _plain(frame, table), temp=True)
    except (TypeError, ValueError) as error:  # Arrow's are among them
        column = error.args[-1] if len(error.args) > 1 else "mixed types"
        raise InvalidRequest(
            f"this frame does not hold what {table} declares ({column}): take it as this package "
            "made it, or read it with read_parquet or read_csv"
        ) from error


def _is_store(data: object) -> bool:
    from neogate_lab.history.store import Store

    return isinstance(data, Store)


def _parquet(path: str, connection: Any) -> Any:
    import duckdb

    scheme, separator, _ = path.removeprefix("file://").partition("://")
    if not separator:
        place = Path(scheme).expanduser()
        if (place / "journal.sqlite").exists():
            raise InvalidRequest(f"{place} is a store: give open_store({str(place)!r})")
        if not place.exists() and not any(letter in path for letter in "*?["):
            raise InvalidRequest(f"there is no file or folder {place}: check the spelling")
        path = glob.escape(str(place)) if place.exists() else str(place)
        path += "/**/*.parquet" if place.is_dir() else ""
    else:
        try:
            import fsspec
        except ImportError as error:
            raise InvalidRequest(
                f"{scheme} URLs need fsspec, which is not installed: "
                "pip install 'neogate-lab[remote]'"
            ) from error
        try:
            connection.register_filesystem(fsspec.filesystem(scheme))
        except (ImportError, ValueError) as error:
            raise InvalidRequest(f"fsspec can't open {scheme} URLs: {error}") from error
        if not path.endswith(".parquet"):
            path = path.rstrip("/") + "/**/*.parquet"
    try:
        return connection.read_parquet(
            path,
            hive_partitioning=True,
            hive_types_autocast=False,
            union_by_name=True,  # columns that came later are in no file from before
        )
    except duckdb.Error as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidRequest(f"{path} can't be read as Parquet: {first}") from error


def _check(found: Collection[str], needed: Collection[str], table: str) -> None:
    missing = [name for name in needed if name not in found]
    if missing:
        raise InvalidRequest(
            f"this is not the table {table}: it has no column {', '.join(missing)}"
        )
