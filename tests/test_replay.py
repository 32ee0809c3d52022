"""A wire log is a gateway that can be handed over: read again to records, and served again."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pandas.testing import assert_frame_equal

import neogate_lab as ng
from neogate_lab.cli.sharing import share
from neogate_lab.simulator import ReplayGateway, recording
from tests.support import eventually, run
from tests.test_cli import start

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SENDER, TO, TEXT = "+390123456789", "+390987654321", "meet me at dawn"
INF = float("inf")


def log(path: Path, *said: tuple[float, str, str] | tuple[float, str, str, int]) -> Path:
    """A wire log by hand: seconds, direction, data, session."""
    rows = [
        {
            "time": (NOON + timedelta(seconds=each[0])).isoformat(),
            "session": each[3] if len(each) > 3 else 1,
            "direction": each[1],
            "data": each[2],
        }
        for each in said
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def connect(gateway: Any, **options: Any) -> ng.Gateway:
    return ng.connect(
        gateway.host,
        port=gateway.port,
        username="apiuser",
        password=options.pop("password", "apipass"),
        store=":memory:",
        **{"name": "replayed", "sms_interval": 0.1, **options},
    )


@pytest.fixture(scope="module", params=["tg200", "v3", "tg400", "manual2013", "ami5"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A conversation with each firmware, and what came of it."""
    path = tmp_path_factory.mktemp("wire") / "wire.jsonl"
    simulator = ng.SimulatedGateway(
        firmware=request.param, restless=False, sms_delay=0.1, ussd_delay=0.05, password="s3cret!"
    )
    with simulator as sim, connect(sim, password="s3cret!", record=path) as gw:
        found = {"spans": gw.spans(), "diagnostics": gw.diagnostics()}
        sim.receive_sms(1, SENDER, TEXT)
        sim.receive_sms(1, SENDER, "Добрый день! " * 12)
        eventually(lambda: len(gw.inbox()) == 2)
        found["sent"] = gw.send_sms(TO, "hello", port=1, timeout=10).status
        found["ussd"] = gw.ussd("*100#", port=1)
        found["inbox"] = gw.inbox()
    return path, found


def test_a_replayed_gateway_is_the_recorded_one(recorded: Any) -> None:
    path, found = recorded
    with ReplayGateway(path, speed=INF) as gateway, connect(gateway) as gw:
        assert_frame_equal(gw.spans(), found["spans"])
        assert_frame_equal(gw.diagnostics(), found["diagnostics"])
        eventually(lambda: len(gw.inbox()) == 2)
        for column in ("port", "span", "sender", "text", "gateway_time", "parts", "complete"):
            assert list(gw.inbox()[column]) == list(found["inbox"][column])
        assert gw.send_sms("+391111111", "another text", port=1, timeout=10).status == "sent"
        reply = gw.ussd("*100#", port=1)
        assert (reply.outcome, reply.text) == (found["ussd"].outcome, found["ussd"].text)
        with pytest.raises(ng.CommandRefused, match="No such command"):
            gw.command("gsm show version")
        with pytest.raises(ng.CommandRefused, match="No such command"):
            gw.ussd("*999#", port=1)


def test_replay_reads_it_to_records(recorded: Any) -> None:
    path, _ = recorded
    result = run("replay", path)
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("0 not understood")
    for words in ("banner Asterisk", "SpanStatus span=2", "SpanDetail span=2", "UssdReply port=1"):
        assert words in result.stdout
    assert "ReceivedPart span=2 sender=… content=…" in result.stdout
    assert re.search(r"SendStatus id=\S+ accepted=True", result.stdout)
    for secret in (SENDER, TO, TEXT, "dawn", "s3cret"):
        assert secret not in result.stdout
    told = run("replay", path, "--personal").stdout
    assert SENDER in told
    assert "dawn" in told


def test_neither_password_nor_pin_is_in_what_is_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with (
        ng.SimulatedGateway(ports=8, password="s3cret!") as sim,
        connect(sim, password="s3cret!", record=path) as gw,
    ):
        gw.spans()
        gw.diagnostics()
        sim.send_event("Alarm", {"Message": "user apiuser with s3cret! logged in", "Pin": "4821"})
        sim.receive_sms(1, SENDER, "your s3cret! and PIN 4821")
        eventually(lambda: len(gw.inbox()) == 1)
    text = "".join(json.loads(line)["data"] for line in path.read_text().splitlines())
    assert "Pin (****) Error" in text
    assert re.search(r"[Pp]in \(\d", text) is None
    for secret in ("s3cret", "apipass", "4821"):
        assert secret not in text


def test_what_was_cut_off_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with ng.SimulatedGateway(restless=False) as sim, connect(sim, record=path) as gw:
        sim.cut_next_reply()
        with pytest.raises(ng.ConnectionLost):
            gw.spans()
    assert any('"data": "Response: Follows' in row and "END" not in row for row in open_rows(path))
    result = run("replay", path)
    assert result.exit_code == 0
    assert "bytes that are no whole packet" in result.stdout


def open_rows(path: Path) -> list[str]:
    return path.read_text().splitlines()


HELLO = (
    (0.0, "<", "Asterisk Call Manager/9.9\r\n"),
    (0.0, ">", "Action: Login\r\nActionID: a\r\nUsername: ****\r\nSecret: ****\r\n\r\n"),
    (0.1, "<", "Response: Success\r\nActionID: a\r\nMessage: Authentication accepted\r\n\r\n"),
)


def asked(at: float, action_id: str, command: str) -> tuple[float, str, str]:
    data = f"Action: SMSCommand\r\nActionID: {action_id}\r\ncommand: {command}\r\n\r\n"
    return (at, ">", data)


def said(at: float, action_id: str, body: str) -> tuple[float, str, str]:
    head = f"Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: {action_id}\r\n"
    return (at, "<", f"{head}{body}--END COMMAND--\r\n\r\n")


def event(at: float, number: int) -> tuple[float, str, str]:
    return (at, "<", f"Event: Strange\r\nNumber: {number}\r\n\r\n")


def test_replies_come_in_their_order_and_the_last_one_stays(tmp_path: Path) -> None:
    spans = "gsm show spans"
    path = log(
        tmp_path / "wire.jsonl",
        *HELLO,
        asked(1, "b", spans),
        asked(1, "c", spans),
        said(2, "c", "GSM span 3: Power on, Down\n"),
        said(3, "b", "GSM span 2: Power on, Up\n"),
        asked(4, "d", spans),  # its answer never came
    )
    parsed = recording.Recording(recording.read(path))
    assert parsed.banner == "Asterisk Call Manager/9.9"
    _, first, second, last = parsed.exchanges
    assert b"span 2" in (first.reply or b"")
    assert b"span 3" in (second.reply or b"")
    assert last.reply is None
    assert (first.delay, second.delay) == (1.0, 1.0)  # the first was answered after the second
    with ReplayGateway(path, speed=INF) as gateway, connect(gateway) as gw:  # which asks once
        assert {gw.command(spans)[0] for _ in range(3)} == {"GSM span 3: Power on, Down"}


def test_events_keep_their_distances(tmp_path: Path) -> None:
    path = log(
        tmp_path / "wire.jsonl",
        *HELLO,
        event(5, 1),
        event(65, 2),
        (70.0, "<", "Asterisk Call Manager/9.9\r\n", 2),
        (70.0, ">", "Action: Login\r\nActionID: a\r\nEvents: off\r\n\r\n", 2),
        (71.0, "<", "Event: Strange\r\nNumber: 9\r\n\r\n", 2),
        (90.0, "<", "Asterisk Call Manager/9.9\r\n"),  # the program was started again
        (90.0, ">", "Action: Login\r\nActionID: a\r\nUsername: ****\r\nSecret: ****\r\n\r\n"),
        event(92, 3),
    )
    parsed = recording.Recording(recording.read(path))
    assert [round(each.after, 3) for each in parsed.events] == [5, 65, 67]


def test_a_report_goes_to_the_sms_that_is_sent_now(tmp_path: Path) -> None:
    path = log(
        tmp_path / "wire.jsonl",
        *HELLO,
        asked(1, "b", 'gsm send sms 2 +39012 "hello" oldid'),
        said(1.5, "b", ""),
        (4.0, "<", "Event: UpdateSMSSend\r\nID: oldid\r\nStatus: 1\r\n\r\n"),
    )
    (exchange,) = [e for e in recording.Recording(recording.read(path)).exchanges if e.reports]
    assert [report.after for report in exchange.reports] == [3.0]


def test_the_wrong_password_is_refused(tmp_path: Path) -> None:
    path = log(tmp_path / "wire.jsonl", *HELLO)
    with ReplayGateway(path, password="other", speed=INF) as gateway:
        assert "other" not in repr(gateway)
        with pytest.raises(ng.LoginRefused):
            connect(gateway)


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = log(tmp_path / "wire.jsonl", *HELLO)
    path.write_text(path.read_text() + '{"time": "2026-')
    assert len(recording.read(path)) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no file"),
        ("", "is empty"),
        ("secret\nb\n", "line 1 of .* is not one of a wire log"),
        ('{"time": "x", "direction": "<", "data": ""}\n\n', "line 1"),
        ('{"time": "2026-11-20T12:00:00+00:00", "direction": "?", "data": ""}\n\n', "line 1"),
        ("[1]\n\n", "line 1"),
        (b"\xff\xfe\n", "is no wire log"),
    ],
)
def test_a_file_that_is_no_wire_log(
    tmp_path: Path, content: str | bytes | None, words: str
) -> None:
    path = tmp_path / "wire.jsonl"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ng.InvalidRequest, match=words) as caught:
        ReplayGateway(path)
    assert "secret" not in str(caught.value)
    result = run("replay", path)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_what_is_strange_is_counted_and_harmless(tmp_path: Path) -> None:
    path = log(
        tmp_path / "wire.jsonl",
        *HELLO,
        asked(1, "b", "gsm show span 2"),
        said(1, "b", "\x1b]0;title\x07 nothing known\n"),
        (2.0, "<", "Event: UpdateSMSSend\r\nID: 1\r\nStatus: 7\r\n\r\n"),
        (3.0, "<", "What: ever\r\n\r\n"),
        (4.0, "<", "half a pack"),
    )
    result = run("replay", path, "--personal")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert result.stdout.count("not understood:") == 4
    assert result.stdout.endswith("5 packets in 1 sessions; 4 not understood\n")


def test_serve_is_that_gateway_until_it_is_stopped(tmp_path: Path) -> None:
    path = log(
        tmp_path / "wire.jsonl",
        *HELLO,
        asked(1, "b", "gsm show spans"),
        said(1, "b", "GSM span 2: Power on, Up\n"),
    )
    process = start("replay", path, "--serve", "--port", 0, "--speed", "inf")
    try:
        line = process.stdout.readline()
        call = re.search(r"ng\.connect\((.*?)\)", line)[1]  # type: ignore[index]
        with eval(f"ng.connect({call}, store=':memory:')", {"ng": ng}) as gateway:
            assert list(gateway.spans()["port"]) == [1]
        process.terminate()
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, err) == (0, "stopped\n", "")


@pytest.mark.parametrize("level", ["numbers", "text", "all"])
def test_a_copy_to_hand_over_is_the_same_gateway_without_what_people_wrote(
    recorded: Any, tmp_path: Path, level: str
) -> None:
    path, found = recorded
    copy = tmp_path / "shared.jsonl"
    result = run("replay", path, "--redact", level, "--out", copy)
    lines = path.read_text().count("\n")
    assert (result.exit_code, result.stdout) == (0, f"wrote {lines} lines to {copy}\n")
    data = "".join(json.loads(line)["data"] for line in copy.read_text().splitlines())
    numbers = [SENDER[1:], TO[1:], *found["diagnostics"]["imsi"], *found["diagnostics"]["imei"]]
    for secret in [each for each in numbers if each] if level != "text" else []:
        assert secret not in data
    for text in ["dawn", "hello", "%D0%94%D0%BE", "0414043E"] if level != "numbers" else []:
        assert text not in data
    told = run("replay", copy).stdout
    assert told.rstrip().endswith("0 not understood")
    assert told.count("\n") == run("replay", path).stdout.count("\n")
    with ReplayGateway(copy, speed=INF) as gateway, connect(gateway) as gw:
        assert_frame_equal(gw.spans(), found["spans"])
        same = ["status", "model", "network", "signal_raw", "registered", "state"]
        assert_frame_equal(gw.diagnostics()[same], found["diagnostics"][same])
        eventually(lambda: len(gw.inbox()) == 2)
        for column in ("port", "gateway_time", "parts", "complete", "encoding"):
            assert list(gw.inbox()[column]) == list(found["inbox"][column])
        assert list(gw.inbox()["text"].str.len()) == list(found["inbox"]["text"].str.len())
        assert gw.send_sms(TO, "hello", port=1, timeout=10).status == "sent"


def test_a_secret_that_was_recorded_in_two_pieces_is_found(tmp_path: Path) -> None:
    whole = (
        f"Event: ReceivedSMS\r\nSender: {SENDER}\r\nContent: {TEXT} {SENDER}\r\n\r\n"
        "Response: Success\r\n\r\n"
    )
    sent = f'Action: SMSCommand\r\ncommand: gsm send sms 2 {TO} "{TEXT}" ng1\r\n\r\n'
    copy = tmp_path / "shared.jsonl"
    for cut in range(1, len(whole)):
        path = log(
            tmp_path / "wire.jsonl",
            HELLO[0],
            (1.0, "<", whole[:cut]),
            (1.5, ">", sent[: cut % len(sent)]),
            (2.0, "<", whole[cut:]),
            (2.5, ">", sent[cut % len(sent) :]),
            (3.0, "<", f"Event: ReceivedSMS\r\nContent: {TEXT} {SENDER}"[: 40 + cut % 9]),
        )
        share(path, copy, "all")
        lines = [json.loads(line) for line in copy.read_text().splitlines()]
        data = "".join(line["data"] for line in lines)
        for secret in (SENDER[1:], TO[1:], "meet", "dawn"):
            assert secret not in data
        assert [line["direction"] for line in lines].count(">") == 1
        assert len(data) > len(whole) + len(sent)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--redact", "all"),
        ("--out", "x.jsonl"),
        ("--redact", "some", "--out", "x.jsonl"),
        ("--redact", "all", "--out", "nowhere/x.jsonl"),
        ("--redact", "all", "--out", "wire.jsonl"),
        ("--redact", "all", "--out", "x.jsonl", "--serve"),
    ],
)
def test_a_copy_that_is_asked_for_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = log(Path("wire.jsonl"), *HELLO)
    before = path.read_bytes()
    result = run("replay", path, *arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["wire.jsonl"]
    assert path.read_bytes() == before


def test_a_packet_that_never_ends_is_shared_as_what_it_is(tmp_path: Path) -> None:
    path = log(tmp_path / "wire.jsonl", *HELLO, (1.0, "<", f"Note: {TEXT}\r\n" * 50_000))
    share(path, tmp_path / "shared.jsonl", "all")
    data = "".join(json.loads(line)["data"] for line in open_rows(tmp_path / "shared.jsonl"))
    assert "dawn" not in data
    assert data.count("Note: xxxx") > 40_000
