"""Sending and receiving SMS (WIRE §7, §8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import Part, SimulatedGateway
from neogate_lab.simulator.firmware import choose
from neogate_lab.simulator.messages import encode_content, is_gsm, split
from neogate_lab.simulator.radio import Radio
from neogate_lab.simulator.sms import PortNotes, SendPlan, SmsTraffic

from .raw import Raw, fields

Connect = Callable[[SimulatedGateway], Raw]
Make = Callable[..., SimulatedGateway]

ACCEPTED = b"--END COMMAND--\r\n\r\n"


def test_the_reply_is_empty_and_the_outcome_an_event(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim).login()
    client.send(
        b'Action: smscommand\r\ncommand: gsm send sms 2 +79001234567 "a%20b%2Bc%25" 77\r\n\r\n'
    )
    client.exactly(b"Response: Follows\r\nPrivilege: SMSCommand\r\n--END COMMAND--\r\n\r\n")
    client.exactly(
        b"Event: UpdateSMSSend\r\nPrivilege: all,smscommand\r\nID: 77\r\nSmsc: +79262909090\r\n"
        b"Status: 1\r\n--END SMS EVENT--\r\n\r\n"
    )
    (sms,) = sim.sent
    assert (sms.port, sms.span, sms.to, sms.id) == (1, 2, "+79001234567", "77")
    assert (sms.text, sms.raw, sms.outcome) == ("a b+c%", "a%20b%2Bc%25", "sent")
    assert sim.sent_per_id == {"77": 1}
    assert "1234567" not in repr(sms)


@pytest.mark.parametrize(
    ("words", "text", "identity"),
    [
        ('"%D0%96" 1', "Ж", "1"),
        ('"Ж и Ж" 1', "Ж и Ж", "1"),
        ("hello 1", "hello", "1"),
        ("hello", "hello", ""),
        ("hello+there 1", "hello there", "1"),
        ("hello there 1", "hello", "there"),
        (r'"say \"hi\"" 1', 'say "hi"', "1"),
        ('"100%" 1', "100%", "1"),
        ('"%FF" 1', "�", "1"),
        ('"" 1', "", "1"),
    ],
)
def test_texts_of_all_clients_are_taken(
    sim: SimulatedGateway, connect: Connect, words: str, text: str, identity: str
) -> None:
    connect(sim).login().run(f"gsm send sms 2 10086 {words}")
    assert [(sms.text, sms.id) for sms in sim.sent] == [(text, identity)]


def test_plus_may_stay_a_plus(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(plus_is_blank=False)
    connect(sim).login().run('gsm send sms 2 10086 "1+1"')
    assert sim.sent[0].text == "1+1"


@pytest.mark.parametrize(
    ("knobs", "outcome", "reports"),
    [
        ({"outcome": "sent"}, "sent", [("x", "1")]),
        ({"outcome": "failed"}, "failed", [("x", "0")]),
        ({"outcome": "never"}, "never", []),
        ({"outcome": "sent", "twice": True}, "sent", [("x", "1"), ("x", "1")]),
        ({"outcome": "sent", "report_as": "other"}, "sent", [("other", "1")]),
        ({"outcome": "failed", "report_as": ""}, "failed", [("(null)", "0")]),
        ({"outcome": "sent", "delay": 0.1}, "sent", [("x", "1")]),
    ],
)
def test_outcomes(
    sim: SimulatedGateway,
    connect: Connect,
    knobs: dict[str, Any],
    outcome: str,
    reports: list[tuple[str, str]],
) -> None:
    client = connect(sim).login()
    sim.set_send_outcome(1, **knobs)
    client.run("gsm send sms 2 10086 hi x")
    assert sim.wait_until(lambda: sim.sent[0].outcome == outcome)
    for identity, status in reports:
        event = fields(client.packet())
        assert (event["ID"], event["Status"]) == (identity, status)
    assert client.quiet()


def test_outcomes_by_port_and_for_a_number_of_times(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim).login(events="off")
    sim.set_send_outcome(outcome="never")
    sim.set_send_outcome(2, "failed")
    sim.set_send_outcome(1, "sent", times=1)
    for span in (2, 2, 3):
        client.run(f"gsm send sms {span} 10086 hi")
    assert sim.wait_until(lambda: all(sms.outcome != "pending" for sms in sim.sent))
    assert [sms.outcome for sms in sim.sent] == ["sent", "never", "failed"]


def test_no_id_is_reported_as_null_and_strangers_ids_too(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim).login()
    client.run("gsm send sms 2 10086 hi")
    assert fields(client.packet())["ID"] == "(null)"
    sim.report_sms("stranger", accepted=False, port=2)
    event = fields(client.packet())
    assert (event["ID"], event["Status"], event["Smsc"]) == ("stranger", "0", "+79168999100")


def test_an_sms_from_a_port_without_network_fails(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    client.run("gsm send sms 5 10086 hi 1")
    assert fields(client.packet())["Status"] == "0"
    assert sim.sent[0].outcome == "failed"


def test_the_modem_sends_one_after_the_other() -> None:
    timers: list[tuple[float, Callable[[], object]]] = []
    reports: list[str] = []
    traffic = SmsTraffic(
        Radio(1, 7),
        choose("tg200"),
        {1: PortNotes(balance=10.0)},
        seed=7,
        now=lambda: 0.0,
        later=lambda delay, callback: timers.append((delay, callback)),
        emit=lambda name, headers, *, sms: reports.append(dict(headers)["ID"]),
        changed=lambda: None,
        started_at=datetime(2019, 11, 5),
        span_offset=1,
        sms_delay=3.0,
    )
    traffic.decide(1, SendPlan(delay=200.0), times=1)
    traffic.send(1, "10086", "one", b"one", "first")
    traffic.send(1, "10086", "two", b"two", "second")
    assert [delay for delay, _ in timers] == [3.0]
    timers.pop()[1]()
    # The first has left the modem and is reported minutes late; the second is on its way.
    assert [delay for delay, _ in timers] == [197.0, 3.0]
    timers.pop()[1]()
    timers.pop()[1]()
    assert reports == ["second", "first"]


def test_a_restart_loses_what_waits(make_sim: Make, connect: Connect) -> None:
    sim = make_sim(sms_delay=1000.0)
    client = connect(sim).login()
    client.run("gsm send sms 2 10086 one")
    client.run("gsm send sms 2 10086 two")
    assert "State: SMS SENDING\n" in client.run("gsm show span 2")
    assert [sms.outcome for sms in sim.sent] == ["pending", "pending"]
    sim.restart()
    assert [sms.outcome for sms in sim.sent] == ["lost", "lost"]


def test_an_sms_to_a_port_of_its_own_comes_back(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    client.run(f'gsm send sms 2 {sim.number(2)} "%D0%96" 5')
    assert fields(client.packet())["Event"] == "UpdateSMSSend"
    event = fields(client.packet())
    assert (event["Event"], event["GsmSpan"], event["Sender"]) == (
        "ReceivedSMS",
        "3",
        sim.number(1),
    )
    assert event["Content"] == "%EF%BB%BF%D0%96"


def test_a_short_sms_as_bytes(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.receive_sms(1, "MegaFon", "Ok", recvtime="2019-11-05 14:03:21")
    client.exactly(
        b"Event: ReceivedSMS\r\nPrivilege: all,smscommand\r\nID: \r\nGsmSpan: 2\r\n"
        b"Sender: MegaFon\r\nRecvtime: 2019-11-05 14:03:21\r\nIndex: 1\r\nTotal: 1\r\n"
        b"Smsc: +79262909090\r\nContent: Ok\r\n--END SMS EVENT--\r\n\r\n"
    )


def test_the_manuals_event_names_the_port_and_has_no_sentinel(
    make_sim: Make, connect: Connect
) -> None:
    sim = make_sim(firmware="manual2013")
    client = connect(sim).login()
    parts = sim.receive_sms(4, "10086", "x" * 161)
    event = client.packet()
    assert b"GsmPort: 5\r\n" in event
    assert b"--END" not in event
    reference = fields(event)["ID"]
    assert len(reference) == 8
    assert reference.endswith("010086")
    assert {part.reference for part in parts} == {reference}


@pytest.mark.parametrize(("firmware", "index"), [("tg200", 1), ("v3", 0), ("tg400", 1)])
def test_index_of_a_single_part(make_sim: Make, firmware: str, index: int) -> None:
    sim = make_sim(firmware=firmware)
    assert [part.index for part in sim.receive_sms(1, "1", "a")] == [index]
    assert [part.index for part in sim.receive_sms(1, "1", "a" * 161)] == [1, 2]


def test_the_base_of_the_index_is_a_knob(make_sim: Make) -> None:
    sim = make_sim(first_index=0, single_index=0)
    assert [part.index for part in sim.receive_sms(1, "1", "a" * 161)] == [0, 1]
    assert [part.index for part in sim.receive_sms(1, "1", "a")] == [0]


def test_the_sentinel_is_a_knob(make_sim: Make, connect: Connect) -> None:
    for wanted in (True, False):
        sim = make_sim(firmware="manual2013", sentinel=wanted)
        client = connect(sim).login()
        sim.receive_sms(1, "1", "a")
        assert client.packet().endswith(b"--END SMS EVENT--\r\n\r\n") is wanted


@pytest.mark.parametrize(
    ("text", "encoding", "content"),
    [
        ("a b+c%", "percent", "a+b%2Bc%25"),
        ("Привет", "percent", "%EF%BB%BF%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82"),
        ("üß", "percent", "%C3%BC%C3%9F"),
        ("\ud83d", "percent", "%EF%BB%BF%ED%A0%BD"),
        ("line\none + two", "plain", "line\none + two"),
        ("Ж", "ucs2", "0416"),
        ("é b", "latin1", "%E9+b"),
    ],
)
def test_content_encodings(text: str, encoding: str, content: str) -> None:
    assert encode_content(text, encoding) == content


def test_every_part_of_unicode_text_has_its_bom(sim: SimulatedGateway) -> None:
    parts = sim.receive_sms(1, "1", "a" * 70 + "Ж")
    assert [part.content[:9] for part in parts] == ["%EF%BB%BF"] * 2
    assert parts[0].content[9:] == "a" * 67


def test_blank_at_the_end_of_a_part_stays(sim: SimulatedGateway) -> None:
    parts = sim.receive_sms(1, "1", "a" * 152 + " b" + "c" * 100)
    assert parts[0].content.endswith("a+")


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("€" * 80, [80]),
        ("a" * 152 + "€" * 10, [152, 10]),
        ("Ж" * 70, [70]),
        ("Ж" * 71, [67, 4]),
        ("Ж" * 66 + "😀" * 5, [66, 5]),
    ],
)
def test_segments(text: str, lengths: list[int]) -> None:
    assert [len(part) for part in split(text)] == lengths
    assert "".join(split(text)) == text


def test_careless_senders_cut_an_emoji_in_two() -> None:
    first, second = split("Ж" * 66 + "😀" * 5, split_surrogates=True)
    assert first[-1] == "\ud83d"
    assert second[0] == "\ude00"


def test_gsm_alphabet() -> None:
    assert is_gsm("Price: 5€ [ok] ñÑΩ\n")
    assert not is_gsm("`")
    assert not is_gsm("ы")


def test_parts_out_of_order_doubled_missing_and_late(
    sim: SimulatedGateway, connect: Connect
) -> None:
    client = connect(sim).login()
    sim.receive_sms(
        1,
        "1",
        "x" * 153 * 4,
        reference="244",
        order=[4, 1, 2, 3],
        missing=[3],
        doubled=[1],
        late={4: 0.05},
    )
    events = [fields(client.packet()) for _ in range(4)]
    assert [event["Index"] for event in events] == ["1", "1", "2", "4"]
    assert {(event["ID"], event["Total"]) for event in events} == {("244", "4")}
    assert client.quiet()


def test_a_raw_part(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    part = sim.receive_part(2, "1", "--END SMS EVENT-- %", reference="E9510086", index=2, total=3)
    event = fields(client.packet())
    assert isinstance(part, Part)
    assert (event["Content"], event["ID"]) == ("--END SMS EVENT-- %", "E9510086")
    assert (event["Index"], event["Total"], event["GsmSpan"]) == ("2", "3", "3")


def test_recvtime_is_the_gateways_own_clock(make_sim: Make) -> None:
    sim = make_sim(clock=lambda: 3600.0, clock_offset=8.0)
    (part,) = sim.receive_sms(1, "1", "a")
    assert part.recvtime == f"{sim.started_at + timedelta(hours=9):%Y-%m-%d %H:%M:%S}"


def test_messages_come_by_themselves(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(sms_every=0.05)).login()
    events = [fields(client.packet()) for _ in range(3)]
    assert {event["Event"] for event in events} == {"ReceivedSMS"}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"port": 9}, "ports 1 to 4"),
        ({"encoding": "utf7"}, "percent, plain, ucs2, latin1"),
        ({"encoding": "latin1"}, "Latin-1"),
        ({"order": [1, 3]}, "part 3 does not exist"),
        ({"missing": [2]}, "part 2 does not exist"),
    ],
)
def test_what_cannot_be_is_refused(
    sim: SimulatedGateway, knobs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        sim.receive_sms(**{"port": 1, "sender": "1", "text": "Ж", **knobs})


def test_unknown_outcomes_are_refused(sim: SimulatedGateway) -> None:
    outcome: Literal["sent"] = "delivered"  # type: ignore[assignment]
    with pytest.raises(InvalidRequest, match="sent, failed, never"):
        sim.set_send_outcome(1, outcome)
