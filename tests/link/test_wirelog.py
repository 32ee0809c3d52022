"""The wire log: JSON lines that give every byte back, without credentials and PINs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from neogate_lab.errors import StoreError
from neogate_lab.link.wirelog import WireLog

from .support import START


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_one_line_a_packet_and_its_bytes_come_back(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    data = b"Event: ReceivedSMS\r\nContent: \xd0\x9f \xff\x1a\x00\r\n\r\n"
    log = WireLog(path)
    log.write(START, "<", data)
    log.write(START, ">", b"Action: Ping\r\n\r\n")
    log.close()
    first, second = lines(path)
    assert first["data"].encode("utf-8", "surrogateescape") == data
    assert (first["direction"], second["direction"]) == ("<", ">")
    assert first["time"] == START.isoformat()


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        (b"Action: Login\r\nUsername: apiuser\r\nSecret: s3cret\r\n\r\n", "s3cret"),
        (b"Action: Login\r\nUsername: apiuser\r\nSecret: s3cret\r\n\r\n", "apiuser"),
        (b"action: login\nsecret : s3cret\nusername:apiuser\n\n", "s3cret"),
        (b"GSM span 3: Power on, Pin (1234) Error, Active\n", "1234"),
        (b"GSM span 3: Power on, PIN2 ( 1234 ) Error\n", "1234"),
        (b"GSM span 3: Power on, Puk(12345678) Error\n", "12345678"),
    ],
)
def test_credentials_and_pins_are_masked(tmp_path: Path, data: bytes, secret: str) -> None:
    path = tmp_path / "wire.jsonl"
    log = WireLog(path)
    log.write(START, ">", data)
    log.close()
    assert secret not in path.read_text()
    assert "****" in path.read_text()


def test_the_file_is_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    for _ in range(2):
        log = WireLog(path)
        log.write(START, "<", b"x")
        log.close()
        log.write(START, "<", b"after the end")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(lines(path)) == 2


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be written"):
        WireLog(tmp_path / "nowhere" / "wire.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_log_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    log = WireLog(Path("/dev/full"))
    log.write(START, "<", b"x")
    log.write(START, "<", b"y")
    assert caplog.text.count("ends here") == 1
    log.close()
