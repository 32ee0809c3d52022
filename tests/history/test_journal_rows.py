"""Rows are checked at the call, committed together, and told only when they are on disk."""

from __future__ import annotations

import math
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history.store import Store
from tests.history.samples import NOON, at, measurement, message, part


def test_row_ids_rise_and_never_return(store: Store) -> None:
    assert store.append("signal", [measurement(i) for i in range(3)]).result() == [1, 2, 3]
    store._writer.submit(lambda c: c.execute("DELETE FROM signal").rowcount).result()
    assert store.append("signal", [measurement()]).result() == [4]
    assert store.append("signal", []).result() == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"colour": "red"}, "no column colour"),
        ({"row_id": 7}, "assigned by the store"),
        ({"time": None}, "needs its time"),
        ({"time": datetime(2026, 1, 1)}, "an aware datetime"),
        ({"time": "2026-01-01"}, "an aware datetime"),
        ({"port": "1"}, "port takes an int, not this str"),
        ({"port": 1.0}, "port takes an int"),
        ({"port": True}, "port takes an int"),
        ({"signal": 128}, "signal takes an int between -128 and 127"),
        ({"ok": 1}, "ok takes True, False or None"),
        ({"label": b"roof"}, "label takes a str"),
        ({"latency_ms": "fast"}, "latency_ms takes a number"),
        ({"latency_ms": True}, "latency_ms takes a number"),
    ],
)
def test_a_wrong_value_is_refused_at_the_call(
    store: Store, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        store.append("signal", [measurement() | values])
    assert store.signal().empty


def test_the_refusal_never_shows_the_value(store: Store) -> None:
    with pytest.raises(InvalidRequest) as caught:
        store.append("messages", [message(sender=390123456)])
    assert "390123456" not in str(caught.value)
    with pytest.raises(
        InvalidRequest, match=r"no table 'signals'; .* signal, .* inbox, .* ussd_log"
    ):
        store.append("signals", [])


def test_what_is_left_out_takes_its_empty_value(store: Store) -> None:
    store.append("signal", [{"time": NOON, "latency_ms": math.nan, "label": None}]).result()
    (row,) = store.signal().to_dict("records")
    assert row["gateway"] == row["label"] == row["error"] == ""
    assert all(pd.isna(row[name]) for name in ("port", "ok", "ber"))
    assert math.isnan(row["latency_ms"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\ud800b", "a�b"),
        ("\ud83d\ude00", "😀"),
        ("nul\x00inside\x00", "nul\x00inside\x00"),
        ("", ""),
        ("a\r\nb\u2028", "a\r\nb\u2028"),
    ],
)
def test_any_text_can_be_stored(store: Store, given: str, kept: str) -> None:
    store.append("messages", [message(text=given)]).result()
    assert list(store.inbox()["text"]) == [kept]


def test_a_failing_operation_takes_no_other_with_it(store: Store) -> None:
    gate = threading.Event()
    store._writer.submit(lambda c: gate.wait(10))  # so that the next ones share a transaction

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO marks (time) VALUES (1)")
        connection.execute("INSERT INTO marks (time) VALUES (NULL)")

    good = store.append("signal", [measurement()])
    bad = store._writer.submit(fails)
    also = store.append("signal", [measurement()])
    gate.set()
    assert (good.result(), also.result()) == ([1], [2])
    with pytest.raises(StoreError):
        bad.result()
    assert store.marks().empty


def test_when_the_transaction_itself_is_lost_only_the_culprit_fails(store: Store) -> None:
    gate = threading.Event()
    store._writer.submit(lambda c: gate.wait(10))

    def full(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        connection.execute("INSERT INTO marks (time, label) VALUES (1, zeroblob(9999999))")

    good = store.append("signal", [measurement()])
    bad = store._writer.submit(full)
    also = store.append("signal", [measurement()])
    gate.set()
    assert (good.result(), also.result()) == ([1], [2])
    with pytest.raises(StoreError, match="disk is full"):
        bad.result()
    assert list(store.signal()["row_id"]) == [1, 2]


def test_one_commit_for_everything_that_queued(store: Store) -> None:
    commits: list[str] = []
    store._writer.submit(
        lambda c: c.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    ).result()
    commits.clear()
    started, gate = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        started.set()
        gate.wait(10)

    first = store._writer.submit(hold)
    assert started.wait(10)
    told = [store.append("signal", [measurement(i)]) for i in range(100)]
    gate.set()
    assert [future.result() for future in told] == [[i + 1] for i in range(100)]
    assert first.done()
    assert len(commits) == 2, "the one that was running, and all that queued behind it"


def test_told_means_that_another_connection_sees_it(store: Store, tmp_path: Path) -> None:
    seen: list[int] = []

    def look(future: Future[list[int]]) -> None:
        connection = sqlite3.connect(store.path / "journal.sqlite")
        seen.extend(id for (id,) in connection.execute("SELECT row_id FROM signal"))
        connection.close()

    future = store.append("signal", [measurement()])
    future.add_done_callback(look)
    store.close()
    assert seen == [1]


def test_a_write_can_not_be_cancelled_half_way(store: Store) -> None:
    future = store.append("signal", [measurement()])
    assert not future.cancel()
    assert future.result() == [1]


def test_surveys_are_updated_and_nothing_else(store: Store) -> None:
    (row_id,) = store.append("surveys", [{"time": NOON, "gateway": "lab", "name": "s"}]).result()
    store.update("surveys", row_id, {"stopped_at": at(60), "reason": "done"}).result()
    (row,) = store.surveys().to_dict("records")
    assert (row["stopped_at"], row["reason"]) == (at(60), "done")
    with pytest.raises(InvalidRequest, match="no row 99"):
        store.update("surveys", 99, {"reason": "done"}).result()
    for table, values in (("signal", {"ok": False}), ("surveys", {"row_id": 3}), ("surveys", {})):
        with pytest.raises(InvalidRequest):
            store.update(table, row_id, values)


def test_an_identity_is_kept_only_when_it_changed(store: Store) -> None:
    def identity(seconds: float, **values: Any) -> dict[str, Any]:
        return {"time": at(seconds), "gateway": "lab", "port": 1, "imsi": "25002"} | values

    assert store.identify(identity(0)).result()
    assert not store.identify(identity(10)).result()
    assert store.identify(identity(20, port=2)).result()
    assert store.identify(identity(30, imsi="25001")).result()
    assert store.identify(identity(40)).result(), "back again is a change too"
    assert list(store.identities()["imsi"]) == ["25002", "25002", "25001", "25002"]


# -- parts and messages ------------------------------------------------------------------------


def test_parts_stay_open_until_their_message_is_told(store: Store) -> None:
    first = part(0, content="he", index=1, total=2)
    assert store.receive("lab", first, "g1", None).result() is None
    assert [group for _, group in store.recent_parts("lab", at(999)).result()] == ["g1"]
    row_id = store.receive("lab", part(5, content="llo", index=2, total=2), "g1", message(5))
    assert row_id.result() == 1
    assert store.recent_parts("lab", at(999)).result() == []
    recent = store.recent_parts("lab", at(0)).result()
    assert [(row["content"], group) for row, group in recent] == [("he", ""), ("llo", "")]
    assert recent[0][0] | first == recent[0][0]


def test_a_duplicate_is_kept_and_opens_nothing(store: Store) -> None:
    store.receive("lab", part(), "", None).result()
    assert len(store.message_parts()) == 1
    assert store.recent_parts("lab", at(999)).result() == []
    assert store.inbox().empty


def test_a_group_that_ran_out_of_time_is_closed_without_a_part(store: Store) -> None:
    store.receive("lab", part(total=2), "g1", None).result()
    store.receive("lab", part(total=2), "g2", None).result()
    assert store.receive("lab", None, "g1", message(300, complete=False)).result() == 1
    assert [group for _, group in store.recent_parts("lab", at(999)).result()] == ["g2"]


def test_open_parts_belong_to_their_gateway(store: Store) -> None:
    store.receive("lab", part(), "g", None).result()
    store.receive("roof", part(gateway="roof"), "g", None).result()
    store.receive("roof", None, "g", message(gateway="roof")).result()
    assert [group for _, group in store.recent_parts("lab", at(999)).result()] == ["g"]
    assert store.recent_parts("roof", at(999)).result() == []


def test_a_part_and_its_message_are_recorded_together_or_not_at_all(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        store.receive("lab", part(), "g", message(parts="two"))
    with pytest.raises(InvalidRequest, match="different gateways"):
        store.receive("lab", part(gateway="roof"), "g", None)
    with pytest.raises(InvalidRequest, match="neither"):
        store.receive("lab", None, "g", None)
    assert store.message_parts().empty


# -- a reader sees what this process was given before ----------------------------------------------
def test_what_is_queued_is_written_before_it_is_read(store: Store) -> None:
    live = store.live()
    for number in range(1, 31):
        store.append("signal", [measurement(number)])
        assert len(store.signal()) == 2 * number - 1
        store.append("signal", [measurement(number, port=2)])
        assert len(live.refresh()) == 2 * number
    store.append("signal", [measurement(0)])
    assert store.table().count().execute() == 61


def test_whoever_is_told_on_the_writers_thread_may_read(store: Store) -> None:
    read: queue.SimpleQueue[int] = queue.SimpleQueue()
    rows = store._writer.submit(lambda connection: time.sleep(0.1))
    rows.add_done_callback(lambda done: read.put(len(store.signal())))
    store.append("signal", [measurement()])
    assert read.get(timeout=1) <= 1
    assert len(store.signal()) == 1


def test_a_reader_does_not_wait_for_a_disk_that_hangs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neogate_lab.history.writer._SLICE_S", 0.02)
    store.append("signal", [measurement()]).result()
    hangs = threading.Event()
    try:
        store._writer.submit(lambda connection: hangs.wait(10))
        store.append("signal", [measurement(1)])
        assert len(store.signal()) == 1
    finally:
        hangs.set()
    assert len(store.signal()) == 2
