"""What earlier versions wrote is read as if it were of today: later columns are unknown."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import neogate_lab as ng
from neogate_lab.errors import InvalidRequest
from neogate_lab.history.journal import _table_sql
from neogate_lab.history.schema import TABLES
from neogate_lab.history.store import Store, open_store

from .samples import NOON, measurement, sms

LATER, SENT_LATER = (
    [column.name for column in TABLES[name].columns if column.since > 1]
    for name in ("signal", "outbox")
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as version 2 left it: half of its rows in a segment, none with the later columns."""
    path = tmp_path / "old"
    with Store(path, clock=lambda: NOON) as store:
        store.append("signal", [measurement(i) for i in range(3)]).result()
        store.seal()
        store.append("signal", [measurement(i) for i in range(3, 6)]).result()
        store.enqueue(sms()).result()
    (segment,) = path.glob("segments/signal/*.parquet")
    pq.write_table(pq.read_table(segment).drop_columns(LATER), segment)
    with sqlite3.connect(path / "journal.sqlite") as connection:
        for name in LATER:
            connection.execute(f'ALTER TABLE signal DROP COLUMN "{name}"')
        for name in SENT_LATER:
            connection.execute(f'ALTER TABLE outbox DROP COLUMN "{name}"')
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    return path


def test_there_are_later_columns() -> None:
    assert (LATER, SENT_LATER) == (["power", "sim"], ["auto"])


def test_an_old_store_is_read_and_written_on(old: Path) -> None:
    with Store(old, clock=lambda: NOON) as store:
        before = store.signal()
        assert before[LATER].isna().all(axis=None)
        assert store.outbox().auto.isna().tolist() == [True]
        store.enqueue(sms(1, id="b", auto=True)).result()
        assert len(store.outbox(auto=True)) == 1
        (left, _) = store.waiting("lab").result()
        assert left["auto"] is None
        store.append("signal", [measurement(6, power=True, sim=False)]).result()
        assert store.signal().sim.tolist()[-1] is False
        assert_frame_equal(
            store.signal(port=before.port[0], until=before.time.iloc[-1]), before[:-1]
        )
        assert len(store.signal(sim=False)) == 1
        whole = store.signal()
        assert store.seal() == 4
        assert_frame_equal(store.signal(), whole)
        assert_frame_equal(store.live().refresh(), whole)
        assert_frame_equal(ng.outages(store), ng.outages(whole))
        assert store.table().sim.count().execute() == 1


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    path, turned = tmp_path / "turned", list(reversed(TABLES["signal"].names))
    with Store(path, clock=lambda: NOON) as store:
        store.append("signal", [measurement(i, sim=i % 2 == 0) for i in range(3)]).result()
        store.seal()
        store.append("signal", [measurement(i, power=True) for i in range(3, 6)]).result()
        whole = store.signal()
        store.export(tmp_path / "x.parquet")
        whole.to_csv(tmp_path / "x.csv", index=False, columns=turned)
    for file in (*path.glob("segments/signal/*.parquet"), tmp_path / "x.parquet"):
        pq.write_table(pq.read_table(file).select(turned), file)
    names = ", ".join(turned)
    signal = dataclasses.replace(
        TABLES["signal"], columns=tuple(reversed(TABLES["signal"].columns))
    )
    with sqlite3.connect(path / "journal.sqlite") as connection:
        connection.execute("ALTER TABLE signal RENAME TO before")
        connection.execute(_table_sql(signal))
        connection.execute(f"INSERT INTO signal ({names}) SELECT {names} FROM before")
        connection.execute("DROP TABLE before")
    connection.close()
    with Store(path, clock=lambda: NOON) as store:
        assert_frame_equal(store.signal(), whole)
        store.append("signal", [measurement(6, power=False)]).result()
        longer = store.signal()
        assert_frame_equal(longer[:6], whole)
        assert store.seal() == 4
        assert_frame_equal(store.signal(), longer)
        assert_frame_equal(store.live().refresh(), longer)
        assert store.table().order_by("row_id").sim.execute().tolist()[:3] == [True, False, True]
    assert_frame_equal(ng.read_parquet(tmp_path / "x.parquet"), whole)
    assert_frame_equal(ng.read_csv(tmp_path / "x.csv"), whole)


def test_an_old_store_is_brought_up_to_date_once(old: Path) -> None:
    for _ in range(2):
        with open_store(old) as store:
            assert len(store.signal()) == 6
            assert store.table().count().execute() == 6


def test_an_old_export_is_read(old: Path, tmp_path: Path) -> None:
    with open_store(old) as store:
        now = store.signal()
        store.export(tmp_path / "x.parquet")
        store.export(tmp_path / "x.csv")
    pq.write_table(
        pq.read_table(tmp_path / "x.parquet").drop_columns(LATER), tmp_path / "y.parquet"
    )
    places = [now.columns.get_loc(name) for name in LATER]
    lines = (tmp_path / "x.csv").read_text().splitlines()
    kept = [
        ",".join(cell for place, cell in enumerate(line.split(",")) if place not in places)
        for line in lines
    ]
    (tmp_path / "y.csv").write_text("\n".join(kept))
    assert_frame_equal(ng.read_parquet(tmp_path / "y.parquet"), now)
    assert_frame_equal(ng.read_csv(tmp_path / "y.csv"), now)
    assert_frame_equal(ng.outages(tmp_path / "y.parquet"), ng.outages(now))
    assert_frame_equal(ng.outages(now.drop(columns=LATER)), ng.outages(now))


def test_what_lacks_another_column_is_still_no_export_of_ours(old: Path, tmp_path: Path) -> None:
    with open_store(old) as store:
        store.export(tmp_path / "x.parquet")
    table: pa.Table = pq.read_table(tmp_path / "x.parquet")
    pq.write_table(table.drop_columns(["rssi_dbm"]), tmp_path / "y.parquet")
    with pytest.raises(InvalidRequest):
        ng.read_parquet(tmp_path / "y.parquet")
    with pytest.raises(InvalidRequest, match="rssi_dbm"):
        ng.signal_summary(tmp_path / "y.parquet")
