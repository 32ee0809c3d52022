"""The link is kept: first connect, backoff, slow retries of refused logins, a row a change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from neogate_lab.errors import ConnectionLost, GatewayClosed, LoginRefused, Unreachable
from neogate_lab.link.connection import Connection

from .support import FakeClock, turn


class FakeSession:
    def __init__(self, on_lost: Callable[[str], None]) -> None:
        self.is_open = True
        self._on_lost = on_lost
        self.closed = False

    def lose(self, reason: str = "pulled") -> None:
        self.is_open = False
        self._on_lost(reason)

    async def close(self) -> None:
        self.is_open = False
        self.closed = True


class Opener:
    """Opens what the script says: errors first, then sessions."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.errors: list[Exception] = []
        self.sessions: list[FakeSession] = []
        self.tries: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, on_lost: Callable[[str], None]) -> Any:
        self.tries.append(self.clock.monotonic())
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.sessions.append(FakeSession(on_lost))
        return self.sessions[-1]

    def waits(self) -> list[float]:
        """Seconds between the attempts."""
        return [b - a for a, b in zip(self.tries, self.tries[1:], strict=False)]


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: 1.0)
        self.clock = FakeClock()
        self.opener = Opener(self.clock)
        self.rows: list[tuple[str, str, float | None]] = []
        self.connection = Connection(
            "lab",
            self.opener,
            lambda event, reason, gap: self.rows.append((event, reason, gap)),
            self.clock,
        )


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_first_refusal_stops_and_raises(world: World) -> None:
    world.opener.errors = [LoginRefused("no")]
    with pytest.raises(LoginRefused):
        await world.connection.start()
    await world.clock.advance(3600)
    assert len(world.opener.tries) == 1
    await world.connection.close()
    assert world.rows == []


async def test_patience_with_a_gateway_that_is_not_there_yet(world: World) -> None:
    world.opener.errors = [Unreachable("no connection to lab: off")] * 3
    await world.connection.start(patient=True)
    assert isinstance(world.connection.trouble, Unreachable)
    with pytest.raises(ConnectionLost, match=r"^no connection to lab: off; "):
        _ = world.connection.session
    await world.clock.advance(10)
    assert world.connection.is_up
    assert world.connection.trouble is None
    assert world.opener.waits() == [0.25, 0.5, 1]
    assert world.rows == [
        ("unreachable", "no connection to the gateway: off", None),
        ("connected", "", 1.75),
    ]
    world.opener.sessions[0].lose()
    assert isinstance(world.connection.trouble, ConnectionLost)
    await world.connection.close()


async def test_patience_ends_where_trying_could_lock_the_user_out(world: World) -> None:
    world.opener.errors = [LoginRefused("no"), LoginRefused("no")]
    await world.connection.start(patient=True)
    await world.clock.advance(3600)
    assert len(world.opener.tries) == 1
    assert "not tried again before reconnect()" in world.connection.status
    for tries in (2, 3):
        world.connection.retry_now()
        await turn()
        assert len(world.opener.tries) == tries
        await world.clock.advance(3600)
        assert len(world.opener.tries) == tries
    assert world.connection.is_up
    assert [event for event, _, _ in world.rows] == ["refused", "refused", "connected"]
    await world.connection.close()


async def test_patience_with_a_login_in_use_is_slow(world: World) -> None:
    world.opener.errors = [LoginRefused("Login Already In Use")] * 3
    await world.connection.start(patient=True)
    await world.clock.advance(300)
    assert world.opener.waits() == [30, 60, 120]
    assert [event for event, _, _ in world.rows] == ["refused", "connected"]
    await world.connection.close()


async def test_the_time_since_somebody_listened_is_the_gap_of_a_first_connect(world: World) -> None:
    await world.connection.start(world.clock.now() - timedelta(hours=2))
    await world.connection.close()
    event, reason, gap = world.rows[0]
    assert (event, gap) == ("connected", 7200.0)
    assert reason == "nobody is known to have listened since 2026-11-20 06:00:00 UTC"


async def test_a_lost_link_is_restored_and_told_with_its_gap(world: World) -> None:
    await world.connection.start()
    assert world.connection.status == "connected"
    assert world.connection.down_since is None
    world.opener.sessions[0].lose()
    assert world.connection.down_since == world.clock.monotonic()
    await world.clock.advance(0.25)
    assert world.connection.session is world.opener.sessions[1]
    assert world.rows == [
        ("connected", "", None),
        ("lost", "pulled", None),
        ("restored", "", 0.25),
    ]
    await world.connection.close()
    assert world.rows[-1] == ("closed", "", None)


async def test_attempts_back_off_to_half_a_minute(world: World) -> None:
    await world.connection.start()
    world.opener.errors = [Unreachable("down")] * 12
    world.opener.sessions[0].lose()
    await world.clock.advance(240)
    assert world.opener.waits()[1:9] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    await world.connection.close()


async def test_a_refused_login_that_once_worked_is_tried_again_slowly(world: World) -> None:
    await world.connection.start()
    world.opener.errors = [LoginRefused("Login Already In Use")] * 8
    world.opener.sessions[0].lose()
    await world.clock.advance(4000)
    assert world.opener.waits()[1:8] == [30, 60, 120, 240, 480, 600, 600]
    assert [event for event, _, _ in world.rows].count("refused") == 1
    assert world.connection.is_up
    await world.connection.close()


async def test_while_it_is_down_a_verb_hears_why_and_when(world: World) -> None:
    await world.connection.start()
    world.opener.errors = [Unreachable("no route")] * 9
    world.opener.sessions[0].lose("the cable")
    with pytest.raises(ConnectionLost, match="the cable"):
        _ = world.connection.session
    await world.clock.advance(10)
    with pytest.raises(ConnectionLost, match=r"no route; the next attempt is in \d+ s"):
        _ = world.connection.session
    assert re.fullmatch(r"down: no route; the next attempt is in \d+ s", world.connection.status)
    await world.connection.close()


async def test_during_an_attempt_it_says_so(world: World) -> None:
    await world.connection.start()
    world.opener.gate.clear()
    world.opener.sessions[0].lose()
    await world.clock.advance(1)
    with pytest.raises(ConnectionLost, match="being restored"):
        _ = world.connection.session
    await world.connection.close()


async def test_reconnecting_now_skips_the_wait(world: World) -> None:
    await world.connection.start()
    world.opener.errors = [LoginRefused("no")]
    world.opener.sessions[0].lose()
    await world.clock.advance(1)
    assert not world.connection.is_up
    world.connection.retry_now()
    await turn()
    assert world.connection.is_up
    await world.connection.close()


async def test_waiting_for_the_link(world: World) -> None:
    await world.connection.start()
    world.opener.sessions[0].lose()
    waiting = asyncio.create_task(world.connection.wait_until_up())
    await turn()
    assert not waiting.done()
    await world.clock.advance(1)
    await waiting
    await world.connection.close()


async def test_an_unheard_of_error_does_not_end_the_attempts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.connection.start()
    world.opener.errors = [RuntimeError("a bug")]
    world.opener.sessions[0].lose()
    await world.clock.advance(2)
    assert world.connection.is_up
    assert "reconnecting failed" in caplog.text
    await world.connection.close()


async def test_closing_while_it_waits_for_its_next_attempt(world: World) -> None:
    await world.connection.start()
    world.opener.sessions[0].lose()
    await turn()
    await world.connection.close()
    await world.clock.advance(60)
    assert len(world.opener.tries) == 1
    with pytest.raises(GatewayClosed):
        _ = world.connection.session
    assert world.connection.status == "closed"


@pytest.mark.parametrize("turns", range(6))
async def test_closing_in_the_middle_of_an_attempt_leaks_no_session(
    world: World, turns: int
) -> None:
    await world.connection.start()
    world.opener.gate.clear()
    world.opener.sessions[0].lose()
    await world.clock.advance(1)
    world.opener.gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await world.connection.close()
    await turn()
    assert all(session.closed or not session.is_open for session in world.opener.sessions)
    assert world.connection.status == "closed"


async def test_closing_twice_is_fine(world: World) -> None:
    await world.connection.start()
    await world.connection.close()
    await world.connection.close()
    assert world.opener.sessions[0].closed
    assert [event for event, _, _ in world.rows] == ["connected", "closed"]
