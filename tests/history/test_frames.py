"""Frames follow schema.py whatever is in them, and hold just the rows that were asked for."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import frame_of
from neogate_lab.history.schema import TABLES, VIEWS, Column
from neogate_lab.history.store import Store
from neogate_lab.link.sampler import SampleError
from neogate_lab.protocol.records import SmsStatus, UssdOutcome
from tests.history.samples import NOON, at, measurement, message, part, sms

DTYPES = {
    "time": "datetime64[us, UTC]",
    "text": "str",
    "cat": "category",
    "flag": "boolean",
    "float": "float64",
    "int8": "Int8",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
}


def check_types(frame: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    assert list(frame.columns) == [column.name for column in columns]
    for column in columns:
        assert str(frame[column.name].dtype) == DTYPES[column.kind], column.name
        if column.kind == "cat":
            assert frame[column.name].cat.categories.dtype == "str"
    assert isinstance(frame.index, pd.RangeIndex)


@pytest.mark.parametrize("name", [*TABLES, *VIEWS])
def test_types_are_those_of_the_schema_also_when_empty_or_unknown(name: str) -> None:
    columns = (TABLES | VIEWS)[name].columns
    for length in range(3):
        frame = frame_of(name, [{}] * length)
        assert len(frame) == length
        check_types(frame, columns)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_store_gives_the_same_frame(store: Store, name: str) -> None:
    assert_frame_equal(store.frame(name), frame_of(name, []))


def test_values_come_back_as_they_went_in(store: Store) -> None:
    given = [
        measurement(0.000001, signal=None, rssi_bound="<=", ok=None),
        measurement(3, port=32, roaming=False, latency_ms=0.1 + 0.2, network="移动"),
    ]
    ids = store.append("signal", given).result()
    rows = [row | {"row_id": row_id} for row, row_id in zip(given, ids, strict=True)]
    frame = store.signal()
    assert_frame_equal(frame, frame_of("signal", rows))
    assert list(frame["time"]) == [row["time"] for row in given]
    assert list(frame["latency_ms"]) == [12.5, 0.1 + 0.2]
    assert pd.isna(frame["signal"][0])
    assert frame["roaming"][1] is np.False_ or frame["roaming"][1] is False


def test_categories_are_sorted_and_only_those_present(store: Store) -> None:
    labels = ["б", "roof", "", "Roof", "😀"]
    store.append("signal", [measurement(i, label=label) for i, label in enumerate(labels)]).result()
    assert list(store.signal()["label"].cat.categories) == sorted(labels)
    assert list(store.signal()["label"]) == labels
    assert list(store.signal(label="roof")["label"].cat.categories) == ["roof"]


def test_categories_agree_over_many_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neogate_lab.history.tiers._BATCH", 2)
    labels = ["c", "a", "b", "a", "d", "c", "c"]
    store.append("signal", [measurement(i, label=label) for i, label in enumerate(labels)]).result()
    assert list(store.signal()["label"]) == labels
    assert list(store.signal()["label"].cat.categories) == ["a", "b", "c", "d"]


def test_rows_are_sorted_by_time_then_row_id(store: Store) -> None:
    store.append("signal", [measurement(s) for s in (5, 1, 5, 0, 1)]).result()
    assert list(store.signal()["row_id"]) == [4, 2, 5, 1, 3]


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (at(-60), at(0), [-60, -30]),
        ("1m", None, [-60, -30, 0]),
        ("30s", None, [-30, 0]),
        (timedelta(seconds=60), timedelta(seconds=30), [-60]),
        (None, "30s", [-3600, -60]),
        ("2026-11-20 11:59", None, [-60, -30, 0]),
        (datetime(2026, 11, 20, 11, 59), None, [-60, -30, 0]),
        ("2026-11-20T12:59:30+01:00", None, [-30, 0]),
        (at(-30).astimezone(timezone(timedelta(hours=5))), None, [-30, 0]),
        (pd.Timestamp("2026-11-20 11:59:30"), None, [-30, 0]),
        (np.datetime64("2026-11-20T11:59:30"), None, [-30, 0]),
        (pd.Timedelta("1m"), None, [-60, -30, 0]),
        (np.timedelta64(1, "m"), None, [-60, -30, 0]),
        ("2026-11-20", "2026-11-21", [-3600, -60, -30, 0]),
        (date(2026, 11, 20), date(2026, 11, 21), [-3600, -60, -30, 0]),
    ],
)
def test_since_is_inclusive_and_until_exclusive(
    store: Store, since: Any, until: Any, found: list[int]
) -> None:
    seconds = [-3600, -60, -30, 0]
    store.append("signal", [measurement(s) for s in seconds]).result()
    frame = store.signal(since=since, until=until)
    assert list(frame["time"]) == [at(s) for s in found]


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "2 hours ago", "-2h", "2026-13-01", "9" * 30 + "w"),
        *(5, 5.0, timedelta(-1), pd.NaT, np.datetime64("NaT", "us")),
    ],
)
def test_a_time_that_can_not_be_read_says_what_can(store: Store, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r'until takes a time .* or how long ago .*"2h"'):
        store.signal(until=value)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"port": 1}, [1, 3]),
        ({"port": [1, 2]}, [1, 2, 3]),
        ({"port": np.array([2, 3])}, [2, 4]),
        ({"port": range(2, 4)}, [2, 4]),
        ({"port": []}, []),
        ({"port": None, "label": None}, [1, 2, 3, 4]),
        ({"label": "roof"}, [1, 2]),
        ({"label": ["roof", "cellar"], "port": 1}, [1, 3]),
        ({"gateway": "lab"}, [1, 2, 3]),
        ({"gateway": {"lab", "field"}}, [1, 2, 3, 4]),
        ({"after_row": 2}, [3, 4]),
        ({"ok": False}, [4]),
        ({"signal": 17, "gateway": "x' OR 1=1 --"}, []),
    ],
)
def test_filters_are_one_value_or_several(
    store: Store, filters: dict[str, Any], found: list[int]
) -> None:
    rows = [
        measurement(0),
        measurement(1, port=2),
        measurement(2, label="cellar"),
        measurement(3, port=3, label="cellar", gateway="field", ok=False),
    ]
    store.append("signal", rows).result()
    assert list(store.signal(**filters)["row_id"]) == found


@pytest.mark.parametrize(
    "filters",
    [{"prot": 1}, {"port": "1"}, {"port": 1.5}, {"port": 99999}, {"label": 3}, {"after_row": "x"}],
)
def test_a_wrong_filter_is_refused(store: Store, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        store.signal(**filters)


@pytest.mark.parametrize(
    ("table", "filters", "words"),
    [
        ("outbox", {"status": "delivered"}, "status is never 'delivered'; it is one of queued, wr"),
        ("outbox", {"status": ["sent", "Failed"]}, "never 'Failed'"),
        ("signal", {"error": "lost"}, "it is one of '', no_answer, disconnected"),
        ("surveys", {"reason": "killed"}, "paused, stopped, closed, failed, died"),
        ("connections", {"event": "down"}, "unreachable, lost, restored"),
        ("ussd", {"outcome": "ok"}, "done, menu, ended"),
        ("signal", {"since": "1h", "until": "2h"}, "since='1h' is later than until='2h': swap"),
    ],
)
def test_a_filter_that_finds_nothing_ever_is_refused_in_words(
    store: Store, table: str, filters: dict[str, Any], words: str
) -> None:
    for read in (store.frame, store.live):
        with pytest.raises(InvalidRequest, match=words):
            read(table, **filters)


def test_the_words_of_a_column_are_those_that_it_tells_and_that_are_written() -> None:
    told = {
        f"{table.name}.{column.name}": column
        for table in TABLES.values()
        for column in table.columns
        if column.values
    }
    for column in told.values():
        assert all(word in column.doc for word in column.values if word), column.name
    assert set(get_args(SampleError)) == set(told["signal.error"].values)
    assert set(get_args(SmsStatus)) == {"planned", *told["outbox.status"].values}
    assert set(get_args(UssdOutcome)) < set(told["ussd.outcome"].values)


def test_a_column_that_the_table_lacks_is_named(store: Store) -> None:
    with pytest.raises(InvalidRequest, match=r"connections has no column 'port'.*time, gateway"):
        store.connections(port=1)


def test_each_reader_reads_its_table(store: Store) -> None:
    store.receive("lab", part(), "", message(sender="MegaFon")).result()
    store.enqueue(sms()).result()
    store.append("ussd", [{"time": NOON, "code": "*100#", "outcome": "done"}])
    store.append("connections", [{"time": NOON, "event": "lost", "gap_s": 1.5}])
    store.append("surveys", [{"time": NOON, "name": "s"}])
    store.append("marks", [{"time": NOON, "label": "roof", "survey": "s"}])
    store.append("identities", [{"time": NOON, "imsi": "250"}]).result()
    assert list(store.inbox(sender="MegaFon", port=1)["text"]) == ["Ok"]
    assert list(store.message_parts()["content"]) == ["Ok"]
    assert list(store.outbox(status=["queued", "written"])["to"]) == ["+390123"]
    assert list(store.ussd_log(outcome="done")["code"]) == ["*100#"]
    assert list(store.connections(event="lost")["gap_s"]) == [1.5]
    assert list(store.surveys(name="s")["name"]) == ["s"]
    assert list(store.marks(survey="s")["label"]) == ["roof"]
    assert list(store.identities()["imsi"]) == ["250"]
    assert store.inbox(sender="megafon").empty


def test_frames_can_be_read_from_any_thread_while_others_write(store: Store) -> None:
    lengths: list[list[int]] = [[] for _ in range(4)]

    def read(seen: list[int]) -> None:
        while not seen or seen[-1] < 60:
            frame = store.signal()
            assert list(frame["row_id"]) == list(range(1, len(frame) + 1))
            seen.append(len(frame))

    readers = [threading.Thread(target=read, args=(seen,)) for seen in lengths]
    for reader in readers:
        reader.start()
    for i in range(60):
        store.append("signal", [measurement(i)]).result()
    for reader in readers:
        reader.join(60)
    assert all(seen == sorted(seen) and seen[-1] == 60 for seen in lengths)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"since": "1h"}, "signal_time"),
        ({"gateway": "lab", "port": 3, "since": "1h"}, "signal_port"),
        ({"after_row": 5}, "INTEGER PRIMARY KEY"),
    ],
)
def test_readers_use_an_index(store: Store, filters: dict[str, Any], index: str) -> None:
    sql, parameters = store._select("signal", **filters).sql()
    with store._journal.reading() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {sql}", parameters).fetchall()
    assert index in plan[0][-1]


def test_times_are_read_back_over_the_whole_range(store: Store) -> None:
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
    store.append("marks", [{"time": time} for time in times]).result()
    assert list(store.marks()["time"].dt.to_pydatetime()) == times
