"""Which rows a reader asks for, checked once; never how a tier of the store finds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.codec import encode, micros
from neogate_lab.history.schema import Table
from neogate_lab.times import Moment, moment

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one table: a span of time, rows after one, and the values that columns may have.

    Times are microseconds since 1970 UTC, values as SQLite keeps them.
    """

    table: Table
    since: int | None = None
    until: int | None = None
    after_row: int | None = None
    equals: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def sql(self) -> tuple[str, list[Any]]:
        """What follows FROM in the journal's SQL, and its parameters."""
        terms: list[str] = []
        parameters: list[Any] = []
        bounds = ((self.table.time, ">=", self.since), (self.table.time, "<", self.until))
        for name, operator, value in (*bounds, ("row_id", ">", self.after_row)):
            if value is not None:
                terms.append(f'"{name}" {operator} ?')
                parameters.append(value)
        for name, values in self.equals:
            terms.append(f'"{name}" IN ({", ".join("?" * len(values))})')
            parameters.extend(values)
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        # What is new is found by row_id; SQLite would rather walk the index that sorts.
        hint = "" if self.after_row is None else " NOT INDEXED"
        order = f'ORDER BY "{self.table.time}", row_id'
        return f'"{self.table.name}"{hint}{where} {order}', parameters


def select(
    table: Table,
    *,
    now: datetime,
    since: Moment | None = None,
    until: Moment | None = None,
    after_row: int | None = None,
    equals: Mapping[str, Any],
) -> Selection:
    """Check a reader's arguments; `None` and a missing name are no filter.

    Raises
    ------
    InvalidRequest
        A column that the table doesn't have, a value of the wrong type or that it never holds, a
        time that can't be read, or times the wrong way round.
    """
    chosen = []
    for name, wanted in equals.items():
        if wanted is None:
            continue
        if name not in table.names:
            raise InvalidRequest(
                f"{table.name} has no column {name!r} to filter by; "
                f"its columns are {', '.join(table.names)}"
            )
        single = isinstance(wanted, str | bytes | Mapping) or not hasattr(wanted, "__iter__")
        values: Collection[Any] = [wanted] if single else list(wanted)
        column = table.column(name)
        encoded = tuple(encode(table, column, value) for value in values)
        if column.values and (strange := set(encoded) - set(column.values)):
            raise InvalidRequest(
                f"{table.name}.{name} is never {min(strange)!r}; it is one of "
                f"{', '.join(value or repr(value) for value in column.values)}"
            )
        chosen.append((name, encoded))
    if after_row is not None:
        after_row = encode(table, table.column("row_id"), after_row)
    start, end = _micros("since", since, now), _micros("until", until, now)
    if start is not None and end is not None and start > end:
        raise InvalidRequest(
            f"since={str(since)!r} is later than until={str(until)!r}: swap the two"
        )
    return Selection(table, start, end, after_row, tuple(chosen))


def _micros(name: str, value: Moment | None, now: datetime) -> int | None:
    return None if value is None else micros(moment(value, now, name))
