"""How users write times and periods ("2h", a timedelta, "2026-11-20 08:00"), read once for all."""

from __future__ import annotations

import math
import numbers
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from neogate_lab.errors import InvalidRequest

__all__ = ["Moment", "Period", "moment", "seconds"]

Moment = date | timedelta | str
"""A time, or how long ago: "2026-11-20 08:00", a datetime, a date, "2h", a timedelta."""
Period = float | str | timedelta
"""A length: seconds as a number, "10s", "1.5h", a timedelta."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LENGTH = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*"
    r"(?:(ms)|(s)(?:ec(?:ond)?s?)?|(m)(?:in(?:ute)?s?)?|(h)(?:ours?)?|(d)(?:ays?)?|(w)(?:eeks?)?)\s*",
    re.IGNORECASE | re.ASCII,
)


def moment(value: Moment, now: datetime, name: str = "since") -> datetime:
    """Read a time or "how long ago" as an aware UTC datetime; a naive time means UTC.

    Parameters
    ----------
    value : datetime, date, timedelta or str
        An ISO 8601 time or date, or a length before `now`: "90s", "30m", "2h", "1.5d", "2w"; of
        pandas and numpy, too. A date is its first moment in UTC.
    now : datetime
        The present, aware.
    name : str
        The argument's name, for the error.

    Raises
    ------
    InvalidRequest
        It can't be read, or is a negative length.
    """
    given: Any = value
    try:
        value = _plain(value)
        if isinstance(value, str) and (ago := _LENGTH.fullmatch(value)):
            value = timedelta(seconds=float(ago[1]) * _UNITS[ago[ago.lastindex or 0].lower()])
        if isinstance(value, timedelta) and value >= timedelta(0):
            return now - value
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime) and value == value:  # NaT is no time
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(
        f'{name} takes a time ("2026-11-20 08:00", a datetime; naive means UTC) or how long ago '
        f'("90s", "30m", "2h", "7d", a timedelta), not {given!r}'
    )


def seconds(value: Period, name: str) -> float:
    """Read a period in seconds.

    Parameters
    ----------
    value : float, str or timedelta
        Seconds as a number, "10s", "5m", "2h", "1d", "1w", or a timedelta.
    name : str
        The argument's name, for the error.

    Raises
    ------
    InvalidRequest
        It can't be read, or is not above zero.
    """
    length = math.nan
    given = f"{value!r}"
    value = _plain(value)
    if isinstance(value, str) and (read := _LENGTH.fullmatch(value)):
        length = float(read[1]) * _UNITS[read[read.lastindex or 0].lower()]
    elif isinstance(value, timedelta):
        length = value.total_seconds()
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        length = float(value)
    if math.isfinite(length) and length > 0:
        return length
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value, re.ASCII):
        given += ", which has no unit"
    raise InvalidRequest(
        f'{name} takes a period above zero: seconds as a number, "10s", "5m", "2h", "1d" or a '
        f"timedelta, not {given}"
    )


def _plain(value: Any) -> Any:
    """A time or a length of numpy as Python's own, which has no zone; None for NaT.

    numpy's lengths pass for numbers, whatever their unit is.
    """
    name = type(value).__name__
    if name not in ("datetime64", "timedelta64"):
        return value
    plain = value.astype(f"{name}[us]").item()
    return None if isinstance(plain, int) else plain  # of years that Python's has not
