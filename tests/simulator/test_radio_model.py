"""The air is the same for the same seed, and behaves as ports in the field do."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from statistics import mean

import pytest

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import SimulatedGateway
from neogate_lab.simulator.radio import CALM, Radio

DAY = 86_400


def _shown(radio: Radio, port: int, until: int, every: int = 10) -> list[int]:
    values = []
    for now in range(0, until, every):
        radio.step(now)
        values.append(radio.truth(port).shown)
    return values


def test_same_seed_same_air_however_it_is_asked() -> None:
    often, seldom, other = Radio(4, 7), Radio(4, 7), Radio(4, 8)
    series = _shown(often, 1, 7200)
    seldom.step(7000.0)
    assert seldom.truth(1, 7000.0) == often.truth(1, 7000.0)
    assert seldom.truth(1, 1230.0).shown == series[123]
    assert _shown(other, 1, 7200) != series


def test_the_signal_is_cached_for_the_refresh_period() -> None:
    radio = Radio(1, 7, refresh=60.0, restless=False)
    changes = [t for t in range(1, 7200) if radio.truth(1, t).shown != radio.truth(1, t - 1).shown]
    assert len(changes) > 20
    assert len({t % 60 for t in changes}) == 1


def test_without_a_cache_every_measurement_shows() -> None:
    radio = Radio(1, 7, refresh=0.0, restless=False)
    assert all(radio.truth(1, t).shown == radio.truth(1, t).csq for t in range(0, 600, 7))


def test_the_signal_wanders_slowly_and_jumps_now_and_then() -> None:
    radio = Radio(1, 7, refresh=0.0, restless=False)
    levels = [radio.truth(1, float(t)).rssi_dbm or 0.0 for t in range(DAY)]
    steps = [abs(b - a) for a, b in pairwise(levels)]
    jumps = [step for step in steps if step > 2.5]
    assert 20 < len(jumps) < 120
    assert mean(steps) < 0.3
    assert len({round(level) for level in levels}) > 5


def test_the_day_has_a_profile() -> None:
    days = {hour: list[float]() for hour in (7, 19)}
    for seed in range(30):
        radio = Radio(1, seed, refresh=0.0, restless=False, day_start=0.0)
        for hour, levels in days.items():
            for day in range(3):
                level = radio.truth(1, day * DAY + hour * 3600.0).rssi_dbm
                assert level is not None
                levels.append(level)
    assert mean(days[7]) > mean(days[19]) + 1.0


def test_ports_drop_out_and_come_back_but_not_at_first() -> None:
    for seed in range(40):
        early = [Radio(3, seed).truth(3, t) for t in range(0, int(CALM), 20)]
        assert all(truth.registered and not truth.calling for truth in early)
    radio = Radio(3, 7)
    registered = [radio.truth(3, t).registered for t in range(0, DAY, 10)]
    assert 0.8 < mean(registered) < 1.0
    out = registered.index(False)
    assert True in registered[out:]


def test_an_outage_may_have_signal_and_its_end_may_show_late() -> None:
    radio = Radio(3, 7)
    truths = [radio.truth(3, t) for t in range(0, 3 * DAY, 5)]
    lost = [truth for truth in truths if not truth.registered]
    assert {truth.csq == 99 for truth in lost} == {True, False}
    assert any(truth.shown >= 0 for truth in lost)


def test_a_weak_port_is_registered_without_a_value() -> None:
    shown = [
        truth.shown for t in range(0, 7200, 10) if (truth := Radio(4, 7).truth(3, t)).registered
    ]
    assert 0.05 < mean(value == -1 for value in shown) < 0.95


def test_calls_come_in() -> None:
    radio = Radio(1, 7)
    assert 0.005 < mean(radio.truth(1, t).calling for t in range(0, DAY, 10)) < 0.1


def test_a_restful_gateway_never_drops_out() -> None:
    radio = Radio(3, 7, restless=False)
    assert all(radio.truth(3, t).registered for t in range(0, DAY, 60))


@pytest.mark.parametrize(("ports", "without"), [(1, None), (3, None), (4, 4), (8, 8), (32, 32)])
def test_the_last_of_four_or_more_ports_has_no_sim(ports: int, without: int | None) -> None:
    radio = Radio(ports, 7)
    empty = [port for port in radio.ports if not radio.truth(port).sim]
    assert empty == ([without] if without else [])


def test_the_last_but_one_of_eight_has_a_wrong_pin() -> None:
    radio = Radio(8, 7)
    assert [port for port in radio.ports if radio.truth(port).pin_error] == [7]
    assert not radio.truth(7).registered


def test_sims_are_of_several_operators_and_their_own() -> None:
    radio = Radio(8, 7)
    sims = [radio.spare_sim(port) for port in radio.ports]
    assert len({sim.operator for sim in sims}) == 5
    assert len({sim.imsi for sim in sims}) == len({sim.number for sim in sims}) == 8
    assert all(len(sim.imsi) == 15 for sim in sims)
    assert sims[0].imsi not in repr(sims)


@pytest.mark.parametrize(("signal", "shown"), [(12, 12), (31, 31), (0, -1), (99, -1)])
def test_a_set_signal_shows_at_once_and_stays(signal: int, shown: int) -> None:
    sim = SimulatedGateway(clock=lambda: 50_000.0)
    sim.set_signal(1, signal)
    assert sim.truth(1).shown == shown
    assert sim.truth(1).csq == signal
    later = {sim.truth(1, 50_000.0 + t).shown for t in range(0, DAY, 600)}
    assert later == {shown}
    sim.set_signal(1, None)
    assert sim.truth(1).csq not in (0, 99)


def test_the_past_stays_as_it_was() -> None:
    now = [100.0]
    sim = SimulatedGateway(clock=lambda: now[0])
    before = sim.truth(1)
    now[0] = 200.0
    sim.remove_sim(1)
    assert sim.truth(1, 100.0) == before
    assert (sim.truth(1).sim, sim.truth(1).registered, sim.truth(1).shown) == (False, False, -1)
    sim.insert_sim(1)
    assert sim.truth(1).registered


def test_status_by_hand() -> None:
    sim = SimulatedGateway(clock=lambda: 100.0)
    sim.set_status(1, registered=False)
    assert not sim.truth(1).registered
    sim.set_status(1, registered="auto", roaming=True)
    assert sim.truth(1).registered
    assert sim.truth(1).roaming
    sim.set_status(1, power=False)
    assert (sim.truth(1).power, sim.truth(1).csq) == (False, 99)
    sim.set_status(1, power=True, pin_error=True)
    assert not sim.truth(1).registered
    sim.insert_sim(1)
    assert sim.truth(1).registered


def test_truth_can_be_asked_by_the_clock_on_the_wall() -> None:
    sim = SimulatedGateway(speed=60.0)
    at = sim.started_at + timedelta(seconds=10)
    assert sim.truth(1, at) == sim.truth(1, 600.0)
    assert sim.truth(1, at.replace(tzinfo=None)) == sim.truth(1, 600.0)


def test_time_never_runs_backwards() -> None:
    radio = Radio(1, 7)
    radio.step(100.0)
    radio.step(50.0)
    assert radio.now == 100.0


@pytest.mark.parametrize("signal", [-1, 32, 98, 1.5, True, "12"])
def test_an_impossible_signal_is_refused(signal: object) -> None:
    with pytest.raises(InvalidRequest, match="CSQ of 0 to 31"):
        SimulatedGateway().set_signal(1, signal)  # type: ignore[arg-type]
