"""Links that break, stall and come back, and commands that are refused, through the facade."""

from __future__ import annotations

import pytest

from neogate_lab import errors

from .gateway import Firmware, Reply, bytewise
from .support import connect, eventually, messages, pings, rows, scripted, spans_again


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_dropped_link_comes_back_and_the_gap_is_told(reset: bool) -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("before")
        messages(gw, 1)
        double.drop(reset=reset)
        eventually(lambda: spans_again(gw) == 4)
        double.receive_sms("after")
        assert [row["text"] for row in messages(gw, 2)] == ["before", "after"]
        told = rows(gw.connections().sort_values("row_id"))
        assert [row["event"] for row in told][:3] == ["connected", "lost", "restored"]
        assert told[2]["gap_s"] > 0
        assert double.logins == [True, True]


def test_while_the_link_is_down_verbs_say_so_at_once() -> None:
    with scripted() as double, connect(double, command_timeout=60.0) as gw:
        gw.spans()
        double.hang_up()
        asks = [
            gw.spans,
            gw.diagnostics,
            lambda: gw.command("gsm show spans"),
            lambda: gw.ussd("*100#", port=1),
        ]
        for ask in asks:
            with pytest.raises(errors.ConnectionLost):
                ask()
        double.listen()
        eventually(lambda: spans_again(gw) == 4)


def test_whoever_learns_of_a_lost_link_finds_it_on_record() -> None:
    with scripted() as double, connect(double) as gw:
        for number in range(1, 6):
            eventually(lambda: spans_again(gw) == 4)
            double.script("gsm show spans", Reply(cut_at=10))
            with pytest.raises(errors.ConnectionLost):
                gw.spans()
            assert gw.connections()["event"].tolist().count("lost") == number


def test_a_reply_that_breaks_off_in_the_middle() -> None:
    with scripted() as double, connect(double) as gw:
        gw.spans()
        double.script("gsm show spans", Reply(cut_at=120))
        with pytest.raises(errors.ConnectionLost):
            gw.spans()
        assert eventually(lambda: spans_again(gw)) == 4


@pytest.mark.parametrize("echo", [True, False], ids=["echo", "no echo"])
@pytest.mark.parametrize("ami5", [False, True], ids=["follows", "output"])
def test_a_late_answer_never_answers_the_next_command(echo: bool, ami5: bool) -> None:
    firmware = Firmware(echo_action_id=echo, output=ami5)
    with scripted(firmware) as double, connect(double, command_timeout=0.3) as gw:
        double.script("gsm show spans", Reply(delay=0.5))
        with pytest.raises(errors.NoAnswer):
            gw.command("gsm show spans")

        def answers() -> list[list[str]]:
            try:
                return [gw.command("gsm show span 2")]
            except (errors.ConnectionLost, errors.NoAnswer):
                return []

        [lines] = eventually(answers)
        assert "Signal Quality (0,31): 17" in lines
        assert not any(line.startswith("GSM span") for line in lines)
        assert gw.spans()["span"].tolist() == [2, 3, 4, 5]
        assert gw.diagnostics()["signal_raw"].tolist() == [17, 5, -1, 99]


def test_a_half_open_link_is_found_and_replaced() -> None:
    with scripted() as double, connect(double, keepalive=0.2, command_timeout=0.4) as gw:
        gw.spans()
        double.freeze()
        eventually(lambda: len(double.logins) == 2)
        assert eventually(lambda: spans_again(gw)) == 4
        double.receive_sms("still here")
        assert messages(gw, 1)[0]["text"] == "still here"
        reasons = [row["event"] for row in rows(gw.connections())]
        assert "lost" in reasons


@pytest.mark.parametrize("denied", [False, True], ids=["pong", "denied"])
def test_any_answer_to_a_ping_means_alive(denied: bool) -> None:
    firmware = Firmware(ping_denied=denied, cut=bytewise)
    with scripted(firmware) as double, connect(double, keepalive=0.05) as gw:
        eventually(lambda: pings(double) >= 5)
        assert len(gw.spans()) == 4
        assert len(double.connections) == 1


def test_credentials_that_worked_once_are_not_hammered() -> None:
    with scripted(refusal_delay=0.0) as double, connect(double, keepalive=0.1) as gw:
        gw.spans()
        double.refuse_logins = True
        double.drop()
        eventually(lambda: double.logins == [True, False])
        with pytest.raises(errors.NeogateError):
            gw.spans()
        for _ in range(10):
            spans_again(gw)
        assert double.logins.count(False) == 1


@pytest.mark.parametrize(
    ("command", "reply", "words"),
    [
        ("gsm shwo spans", None, "No such command"),
        ("gsm show span 99", None, "Invalid span"),
        ("gsm show span 7", None, "No GSM running on span 7"),
        ("gsm show spans", Reply("Usage: gsm show spans\n       Displays all"), "Usage"),
        (
            "gsm show spans",
            Reply("You don't have permissions to run 'gsm show spans' command"),
            "permissions",
        ),
        ("gsm show spans", Reply(error="Permission denied"), "Permission denied"),
        ("gsm show spans", Reply(error="Missing action in request"), "Missing action"),
    ],
)
@pytest.mark.parametrize("ami5", [False, True], ids=["follows", "output"])
def test_refusals_come_in_the_gateways_words(
    command: str, reply: Reply | None, words: str, ami5: bool
) -> None:
    with scripted(Firmware(output=ami5)) as double, connect(double) as gw:
        gw.spans()
        if reply is not None:
            double.script(command, reply)
        with pytest.raises(errors.CommandRefused, match=words):
            gw.command(command)
        assert len(gw.spans()) == 4


@pytest.mark.parametrize("ami5", [False, True], ids=["follows", "output"])
def test_the_lines_of_a_command(ami5: bool) -> None:
    with scripted(Firmware(output=ami5)) as double, connect(double) as gw:
        assert gw.command("gsm show span 5") == [
            "D-channel: 8",
            "Status: Power off, Provisioned, Down, Active,Standard",
            "Signal Quality (0,31): 99",
            "Network Status: Unknown",
        ]
        double.script("gsm show spans", Reply(""))
        assert gw.command("gsm show spans") == []


def test_queries_of_one_tick_share_one_connection() -> None:
    with scripted() as double, connect(double) as gw:
        gw.sample()
        gw.diagnostics()
        assert double.peak_connections == 1
