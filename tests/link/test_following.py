"""Several processes on one store: one records what arrives, the others tell what is on record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from neogate_lab.history.store import Store
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.inbox import ReceivedSms
from neogate_lab.simulator import SimulatedGateway

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
        async with AsyncGateway(
            sim.host,
            port=sim.port,
            username=sim.username,
            password=sim.password,
            name="lab",
            ledger=store,
        ) as gw:
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
