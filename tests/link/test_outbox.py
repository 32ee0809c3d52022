"""An SMS is committed before it is written, written at most once, and its end is always told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from neogate_lab.errors import (
    BudgetExceeded,
    CommandRefused,
    ConnectionLost,
    GatewayClosed,
    InvalidRequest,
    NoAnswer,
    StoreError,
)
from neogate_lab.link.ledger import Row
from neogate_lab.link.memory import MemoryLedger
from neogate_lab.link.outbox import Outbox, SmsResult, new_id

from .support import START, FakeClock, turn

INTERVAL = 10.0
STATUS_TIMEOUT = 180.0


class FakeLink:
    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._up = asyncio.Event()
        self.down_since: float | None = None
        self._up.set()

    async def wait_until_up(self) -> None:
        await self._up.wait()

    def go_down(self) -> None:
        self.down_since = self._clock.monotonic()
        self._up.clear()

    def come_up(self) -> None:
        self.down_since = None
        self._up.set()


class SlowLedger(MemoryLedger):
    """Commits a verb when told to; may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.hold: set[str] = set()
        self.held: list[tuple[Future[Any], Future[Any]]] = []
        self.broken: set[str] = set()

    def _maybe(self, verb: str, done: Future[Any]) -> Future[Any]:
        if verb in self.broken:
            failed: Future[Any] = Future()
            failed.set_exception(StoreError("the disk is full"))
            return failed
        if verb not in self.hold:
            return done
        later: Future[Any] = Future()
        later.set_running_or_notify_cancel()  # as the store's: what was handed over is written
        self.held.append((later, done))
        return later

    def release(self) -> None:
        later, done = self.held.pop(0)
        later.set_result(done.result())

    def enqueue(self, row: Row, **settings: Any) -> Future[tuple[Row, bool]]:
        return self._maybe("enqueue", super().enqueue(row, **settings))

    def claim(self, row_id: int, **settings: Any) -> Future[float]:
        if "claim" in self.broken:
            return self._maybe("claim", Future())
        return self._maybe("claim", super().claim(row_id, **settings))

    def settle(self, id: str, status: str, **settings: Any) -> Future[Row | None]:
        if "settle" in self.broken:
            return self._maybe("settle", Future())
        return self._maybe("settle", super().settle(id, status, **settings))


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = SlowLedger()
        self.link = FakeLink(self.clock)
        self.written: list[str] = []
        self.status_when_written: list[str] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: list[asyncio.Task[Any]] = []
        self.up: set[int] = {1, 2, 3}
        self.ports_error: Exception | None = None
        self.outbox = self.fresh()

    def fresh(self) -> Outbox:
        return Outbox(
            self.ledger,
            self.link,
            self._transmit,
            self._ports_up,
            interval=INTERVAL,
            status_timeout=STATUS_TIMEOUT,
            clock=self.clock,
        )

    async def _transmit(self, row: Row) -> None:
        if isinstance(self.error, InvalidRequest | GatewayClosed):
            raise self.error
        self.written.append(row["id"])
        self.status_when_written.append(self.row(row["id"])["status"])
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def _ports_up(self) -> list[tuple[int, int]]:
        if self.ports_error is not None:
            raise self.ports_error
        return [(port, port + 1) for port in sorted(self.up)]

    def row(self, sms_id: str) -> Row:
        return next(row for row in self.ledger.tables["outbox"] if row["id"] == sms_id)

    def send(
        self,
        sms_id: str = "ng1",
        *,
        wait: bool = True,
        timeout: float | None = None,
        budget: int | None = None,
        **changes: Any,
    ) -> asyncio.Task[SmsResult]:
        row = self.draft(sms_id) | changes
        coroutine = self.outbox.send(row, wait=wait, timeout=timeout, budget=budget)
        task = asyncio.create_task(coroutine)
        self.tasks.append(task)
        return task

    def send_auto(self, *ports: int) -> asyncio.Task[Any]:
        """A batch of rows that may go by any port, each planned for one."""
        rows = [
            self.draft(f"ng{number}")
            | {"key": f"k{number}", "port": port, "span": port + 1, "auto": True}
            for number, port in enumerate(ports, 1)
        ]
        keys = {row["key"] for row in rows}
        coroutine = self.outbox.send_many(
            rows, retry_failed=False, budget=None, any_port=keys, progress=None
        )
        self.tasks.append(asyncio.create_task(coroutine))
        return self.tasks[-1]

    def draft(self, sms_id: str) -> Row:
        return {
            "queued_at": self.clock.now(),
            "gateway": "lab",
            "port": 1,
            "span": 2,
            "to": "+79001234567",
            "text": "hi",
            "encoding": "gsm7",
            "segments": 1,
            "id": sms_id,
            "key": "",
            "status": "queued",
            "auto": False,
        }


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.outbox.close()
    for task in world.tasks:
        task.cancel()
    await asyncio.gather(*world.tasks, return_exceptions=True)
    await turn()


# -- the way of one SMS ----------------------------------------------------------------------------
async def test_queued_written_sent(world: World) -> None:
    sending = world.send()
    await turn()
    assert world.status_when_written == ["written"]  # committed before the bytes leave
    await world.outbox.report("ng1", True, "+7916")
    result = await sending
    assert (result.status, result.smsc, result.error) == ("sent", "+7916", "")
    assert (result.queued_at, result.written_at) == (START, START)
    assert "7900" not in repr(result)
    assert "hi" not in repr(result)


async def test_a_reported_failure_is_failed_with_words(world: World) -> None:
    sending = world.send()
    await turn()
    await world.outbox.report("ng1", False, "")
    result = await sending
    assert result.status == "failed"
    assert "reported" in result.error


async def test_a_refusal_is_failed_in_the_gateways_words(world: World) -> None:
    world.error = CommandRefused("lab refused an SMS on port 1: Permission denied")
    result = await world.send()
    assert (result.status, result.error) == ("failed", str(world.error))


@pytest.mark.parametrize("error", [NoAnswer("silent"), ConnectionLost("gone")])
async def test_after_a_lost_answer_only_a_report_can_tell(world: World, error: Exception) -> None:
    world.error = error
    sending = world.send()
    await turn()
    assert world.row("ng1")["status"] == "written"
    await world.outbox.report("ng1", True, "")
    assert (await sending).status == "sent"
    assert world.written == ["ng1"]


async def test_without_a_report_it_is_unknown_and_a_late_report_still_lands(world: World) -> None:
    sending = world.send()
    await world.clock.advance(STATUS_TIMEOUT - 1)
    assert not sending.done()
    await world.clock.advance(2)
    assert (await sending).status == "unknown"
    await world.outbox.report("ng1", True, "")
    assert world.row("ng1")["status"] == "sent"
    assert world.written == ["ng1"]


async def test_a_shorter_timeout_ends_the_wait_not_the_sms(world: World) -> None:
    sending = world.send(timeout=5)
    await world.clock.advance(6)
    assert (await sending).status == "written"
    await world.outbox.report("ng1", False, "")
    assert world.row("ng1")["status"] == "failed"


async def test_a_longer_timeout_waits_for_the_verdict_only(world: World) -> None:
    sending = world.send(timeout=10 * STATUS_TIMEOUT)
    await world.clock.advance(STATUS_TIMEOUT + 1)
    assert (await sending).status == "unknown"


async def test_not_waiting_returns_what_is_queued_on_disk(world: World) -> None:
    result = await world.send(wait=False)
    assert result.status == "queued"
    await turn()
    assert world.row("ng1")["status"] == "written"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_report_before_the_reply_and_a_doubled_one_change_nothing(
    world: World, times: int
) -> None:
    world.gate.clear()
    sending = world.send()
    await turn()
    for _ in range(times):
        await world.outbox.report("ng1", True, "")
    assert (await sending).status == "sent"
    world.error = CommandRefused("too late")
    world.gate.set()
    await turn()
    assert world.row("ng1")["status"] == "sent"


@pytest.mark.parametrize("reports", [(True, False), (False, True)])
async def test_of_contradicting_reports_the_one_that_it_was_sent_counts(
    world: World, reports: tuple[bool, ...]
) -> None:
    sending = world.send()
    await turn()
    for accepted in reports:
        await world.outbox.report("ng1", accepted, "+7916")
    await sending
    row = world.row("ng1")
    assert (row["status"], row["error"]) == ("sent", "")


async def test_the_report_of_a_stranger_is_ignored(world: World) -> None:
    await world.outbox.report("theirs", True, "")
    assert "outbox" not in world.ledger.tables


# -- turns -----------------------------------------------------------------------------------------
async def test_one_sms_a_port_and_interval_first_come_first_served(world: World) -> None:
    for number in range(4):
        world.send(f"ng{number}", port=1 + number // 3)
    await turn()
    assert world.written == ["ng0", "ng3"]
    await world.clock.advance(INTERVAL)
    assert world.written == ["ng0", "ng3", "ng1"]
    await world.clock.advance(INTERVAL)
    assert world.written == ["ng0", "ng3", "ng1", "ng2"]
    spacing = [world.row(f"ng{n}")["written_at"] for n in (0, 1, 2)]
    assert [(b - a).total_seconds() for a, b in pairwise(spacing)] == [10, 10]


async def test_pacing_counts_what_an_earlier_process_wrote(world: World) -> None:
    world.send("ng1")
    await turn()
    await world.outbox.close()
    world.outbox = world.fresh()
    world.send("ng2")
    await world.clock.advance(INTERVAL - 1)
    assert world.written == ["ng1"]
    await world.clock.advance(1)
    assert world.written == ["ng1", "ng2"]


async def test_while_the_link_is_down_it_waits_as_queued(world: World) -> None:
    world.link.go_down()
    sending = world.send()
    await world.clock.advance(60)
    assert world.row("ng1")["status"] == "queued"
    world.link.come_up()
    await turn()
    assert world.written == ["ng1"]
    await world.outbox.report("ng1", True, "")
    assert (await sending).status == "sent"


@pytest.mark.parametrize("wait", [True, False])
async def test_a_link_down_for_longer_than_the_timeout_withdraws_it(
    world: World, wait: bool
) -> None:
    world.link.go_down()
    sending = world.send(timeout=30, wait=wait)
    await world.clock.advance(31)
    assert world.row("ng1")["status"] == "cancelled"
    assert (await sending).status == ("cancelled" if wait else "queued")
    world.link.come_up()
    await world.clock.advance(60)
    assert world.written == []


async def test_a_link_lost_just_before_the_write_is_failed_and_nothing_left(world: World) -> None:
    world.ledger.hold = {"claim"}
    sending = world.send()
    await turn()
    world.link.go_down()
    world.ledger.release()
    result = await sending
    assert result.status == "failed"
    assert "nothing was sent" in result.error
    assert world.written == []


@pytest.mark.parametrize("error", [InvalidRequest("too long here"), GatewayClosed("closed")])
async def test_what_could_not_be_written_is_failed(world: World, error: Exception) -> None:
    world.error = error
    result = await world.send()
    assert (result.status, result.error) == ("failed", str(error))


# -- interrupts ------------------------------------------------------------------------------------
async def interrupt(task: asyncio.Task[SmsResult]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_interrupt_while_queued_withdraws(world: World) -> None:
    world.link.go_down()
    sending = world.send()
    await turn()
    await interrupt(sending)
    assert world.row("ng1")["status"] == "cancelled"
    world.link.come_up()
    await turn()
    assert world.written == []


async def test_an_interrupt_before_it_is_queued_on_disk_withdraws_too(world: World) -> None:
    world.ledger.hold = {"enqueue"}
    sending = world.send()
    await turn()
    sending.cancel()
    await turn()
    world.ledger.release()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert world.row("ng1")["status"] == "cancelled"
    assert world.written == []


async def test_an_interrupt_after_the_write_ends_the_wait_only(world: World) -> None:
    sending = world.send()
    await turn()
    await interrupt(sending)
    assert world.row("ng1")["status"] == "written"
    await world.outbox.report("ng1", True, "")
    assert world.row("ng1")["status"] == "sent"


async def test_an_interrupt_in_the_very_moment_of_the_write_does_not_send_unseen(
    world: World,
) -> None:
    world.ledger.hold = {"claim"}
    sending = world.send()
    await turn()
    sending.cancel()
    await turn()
    world.ledger.release()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await turn()
    # The row was committed as written before the interrupt: it is, and will be reported.
    assert world.row("ng1")["status"] == "written"
    assert world.written == ["ng1"]


async def test_the_withdrawal_frees_the_port(world: World) -> None:
    world.send("ng1")
    await turn()
    second, third = world.send("ng2"), world.send("ng3")
    await turn()
    await interrupt(second)
    await world.clock.advance(INTERVAL)
    assert world.written == ["ng1", "ng3"]
    assert not third.done()


# -- any port that is up -------------------------------------------------------------------------
async def test_one_that_waits_leaves_a_port_that_went_down(world: World) -> None:
    world.send_auto(1, 1, 2)
    await turn()
    assert world.written == ["ng1", "ng3"]
    world.up = {2, 3}
    await world.clock.advance(INTERVAL)
    assert world.written == ["ng1", "ng3", "ng2"]
    assert [world.row(sms)["port"] for sms in ("ng1", "ng2", "ng3")] == [1, 2, 2]
    assert world.row("ng2")["span"] == 3


async def test_on_its_new_port_it_keeps_the_pace(world: World) -> None:
    world.send_auto(1, 1, 2)
    await turn()
    world.up = {2}
    await world.clock.advance(INTERVAL - 1)
    assert "ng2" not in world.written
    await world.clock.advance(1)
    assert world.row("ng2")["port"] == 2
    first, second = (world.row(sms)["written_at"] for sms in ("ng3", "ng2"))
    assert (second - first).total_seconds() >= INTERVAL


async def test_once_written_it_stays(world: World) -> None:
    world.gate.clear()
    world.send_auto(1)
    await turn()
    world.up = {2}
    world.error = ConnectionLost("gone")
    world.gate.set()
    await world.clock.advance(STATUS_TIMEOUT + 1)
    assert world.written == ["ng1"]
    assert (world.row("ng1")["port"], world.row("ng1")["status"]) == (1, "unknown")


async def test_while_no_port_is_up_it_waits(world: World) -> None:
    world.up = set()
    world.send_auto(1)
    named = world.send("named")
    await world.clock.advance(60)
    assert world.written == [
        "named"
    ]  # its port was asked for: whether it can is the gateway's word
    world.up = {2}
    await world.clock.advance(INTERVAL)
    assert world.written == ["named", "ng1"]
    assert world.row("ng1")["port"] == 2
    assert not named.done()


@pytest.mark.parametrize("error", [CommandRefused("no"), NoAnswer("silent")])
async def test_a_gateway_that_does_not_say_which_are_up_gets_it_as_planned(
    world: World, error: Exception
) -> None:
    world.ports_error = error
    world.send_auto(1)
    await turn()
    assert world.written == ["ng1"]


async def test_a_link_lost_while_it_asks_leaves_it_queued(world: World) -> None:
    world.ports_error = ConnectionLost("gone")
    world.send_auto(1)
    await turn()
    assert world.row("ng1")["status"] == "queued"
    world.ports_error = None
    await world.clock.advance(INTERVAL)
    assert world.written == ["ng1"]


# -- keys and budget -------------------------------------------------------------------------------
async def test_the_same_key_gives_the_earlier_result(world: World) -> None:
    first = world.send("ng1", key="k")
    await turn()
    await world.outbox.report("ng1", True, "")
    await first
    again = await world.send("ng2", key="k")
    assert (again.id, again.status) == ("ng1", "sent")
    assert world.written == ["ng1"]


async def test_the_same_key_joins_an_sms_under_way(world: World) -> None:
    world.link.go_down()
    first, second = world.send("ng1", key="k"), world.send("ng2", key="k")
    await turn()
    world.link.come_up()
    await turn()
    assert world.written == ["ng1"]
    await world.outbox.report("ng1", True, "")
    assert [(await task).id for task in (first, second)] == ["ng1", "ng1"]


async def test_who_joined_cannot_withdraw_it(world: World) -> None:
    world.link.go_down()
    world.send("ng1", key="k")
    await turn()
    second = world.send("ng2", key="k")
    await turn()
    await interrupt(second)
    assert world.row("ng1")["status"] == "queued"


async def test_the_same_key_of_an_sms_that_another_call_wrote_ends_with_its_verdict(
    world: World,
) -> None:
    world.send("ng1", key="k")
    await turn()
    await world.outbox.close()
    world.outbox = world.fresh()  # another process, which never saw it leave
    again = world.send("ng2", key="k")
    await world.clock.advance(STATUS_TIMEOUT + 1)
    assert (await again).status == "unknown"
    assert world.written == ["ng1"]


async def test_the_same_key_with_other_content_is_refused(world: World) -> None:
    world.send("ng1", key="k")
    await turn()
    with pytest.raises(InvalidRequest):
        await world.send("ng2", key="k", text="other")


async def test_over_the_budget_nothing_is_queued(world: World) -> None:
    with pytest.raises(BudgetExceeded):
        await world.send(segments=3, budget=2)
    assert "outbox" not in world.ledger.tables


# -- restarts, disks, the end ----------------------------------------------------------------------
async def test_what_an_earlier_process_wrote_is_watched_and_never_written(world: World) -> None:
    world.send("ng1")
    await turn()
    await world.outbox.close()
    world.outbox = world.fresh()
    world.clock.stall(STATUS_TIMEOUT - 10)
    world.outbox.watch(world.row("ng1"))
    world.outbox.watch(world.row("ng1"))
    await world.clock.advance(9)
    assert world.row("ng1")["status"] == "written"
    await world.clock.advance(2)
    assert world.row("ng1")["status"] == "unknown"
    assert world.written == ["ng1"]


@pytest.mark.parametrize("verb", ["enqueue", "claim"])
async def test_what_could_not_be_recorded_is_not_sent(
    world: World, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.ledger.broken = {verb}
    with pytest.raises(StoreError):
        await world.send()
    assert world.written == []
    assert "7900" not in caplog.text


async def test_what_a_broken_store_left_queued_is_sent_by_the_same_call_again(
    world: World,
) -> None:
    world.ledger.broken = {"claim", "settle"}
    with pytest.raises(StoreError):
        await world.send(key="k")
    assert world.row("ng1")["status"] == "queued"
    world.ledger.broken = set()
    again = world.send("ng2", key="k")
    await turn()
    assert world.written == ["ng1"]
    await world.outbox.report("ng1", True, "")
    assert ((await again).id, (await again).earlier) == ("ng1", False)


async def test_what_a_broken_store_left_queued_can_be_resumed(world: World) -> None:
    world.ledger.broken = {"claim", "settle"}
    with pytest.raises(StoreError):
        await world.send()
    world.ledger.broken = set()
    (result,) = await world.outbox.resume("lab", wait=False)
    await turn()
    assert (world.written, result.id) == (["ng1"], "ng1")
    assert await world.outbox.resume("lab", wait=False) == []


async def test_a_clock_set_back_prolongs_no_wait(world: World) -> None:
    world.send()
    await turn()
    await world.outbox.close()
    world.row("ng1")["written_at"] += timedelta(hours=5)  # by the clock of then
    world.outbox = world.fresh()
    world.send("ng2")
    waiting = world.send("ng3")
    await turn()
    (queued,) = await world.outbox.waiting("lab")
    assert queued.due_at == START + timedelta(seconds=INTERVAL)
    world.outbox.watch(world.row("ng1"))
    await world.clock.advance(STATUS_TIMEOUT + 1)
    assert world.row("ng1")["status"] == "unknown"
    assert world.written == ["ng1", "ng2", "ng3"]
    assert not waiting.done()


async def test_a_report_that_can_not_be_stored_is_not_lost(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sending = world.send()
    await turn()
    world.ledger.broken = {"settle"}
    reporting = asyncio.create_task(world.outbox.report("ng1", True, "+7916"))
    world.tasks.append(reporting)
    await world.clock.advance(5)
    assert not sending.done()
    world.ledger.broken = set()
    await world.clock.advance(1)
    assert (await sending).status == "sent"
    assert reporting.done()
    assert caplog.text.count("waits to be stored") == 1


async def test_closing_withdraws_what_is_queued(world: World) -> None:
    world.link.go_down()
    sending = world.send()
    await turn()
    await world.outbox.close()
    result = await sending
    assert result.status == "cancelled"
    assert "closed" in result.error


async def test_closing_ends_the_wait_for_a_report(world: World) -> None:
    sending = world.send()
    await turn()
    await world.outbox.close()
    assert (await sending).status == "written"


async def test_closing_between_claim_and_write_says_that_nothing_was_sent(world: World) -> None:
    world.ledger.hold = {"claim"}
    sending = world.send()
    await turn()
    closing = asyncio.create_task(world.outbox.close())
    await turn()
    world.ledger.release()
    await closing
    assert world.row("ng1")["status"] == "failed"
    assert (await sending).status == "failed"
    assert world.written == []


async def test_closing_at_once_after_queueing(world: World) -> None:
    world.ledger.hold = {"enqueue"}
    sending = world.send()
    await turn()
    closing = asyncio.create_task(world.outbox.close())
    await turn()
    assert not closing.done()  # else the row could stay queued in a ledger that is gone by then
    world.ledger.release()
    await closing
    assert world.row("ng1")["status"] == "cancelled"
    assert (await sending).status == "cancelled"
    assert world.written == []


async def test_closing_waits_for_an_interrupted_call_to_take_its_row_back(world: World) -> None:
    world.ledger.hold = {"enqueue"}
    sending = world.send()
    await turn()
    sending.cancel()
    closing = asyncio.create_task(world.outbox.close())
    await turn()
    assert not closing.done()
    world.ledger.release()
    await closing
    assert world.row("ng1")["status"] == "cancelled"


async def test_after_the_end_nothing_is_queued(world: World) -> None:
    await world.outbox.close()
    with pytest.raises(GatewayClosed, match="nothing was sent"):
        await world.send()
    with pytest.raises(GatewayClosed, match="nothing was sent"):
        await world.send_auto(1)
    assert "outbox" not in world.ledger.tables


async def test_closing_a_broken_store_hangs_nobody(world: World) -> None:
    world.link.go_down()
    sending = world.send()
    await turn()
    world.ledger.broken = {"settle"}
    await world.outbox.close()
    with pytest.raises(StoreError):
        await sending


def test_ids_are_one_word_and_unique() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(sms_id.isalnum() and sms_id.isascii() and len(sms_id) <= 64 for sms_id in ids)


async def test_who_asks_for_anothers_sms_after_the_end_follows_nobody(world: World) -> None:
    world.link.go_down()
    world.send(key="k")
    await turn()
    other = world.fresh()
    row = world.draft("ng2") | {"key": "k"}
    world.ledger.hold = {"enqueue"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other, "_is_left_over", lambda stored: False)  # it is another process's
        asking = asyncio.create_task(other.send(row, wait=True, timeout=None, budget=None))
        await turn()
        closing = asyncio.create_task(other.close())
        await turn()
        world.ledger.release()
        result = await asking
        await closing
    assert (result.id, result.status, result.earlier) == ("ng1", "queued", True)
    assert not other._work
