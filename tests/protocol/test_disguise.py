"""A disguised conversation holds no number and no text, and parses as the true one did."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.protocol import records
from neogate_lab.protocol.disguise import LEVELS, Conversation, Disguise
from neogate_lab.protocol.wire import Packet, PacketParser

KEY = b"k" * 32
PHONE, IMSI, PIN, TEXT = "+390123456789", "250021234567890", "4821", "Meet me at dawn, Анна"
DATA = Path(__file__).parents[2] / "data" / "transcripts"
# Those two are made of lines that are no headers: their words are hidden, too.
TRANSCRIPTS = [
    path for path in sorted(DATA.glob("*.bin")) if path.stem not in ("bodies", "invalid_utf8")
]
SPELLINGS = {
    "plain": str,
    "percent": quote,
    "every byte": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "ucs2": lambda text: text.encode("utf-16-be").hex().upper(),
    "octets": lambda text: text.encode().hex(),
}

RECEIVED = (
    "Event: ReceivedSMS\r\nPrivilege: all,smscommand\r\nID: 1\r\nGsmSpan: 2\r\nSender: {}\r\n"
    "Recvtime: 2026-01-15 10:11:12\r\nIndex: 1\r\nTotal: 1\r\nSmsc: +390000000099\r\n"
    "Content: {}\r\n--END SMS EVENT--\r\n\r\n"
)
USSD = (
    "Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: a\r\n"
    "1:Received USSD success on span: 2\n\tUSSD Responses: 1\n\tUSSD Code: {}\n"
    "\tUSSD Len: 100\n\tUSSD Message: {}\n--END COMMAND--\r\n\r\n"
)
BODY = "Response: Follows\r\nPrivilege: SMSCommand\r\nActionID: a\r\n{}--END COMMAND--\r\n\r\n"
SMS = 'Action: SMSCommand\r\nActionID: a\r\ncommand: gsm send sms 2 {} "{}" ng77\r\n\r\n'


def conversation(level: str, asked: str = "gsm send ussd 2 x") -> Conversation:
    begun = Conversation(Disguise(level, KEY))
    begun.sent(f"Action: SMSCommand\r\nActionID: a\r\ncommand: {asked}\r\n\r\n".encode())
    return begun


def heard(wire: str, level: str, asked: str = "gsm send ussd 2 x") -> str:
    return conversation(level, asked).received(wire.encode()).decode("utf-8", "surrogateescape")


def bare(wire: str) -> str:
    """What a scanner would look at: every spelling undone, as far as digits go."""
    plain = bytearray()
    data = wire.encode("utf-8", "surrogateescape")
    place = 0
    while place < len(data):
        if data[place : place + 1] == b"%" and data[place + 1 : place + 3].isalnum():
            plain += bytes.fromhex(data[place + 1 : place + 3].decode())
            place += 3
        else:
            plain += data[place : place + 1]
            place += 1
    return plain.decode("utf-8", "replace")


def leaks(wire: str, secrets: tuple[str, ...]) -> list[str]:
    return [
        f"{secret} as {name}"
        for secret in secrets
        for name, spell in SPELLINGS.items()
        for seen in (wire, bare(wire))
        if spell(secret).lower() in seen.lower()
    ]


PLACES = {
    "content": lambda planted: heard(RECEIVED.format("MegaFon", planted), "all"),
    "a raw line of the content": lambda planted: heard(
        RECEIVED.format("MegaFon", f"first\n{planted}\nSender: {planted}"), "all"
    ),
    "a part without its end": lambda planted: heard(
        RECEIVED.format("MegaFon", planted).partition("\r\n--END")[0], "all"
    ),
    "sender": lambda planted: heard(RECEIVED.format(f"7 {planted}", "x"), "all"),
    "an unknown event": lambda planted: heard(f"Event: NewSms\r\nBody: {planted}\r\n\r\n", "all"),
    "an unknown packet": lambda planted: heard(f"What: {planted}\r\n{planted}\r\n\r\n", "all"),
    "a number's header": lambda planted: heard(
        f"Event: ReceivedSMS\r\nIndex: {planted}\r\nRecvtime: {planted}\r\n\r\n", "all"
    ),
    "ussd": lambda planted: heard(USSD.format(15, planted), "all"),
    "ussd by its code": lambda planted: heard(USSD.format(72, planted), "all"),
    "ussd in output headers": lambda planted: heard(
        f"Response: Success\r\nActionID: a\r\nOutput: \tUSSD Message: {planted}\r\n"
        f"Output: {planted}\r\n\r\n",
        "all",
    ),
    "ussd taken for a query's answer": lambda planted: heard(
        USSD.format(15, planted), "all", asked="gsm show spans"
    ),
    "an answer to nothing": lambda planted: (
        Conversation(Disguise("all", KEY)).received(BODY.format(planted).encode()).decode()
    ),
    "an unknown answer": lambda planted: heard(BODY.format(f"Reply is {planted}\n"), "all"),
    "an echo": lambda planted: heard(
        BODY.format(f"No GSM running\nCommand 'gsm send sms 2 {planted} \"{planted}\"' failed.\n"),
        "all",
    ),
    "an echo after a query": lambda planted: heard(
        BODY.format(f"No such command 'gsm show {planted}' (type 'core show help')\n"),
        "all",
        asked="gsm show x",
    ),
    "a refusal": lambda planted: heard(
        f"Response: Error\r\nActionID: a\r\nMessage: no '{planted}' here\r\n\r\n", "all"
    ),
    "to": lambda planted: conversation("all").sent(SMS.format("9" + quote(planted), "x").encode())
    .decode(),
    "text": lambda planted: conversation("all").sent(SMS.format("900", planted).encode()).decode(),
    "text without quotes": lambda planted: (
        conversation("all")
        .sent(f"Action: x\r\ncommand: gsm send sms 2 900 {planted}\r\n\r\n".encode())
        .decode()
    ),
    "code": lambda planted: (
        conversation("all")
        .sent(f'Action: x\r\ncommand: gsm send ussd 2 "{planted}" 30\r\n\r\n'.encode())
        .decode()
    ),
    "an unknown command": lambda planted: (
        conversation("all").sent(f"Action: x\r\ncommand: sms {planted}\r\n\r\n".encode()).decode()
    ),
    "last send AT": lambda planted: heard(
        BODY.format(f'Last send AT: AT+CUSD=1,"{planted}"\\r\\n'), "all", asked="gsm show span 2"
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_was_planted_comes_out(place: str, spelling: str) -> None:
    spell = SPELLINGS[spelling]
    for secret in (PHONE, IMSI, PIN, TEXT, f"{TEXT} {PHONE}, {IMSI} {PIN}"):
        assert not leaks(PLACES[place](spell(secret)), (PHONE[1:], IMSI, PIN, TEXT, "dawn"))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", ["content", "ussd", "text", "code", "an unknown event"])
def test_numbers_alone_leave_the_words(place: str, spelling: str) -> None:
    spell = SPELLINGS[spelling]
    planted = spell(f"{TEXT} {PHONE}, {IMSI} {PIN}")
    wires = {
        "content": lambda: heard(RECEIVED.format(PHONE, planted), "numbers"),
        "ussd": lambda: heard(USSD.format(15, planted), "numbers"),
        "text": lambda: conversation("numbers").sent(SMS.format(PHONE, planted).encode()).decode(),
        "code": lambda: heard(BODY.format(planted), "numbers"),
        "an unknown event": lambda: heard(f"Event: New\r\nBody: {planted}\r\n\r\n", "numbers"),
    }
    wire = wires[place]()
    assert not leaks(wire, (PHONE[1:], IMSI, PIN))
    if spelling != "octets":  # which nothing tells from a number
        assert spell("dawn") in wire


@pytest.mark.parametrize(
    "line",
    [
        "Model IMEI: 350000000000017",
        "SIM IMSI: 250021234567890",
        "SIM SMS Center Number: +390123456789",
        "Own Number: 390123456789",
        "State: CALL ACTIVE Called to +39 012-345 6789",
        "New Field: 0123 456789",
        "Last event: called 390123456789",
    ],
)
def test_what_names_a_subscriber_goes_from_the_detail_of_a_port(line: str) -> None:
    name, _, value = line.partition(": ")
    told = heard(BODY.format(line + "\n"), "numbers", asked="gsm show span 2")
    assert f"{name}: " in told
    digits = "".join(filter(str.isdigit, value))
    assert digits not in "".join(filter(str.isdigit, told))


def test_what_a_new_firmware_is_known_by_stays() -> None:
    body = (
        "Status: Power on, New Word, Active,Standard\nRevision: Revision:1137B13SIM900M64_ST\n"
        "Network Name: 61301\nSignal Quality (0,31): 25\nNew Field: Quectel_M35\n"
        "GSM span 2: Power on, Another New Word, Up\nLast send AT: AT+CREG?\\r\\n"
    )
    for level in LEVELS:
        assert heard(BODY.format(body), level, asked="gsm show span 2") == BODY.format(body)
    for packet in ("Asterisk Call Manager/9.9\r\n", "Response: Success\r\nEvents: On\r\n\r\n"):
        assert heard(packet, "all") == packet
    ping = "Response: Success\r\nPing: Pong\r\nTimestamp: 1700000000.123456\r\n\r\n"
    assert heard(ping, "all") == ping


def test_credentials_go_whatever_wrote_the_log() -> None:
    login = b"Action: Login\r\nUsername: apiuser\r\nSecret: s3cret\r\n\r\n"
    assert b"s3cret" not in (sent := conversation("numbers").sent(login))
    assert b"apiuser" not in sent


def test_a_number_is_the_same_one_wherever_it_stands() -> None:
    disguise = Disguise("numbers", KEY)
    tokens = {
        disguise.hide(spelled.encode(), "number").decode().translate({ord(c): None for c in "+ -"})
        for spelled in (PHONE, PHONE[1:], "+39 012-345 6789")
    }
    (token,) = tokens
    assert token.startswith("0")
    assert len(token) == 12
    assert token in disguise.hide(f"call {PHONE}!".encode(), "text").decode()
    assert Disguise("numbers", b"other").hide(PHONE.encode(), "number").decode()[1:] != token
    assert disguise.hide("٠١٢٣٤٥٦".encode(), "text").decode().isdecimal()
    assert disguise.hide(b"MegaFon", "number") == b"MegaFon"


def test_a_level_that_does_not_exist() -> None:
    with pytest.raises(InvalidRequest, match="numbers, text, all"):
        Disguise("some", KEY)


def shape(packet: Packet) -> object:
    names = [name for name, _ in packet.headers]
    body = None if packet.body is None else len(packet.body)
    made: list[object] = []
    if packet.get("Event").lower() == "receivedsms":
        part = records.parse_received_part(packet)
        text, encoding = records.decode_part(part.content)
        made = [part.span, part.index, part.total, encoding, len(text)]
    return packet.kind, names, len(packet.raw), body, made


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_disguised_transcripts_have_the_same_packets(path: Path, level: str) -> None:
    packets = list(PacketParser().feed(path.read_bytes()))
    session = Conversation(Disguise(level, KEY))
    again = b"".join(session.received(packet.raw) for packet in packets)
    assert list(map(shape, PacketParser().feed(again))) == list(map(shape, packets))


def test_ussd_answers_keep_what_they_are() -> None:
    for stem in ("ussd", "ussd_tg400"):
        packets = list(PacketParser().feed((DATA / f"{stem}.bin").read_bytes()))
        session = Conversation(Disguise("all", KEY))
        again = b"".join(session.received(packet.raw) for packet in packets)
        for true, other in zip(packets, PacketParser().feed(again), strict=True):
            if not true.body or records.cli_error(true.body):
                continue
            replies = [
                records.parse_ussd_reply(body, port=1, span=2, code="")
                for body in (true.body, other.body or b"")
            ]
            assert replies[0].outcome == replies[1].outcome
            assert replies[0].dcs == replies[1].dcs
            assert replies[0].doubtful == replies[1].doubtful
