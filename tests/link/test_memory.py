"""The ledger in memory keeps the contract of `Ledger`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from neogate_lab.errors import BudgetExceeded, InvalidRequest
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


def test_the_budget_counts_the_segments_of_a_day() -> None:
    ledger = MemoryLedger()
    ledger.enqueue(queued(), budget=4).result()
    ledger.enqueue(queued(id="ng2"), budget=4).result()
    with pytest.raises(BudgetExceeded, match="sms_budget=4"):
        ledger.enqueue(queued(id="ng3"), budget=4).result()
    ledger.settle("ng2", "cancelled", now=START).result()
    ledger.enqueue(queued(id="ng4"), budget=4).result()
    tomorrow = START + timedelta(hours=25)
    ledger.enqueue(queued(id="ng5", queued_at=tomorrow), budget=4).result()


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
