"""Which rows a reader asks for, checked once; never how a tier of the store finds them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.codec import encode, micros
from neogate_lab.history.schema import Table

__all__ = ["Moment", "Selection", "moment", "select"]

Moment = datetime | timedelta | str | None
"""A time, or how long ago: "2026-11-20", "2h", a timedelta."""

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*", re.IGNORECASE | re.ASCII)


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
    since: Moment = None,
    until: Moment = None,
    after_row: int | None = None,
    equals: Mapping[str, Any],
) -> Selection:
    """Check a reader's arguments; `None` and a missing name are no filter.

    Raises
    ------
    InvalidRequest
        A column that the table doesn't have, a value of the wrong type, a time that can't be read.
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
        chosen.append((name, tuple(encode(table, column, value) for value in values)))
    if after_row is not None:
        after_row = encode(table, table.column("row_id"), after_row)
    return Selection(
        table,
        _micros("since", since, now),
        _micros("until", until, now),
        after_row,
        tuple(chosen),
    )


def moment(value: Moment, now: datetime, name: str = "since") -> datetime:
    """Read a time or "how long ago" as an aware UTC datetime; a naive time means UTC.

    Parameters
    ----------
    value : datetime, timedelta or str
        An ISO 8601 time or date, or a length before `now`: "90s", "30m", "2h", "1.5d", "2w".
    now : datetime
        The present, aware.
    name : str
        The argument's name, for the error.

    Raises
    ------
    InvalidRequest
        It can't be read, or is a negative length.
    """
    try:
        if isinstance(value, str) and (ago := _AGO.fullmatch(value)):
            value = timedelta(**{_UNITS[ago[2].lower()]: float(ago[1])})
        if isinstance(value, timedelta) and value >= timedelta(0):
            return now - value
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif type(value).__name__ == "datetime64":  # numpy's, which has no zone
            value = datetime.fromisoformat(str(value)[:26])
        if isinstance(value, datetime) and value == value:  # NaT is no time
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(
        f'{name} takes a time ("2026-11-20 08:00", a datetime; naive means UTC) or how long ago '
        f'("90s", "30m", "2h", "7d", a timedelta), not this {type(value).__name__}'
    )


def _micros(name: str, value: Moment, now: datetime) -> int | None:
    return None if value is None else micros(moment(value, now, name))
