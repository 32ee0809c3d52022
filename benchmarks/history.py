"""Reading, refreshing, exporting and committing, each beside what others would use, in one run."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from neogate_lab.history import frames, segments
from neogate_lab.history.schema import TABLES
from neogate_lab.history.store import Store, open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
PORTS, EVERY_S = 32, 10
SIGNAL = TABLES["signal"]


def rows_from(first: int, count: int) -> pa.Table:
    """Rows `first`.. of a recorder that asks 32 ports every 10 s."""
    chance = np.random.default_rng(first)
    number = np.arange(first, first + count)
    tick, port = number // PORTS, number % PORTS + 1
    raw = chance.integers(5, 32, count)
    unknown = chance.random(count) < 0.02

    def words(choices: list[str], codes: np.ndarray) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype("int32")), choices)

    same = np.zeros(count)
    start = int(START.timestamp()) * 1_000_000
    columns = {
        "row_id": pa.array(number + 1),
        "time": pa.array(start + tick * EVERY_S * 1_000_000).cast(pa.timestamp("us", "UTC")),
        "gateway": words(["lab"], same),
        "port": pa.array(port.astype("int16")),
        "span": pa.array((port + 1).astype("int16")),
        "ok": pa.array(~unknown),
        "error": words(["", "no_answer"], unknown),
        "signal_raw": pa.array(raw.astype("int16"), mask=unknown),
        "signal": pa.array(raw.astype("int8"), mask=unknown),
        "rssi_dbm": pa.array((2 * raw - 113).astype("int16"), mask=unknown),
        "rssi_bound": words(["", ">="], raw == 31),
        "ber": pa.array(chance.integers(0, 8, count).astype("int8"), mask=unknown),
        "power": pa.array(np.ones(count, bool), mask=unknown),
        "sim": pa.array(np.ones(count, bool), mask=unknown),
        "up": pa.array(~unknown),
        "registered": pa.array(np.ones(count, bool), mask=unknown),
        "roaming": pa.array(np.zeros(count, bool), mask=unknown),
        "network": words(["MegaFon", "MTS", "Beeline", "Tele2"], port % 4),
        "network_status": words(["Registered (Home network)"], same),
        "state": words(["READY"], same),
        "last_event": words(["", "SMS received"], number % 7 == 0),
        "latency_ms": pa.array(np.round(chance.gamma(4, 30, count), 1)),
        "label": words([f"place {i}" for i in range(50)], tick // 20_000 % 50),
        "survey": words(["yard"], same),
    }
    return pa.table(columns).select(SIGNAL.names).cast(frames.arrow_schema(SIGNAL))


def synthesize(path: Path, count: int) -> None:
    """Make a store whose rows are sealed, as the sealer would leave them."""
    a_day = PORTS * 86_400 // EVERY_S
    with Store(path) as store:
        folder = path / "segments"
        done = [
            segments.write(folder, SIGNAL, rows_from(first, min(a_day, count - first)))
            for first in range(0, count, a_day)
        ]

        def enlist(connection: Any) -> None:
            segments.enlist(connection, done)
            connection.execute("INSERT INTO sqlite_sequence VALUES ('signal', ?)", (count,))

        store._writer.submit(enlist).result()


def timed(call: Callable[[], Any], times: int = 3) -> float:
    """The best of a few runs, in seconds."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
        del result
    return best


def line(what: str, ours: float, **others: float) -> None:
    beside = "  ".join(f"{n} {t * 1e3:.1f} ms ({ours / t:.2f}x)" for n, t in others.items())
    print(f"{what:34} {ours * 1e3:10.1f} ms   {beside}", flush=True)


def child(code: str, *arguments: object) -> tuple[float, float]:
    """Seconds and peak MiB of a statement in a process of its own, its imports not timed."""
    script = (
        "import glob, sys, time, pandas, pyarrow, pyarrow.parquet as pq, pyarrow.csv, "
        "pyarrow.dataset as ds; from neogate_lab.history.store import open_store\n"
        "start = time.perf_counter()\n" + code + "\n"
        "took = time.perf_counter() - start\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')]\n"
        "print(took, int(peak[0].split()[1]) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def reading(store: Store, count: int) -> None:
    files = sorted(str(path) for path in (store.path / "segments" / "signal").iterdir())

    def pyarrow_read() -> pa.Table:
        return ds.dataset(files).to_table()

    # In turns: whoever comes first pays for the pages of memory that all use afterwards.
    calls = [store.signal, pyarrow_read, lambda: pyarrow_read().to_pandas()]
    ours, read, to_pandas = map(
        min, zip(*([timed(c, 1) for c in calls] for _ in range(5)), strict=True)
    )
    line(f"{count:,} rows -> DataFrame", ours, pyarrow_to_pandas=to_pandas, pyarrow_table=read)
    mine = "frame = open_store(sys.argv[1]).signal()"
    theirs = "frame = ds.dataset(glob.glob(sys.argv[1] + '/segments/signal/*')).to_table()"
    line(
        "the same in a fresh process",
        min(child(mine, store.path)[0] for _ in range(3)),
        pyarrow_to_pandas=min(child(f"{theirs}.to_pandas()", store.path)[0] for _ in range(3)),
    )
    last = START + timedelta(seconds=count // PORTS * EVERY_S)
    day = {"since": last - timedelta(days=3), "until": last - timedelta(days=2)}
    times = [(pa.scalar(day[n], pa.timestamp("us", "UTC"))) for n in ("since", "until")]
    within = (ds.field("time") >= times[0]) & (ds.field("time") < times[1])
    line(
        "one day of them",
        timed(lambda: store.signal(**day), 10),
        pyarrow=timed(lambda: ds.dataset(files).to_table(filter=within).to_pandas(), 10),
    )
    line(
        "one hour, one port",
        timed(lambda: store.signal(since=last - timedelta(hours=1), port=3), 10),
    )
    line("one label", timed(lambda: store.signal(label="place 7"), 3))


def sql(folder: Path, count: int) -> None:
    """The same through pandas.read_sql, of fewer rows: it is too slow for all."""
    import sqlalchemy

    some = rows_from(0, count)
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'plain.sqlite'}")
    some.to_pandas().astype({"time": "str"}).to_sql("signal", engine, index=False)
    with Store(folder / "some") as store:
        synthesize(folder / "fewer", count)
        del store
    with open_store(folder / "fewer") as store:
        line(
            f"{count:,} rows -> DataFrame",
            timed(store.signal),
            read_sql=timed(lambda: pd.read_sql("SELECT * FROM signal", engine), 1),
        )


def refreshing(path: Path, count: int, small: Path) -> None:
    def measure(path: Path) -> tuple[float, float]:
        with open_store(path) as store:
            live = store.live("signal")
            frame = live.refresh()
            took, concat = [], []
            after = len(frame)
            for _ in range(20):
                more = rows_from(after, 400).to_pylist()
                after += 400
                for row in more:
                    del row["row_id"]
                store.append("signal", more).result()
                last = int(frame["row_id"].iloc[-1])
                start = time.perf_counter()
                grown = live.refresh()
                took.append(time.perf_counter() - start)
                assert len(grown) == len(frame) + 400
                if len(concat) < 3:
                    start = time.perf_counter()
                    pd.concat([frame, store.signal(after_row=last)], ignore_index=True)
                    concat.append(time.perf_counter() - start)
                frame = grown
            return median(took), median(concat)

    flat, _ = measure(small)
    ours, concat = measure(path)
    line(f"refresh by 400 rows at {count:,}", ours, at_100_000=flat, concat=concat)


def exporting(path: Path, count: int, folder: Path, csv_rows: int) -> None:
    ours = child("open_store(sys.argv[1]).export(sys.argv[2])", path, folder / "ours.parquet")
    theirs = child(
        "files = sorted(glob.glob(sys.argv[1] + '/segments/signal/*'))\n"
        "with pq.ParquetWriter(sys.argv[2], pq.read_schema(files[0]), compression='zstd') as out:\n"
        "    for name in files:\n"
        "        for batch in pq.ParquetFile(name).iter_batches(65536):\n"
        "            out.write_batch(batch)",
        path,
        folder / "theirs.parquet",
    )
    line("export to Parquet", ours[0], pyarrow_streaming=theirs[0])
    print(f"{'  peak':34} {ours[1]:10.0f} MiB  pyarrow_streaming {theirs[1]:.0f} MiB")
    idle = child("open_store(sys.argv[1])", path)
    print(f"{'  of which imports':34} {idle[1]:10.0f} MiB")
    ours = child("open_store(sys.argv[1]).export(sys.argv[2])", path, folder / "ours.csv")
    theirs = child(
        "frame = open_store(sys.argv[1]).signal(after_row=int(sys.argv[3]))\n"
        "start = time.perf_counter()\nframe.to_csv(sys.argv[2], index=False)",
        path,
        folder / "theirs.csv",
        count - csv_rows,
    )
    scaled = theirs[0] * count / csv_rows
    line("export to CSV", ours[0], **{f"to_csv_scaled_from_{csv_rows}": scaled})
    print(f"{'  faster than to_csv':34} {scaled / ours[0]:10.1f} x   peak {ours[1]:.0f} MiB")


def committing(folder: Path, events: int) -> None:
    """A thousand single rows a second, each told after its commit, beside one fdatasync."""
    row = {"time": START, "gateway": "lab", "port": 1, "ok": True, "signal": 17, "label": "x"}
    descriptor = os.open(folder / "plain", os.O_CREAT | os.O_WRONLY)
    plain: list[float] = []

    def sync() -> None:
        start = time.perf_counter()
        os.write(descriptor, b"x" * 300)
        os.fdatasync(descriptor)
        plain.append(time.perf_counter() - start)

    with Store(folder / "commits") as store:
        told: list[float] = []
        done = threading.Semaphore(0)

        def tell(start: float) -> Callable[[Any], None]:
            def call(_: Any) -> None:
                told.append(time.perf_counter() - start)
                done.release()

            return call

        for _ in range(2):
            for _ in range(200):
                sync()
            begin = time.perf_counter()
            for number in range(events // 2):
                time.sleep(max(0.0, begin + number / 1000 - time.perf_counter()))
                store.append("signal", [row]).add_done_callback(tell(time.perf_counter()))
        for _ in range(events // 2 * 2):
            done.acquire()
    os.close(descriptor)
    line("told after commit, 1 k/s, p50", median(told), fdatasync=median(plain))
    print(f"{'  p99':34} {float(np.quantile(told, 0.99)) * 1e3:10.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one if left out")
    parser.add_argument("only", nargs="*", help="reading sql refreshing exporting committing")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="neogate-bench-"))
    folder.mkdir(exist_ok=True)
    wanted = options.only or ["reading", "sql", "exporting", "committing", "refreshing"]
    path, small = folder / "big", folder / "small"
    try:
        for made, count in ((path, options.rows), (small, 100_000)):
            if not made.exists():
                synthesize(made, count)
        if "reading" in wanted:
            with open_store(path) as store:
                line("open", timed(lambda: open_store(path).close()))
                reading(store, options.rows)
        if "sql" in wanted:
            sql(folder, 300_000)
        if "exporting" in wanted:
            exporting(path, options.rows, folder, min(options.rows, 1_000_000))
        if "committing" in wanted:
            committing(folder, 10_000)
        if "refreshing" in wanted:
            refreshing(path, options.rows, small)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
