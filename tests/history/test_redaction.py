"""`redact=` hides what it names in every column, and tables still join."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neogate_lab.history.export import export, read_csv, read_parquet
from neogate_lab.history.frames import frame_of
from neogate_lab.history.redaction import ACTIONS, LEVELS, Redaction
from neogate_lab.history.schema import TABLES, VIEWS
from neogate_lab.history.store import Store
from tests.history.samples import message, part, sms

ALL = TABLES | VIEWS
KEY = b"k" * 32
PHONE, IMSI, PIN = "+390123456789", "250021234567890", "4821"
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


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("level", ["numbers", "all"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_planted_numbers_are_nowhere_in_the_file(
    tmp_path: Path, name: str, level: str, suffix: str
) -> None:
    columns = [c.name for c in ALL[name].columns if c.kind in ("text", "cat")]
    row: dict[str, Any] = dict.fromkeys(columns, PLANTED)
    row |= {"extra": json.dumps({"Own Number": PHONE, IMSI: [PIN]})} if "extra" in row else {}
    if "gateway" in row:
        row["gateway"] = "lab"
    path = export(frame_of(name, [row]), tmp_path / f"x{suffix}", name, redact=level, key=KEY)
    frame = read_csv(path) if suffix == ".csv" else read_parquet(path)
    shown = frame.to_csv() + path.read_bytes().decode("latin-1")
    for secret in (PHONE, PHONE[1:], PHONE[4:], IMSI, PIN):
        assert secret not in shown


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
