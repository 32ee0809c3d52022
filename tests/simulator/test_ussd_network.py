"""USSD: replies as bytes, menus, outcomes, time-outs and late answers (WIRE §9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import SimulatedGateway, UssdAnswer

from .raw import Raw

Connect = Callable[[SimulatedGateway], Raw]
Make = Callable[..., SimulatedGateway]


def _message(reply: str) -> str:
    return reply.split("USSD Message:")[1].removeprefix(" ").removesuffix("\n")


def _ucs2(reply: str) -> str:
    return bytes.fromhex(_message(reply)).decode("utf-16-be")


def test_success_as_bytes(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(2, "*1#", "one\n\ntwo")
    client = connect(sim).login()
    client.ask('gsm send ussd 3 "*1#"')
    client.exactly(
        b"Response: Follows\r\nPrivilege: SMSCommand\r\n"
        b"1:Received USSD success on span: 3\n\tUSSD Responses: 0\n\tUSSD Code: 15\n"
        b"\tUSSD Len: 8\n\tUSSD Message: one\n\ntwo\n--END COMMAND--\r\n\r\n"
    )
    detail = client.run("gsm show span 3")
    assert 'Last event: USSD received\nState: READY\nLast send AT: AT+CUSD=1,"*1#"\\r\\n' in detail


def test_tg400_misspells_and_has_no_length(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(firmware="tg400")
    sim.set_ussd(None, "*1#", "ok")
    assert connect(sim).login().run("gsm send ussd 2 *1#") == (
        "1:Recive USSD sucess on span 2\n\tUSSD Responses:0\n\tUSSD Code:15\n\tUSSD Message:ok\n"
    )


def test_ami5_puts_a_menu_into_output_headers(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(firmware="ami5")).login()
    client.packet()
    client.ask("gsm send ussd 2 *101#")
    client.exactly(
        b"Response: Success\r\nMessage: Command output follows\r\n"
        b"Output: 1:Received USSD success on span: 2\r\nOutput: \tUSSD Responses: 1\r\n"
        b"Output: \tUSSD Code: 15\r\nOutput: \tUSSD Len: 35\r\nOutput: \tUSSD Message: Welcome\r\n"
        b"Output: 1 Balance\r\nOutput: 2 Tariff\r\nOutput: 3 Extras\r\n\r\n"
    )


def test_a_menu_of_three_levels_in_gsm_text(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    top = client.run('gsm send ussd 2 "*101#"')
    assert _message(top) == "Welcome\n1 Balance\n2 Tariff\n3 Extras"
    assert _message(client.run('gsm send ussd 2 "3"')) == (
        "Extras\n1 Roaming\n2 Internet\n\n0 Back"
    )
    assert _message(client.run('gsm send ussd 2 "2"')) == "Internet\n1 On\n0 Back"
    assert _message(client.run('gsm send ussd 2 "0"')).startswith("Extras")
    client.run('gsm send ussd 2 "1"')
    end = client.run('gsm send ussd 2 "1"')
    assert "USSD Responses: 0\n" in end
    assert _message(end) == "Roaming: On"
    assert "USSD Responses: 2\n" in client.run('gsm send ussd 2 "1"')


def test_the_way_to_the_top_and_a_wrong_choice(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    for step in ("*101#", "3", "1"):
        client.run(f"gsm send ussd 2 {step}")
    assert _message(client.run("gsm send ussd 2 00")).startswith("Welcome")
    wrong = client.run("gsm send ussd 2 9")
    assert "USSD Responses: 2\n" in wrong
    assert _message(wrong) == "Invalid choice"


def test_menus_of_two_ports_do_not_mix(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    client.run("gsm send ussd 2 *101#")
    assert _message(client.run("gsm send ussd 3 1")) == "UNKNOWN APPLICATION"
    assert _message(client.run("gsm send ussd 2 1")) == f"Balance: {sim.balance(1):.2f}"


def test_a_menu_in_ucs2(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(ports=6)).login()
    top = client.run("gsm send ussd 2 *102#")
    assert "USSD Code: 72\n" in top
    assert _ucs2(top) == "Меню\n1 Баланс\n2 Тариф\n3 Услуги"
    assert _ucs2(client.run("gsm send ussd 2 3")).startswith("Услуги\n1 Роуминг")
    assert _ucs2(client.run("gsm send ussd 5 *102#")).startswith("欢迎\n1 余额")


def test_every_sim_has_its_balance(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(ports=6)
    client = connect(sim).login(events="off")
    assert _message(client.run("gsm send ussd 2 *100#")).startswith(
        f"Balance: {sim.balance(1):.2f} r."
    )
    russian = _ucs2(client.run("gsm send ussd 3 *100#"))
    assert russian == f"Ваш баланс: {sim.balance(2):.2f} руб.".replace(".", ",", 1)
    before = sim.balance(1)
    client.run(f"gsm send sms 2 10086 {'x' * 161}")
    assert sim.wait_until(lambda: sim.sent[0].outcome == "sent")
    assert sim.balance(1) == pytest.approx(before - 4.0)


@pytest.mark.parametrize(("code", "m"), [("*103#", 2), ("*104#", 3), ("*105#", 4), ("*106#", 5)])
def test_a_good_reply_may_be_a_bad_outcome(
    sim: SimulatedGateway, connect: Connect, code: str, m: int
) -> None:
    reply = connect(sim).login().run(f"gsm send ussd 2 {code}")
    assert reply.startswith("1:Received")
    assert f"USSD Responses: {m}\n" in reply


@pytest.mark.parametrize(
    ("code", "dcs", "raw"),
    [
        ("*111#", 15, "04110430043B0430043D0441002000340032"),
        ("*112#", 17, "6537" + "Bonus: 5 €".encode("utf-16-be").hex().upper()),
        ("*113#", 68, "426F6E75733A2035"),
        ("*114#", 0, "Bonus: 5"),
        ("*115#", 15, ""),
    ],
)
def test_codings(sim: SimulatedGateway, connect: Connect, code: str, dcs: int, raw: str) -> None:
    reply = connect(sim).login().run(f"gsm send ussd 2 {code}")
    assert f"USSD Code: {dcs}\n\tUSSD Len: {len(raw)}\n\tUSSD Message: {raw}\n" in reply


def test_bytes_that_no_text_holds(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(1, "*1#", UssdAnswer(raw="a\x1a\udcff--END COMMAND-- b"))
    client = connect(sim).login()
    client.ask("gsm send ussd 2 *1#")
    reply = client.until(b"--END COMMAND--\r\n\r\n")
    assert reply.endswith(b"USSD Message: a\x1a\xff--END COMMAND-- b\n--END COMMAND--\r\n\r\n")


def test_failures_and_busy(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    assert client.run("gsm send ussd 2 *108#") == "0:Send USSD failed on span 2\n"
    assert client.run("gsm send ussd 2 *110#") == "0:Sending USSD now on span 2\n"
    assert client.run("gsm send ussd 5 *100#") == "0:Send USSD failed on span 5\n"


def test_a_code_in_percent_signs_is_sent_as_it_is(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    assert _message(client.run('gsm send ussd 2 "*100%23"')) == "UNKNOWN APPLICATION"
    assert 'Last send AT: AT+CUSD=1,"*100%23"\\r\\n' in client.run("gsm show span 2")


def test_one_request_at_a_time(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(1, "*1#", "slow", delay=0.2)
    first, second = connect(sim).login(), connect(sim).login()
    first.ask("gsm send ussd 2 *1#")
    assert sim.wait_until(lambda: len(sim.commands) == 1)
    assert second.run("gsm send ussd 2 *100#") == "0:Sending USSD now on span 2\n"
    assert "State: USSD SENDING\n" in second.run("gsm show span 2")
    assert "slow" in first.until(b"--END COMMAND--\r\n\r\n").decode()
    assert "State: READY\n" in second.run("gsm show span 2")


@pytest.mark.parametrize(("firmware", "tail"), [("tg200", ""), ("v3", " (110)")])
def test_a_time_out(make_sim: Make, connect: Connect, firmware: str, tail: str) -> None:
    client = connect(make_sim(firmware=firmware, speed=20.0)).login()
    reply = client.run("gsm send ussd 2 *109# 1")
    assert reply == f"0:Send USSD timeout on span 2{tail}\n"
    assert "State: USSD SENDING\n" in client.run("gsm show span 2")


def test_a_late_answer_goes_to_the_next_request(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(speed=20.0)
    sim.set_ussd(1, "*1#", "the late one", delay=4.0)
    sim.set_ussd(1, "*2#", "the right one", delay=6.0)
    client = connect(sim).login()
    assert client.run("gsm send ussd 2 *1# 1").startswith("0:Send USSD timeout")
    assert "State: USSD SENDING\n" in client.run("gsm show span 2")
    assert _message(client.run("gsm send ussd 2 *2#")) == "the late one"
    assert "State: USSD SENDING\n" in client.run("gsm show span 2")


def test_after_a_late_answer_that_nobody_takes_the_span_is_ready(
    make_sim: Make, connect: Connect
) -> None:
    sim = make_sim(speed=20.0)
    sim.set_ussd(1, "*1#", "late", delay=2.0)
    sim.set_ussd(2, "*1#", "later still", delay=4.0)
    client = connect(sim).login()
    client.run("gsm send ussd 2 *1# 1")
    client.run("gsm send ussd 3 *1#")
    assert "State: READY\n" in client.run("gsm show span 2")


def test_a_menu_can_be_given_as_nested_dicts(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_ussd(1, "*1#", {"": "1 Deep", "1": {"": "1 Deeper", "1": "дно"}})
    client = connect(sim).login()
    assert "USSD Responses: 1\n" in client.run("gsm send ussd 2 *1#")
    assert _message(client.run("gsm send ussd 2 1")) == "1 Deeper"
    assert _ucs2(client.run("gsm send ussd 2 1")) == "дно"


def test_a_menu_is_forgotten_by_the_network(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(speed=1000.0, ussd_delay=1.0)
    sim.set_ussd(2, "*1#", "waited", delay=200.0)
    client = connect(sim).login()
    client.run("gsm send ussd 2 *101#")
    client.run("gsm send ussd 3 *1# 300")
    assert _message(client.run("gsm send ussd 2 1")) == "UNKNOWN APPLICATION"


def test_what_cannot_be_is_refused(sim: SimulatedGateway) -> None:
    with pytest.raises(InvalidRequest, match="failed, timeout, busy, never"):
        UssdAnswer(trouble="sulking")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="0 to 5"):
        UssdAnswer(responses=6)
    with pytest.raises(InvalidRequest, match="menu's text"):
        sim.set_ussd(1, "*1#", {"1": "no text"})
    with pytest.raises(InvalidRequest, match="ports 1 to 4"):
        sim.set_ussd(5, "*1#", "x")
