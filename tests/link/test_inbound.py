"""What arrives is told once it is on disk, in order, once; and nothing that arrived is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from neogate_lab.errors import GatewayClosed, StoreError
from neogate_lab.link.inbound import Inbound
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.link.ledger import Row
from neogate_lab.link.memory import MemoryLedger
from neogate_lab.protocol.wire import Packet, PacketParser

from .support import BANNER, START, FakeClock, event, turn


def sms(content: str = "Ok", **headers: object) -> Packet:
    usual: dict[str, object] = {
        "ID": "",
        "GsmSpan": 2,
        "Sender": "+79001234567",
        "Recvtime": "2026-11-20 09:00:00",
        "Index": 1,
        "Total": 1,
        "Smsc": "+7916",
        "Content": content,
    }
    parser = PacketParser()
    packets = [*parser.feed(BANNER), *parser.feed(event("ReceivedSMS", **(usual | headers)))]
    return packets[-1]


class SlowLedger(MemoryLedger):
    """Commits when told to; may refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Future[int | None], Any]] = []
        self.hold = False
        self.refusals = 0

    def receive(
        self, gateway: str, part: Row | None, group: str, message: Row | None
    ) -> Future[int | None]:
        if self.refusals:
            self.refusals -= 1
            failed: Future[int | None] = Future()
            failed.set_exception(StoreError("the disk is full"))
            return failed
        if not self.hold:
            return super().receive(gateway, part, group, message)
        future: Future[int | None] = Future()
        self.held.append((future, (gateway, part, group, message)))
        return future

    def commit(self) -> None:
        future, arguments = self.held.pop(0)
        future.set_result(super().receive(*arguments).result())


class World:
    def __init__(self, ledger: SlowLedger | None = None) -> None:
        self.clock = FakeClock()
        self.ledger = ledger or SlowLedger()
        self.told: list[ReceivedSms] = []
        self.inbound = self.fresh()

    def fresh(self) -> Inbound:
        inbound = Inbound(
            self.ledger,
            gateway="lab",
            endpoint="192.168.5.150",
            port_of=lambda span: span - 1,
            zone=None,
            part_timeout=300.0,
            clock=self.clock,
        )
        inbound.listen(self.told.append)
        return inbound


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.inbound.start()
    yield world
    await world.inbound.close()


async def test_told_is_committed(world: World) -> None:
    world.ledger.hold = True
    world.inbound.arrived(sms("first"))
    await turn()
    assert world.told == []
    world.ledger.commit()
    await turn()
    (message,) = world.told
    (row,) = world.ledger.tables["messages"]
    assert (message.text, message.port, message.row_id) == ("first", 1, row["row_id"])
    assert {name: row[name] for name in message.as_row()} == message.as_row()


async def test_messages_are_told_in_their_order_even_if_a_later_one_is_stored_first(
    world: World,
) -> None:
    world.ledger.hold = True
    world.inbound.arrived(sms("first"))
    world.inbound.arrived(sms("second"))
    await turn()
    assert len(world.ledger.held) == 2  # both were handed over at once
    world.ledger.held.reverse()
    world.ledger.commit()
    await turn()
    assert world.told == []
    world.ledger.commit()
    await turn()
    assert [message.text for message in world.told] == ["first", "second"]


async def test_a_full_disk_delays_a_message_and_loses_none(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ledger.refusals = 3
    world.inbound.arrived(sms("kept"))
    world.inbound.arrived(sms("behind"))
    await world.clock.advance(5)
    assert [message.text for message in world.told] == ["kept", "behind"]
    assert len(world.ledger.tables["messages"]) == 2
    assert "waits to be stored" in caplog.text
    assert "kept" not in caplog.text


async def test_a_row_that_cannot_be_kept_does_not_hold_up_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ledger.hold = True
    world.inbound.arrived(sms("poison"))
    world.ledger.hold = False
    world.inbound.arrived(sms("fine"))
    world.ledger.held[0][0].set_exception(ValueError("a bug"))
    await turn()
    assert [message.text for message in world.told] == ["fine"]
    assert "could not be stored" in caplog.text


async def test_a_listener_that_fails_keeps_nobody_from_hearing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def broken(message: ReceivedSms) -> None:
        raise RuntimeError("a bug")

    undo = world.inbound.listen(broken)
    world.inbound.listen(lambda message: heard.append(message.text))
    world.inbound.arrived(sms("one"))
    await turn()
    undo()
    undo()
    world.inbound.arrived(sms("two"))
    await turn()
    assert heard == ["one", "two"]
    assert caplog.text.count("a listener failed") == 1


async def test_every_part_is_kept_raw_also_a_repeated_one(world: World) -> None:
    for index, content in ((1, "a"), (1, "a"), (2, "b+")):
        world.inbound.arrived(sms(content, ID="244", Index=index, Total=2))
    await turn()
    parts = world.ledger.tables["message_parts"]
    assert [row["content"] for row in parts] == ["a", "a", "b+"]
    assert {row["received_at"] for row in parts} == {START}
    assert [message.text for message in world.told] == ["ab "]


async def test_an_incomplete_message_is_told_when_its_time_is_over(world: World) -> None:
    world.inbound.arrived(sms("only", ID="244", Index=1, Total=2))
    await world.clock.advance(299)
    assert world.told == []
    await world.clock.advance(3)
    (message,) = world.told
    assert (message.complete, message.parts, message.total) == (False, 1, 2)
    assert message.text == "only[…]"


async def test_open_parts_are_completed_after_a_restart(world: World) -> None:
    world.inbound.arrived(sms("one+", ID="244", Index=1, Total=2))
    await turn()
    await world.inbound.close()
    world.inbound = world.fresh()
    await world.inbound.start()
    world.inbound.arrived(sms("two", ID="244", Index=2, Total=2))
    await turn()
    assert [message.text for message in world.told] == ["one two"]
    world.inbound.arrived(sms("one+", ID="244", Index=1, Total=2))
    await turn()
    assert len(world.told) == 1


async def test_open_parts_that_grew_old_while_nobody_listened_are_told(world: World) -> None:
    world.inbound.arrived(sms("one", ID="244", Index=1, Total=2))
    await turn()
    await world.inbound.close()
    world.clock.stall(86_400)
    world.inbound = world.fresh()
    await world.inbound.start()
    await world.clock.advance(1)
    assert [message.complete for message in world.told] == [False]


async def test_waiting_takes_the_next_message_that_fits(world: World) -> None:
    world.inbound.arrived(sms("earlier"))
    await turn()
    waiting = asyncio.create_task(
        world.inbound.wait(lambda m: "l" in m.text, since=None, timeout=5)
    )
    await turn()
    world.inbound.arrived(sms("wrong"))
    world.inbound.arrived(sms("right, also l"))
    assert (await waiting).text == "right, also l"


async def test_waiting_since_a_time_also_takes_an_earlier_one(world: World) -> None:
    world.inbound.arrived(sms("old"))
    await world.clock.advance(60)
    world.inbound.arrived(sms("new"))
    await turn()
    since = world.clock.now() - timedelta(seconds=30)
    assert (await world.inbound.wait(lambda m: True, since=since, timeout=5)).text == "new"


async def test_closing_commits_and_tells_what_has_arrived(world: World) -> None:
    world.inbound.arrived(sms("last"))
    await world.inbound.close()
    assert [message.text for message in world.told] == ["last"]


async def test_closing_ends_every_wait(world: World) -> None:
    waiting = asyncio.create_task(world.inbound.wait(lambda m: True, since=None, timeout=5))
    await turn()
    await world.inbound.close()
    with pytest.raises(GatewayClosed):
        await waiting
    with pytest.raises(GatewayClosed):
        await world.inbound.wait(lambda m: True, since=None, timeout=5)


async def test_closing_does_not_hang_on_a_dead_disk(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("neogate_lab.link.inbound.RETRY_SECONDS", 0.05)
    world.ledger.refusals = 10**9
    world.inbound.arrived(sms("stuck"))
    await world.inbound.close()
    assert "could not be stored in time" in caplog.text


async def test_an_interrupted_end_lets_go_of_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[bool] = []
    monkeypatch.setattr(world.inbound._lock, "release", lambda: released.append(True))
    world.ledger.hold = True
    world.inbound.arrived(sms("never stored"))
    closing = asyncio.create_task(world.inbound.close())
    await turn()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert released == [True]
    assert all(task.done() for task in world.inbound._tasks)
