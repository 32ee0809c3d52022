"""Rows in and out of SQLite, checked against the schema; what a row means is never known here."""

from __future__ import annotations

import math
import operator
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import ALIASES, TABLES, VIEWS, Column, Kind, Table

__all__ = [
    "Row",
    "decode",
    "decode_time",
    "encode",
    "encode_row",
    "fetch",
    "insert",
    "micros",
    "table_named",
    "text",
    "update",
]

Row = dict[str, Any]
"""A row by column name: aware UTC datetimes, str, int, bool, float; None is unknown."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BITS: dict[Kind, int] = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def table_named(name: str, *, views: bool = False) -> Table:
    """Return the table called `name`; `InvalidRequest` names those that exist."""
    known = TABLES | VIEWS if views else TABLES
    name = ALIASES.get(name, name)
    if name not in known:
        spoken = {stored: verb for verb, stored in ALIASES.items()}
        names = ", ".join(spoken.get(each, each) for each in known)
        raise InvalidRequest(f"there is no table {name!r}; the tables are {names}")
    return known[name]


def micros(value: Any) -> int:
    """Microseconds since 1970 UTC of an aware datetime; `ValueError` for a naive one."""
    if not isinstance(value, datetime):
        raise TypeError("a datetime")
    if value.utcoffset() is None:
        raise ValueError("a datetime with a time zone")
    return int((value - _EPOCH) // _MICROSECOND)


def text(value: Any) -> str:
    """Return `value` as storable text: lone surrogates become U+FFFD, NUL is kept."""
    if not isinstance(value, str):
        raise TypeError("a str")
    try:
        value.encode()
    except UnicodeEncodeError:  # pairs become their character, what stays alone U+FFFD
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _flag(value: Any) -> int:
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's too
        return int(value)
    raise TypeError("True, False or None")


def _float(value: Any) -> float | None:
    if isinstance(value, bool | str):
        raise TypeError("a number")
    number = float(value)
    return None if math.isnan(number) else number


def _integer(bits: int) -> Callable[[Any], int]:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def convert(value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError("an int")
        number = operator.index(value)
        if not low <= number <= high:
            raise ValueError(f"between {low} and {high}")
        return number

    return convert


_ENCODERS: dict[Kind, Callable[[Any], Any]] = {
    "time": micros,
    "text": text,
    "cat": text,
    "flag": _flag,
    "float": _float,
    **{kind: _integer(bits) for kind, bits in _BITS.items()},
}


def encode(table: Table, column: Column, value: Any) -> Any:
    """Turn `value` into what SQLite keeps in `column`; None becomes "" in a text column.

    Raises
    ------
    InvalidRequest
        The type or the range is wrong; the message never shows the value.
    """
    if value is None:
        return "" if column.kind in ("text", "cat") else None
    try:
        return _ENCODERS[column.kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        what = {"time": "an aware datetime", "text": "a str", "cat": "a str", "float": "a number"}
        wanted = what.get(column.kind, "True, False or None" if column.kind == "flag" else "an int")
        limits = f" {error}" if column.kind in _BITS and type(error) is ValueError else ""
        raise InvalidRequest(
            f"{table.name}.{column.name} takes {wanted}{limits}, not this {type(value).__name__}"
        ) from None


def encode_row(table: Table, row: Mapping[str, Any], *, stored: bool = False) -> tuple[Any, ...]:
    """Turn `row` into SQLite values in the order of the table's columns.

    A row to be inserted has no row_id yet; one that is `stored`, or of a view, is taken as it is.
    """
    unknown = row.keys() - set(table.names)
    if unknown:
        raise InvalidRequest(
            f"{table.name} has no column {', '.join(sorted(map(str, unknown)))}; "
            f"its columns are {', '.join(table.names)}"
        )
    if not stored:
        if row.get("row_id") is not None:
            raise InvalidRequest(f"{table.name}.row_id is assigned by the store; leave it out")
        if row.get(table.time) is None:
            raise InvalidRequest(f"a row of {table.name} needs its {table.time}")
    return tuple(encode(table, column, row.get(column.name)) for column in table.columns)


def decode(table: Table, values: Sequence[Any]) -> Row:
    """Turn SQLite values, in the order of the table's columns, into a row."""
    return {
        column.name: _decode(column.kind, value)
        for column, value in zip(table.columns, values, strict=True)
    }


def decode_time(value: int) -> datetime:
    """The aware datetime of microseconds since 1970 UTC."""
    return _EPOCH + value * _MICROSECOND


def _decode(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind == "time":
        return decode_time(value)
    return bool(value) if kind == "flag" else value


def insert(
    connection: sqlite3.Connection, table: Table, rows: Iterable[Sequence[Any]]
) -> list[int]:
    """Insert encoded rows; their row_ids in order."""
    names = ", ".join(f'"{name}"' for name in table.names)
    marks = ", ".join("?" * len(table.names))
    sql = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608 - names come from the schema
    ids = []
    for values in rows:
        ids.append(connection.execute(sql, values).lastrowid or 0)
    return ids


def update(
    connection: sqlite3.Connection, table: Table, row_id: int, values: Mapping[str, Any]
) -> bool:
    """Set encoded `values` in one row; False when there is no such row."""
    names = ", ".join(f'"{name}" = ?' for name in values)
    sql = f'UPDATE "{table.name}" SET {names} WHERE row_id = ?'  # noqa: S608 - names come from the schema
    return connection.execute(sql, (*values.values(), row_id)).rowcount == 1


def fetch(
    connection: sqlite3.Connection, table: Table, where: str, parameters: Sequence[Any] = ()
) -> Iterator[Row]:
    """Rows that fit `where`, which may also order and limit them."""
    names = ", ".join(f'"{name}"' for name in table.names)
    sql = f'SELECT {names} FROM "{table.name}" WHERE {where}'  # noqa: S608 - names come from the schema
    return (decode(table, values) for values in connection.execute(sql, parameters))
