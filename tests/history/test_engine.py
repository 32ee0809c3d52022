"""A store's tables as Ibis tables: what readers see, as it grows, and never the whole in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import neogate_lab as ng
from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history import frames, open_store
from neogate_lab.history.schema import TABLES
from tests.history.samples import measurement, message, part


def seen(store, name="signal"):
    """What the Ibis table gives, with the declared types."""
    found = store.table(name).order_by("row_id").to_pyarrow()
    declared = TABLES[name]
    return frames.frame_of_batches(declared, frames.conform(declared, found).to_batches())


def test_every_table_is_what_readers_see(store):
    store.append("signal", [measurement(n, signal=None if n % 3 else 9) for n in range(9)]).result()
    store.receive("lab", part(), "", message()).result()
    for name in TABLES:
        pd.testing.assert_frame_equal(
            seen(store, name), store.frame(name).sort_values("row_id", ignore_index=True)
        )
    assert len(seen(store)) == 9
    assert len(seen(store, "messages")) == 1


def test_rows_are_seen_once_wherever_they_are_kept(store):
    table = store.table("signal")
    for day in range(3):
        rows = [measurement(86_400 * day + n, label=f"place {n % 2}") for n in range(5)]
        store.append("signal", rows).result()
        assert table.count().execute() == 5 * day + 5
        store.seal()
        assert table.count().execute() == 5 * day + 5
    store.append("signal", [measurement(300_000)]).result()
    assert table.row_id.nunique().execute() == table.count().execute() == 16
    pd.testing.assert_frame_equal(seen(store), store.signal().sort_values("row_id"))


def test_segments_that_merge_are_found_again(store):
    table = store.table("signal")
    for n in range(4):
        store.append("signal", [measurement(n), measurement(90_000 + n)]).result()
        store.seal()
        assert table.count().execute() == 2 * n + 2
    assert len(list((store.path / "segments" / "signal").iterdir())) < 8


def test_another_process_sees_it_grow(store):
    with open_store(store.path) as other:
        table = other.table("signal")
        assert table.count().execute() == 0
        store.append("signal", [measurement()]).result()
        assert table.count().execute() == 1


def test_what_is_sealed_is_not_held_in_memory(store):
    table = store.table("signal")
    store.append("signal", [measurement(n) for n in range(1000)]).result()
    assert table.count().execute() == 1000
    held = table.get_backend().source
    assert held.read.num_rows == 1000
    store.seal()
    assert table.count().execute() == 1000
    assert held.read.num_rows == 0


def test_analysis_of_a_store_loads_no_frame(store, monkeypatch):
    store.append("signal", [measurement(10 * n) for n in range(30)]).result()
    expected = ng.signal_summary(store.signal(), every="1m")
    monkeypatch.setattr(type(store), "frame", None)
    pd.testing.assert_frame_equal(ng.signal_summary(store, every="1m"), expected)


def test_threads_ask_at_once_each_its_own_table(store):
    store.append("signal", [measurement(n) for n in range(50)]).result()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lambda: store.table().count().execute()) for _ in range(8)]
    assert [each.result() for each in asked] == [50] * 8


def test_a_damaged_segment_and_a_closed_store_are_told(store):
    store.append("signal", [measurement()]).result()
    store.seal()
    (segment,) = (store.path / "segments" / "signal").iterdir()
    segment.write_bytes(b"PAR1 of old")
    with pytest.raises(StoreError, match="damaged"):
        ng.signal_summary(store)
    with pytest.raises(InvalidRequest, match="there is no table 'signals'"):
        store.table("signals")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.table()
