"""The commands and their output in every firmware, as bytes (WIRE §2, §4 to §6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from neogate_lab.simulator import FIRMWARES, SimulatedGateway
from neogate_lab.simulator.cli_text import leading_number, split_words

from .raw import Raw

Connect = Callable[[SimulatedGateway], Raw]
Make = Callable[..., SimulatedGateway]


def test_spans_of_a_gateway_of_2019(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.set_status(2, registered=False, alarm=True)
    sim.set_status(3, power=False)
    client.send(b"Action: SMSCommand \r\nActionID: 9\r\nCommand: GSM  Show SPANS \r\n\r\n")
    client.exactly(
        b"Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: 9\r\n"
        b"GSM span 2: Power on, Provisioned, Up, Active,Standard\n"
        b"GSM span 3: Power on, Provisioned, In Alarm, Unregistered Network, Active,Standard\n"
        b"GSM span 4: Power off, Provisioned, Down, Standby,Standard\n"
        b"GSM span 5: Power on, Provisioned, Undetected SIM Card, Active,Standard\n"
        b"--END COMMAND--\r\n\r\n"
    )


def test_spans_of_v3_are_not_provisioned(make_sim: Make, connect: Connect) -> None:
    spans = connect(make_sim(firmware="v3", ports=1)).login().run("gsm show spans")
    assert spans == "GSM span 2: Power on, Up, Active, Standard\n"


def test_a_wrong_pin_and_other_troubles_show_in_the_status(
    make_sim: Make, connect: Connect
) -> None:
    sim = make_sim(ports=8)
    sim.set_status(1, blocked=True)
    sim.set_signal(2, 99)
    sim.set_status(2, registered=False)
    words = [
        line.split(", ")[2] for line in connect(sim).login().run("gsm show spans").splitlines()
    ]
    assert words[:3] == ["Block", "No Signal", "Up"]
    assert words[6].startswith("Pin (")
    assert words[6].endswith(") Error")
    assert words[7] == "Undetected SIM Card"


def test_detail_of_a_gateway_of_2019(sim: SimulatedGateway, connect: Connect) -> None:
    sim.set_signal(2, 12)
    sim.remove_sim(2)
    sim.insert_sim(2)
    detail = connect(sim).login().run("gsm show span 3")
    imei, imsi = (
        line.split(": ")[1]
        for line in detail.splitlines()
        if line.startswith(("Model IMEI", "SIM IMSI"))
    )
    assert (len(imei), len(imsi), imsi[:5]) == (15, 15, "25001")
    assert detail == (
        "D-channel: 4\n"
        "Status: Power on, Provisioned, Up, Active,Standard\n"
        "Type: CPE\n"
        "Manufacturer: SIMCOM_Ltd\n"
        "Model Name: SIMCOM_SIM900\n"
        f"Model IMEI: {imei}\n"
        "Model CBAND:  EGSM_MODE,ALL_BAND\n"
        "Revision: 1137B13SIM900M64_ST\n"
        "Network Name: MTS RUS\n"
        "Network Status: Registered (Home network)\n"
        "Signal Quality (0,31): 12\n"
        "BER value (0,7): 1\n"
        f"SIM IMSI: {imsi}\n"
        "SIM SMS Center Number: +79168999100\n"
        "Send SMS Center Number: Undefined\n"
        "Last event: D-Channel Up\n"
        "State: READY\n"
        "Last send AT: AT+CREG?\\r\\n"
    )


def _names(detail: str) -> set[str]:
    return {line.split(": ")[0] for line in detail.splitlines()}


def test_details_differ_as_the_firmware_does(make_sim: Make, connect: Connect) -> None:
    base = _names(connect(make_sim()).login().run("gsm show span 2"))
    v3 = _names(connect(make_sim(firmware="v3")).login().run("gsm show span 2"))
    assert v3 - base == {"PDD", "ASR", "ACD"}
    assert base - v3 == {"Model CBAND"}
    tg400 = _names(connect(make_sim(firmware="tg400")).login().run("gsm show span 2"))
    assert tg400 - base == {"Own Number"}


def test_only_the_manual_knows_the_short_spelling(make_sim: Make, connect: Connect) -> None:
    for name in FIRMWARES.keys() - {"ami5"}:
        client = connect(make_sim(firmware=name)).login()
        long, short = client.run("gsm show span 2"), client.run("gsm show 2")
        wrong = short if name != "manual2013" else long
        right = long if name != "manual2013" else short
        assert right.startswith("D-channel: 2\n"), name
        asked = "gsm show 2" if name != "manual2013" else "gsm show span 2"
        topic = asked if name != "manual2013" else "gsm show span"
        assert wrong == (
            f"No such command '{asked}' "
            f"(type 'core show help {topic}' for other possible commands)\n"
        )


def test_ami5_answers_with_output_headers(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(firmware="ami5", ports=2))
    client.exactly(b"Asterisk Call Manager/5.0.2\r\n")
    client.send(b"Action: Login\r\nUsername: apiuser\r\nSecret: apipass\r\nActionID: 1\r\n\r\n")
    client.exactly(
        b"Response: Success\r\nActionID: 1\r\nMessage: Authentication accepted\r\n\r\n"
        b"Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n\r\n"
    )
    client.ask("gsm show spans")
    client.exactly(
        b"Response: Success\r\nMessage: Command output follows\r\n"
        b"Output: GSM span 2: Power on, Provisioned, Up, Active,Standard\r\n"
        b"Output: GSM span 3: Power on, Provisioned, Up, Active,Standard\r\n\r\n"
    )
    client.ask("gsm send sms 2 10086 hi")
    client.exactly(b"Response: Success\r\nMessage: Command output follows\r\n\r\n")


def test_network_words_can_be_set(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    sim.set_status(1, network="61301", state="CALL ACTIVE Called to +79001234567", roaming=True)
    detail = client.run("gsm show span 2")
    assert "Network Name: 61301\nNetwork Status: Registered (Roaming)\n" in detail
    assert "State: CALL ACTIVE Called to +79001234567\n" in detail
    sim.set_status(1, network="auto", network_status="Registration denied", state="auto")
    detail = client.run("gsm show span 2")
    assert "Network Name: MegaFon\nNetwork Status: Registration denied\n" in detail
    assert "State: READY\n" in detail


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (
            "gsm shwo spans",
            "No such command 'gsm shwo spans' "
            "(type 'core show help gsm shwo' for other possible commands)\n",
        ),
        (
            "fly",
            "No such command 'fly' (type 'core show help fly' for other possible commands)\n",
        ),
        (
            "gsm show",
            "No such command 'gsm show' "
            "(type 'core show help gsm show' for other possible commands)\n",
        ),
        ("gsm show span 1", "No GSM running on span 1\nCommand 'gsm show span 1' failed.\n"),
        (
            'gsm send ussd 6 "*100#"',
            "No GSM running on span 6\nCommand 'gsm send ussd 6 \"*100#\"' failed.\n",
        ),
        ("gsm show span 99", "Invalid span '99'.  Should be a number from 1 to 32\n"),
        ("gsm show span two", "Invalid span 'two'.  Should be a number from 1 to 32\n"),
        ("gsm send sms 0 10086 x", "Invalid span '0'.  Should be a number from 1 to 32\n"),
        ("core show version", "You don't have permissions to run 'core show version' command\n"),
        (f"gsm send sms 2 {'1' * 65} x", "Destination number to long.\n"),
        (f"gsm send sms 2 10086 {'x' * 801}", "SMS message to long.\n"),
    ],
)
def test_errors_stand_inside_a_good_reply(
    make_sim: Make, connect: Connect, command: str, reply: str
) -> None:
    assert connect(make_sim(max_text=800)).login().run(command) == reply


@pytest.mark.parametrize(
    "command",
    [
        "gsm show span",
        "gsm show span 2 3",
        "gsm show spans all",
        "gsm send sms 2 10086",
        "gsm send ussd 2",
    ],
)
def test_too_few_or_too_many_words_show_the_usage(
    sim: SimulatedGateway, connect: Connect, command: str
) -> None:
    reply = connect(sim).login().run(command)
    assert reply.startswith("Usage: " + " ".join(command.split()[:2]))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('a "b c" d', ["a", "b c", "d"]),
        (r'a "b \"c\" \\ d"', ["a", 'b "c" \\ d']),
        ('a "" b', ["a", "", "b"]),
        ('a x"y z"w b', ["a", "xy zw", "b"]),
        ("  a\t b ", ["a", "b"]),
        (r"a b\ c", ["a", "b c"]),
        ('a "b', ["a", "b"]),
        ("", []),
    ],
)
def test_words_are_cut_as_the_driver_does(command: str, words: list[str]) -> None:
    assert split_words(command) == words


def test_there_are_at_most_64_words() -> None:
    assert len(split_words(" ".join(["w"] * 80))) == 64


@pytest.mark.parametrize(
    ("word", "number"), [("2", 2), ("2x", 2), ("x", 0), ("", 0), ("-3", -3), ("+4", 4), ("١", 0)]
)
def test_numbers_are_read_as_in_c(word: str, number: int) -> None:
    assert leading_number(word) == number


def test_commands_are_kept_in_order(sim: SimulatedGateway, connect: Connect) -> None:
    client = connect(sim).login()
    client.run("gsm show spans")
    client.run("gsm send sms 4 10086 hi")
    assert [(command.words[:3], command.span) for command in sim.commands] == [
        (("gsm", "show", "spans"), None),
        (("gsm", "send", "sms"), 4),
    ]
    assert "10086" not in repr(sim.commands)


def test_32_ports_fit(make_sim: Make, connect: Connect) -> None:
    client = connect(make_sim(ports=32)).login()
    assert client.run("gsm show spans").count("\n") == 32
    assert client.run("gsm show span 32").startswith("D-channel: 62\n")
    assert client.run("gsm show span 33").startswith("D-channel: 64\n")
