"""Records the survey in data/survey/ from the simulator in virtual time, and what is true of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from neogate_lab.history.store import Store
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.survey import AsyncSurvey
from neogate_lab.simulator import SimulatedGateway

__all__ = ["record"]

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
EVERY = 10
HOUR = 3600
REFRESH = 20.0
LABELS = ("window sill", "roof antenna")
GAIN_DB = {1: 10.0, 2: 0.0, 3: 14.0}
"""What the roof gives each port."""
PAUSE = (3 * HOUR, 3 * HOUR + 20 * 60)
"""Seconds from the start in which the antenna was carried up."""
END = 6 * HOUR + 20 * 60
OUTAGES = (
    (1, 4000, 4600, "power_off"),
    (2, 8000, 8900, "not_registered"),
    (2, 15_000, 15_300, "no_sim"),
)
"""Port, from, until, kind; port 4 never has a SIM."""


class _Clock:
    """Time goes on when the script says so."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.passed + seconds, woken))
        await woken

    def go_to(self, passed: float) -> None:
        self.passed = passed
        due = [woken for end, woken in self._sleepers if end <= passed]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[1] not in due]
        for woken in due:
            if not woken.done():
                woken.set_result(None)


def record(folder: Path) -> None:
    """Write the tables as Parquet, and truth.json, into `folder`."""
    with tempfile.TemporaryDirectory() as name, Store(Path(name) / "lab") as store:
        truth = asyncio.run(_run(store))
        for table in ("signal", "surveys", "marks"):
            store.export(folder / f"{table}.parquet", table, progress=False)
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


async def _run(store: Store) -> dict[str, Any]:
    clock = _Clock()
    with SimulatedGateway(
        4, seed=8, refresh=REFRESH, restless=False, clock=lambda: clock.passed
    ) as sim:
        link = AsyncGateway(
            sim.host,
            port=sim.port,
            username=sim.username,
            password=sim.password,
            name="lab",
            ledger=store,
            clock=clock,
        )
        async with link:
            survey = await link.survey(
                every=EVERY, duration=END - PAUSE[1] + PAUSE[0], label=LABELS[0], name="roof test"
            )
            await _play(survey, clock, _events(sim, survey))
        means = {
            f"{port}": {
                label: _mean(sim, port, span)
                for label, span in zip(LABELS, ((0, PAUSE[0]), (PAUSE[1], END)), strict=True)
            }
            for port in GAIN_DB
        }
    return {
        "start": START.isoformat(),
        "every_s": EVERY,
        "refresh_s": REFRESH,
        "labels": LABELS,
        "gain_db": GAIN_DB,
        "paused": [_at(second) for second in PAUSE],
        "end": _at(END),
        "mean_rssi_dbm": means,
        "outages": [
            {"port": port, "start": _at(start), "end": _at(end), "kind": kind}
            for port, start, end, kind in OUTAGES
        ],
        "never_a_sim": [4],
    }


def _events(sim: SimulatedGateway, survey: AsyncSurvey) -> dict[int, list[Callable[[], Any]]]:
    """What happens when: each a moment before the tick at which it is seen first."""
    changes: dict[str, tuple[Callable[[int], None], Callable[[int], None]]] = {
        "power_off": (
            lambda port: sim.set_status(port, power=False),
            lambda port: sim.set_status(port, power=True),
        ),
        "not_registered": (
            lambda port: sim.set_status(port, registered=False),
            lambda port: sim.set_status(port, registered="auto"),
        ),
        "no_sim": (sim.remove_sim, sim.insert_sim),
    }

    def move() -> None:
        for port, gain in GAIN_DB.items():
            sim.set_gain(port, gain)

    events: dict[int, list[Callable[[], Any]]] = {
        PAUSE[0]: [survey.pause],
        PAUSE[0] + EVERY: [move],
        PAUSE[1]: [lambda: survey.mark(LABELS[1]), survey.resume],
    }
    for port, start, end, kind in OUTAGES:
        begin, over = changes[kind]
        events.setdefault(start, []).append(lambda begin=begin, port=port: begin(port))
        events.setdefault(end, []).append(lambda over=over, port=port: over(port))
    return events


async def _play(
    survey: AsyncSurvey, clock: _Clock, events: dict[int, list[Callable[[], Any]]]
) -> None:
    """Go from tick to tick; each has ended before the next."""
    await _until(lambda: survey.done == 1)
    for second in itertools.count(EVERY, EVERY):
        if not survey.running:
            return
        for _ in range(20):  # whoever is about to sleep does so before time goes on
            await asyncio.sleep(0)
        clock.passed = second - 1.0
        for event in events.get(second, ()):
            if asyncio.iscoroutine(waiting := event()):
                await waiting
        before = survey.done
        clock.go_to(second)
        if not survey.paused:
            await _until(lambda: survey.done > before or not survey.running)  # noqa: B023


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0)


def _mean(sim: SimulatedGateway, port: int, span: tuple[int, int]) -> float:
    """Of the true level, before rounding and caching, where there was service."""
    levels = [sim.truth(port, float(second)).rssi_dbm for second in range(*span, EVERY)]
    present = [level for level in levels if level is not None]
    return round(sum(present) / len(present), 2)


def _at(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat()


if __name__ == "__main__":
    record(Path(__file__).parents[1] / "data" / "survey")
