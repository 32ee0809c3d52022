"""A survey's row, marks and end, over a simulated gateway; its rows also when nobody answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from neogate_lab.errors import ConnectionLost, GatewayClosed, InvalidRequest, NoAnswer, StoreError
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.memory import MemoryLedger
from neogate_lab.link.survey import AsyncSurvey
from neogate_lab.simulator import SimulatedGateway
from tests.support import login

from .support import FakeClock, eventually, turn


@pytest.fixture
def sim() -> Iterator[SimulatedGateway]:
    with SimulatedGateway(restless=False) as sim:
        yield sim


class World:
    def __init__(self, sim: SimulatedGateway) -> None:
        self.sim = sim
        self.clock = FakeClock()
        self.ledger = MemoryLedger()
        self.gw = AsyncGateway(
            sim.host, **login(sim, ledger=self.ledger, clock=self.clock, command_timeout=0.2)
        )

    def rows(self, **equals: Any) -> list[dict[str, Any]]:
        return [
            row
            for row in self.ledger.tables.get("signal", [])
            if all(row[name] == value for name, value in equals.items())
        ]

    async def ticks(self, survey: AsyncSurvey, number: int) -> None:
        """Let the survey's fake time pass until so many ticks are done."""
        await eventually(lambda: survey.done >= 1)
        while survey.done < number:
            before = survey.done
            await self.clock.advance(survey._sampler.every)
            await eventually(lambda: survey.done > before)  # noqa: B023


@pytest.fixture
async def world(sim: SimulatedGateway) -> AsyncIterator[World]:
    world = World(sim)
    async with world.gw:
        yield world


async def test_every_tick_is_a_row_a_port(world: World) -> None:
    survey = await world.gw.survey(every=10, duration=30, label="roof", name="s")
    await world.ticks(survey, 3)
    await survey.wait()
    assert (survey.done, survey.total, survey.running) == (3, 3, False)
    rows = world.rows(survey="s", label="roof", ok=True)
    assert [(row["port"], row["span"]) for row in rows] == [(p, p + 1) for p in (1, 2, 3, 4)] * 3
    assert len({row["time"] for row in rows}) == 3


async def test_its_settings_and_its_end_are_on_record(world: World) -> None:
    survey = await world.gw.survey(every=10, duration=20, port=[2, 1], label="roof", name="s")
    await world.ticks(survey, 2)
    await survey.wait()
    (row,) = world.ledger.tables["surveys"]
    assert (row["name"], row["every_s"], row["duration_s"]) == ("s", 10, 20)
    assert json.loads(row["ports"]) == [2, 1]
    assert (row["reason"], row["label"]) == ("done", "roof")
    assert row["stopped_at"] == world.clock.now()


async def test_stopping_and_closing_are_told_apart(world: World) -> None:
    first = await world.gw.survey(every=10, name="first")
    second = await world.gw.survey(every=10, name="second")
    await eventually(lambda: first.done and second.done)
    await first.stop()
    await first.stop()
    await world.gw.close()
    reasons = {row["name"]: row["reason"] for row in world.ledger.tables["surveys"]}
    assert reasons == {"first": "stopped", "second": "closed"}
    assert not second.running


async def test_marks_are_rows_and_labels(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s", port=[1, 2])
    await world.ticks(survey, 1)
    await world.clock.advance(1)
    await survey.mark("cellar")
    await survey.mark("yard", port=2)
    await world.ticks(survey, 2)
    await survey.stop()
    marks = world.ledger.tables["marks"]
    assert [(row["port"], row["label"], row["survey"]) for row in marks] == [
        (None, "cellar", "s"),
        (2, "yard", "s"),
    ]
    assert [row["label"] for row in world.rows()] == ["", "", "cellar", "yard"]
    with pytest.raises(InvalidRequest, match="has ended"):
        await survey.mark("late")


async def test_bad_marks_change_nothing(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s")
    with pytest.raises(InvalidRequest):
        await survey.mark(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="no port 9"):
        await survey.mark("x", port=9)
    assert "marks" not in world.ledger.tables
    await survey.stop()


async def test_while_the_link_is_down_rows_say_so(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s")
    await eventually(lambda: survey.done == 1)
    world.sim.stop()
    await eventually(lambda: world.gw.status.startswith("down"))
    await world.ticks(survey, 3)
    world.sim.start()
    await world.gw.reconnect()
    await eventually(lambda: world.gw.status == "connected")
    await world.ticks(survey, 4)
    await survey.stop()
    assert [row["ok"] for row in world.rows(port=1)] == [True, False, False, True]
    assert [row["error"] for row in world.rows(port=1)] == ["", "disconnected", "disconnected", ""]
    assert all(row["signal"] is None and row["latency_ms"] is None for row in world.rows(ok=False))
    events = [row["event"] for row in world.ledger.tables["connections"]]
    assert events == ["connected", "lost", "restored"]


async def test_a_silent_gateway_gives_rows_without_an_answer(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s", port=1)
    await eventually(lambda: survey.done == 1)
    world.sim.swallow(1)
    await world.ticks(survey, 3)
    await survey.stop()
    assert [row["error"] for row in world.rows()] == ["", "no_answer", ""]


async def test_stopping_while_the_gateway_is_frozen_ends_with_the_tick(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neogate_lab.link.session.PROBE_TIMEOUT", 0.1)
    survey = await world.gw.survey(every=10, name="s")
    await eventually(lambda: survey.done == 1)
    world.sim.freeze()
    await world.clock.advance(10)
    async with asyncio.timeout(5):
        await survey.stop()
    assert len(world.rows(ok=False)) == 4
    assert {row["error"] for row in world.rows(ok=False)} <= {"no_answer", "disconnected"}
    world.sim.thaw()


async def test_closing_while_the_gateway_is_frozen_ends_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neogate_lab.link.async_gateway.CLOSE_GRACE", 0.05)
    monkeypatch.setattr("neogate_lab.link.session.LOGOFF_GRACE", 0.05)
    world.gw._connection.session._command_timeout = 60.0
    survey = await world.gw.survey(every=10, name="s")
    await eventually(lambda: survey.done == 1)
    world.sim.freeze()
    await world.clock.advance(10)
    async with asyncio.timeout(5):
        await world.gw.close()
    assert [row["error"] for row in world.rows(ok=False)] == ["disconnected"] * 4
    assert world.ledger.tables["surveys"][0]["reason"] == "closed"
    world.sim.thaw()


async def test_a_sleep_of_the_machine_is_one_row_of_connections(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s", port=1)
    await world.ticks(survey, 2)
    world.clock.jump(36_000)
    await world.clock.advance(10)
    await eventually(lambda: survey.done > 3000)
    await survey.stop()
    gaps = [row for row in world.ledger.tables["connections"] if row["event"] == "asleep"]
    assert [row["gap_s"] for row in gaps] == [36_000]
    assert len(world.rows()) <= 4


async def test_two_surveys_notice_one_sleep(world: World) -> None:
    surveys = [await world.gw.survey(every=10, name=name, port=1) for name in "ab"]
    await eventually(lambda: all(survey.done for survey in surveys))
    world.clock.jump(36_000)
    await world.clock.advance(10)
    await eventually(lambda: all(survey.done > 3000 for survey in surveys))
    await world.clock.advance(20)
    rows = world.ledger.tables["connections"]
    assert [row["gap_s"] for row in rows if row["event"] == "asleep"] == [36_000]


async def test_a_sleep_without_a_survey_is_told_too(world: World) -> None:
    world.clock.jump(36_000)
    await world.clock.advance(10)
    world.clock.jump(-3_600)
    await world.clock.advance(10)
    rows = world.ledger.tables["connections"]
    assert [(row["event"], row["gap_s"]) for row in rows[1:]] == [
        ("asleep", 36_000),
        ("clock_changed", -3_600),
    ]


async def test_one_name_at_a_time(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s")
    with pytest.raises(InvalidRequest, match="runs already"):
        await world.gw.survey(every=10, name="s")
    unnamed = [await world.gw.survey(every=10) for _ in range(3)]
    assert len({each.name for each in unnamed}) == 3
    await survey.stop()
    again = await world.gw.survey(every=10, name="s")
    for each in (again, *unnamed):
        await each.stop()


async def test_who_measures_the_same_ports_beside_it_is_told(world: World) -> None:
    other = {"time": world.clock.now(), "gateway": "lab", "every_s": 5.0, "stopped_at": None}
    await asyncio.wrap_future(
        world.ledger.append(
            "surveys",
            [
                {**other, "name": "notebook", "ports": "[1, 2]"},
                {**other, "name": "elsewhere", "ports": "[3]"},
                {**other, "name": "died", "ports": ""},
            ],
        )
    )
    locks = [world.ledger.survey_lock("lab", name) for name in ("notebook", "elsewhere")]
    assert all(lock.acquire() for lock in locks)
    first = await world.gw.survey(every=10, name="s", port=[2, 4])
    assert first.notice == (
        "this process measures lab as well, every 5 s: its rows stand beside these with "
        "survey='notebook'"
    )
    alone = await world.gw.survey(every=10, name="t", port=4)  # beside its own, no news
    assert alone.notice == ""
    everywhere = await world.gw.survey(every=10, name="u")
    assert everywhere.notice.count("as well") == 2
    assert all(lock.held for lock in locks)
    for survey in (first, alone, everywhere):
        await survey.stop()


async def test_a_pause_is_told_by_the_table_of_surveys(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s", port=1, duration=30)
    await world.ticks(survey, 1)
    await world.clock.advance(3)
    await survey.pause()
    await survey.pause()
    assert (survey.paused, survey.running) == (True, True)
    await world.clock.advance(100)
    await survey.resume()
    await survey.resume()
    assert not survey.paused
    await world.ticks(survey, 3)
    await survey.wait()
    first, second = world.ledger.tables["surveys"]
    assert (first["reason"], first["stopped_at"] - first["time"]) == (
        "paused",
        timedelta(seconds=3),
    )
    assert (second["reason"], second["time"] - first["time"]) == ("done", timedelta(seconds=103))
    assert all(row["error"] != "missed" for row in world.rows())
    times = [(row["time"] - first["time"]).total_seconds() for row in world.rows()]
    assert times == [0, 110, 120]


async def test_stopped_or_closed_within_a_pause(world: World) -> None:
    first = await world.gw.survey(every=10, name="first")
    second = await world.gw.survey(every=10, name="second")
    await eventually(lambda: first.done and second.done)
    await first.pause()
    await second.pause()
    await world.clock.advance(30)
    await first.stop()
    await world.gw.close()
    rows = {row["name"]: row for row in world.ledger.tables["surveys"]}
    assert {name: row["reason"] for name, row in rows.items()} == {
        "first": "stopped",
        "second": "paused",
    }
    assert rows["first"]["stopped_at"] == rows["first"]["time"]
    for verb in (first.pause, first.resume):
        with pytest.raises(InvalidRequest, match="has ended"):
            await verb()


async def test_a_name_goes_on_with_its_survey(world: World) -> None:
    settings: dict[str, Any] = {"every": 10, "duration": 50, "port": [1, 2], "label": "roof"}
    first = await world.gw.survey(name="s", **settings)
    assert first.notice == ""
    await world.ticks(first, 1)
    await first.mark("attic", port=1)
    await first.mark("cellar")
    await first.mark("yard", port=2)
    await world.ticks(first, 2)
    await world.clock.advance(3)
    await first.stop()
    await world.clock.advance(100)
    again = await world.gw.survey(name="s", **settings)
    assert "goes on after 2 of 5 ticks" in again.notice
    assert "since 2026-11-20 08:00:13 UTC (stopped)" in again.notice
    await world.ticks(again, 5)
    await again.wait()
    began = world.ledger.tables["surveys"][0]["time"]
    seconds = [(row["time"] - began).total_seconds() for row in world.rows(port=2)]
    assert seconds == [0, 10, 120, 130, 140]
    assert [row["label"] for row in world.rows(port=1)] == ["roof"] + ["cellar"] * 4
    assert [row["label"] for row in world.rows(port=2)] == ["roof"] + ["yard"] * 4
    assert [row["reason"] for row in world.ledger.tables["surveys"]] == ["stopped", "done"]


async def test_the_name_alone_takes_the_settings_of_its_survey(world: World) -> None:
    first = await world.gw.survey(every=20, duration=200, port=3, label="roof", name="s")
    await eventually(lambda: first.done == 1)
    await first.stop()
    again = await world.gw.survey(name="s")
    assert again.settings == first.settings
    assert again.total == 10
    await again.stop()


@pytest.mark.parametrize(
    "other", [{"every": 5}, {"duration": 60}, {"port": 1}, {"every": 5, "port": [2]}], ids=str
)
async def test_other_settings_are_refused(world: World, other: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"every": 20, "duration": 200, "port": [2, 3]}
    first = await world.gw.survey(name="s", **settings)
    await eventually(lambda: first.done == 1)
    await first.stop()
    with pytest.raises(InvalidRequest, match=r"every=20, duration=200, port=\[2, 3\], not"):
        await world.gw.survey(name="s", **(settings | other))
    again = await world.gw.survey(name="s", **(settings | {"port": [3, 2]}))
    await again.stop()


async def test_another_label_is_a_mark_and_the_same_or_none_is_not(world: World) -> None:
    async def run(label: str) -> None:
        survey = await world.gw.survey(every=10, duration=1000, name="s", label=label, port=1)
        done = survey.done
        await world.clock.advance(10)
        await eventually(lambda: survey.done > done)
        await survey.stop()

    await run("roof")
    await run("cellar")
    await run("cellar")
    await run("")
    assert [row["label"] for row in world.ledger.tables["marks"]] == ["cellar"]
    labels = [row["label"] for row in world.rows()]
    assert labels[0] == "roof"
    assert set(labels[labels.index("cellar") :]) == {"cellar"}


async def test_a_survey_that_came_to_its_end_measures_no_more(world: World) -> None:
    first = await world.gw.survey(every=10, duration=20, name="s")
    await world.ticks(first, 2)
    await first.wait()
    again = await world.gw.survey(every=10, duration=20, name="s")
    await again.wait()
    assert "has come to its end with 2 of 2 ticks" in again.notice
    assert (again.running, again.done) == (False, 2)
    assert len(world.ledger.tables["surveys"]) == 1
    assert len(world.rows()) == 8


async def test_stretches_that_an_earlier_version_left_open_count_for_nothing(world: World) -> None:
    began = world.clock.now() - timedelta(seconds=1000)
    row = {"gateway": "lab", "name": "s", "every_s": 10.0, "ports": "", "label": ""}
    row |= {"duration_s": None}
    rows = [
        {**row, "time": began, "stopped_at": None},
        {**row, "time": began + timedelta(seconds=500), "stopped_at": None},
    ]
    await asyncio.wrap_future(world.ledger.append("surveys", rows))
    survey = await world.gw.survey(name="s")
    assert survey.done == 0
    await survey.stop()


async def test_a_survey_whose_process_died_goes_on_after_a_gap(world: World) -> None:
    began = world.clock.now() - timedelta(seconds=10_003)
    row = {"time": began, "gateway": "lab", "name": "s", "every_s": 10.0, "duration_s": 100.0}
    await asyncio.wrap_future(
        world.ledger.append("surveys", [{**row, "ports": "[1]", "label": "roof"}])
    )
    ticks = [
        {"time": began + timedelta(seconds=10 * tick), "gateway": "lab", "port": 1, "survey": "s"}
        for tick in range(4)
    ]
    await asyncio.wrap_future(world.ledger.append("signal", ticks))
    survey = await world.gw.survey(name="s")
    assert (survey.done, survey.total) == (4, 10)
    assert "nothing was measured since 2026-11-20 05:13:57 UTC (died)" in survey.notice
    await world.clock.advance(7)
    await eventually(lambda: survey.done == 5)
    await survey.stop()
    died, last = world.ledger.tables["surveys"]
    assert (died["reason"], died["stopped_at"] - died["time"]) == ("died", timedelta(seconds=40))
    assert last["time"] - began == timedelta(seconds=10_003)
    assert len(world.rows()) == 5
    gaps = [row for row in world.ledger.tables["connections"] if row["event"] == "not_running"]
    assert [(gap["gap_s"], gap["reason"]) for gap in gaps] == [(9963, "survey 's': died")]


@pytest.mark.parametrize(
    "bad",
    [
        {"every": 0.01},
        {"every": "10s"},
        {"every": float("nan")},
        {"every": 10, "duration": -1},
        {"every": 10, "label": None},
        {"every": 10, "name": ""},
        {"every": 10, "port": 9},
        {"every": 10, "port": []},
    ],
    ids=str,
)
async def test_what_cannot_be_surveyed_is_refused(world: World, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await world.gw.survey(**bad)
    assert "surveys" not in world.ledger.tables


async def test_waiting_for_too_long_is_no_answer_and_stops_nothing(world: World) -> None:
    survey = await world.gw.survey(every=10, name="s")
    with pytest.raises(NoAnswer, match="still runs"):
        await survey.wait(0.01)
    assert survey.running
    await survey.stop()


async def test_rows_that_cannot_be_stored_end_it_and_say_so(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = await world.gw.survey(every=10, name="s")
    await eventually(lambda: survey.done == 1)

    def broken(table: str, rows: Any) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "append", broken)
        await world.clock.advance(10)
        await eventually(lambda: not survey.running)
    with pytest.raises(StoreError):
        await survey.wait()
    assert world.ledger.tables["surveys"][0]["reason"] == "failed"
    assert "the disk is full" in caplog.text


async def test_a_survey_needs_to_know_the_ports(world: World) -> None:
    world.gw._ports._spans = ()
    world.sim.stop()
    await eventually(lambda: world.gw.status.startswith("down"))
    with pytest.raises(ConnectionLost):
        await world.gw.survey(every=10)


async def test_a_gateway_that_never_told_its_ports_has_a_row_without_one(world: World) -> None:
    world.gw._ports._spans, world.gw._ports._listed = (), False
    (row,) = await world.gw.sample("up")
    assert (row.ok, row.error, row.port, row.label) == (False, "no_answer", None, "up")
    world.sim.stop()
    await eventually(lambda: world.gw.status.startswith("down"))
    (row,) = await world.gw.sample("down")
    assert (row.ok, row.error, row.port, row.label) == (False, "disconnected", None, "down")


async def test_a_gateway_closed_while_one_begins_is_not_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = world.ledger.open_surveys

    def close_meanwhile(gateway: str) -> Any:
        closing.append(asyncio.ensure_future(world.gw.close()))
        return look(gateway)

    closing: list[asyncio.Future[None]] = []
    monkeypatch.setattr(world.ledger, "open_surveys", close_meanwhile)
    with pytest.raises(GatewayClosed, match="was closed; connect again"):
        await world.gw.survey(name="late")
    await asyncio.gather(*closing)
    assert world.ledger.survey_lock("lab", "late").acquire()
    assert world.ledger.tables.get("surveys", []) == []


async def test_the_end_is_told_on_the_loop(world: World) -> None:
    ended: list[bool] = []
    survey = await world.gw.survey(every=10, duration=10)
    survey.when_ended(lambda: ended.append(True))
    await survey.wait()
    await turn()
    survey.when_ended(lambda: ended.append(False))
    await turn()
    assert ended == [True, False]


async def test_a_gateway_closed_while_the_first_row_is_written_ends_that_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, closing = world.ledger.append, []

    def close_meanwhile(table: str, rows: Any) -> Any:
        if table == "surveys":
            closing.append(asyncio.ensure_future(world.gw.close()))
        return append(table, rows)

    monkeypatch.setattr(world.ledger, "append", close_meanwhile)
    with pytest.raises(GatewayClosed, match="was closed; connect again"):
        await world.gw.survey(name="late")
    await asyncio.gather(*closing)
    (row,) = world.ledger.tables["surveys"]
    assert row["reason"] == "closed"
    assert row["stopped_at"] is not None
    assert world.ledger.survey_lock("lab", "late").acquire()
    await world.clock.advance(60)
    assert world.rows() == []


async def test_an_interrupt_while_the_first_row_is_written_ends_that_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = world.ledger.append
    began = asyncio.Event()
    written: Future[list[int]] = Future()

    def slow(table: str, rows: Any) -> Any:
        if table != "surveys":
            return append(table, rows)
        began.set()
        append(table, rows).add_done_callback(lambda done: row_ids.extend(done.result()))
        return written

    row_ids: list[int] = []
    monkeypatch.setattr(world.ledger, "append", slow)
    starting = asyncio.ensure_future(world.gw.survey(name="s"))
    await began.wait()
    starting.cancel()
    await turn()
    written.set_result(row_ids)
    with pytest.raises(asyncio.CancelledError):
        await starting
    await eventually(lambda: world.ledger.tables["surveys"][0].get("reason") == "stopped")
    await turn()
    assert world.ledger.survey_lock("lab", "s").acquire()


async def test_a_first_row_that_fails_after_an_interrupt_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: Future[list[int]] = Future()
    monkeypatch.setattr(world.ledger, "append", lambda table, rows: written)
    starting = asyncio.ensure_future(world.gw.survey(name="s"))
    await turn()
    starting.cancel()
    await turn()
    written.set_exception(StoreError("the disk is full"))
    with pytest.raises(asyncio.CancelledError):
        await starting
    await eventually(lambda: "the survey 's' ended: the disk is full" in caplog.messages)
    assert world.ledger.survey_lock("lab", "s").acquire()
