"""How many independent readings there are in a cached, rounded series."""

from __future__ import annotations

import numpy as np
import pytest

from neogate_lab.analysis import readings
from tests.analysis.radio import cached


@pytest.mark.parametrize("refresh", [10.0, 15.0, 20.0, 25.0, 60.0])
@pytest.mark.parametrize("every", [1.0, 2.0, 10.0])
@pytest.mark.parametrize(("noise", "memory"), [(0.4, 0.0), (1.0, 0.5), (2.0, 0.8)])
def test_the_refresh_period_is_found_within_a_tenth(refresh, every, noise, memory):
    found = [
        readings.refresh_period(*cached(seed, seconds=7200, every=every, refresh=refresh,
                                        noise=noise, memory=memory))
        for seed in range(5)
    ]  # fmt: skip
    assert found == pytest.approx([refresh] * 5, rel=0.1)


def test_a_value_that_hardly_changes_tells_no_period():
    time = np.arange(0, 600, 10.0)
    assert np.isnan(readings.refresh_period(time, np.where(time < 300, -80.0, -82.0)))
    assert np.isnan(readings.refresh_period(time, np.full(60, -80.0)))
    assert np.isnan(readings.refresh_period(time[:1], time[:1]))


def test_few_changes_tell_the_right_period_or_none():
    found = np.array([
        readings.refresh_period(*cached(seed, seconds=1200, level=15.4, noise=0.4, memory=0.8))
        for seed in range(200)
    ])  # fmt: skip
    told = found[~np.isnan(found)]
    assert len(told) > 120
    assert np.mean(np.abs(told / 20 - 1) <= 0.1) > 0.95


def test_missing_values_and_gaps_are_no_changes():
    time, csq = cached(1, seconds=7200, refresh=20.0)
    value = csq.astype(float)
    value[100:140] = np.nan
    kept = np.r_[0:400, 500:720]
    assert readings.refresh_period(time[kept], value[kept]) == pytest.approx(20, rel=0.1)


def test_a_drifting_driver_is_seen_all_the_same():
    rng = np.random.default_rng(5)
    renewed = np.cumsum(rng.normal(20.05, 0.02, 2000))
    time = np.arange(0, 36000, 2.0)
    value = rng.integers(10, 20, 2001)[np.searchsorted(renewed, time)].astype(float)
    assert readings.refresh_period(time, value) == pytest.approx(20.05, rel=0.01)


def judged(value, group=None):
    value = np.asarray(value, float)
    group = np.zeros(len(value), int) if group is None else np.asarray(group)
    return readings.means(group, np.arange(len(value)), value, int(group.max()) + 1)


def test_repeats_are_thinned_to_one_reading_a_refresh():
    time = np.arange(0, 60, 10.0)
    group = np.array([0, 0, 0, 1, 1, 1])
    kept = readings.thinned(group, time, time, np.full(6, 20.0))
    assert [list(each) for each in kept] == [[0, 0, 1, 1], [0, 1, 1, 2], [10, 20, 30, 50]]


@pytest.mark.parametrize(("memory", "expected"), [(0.0, 1.0), (0.5, 1 / 3), (0.8, 1 / 9)])
def test_readings_that_remember_count_for_less(memory, expected):
    found = [
        -113 + 2 * cached(s, seconds=36000, every=20, memory=memory, noise=2)[1] for s in range(40)
    ]
    share = np.median([judged(each).independent[0] / len(each) for each in found])
    assert share == pytest.approx(expected, rel=0.25)


def test_groups_are_judged_apart():
    one, other = np.tile([-80.0, -84.0], 20), np.tile([-60.0, -60.0, -70.0], 10)
    both = judged(np.r_[one, other], np.r_[np.zeros(40, int), np.ones(30, int)])
    for number, alone in enumerate((judged(one), judged(other))):
        assert both.error[number] == pytest.approx(alone.error[0])
        assert both.independent[number] == pytest.approx(alone.independent[0])


def test_a_signal_that_never_leaves_its_step_may_be_anywhere_in_it():
    steady = judged(np.full(500, -80.0))
    assert 0.4 < np.sqrt(steady.error[0]) < 0.6


def faded(runs, n, memory, noise, seed=1):
    """True means and readings in dBm, one new reading a refresh, `runs` series of `n`."""
    rng = np.random.default_rng(seed)
    fading = rng.standard_normal((n, runs))
    for i in range(1, n):
        fading[i] = memory * fading[i - 1] + np.sqrt(1 - memory**2) * fading[i]
    truth = 15 + rng.random(runs)
    return -113 + 2 * truth, -113 + 2 * np.rint(truth + noise * fading).T


@pytest.mark.parametrize("n", [10, 30, 60, 90, 600])
@pytest.mark.parametrize(("noise", "memory"), [(0.4, 0.8), (1, 0), (1, 0.5), (1, 0.8), (2, -0.2)])
def test_the_interval_of_a_difference_covers_the_truth(n, noise, memory):
    runs = 4000
    truth, value = faded(runs, n, memory, noise)
    group, slot = np.repeat(np.arange(runs), n), np.tile(np.arange(n), runs)
    told = readings.means(group, slot, value.ravel(), runs)
    a, b = slice(None, None, 2), slice(1, None, 2)
    error = told.error[a] + told.error[b]
    shares = told.error**2 / told.freedom
    half = readings.student(error**2 / (shares[a] + shares[b])) * np.sqrt(error)
    off = value.mean(axis=1) - truth
    covered = np.mean(np.abs(off[a] - off[b]) <= half)
    # Ten readings that remember 0.8 of each other are hardly more than one.
    assert (0.925 if n == 10 else 0.935) <= covered <= 0.975


def test_two_equal_readings_are_hardly_evidence():
    pair = judged([-80.0, -80.0])
    assert readings.student(pair.freedom)[0] * np.sqrt(pair.error[0]) > 3


def test_one_reading_has_no_error_that_could_be_told():
    assert np.isnan(judged([-80.0]).error[0])


def test_students_t_is_that_of_the_tables():
    assert readings.student(np.array([1, 2, 3, 5, 10, 30, 1e6])) == pytest.approx(
        [12.706, 4.303, 3.182, 2.571, 2.228, 2.042, 1.960], abs=0.005
    )
