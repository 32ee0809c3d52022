"""Parts become messages: by span, sender, reference and total, whatever their order (WIRE §8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neogate_lab.link.inbox import Inbox, Receipt, ReceivedSms, parse_recvtime
from neogate_lab.protocol.records import ReceivedPart

from .support import START

TIMEOUT = 300.0


def part(index: int, content: str, *, total: int = 3, **more: object) -> ReceivedPart:
    fields: dict[str, object] = {"span": 2, "sender": "+79001234567", "reference": "244"}
    return ReceivedPart(index=index, content=content, total=total, **(fields | more))  # type: ignore[arg-type]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def texts(receipts: list[Receipt]) -> list[str]:
    return [receipt.message.text for receipt in receipts if receipt.message]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_parts_join_in_any_order_from_either_base(base: int, order: tuple[int, ...]) -> None:
    inbox = Inbox(TIMEOUT)
    pieces = ["one+", "two+", "three"]
    receipts = [
        inbox.receive(part(base + number, pieces[number]), at(second))
        for second, number in enumerate(order)
    ]
    assert [receipt.message is None for receipt in receipts] == [True, True, False]
    message = receipts[-1].message
    assert message is not None
    assert (message.text, message.complete, message.arrived) == ("one two three", True, 3)
    assert len({receipt.group for receipt in receipts}) == 1


@pytest.mark.parametrize("index", [0, 1])
def test_a_single_part_is_a_message_and_never_a_duplicate(index: int) -> None:
    inbox = Inbox(TIMEOUT)
    single = part(index, "Ok", total=1, reference="")
    assert texts([inbox.receive(single, at(0)), inbox.receive(single, at(0.1))]) == ["Ok", "Ok"]


def test_an_equal_part_is_dropped_before_and_after_the_message_is_told() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "a", total=2), at(0))
    assert inbox.receive(part(1, "a", total=2), at(1)) == Receipt()
    assert texts([inbox.receive(part(2, "b", total=2), at(2))]) == ["ab"]
    assert inbox.receive(part(2, "b", total=2), at(3)) == Receipt()
    assert inbox.receive(part(1, "a", total=2), at(2 + TIMEOUT - 1)) == Receipt()


def test_long_after_the_message_an_equal_part_is_a_new_one() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "a", total=2), at(0))
    inbox.receive(part(2, "b", total=2), at(0))
    inbox.receive(part(1, "a", total=2), at(TIMEOUT))
    assert texts([inbox.receive(part(2, "b", total=2), at(TIMEOUT))]) == ["ab"]


def test_an_index_taken_by_other_content_opens_a_new_message() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "old ", total=2), at(0))
    inbox.receive(part(1, "new ", total=2), at(100))
    new = inbox.receive(part(2, "end", total=2), at(102))  # the other's part is long overdue
    old = inbox.receive(part(2, "tail", total=2), at(110))
    assert texts([new, old]) == ["new end", "old tail"]
    assert [receipt.message.complete for receipt in (new, old) if receipt.message] == [True, True]


def test_two_messages_of_one_reference_at_once_are_never_told_as_whole() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "a1 ", total=2), at(0))
    inbox.receive(part(1, "b1 ", total=2), at(1))
    receipts = [
        inbox.receive(part(2, "a2", total=2), at(2)),  # or b2: nothing tells
        inbox.receive(part(2, "b2", total=2), at(3)),
    ]
    assert len(texts(receipts)) == 2  # nothing is lost
    assert not any(receipt.message.complete for receipt in receipts if receipt.message)


def test_two_messages_of_one_reference_one_after_the_other_are_whole() -> None:
    inbox = Inbox(TIMEOUT)
    told = [
        inbox.receive(part(index, content, total=2), at(second))
        for second, (index, content) in enumerate([(2, "a2"), (1, "a1 "), (1, "b1 "), (2, "b2")])
    ]
    assert texts(told) == ["a1 a2", "b1 b2"]
    assert all(receipt.message.complete for receipt in told if receipt.message)


@pytest.mark.parametrize(
    "other",
    [{"span": 3}, {"sender": "900"}, {"reference": "245"}, {"total": 3}],
    ids=["span", "sender", "reference", "total"],
)
def test_parts_of_different_messages_are_not_joined(other: dict[str, object]) -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "a", total=2), at(0))
    stranger = part(2, "b", **({"total": 2} | other))  # type: ignore[arg-type]
    assert inbox.receive(stranger, at(1)).message is None


def test_each_part_is_decoded_and_loses_its_bom_before_joining() -> None:
    inbox = Inbox(TIMEOUT)
    # An emoji that a careless sender cut between its two halves, each UTF-8 on its own.
    inbox.receive(part(1, "%EF%BB%BF%D0%9F%ED%A0%BD", total=2), at(0))
    receipt = inbox.receive(part(2, "%EF%BB%BF%ED%B1%8D+", total=2), at(0))
    assert texts([receipt]) == ["П👍 "]


def test_what_waits_too_long_is_told_once_as_incomplete() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(3, "end"), at(0))
    inbox.receive(part(1, "start"), at(10))
    assert inbox.expire(at(10 + TIMEOUT - 1)) == []
    ((last, receipt),) = inbox.expire(at(10 + TIMEOUT))
    assert last.span == 2
    assert receipt.message is not None
    assert receipt.message.text == "start[…]end"
    assert (receipt.message.complete, receipt.message.arrived) == (False, 2)
    assert inbox.expire(at(10 + TIMEOUT)) == []


def test_a_part_that_comes_after_its_message_was_given_up_opens_another() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "a", total=2), at(0))
    inbox.expire(at(TIMEOUT))
    late = inbox.receive(part(2, "b", total=2), at(TIMEOUT + 1))
    assert late.group
    assert late.message is None


def test_the_gap_of_a_gateway_that_counts_from_nought_is_in_its_place() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(0, "x", total=2, reference="1"), at(0))
    inbox.receive(part(1, "y", total=2, reference="1"), at(0))
    inbox.receive(part(1, "middle"), at(0))
    ((_, receipt),) = inbox.expire(at(TIMEOUT))
    assert receipt.message is not None
    assert receipt.message.text == "[…]middle[…]"


def test_an_index_beyond_the_total_never_completes() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.receive(part(1, "a", total=2), at(0))
    assert inbox.receive(part(7, "b", total=2), at(0)).message is None


@pytest.mark.parametrize("stored", [1, 2])
def test_open_parts_of_an_earlier_process_are_completed(stored: int) -> None:
    before, after = Inbox(TIMEOUT), Inbox(TIMEOUT)
    pieces = [part(index, f"{index}") for index in (1, 2, 3)]
    for second, piece in enumerate(pieces[:stored]):
        group = before.receive(piece, at(second)).group
        after.restore(piece, at(second), group)
    receipts = [after.receive(piece, at(9)) for piece in pieces[stored:]]
    assert texts(receipts) == ["123"]
    assert receipts[-1].group == group


def test_told_parts_of_an_earlier_process_are_still_duplicates() -> None:
    inbox = Inbox(TIMEOUT)
    for index in (1, 2):
        inbox.restore(part(index, "x", total=2), at(index), "")
    inbox.restore(part(1, "x", total=2), at(2), "")  # a repetition, stored as such
    inbox.restore(part(1, "single", total=1), at(2), "")
    assert inbox.receive(part(1, "x", total=2), at(3)) == Receipt()
    assert inbox.receive(part(2, "x", total=2), at(3)) == Receipt()


def test_a_stored_repetition_of_an_open_part_does_not_steal_the_next_one() -> None:
    inbox = Inbox(TIMEOUT)
    inbox.restore(part(1, "a", total=2), at(0), "group")
    inbox.restore(part(1, "a", total=2), at(1), "")
    receipt = inbox.receive(part(2, "b", total=2), at(2))
    assert receipt.group == "group"
    assert texts([receipt]) == ["ab"]


@given(
    st.permutations(range(5)),
    st.lists(st.integers(0, 4), max_size=6),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_and_the_repetitions_one_message_comes(
    order: list[int], repeated: list[int], rng: object
) -> None:
    inbox = Inbox(TIMEOUT)
    coming = order + repeated
    rng.shuffle(coming)  # type: ignore[attr-defined]
    receipts = [
        inbox.receive(part(1 + number, f"<{number}>", total=5), at(second))
        for second, number in enumerate(coming)
    ]
    assert texts(receipts) == ["<0><1><2><3><4>"]


def test_a_cell_says_what_is_wrong_with_a_message() -> None:
    shown: list[str] = []

    class Printer:
        text = shown.append

    for parts in (1, 2):
        sms = ReceivedSms("lab", 1, 2, "900", "hi", START, parts=parts, total=2, complete=False)
        sms._repr_pretty_(Printer(), False)
    assert "1 of 2 parts missing" in shown[0]
    assert "perhaps mixed" in shown[1]


def test_a_message_hides_who_wrote_what() -> None:
    sms = ReceivedSms("lab", 1, 2, "+79001234567", "secret words", at(0), smsc="+7916")
    assert "7900" not in repr(sms)
    assert "secret" not in repr(sms)
    assert "7916" not in repr(sms)
    assert "row_id" not in sms.as_row()


@pytest.mark.parametrize(
    "written", ["2019-11-05 14:03:21", "2019/11/05 14:03:21", "2019-11-05T14:03:21 "]
)
def test_the_gateways_clock_is_read_in_its_zone(written: str) -> None:
    read = parse_recvtime(written, ZoneInfo("Europe/Rome"))
    assert read == datetime(2019, 11, 5, 13, 3, 21, tzinfo=UTC)


def test_a_gateways_clock_without_zone_or_sense_is_unknown() -> None:
    assert parse_recvtime("2019-11-05 14:03:21", None) is None
    assert parse_recvtime("yesterday", UTC) is None
