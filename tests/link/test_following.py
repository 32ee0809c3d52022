"""Several processes on one store: one records what arrives, the others tell what is on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from neogate_lab.errors import StoreError
from neogate_lab.history.locks import RecordLock
from neogate_lab.history.store import Store
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.simulator import SimulatedGateway
from tests.support import login

from .support import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neogate_lab.link.inbound.FOLLOW_SECONDS", 0.02)


@asynccontextmanager
async def listener(
    sim: SimulatedGateway, path: Path
) -> AsyncIterator[tuple[AsyncGateway, list[str]]]:
    """A gateway with a store object of its own, as another process would have."""
    with Store(path) as store:
        async with AsyncGateway(sim.host, **login(sim, ledger=store)) as gw:
            heard: list[str] = []

            def hear(message: ReceivedSms) -> None:
                heard.append(message.text)

            gw.listen(hear)
            yield gw, heard


async def test_what_arrives_is_recorded_once_and_told_by_all(tmp_path: Path) -> None:
    with SimulatedGateway(restless=False) as sim, Store(tmp_path / "lab") as store:
        async with (
            listener(sim, tmp_path / "lab") as (_, first),
            listener(sim, tmp_path / "lab") as (_, second),
        ):
            for number in range(5):
                sim.receive_sms(1, "900", f"message {number} " * 20)
            await eventually(lambda: len(first) == len(second) == 5)
        assert first == second
        assert len(store.inbox()) == 5
        assert len(store.message_parts()) == 10


async def test_the_next_takes_over_with_the_open_parts_and_what_it_overheard(
    tmp_path: Path,
) -> None:
    with SimulatedGateway(restless=False) as sim, Store(tmp_path / "lab") as store:
        async with listener(sim, tmp_path / "lab") as (_, second_to_be):
            pass
        first = listener(sim, tmp_path / "lab")
        holder, _ = await first.__aenter__()
        async with listener(sim, tmp_path / "lab") as (follower, heard):
            sim.receive_part(1, "900", "begun ", reference="7", index=1, total=2)
            await eventually(lambda: len(store.message_parts()) == 1)
            # The holder dies before it records what both hear.
            holder._inbound._recording = False
            sim.receive_sms(2, "901", "overheard")
            await eventually(lambda: len(follower._inbound._overheard) == 2)
            assert store.inbox().empty
            holder._inbound._overheard.clear()
            await first.__aexit__(None, None, None)
            await eventually(lambda: heard == ["overheard"])
            sim.receive_part(1, "900", "ended", reference="7", index=2, total=2)
            await eventually(lambda: len(heard) == 2)
        assert second_to_be == []
        assert sorted(store.inbox().text) == ["begun ended", "overheard"]
        assert len(store.message_parts()) == 3


@asynccontextmanager
async def taken_over_by_a_stranger(
    gw: AsyncGateway, first: AbstractAsyncContextManager[object], store: Store
) -> AsyncIterator[RecordLock]:
    """The holder ends, and a gateway at another address is faster than the follower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gw._inbound._lock, "acquire", lambda: False)
        await first.__aexit__(None, None, None)
        stranger = store.record_lock("lab", "10.0.0.9")
        assert stranger.acquire()
        await eventually(lambda: gw.trouble is not None)
    yield stranger
    stranger.release()


async def test_a_follower_whose_name_another_gateway_took_says_so_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SimulatedGateway(restless=False) as sim, Store(tmp_path / "lab") as store:
        first = listener(sim, tmp_path / "lab")
        await first.__aenter__()
        async with listener(sim, tmp_path / "lab") as (gw, heard):
            sim.receive_sms(1, "900", "before")
            await eventually(lambda: heard == ["before"])
            async with taken_over_by_a_stranger(gw, first, store):
                assert "'lab' is in use in this store for the gateway at 10.0.0.9" in str(
                    gw.trouble
                )
                assert gw.status.startswith("connected, but the name 'lab' is in use")
                assert "kept in memory alone" in caplog.text
                row = {"gateway": "lab", "received_at": datetime.now(UTC), "text": "a stranger's"}
                await asyncio.wrap_future(store.receive("lab", None, "", row))
                sim.receive_sms(1, "900", "meanwhile")
                await eventually(lambda: len(gw._inbound._overheard) == 2)
            await eventually(lambda: heard == ["before", "meanwhile"])
            assert (gw.trouble, gw.status) == (None, "connected")
        assert sorted(store.inbox().text) == ["a stranger's", "before", "meanwhile"]


async def test_what_a_taken_name_kept_from_being_recorded_is_told_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SimulatedGateway(restless=False) as sim, Store(tmp_path / "lab") as store:
        first = listener(sim, tmp_path / "lab")
        await first.__aenter__()
        second = listener(sim, tmp_path / "lab")
        gw, _ = await second.__aenter__()
        async with taken_over_by_a_stranger(gw, first, store):
            sim.receive_sms(1, "900", "lost")
            await eventually(lambda: len(gw._inbound._overheard) == 1)
            await second.__aexit__(None, None, None)
        assert "parts that arrived are perhaps not recorded: 1" in caplog.text


async def test_a_follower_that_can_not_take_over_yet_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neogate_lab.link.inbound.OVERHEARD_SECONDS", 0.05)
    with SimulatedGateway(restless=False) as sim, Store(tmp_path / "lab") as store:
        first = listener(sim, tmp_path / "lab")
        holder, _ = await first.__aenter__()
        async with listener(sim, tmp_path / "lab") as (gw, heard):
            asked: list[int] = []

            def full(*_: object) -> Future[object]:
                asked.append(1)
                raise StoreError("the disk is full")

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(gw._ledger, "recent_parts", full)
                holder._inbound._recording = False
                await first.__aexit__(None, None, None)
                await eventually(lambda: asked)
                sim.receive_sms(1, "900", "kept")
                await eventually(lambda: len(gw._inbound._overheard) == 1)
                asked.clear()
                await eventually(lambda: len(asked) > 5)
            await eventually(lambda: heard == ["kept"])
        assert list(store.inbox().text) == ["kept"]
