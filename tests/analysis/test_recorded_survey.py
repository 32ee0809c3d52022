"""The recorded survey that ships with the package: the answers find what is true of it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import neogate_lab as ng

FOLDER = Path(__file__).parents[2] / "data" / "survey"
TRUTH = json.loads((FOLDER / "truth.json").read_text())
SILL, ROOF = TRUTH["labels"]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return ng.read_parquet(FOLDER / "signal.parquet")


def time(text: str) -> pd.Timestamp:
    return pd.Timestamp(text)


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 300_000


def test_every_tick_is_there_but_those_of_the_pause(data: pd.DataFrame) -> None:
    start, end = time(TRUTH["start"]), time(TRUTH["end"])
    since, until = map(time, TRUTH["paused"])
    ticks = pd.date_range(start, end, freq="10s", inclusive="left").as_unit("us")
    measured = ticks[(ticks < since) | (ticks >= until)]
    for _, port in data.groupby("port"):
        assert port["time"].tolist() == measured.tolist()
    assert set(data.loc[data["time"] < since, "label"]) == {SILL}
    assert set(data.loc[data["time"] >= until, "label"]) == {ROOF}
    assert data["ok"].all()


def test_outages_are_found_to_the_tick(data: pd.DataFrame) -> None:
    found = ng.outages(data)
    pause = tuple(map(time, TRUTH["paused"]))
    for port in (1, 2, 3):
        runs = found[found["port"] == port]
        seen = {(run.start, run.end, run.kind) for run in runs.itertuples()}
        true = {
            (time(run["start"]), time(run["end"]), run["kind"])
            for run in TRUTH["outages"]
            if run["port"] == port
        }
        assert seen == true | {(*pause, "blind")}
    assert TRUTH["never_a_sim"] == [4]
    assert found[found["port"] == 4]["kind"].tolist() == ["no_sim", "blind", "no_sim"]


def test_compare_holds_the_true_difference(data: pd.DataFrame) -> None:
    found = ng.compare(data, SILL, ROOF).set_index("port")
    for port in ("1", "2"):
        row, mean = found.loc[int(port)], TRUTH["mean_rssi_dbm"][port]
        assert row["ci_low"] <= TRUTH["gain_db"][port] <= row["ci_high"]
        assert row["difference_db"] == pytest.approx(mean[ROOF] - mean[SILL], abs=0.5)
    # The weakest readings of port 3 at the sill have no value: what is left is too strong.
    assert 0 < found["difference_db"][3] < TRUTH["gain_db"]["3"]
    assert found["verdict"][1].startswith(f"{ROOF} is ")
    assert found["verdict"][2].startswith(("no difference seen", "can't tell yet"))


def test_the_refresh_period_is_found(data: pd.DataFrame) -> None:
    summary = ng.signal_summary(data)
    refresh = summary["refresh_s"][summary["port"] != 4]
    assert refresh.to_list() == pytest.approx([TRUTH["refresh_s"]] * 3, rel=0.1)


def test_the_tables_tell_of_the_pause() -> None:
    surveys = ng.read_parquet(FOLDER / "surveys.parquet")
    assert surveys["reason"].tolist() == ["paused", "done"]
    marks = ng.read_parquet(FOLDER / "marks.parquet")
    assert marks["label"].tolist() == [ROOF]
