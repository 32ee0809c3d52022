"""`redact=` hides what it names in every column, and tables still join."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.history.export import export, read_csv, read_parquet
from neogate_lab.history.frames import frame_of
from neogate_lab.history.redaction import ACTIONS, LEVELS, Redaction
from neogate_lab.history.schema import TABLES, VIEWS
from neogate_lab.history.store import Store
from tests.history.samples import message, part, sms

ALL = TABLES | VIEWS
KEY = b"k" * 32
PHONE, IMSI, PIN = "+390123456789", "250021234567890", "4821"
SECRETS = (PHONE, PHONE[1:], PHONE[4:], IMSI, PIN)
WRITTEN = {"text", "content", "raw", "code", "extra", "key", "error", "reason", "status"}
"""Columns that "text" redacts: what people wrote, and words that may quote it."""
PLANTED = f"call {PHONE} or {PHONE[1:4]} {PHONE[4:]}, imsi {IMSI}, pin {PIN}"


def redacted(text: str, column: str, level: str, table: str = "messages") -> str:
    redaction = Redaction(level, KEY)
    declared = ALL[table]
    return redaction.cell(text, redaction.action(declared, declared.column(column)))


def test_every_text_column_has_its_rule() -> None:
    names = {
        column.name
        for table in ALL.values()
        for column in table.columns
        if column.kind in ("text", "cat")
    }
    ruled = {name.rpartition(".")[2] for name in ACTIONS}
    assert names == ruled


def everything_in(path: Path) -> str:
    """What any reader of a file or folder could see: names, bytes, and what is compressed in it."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    shown = [str(each.relative_to(path.parent)) for each in files]
    for file in files:
        if file.is_file():
            shown.append(file.read_bytes().decode("latin-1"))
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as parts:
                shown += [parts.read(name).decode("latin-1") for name in parts.namelist()]
    if path.suffix in ("", ".parquet"):
        shown.append(read_parquet(path).to_csv())
    return unquote("\n".join(shown))


def planted(name: str) -> dict[str, Any]:
    """A row with the secrets in every text column."""
    row: dict[str, Any] = {
        column.name: PLANTED for column in ALL[name].columns if column.kind in ("text", "cat")
    }
    if "extra" in row:
        row["extra"] = json.dumps({"Own Number": PHONE, IMSI: [PIN], "n": int(IMSI), "t": PLANTED})
    return row


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("level", ["numbers", "all"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx", ""])
def test_planted_numbers_are_nowhere_in_the_file(
    tmp_path: Path, name: str, level: str, suffix: str
) -> None:
    if suffix == ".xlsx":
        pytest.importorskip("xlsxwriter")
    if suffix == "" and name in VIEWS:
        suffix = ".parquet"  # views have no gateway to partition by
    frame = frame_of(name, [planted(name)])
    whole = everything_in(export(frame, tmp_path / f"w{suffix}", name))
    assert PIN in whole
    shown = everything_in(export(frame, tmp_path / f"x{suffix}", name, redact=level, key=KEY))
    for secret in SECRETS:
        assert secret in whole or secret not in PLANTED
        assert secret not in shown


@pytest.mark.parametrize(
    ("name", "column"),
    [(n, c.name) for n, t in ALL.items() for c in t.columns if c.kind in ("text", "cat")],
)
@pytest.mark.parametrize("level", LEVELS)
def test_each_column_alone_at_each_level(
    tmp_path: Path, name: str, column: str, level: str
) -> None:
    """A secret passes where the table of rules says keep, and nowhere else."""
    frame = frame_of(name, [{column: planted(name)[column]}])
    shown = everything_in(export(frame, tmp_path / "x.csv", name, redact=level, key=KEY))
    action = Redaction(level, KEY).action(ALL[name], ALL[name].column(column))
    assert (action == "keep") == (level == "text" and column not in WRITTEN)
    assert [secret in shown for secret in (PHONE, IMSI, PIN)] == [action == "keep"] * 3


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("level", ["text", "all"])
def test_planted_words_are_nowhere_in_what_was_written(
    tmp_path: Path, name: str, level: str
) -> None:
    columns = {"text", "content", "raw", "code", "extra", "key"} & set(ALL[name].names)
    row = dict.fromkeys(columns, "meet me at dawn")
    path = export(frame_of(name, [row]), tmp_path / "x.csv", name, redact=level, key=KEY)
    assert b"dawn" not in path.read_bytes()


@pytest.mark.parametrize(
    ("column", "table", "text"),
    [
        ("sender", "messages", "MegaFon"),
        ("gateway_time", "messages", "2016-10-15 07:41:05"),
        ("text", "messages", "see you at 12:30, gate 7"),
        ("network", "signal", "310260"),
        ("revision", "identities", "1137B13SIM900M64_ST"),
        ("code", "ussd", "*100#"),
        ("gateway", "signal", "192.168.5.150:5038"),
        ("label", "signal", "roof 2"),
        ("text", "messages", ""),
    ],
)
def test_what_analysis_needs_stays(column: str, table: str, text: str) -> None:
    assert redacted(text, column, "numbers", table) == text


MOMENT = "2026-11-20 08:00:00"


@pytest.mark.parametrize("level", ["numbers", "all"])
@pytest.mark.parametrize(
    ("column", "table", "text"),
    [
        ("reason", "connections", f"nobody is known to have listened since {MOMENT} UTC"),
        ("reason", "surveys", f"from {MOMENT} to 2026-11-20T08:00:00.123456+00:00"),
        ("survey", "signal", f"survey {MOMENT}"),
        ("label", "signal", "roof 2026-11-20, mast 2026-11-21"),
    ],
)
def test_dates_and_times_stay(level: str, column: str, table: str, text: str) -> None:
    assert redacted(text, column, level, table) == text


@pytest.mark.parametrize(
    "text",
    [
        "+2026-11-20",
        "0039 2026-11-20",
        "2026-11-20 12345",
        "2026-11-2012",
        "2026-11-20 08:00:12345678",
        "12026-11-20",
        "2026-13-20 0800",
        "2026-02-30",
        "pin 2026-11-20",
        "PUK: 2026-11-20",
    ],
)
@pytest.mark.parametrize("column", ["reason", "text"])
def test_what_only_looks_like_a_date_is_hidden(text: str, column: str) -> None:
    table = "connections" if column == "reason" else "messages"
    assert "2026" not in redacted(text, column, "numbers", table)


@given(
    st.lists(
        st.sampled_from(
            [
                *(MOMENT, "2026-11-20", "08:00", "UTC", "since", "7", ","),
                *(PHONE, PHONE[1:], "+39 012-345 6789", IMSI, f" pin {PIN}"),
            ]
        ),
        max_size=8,
    ),
    st.sampled_from([" ", "", "-", "/", ". ", ", ", " (", ":", "T", "\n"]),
    st.sampled_from([("reason", "connections"), ("survey", "signal"), ("text", "messages")]),
)
def test_no_number_hides_behind_a_date(
    pieces: list[str], between: str, where: tuple[str, str]
) -> None:
    shown = redacted(between.join(pieces), where[0], "numbers", where[1])
    digits = "".join(each for each in shown.replace(MOMENT, "|") if each.isdigit() or each == "|")
    for secret in (PHONE[1:], PHONE[4:], IMSI, PIN):
        assert secret not in digits


def test_a_pin_in_a_status_word_goes_at_every_level() -> None:
    for level in LEVELS:
        assert PIN not in redacted(f"Pin ({PIN}) Error", "status", level, "spans")


def test_numbers_in_a_state_go_and_the_state_stays() -> None:
    state = redacted(f"CALL ACTIVE Called to {PHONE}", "state", "numbers", "signal")
    assert state.startswith("CALL ACTIVE Called to ~")


def test_extra_stays_json() -> None:
    extra = json.dumps({"Own Number": PHONE, "n": [250021234567890, 7, None, True, {"a": "b"}]})
    value = json.loads(redacted(extra, "extra", "numbers", "identities"))
    assert value["n"][1:] == ["7", None, True, {"a": "b"}]
    assert redacted("not json", "extra", "numbers", "identities") == ""
    assert redacted("", "extra", "numbers", "identities") == ""


def test_one_subscriber_is_one_token_however_it_is_written() -> None:
    spellings = [PHONE, PHONE[1:], "+39 012-345 6789"]
    assert len({redacted(text, "sender", "numbers") for text in spellings}) == 1
    assert redacted(PHONE, "sender", "numbers") != redacted(PHONE + "0", "sender", "numbers")
    token = redacted(PHONE, "sender", "numbers")
    assert redacted(f"call {PHONE}!", "text", "numbers") == f"call {token}!"
    assert len(token) == 13
    assert not any(map(str.isdigit, token))


def test_tables_of_one_store_join_and_those_of_another_do_not(store: Store, tmp_path: Path) -> None:
    def tokens(source: Store) -> tuple[str, str, str]:
        source.receive("lab", part(), "", message(sender=PHONE)).result()
        source.enqueue(sms(to=PHONE)).result()
        inbox = read_csv(source.export(tmp_path / "i.csv", "messages", redact="all"))
        outbox = read_parquet(source.export(tmp_path / "o.parquet", "outbox", redact="all"))
        return inbox["sender"][0], outbox["to"][0], inbox["gateway"][0]

    sender, to, gateway = tokens(store)
    assert sender == to
    assert gateway not in ("lab", sender)
    with Store(":memory:") as other:
        assert tokens(other)[0] != sender
    with Store(store.path) as again:
        assert tokens(again)[0] == sender


def test_metadata_is_redacted_too(store: Store, tmp_path: Path) -> None:
    store.receive("lab", part(), "", message()).result()
    path = store.export(tmp_path / "x.parquet", "messages", redact="all")
    assert b'"lab"' not in path.read_bytes()
    assert b"neogate_lab.redacted" in path.read_bytes()
