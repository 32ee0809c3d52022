"""Sessions for USSD: at most four, lent to one at a time, closed when idle, none after the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from neogate_lab.errors import CommandRefused, GatewayClosed, LoginRefused
from neogate_lab.link.pool import SessionPool

from .support import eventually, turn


class FakeSession:
    def __init__(self) -> None:
        self.is_open = True
        self.is_idle = True
        self.closed = False

    async def close(self) -> None:
        self.is_open = False
        self.closed = True


class Opener:
    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Any:
        await self.gate.wait()
        self.sessions.append(FakeSession())
        return self.sessions[-1]


@pytest.fixture
async def opener() -> Opener:
    return Opener()


async def test_nothing_is_opened_before_it_is_needed(opener: Opener) -> None:
    pool = SessionPool(opener)
    await turn()
    assert opener.sessions == []
    async with pool.session():
        assert len(opener.sessions) == 1
    await pool.close()


async def test_a_session_is_used_again(opener: Opener) -> None:
    pool = SessionPool(opener)
    for _ in range(3):
        async with pool.session() as session:
            assert session is opener.sessions[0]
    await pool.close()
    assert opener.sessions[0].closed


async def test_at_most_four_and_the_fifth_waits(opener: Opener) -> None:
    pool = SessionPool(opener)
    release = asyncio.Event()
    most = 0
    inside = 0

    async def use() -> None:
        nonlocal most, inside
        async with pool.session():
            inside += 1
            most = max(most, inside)
            await release.wait()
            inside -= 1

    users = [asyncio.create_task(use()) for _ in range(9)]
    await turn()
    assert inside == 4
    release.set()
    await asyncio.gather(*users)
    assert (most, len(opener.sessions)) == (4, 4)
    await pool.close()


async def test_one_left_in_the_middle_of_a_command_is_not_lent_again(opener: Opener) -> None:
    pool = SessionPool(opener)
    async with pool.session() as session:
        session.is_idle = False  # type: ignore[misc]
    async with pool.session() as session:
        assert session is opener.sessions[1]
    await eventually(lambda: opener.sessions[0].closed)
    await pool.close()


async def test_one_whose_command_was_refused_is_lent_again(opener: Opener) -> None:
    pool = SessionPool(opener)
    with pytest.raises(CommandRefused):
        async with pool.session():
            raise CommandRefused("no")
    async with pool.session() as session:
        assert session is opener.sessions[0]
    await pool.close()


async def test_one_that_broke_is_not_lent_again(opener: Opener) -> None:
    pool = SessionPool(opener)
    async with pool.session():
        pass
    opener.sessions[0].is_open = False
    async with pool.session() as session:
        assert session is opener.sessions[1]
    await pool.close()


async def test_an_idle_one_is_closed_after_a_while(opener: Opener) -> None:
    pool = SessionPool(opener, idle_seconds=0.01)
    async with pool.session():
        pass
    await eventually(lambda: opener.sessions[0].closed)
    await pool.close()


async def test_a_refusal_reaches_the_caller_and_frees_the_slot() -> None:
    async def refuse() -> Any:
        raise LoginRefused("no")

    pool = SessionPool(refuse, limit=1)
    for _ in range(3):
        with pytest.raises(LoginRefused):
            async with pool.session():
                raise AssertionError("never lent")
    await pool.close()


async def test_a_session_opened_while_the_pool_closes_does_not_leak(opener: Opener) -> None:
    pool = SessionPool(opener)
    opener.gate.clear()

    async def use() -> None:
        async with pool.session():
            raise AssertionError("never lent")

    user = asyncio.create_task(use())
    await turn()
    await pool.close()
    opener.gate.set()
    with pytest.raises(GatewayClosed):
        await user
    await eventually(lambda: opener.sessions[0].closed)


async def test_who_waits_for_a_slot_when_the_pool_closes_opens_nothing(opener: Opener) -> None:
    pool = SessionPool(opener, limit=1)
    release = asyncio.Event()

    async def use() -> None:
        async with pool.session():
            await release.wait()

    first, second = asyncio.create_task(use()), asyncio.create_task(use())
    await turn()
    await pool.close()
    assert opener.sessions[0].closed
    release.set()
    await first
    with pytest.raises(GatewayClosed):
        await second
    assert len(opener.sessions) == 1
