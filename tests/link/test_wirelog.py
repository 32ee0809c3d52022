"""The wire log: JSON lines that give every byte back, without credentials and PINs."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from urllib.parse import quote, quote_plus

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


@pytest.mark.parametrize(
    "data",
    [
        b"GSM span 3: Power on, Pin (4821) Error, Active\n",
        b"Output: GSM span 3: Pin(4821) Error\r\n",
        b"SIM PIN: 4821\n",
        b"PIN2 = 4821\r\n",
        b"Puk: 12344821\n",
        b'Last send AT: AT+CPIN="4821"\\r\\n\n',
        b"command: gsm send at 2 AT+CPIN=%224821%22\r\n",
        b"Content: PIN%20is%204821\r\n",
        b"Content: Pin+4821\r\n",
        b"State: pin code: 4821\n",
        b"GSM span 3: Power on, Pin (4821",
    ],
)
def test_pins_are_masked_in_every_spelling(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "wire.jsonl"
    log = WireLog(path)
    log.write(START, "<", data)
    log.close()
    assert "4821" not in path.read_text()


@pytest.mark.parametrize("data", [b"Power on, Pin (48", b"SIM PIN: 482", b"Content: PIN%20is%2048"])
def test_a_pin_that_the_end_of_a_session_cut_is_masked(tmp_path: Path, data: bytes) -> None:
    log = WireLog(tmp_path / "wire.jsonl")
    log.write(START, "<", data)
    log.close()
    assert "48" not in lines(tmp_path / "wire.jsonl")[0]["data"]


PASSWORDS = ["s3cret pass", "pä%ss+wörd", 'a"b\\c', "****", "x", "密码 123"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_the_password_is_never_in_the_file_even_when_it_is_echoed(
    tmp_path: Path, password: str
) -> None:
    raw = password.encode()
    spellings = [
        raw,
        quote(raw).encode(),
        quote(raw, safe="").lower().encode(),
        quote_plus(raw).encode(),
        json.dumps(password)[1:-1].encode(),
        raw.hex().encode(),
        password.encode("utf-16-be").hex().upper().encode(),
    ]
    path = tmp_path / "wire.jsonl"
    log = WireLog(path, (password, ""))
    tap = log.session(lambda: START)
    for spelling in spellings:
        tap("<", b"Response: Error\r\nMessage: no user with '" + spelling + b"' here\r\n\r\n")
        tap(">", b"command: gsm send sms 2 1 " + spelling + b"\r\n")
    log.close()
    for line, spelling in zip(lines(path), [s for s in spellings for _ in (1, 2)], strict=True):
        rest = line["data"].encode("utf-8", "surrogateescape").replace(b"****", b"")
        assert rest in (
            b"Response: Error\r\nMessage: no user with '' here\r\n\r\n",
            b"command: gsm send sms 2 1 \r\n",
        ), spelling


@pytest.mark.parametrize("cut", [b"s3cret pa", b"s3cret%20p", b"73336372657420"])
def test_a_password_that_the_end_of_a_session_cut_is_masked(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / "wire.jsonl"
    log = WireLog(path, ("s3cret pass",))
    log.write(START, "<", b"Response: Error\r\nMessage: no user with " + cut)
    log.close()
    assert lines(path)[0]["data"].endswith("no user with ****")


def test_a_short_password_leaves_words_alone(tmp_path: Path) -> None:
    log = WireLog(tmp_path / "wire.jsonl", ("gsm",))
    log.write(START, "<", b"gsmspan: gsm\r\n")
    log.close()
    assert lines(tmp_path / "wire.jsonl")[0]["data"] == "gsmspan: ****\r\n"


def test_sessions_are_told_apart(tmp_path: Path) -> None:
    log = WireLog(tmp_path / "wire.jsonl")
    one, two = log.session(lambda: START), log.session(lambda: START)
    two("<", b"b")
    one("<", b"a")
    log.close()
    assert [line["session"] for line in lines(tmp_path / "wire.jsonl")] == [2, 1]
