"""How late a survey's ticks are while a notebook's kernel is kept busy, in the kernel itself and in
a recorder process beside it; it never decides a test.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import neogate_lab as ng
from tests.notebook.kernel import Kernel, environment, start_kernel

EVERY = 0.25
PORTS = 4
ROOT = Path(__file__).parents[1]
LOGIN = {"NEOGATE_USERNAME": "apiuser", "NEOGATE_PASSWORD": "apipass"}

_PREPARE = """
import io, time
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

chance = np.random.default_rng(1)
keys = chance.integers(0, 1000, 5_000_000)
rows = pd.DataFrame({"key": keys, "value": chance.random(5_000_000)})
words = pd.DataFrame({"key": keys[:500_000].astype(str), "value": 1})
line = chance.random(1_000_000)
until = lambda: time.monotonic() < end
"""
_CONNECT = """
import neogate_lab as ng

gw = ng.connect("{host}", port={port}, username="apiuser", password="apipass", store=r"{store}")
survey = gw.survey(every={every}, progress=False, name="kernel")
"""
CELLS = {
    "idle": "time.sleep({seconds})",
    "pure Python loop": "n = 0\nwhile until():\n    for i in range(100_000):\n        n += i * i",
    "groupby of 5 M numbers": 'while until():\n    rows.groupby("key")["value"].median()',
    "sort of 500 k words, apply": (
        'while until():\n    words.sort_values("key").groupby("key")["value"].apply(len)'
    ),
    "plot of 1 M points": (
        "while until():\n    figure = Figure()\n    figure.subplots().plot(line)\n"
        '    figure.savefig(io.BytesIO(), format="png")'
    ),
}
"""What a cell does over and over; "until()" says for how long."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lateness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each kind of work")
    seconds = parser.parse_args().seconds
    beside = Path("artifacts")  # not in /tmp, which may be memory
    beside.mkdir(exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="lateness-", dir=beside) as name:
        folder = Path(name).absolute()
        for where in ("kernel", "recorder"):
            for number, work in enumerate(CELLS):
                place = folder / f"{where}-{number}"
                place.mkdir()
                late, missed = asyncio.run(measure(where, work, seconds, place))
                rows.append((work, where, late, missed))
                print(".", end="", flush=True, file=sys.stderr)
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores; {PORTS} ports every")
    print(f"{EVERY:g} s for {seconds:g} s each; load average {os.getloadavg()[0]:.1f}\n")
    print("| the cell | measured by | ticks | missed | p50 ms | p99 ms | max ms |")
    print("|---|---|---|---|---|---|---|")
    for work, where, late, missed in rows:
        p50, p99, most = np.percentile(late, [50, 99, 100])
        ticks = len(late) + missed
        print(f"| {work} | {where} | {ticks} | {missed} | {p50:.1f} | {p99:.0f} | {most:.0f} |")


async def measure(where: str, work: str, seconds: float, folder: Path) -> tuple[np.ndarray, int]:
    """Milliseconds from each tick until its first port answered, and the number of missed ticks."""
    store = folder / "store"
    with ng.SimulatedGateway(PORTS, restless=False) as sim:
        async with start_kernel(folder) as kernel:
            await kernel.run(_PREPARE)
            recorder = None
            if where == "kernel":
                await kernel.run(
                    _CONNECT.format(host=sim.host, port=sim.port, store=store, every=EVERY)
                )
            else:
                recorder = _record(f"{sim.host}:{sim.port}", store, folder)
            try:
                begin, end = await _keep_busy(kernel, work, seconds)
            finally:
                if recorder is not None:
                    recorder.terminate()
                    recorder.wait()
            if where == "kernel":
                await kernel.run("gw.close()")
    with ng.open_store(store) as opened:
        frame = opened.signal(since=begin, until=end)
    ticks = frame.groupby("time").agg(late=("latency_ms", "min"), error=("error", "first"))
    return ticks["late"].dropna().to_numpy(), int((ticks["error"] == "missed").sum())


async def _keep_busy(
    kernel: Kernel, work: str, seconds: float
) -> tuple[pd.Timestamp, pd.Timestamp]:
    begin = pd.Timestamp.now("UTC")
    cell = CELLS[work].format(seconds=seconds)
    await kernel.run(f"end = time.monotonic() + {seconds}\n{cell}", seconds=10 * seconds + 60)
    end = pd.Timestamp.now("UTC")
    await asyncio.sleep(2 * EVERY)  # its last tick is recorded
    return begin, end


def _record(target: str, store: Path, folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "neogate_lab.cli", "record", target),
            *("--every", f"{EVERY}s", "--store", str(store)),
        ],
        env={**environment(folder), **LOGIN},
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        time.sleep(0.1)
        try:
            with ng.open_store(store) as opened:
                if len(opened.signal()):
                    return process
        except ng.StoreError:
            continue
    raise AssertionError("the recorder did not begin")


if __name__ == "__main__":
    main()
