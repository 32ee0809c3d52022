"""What is exported comes back equal, nothing in it runs, and nothing half-written stays."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history.export import export, read_csv, read_parquet
from neogate_lab.history.frames import frame_of
from neogate_lab.history.schema import SCHEMA_VERSION, TABLES, VIEWS, Column
from neogate_lab.history.store import Store
from tests.history.samples import NOON, at, measurement, message, sms

ALL = TABLES | VIEWS

AWKWARD = [
    "=1",
    "'=1",
    "''=1",
    "'",
    "''",
    "'abc",
    "@SUM(A1)",
    "-1+2",
    "-1",
    "+1.5",
    "+390123",
    "+39 012",
    "'+390123",
    "0044",
    "1e5",
    "\r",
    "\n",
    "\r\n",
    "\t=1",
    "\x00",
    "a\x00b",
    "NA",
    "None",
    "nan",
    "null",
    "NULL",
    "True",
    '"',
    '""',
    '"a","b"',
    ",",
    ";",
    " blank ",
    "",
    "😀",
    "\ufeffbom",
    "a\u2028b",
    "--END COMMAND--",
    "1\n",
    "+1\n",
]
texts = st.one_of(
    st.sampled_from(AWKWARD),
    st.text(alphabet="'=+-@\t\r\n\",;1 \x00a", max_size=6),
    st.text(max_size=20),
)


def values_of(column: Column) -> st.SearchStrategy[Any]:
    if column.kind in ("text", "cat"):
        return texts
    if column.kind == "time":
        return st.none() | st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC))
    if column.kind == "flag":
        return st.none() | st.booleans()
    if column.kind == "float":
        return st.none() | st.floats(allow_nan=False)
    limit = 1 << int(column.kind[3:]) - 1
    return st.none() | st.integers(-limit, limit - 1)


@st.composite
def frames(draw: st.DrawFn) -> tuple[str, pd.DataFrame]:
    name = draw(st.sampled_from(sorted(ALL)))
    row = st.fixed_dictionaries({column.name: values_of(column) for column in ALL[name].columns})
    return name, frame_of(name, draw(st.lists(row, max_size=3)))


@given(frames())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_every_table_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, exported: tuple[str, pd.DataFrame]
) -> None:
    name, frame = exported
    folder = tmp_path_factory.getbasetemp()
    assert_frame_equal(read_parquet(export(frame, folder / "x.parquet", name)), frame)
    for safe in (True, False):
        path = export(frame, folder / "x.csv", name, spreadsheet_safe=safe)
        assert_frame_equal(read_csv(path), frame)
        assert_frame_equal(read_csv(path, name, spreadsheet_safe=safe), frame)


def awkward_inbox() -> pd.DataFrame:
    return frame_of("messages", [message(i, text=text) for i, text in enumerate(AWKWARD)])


def test_awkward_texts_one_by_one(tmp_path: Path) -> None:
    frame = awkward_inbox()
    assert_frame_equal(read_csv(export(frame, tmp_path / "x.csv", "messages")), frame)
    assert list(frame["text"]) == AWKWARD


def test_csv_is_plain_rfc_4180_that_other_readers_understand(tmp_path: Path) -> None:
    path = export(awkward_inbox(), tmp_path / "x.csv", "messages", spreadsheet_safe=False)
    data = path.read_bytes()
    assert data.startswith(b'"row_id","received_at"')
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [row["text"] for row in rows] == AWKWARD
    assert rows[0]["received_at"] == "2026-11-20T12:00:00.000000+00:00"
    assert data.endswith(b"\r\n")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("'=1", "''=1"),
        ("+1\n", "'+1\n"),
        ("+39 012", "'+39 012"),
        ("+390123", "+390123"),
        ("-1.5", "-1.5"),
        ("0044", "0044"),
        ("'tis", "'tis"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_cells_that_a_spreadsheet_would_run_are_neutralised(
    tmp_path: Path, text: str, cell: str
) -> None:
    frame = frame_of("messages", [message(text=text)])
    path = export(frame, tmp_path / "x.csv", "messages")
    (row,) = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
    assert row["text"] == cell


def test_category_columns_are_neutralised_too(tmp_path: Path) -> None:
    frame = frame_of("signal", [measurement(network="=cmd|' /C calc'!A0")])
    assert ",'=cmd" in export(frame, tmp_path / "x.csv", "signal").read_text()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_csv_that_a_spreadsheet_saved_again(
    tmp_path: Path, delimiter: str, end: str, bom: bytes
) -> None:
    frame = frame_of("outbox", [sms(i, row_id=i, text="'=1;,") for i in range(3)])
    path = export(frame, tmp_path / "x.csv", "outbox")
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows([*rows, [""] * len(rows[0])])
    path.write_bytes(bom + out.getvalue().encode())
    assert_frame_equal(read_csv(path), frame)


def test_what_spreadsheets_do_to_cells(tmp_path: Path) -> None:
    frame = frame_of("signal", [measurement(row_id=100000, latency_ms=0.5)])
    text = export(frame, tmp_path / "x.csv", "signal").read_text()
    for before, after in (
        ("100000,", "1E+05;"),
        ("2026-11-20T12:00:00.000000+00:00", "2026-11-20 12:00:00"),
        ("true", "TRUE"),
        ("0.5", "0,5"),
    ):
        text = text.replace(",", ";").replace("0;5", "0,5").replace(before.replace(",", ";"), after)
    (tmp_path / "x.csv").write_text(text)
    assert_frame_equal(read_csv(tmp_path / "x.csv"), frame)


def test_columns_may_come_in_another_order(tmp_path: Path) -> None:
    frame = awkward_inbox()
    path = export(frame[frame.columns[::-1]], tmp_path / "x.csv", "messages")
    assert_frame_equal(read_csv(path), frame)
    text = path.read_text()
    rows = [row[::-1] for row in csv.reader(io.StringIO(text, newline=""))]
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    path.write_text(out.getvalue(), newline="")
    expected = frame[~frame["text"].isin(["\r"])]
    got = read_csv(path)
    assert list(got["sender"]) == list(frame["sender"])
    assert len(expected) < len(got)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\r\n1,2\r\n", "not those of any table: signal"),
        (b"", "not those of any table"),
        (b"\x00\xff\xfe", "not those of any table"),
        (b"time,gateway\r\n", "not those of any table"),
    ],
)
def test_a_file_that_is_no_export(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(InvalidRequest, match=words):
        read_csv(tmp_path / "x.csv")
    with pytest.raises(InvalidRequest, match="can't be read as Parquet"):
        read_parquet(tmp_path / "x.csv")


def test_a_wrong_cell_is_named_by_column_and_never_shown(tmp_path: Path) -> None:
    path = export(frame_of("messages", [message(sender="+390123")]), tmp_path / "x.csv", "messages")
    good = path.read_bytes()
    path.write_bytes(good.replace(b",1,2,", b",secret,2,"))
    with pytest.raises(InvalidRequest, match="column port is not of its type") as caught:
        read_csv(path)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    path.write_bytes(good + b"+390123,\r\n")
    with pytest.raises(InvalidRequest, match="has not 15 cells") as caught:
        read_csv(path)
    assert "390123" not in str(caught.value)
    with pytest.raises(InvalidRequest, match="not the columns of signal"):
        read_csv(path, "signal")
    with pytest.raises(InvalidRequest, match="no table"):
        read_csv(path, "sms")


def test_no_two_tables_share_their_columns() -> None:
    assert len({frozenset(table.names) for table in ALL.values()}) == len(ALL)


def test_parquet_tells_what_it_holds(store: Store, tmp_path: Path) -> None:
    rows = [measurement(0), measurement(60, gateway="field"), measurement(30)]
    store.append("signal", rows).result()
    schema = pq.read_schema(store.export(tmp_path / "x.parquet"))
    about = {
        name.decode().removeprefix("neogate_lab."): value.decode()
        for name, value in schema.metadata.items()
        if name.startswith(b"neogate_lab.")
    }
    assert about["table"] == "signal"
    assert about["schema_version"] == str(SCHEMA_VERSION)
    assert json.loads(about["gateways"]) == ["field", "lab"]
    assert json.loads(about["time_range"]) == [at(0).isoformat(), at(60).isoformat()]
    assert json.loads(about["units"])["rssi_dbm"] == "dBm"
    assert about["redacted"] == ""
    assert "package_version" in about
    assert pq.read_metadata(tmp_path / "x.parquet").metadata.items() >= schema.metadata.items()
    assert pd.read_parquet(tmp_path / "x.parquet").shape == (3, len(TABLES["signal"].columns))
    assert schema.field("rssi_dbm").metadata[b"unit"] == b"dBm"


def test_a_parquet_file_from_a_newer_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neogate_lab.history.parquet_files.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    path = export(frame_of("marks", []), tmp_path / "x.parquet", "marks")
    monkeypatch.undo()
    with pytest.raises(InvalidRequest, match="newer neogate_lab: upgrade"):
        read_parquet(path)


def test_a_parquet_file_that_pandas_saved_again(tmp_path: Path) -> None:
    frame = frame_of("signal", [measurement(i, row_id=i) for i in range(3)])
    frame.to_parquet(tmp_path / "x.parquet")
    assert_frame_equal(read_parquet(tmp_path / "x.parquet"), frame)


@pytest.mark.parametrize("suffix", [".parquet", ".CSV"])
def test_the_store_exports_what_its_reader_gives(
    store: Store, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neogate_lab.history.tiers._BATCH", 2)
    rows = [measurement(i, port=i % 2 + 1, label=f"l{i % 3}") for i in range(9)]
    store.append("signal", rows).result()
    path = store.export(tmp_path / f"x{suffix}", since=at(2), port=2)
    read = read_parquet if suffix == ".parquet" else read_csv
    assert_frame_equal(read(path), store.signal(since=at(2), port=2))
    assert path == tmp_path / f"x{suffix}"
    empty = store.export(tmp_path / f"y{suffix}", "messages")
    assert_frame_equal(read(empty), store.inbox())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "x.xls"}, r"known format: end it in \.parquet, \.csv, \.xlsx, or in nothing"),
        ({"path": "no/x.csv"}, "there is no folder"),
        ({"path": "folder.csv"}, "is a folder"),
        ({"path": "x.csv", "table": "inboxes"}, "no table"),
        ({"path": "x.csv", "redact": "some"}, "redact is None or one of numbers, text, all"),
        ({"path": "x.csv", "prot": 1}, "no column 'prot'"),
    ],
)
def test_a_wrong_export_writes_nothing(
    store: Store, tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    out = tmp_path / "out"
    (out / "folder.csv").mkdir(parents=True)
    path = out / arguments.pop("path")
    with pytest.raises(InvalidRequest, match=words):
        store.export(path, **arguments)
    assert [entry.name for entry in out.iterdir()] == ["folder.csv"]


@pytest.mark.parametrize("change", ["missing", "extra", "type"])
def test_a_frame_of_another_table_is_refused(tmp_path: Path, change: str) -> None:
    frame = frame_of("messages", [message()])
    changed = {
        "missing": frame.drop(columns="text"),
        "extra": frame.assign(more=1),
        "type": frame.assign(parts="two"),
    }[change]
    with pytest.raises(InvalidRequest):
        export(changed, tmp_path / "x.csv", "messages")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")

    def batches() -> Any:
        raise OSError(28, "No space left on device")
        yield

    with pytest.raises(StoreError, match=r"No space left on device.*nothing was changed"):
        export(batches(), path, "signal")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]


def test_exporting_again_replaces(store: Store, tmp_path: Path) -> None:
    for count in (1, 2):
        store.append("signal", [measurement()]).result()
        path = store.export(tmp_path / "x.parquet")
        assert len(read_parquet(path)) == count


def test_missing_file(tmp_path: Path) -> None:
    for read in (read_csv, read_parquet):
        with pytest.raises(InvalidRequest, match=re.escape("check the spelling")):
            read(tmp_path / "x")


@pytest.mark.parametrize("name", ["x.parquet", "x"])
def test_a_file_holds_no_word_of_rows_that_are_not_in_it(tmp_path: Path, name: str) -> None:
    with Store(tmp_path / "lab", clock=lambda: NOON) as store:
        store.append("signal", [measurement(i, label=f"place{i}") for i in range(9)]).result()
        store.seal()
        frame = store.signal()
        store.export(tmp_path / f"sealed-{name}", label="place4", progress=False)
    export(frame[frame["label"] == "place4"], tmp_path / f"frame-{name}", "signal", progress=False)
    for path in (tmp_path / f"sealed-{name}", tmp_path / f"frame-{name}"):
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        held = b"".join(each.read_bytes() for each in files)
        assert {word for word in range(9) if f"place{word}".encode() in held} == {4}
        assert read_parquet(path)["label"].tolist() == ["place4"]
