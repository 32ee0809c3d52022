"""An Excel file holds values as values: dates in UTC, numbers, flags, and text that never runs."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.history import excel_files
from neogate_lab.history.export import export
from neogate_lab.history.frames import batch_of_frame, frame_of
from neogate_lab.history.schema import TABLES
from neogate_lab.history.store import Store
from tests.history.samples import at, measurement, message

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("xlsxwriter")

TEXTS = ["=1+1", "{=1}", "http://example.org", "mailto:a@b", "+390123", "0044", "NA", "1E5", "📡"]


def cells(path: Path) -> list[list[Any]]:
    book = openpyxl.load_workbook(path)
    (sheet,) = book.worksheets
    return [list(row) for row in sheet.iter_rows()]


def test_types_are_kept_and_utc_is_said(store: Store, tmp_path: Path) -> None:
    store.append("signal", [measurement(0.25, latency_ms=12.5), measurement(1, ok=None)]).result()
    header, first, second = cells(store.export(tmp_path / "x.xlsx"))
    names = [cell.value for cell in header]
    assert names[:4] == ["row_id", "time (UTC)", "gateway", "port"]
    found = dict(zip(names, first, strict=True))
    assert found["time (UTC)"].value == at(0.25).replace(tzinfo=None)
    assert found["time (UTC)"].is_date
    assert (found["port"].value, found["port"].data_type) == (1, "n")
    assert (found["rssi_dbm"].value, found["latency_ms"].value) == (-79, 12.5)
    assert (found["ok"].value, found["ok"].data_type) == (True, "b")
    assert found["roaming"].value is None
    assert second[names.index("ok")].value is None


def test_no_text_is_a_formula_a_link_or_a_number(tmp_path: Path) -> None:
    frame = frame_of("messages", [message(i, text=text) for i, text in enumerate(TEXTS)])
    path = export(frame, tmp_path / "x.xlsx", "messages")
    header, *rows = cells(path)
    place = [cell.value for cell in header].index("text")
    assert [row[place].value for row in rows] == TEXTS
    assert {row[place].data_type for row in rows} <= {"s", "inlineStr"}
    assert all(row[place].hyperlink is None for row in rows)
    with zipfile.ZipFile(path) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet
    assert b"<f " not in sheet
    assert b"hyperlink" not in sheet


def test_what_excel_has_no_value_for_is_text_or_empty(tmp_path: Path) -> None:
    old = datetime(1870, 5, 1, tzinfo=UTC)
    rows = [
        measurement(row_id=2**60, latency_ms=float("inf")),
        measurement(row_id=10**15 - 1, latency_ms=None) | {"time": old},
    ]
    _, first, second = cells(export(frame_of("signal", rows), tmp_path / "x.xlsx", "signal"))
    assert first[0].value == str(2**60)
    assert second[0].value == 10**15 - 1
    place = TABLES["signal"].names.index("latency_ms")
    assert first[place].value == "inf"
    assert second[place].value is None
    assert second[1].value == "1870-05-01 00:00:00"


@pytest.mark.parametrize("text", ["a\x00b", "a\rb", "_x000D_", "\x1b[2J", "a\ufffeb"])
def test_control_characters_do_not_break_the_file(tmp_path: Path, text: str) -> None:
    path = export(frame_of("messages", [message(text=text)]), tmp_path / "x.xlsx", "messages")
    assert len(cells(path)) == 2


def test_too_many_rows_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert excel_files.MOST_ROWS == 1_048_576
    monkeypatch.setattr(excel_files, "MOST_ROWS", 4)
    frame = frame_of("signal", [measurement(i, row_id=i) for i in range(3)])
    path = export(frame, tmp_path / "x.xlsx", "signal")
    before = path.read_bytes()
    batch = batch_of_frame(TABLES["signal"], frame)
    with pytest.raises(InvalidRequest, match=r"choose fewer by since=.*\.parquet or \.csv"):
        export(iter([batch, batch]), path, "signal")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["x.xlsx"]


def test_a_target_that_takes_no_more_is_an_oserror() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    table = TABLES["signal"]
    batch = batch_of_frame(table, frame_of("signal", [measurement(row_id=1)]))
    with pytest.raises(OSError, match="No space left on device"):
        excel_files.write(table, [batch], Full())


def test_too_long_a_text_is_refused(tmp_path: Path) -> None:
    frame = frame_of("messages", [message(text="x" * 32_768)])
    with pytest.raises(InvalidRequest, match="column text is longer than the 32,767"):
        export(frame, tmp_path / "x.xlsx", "messages")


def test_without_xlsxwriter_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    with pytest.raises(InvalidRequest, match=r"neogate-lab\[excel\]"):
        export(frame_of("signal", []), tmp_path / "x.xlsx", "signal")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_has_its_header(store: Store, tmp_path: Path) -> None:
    (header,) = cells(store.export(tmp_path / "x.xlsx", "messages"))
    assert len(header) == len(TABLES["messages"].columns)
