"""Verdicts on two sides of a measurement whose truth is known."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import neogate_lab as ng
from neogate_lab.errors import InvalidRequest
from tests.analysis.radio import failed, frame, measured, row


def sides(*, minutes=60, apart=3.0, port=1, seed=1, **radio):
    """A sill, then a roof that is `apart` CSQ better."""
    length = 60 * minutes
    return [
        *measured(seed, port=port, label="sill", seconds=length, level=12.4, **radio),
        *measured(seed + 1, port=port, label="roof", begin=length, seconds=length,
                  level=12.4 + apart, **radio),
    ]  # fmt: skip


def verdict(rows, **options):
    return ng.compare(frame(rows), "sill", "roof", **options)["verdict"].iloc[0]


@pytest.mark.parametrize("options", [{}, {"overall": True}])
def test_what_a_gateway_that_was_never_reached_had_as_label_was_not_measured(options):
    dark = [failed(10 * tick, port=None, label="roof") for tick in range(9)]
    seen = measured(1, label="sill", seconds=600)
    with pytest.raises(InvalidRequest, match="nothing was measured with label 'roof'; there is "):
        ng.compare(frame(seen + dark), "sill", "roof", **options)
    with pytest.raises(InvalidRequest, match="nothing to compare: no measurement has a label"):
        ng.compare(frame(dark), "sill", "roof", **options)


def test_a_clear_difference_is_said_with_its_interval():
    answer = ng.compare(frame(sides(noise=2)), "sill", "roof").iloc[0]
    assert answer["difference_db"] == pytest.approx(
        answer["mean_b_dbm"] - answer["mean_a_dbm"], abs=1e-9
    )
    assert answer["ci_low"] < 6 < answer["ci_high"]
    said = re.fullmatch(
        r"roof is ([\d.]+) dB better, 95 % interval ([\d.]+) to ([\d.]+), "
        r"from (\d+) independent readings",
        answer["verdict"],
    )
    assert said
    assert float(said[1]) == pytest.approx(answer["difference_db"], abs=0.51)
    assert int(said[4]) == round(answer["n_independent_a"] + answer["n_independent_b"])
    assert int(said[4]) <= 361


def test_the_better_side_is_named_whichever_way_one_asks():
    answer = ng.compare(frame(sides()), "roof", "sill").iloc[0]
    assert answer["difference_db"] < 0
    assert answer["verdict"].startswith("roof is ")


def test_columns_and_types_are_declared():
    answer = ng.compare(frame(sides(minutes=10)), "sill", "roof")
    assert list(answer) == [
        "gateway", "port", "a", "b", "mean_a_dbm", "mean_b_dbm", "median_a_dbm", "median_b_dbm",
        "difference_db", "ci_low", "ci_high", "n_independent_a", "n_independent_b", "verdict",
    ]  # fmt: skip
    assert str(answer["port"].dtype) == "Int16"
    assert str(answer["verdict"].dtype) == "str"
    assert str(answer["ci_low"].dtype) == "float64"


def test_no_difference_is_said_where_the_interval_leaves_no_room_for_one():
    said = verdict(sides(apart=0, minutes=120, noise=0.7))
    assert re.fullmatch(r"no difference seen: less than (0.5|1|1.5|2) dB", said)


def test_too_short_a_measurement_asks_for_more():
    said = verdict(sides(apart=0.8, minutes=10, noise=3, memory=0.8, refresh=30))
    assert re.fullmatch(r"can't tell yet: measure about \d+ (minutes|hours|days) more", said)


def test_as_much_more_as_it_asks_for_is_enough_more_often_than_not():
    enough = 0
    for seed in range(0, 20, 2):
        said = verdict(sides(apart=1.5, minutes=20, noise=3, memory=0.5, seed=seed))
        wanted = re.search(r"about (\d+) (minute|hour)", said)
        if wanted is None:
            enough += 1
            continue
        more = int(wanted[1]) * (60 if wanted[2] == "hour" else 1)
        again = verdict(sides(apart=1.5, minutes=20 + more, noise=3, memory=0.5, seed=seed))
        enough += not again.startswith("can't tell")
    assert enough >= 6


def test_a_short_side_beside_a_long_one_is_not_asked_to_grow_as_if_both_were_short():
    asked, enough = [], 0
    for seed in range(0, 40, 2):
        roof = measured(seed + 1, label="roof", begin=14400, seconds=14400, level=12.7, noise=3,
                        memory=0.5)  # fmt: skip
        sill = measured(seed, label="sill", seconds=14400, level=12.4, noise=3, memory=0.5)
        wanted = re.search(r"about (\d+) (minute|hour)", verdict(sill[:60] + roof[:720]))
        if wanted is None:
            continue
        more = int(wanted[1]) * (6 if wanted[2] == "minute" else 360)
        asked.append(more)
        enough += not verdict(sill[: 60 + more] + roof[: 720 + more]).startswith("can't tell")
    assert len(asked) >= 12
    assert np.median(asked) <= 1080
    assert enough >= len(asked) / 2


def constant(label, csq, *, begin=0, ticks=360, port=1):
    return [row(begin + 10 * tick, csq, port=port, label=label) for tick in range(ticks)]


@pytest.mark.parametrize("ticks", [1, 3])
def test_one_reading_a_side_is_too_few(ticks):
    rows = constant("sill", 12, ticks=ticks) + constant("roof", 20, begin=30, ticks=ticks)
    assert verdict(rows) == "can't tell yet: measure about 10 minutes more"


def test_values_that_never_leave_a_step_may_differ_within_it():
    rows = constant("sill", 15) + constant("roof", 15, begin=3600)
    assert verdict(rows) == "no difference seen: less than 1.5 dB"
    toggling = [row(7200 + 10 * tick, 15 + tick // 2 % 2, label="roof") for tick in range(360)]
    assert verdict(rows[:360] + toggling) == (
        "can't tell: rounding to steps of 2 dB may hide so small a difference"
    )


def test_ports_together_ask_for_a_time_that_can_be_waited_for():
    rows = [
        each
        for port in (1, 2)
        for each in (
            *constant("sill", 15, port=port),
            *measured(port, port=port, label="roof", begin=3600, seconds=900, level=15.6, noise=3),
        )
    ]
    said = verdict(rows, overall=True)
    assert re.fullmatch(r"can't tell yet: measure about \d+ minutes more", said)


def test_beyond_the_ends_of_the_scale_no_difference_shows():
    strong = constant("sill", 31) + constant("roof", 31, begin=3600)
    assert verdict(strong) == (
        "can't tell: sill and roof stood at an end of the scale: measure again with an attenuator"
    )
    better = measured(1, label="sill", seconds=3600) + constant("roof", 31, begin=3600)
    assert re.fullmatch(
        r"roof is at least (29|3\d)(\.\d)? dB better, from \d+ independent readings; "
        r"roof stood at an end of the scale",
        verdict(better),
    )
    seldom = sides(noise=1)
    seldom[7] |= {"signal": 31, "rssi_dbm": -51, "signal_raw": 31}
    assert "scale" not in verdict(seldom)


@pytest.mark.parametrize(
    ("side", "end", "signal"), [("roof", -113, 0), ("sill", -51, 31)], ids=["weak", "strong"]
)
def test_an_end_that_hides_how_much_less_the_difference_is_gives_no_least(side, end, signal):
    rows = sides(apart=8.0, noise=1)
    for each in [each for each in rows if each["label"] == side][::12]:
        each |= {"signal": signal, "rssi_dbm": end, "signal_raw": signal}
    assert verdict(rows) == (
        f"roof is better, nobody knows by how much: {side} stood at an end of the scale"
    )


@pytest.mark.parametrize(
    ("end", "beside", "remedy"),
    [(31, 30, "an attenuator"), (0, 1, "a better antenna")],
    ids=["strong", "weak"],
)
def test_more_time_is_not_asked_for_where_a_side_stands_at_an_end_of_the_scale(end, beside, remedy):
    other = [row(10 * t, beside if t < 20 else end, label="sill") for t in range(60)]
    assert verdict(other + constant("roof", end, begin=600, ticks=60)) == (
        f"can't tell: sill and roof stood at an end of the scale: measure again with {remedy}"
    )
    touching = [row(10 * t, beside if t % 12 else end, label="sill") for t in range(60)]
    unsure = measured(1, label="roof", begin=600, seconds=60, level=abs(beside - 3), noise=3)
    assert verdict(touching + unsure).startswith("can't tell yet: measure about")


def test_a_side_without_a_label_is_called_so():
    rows = [each | {"label": ""} if each["label"] == "roof" else each for each in sides()]
    said = ng.compare(frame(rows), "sill", "")["verdict"][0]
    assert said.startswith("(no label) is 6")


def test_readings_of_a_cached_value_are_no_evidence():
    """One refresh in ten minutes: 60 equal readings a side, and nothing is known."""
    rows = [
        row(10 * t, 12 + 2 * (t >= 60), label="roof" if t >= 60 else "sill") for t in range(120)
    ]
    assert not verdict(rows[54:66]).startswith("roof is")


def test_no_value_is_weak_and_may_decide():
    rows = sides(apart=-3, noise=1)
    for each in rows:
        if each["label"] == "sill" and each["row_id"] and each["time"].minute % 2:
            each |= {"signal": None, "rssi_dbm": None, "signal_raw": -1}
    said = verdict(rows)
    assert re.fullmatch(
        r"can't tell: \d+ readings of sill had no value, and it turns on whether they count as too "
        r"weak \(-113 dBm or less\)",
        said,
    )


def test_a_single_reading_without_value_is_told_as_one():
    rows = constant("sill", 15, ticks=60) + constant("roof", 16, begin=600, ticks=60)
    rows[61] |= {"signal": None, "rssi_dbm": None, "signal_raw": -1}
    assert verdict(rows) == (
        "can't tell: 1 reading of roof had no value, and it turns on whether it counts as too weak "
        "(-113 dBm or less)"
    )


def test_no_value_on_the_weaker_side_changes_nothing():
    rows = sides(apart=3, noise=1)
    rows[5] |= {"signal": None, "rssi_dbm": None, "signal_raw": -1}
    assert verdict(rows).startswith("roof is ")


def test_a_side_without_any_value():
    rows = sides(minutes=10)
    for each in rows:
        if each["label"] == "roof":
            each |= {"signal": None, "rssi_dbm": None, "registered": False}
    answer = ng.compare(frame(rows), "sill", "roof").iloc[0]
    assert answer["verdict"] == "can't tell: no values of roof here"
    assert np.isnan(answer["difference_db"])
    dark = [each | {"ok": False} for each in rows]
    assert verdict(dark) == "can't tell: no values of sill or roof here"


def test_a_row_a_port_or_one_in_all():
    rows = sides(port=1, seed=1) + sides(port=2, seed=7, apart=1)
    each = ng.compare(frame(rows), "sill", "roof")
    assert list(each["port"]) == [1, 2]
    (whole,) = ng.compare(frame(rows), "sill", "roof", overall=True).to_dict("records")
    assert pd.isna(whole["port"])
    assert whole["gateway"] == "lab"
    assert whole["difference_db"] == pytest.approx(each["difference_db"].mean())
    assert whole["n_independent_a"] == pytest.approx(each["n_independent_a"].sum())


def test_a_port_of_one_reading_does_not_blind_the_others():
    clear = sides(apart=6)
    single = [row(0, 10, port=2, label="sill"), row(3600, 14, port=2, label="roof")]
    (alone,) = ng.compare(frame(clear), "sill", "roof", overall=True).to_dict("records")
    (whole,) = ng.compare(frame(clear + single), "sill", "roof", overall=True).to_dict("records")
    for name in ("difference_db", "ci_low", "ci_high", "verdict"):
        assert whole[name] == alone[name]


def test_operators_on_different_ports_are_compared_in_all():
    rows = [each | {"network": "MegaFon"} for each in measured(1, seconds=3600, level=12)]
    rows += [each | {"network": "Beeline"} for each in measured(2, seconds=3600, level=16, port=2)]
    assert list(ng.compare(frame(rows), "MegaFon", "Beeline", by="network")["verdict"]) == [
        "can't tell: no values of Beeline here",
        "can't tell: no values of MegaFon here",
    ]
    whole = ng.compare(frame(rows), "MegaFon", "Beeline", by="network", overall=True)
    assert whole["verdict"][0].startswith("Beeline is ")
    ports = ng.compare(frame(rows), 1, 2, by="port")
    assert ports["verdict"][0].startswith("2 is ")
    assert pd.isna(ports["port"][0])


def test_what_was_never_measured_is_named():
    data = frame(sides(minutes=10))
    with pytest.raises(InvalidRequest, match="label 'attic'; there is 'roof', 'sill'"):
        ng.compare(data, "attic", "roof")
    with pytest.raises(InvalidRequest, match="both 'roof'"):
        ng.compare(data, "roof", "roof")
    with pytest.raises(InvalidRequest, match="no column 'place'"):
        ng.compare(data, "a", "b", by="place")


def test_intervals_cover_the_truth():
    """A small trial; `benchmarks/coverage_trial.py` is the large one."""
    covered = 0
    for seed in range(30):
        answer = ng.compare(
            frame(sides(seed=2 * seed, minutes=30, noise=1, memory=0.5)), "sill", "roof"
        ).iloc[0]
        covered += answer["ci_low"] <= 6 <= answer["ci_high"]
    assert covered >= 25
