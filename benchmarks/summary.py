"""An hourly summary of ten million rows beside hand-written SQL and pandas, in turns in one run.

    python -m benchmarks.summary [--rows 10000000] [--rounds 5] [--folder KEPT]

The rows are a store's, 32 ports every 10 s. "SQL" is what somebody would write for DuckDB by hand
for the same columns, from the same Parquet; "SQL, plain" the same without refresh_s and
n_independent, which are the dear ones; "pandas" the plain columns from a frame that is there.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

import neogate_lab as ng
from benchmarks.history import PORTS, synthesize

HOUR = "epoch(time)::BIGINT // 3600 * 3600"

PLAIN = f"""
SELECT gateway, port, {HOUR} AS hour,
    count(*) AS n,
    count(*) FILTER (NOT ok OR rssi_dbm IS NULL) AS n_missing,
    avg(rssi_dbm) FILTER (ok) AS mean_dbm,
    median(rssi_dbm) FILTER (ok) AS median_dbm,
    mad(rssi_dbm) FILTER (ok) AS mad_db,
    quantile_cont(rssi_dbm, 0.1) FILTER (ok) AS p10_dbm,
    quantile_cont(rssi_dbm, 0.9) FILTER (ok) AS p90_dbm,
    count(*) FILTER (ok AND registered AND rssi_dbm IS NULL) AS n_no_value,
    count(*) FILTER (ok AND registered) / nullif(count(*) FILTER (ok), 0) AS availability
FROM read_parquet('{{files}}') GROUP BY ALL ORDER BY ALL
"""
"""The columns that take nothing but rows in any order."""

SERIES = f"""
WITH taken AS MATERIALIZED (
    SELECT gateway, port, {HOUR} AS hour, epoch(time) AS s, rssi_dbm AS v
    FROM read_parquet('{{files}}')
    WHERE ok AND rssi_dbm IS NOT NULL AND (epoch(time)::BIGINT - {{first}}) % {{period}} < {{width}}
), steps AS (
    SELECT *, s - lag(s) OVER line AS passed, v <> lag(v) OVER line AS changed
    FROM taken WINDOW line AS (PARTITION BY gateway, port ORDER BY s)
), changes AS (
    SELECT gateway, port, s - lag(s) OVER (PARTITION BY gateway, port ORDER BY s) AS run
    FROM steps WHERE changed
), periods AS (
    SELECT gateway, port, quantile_cont(run, 0.12) AS refresh FROM changes GROUP BY ALL
), slots AS (
    SELECT gateway, port, hour, refresh, floor(s / refresh) AS slot, arg_max(v, s) AS v
    FROM taken JOIN periods USING (gateway, port) GROUP BY ALL
), pairs AS (
    SELECT *, v - avg(v) OVER (PARTITION BY gateway, port, hour) AS off FROM slots
), near AS (
    SELECT *, CASE WHEN slot = 1 + lag(slot) OVER line THEN off * lag(off) OVER line END AS product
    FROM pairs WINDOW line AS (PARTITION BY gateway, port, hour ORDER BY slot)
), told AS (
    SELECT gateway, port, hour, any_value(refresh) AS refresh, count(*) AS readings,
        least(greatest(coalesce(sum(product) / nullif(sum(off * off), 0), 0), 0), 0.97) AS r
    FROM near GROUP BY ALL
)
SELECT gateway, port, hour, refresh AS refresh_s, readings * (1 - r) / (1 + r) AS n_independent
FROM told
"""
"""Refresh period from run lengths, one reading a refresh, AR(1) of each hour: what the package's
method comes to in SQL, from the same stretches of a long table, without its corrections."""

BOTH = f"WITH plain AS ({PLAIN}), series AS ({SERIES}) SELECT plain.*, refresh_s, n_independent " \
    "FROM plain LEFT JOIN series USING (gateway, port, hour) ORDER BY ALL"  # fmt: skip


def by_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """The plain columns, as quick as pandas has them built in."""
    keys = ["gateway", "port", pd.Grouper(key="time", freq="1h")]
    ok, registered = frame["ok"].fillna(False), frame["registered"].fillna(False)
    value = frame["rssi_dbm"].where(ok).astype("float64")
    groups = frame.assign(
        v=value, silent=ok & registered & value.isna(), answered=ok, there=ok & registered
    ).groupby(keys, observed=True)
    answer = groups.agg(
        n=("time", "size"), n_values=("v", "count"), mean_dbm=("v", "mean"),
        median_dbm=("v", "median"), n_no_value=("silent", "sum"),
        answered=("answered", "sum"), there=("there", "sum"),
    )  # fmt: skip
    answer["p10_dbm"], answer["p90_dbm"] = (groups["v"].quantile(q) for q in (0.1, 0.9))
    off = (value - groups["v"].transform("median")).abs()
    answer["mad_db"] = frame.assign(off=off).groupby(keys, observed=True)["off"].median()
    answer["n_missing"] = answer["n"] - answer["n_values"]
    answer["availability"] = answer["there"] / answer["answered"]
    return answer.reset_index()


def agree(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """All do the same work, or the contest means nothing."""
    for name in ("n", "n_missing", "n_no_value", "mean_dbm", "median_dbm", "mad_db", "p10_dbm",
                 "p90_dbm", "availability"):  # fmt: skip
        a, b = (frame[name].to_numpy(float, na_value=np.nan) for frame in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one if left out")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="neogate-bench-"))
    path = folder / "big"
    try:
        if not path.exists():
            synthesize(path, options.rows)
        contest(path, options.rows, options.rounds)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def contest(path: Path, rows: int, rounds: int) -> None:
    import duckdb

    from neogate_lab.analysis.series import _SAMPLE, _STRETCHES

    files = f"{path}/segments/signal/*.parquet"
    length = rows // PORTS * 10
    period = length // _STRETCHES
    places = {"files": files, "first": 1_767_225_600, "period": period}
    places["width"] = max(period * _SAMPLE // rows, 1)
    connection = duckdb.connect()
    store = ng.open_store(path)
    frame = store.signal()[["gateway", "port", "time", "ok", "registered", "rssi_dbm"]]
    who: dict[str, Callable[[], Any]] = {
        "signal_summary(parquet)": lambda: ng.signal_summary(files, every="1h"),
        "signal_summary(store)": lambda: ng.signal_summary(store, every="1h"),
        "SQL": lambda: connection.sql(BOTH.format(**places)).df(),
        "SQL, plain": lambda: connection.sql(PLAIN.format(**places)).df(),
        "pandas, plain": lambda: by_pandas(frame),
    }
    took: dict[str, list[float]] = {name: [] for name in who}
    spent: dict[str, list[float]] = {name: [] for name in who}
    answers = {}
    for _ in range(rounds):
        for name, call in who.items():
            start, cpu = time.perf_counter(), time.process_time()
            answers[name] = call()
            took[name].append(time.perf_counter() - start)
            spent[name].append(time.process_time() - cpu)
    first = answers.pop("signal_summary(parquet)")
    for answer in answers.values():
        agree(first, answer)
    print(f"{rows:,} rows, {len(first):,} groups, {rounds} rounds\n")
    print("| who | lowest | median | CPU | ratio of lowest to SQL | to SQL, plain | to pandas |")
    print("|---|---|---|---|---|---|---|")
    for name in who:
        ratios = " | ".join(f"{min(took[name]) / min(took[base]):.2f}" for base in list(who)[-3:])
        print(f"| {name} | {min(took[name]):.2f} s | {median(took[name]):.2f} s | "
              f"{min(spent[name]):.2f} s | {ratios} |")  # fmt: skip
    store.close()


if __name__ == "__main__":
    main()
