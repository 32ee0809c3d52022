"""Answers from recorded measurements, and that no kind of `data` changes them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import neogate_lab as ng
from neogate_lab.analysis import series, summaries
from neogate_lab.analysis.tables import fetch
from neogate_lab.errors import InvalidRequest
from neogate_lab.history import Store
from neogate_lab.history.frames import frame_of
from tests.analysis.radio import START, at, failed, frame, measured, row


def mixed():
    rng = np.random.default_rng(3)
    rows = [
        row(10 * t, int(csq), port=p, label="roof" if t < 60 else "sill")
        for p in (1, 2)
        for t, csq in enumerate(rng.integers(8, 20, 120))
    ]
    rows[5] |= {"signal": None, "rssi_dbm": None, "signal_raw": -1}
    rows[7] = failed(70, label="roof")
    rows[130] = row(100, None, port=2, registered=False, network="", label="roof")
    return frame(rows)


def test_the_summary_is_what_pandas_says():
    data = mixed()
    answer = ng.signal_summary(data)
    assert list(answer) == [
        "gateway", "port", "n", "n_missing", "mean_dbm", "median_dbm", "mad_db", "p10_dbm",
        "p90_dbm", "n_no_value", "refresh_s", "n_independent", "availability",
    ]  # fmt: skip
    for port, rows in data.groupby("port"):
        value = rows["rssi_dbm"].dropna().astype(float)
        found = answer[answer["port"] == port].iloc[0]
        assert found["n"] == len(rows)
        assert found["n_missing"] == len(rows) - len(value)
        assert found["mean_dbm"] == pytest.approx(value.mean())
        assert found["median_dbm"] == value.median()
        assert found["mad_db"] == (value - value.median()).abs().median()
        assert found["p10_dbm"] == pytest.approx(value.quantile(0.1))
        assert found["p90_dbm"] == pytest.approx(value.quantile(0.9))
        assert found["refresh_s"] == 10
    assert list(answer["n_no_value"]) == [1, 0]
    assert list(answer["availability"]) == pytest.approx([1, 119 / 120])


def test_types_are_declared_also_when_nothing_was_measured():
    full, empty = ng.signal_summary(mixed(), every="1m"), ng.signal_summary(frame([]), every="1m")
    assert len(empty) == 0
    types = {name: str(kind) for name, kind in full.dtypes.items()}
    assert types == {name: str(kind) for name, kind in empty.dtypes.items()}
    assert types["port"] == "Int16"
    assert types["time"] == "datetime64[us, UTC]"
    assert types["n"] == "Int64"
    assert types["mean_dbm"] == "float64"
    assert types["gateway"] == "category"
    for ask in (ng.availability, ng.outages, ng.operators, ng.handovers, ng.latency):
        assert (
            ask(mixed()).dtypes.astype(str).to_dict() == ask(frame([])).dtypes.astype(str).to_dict()
        )


def test_groups_of_any_column_and_stretches_of_time():
    answer = ng.signal_summary(mixed(), by="label", every="10m")
    assert list(zip(answer["label"], answer["time"], answer["n"], strict=True)) == [
        ("roof", START, 120),
        ("sill", START + timedelta(minutes=10), 120),
    ]


def test_stretches_of_time_begin_at_whole_ones_before_1970_as_well():
    begin = datetime(1969, 12, 31, 23, 59, 50, 700_000, tzinfo=UTC)
    data = frame([row(0, 10) | {"time": begin + timedelta(seconds=10 * t)} for t in range(4)])
    for length in (timedelta(hours=1), timedelta(days=1), timedelta(minutes=7)):
        answer = ng.signal_summary(data, every=length)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        assert list(answer["time"]) == [epoch - length, epoch]
        assert list(answer["n"]) == [1, 3]
        assert list(answer["n_independent"]) == [1, 1]


def test_repeats_of_a_cached_value_are_not_counted_as_independent():
    fast = ng.signal_summary(frame(measured(1, seconds=7200, every=10, refresh=60, noise=2)))
    assert fast["refresh_s"][0] == pytest.approx(60, rel=0.1)
    assert fast["n"][0] == 720
    assert 60 < fast["n_independent"][0] <= 121


def test_ports_in_one_group_keep_their_own_refresh_and_add_up():
    rows = measured(1, seconds=7200, refresh=60) + measured(2, seconds=7200, refresh=20, port=2)
    ports = ng.signal_summary(frame(rows))
    whole = ng.signal_summary(frame(rows), by="gateway")
    assert whole["n_independent"][0] == pytest.approx(ports["n_independent"].sum())


def kinds_of_data(tmp_path):
    data = mixed()
    store = Store(tmp_path / "lab.neogate")
    store.append("signal", data.drop(columns="row_id").astype(object).where(
        data.drop(columns="row_id").notna(), None).to_dict("records")).result()  # fmt: skip
    single = store.export(tmp_path / "signal.parquet")
    folder = tmp_path / "parts"
    for label in ("roof", "sill"):
        (folder / f"half={label}").mkdir(parents=True)
        store.export(folder / f"half={label}" / "0.parquet", label=label)
    table = ibis.duckdb.connect().read_parquet(single)
    return data, store, single, str(folder), f"file://{single}", table


def test_every_kind_of_data_gives_the_same_answers(tmp_path):
    data, *others = kinds_of_data(tmp_path)
    for ask in (ng.signal_summary, ng.availability, ng.outages, ng.operators, ng.latency):
        for other in others:
            pd.testing.assert_frame_equal(ask(data), ask(other))
    others[0].close()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (7, "^int can't be analysed"),
        (pa.table({"a": [1]}), "^pyarrow.Table can't be analysed; give a pandas DataFrame"),
        (pd.DataFrame({"a": [1]}), "no column time"),
        (pd.concat([mixed(), mixed()[["port"]]], axis=1), "more than one column port"),
        (mixed().assign(port=["1", 2] * 120), "does not hold what signal declares .*column port"),
        ("nowhere.parquet", "there is no file"),
        ("nosuch://bucket/x", "nosuch"),
    ],
)
def test_what_is_no_data_is_told_in_a_sentence(data, words):
    with pytest.raises(InvalidRequest, match=words):
        ng.signal_summary(data)


def test_unknown_columns_and_stretches_are_refused():
    with pytest.raises(InvalidRequest, match="no column 'place'"):
        ng.signal_summary(mixed(), by="place")
    with pytest.raises(InvalidRequest, match="at least one"):
        ng.availability(mixed(), by=())
    with pytest.raises(InvalidRequest, match="a column or several"):
        ng.signal_summary(mixed(), by=None)
    for every in (0.5, 1e14):
        with pytest.raises(InvalidRequest, match="whole seconds"):
            ng.signal_summary(mixed(), every=every)
    with pytest.raises(InvalidRequest, match="leave out one"):
        ng.availability(mixed(), by=["time", "port"], every="1h")


def test_a_column_named_twice_is_one():
    once, twice = (ng.availability(mixed(), by=by) for by in ("port", ["port", "port"]))
    pd.testing.assert_frame_equal(once, twice)


def test_frames_as_other_tools_make_them_give_the_same_answers(tmp_path):
    data = mixed().assign(latency_ms=2.0)
    data.to_csv(tmp_path / "signal.csv", index=False)
    plain = pd.read_csv(tmp_path / "signal.csv", parse_dates=["time"])
    time = data["time"]
    for other in (
        plain,
        plain.assign(latency_ms=2),
        data.astype(object).where(data.notna(), None),
        data.convert_dtypes(dtype_backend="pyarrow"),
        data.assign(time=time.dt.tz_localize(None)),
        data.assign(time=time.dt.tz_convert("Asia/Kathmandu")),
        data.assign(time=time.dt.as_unit("ns")),
    ):
        for ask in (ng.signal_summary, ng.outages, ng.operators, ng.handovers, ng.latency):
            pd.testing.assert_frame_equal(ask(other), ask(data))


def test_rows_without_a_time_are_no_measurements():
    data = mixed()
    timeless = data.assign(time=data["time"].where(data.index > 20))
    for ask in (ng.signal_summary, ng.outages, ng.operators, ng.handovers):
        pd.testing.assert_frame_equal(ask(timeless), ask(data[21:]))


def test_a_folder_may_have_any_name_and_a_store_is_told_from_it(tmp_path):
    folder = tmp_path / "lab's [1] * 10%"
    folder.mkdir()
    data, store, single, *_ = kinds_of_data(folder)
    for place in (single, folder / "parts", f"file://{folder}/parts"):
        pd.testing.assert_frame_equal(ng.availability(place), ng.availability(data))
    with pytest.raises(InvalidRequest, match=r"is a store: give open_store\("):
        ng.availability(store.path)
    store.close()


def test_availability_is_registered_of_answered():
    rows = [row(0), row(10, registered=False), failed(20), row(30, registered=None)]
    answer = ng.availability(frame(rows)).iloc[0]
    assert answer["n_answered"] == 3
    assert answer["measured"] == 0.75
    assert answer["availability"] == pytest.approx(1 / 3)


# -- outages ---------------------------------------------------------------------------------------


def away(seconds, **changes):
    return row(seconds, None, **({"registered": False, "network": ""} | changes))


def listed(rows):
    return [
        (
            int(r.port),
            (r.start - START).total_seconds(),
            r.seconds if r.end == r.end else None,
            r.kind,
        )
        for r in ng.outages(frame(rows)).itertuples()
    ]


def test_an_outage_is_found_to_the_tick():
    rows = [row(t) for t in range(0, 100, 10)]
    rows[3:6] = [away(30), away(40), away(50)]
    assert listed(rows) == [(1, 30, 30, "not_registered")]


KINDS = {
    "": row,
    "not_registered": away,
    "no_sim": lambda t, **it: away(t, sim=False, **it),
    "power_off": lambda t, **it: away(t, power=False, sim=False, **it),
    "down": lambda t, **it: away(t, **{**it, "registered": None, "up": False}),
    "blind": failed,
    "absent": None,  # the recorder was down
}


@pytest.mark.parametrize("every", [10.0, 1.0, 0.5, 2.5])
def test_outages_drawn_at_random_are_all_found_to_the_tick(every):
    rng = np.random.default_rng(11)
    rows, expected = [], []
    for port in (1, 2, 3):
        tick, before = 0, ""
        names = ["", *rng.choice(list(KINDS), 60), rng.choice(["", "no_sim", "blind"])]
        for name, length in zip(names, rng.integers(1, 9, 62), strict=True):
            kind = "blind" if name == "absent" else str(name)
            begin, tick = tick, tick + int(length)
            if make := KINDS[name]:
                labels = rng.choice(["sill", "roof"], length)
                rows += [
                    make(0.123457 + every * t, port=port, label=str(label))
                    for t, label in zip(range(begin, tick), labels, strict=True)
                ]
            if kind == before:
                continue
            if before:
                expected[-1][2] = begin * every - expected[-1][1]
            if kind:
                expected.append([port, begin * every, None, kind])
            before = kind
    rng.shuffle(rows)
    shifted = [(port, start - 0.123457, *rest) for port, start, *rest in listed(rows)]
    assert shifted == [
        (port, pytest.approx(start, abs=1e-5), seconds, kind)
        for port, start, seconds, kind in expected
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([away(0), away(10), row(20)], [(1, 0, 20, "not_registered")]),
        ([row(0), row(10), failed(20, error="missed")], [(1, 20, None, "blind")]),
        (
            [
                *[row(t) for t in range(0, 50, 10)],
                *[away(t) for t in (50, 60)],
                *[away(t, survey="again") for t in (133.4, 143.4)],
                *[row(t, survey="again") for t in (153.4, 163.4)],
            ],
            [
                (1, 50, 20, "not_registered"),
                (1, 70, 63.4, "blind"),
                (1, 133.4, 20, "not_registered"),
            ],
        ),
        (
            [
                row(t, port=port) if t not in (30, 40) else failed(t, port=port, error=why)
                for port, why in ((1, "disconnected"), (2, "no_answer"))
                for t in range(0, 100, 10)
            ],
            [(1, 30, 20, "blind"), (2, 30, 20, "blind")],
        ),
        (
            [
                *[row(t) for t in range(0, 100, 10)],
                *[row(t, port=2) for t in range(0, 50, 10)],
                *[failed(t, port=2, error="refused") for t in range(50, 100, 10)],
            ],
            [(2, 50, None, "blind")],
        ),
        (
            [(away if 7 <= t < 9 else row)(t / 10) for t in range(30) if t not in (15, 16)],
            [(1, 0.7, 0.2, "not_registered"), (1, 1.5, 0.2, "blind")],
        ),
    ],
    ids=["first tick", "last tick", "recorder restarted", "link lost", "port gone", "ten a second"],
)
def test_where_an_outage_begins_and_ends(rows, expected):
    assert listed(rows) == [
        (port, pytest.approx(start), seconds and pytest.approx(seconds), kind)
        for port, start, seconds, kind in expected
    ]


@pytest.mark.parametrize("seed", range(5))
def test_two_surveys_at_different_grids_show_an_outage_from_the_first_tick_that_saw_it(seed):
    rng = np.random.default_rng(seed)
    changes = np.cumsum(rng.exponential(60, 40))
    ticks = sorted(
        (float(t), survey)
        for survey, every, begin in (("fast", 10, 0.0), ("slow", 47, 3.5))
        for t in np.arange(begin, 1500, every)
    )
    down = [bool(np.searchsorted(changes, t) % 2) for t, _ in ticks]
    rows = [
        (away if out else row)(t, survey=survey)
        for (t, survey), out in zip(ticks, down, strict=True)
    ]
    expected = []
    for (t, _), out, before in zip(ticks, down, [False, *down], strict=False):
        if out and not before:
            expected.append((1, t, None, "not_registered"))
        elif before and not out:
            start = expected[-1][1]
            expected[-1] = (1, start, t - start, "not_registered")
    rng.shuffle(rows)
    assert len(expected) > 5
    assert listed(rows) == expected


def test_an_outage_that_goes_on_is_open():
    assert listed([row(0), away(10), away(20)]) == [(1, 10, None, "not_registered")]


def test_a_port_that_is_up_and_says_no_more_has_no_outage():
    untold = {"registered": None, "network": ""}
    rows = [row(0, **untold), row(10, **untold), row(20, up=False, **untold), row(30, **untold)]
    assert listed(rows) == [(1, 20, 10, "down")]


def test_kinds_of_outages_follow_one_another():
    rows = [
        away(0, state="Power off"),
        away(10, state="No SIM"),
        away(20, registered=None, up=False),
        row(30),
    ]
    assert [kind for *_, kind in listed(rows)] == ["power_off", "no_sim", "down"]


def test_when_nobody_measured_it_is_blind_and_no_outage():
    rows = [row(0), away(10), failed(20), failed(30, error="missed"), away(40), row(50)]
    assert listed(rows) == [
        (1, 10, 10, "not_registered"),
        (1, 20, 20, "blind"),
        (1, 40, 10, "not_registered"),
    ]


def test_absent_ticks_are_blind_from_the_tick_that_was_due():
    rows = [row(t) for t in (0, 10, 20, 30, 70, 80)]
    assert listed(rows) == [(1, 40, 30, "blind")]


def test_a_slower_survey_has_no_gaps_between_its_own_ticks():
    rows = [row(t) for t in range(0, 60, 10)]
    rows += [row(t, survey="slow") for t in range(250, 1000, 60)]
    assert listed(rows) == [(1, 60, 190, "blind")]


def test_a_gap_goes_by_the_ticks_of_the_survey_before_it():
    rows = [row(t) for t in range(0, 100, 10)]
    rows += [row(t, survey="slow") for t in range(100, 700, 60)]
    assert listed([*rows, row(710), row(720)]) == []
    assert listed([*rows, row(900), row(910)]) == [(1, 700, 200, "blind")]


def test_samples_by_hand_do_not_fetch_the_rows_of_a_survey(monkeypatch):
    data = frame([row(10 * t) for t in range(500)] + [row(1, survey=""), row(3, survey="")])
    fetched = []

    def counting(expression):
        fetched.append(fetch(expression))
        return fetched[-1]

    monkeypatch.setattr(summaries, "fetch", counting)
    assert len(ng.outages(data)) == 0
    assert sum(map(len, fetched)) < 20


# -- networks, messages, latency -------------------------------------------------------------------


def test_operators_and_handovers():
    networks = ["MegaFon"] * 3 + ["Beeline"] * 2 + [""] + ["MegaFon"]
    rows = [row(10 * t, 10 + t, network=n) for t, n in enumerate(networks)]
    rows[5] |= {"registered": False}
    answer = ng.operators(frame(rows))
    assert list(answer["network"]) == ["Beeline", "MegaFon"]
    assert list(answer["share"]) == pytest.approx([1 / 3, 2 / 3])
    assert list(answer["mean_dbm"]) == [-86, -88.5]
    assert list(answer["last"]) == [at(40), at(60)]
    changes = ng.handovers(frame(rows))
    assert list(changes["before"]) == ["MegaFon", "Beeline"]
    assert list(changes["after"]) == ["Beeline", "MegaFon"]
    assert list(changes["time"]) == [at(30), at(60)]
    assert list(changes["away_s"]) == [10, 20]


def test_delivery_counts_what_became_of_the_messages():
    def sms(status, took=None):
        written = status not in ("queued", "cancelled")
        return {
            "row_id": 1, "queued_at": at(0), "gateway": "lab", "port": 1, "status": status,
            "segments": 2, "written_at": at(1) if written else None,
            "status_at": at(1 + took) if took else None,
        }  # fmt: skip

    rows = [sms("sent", 4), sms("sent", 8), sms("failed", 1), sms("unknown"), sms("queued")]
    answer = ng.delivery(frame_of("outbox", rows)).iloc[0]
    counted = answer[["n", "n_sent", "n_failed", "n_unknown", "n_waiting", "n_cancelled"]]
    assert list(counted) == [5, 2, 1, 1, 1, 0]
    assert answer["delivery"] == 0.5
    assert answer["segments"] == 8
    assert answer["median_s"] == 6
    assert len(ng.delivery(frame_of("outbox", []))) == 0


def test_delivery_by_what_is_not_known_counts_as_well():
    known = {"row_id": 1, "queued_at": at(0), "gateway": "lab", "segments": 1, "status": "queued"}
    data = frame_of("outbox", [known | {"port": port} for port in (2, None, 1, None)])
    answer = ng.delivery(data)
    assert list(answer["port"].fillna(0)) == [1, 2, 0]
    assert list(answer["n_waiting"]) == [1, 1, 2]
    assert len(ng.delivery(data, by=["written_at", "error"])) == 1
    with pytest.raises(InvalidRequest, match="by takes no segments"):
        ng.delivery(data, by=["segments", "port"])


def test_latency_leaves_out_what_was_never_answered():
    rows = [row(10 * t, latency_ms=float(t)) for t in range(101)] + [failed(1010)]
    answer = ng.latency(frame(rows)).iloc[0]
    assert list(answer[["n", "median_ms", "p90_ms", "max_ms"]]) == [101, 50, 90, 100]


def test_engines_are_loaded_on_first_use_only():
    program = (
        "import sys, neogate_lab as ng; ng.signal_summary; ng.compare;"
        "assert not {'ibis', 'duckdb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_of_long_tables_independent_readings_are_estimated_from_stretches(monkeypatch):
    data = frame(measured(4, seconds=86400, refresh=20, noise=2, memory=0.5))
    whole = ng.signal_summary(data)
    monkeypatch.setattr(series, "_MOST_ROWS", 8000)
    monkeypatch.setattr(series, "_SAMPLE", 3000)
    monkeypatch.setattr(series, "_STRETCHES", 4)
    part = ng.signal_summary(data)
    exact = [name for name in whole if name not in ("refresh_s", "n_independent")]
    pd.testing.assert_frame_equal(whole[exact], part[exact])
    assert part["refresh_s"][0] == pytest.approx(20, rel=0.1)
    assert part["n_independent"][0] != whole["n_independent"][0]
    assert part["n_independent"][0] == pytest.approx(whole["n_independent"][0], rel=0.5)


def test_a_clock_that_was_decades_off_for_a_tick_spoils_no_estimate(monkeypatch):
    data = frame(measured(4, seconds=86400, refresh=20, noise=2, memory=0.5))
    whole = ng.signal_summary(data)
    data.loc[[5, 9], "time"] = [
        pd.Timestamp("1970-01-01", tz="UTC"),
        pd.Timestamp("2149-01-01", tz="UTC"),
    ]
    monkeypatch.setattr(series, "_MOST_ROWS", 8000)
    monkeypatch.setattr(series, "_SAMPLE", 3000)
    for every in (None, "1d"):
        part = ng.signal_summary(data, every=every)
        assert part["n_independent"].sum() == pytest.approx(whole["n_independent"][0], rel=0.5)
