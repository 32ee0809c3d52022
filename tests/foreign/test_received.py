"""Received SMS through the facade: nothing lost, nothing doubled, nothing made up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from neogate_lab import errors

from .gateway import Firmware, percent, ucs2_hex
from .support import connect, eventually, messages, rows, scripted

CONTENTS = {
    "plain": ("Ok", "Ok", "plain"),
    "percent": ("%D0%94%D0%B0%2C+%D0%B4%D0%B0", "Да, да", "percent"),
    "percent with its BOM": ("%EF%BB%BF%E4%BD%A0%E5%A5%BD", "你好", "percent"),
    "an encoded plus and percent sign": ("1%2B1+is+2%2C+100%25", "1+1 is 2, 100%", "percent"),
    "plus is a blank where no blank stands": ("Hello+World", "Hello World", None),
    "plus is a plus beside a blank": ("1+1 is 2", "1+1 is 2", "plain"),
    "a lonely percent sign": ("100% sure", "100% sure", "plain"),
    "UCS-2 hex": (ucs2_hex("Привет, мир!"), "Привет, мир!", "ucs2-hex"),
    "UCS-2 hex with a surrogate pair": (ucs2_hex("Да 😀!"), "Да 😀!", "ucs2-hex"),
    "percent-encoded Latin-1": ("Caf%E9+ol%E9", "Café olé", "latin-1"),
    "a code of eight digits is no UCS-2": ("12345678", "12345678", "plain"),
    "a word of hex letters is no UCS-2": ("DEADBEEF", "DEADBEEF", "plain"),
    "the end of a command": ("so --END COMMAND-- it is", "so --END COMMAND-- it is", "plain"),
    "the end of an event": ("so --END SMS EVENT-- it is", "so --END SMS EVENT-- it is", "plain"),
    "markup": ("%3Cscript%3Ealert(1)%3C%2Fscript%3E", "<script>alert(1)</script>", "percent"),
    "an encoded line end": ("a%0D%0A%0D%0Ab", "a\r\n\r\nb", "percent"),
    "a formula": ("=1+1 ", "=1+1 ", "plain"),
    "empty": ("", "", None),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents(name: str) -> None:
    content, text, encoding = CONTENTS[name]
    with scripted() as double, connect(double) as gw:
        double.receive_sms(content)
        [row] = messages(gw, 1)
        assert row["text"] == text
        assert encoding in (None, row["encoding"])
        assert (row["parts"], row["total"], row["complete"]) == (1, 1, True)
        assert row["gateway_time"] == "2019-11-22 13:01:40"
        assert row["smsc"] == "+79168999100"


@pytest.mark.parametrize("sentinel", [True, False])
def test_raw_bytes_in_a_content(sentinel: bool) -> None:
    with scripted(Firmware(sentinel=sentinel)) as double, connect(double) as gw:
        double.receive_sms("Grüße, raw".encode())
        double.receive_sms(b"Gr\xfc\xdfe, raw")
        utf8, latin1 = messages(gw, 2)
        assert utf8["text"] == "Grüße, raw"
        assert latin1["text"] in {"Grüße, raw", "Gr\ufffd\ufffde, raw"}


def test_raw_newlines_belong_to_the_content() -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("first")
        double.receive_sms("one\r\nResponse: Error\r\n\r\nAction: Logoff\r\nfour", sender="thief")
        double.receive_sms("last")
        first, odd, last = messages(gw, 3)
        assert (first["text"], last["text"]) == ("first", "last")
        assert odd["text"].split() == ["one", "Response:", "Error", "Action:", "Logoff", "four"]
        assert odd["sender"] == "thief"
        assert len(gw.spans()) == 4


def test_a_text_can_not_forge_its_sender() -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("first")
        double.receive_sms("hi\r\nSender: BANK\r\nGsmSpan: 5", sender="thief", span=2)
        _, odd = messages(gw, 2)
        assert (odd["sender"], odd["span"]) == ("thief", 2)


def test_raw_newline_without_sentinels() -> None:
    with scripted(Firmware(sentinel=False)) as double, connect(double) as gw:
        double.receive_sms("one\r\ntwo")
        double.receive_sms("three")
        odd, after = messages(gw, 2)
        assert odd["text"].split() == ["one", "two"]
        assert after["text"] == "three"


@pytest.mark.parametrize("sender", ["MegaFon", "900", "+79161234567", "0044", "My Bank"])
def test_senders_are_text(sender: str) -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("Ok", sender=sender)
        assert messages(gw, 1)[0]["sender"] == sender
        assert len(gw.inbox(sender=sender)) == 1
        assert len(gw.inbox(sender="somebody else")) == 0


def deliver(double: Any, parts: Sequence[str], order: Sequence[int], base: int, **sms: Any) -> None:
    for index in order:
        double.receive_sms(parts[index], index=index + base, total=len(parts), **sms)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_long_messages_in_every_order(order: Sequence[int], base: int) -> None:
    parts = [percent(text, bom=True) for text in ("Раз, ", "два, ", "три")]
    with scripted() as double, connect(double) as gw:
        deliver(double, parts, order, base, id="244")
        [row] = messages(gw, 1)
        assert row["text"] == "Раз, два, три"
        assert (row["parts"], row["total"], row["complete"]) == (3, 3, True)
        assert row["reference"] == "244"


@pytest.mark.parametrize("single", [0, 1])
@pytest.mark.parametrize("base", [0, 1])
def test_the_index_of_a_single_part_says_nothing_about_long_ones(single: int, base: int) -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("alone", index=single)
        deliver(double, ["one ", "two"], (1, 0), base, id="244")
        deliver(double, ["three ", "four ", "five"], (0, 2, 1), base, id="245")
        told = [row["text"] for row in messages(gw, 3)]
        assert told == ["alone", "one two", "three four five"]


def test_a_blank_at_the_end_of_a_part_is_kept() -> None:
    with scripted() as double, connect(double) as gw:
        deliver(double, ["Hello, big ", "wide world "], (0, 1), 1, id="244")
        assert messages(gw, 1)[0]["text"] == "Hello, big wide world "


def test_a_character_cut_between_two_parts_is_whole_again() -> None:
    high, low = "\ud83d", "\ude00"
    halves = [percent("да " + high, bom=True), percent(low + " нет", bom=True)]
    with scripted() as double, connect(double) as gw:
        deliver(double, halves, (1, 0), 1, id="244")
        deliver(
            double, [ucs2_hex("Пока " + high), ucs2_hex(low + " до завтра")], (0, 1), 1, id="245"
        )
        assert [row["text"] for row in messages(gw, 2)] == ["да 😀 нет", "Пока 😀 до завтра"]


def test_equal_parts_are_dropped_even_after_the_message_is_told() -> None:
    with scripted() as double, connect(double) as gw:
        deliver(double, ["one ", "two"], (0, 0, 1, 1, 0), 1, id="244")
        double.receive_sms("the end")
        assert [row["text"] for row in messages(gw, 2)] == ["one two", "the end"]


def test_single_parts_are_never_dropped() -> None:
    with scripted() as double, connect(double) as gw:
        for _ in range(3):
            double.receive_sms("Ok")
        assert [row["text"] for row in messages(gw, 3)] == ["Ok"] * 3


def test_a_reference_that_repeats_opens_a_new_message() -> None:
    with scripted() as double, connect(double) as gw:
        deliver(double, ["one ", "two"], (0, 1), 1, id="244")
        deliver(double, ["three ", "four"], (0, 1), 1, id="244")
        assert [row["text"] for row in messages(gw, 2)] == ["one two", "three four"]


def test_messages_of_several_senders_and_spans_that_share_a_reference() -> None:
    with scripted() as double, connect(double) as gw:
        for index, words in enumerate((("A1 ", "B1 ", "C1 "), ("a2", "b2", "c2")), 1):
            ways = (("Ann", 2), ("Bob", 2), ("Ann", 3))
            for (sender, span), word in zip(ways, words, strict=True):
                double.receive_sms(word, sender=sender, span=span, id="7", index=index, total=2)
        told = {(row["sender"], row["span"], row["text"]) for row in messages(gw, 3)}
        assert told == {("Ann", 2, "A1 a2"), ("Bob", 2, "B1 b2"), ("Ann", 3, "C1 c2")}


def test_a_part_that_never_comes() -> None:
    with scripted() as double, connect(double, part_timeout=0.4) as gw:
        told: list[tuple[str, bool]] = []
        gw.on_sms(lambda sms: told.append((sms.text, sms.complete)), name="all", incomplete=True)
        deliver(double, ["one ", "two ", "three"], (0, 2), 1, id="244")
        [row] = messages(gw, 1)
        assert (row["parts"], row["total"], row["complete"]) == (2, 3, False)
        assert "one" in row["text"]
        assert "three" in row["text"]
        eventually(lambda: told)
        assert [complete for _, complete in told] == [False]


def test_events_of_every_session_are_told_once() -> None:
    with scripted(Firmware(events_to_all=True)) as double, connect(double) as gw:
        double.ussd(2, "*1#")
        gw.ussd("*1#", port=1)
        double.receive_sms("once")
        double.receive_sms("twice")
        assert [row["text"] for row in messages(gw, 2)] == ["once", "twice"]


def test_handlers_are_called_once_each_and_a_name_replaces() -> None:
    with scripted() as double, connect(double) as gw:
        old: list[str] = []
        new: list[tuple[str, str, int]] = []
        gw.on_sms(lambda sms: old.append(sms.text), name="mine")
        gw.on_sms(lambda sms: new.append((sms.sender, sms.text, sms.port)), name="mine")
        deliver(double, ["one ", "two"], (1, 0), 1, id="244", sender="Ann", span=5)
        double.receive_sms("three", sender="Bob")
        eventually(lambda: len(new) == 2)
        assert new == [("Ann", "one two", 4), ("Bob", "three", 1)]
        gw.off_sms("mine")
        double.receive_sms("four")
        messages(gw, 3)
        assert (len(new), old) == (2, [])


def test_waiting_for_one_message_among_others() -> None:
    with scripted() as double, connect(double) as gw:

        def arrive() -> None:
            double.receive_sms("code 1111", sender="Shop", span=2)
            double.receive_sms("code 2222", sender="Bank", span=3)
            double.receive_sms("code 3333", sender="Bank", span=2)

        timer = threading.Timer(0.1, arrive)
        timer.start()
        sms = gw.wait_for_sms(sender="Bank", contains="code", port=1, timeout=10)
        timer.join()
        assert (sms.text, sms.sender, sms.port, sms.span) == ("code 3333", "Bank", 1, 2)


def test_waiting_in_vain() -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("hello", sender="Shop")
        with pytest.raises(errors.NoAnswer):
            gw.wait_for_sms(sender="Bank", timeout=0.2)


MALFORMED = (
    b"Event: ReceivedSMS\r\n--END SMS EVENT--\r\n\r\n",
    b"Event: ReceivedSMS\r\nGsmSpan: two\r\nSender: x\r\nIndex: 1\r\nTotal: 1\r\nContent: y\r\n"
    b"--END SMS EVENT--\r\n\r\n",
    b"Event: ReceivedSMS\r\nGsmSpan: 2\r\nSender: x\r\nIndex: -7\r\nTotal: 0\r\nContent: y\r\n"
    b"--END SMS EVENT--\r\n\r\n",
    b"Event: ReceivedSMS\r\nGsmSpan: 2\r\nIndex: 99999999999\r\nTotal: 99999999999\r\nContent: y"
    b"\r\n--END SMS EVENT--\r\n\r\n",
    b"Event: UpdateSMSSend\r\nStatus: perhaps\r\n--END SMS EVENT--\r\n\r\n",
    b"Event: UpdateSMSSend\r\nID: (null)\r\nStatus: 1\r\n--END SMS EVENT--\r\n\r\n",
    b"Event: PeerStatus\r\nPrivilege: system,all\r\nPeer: SIP/1\r\n\r\n",
    b"Event: \r\n\r\n",
    b"Response: Success\r\nActionID: nobody-asked\r\nMessage: hello\r\n\r\n",
)


@pytest.mark.filterwarnings("ignore::neogate_lab.errors.NeogateWarning")
@pytest.mark.parametrize("event", MALFORMED, ids=range(len(MALFORMED)))
def test_a_strange_event_harms_neither_the_session_nor_the_next_message(event: bytes) -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("before")
        messages(gw, 1)
        double.post(event)
        double.receive_sms("after")
        eventually(lambda: "after" in gw.inbox()["text"].tolist())
        assert len(gw.spans()) == 4
        assert double.logins == [True]


def test_a_flood_of_events_does_not_stop_the_commands() -> None:
    with scripted() as double, connect(double) as gw:
        for number in range(500):
            double.post(b"Event: PeerStatus\r\nPrivilege: system,all\r\nPeer: x\r\n\r\n")
            double.receive_sms(f"message {number}")
        assert len(gw.spans()) == 4
        told = [row["text"] for row in messages(gw, 500)]
        assert told == [f"message {number}" for number in range(500)]


def test_filters_of_the_inbox() -> None:
    with scripted() as double, connect(double) as gw:
        double.receive_sms("one", span=2)
        double.receive_sms("two", span=5)
        messages(gw, 2)
        assert [row["text"] for row in rows(gw.inbox(port=4))] == ["two"]
        assert [row["text"] for row in rows(gw.inbox(port=[1, 4]))] == ["one", "two"]
        assert len(gw.inbox(since="1h")) == 2
        assert len(gw.inbox(until="1h")) == 0
