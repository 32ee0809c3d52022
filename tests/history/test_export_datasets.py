"""A dataset holds every row once, however often and wherever it is written, and owns its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history import parquet_files, places
from neogate_lab.history.export import export, read_csv, read_parquet
from neogate_lab.history.frames import batch_of, frame_of
from neogate_lab.history.schema import TABLES, VIEWS
from neogate_lab.history.store import Store
from tests.history.samples import NOON, at, measurement, message

fsspec = pytest.importorskip("fsspec")

DAY = 86_400
AWKWARD = ["", "a/b", "192.168.5.150:5038", "..", "=1", "%2F", "ü 📡", "__HIVE_DEFAULT_PARTITION__"]


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder of fsspec's file system in memory."""
    yield "memory://out"
    fsspec.filesystem("memory").store.clear()


def three_days(gateways: tuple[str, ...] = ("lab", "field")) -> list[dict[str, Any]]:
    """Rows in the order of time and row_id, as a store gives them."""
    return [
        measurement(day * DAY + minute, gateway=gateway)
        for day in range(3)
        for minute in range(2)
        for gateway in gateways
    ]


def frame_with_ids(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return frame_of("signal", [{**row, "row_id": number} for number, row in enumerate(rows)])


def listing(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_path_without_a_suffix_is_a_dataset(store: Store, tmp_path: Path) -> None:
    store.append("signal", three_days()).result()
    folder = store.export(tmp_path / "out")
    assert folder == tmp_path / "out"
    partitions = {name.rpartition("/")[0] for name in listing(folder)}
    days = [f"{NOON + timedelta(days=day):%Y-%m-%d}" for day in range(3)]
    assert partitions == {""} | {f"gateway={g}/date={d}" for g in ("lab", "field") for d in days}
    assert_frame_equal(read_parquet(folder), store.signal())
    one = read_parquet(folder / "gateway=lab" / f"date={days[1]}")
    wanted = store.signal(gateway="lab", since=at(DAY), until=at(2 * DAY)).reset_index(drop=True)
    assert_frame_equal(one, wanted)


def test_partitioned_may_be_said(store: Store, tmp_path: Path) -> None:
    store.append("signal", three_days()).result()
    folder = store.export(tmp_path / "out.parquet", partitioned=True)
    assert_frame_equal(read_parquet(folder), store.signal())
    with pytest.raises(InvalidRequest, match="is a folder: give a file's name"):
        store.export(tmp_path / "out.parquet")


def test_other_tools_read_it(store: Store, tmp_path: Path) -> None:
    store.append("signal", three_days()).result()
    folder = store.export(tmp_path / "out")
    read = pd.read_parquet(folder)
    assert read.groupby("gateway", observed=True).size().to_dict() == {"field": 6, "lab": 6}
    data = ds.dataset(folder, partitioning="hive")
    assert data.count_rows(filter=ds.field("date") == "2026-11-21") == 4
    about = pq.read_schema(folder / "_common_metadata").metadata
    assert about[b"neogate_lab.table"] == b"signal"
    assert json.loads(about[b"neogate_lab.gateways"]) == ["field", "lab"]
    assert about[b"neogate_lab.rows"] == b"12"
    part = next(folder.rglob("part-*"))
    assert pq.read_metadata(part).metadata[b"neogate_lab.rows"] == b"2"
    assert set(read_parquet(part)["gateway"]) == {part.parents[1].name.removeprefix("gateway=")}


@pytest.mark.parametrize("where", ["local", "file", "memory"])
def test_writing_it_again_replaces_it(
    store: Store, tmp_path: Path, memory: str, where: str
) -> None:
    target = {"local": tmp_path / "out", "file": (tmp_path / "out").as_uri(), "memory": memory}
    for count in (12, 24):
        store.append("signal", three_days()).result()
        answer = store.export(target[where], partitioned=True)
        assert len(read_parquet(target[where])) == count
    store.export(target[where], partitioned=True, gateway="field")
    assert_frame_equal(read_parquet(answer), store.signal(gateway="field"))
    if where == "memory":
        assert answer == memory
        names = [name for name in fsspec.filesystem("memory").find("/out") if "part-" in name]
        assert len(names) == 3
    else:
        assert answer == tmp_path / "out"
        assert len(listing(tmp_path / "out")) == 3 + 1
        assert {path.name for path in tmp_path.iterdir()} == {"out", store.path.name}


def test_an_empty_table_keeps_columns_and_types(store: Store, tmp_path: Path, memory: str) -> None:
    for target in (tmp_path / "out", memory):
        assert_frame_equal(read_parquet(store.export(target, partitioned=True)), store.signal())


@pytest.mark.parametrize("gateway", AWKWARD)
def test_every_gateway_name_makes_a_folder(tmp_path: Path, gateway: str) -> None:
    frame = frame_with_ids(three_days((gateway,)))
    folder = export(frame, tmp_path / "out", "signal")
    assert_frame_equal(read_parquet(folder), frame)
    assert {name.count("/") for name in listing(folder)} == {0, 2}
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_rows_without_a_time_have_a_place_too(tmp_path: Path) -> None:
    frame = frame_of("signal", [{"row_id": 1, "gateway": "lab", "port": 1}])
    assert_frame_equal(read_parquet(export(frame, tmp_path / "out", "signal")), frame)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_partitioned(tmp_path: Path, table: str) -> None:
    declared = TABLES[table]
    frame = frame_of(table, [{declared.time: at(0), "gateway": "lab", "row_id": 1}])
    assert_frame_equal(read_parquet(export(frame, tmp_path / "out", table)), frame)


def test_more_partitions_than_files_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_OPEN", 2)
    monkeypatch.setattr(parquet_files, "_ROW_GROUP", 4)
    monkeypatch.setattr(parquet_files, "_BUFFERED", 6)
    rows = [measurement(i, gateway=f"g{i % 5}", row_id=i) for i in range(60)]
    values = [
        batch_of(TABLES["signal"], []) if not i else parquet_files_batch(rows[3 * (i - 1) : 3 * i])
        for i in range(21)
    ]
    folder = export(iter(values), tmp_path / "out", "signal")
    assert_frame_equal(read_parquet(folder), frame_of("signal", rows))


def parquet_files_batch(rows: list[dict[str, Any]]) -> Any:
    from neogate_lab.history.frames import batch_of_frame

    return batch_of_frame(TABLES["signal"], frame_of("signal", rows))


@pytest.mark.parametrize("name", ["notes.txt", "gateway=lab/date=2026-11-20/other.parquet", "a/b"])
def test_a_folder_with_other_things_is_never_replaced(
    store: Store, tmp_path: Path, memory: str, name: str
) -> None:
    store.append("signal", three_days()).result()
    folder = store.export(tmp_path / "out")
    store.export(memory, partitioned=True)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    fsspec.filesystem("memory").pipe_file(f"/out/{name}", b"mine")
    before = listing(folder)
    for target in (folder, memory):
        with pytest.raises(InvalidRequest, match="no part of an export"):
            store.export(target, partitioned=True)
    assert listing(folder) == before
    with pytest.raises(InvalidRequest, match="no part of an export"):
        store.export(store.path, partitioned=True)


@pytest.mark.parametrize("exchange", [True, False])
def test_one_that_fails_leaves_the_old_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(places, "_exchange", lambda one, other: False)
    store.append("signal", three_days()).result()
    for target in (tmp_path / "out", memory):
        store.export(target, partitioned=True)
        store.export(target, partitioned=True)

        def batches() -> Any:
            yield parquet_files_batch([measurement(row_id=1)])
            raise OSError(28, "No space left on device")

        with pytest.raises(StoreError, match="No space left on device"):
            export(batches(), target, "signal", partitioned=True)
        assert_frame_equal(read_parquet(target), store.signal())
    assert {path.name for path in tmp_path.iterdir()} == {"out", store.path.name}
    assert len(fsspec.filesystem("memory").find("/out")) == 7


def test_what_a_killed_export_left_at_a_url_is_not_read_and_goes_away(
    store: Store, memory: str
) -> None:
    store.append("signal", three_days()).result()
    store.export(memory, partitioned=True)
    system = fsspec.filesystem("memory")
    part = next(name for name in system.find("/out") if "part-" in name)
    system.cp_file(part, part.rpartition("/")[0] + "/part-00000000-0.parquet")
    assert len(read_parquet(memory)) == 12
    store.export(memory, partitioned=True)
    assert len(system.find("/out")) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names")
def test_there_is_a_whole_dataset_at_every_moment(store: Store, tmp_path: Path) -> None:
    store.append("signal", three_days()).result()
    folder = store.export(tmp_path / "out")
    watch = f"""
import os, sys
print("ready", flush=True)
for _ in range(200_000):
    if not os.path.exists({str(folder / "_common_metadata")!r}):
        sys.exit("gone")
    if os.path.exists({str(tmp_path / "stop")!r}):
        break
"""
    with subprocess.Popen([sys.executable, "-c", watch], stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        watcher.stdout.readline()
        for _ in range(20):
            store.export(folder)
        (tmp_path / "stop").touch()
    assert watcher.returncode == 0


def test_a_dataset_that_lost_a_file_says_so(store: Store, tmp_path: Path) -> None:
    store.append("signal", three_days()).result()
    folder = store.export(tmp_path / "out")
    next(folder.rglob("part-*")).unlink()
    with pytest.raises(InvalidRequest, match="which it lists"):
        read_parquet(folder)


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"without any \.parquet file"):
        read_parquet(tmp_path)
    (tmp_path / "_common_metadata").write_text("x")
    with pytest.raises(InvalidRequest, match="_common_metadata can't be read"):
        read_parquet(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "x.csv", "partitioned": True}, "only Parquet can be partitioned"),
        ({"path": "x", "partitioned": False}, "no known format"),
        ({"path": "file"}, "is a file: give a folder's name"),
        ({"path": "no/x"}, "there is no folder"),
        ({"path": ".."}, "is no name"),
        ({"path": "x.parquet", "bom": True}, "bom= is for CSV"),
    ],
)
def test_what_cannot_be_done(
    store: Store, tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / arguments.pop("path")
    with pytest.raises(InvalidRequest, match=words):
        store.export(path, **arguments)
    assert {each.name for each in tmp_path.iterdir()} == {"file", store.path.name}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_device_or_pipe_is_never_replaced(store: Store, tmp_path: Path) -> None:
    for name, words in (
        ("pipe", "is a file: give a folder's name"),
        ("pipe.csv", "is a pipe or a device, no file: give another path"),
    ):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InvalidRequest, match=words):
            store.export(tmp_path / name)
        assert (tmp_path / name).is_fifo()


def test_a_link_keeps_leading_to_what_was_exported(store: Store, tmp_path: Path) -> None:
    store.append("signal", three_days()).result()
    (tmp_path / "week").mkdir()
    (tmp_path / "latest.csv").symlink_to(Path("week", "signal.csv"))
    for _ in range(2):
        assert store.export(tmp_path / "latest.csv") == tmp_path / "latest.csv"
        assert (tmp_path / "latest.csv").is_symlink()
        assert_frame_equal(read_csv(tmp_path / "week" / "signal.csv"), store.signal())


@pytest.mark.parametrize("view", VIEWS)
def test_views_have_no_partitions(tmp_path: Path, view: str) -> None:
    with pytest.raises(InvalidRequest, match="no gateway to partition by"):
        export(frame_of(view, []), tmp_path / "out", view)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_files_at_urls(store: Store, memory: str, suffix: str) -> None:
    store.append("signal", three_days()).result()
    url = f"{memory}/deep/x{suffix}"
    read = read_parquet if suffix == ".parquet" else read_csv
    for _ in range(2):
        assert store.export(url) == url
        assert_frame_equal(read(url), store.signal())
    assert fsspec.filesystem("memory").find("/out") == [f"/out/deep/x{suffix}"]

    def batches() -> Any:
        raise OSError(5, "Input/output error")
        yield

    with pytest.raises(StoreError, match="nothing was changed"):
        export(batches(), url, "signal")
    assert_frame_equal(read(url), store.signal())
    assert fsspec.filesystem("memory").find("/out") == [f"/out/deep/x{suffix}"]
    with pytest.raises(InvalidRequest, match="check the spelling"):
        read(f"{memory}/other{suffix}")


def test_a_url_that_nothing_reaches_is_refused_and_its_password_not_shown() -> None:
    with pytest.raises(InvalidRequest, match=r"nosuch://host/x can't be reached") as caught:
        read_parquet("nosuch://me:hunter2@host/x")
    assert "hunter2" not in str(caught.value)


def test_without_fsspec_a_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InvalidRequest, match=r"fsspec is missing.*\[remote\]"):
        read_csv("memory://x.csv")


def test_parquet_is_written_in_large_row_groups(tmp_path: Path) -> None:
    batch = parquet_files_batch([measurement(i, row_id=i) for i in range(500)])
    path = export((batch for _ in range(600)), tmp_path / "x.parquet", "signal")
    metadata = pq.read_metadata(path)
    assert metadata.num_rows == 300_000
    assert metadata.num_row_groups <= 5


def test_csv_with_a_byte_order_mark(tmp_path: Path) -> None:
    frame = frame_of("messages", [message(text="Привет")])
    for safe in (True, False):
        path = export(frame, tmp_path / "x.csv", "messages", bom=True, spreadsheet_safe=safe)
        assert path.read_bytes().startswith(b"\xef\xbb\xbf")
        assert not path.read_bytes().startswith(b"\xef\xbb\xbf\xef")
        assert_frame_equal(read_csv(path), frame)


def test_long_work_shows_a_bar_and_short_work_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = frame_with_ids(three_days())
    export(frame, tmp_path / "x.csv", "signal")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("neogate_lab.history.export.PATIENCE", 0)
    export(frame, tmp_path / "x.csv", "signal")
    assert "x.csv: 12.0row" in capsys.readouterr().err
    export(frame, tmp_path / "x.csv", "signal", progress=False)
    assert capsys.readouterr().err == ""
