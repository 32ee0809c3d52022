"""Ticks sit on a fixed grid: late ones have a latency, missed ones a row, a sleep one gap."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.link.sampler import Sampler, Target, check_label, failed, measured
from neogate_lab.protocol.records import parse_span_detail

from .support import START, FakeClock, turn


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.rows: list[tuple[str, Target]] = []
        self.gaps: list[tuple[str, float]] = []
        self.batches: list[int] = []
        self.done: list[int] = []
        self.takes = 0.0
        usual: dict[str, Any] = {
            "gateway": "lab",
            "every": 10.0,
            "duration": None,
            "ports": lambda: [(1, 2)],
            "labels": {None: "roof"},
            "name": "s",
        }
        self.sampler = Sampler(
            self._measure,
            self._skip,
            lambda event, seconds: self.gaps.append((event, seconds)),
            clock=self.clock,
            on_tick=self.done.append,
            **(usual | settings),
        )
        self.running = asyncio.get_running_loop().create_task(self.sampler.run())

    async def _measure(self, targets: Sequence[Target]) -> None:
        if self.takes:
            await self.clock.sleep(self.takes)
        self.rows += [("", target) for target in targets]

    async def _skip(self, targets: Sequence[Target]) -> None:
        self.batches.append(len(targets))
        self.rows += [("missed", target) for target in targets]

    def ticks(self, error: str = "") -> list[float]:
        """Seconds from the start of the ticks that were measured, or missed."""
        return [
            (target.time - START).total_seconds() for kind, target in self.rows if kind == error
        ]

    async def end(self) -> bool:
        self.sampler.stop()
        await turn()
        return await self.running


async def test_ticks_never_drift() -> None:
    world = World()
    world.takes = 3.7
    await world.clock.advance(9_999)
    assert world.ticks() == [10.0 * number for number in range(1000)]
    assert world.ticks("missed") == []
    assert await world.end() is False


@pytest.mark.parametrize("every", [1 / 3, 0.1, 7.0000003])
async def test_no_tick_comes_twice_or_is_left_out_whatever_the_interval(every: float) -> None:
    world = World(every=every, duration=2000 * every)
    await world.clock.advance(2001 * every)
    ticks = world.ticks()
    assert len(ticks) == 2000
    assert len(set(ticks)) == 2000
    assert await world.running is True


async def test_a_duration_is_so_many_ticks() -> None:
    world = World(duration=60.0)
    assert world.sampler.total == 6
    await world.clock.advance(1000)
    assert world.ticks() == [0, 10, 20, 30, 40, 50]
    assert await world.running is True
    assert world.done == [1, 2, 3, 4, 5, 6]


async def test_a_tick_measured_late_keeps_its_own_time() -> None:
    world = World()
    world.takes = 14.0
    await turn()
    world.takes = 0.0
    await world.clock.advance(44)
    assert world.ticks() == [0, 10, 20, 30, 40]
    await world.end()


async def test_a_tick_whose_interval_passed_is_a_missed_row() -> None:
    world = World()
    world.takes = 35.0
    await turn()
    world.takes = 0.0
    await world.clock.advance(45)
    assert world.ticks() == [0, 30, 40]
    assert world.ticks("missed") == [10, 20]
    assert world.done == [1, 3, 4, 5]
    await world.end()


async def test_a_huge_stall_is_recorded_in_few_goes() -> None:
    world = World(every=0.1)
    await turn()
    world.clock.stall(3600)
    await world.clock.advance(0.1)
    assert len(world.ticks("missed")) == 35_999
    assert len(world.batches) <= 36_000 / 256 + 2
    times = [target.time for _, target in world.rows]
    assert times == sorted(set(times))
    await world.end()


async def test_missed_ticks_at_the_very_end_are_recorded_and_no_more() -> None:
    world = World(duration=50.0)
    world.takes = 500.0
    await world.clock.advance(600)
    assert (world.ticks(), world.ticks("missed")) == ([0], [10, 20, 30, 40])
    assert await world.running is True


async def test_a_sleep_is_one_gap_and_no_missed_rows() -> None:
    world = World()
    await world.clock.advance(25)
    world.clock.jump(36_000)  # the monotonic clock stands still meanwhile
    await world.clock.advance(20)
    assert world.gaps == [("asleep", 36_000.0)]
    assert world.ticks("missed") == []
    assert all(tick % 10 == 0 for tick in world.ticks())
    assert world.ticks()[:3] == [0, 10, 20]
    assert world.ticks()[3] >= 36_020
    await world.end()


async def test_a_sleep_beyond_the_planned_end_ends_it() -> None:
    world = World(duration=60.0)
    await world.clock.advance(25)
    world.clock.jump(3600)
    await world.clock.advance(10)
    assert await world.running is True
    assert world.ticks() == [0, 10, 20]
    assert world.done[-1] == 6


async def test_a_clock_set_back_moves_the_grid_by_whole_ticks_at_once() -> None:
    world = World()
    await world.clock.advance(25)
    world.clock.jump(-3605)
    await world.clock.advance(30)
    (gap,) = world.gaps
    assert gap == ("clock_changed", -3605.0)
    later = world.ticks()[3:]
    assert len(later) in (2, 3)  # not an hour of silence
    assert all(tick % 10 == 0 for tick in later)
    assert later == sorted(later)
    assert later[0] < 0
    assert world.ticks("missed") == []
    await world.end()


async def test_a_small_correction_of_the_clock_is_no_gap() -> None:
    world = World()
    await world.clock.advance(25)
    world.clock.jump(1.5)
    await world.clock.advance(10)
    world.clock.jump(-1.5)
    await world.clock.advance(30)
    assert world.gaps == []
    assert world.ticks() == [0, 10, 20, 30, 40, 50, 60]
    await world.end()


async def test_a_sleep_shorter_than_a_tick_never_measures_one_twice() -> None:
    world = World(every=60.0)
    await world.clock.advance(65)
    world.clock.jump(20)
    await world.clock.advance(60)
    assert world.gaps == [("asleep", 20.0)]
    assert world.ticks() == [0, 60, 120]
    await world.end()


async def test_stopping_ends_the_sleep_at_once() -> None:
    world = World(every=3600.0)
    await world.clock.advance(10)
    assert await world.end() is False
    assert world.ticks() == [0]


async def test_stopping_lets_the_running_tick_finish_and_records_what_was_due() -> None:
    world = World()
    world.takes = 35.0
    await world.clock.advance(25)
    world.sampler.stop()
    world.sampler.stop()
    await turn()
    assert not world.running.done()
    await world.clock.advance(30)
    assert await world.running is False
    assert (world.ticks(), world.ticks("missed")) == ([0], [10, 20])


async def test_labels_change_from_the_next_tick_on_for_all_or_some_ports() -> None:
    world = World(ports=lambda: [(1, 2), (2, 3)])
    await world.clock.advance(5)
    world.sampler.mark("cellar", None)
    await world.clock.advance(10)
    world.sampler.mark("yard", [2])
    await world.clock.advance(10)
    world.sampler.mark("attic", None)
    await world.clock.advance(10)
    labels = [(target.port, target.label) for _, target in world.rows]
    assert labels == [
        (1, "roof"),
        (2, "roof"),
        (1, "cellar"),
        (2, "cellar"),
        (1, "cellar"),
        (2, "yard"),
        (1, "attic"),
        (2, "attic"),
    ]
    await world.end()


async def test_a_tick_recorded_late_bears_the_label_of_its_own_time() -> None:
    world = World()
    world.takes = 45.0
    await turn()
    world.takes = 0.0
    await world.clock.advance(25)
    world.sampler.mark("cellar", None)
    await world.clock.advance(20)
    labels = {target.time: target.label for _, target in world.rows}
    assert labels == {
        at(0): "roof",
        at(10): "roof",
        at(20): "roof",
        at(30): "cellar",
        at(40): "cellar",
    }
    await world.end()


async def test_a_label_survives_a_clock_that_is_set_back() -> None:
    world = World()
    await world.clock.advance(25)
    world.sampler.mark("cellar", None)
    await world.clock.advance(10)
    world.clock.jump(-7200)
    await world.clock.advance(30)
    assert {target.label for _, target in world.rows[3:]} == {"cellar"}
    await world.end()


async def test_ports_that_come_later_are_measured_from_then_on() -> None:
    ports = [(1, 2)]
    world = World(ports=lambda: list(ports))
    await world.clock.advance(5)
    ports.append((2, 3))
    await world.clock.advance(10)
    assert [target.port for _, target in world.rows] == [1, 1, 2]
    await world.end()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_measurement_takes_what_the_gateway_said_and_no_more() -> None:
    target = Target(START, "lab", 1, 2, "roof", "s")
    detail = parse_span_detail(b"Status: Power on, Up\nSignal Quality (0,31): -1\n", 2)
    row = measured(target, detail, 12.5)
    assert (row.ok, row.error, row.latency_ms) == (True, "", 12.5)
    assert (row.signal_raw, row.signal, row.rssi_dbm, row.registered) == (-1, None, None, None)
    lost = failed(target, "disconnected")
    assert (lost.ok, lost.error, lost.signal_raw, lost.latency_ms) == (
        False,
        "disconnected",
        None,
        None,
    )
    assert (lost.label, lost.survey) == ("roof", "s")
    assert "row_id" not in row.as_row()


@pytest.mark.parametrize("label", [None, 3, ["a"]])
def test_a_label_is_text(label: object) -> None:
    with pytest.raises(InvalidRequest):
        check_label(label)


# -- pauses ----------------------------------------------------------------------------------------


async def test_a_pause_skips_ticks_of_the_grid_and_none_is_missed() -> None:
    world = World()
    await world.clock.advance(13)
    assert world.sampler.pause() == at(13)
    assert world.sampler.pause() == at(13)
    assert world.sampler.paused
    await world.clock.advance(34)
    assert world.sampler.resume() == at(47)
    assert not world.sampler.paused
    await world.clock.advance(20)
    assert world.ticks() == [0, 10, 50, 60]
    assert world.ticks("missed") == []
    assert world.done == [1, 2, 3, 4]
    await world.end()


async def test_a_pause_moves_the_planned_end() -> None:
    world = World(duration=40.0)
    await world.clock.advance(15)
    world.sampler.pause()
    await world.clock.advance(1000)
    assert not world.running.done()
    world.sampler.resume()
    await world.clock.advance(100)
    assert world.ticks() == [0, 10, 1020, 1030]
    assert await world.running is True


async def test_what_was_due_before_a_pause_is_missed_and_what_fell_into_it_is_not() -> None:
    world = World()
    world.takes = 72.0
    await world.clock.advance(25)
    world.sampler.pause()
    await world.clock.advance(20)
    world.sampler.resume()
    world.takes = 0.0
    await world.clock.advance(45)
    assert world.ticks() == [0, 70, 80, 90]
    assert world.ticks("missed") == [10, 20, 50, 60]
    await world.end()


async def test_stopping_within_a_pause_ends_it_at_once() -> None:
    world = World()
    await world.clock.advance(5)
    world.sampler.pause()
    await world.clock.advance(100)
    assert await world.end() is False
    assert world.ticks() == [0]
    assert world.ticks("missed") == []


async def test_stopping_after_a_pause_that_nobody_saw() -> None:
    world = World()
    world.takes = 85.0
    await world.clock.advance(25)
    world.sampler.pause()
    await world.clock.advance(20)
    world.sampler.resume()
    await world.clock.advance(17)
    world.sampler.stop()
    await world.clock.advance(60)
    assert await world.running is False
    assert (world.ticks(), world.ticks("missed")) == ([0], [10, 20, 50, 60])


async def test_a_sleep_or_a_set_clock_within_a_pause_is_no_gap() -> None:
    world = World()
    await world.clock.advance(5)
    world.sampler.pause()
    await turn()
    world.clock.jump(3600)
    await world.clock.advance(5)
    world.sampler.resume()
    await world.clock.advance(12)
    assert world.ticks()[1:] == [3610, 3620]
    world.sampler.pause()
    await turn()
    world.clock.jump(-7200)
    await world.clock.advance(5)
    world.sampler.resume()
    await world.clock.advance(20)
    assert world.ticks()[3:] == [-3570, -3560]
    assert world.gaps == []
    await world.end()


async def test_a_label_given_within_a_pause_holds_afterwards() -> None:
    world = World()
    await world.clock.advance(5)
    world.sampler.pause()
    await world.clock.advance(20)
    world.sampler.mark("cellar", None)
    await world.clock.advance(10)
    world.sampler.resume()
    await world.clock.advance(20)
    assert [target.label for _, target in world.rows] == ["roof", "cellar", "cellar"]
    await world.end()


async def test_it_goes_on_with_an_earlier_grid_and_count() -> None:
    started = START - timedelta(seconds=1003)
    world = World(started_at=started, done=3, duration=60.0, labels={None: "roof", 1: "yard"})
    assert (world.sampler.done, world.sampler.total) == (3, 6)
    await world.clock.advance(100)
    assert world.ticks() == [7, 17, 27]
    assert world.done == [4, 5, 6]
    assert {target.label for _, target in world.rows} == {"yard"}
    assert await world.running is True


async def test_it_goes_on_at_once_when_its_start_lies_ahead() -> None:
    world = World(started_at=START + timedelta(seconds=3604), done=2)
    await world.clock.advance(12)
    assert world.ticks() == [4]
    assert world.sampler.done == 3
    await world.end()
