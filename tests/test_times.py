"""Times and periods as users write them, and a clear no to everything else."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.times import moment, seconds

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-11-20 08:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        (" 2026-11-20T08:00:00+02:00 ", datetime(2026, 11, 20, 6, tzinfo=UTC)),
        (datetime(2026, 11, 20, 8), datetime(2026, 11, 20, 8, tzinfo=UTC)),
        (
            datetime(2026, 11, 20, 8, tzinfo=timezone(timedelta(hours=3))),
            datetime(2026, 11, 20, 5, tzinfo=UTC),
        ),
        (pd.Timestamp("2026-11-20 08:00"), datetime(2026, 11, 20, 8, tzinfo=UTC)),
        (pd.Timestamp("2026-11-20 08:00", tz="Asia/Tokyo"), datetime(2026, 11, 19, 23, tzinfo=UTC)),
        (np.datetime64("2026-11-20T08:00:00.5"), datetime(2026, 11, 20, 8, 0, 0, 500_000, UTC)),
        (np.datetime64("2026-11-20T08:00", "ns"), datetime(2026, 11, 20, 8, tzinfo=UTC)),
        (date(2026, 11, 20), datetime(2026, 11, 20, tzinfo=UTC)),
        (timedelta(hours=2), NOW - timedelta(hours=2)),
        (np.timedelta64(2, "h"), NOW - timedelta(hours=2)),
        (np.timedelta64(90 * 10**9, "ns"), NOW - timedelta(seconds=90)),
        (pd.Timedelta("2h"), NOW - timedelta(hours=2)),
        ("0s", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("30 m", NOW - timedelta(minutes=30)),
        ("30min", NOW - timedelta(minutes=30)),
        ("1.5d", NOW - timedelta(hours=36)),
        ("2W", NOW - timedelta(weeks=2)),
    ],
    ids=str,
)
def test_a_moment_is_aware_and_utc(value: Any, read: datetime) -> None:
    got = moment(value, NOW)
    assert got == read
    assert got.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "2h ago",
        "-2h",
        "2026-13-01",
        "9" * 30 + "d",
        timedelta(hours=-1),
        timedelta.max,
        pd.NaT,
        np.datetime64("NaT", "us"),
        5,
        None,
        np.datetime64("30000-01-01"),
        np.timedelta64(-2, "h"),
        np.timedelta64("NaT", "s"),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=3))),
    ],
    ids=str,
)
def test_what_is_no_moment_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="until takes a time"):
        moment(value, NOW, "until")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (10, 10.0),
        (0.5, 0.5),
        (np.int64(10), 10.0),
        (np.float32(0.5), 0.5),
        ("250ms", 0.25),
        ("10s", 10.0),
        ("1.5h", 5400.0),
        ("1D", 86_400.0),
        (timedelta(minutes=5), 300.0),
        (pd.Timedelta("5min"), 300.0),
        (np.timedelta64(5, "m"), 300.0),
        (np.timedelta64(10 * 10**9, "ns"), 10.0),
    ],
    ids=str,
)
def test_a_period_is_seconds(value: Any, read: float) -> None:
    got = seconds(value, "every")
    assert got == read
    assert type(got) is float


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, "0s", "10", "s", "ten", math.nan, math.inf, True, None),
        *(timedelta(0), pd.NaT, np.timedelta64("NaT", "s"), date(2026, 11, 20)),
    ],
)
def test_what_is_no_period_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="every takes a period"):
        seconds(value, "every")
