"""A week of 32 ports asked every 10 s, recorded at speed: memory, and how fast it opens."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from neogate_lab.history.store import Store, open_store

START = datetime(2026, 11, 16, tzinfo=UTC)
PORTS, EVERY_S = 32, 10


def memory_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def record(path: Path, days: float) -> None:
    now = START
    ticks = int(days * 86_400 / EVERY_S)
    chance = np.random.default_rng(1)
    seen = []
    begin = time.monotonic()
    with Store(path, clock=lambda: now) as store:
        waiting = []
        for tick in range(ticks):
            now = START + timedelta(seconds=tick * EVERY_S)
            levels = chance.integers(0, 32, PORTS).tolist()
            rows = [
                {
                    "time": now,
                    "gateway": "lab",
                    "port": port + 1,
                    "span": port + 2,
                    "ok": True,
                    "signal_raw": level,
                    "signal": level,
                    "rssi_dbm": 2 * level - 113,
                    "registered": True,
                    "network": "MegaFon",
                    "latency_ms": 12.5,
                    "label": f"place {tick // 2000}",
                    "survey": "week",
                }
                for port, level in enumerate(levels)
            ]
            waiting.append(store.append("signal", rows))
            if len(waiting) == 8:
                for future in waiting:
                    future.result()
                waiting = []
            if tick % (ticks // 200) == 0:
                seen.append((tick, memory_mib()))
    half = seen[len(seen) // 2 :]
    slope, _ = np.polyfit([t for t, _ in half], [m for _, m in half], 1)
    levels = [m for _, m in half]
    journal = (path / "journal.sqlite").stat().st_size / 2**20
    print(f"{ticks * PORTS:,} rows in {time.monotonic() - begin:.0f} s")
    print(
        f"memory in the last half: {min(levels):.0f} to {max(levels):.0f} MiB, "
        f"slope {slope * ticks / 2:+.1f} MiB over it"
    )
    print(f"  by day: {' '.join(f'{m:.0f}' for _, m in seen[:: max(1, len(seen) // 14)])}")
    print(f"journal {journal:.0f} MiB, {len(list(path.glob('segments/*/*')))} segments")


def open_it(path: Path) -> None:
    code = (
        "import sys, time, pandas, pyarrow.parquet; from neogate_lab.history import open_store\n"
        "start = time.perf_counter(); store = open_store(sys.argv[1])\n"
        "opened = time.perf_counter(); frame = store.signal(since='2026-11-22')\n"
        "day = time.perf_counter(); everything = store.signal(); end = time.perf_counter()\n"
        "print(f'open {(opened - start) * 1e3:.0f} ms, last day ({len(frame):,} rows) '\n"
        "f'{(day - opened) * 1e3:.0f} ms, all ({len(everything):,}) {(end - day) * 1e3:.0f} ms')"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=root)


def main() -> None:
    # Arrow's own allocator keeps what bursts left; a recorder is better off with the system's.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="neogate-week-"))
    try:
        record(folder / "lab", options.days)
        open_it(folder / "lab")
        with open_store(folder / "lab") as store:
            assert store.signal()["row_id"].is_unique
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
