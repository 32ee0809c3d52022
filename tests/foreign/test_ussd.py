"""USSD through the facade: every spelling and code, menus, failures, and a slow network."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import neogate_lab as ng
from neogate_lab import errors

from .gateway import Firmware, Reply, ScriptedGateway, ucs2_hex, ussd_body
from .support import connect, eventually, messages, pings, rows, scripted

VENDOR = (
    "6B228FCE4F7F7528638C4E0A670D52A15385000A003830014F1860E06D3B52A8000A00313001670065B04F1860E0"
    "000A003230018BDD8D3967E58BE2000A003330014E1A52A167E58BE2000A003430014E1A52A1529E7406000A0036"
    "30016570636E4E1A52A1000A003730015E3875284FE1606F000A00393001004700334ECB7ECD000A002D002D002D"
)
VENDOR_TEXT = (
    "欢迎使用掌上服务厅\n8、优惠活动\n1、最新优惠\n2、话费查询\n3、业务查询\n4、业务办理\n"
    "6、数据业务\n7、常用信息\n9、G3介绍\n---"
)
# 17: two octets of packed septets name the language ("ru"), then UCS-2 (3GPP TS 23.038 §5).
RUSSIAN = "F23A" + ucs2_hex("Баланс 5")

ANSWERS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "plain": ({}, "Balance: 5.50", {"outcome": "done", "menu": False, "dcs": 15}),
    "menu": ({"responses": 1}, "1 Yes\n2 No", {"outcome": "menu", "menu": True}),
    "ended": ({"responses": 2}, "Bye", {"outcome": "ended", "menu": False}),
    "other client": ({"responses": 3}, "?", {"outcome": "other_client"}),
    "not supported": ({"responses": 4}, "", {"outcome": "not_supported"}),
    "network timeout": ({"responses": 5}, "", {"outcome": "network_timeout"}),
    "blank lines": ({}, "one\n\n\ntwo", {"outcome": "done"}),
    "no code": ({"code": None}, "Balance: 5.50", {"outcome": "done"}),
    "code 0": ({"code": 0}, "Balance: 5.50", {"outcome": "done", "dcs": 0}),
    "four digits are no UCS-2": ({}, "1250", {"outcome": "done"}),
    "the terminator's words": ({}, "so --END COMMAND-- it is", {"outcome": "done"}),
    "the terminator's words on a line": ({}, "a\n--END COMMAND--\nb", {"outcome": "done"}),
    "a forged field": ({}, "a\n\tUSSD Code: 72\nb", {"outcome": "done", "dcs": 15}),
    "a forged failure": ({}, "a\n0:Send USSD failed on span 2", {"outcome": "done"}),
}

CODED: dict[str, tuple[int, str, str]] = {
    "UCS-2": (72, ucs2_hex("Баланс: 5 ₽"), "Баланс: 5 ₽"),
    "UCS-2 of the vendor": (72, VENDOR, VENDOR_TEXT),
    "UCS-2 with a language": (17, RUSSIAN, "Баланс 5"),
    "UCS-2 under the code of plain text": (15, ucs2_hex("Баланс: 5"), "Баланс: 5"),
    "UCS-2 under no code": (0, ucs2_hex("Баланс: 5"), "Баланс: 5"),
}


@pytest.mark.parametrize("style", ["tg200", "tg400"])
@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str, style: Any) -> None:
    settings, text, expected = ANSWERS[name]
    with scripted(Firmware(ussd=style)) as double, connect(double) as gw:
        double.ussd(2, "*100#", Reply(ussd_body(2, text, style=style, **settings)))
        reply = gw.ussd("*100#", port=1)
        assert reply.text.rstrip("\n") == text
        assert {key: getattr(reply, key) for key in expected} == expected
        assert reply.doubtful is False
        [row] = rows(gw.ussd_log())
        assert (row["code"], row["port"], row["span"]) == ("*100#", 1, 2)
        assert (row["outcome"], row["text"]) == (reply.outcome, reply.text)


@pytest.mark.parametrize("style", ["tg200", "tg400"])
@pytest.mark.parametrize("name", CODED)
def test_coded_answers(name: str, style: Any) -> None:
    code, message, text = CODED[name]
    with scripted(Firmware(ussd=style)) as double, connect(double) as gw:
        double.ussd(3, "*100#", Reply(ussd_body(3, message, style=style, code=code)))
        reply = gw.ussd("*100#", port=2)
        assert reply.text.rstrip("\n") == text
        assert reply.raw.rstrip("\n") == message
        assert (reply.dcs, reply.outcome, reply.doubtful) == (code, "done", False)


def test_the_length_of_the_vendors_sample() -> None:
    assert b"USSD Len: 276\n" in ussd_body(2, VENDOR, code=72)


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*1#", Reply(ussd_body(2, b"caf\xe9 \x1a end")))
        text = gw.ussd("*1#", port=1).text
        assert text.startswith("caf")
        assert text.rstrip().endswith("end")
        assert len(gw.spans()) == 4


def test_a_wrong_length_makes_it_doubtful() -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*1#", Reply(ussd_body(2, "cut sho", length=120)))
        reply = gw.ussd("*1#", port=1)
        assert (reply.outcome, reply.doubtful) == ("done", True)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("0:Send USSD failed on span 2", "failed"),
        ("0:Send USSD timeout on span 2", "timeout"),
        ("0:Send USSD timeout on span 2 (110)", "timeout"),
        ("0:Sending USSD now on span 2", "busy"),
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_failures_are_outcomes(said: str, outcome: str, end: str) -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*100#", Reply(said + end))
        reply = gw.ussd("*100#", port=1)
        assert (reply.outcome, reply.menu) == (outcome, False)
        assert rows(gw.ussd_log())[0]["outcome"] == outcome


def test_choices_of_a_menu() -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*100#", Reply(ussd_body(2, "Pick\n1. Yes\n2. No\n0. Back", responses=1)))
        assert len(gw.ussd("*100#", port=1).choices) == 3


def test_a_menu_is_walked_by_further_commands() -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*100#", Reply(ussd_body(2, "1 Balance\n2 Tariff", responses=1)))
        double.ussd(2, "2", Reply(ussd_body(2, "Your name?", responses=1)))
        double.ussd(2, "Ann Lee", Reply(ussd_body(2, "Thank you", responses=0)))
        with gw.ussd_session(port=1) as session:
            assert session.send("*100#").menu
            assert session.send("2").text.rstrip() == "Your name?"
            last = session.send("Ann Lee")
        assert (last.outcome, last.text.rstrip()) == ("done", "Thank you")
        assert [row["code"] for row in rows(gw.ussd_log())] == ["*100#", "2", "Ann Lee"]
        assert len(double.sends) == 3


@pytest.mark.parametrize(
    "code",
    ['*100"#', "*100#\r\nAction: Logoff", "*100#\n", "", "abc", "*100 #", "*100%23", "*100\\", "١"],
)
def test_bad_codes_send_nothing(code: str) -> None:
    with scripted() as double, connect(double) as gw:
        with pytest.raises(errors.InvalidRequest):
            gw.ussd(code, port=1)
        assert double.sends == []
        assert len(gw.spans()) == 4


@pytest.mark.parametrize("answer", ['say "hi"', "a\r\nAction: Logoff", "a\nb", ""])
def test_bad_answers_send_nothing(answer: str) -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*100#", Reply(ussd_body(2, "1 Yes\n2 No", responses=1)))
        with gw.ussd_session(port=1) as session:
            session.send("*100#")
            with pytest.raises(errors.InvalidRequest):
                session.send(answer)
        assert len(double.sends) == 1


def slow(double: ScriptedGateway, code: str = "*100#", text: str = "at last") -> threading.Event:
    gate = threading.Event()
    double.ussd(2, code, Reply(ussd_body(2, text), gate=gate))
    return gate


def test_a_slow_ussd_holds_up_nothing_else() -> None:
    with (
        scripted() as double,
        connect(double, keepalive=0.1, command_timeout=1.0) as gw,
        ThreadPoolExecutor() as pool,
    ):
        gate = slow(double)
        try:
            waiting = pool.submit(gw.ussd, "*100#", port=1)
            eventually(lambda: double.sends)
            assert len(gw.spans()) == 4
            double.receive_sms("meanwhile")
            assert messages(gw, 1)[0]["text"] == "meanwhile"
            assert gw.send_sms("900", "hi", port=2).status == "sent"
            assert gw.sample()["ok"].all()
            # Silence behind a running command is no dead link.
            seen = pings(double)
            eventually(lambda: pings(double) > seen + 12)
            assert not waiting.done()
        finally:
            gate.set()
        assert waiting.result(10).text.rstrip() == "at last"
        assert double.logins == [True, True]


def test_slow_ussds_of_several_ports_run_side_by_side() -> None:
    with scripted() as double, connect(double) as gw, ThreadPoolExecutor() as pool:
        gate = threading.Event()
        for span in (2, 3, 4, 5):
            double.ussd(span, "*1#", Reply(ussd_body(span, f"span {span}"), gate=gate))
        try:
            waiting = [pool.submit(gw.ussd, "*1#", port=port) for port in (1, 2, 3, 4)]
            eventually(lambda: len(double.sends) == 4)
            assert len(double.live) <= 5
        finally:
            gate.set()
        assert [call.result(10).text.rstrip() for call in waiting] == [
            f"span {span}" for span in (2, 3, 4, 5)
        ]


def test_extra_sessions_ask_for_no_events() -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*1#", Reply(ussd_body(2, "5")))
        gw.ussd("*1#", port=1)
        main, *extra = double.connections
        assert main.wants_events
        assert not any(peer.wants_events for peer in extra)


@pytest.mark.parametrize("echo", [True, False])
def test_an_answer_after_the_time_out_never_answers_the_next_request(echo: bool) -> None:
    with (
        scripted(Firmware(echo_action_id=echo)) as double,
        connect(double, command_timeout=0.5) as gw,
    ):
        gate = slow(double, "*100#", "the first, late")
        double.ussd(2, "*200#", Reply(ussd_body(2, "the second")))
        try:
            with pytest.raises(errors.NoAnswer):
                gw.ussd("*100#", port=1, timeout=0.3)
        finally:
            gate.set()
        assert gw.ussd("*200#", port=1).text.rstrip() == "the second"
        assert len(gw.spans()) == 4


def test_after_a_time_out_the_modem_is_waited_for_or_the_reply_is_doubtful() -> None:
    busy = "Signal Quality (0,31): 17\nState: USSD SENDING"
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*100#", Reply("0:Send USSD timeout on span 2 (110)"))
        double.ussd(2, "*200#", Reply(ussd_body(2, "5.50")))
        assert gw.ussd("*100#", port=1).outcome == "timeout"
        double.script("gsm show span 2", Reply(busy), Reply(busy))
        before = double.commands.count("gsm show span 2")
        reply = gw.ussd("*200#", port=1)
        asked = double.commands.count("gsm show span 2") - before
        assert reply.text.rstrip() == "5.50"
        assert asked >= 3 or reply.doubtful


def test_without_a_second_login_ussd_takes_the_main_session_and_says_so() -> None:
    with scripted(max_sessions=1) as double, connect(double) as gw:
        double.ussd(2, "*1#", Reply(ussd_body(2, "5.50")))
        with pytest.warns(errors.NeogateWarning):
            reply = gw.ussd("*1#", port=1)
        assert reply.text.rstrip() == "5.50"
        assert len(gw.spans()) == 4
        assert double.logins.count(True) == 1


def test_a_forged_terminator_costs_one_session_at_most() -> None:
    forged = b"x\n--END COMMAND--\r\n\r\nResponse: Success\r\n\r\nnonsense\n"
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*1#", Reply(ussd_body(2, forged)))
        double.ussd(2, "*2#", Reply(ussd_body(2, "5.50")))
        assert gw.ussd("*1#", port=1).doubtful
        assert gw.ussd("*2#", port=1).text.rstrip() == "5.50"
        assert len(gw.spans()) == 4


def test_a_code_is_not_sent_again_when_its_connection_dies() -> None:
    with scripted() as double, connect(double) as gw:
        double.ussd(2, "*1#", Reply(ussd_body(2, "5.50"), cut_at=10))
        with pytest.raises(errors.NeogateError):
            gw.ussd("*1#", port=1)
        assert len(double.sends) == 1
        assert len(gw.spans()) == 4


def test_a_port_without_an_answer_is_a_row_at_once(tmp_path: Path) -> None:
    store = tmp_path / "lab.neogate"
    with scripted() as double, connect(double, command_timeout=0.2, store=store) as gw:
        gw.diagnostics()
        for number in range(8):
            code = f"*{number}#"
            for span in (2, 5):
                double.ussd(span, code, Reply(ussd_body(span, "5.50")))
            double.ussd(3, code, *[Reply("No GSM running on span 3\nCommand failed.")] * 2)
            double.ussd(4, code, Reply(swallow=True))
            asked = gw.balances(code, port=[1, 2, 3, 4], timeout=0.1)
            assert dict(zip(asked.port, asked.outcome, strict=True)) == {
                1: "done",
                2: "refused",
                3: "no_answer",
                4: "done",
            }
        other = ng.open_store(store)  # told is committed: whoever looks sees it
        for number in range(8):
            with pytest.raises(errors.CommandRefused):
                gw.ussd(f"*{number}#", port=2)
            assert len(other.ussd_log(code=f"*{number}#", port=2)) == 2
