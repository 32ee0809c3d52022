"""The ledger in memory keeps the contract of `Ledger`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from neogate_lab.errors import BudgetExceeded, InvalidRequest
from neogate_lab.history.store import Store
from neogate_lab.link.memory import MemoryLedger

from .support import START


def queued(**changes: Any) -> dict[str, Any]:
    row = {
        "queued_at": START,
        "gateway": "lab",
        "port": 1,
        "span": 2,
        "to": "900",
        "text": "hi",
        "encoding": "gsm7",
        "segments": 2,
        "id": "ng1",
        "key": "",
        "status": "queued",
    }
    return row | changes


@pytest.fixture(params=["memory", "store"])
def ledger(request: pytest.FixtureRequest) -> Iterator[MemoryLedger | Store]:
    """Both that there are, for a rule of both."""
    if request.param == "memory":
        yield MemoryLedger()
    else:
        with Store(":memory:") as store:
            yield store


def test_row_ids_rise_across_tables() -> None:
    ledger = MemoryLedger()
    assert ledger.append("signal", [{"port": 1}, {"port": 2}]).result() == [1, 2]
    assert ledger.append("ussd", [{"port": 1}]).result() == [3]


def test_one_row_can_be_updated() -> None:
    ledger = MemoryLedger()
    first, second = ledger.append("surveys", [{"name": "a"}, {"name": "b"}]).result()
    ledger.update("surveys", second, {"reason": "done"}).result()
    assert [row.get("reason") for row in ledger.tables["surveys"]] == [None, "done"]
    assert first != second


def test_an_identity_is_kept_when_it_differs_from_the_ports_last() -> None:
    ledger = MemoryLedger()

    def see(imsi: str, port: int = 1, hour: int = 0) -> bool:
        time = START + timedelta(hours=hour)
        row = {"time": time, "gateway": "lab", "port": port, "imsi": imsi}
        return ledger.identify(row).result()

    assert [see("a"), see("a", hour=1), see("b"), see("a"), see("a", port=2)] == [
        True,
        False,
        True,
        True,
        True,
    ]


def test_parts_stay_open_until_their_message() -> None:
    ledger = MemoryLedger()
    part = {"gateway": "lab", "received_at": START}
    late = START + timedelta(hours=1)
    ledger.receive("lab", part, "g", None).result()
    ledger.receive("lab", part, "", None).result()
    assert [group for _, group in ledger.recent_parts("lab", START).result()] == ["g", ""]
    assert [group for _, group in ledger.recent_parts("lab", late).result()] == ["g"]
    assert ledger.receive("lab", part, "g", {"text": "x"}).result() is not None
    assert [group for _, group in ledger.recent_parts("lab", START).result()] == ["", "", ""]
    assert ledger.recent_parts("other", START).result() == []


def test_an_earlier_key_gives_the_earlier_row() -> None:
    ledger = MemoryLedger()
    first, mine = ledger.enqueue(queued(key="k")).result()
    assert mine
    assert first["status_at"] == START
    again, mine = ledger.enqueue(queued(key="k", id="ng2")).result()
    assert (again["id"], mine) == ("ng1", False)
    with pytest.raises(InvalidRequest, match="new key"):
        ledger.enqueue(queued(key="k", text="other")).result()


@pytest.mark.parametrize(
    ("status", "retry", "fresh"),
    [("cancelled", False, True), ("failed", False, False), ("failed", True, True)],
)
def test_a_key_is_free_again_when_nothing_was_sent(status: str, retry: bool, fresh: bool) -> None:
    ledger = MemoryLedger()
    ledger.enqueue(queued(key="k")).result()
    ledger.settle("ng1", status, now=START).result()
    _, mine = ledger.enqueue(queued(key="k", id="ng2"), retry_failed=retry).result()
    assert mine is fresh


def test_the_budget_counts_the_segments_that_wait_and_those_of_a_day(
    ledger: MemoryLedger | Store,
) -> None:
    def spend(sms_id: str, hours: float = 0) -> Any:
        row = queued(id=sms_id, queued_at=START + timedelta(hours=hours))
        return ledger.enqueue(row, budget=4).result()[0]["row_id"]

    def write(row_id: int, hours: float) -> float:
        now = START + timedelta(hours=hours)
        return ledger.claim(row_id, now=now, interval=0).result()

    first, second = spend("ng1"), spend("ng2")
    with pytest.raises(BudgetExceeded, match="sms_budget"):
        spend("ng3")
    ledger.settle("ng2", "cancelled", now=START).result()
    third = spend("ng4")
    with pytest.raises(BudgetExceeded):
        spend("ng5", hours=240)  # both still wait, and would be sent after it
    assert [write(first, 20), write(second, 20), write(third, 22)] == [0, -1, 0]
    with pytest.raises(BudgetExceeded):
        spend("ng6", hours=43.9)  # a day after the first was queued, not after it was written
    spend("ng7", hours=44)
    with pytest.raises(BudgetExceeded):
        spend("ng8", hours=45)


def test_a_port_is_claimed_once_an_interval() -> None:
    ledger = MemoryLedger()
    ids = [ledger.enqueue(queued(id=f"ng{n}")).result()[0]["row_id"] for n in range(3)]
    other = ledger.enqueue(queued(id="other", port=2)).result()[0]["row_id"]

    def claim(row_id: int, second: float) -> float:
        now = START + timedelta(seconds=second)
        return ledger.claim(row_id, now=now, interval=10.0).result()

    assert [claim(ids[0], 0), claim(ids[0], 0), claim(ids[1], 4), claim(other, 4)] == [0, -1, 6, 0]
    assert claim(ids[1], 10) == 0
    assert claim(ids[2], -3600) == 0  # a clock that was set back silences no port


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (["sent"], "queued"),
        (["cancelled", "sent"], "cancelled"),
        (["failed"], "failed"),
    ],
)
def test_a_queued_row_can_only_be_withdrawn(path: list[str], end: str) -> None:
    ledger = MemoryLedger()
    ledger.enqueue(queued()).result()
    for status in path:
        row = ledger.settle("ng1", status, now=START).result()
    assert row is not None
    assert row["status"] == end


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (["sent", "failed"], "sent"),
        (["unknown", "sent"], "sent"),
        (["unknown", "failed", "unknown"], "failed"),
        (["cancelled"], "written"),
    ],
)
def test_a_written_row_gets_one_verdict(path: list[str], end: str) -> None:
    ledger = MemoryLedger()
    row_id = ledger.enqueue(queued()).result()[0]["row_id"]
    ledger.claim(row_id, now=START, interval=0).result()
    for status in path:
        row = ledger.settle("ng1", status, now=START, smsc="+7").result()
    assert row is not None
    assert row["status"] == end
    assert ledger.settle("foreign", "sent", now=START).result() is None


def test_what_waits_is_queued_or_written() -> None:
    ledger = MemoryLedger()
    for number in range(3):
        ledger.enqueue(queued(id=f"ng{number}")).result()
    ledger.settle("ng0", "cancelled", now=START).result()
    waiting = ledger.waiting("lab").result()
    assert [(row["id"], row["owner_alive"]) for row in waiting] == [("ng1", True), ("ng2", True)]
    assert ledger.waiting("other").result() == []
