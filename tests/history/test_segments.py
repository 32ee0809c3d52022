"""Sealed rows are where they were for every reader, and the files say whose they are."""

from __future__ import annotations

import random
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from neogate_lab.errors import StoreError
from neogate_lab.history import sealer, segments, tiers
from neogate_lab.history.export import read_parquet
from neogate_lab.history.store import Store, open_store
from tests.history.samples import NOON, at, measurement, message, part, sms

DAY = 86_400


def files(store: Store, table: str = "signal") -> list[str]:
    return sorted(path.name for path in (store.path / "segments" / table).glob("*"))


def unsealed(store: Store, table: str = "signal") -> int:
    with store._journal.reading() as connection:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(rows)


def rows_of(table: str) -> list[dict[str, Any]]:
    """Some rows of a table whose rows never change, unknown cells and odd words among them."""
    moments: list[dict[str, Any]] = [
        {"gateway": "lab", "port": 1, "time": at(1)},
        {"gateway": "移动", "port": None, "time": at(0)},
    ]
    if table == "signal":
        return [
            measurement(3),
            measurement(1, ok=None, signal=None, latency_ms=None, label="😀\x00\r"),
            {"time": at(2)},
        ]
    if table == "message_parts":
        return [part(2, content="=1"), {"received_at": at(1)}]
    if table == "connections":
        return [{"gateway": "lab", "time": at(1), "event": "lost", "gap_s": 0.1 + 0.2}]
    return moments


@pytest.mark.parametrize("table", ["signal", "message_parts", "ussd", "connections"])
def test_every_unchanging_row_is_sealed_and_reads_the_same(store: Store, table: str) -> None:
    rows = rows_of(table)
    told = store.append(table, rows).result()
    before = store.frame(table)
    assert store.seal() == len(rows)
    assert unsealed(store, table) == 0
    assert_frame_equal(store.frame(table), before)
    again = store.append(table, rows).result()
    assert again == [row_id + len(rows) for row_id in told]
    assert sorted(store.frame(table, after_row=told[-1])["row_id"]) == again


def test_rows_that_change_stay(store: Store) -> None:
    store.enqueue(sms(key="k")).result()
    store.append("surveys", [{"time": at(0), "gateway": "lab", "name": "s"}]).result()
    store.receive("lab", None, "", message()).result()
    assert store.seal() == 0
    assert (len(store.outbox()), len(store.surveys()), len(store.inbox())) == (1, 1, 1)


def test_a_segment_is_a_day_of_a_table_named_by_its_rows(store: Store) -> None:
    store.append("signal", [measurement(s) for s in (0, DAY, 1, -DAY, DAY + 1)]).result()
    store.seal()
    assert files(store) == [
        "2026-11-19.4-4.parquet",
        "2026-11-20.1-3.parquet",
        "2026-11-21.2-5.parquet",
    ]
    path = store.path / "segments" / "signal" / "2026-11-20.1-3.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert column.path_in_schema == "time"
    assert column.compression == "ZSTD"
    assert "RLE_DICTIONARY" in column.encodings
    day = read_parquet(path)
    assert_frame_equal(day, store.signal(since=NOON.date().isoformat(), until="2026-11-21"))


@pytest.mark.parametrize("seed", range(2))
def test_filters_find_the_same_rows_in_either_tier(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_GROUP", 16)
    monkeypatch.setattr(sealer, "_OPEN_DAY", 3)
    monkeypatch.setattr(sealer, "_CHUNK", 70)
    monkeypatch.setattr(tiers, "_BATCH", 20)
    chance = random.Random(seed)
    with Store(store.path.with_name("plain"), clock=lambda: NOON) as plain:
        for _ in range(4):
            rows = [
                measurement(
                    chance.choice([-1, 1, 1, 1]) * chance.randrange(3 * DAY),
                    label=chance.choice(["roof", "yard", ""]),
                    ok=chance.choice([True, False, None]),
                    latency_ms=chance.choice([1.5, None]),
                )
                | {"port": chance.choice([1, 2, 3, None])}
                for _ in range(50)
            ]
            for one in (plain, store):
                one.append("signal", rows).result()
            if chance.random() < 0.8:
                store.seal()
            filters: list[dict[str, Any]] = [
                {},
                {"port": 2},
                {"port": [1, 3], "label": "roof"},
                {"label": ["yard", "nowhere"]},
                {"label": "nowhere"},
                {"ok": True, "latency_ms": 1.5},
                {"since": "1d", "until": "6h"},
                {"until": at(-DAY), "port": 1},
                {"since": at(DAY), "label": ""},
                {"after_row": chance.randrange(200)},
                {"after_row": chance.randrange(200), "since": at(0), "port": 1},
                {"time": rows[7]["time"]},
                {"port": []},
            ]
            for chosen in filters:
                assert_frame_equal(store.signal(**chosen), plain.signal(**chosen))
        assert unsealed(store) < 200
        out = [one.export(one.path / "../out.csv").read_bytes() for one in (plain, store)]
        assert out[0] == out[1]


def test_small_segments_of_a_day_become_one(store: Store) -> None:
    for minute in range(4):
        store.append("signal", [measurement(60 * minute)]).result()
        store.seal()
    assert len(files(store)) == 4  # the day still grows
    before = store.signal()
    store.append("signal", [measurement(DAY)]).result()
    store.seal()
    assert files(store) == ["2026-11-20.1-4.parquet", "2026-11-21.5-5.parquet"]
    assert_frame_equal(store.signal(until=at(DAY)), before)


def test_a_day_that_grows_is_merged_when_it_has_many(store: Store) -> None:
    for minute in range(sealer._OPEN_DAY):
        store.append("signal", [measurement(60 * minute)]).result()
        store.seal()
    assert files(store) == [f"2026-11-20.1-{sealer._OPEN_DAY}.parquet"]


def test_a_reader_goes_on_while_its_segments_are_merged(store: Store) -> None:
    for minute in range(6):
        store.append("signal", [measurement(60 * minute + s) for s in range(2)]).result()
        store.seal()
    whole = store.signal()
    scan = iter(store._batches(store._select("signal")))
    first = next(scan)
    store.append("signal", [measurement(DAY), measurement(61)]).result()
    store.seal()
    assert len(files(store)) == 2
    rest = list(scan)
    ids = [row_id for batch in (first, *rest) for row_id in batch["row_id"].to_pylist()]
    assert ids == list(whole["row_id"])


def test_readers_see_every_row_once_while_another_thread_seals(store: Store) -> None:
    stop = threading.Event()

    def keep_sealing() -> None:
        while not stop.is_set():
            store.seal()

    thread = threading.Thread(target=keep_sealing)
    thread.start()
    try:
        for number in range(25):
            store.append("signal", [measurement(number), measurement(number - DAY)]).result()
            ids = list(store.signal()["row_id"])
            assert sorted(ids) == list(range(1, 2 * number + 3))
    finally:
        stop.set()
        thread.join()


def test_open_parts_stay_and_recent_ones_are_found_in_segments(store: Store) -> None:
    for number in range(3):
        store.receive("lab", part(number, content=f"c{number}"), "", message(number)).result()
    store.receive("lab", part(3, content="open"), "group", None).result()
    store.receive("other", part(4, gateway="other"), "", None).result()
    store.receive("lab", part(5, content="last"), "", message(5)).result()
    before = store.recent_parts("lab", at(1)).result()
    assert [(row["content"], group) for row, group in before] == [
        ("c1", ""),
        ("c2", ""),
        ("open", "group"),
        ("last", ""),
    ]
    assert store.seal() == 3
    assert store.recent_parts("lab", at(1)).result() == before
    assert unsealed(store, "message_parts") == 3
    store.receive("lab", None, "group", message(6)).result()
    assert store.seal() == 3
    found = store.recent_parts("lab", at(1)).result()
    assert found == [(row, "") for row, _ in before]


def wait_for(store: Store) -> None:
    """Until the background has done what the last commit made it do."""
    store._writer.submit(lambda _: None).result()
    store._writer.submit(lambda _: None).result()
    thread = store._sealer._thread
    if thread is not None:
        thread.join()


def test_many_rows_are_sealed_in_the_background(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "SEAL_ROWS", 40)
    store.append("signal", [measurement(i) for i in range(39)]).result()
    wait_for(store)
    assert unsealed(store) == 39
    store.append("signal", [measurement(39 + i) for i in range(40)]).result()
    wait_for(store)
    assert unsealed(store) == 0
    assert len(store.signal()) == 79


def test_what_comes_while_a_table_is_sealed_waits_for_its_turn(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append("signal", [measurement(i) for i in range(3)]).result()
    write = segments.write

    def write_while_more_comes(*arguments: Any) -> Any:
        store.append("signal", [measurement(9)]).result()
        return write(*arguments)

    monkeypatch.setattr(segments, "write", write_while_more_comes)
    assert store.seal() == 3
    assert files(store) == ["2026-11-20.1-3.parquet"]
    assert unsealed(store) == 1


def test_few_rows_are_sealed_when_they_are_a_day_old(tmp_path: Path) -> None:
    with Store(tmp_path / "a", clock=lambda: at(DAY - 1)) as store:
        store.append("signal", [measurement()]).result()
        wait_for(store)
        assert unsealed(store) == 1
    with Store(tmp_path / "a", clock=lambda: at(DAY)) as store:
        store.append("signal", [measurement(DAY)]).result()
        wait_for(store)
        assert unsealed(store) == 0


def test_a_clock_that_jumps_loses_nothing(store: Store) -> None:
    moments = [
        at(0),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        at(1),
        at(-1),
    ]
    for moment in moments:
        store.append("signal", [measurement() | {"time": moment}]).result()
        if moment != at(1):
            store.seal()
    assert list(store.signal()["row_id"]) == [3, 2, 6, 1, 5, 4]
    assert list(store.signal(since=at(-1), until=at(2))["row_id"]) == [6, 1, 5]
    store.seal()
    assert list(store.signal()["time"]) == sorted(moments)


def test_a_store_without_segments_is_brought_up_to_date(tmp_path: Path) -> None:
    with Store(tmp_path / "old", clock=lambda: NOON) as store:
        store.append("signal", [measurement(i) for i in range(3)]).result()
        before = store.signal()
    with sqlite3.connect(tmp_path / "old" / "journal.sqlite") as connection:
        connection.execute("DROP TABLE segments")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with open_store(tmp_path / "old") as store:
        assert_frame_equal(store.signal(), before)
        assert store.seal() == 3
        assert_frame_equal(store.signal(), before)


def test_a_live_frame_grows_by_what_is_new(store: Store) -> None:
    live, roof = store.live(), store.live("signal", label="roof", port=1)
    assert_frame_equal(live.refresh(), store.signal())
    seen: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    labels = [["roof"], ["yard"], ["attic", "roof"], ["zoo"], [f"place {i}" for i in range(200)]]
    second = 0
    for number, new in enumerate([*labels, *labels]):
        unknown = None if number % 3 else 7
        rows = [
            measurement(second + i, label=label, signal=unknown, ok=None, latency_ms=unknown)
            for i, label in enumerate(new)
        ]
        second += len(rows)
        store.append("signal", rows).result()
        if number % 3 == 0:
            store.seal()
        grown = live.refresh()
        assert_frame_equal(grown, store.signal())
        assert_frame_equal(roof.refresh(), store.signal(label="roof", port=1))
        seen.append((grown, grown.copy(deep=True)))
    for given, then in seen:
        assert_frame_equal(given, then)
    assert repr(live) == "<LiveFrame of signal: 410 rows>"


def test_changing_a_live_frame_changes_no_other(store: Store) -> None:
    store.append("signal", [measurement(i) for i in range(3)]).result()
    live = store.live()
    mine = live.refresh()
    mine.loc[0, "port"] = 9
    mine["label"] = "mine"
    assert_frame_equal(live.frame, store.signal())
    assert_frame_equal(live.refresh(), store.signal())


@pytest.mark.parametrize("table", ["message_parts", "messages", "ussd"])
def test_live_frames_of_texts(store: Store, table: str) -> None:
    live = store.live(table)
    for number in range(20):
        store.receive("lab", part(number, content="x" * number), "", message(number)).result()
        store.append("ussd", [{"time": at(number), "text": f"{number}"}]).result()
        assert_frame_equal(live.refresh(), store.frame(table))


def test_late_rows_stand_behind_in_a_live_frame(store: Store) -> None:
    store.append("signal", [measurement(5), measurement(1)]).result()
    live = store.live()
    assert list(live.frame["row_id"]) == [2, 1]
    store.append("signal", [measurement(9), measurement(3)]).result()
    assert list(live.refresh()["row_id"]) == [2, 1, 4, 3]


def test_a_live_frame_reads_only_what_is_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        store.append("signal", [measurement(number)]).result()
        store.seal()
    live = store.live(port=99)
    opened: list[Path] = []
    read = segments.read
    monkeypatch.setattr(segments, "read", lambda path, *a: opened.append(path) or read(path, *a))
    live.refresh()
    assert len(opened) == 3
    live.refresh()
    store.append("signal", [measurement(9, port=99)]).result()
    assert len(live.refresh()) == 1
    assert len(opened) == 3


def test_a_filter_opens_only_the_days_it_needs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append("signal", [measurement(day * DAY) for day in range(9)]).result()
    store.seal()
    opened: list[str] = []
    read = segments.read
    monkeypatch.setattr(
        segments, "read", lambda path, *a: opened.append(path.name) or read(path, *a)
    )
    assert len(store.signal(since=at(2 * DAY), until=at(2 * DAY) + timedelta(hours=3))) == 1
    assert opened == ["2026-11-22.3-3.parquet"]


def test_closing_ends_sealing(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.seal()
