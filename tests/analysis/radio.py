"""Radio data with known truth: readings of a value that a driver caches, rounded to CSQ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from neogate_lab.history.frames import frame_of

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=float(seconds))


def row(seconds, csq=15, *, port=1, **changes):
    """One row of `signal`; csq None is "registered, but no value"."""
    return {
        "row_id": 1,
        "time": at(seconds),
        "gateway": "lab",
        "port": port,
        "span": None if port is None else port + 1,
        "ok": True,
        "up": True,
        "registered": True,
        "signal_raw": -1 if csq is None else csq,
        "signal": csq,
        "rssi_dbm": None if csq is None else -113 + 2 * csq,
        "network": "MegaFon",
        "latency_ms": 2.0,
        "survey": "s",
    } | changes


def failed(seconds, **changes):
    lost = {"ok": False, "error": "no_answer", "registered": None, "up": None, "network": ""}
    return row(seconds, None, **(lost | {"signal_raw": None, "latency_ms": None} | changes))


def frame(rows):
    return frame_of("signal", rows)


def cached(seed, *, seconds, every=10.0, refresh=20.0, level=15.0, noise=1.0, memory=0.0):
    """CSQ at each tick: `level`, and noise that remembers, renewed every `refresh` seconds."""
    rng = np.random.default_rng(seed)
    ticks = np.arange(0, seconds, every)
    shown = np.floor((ticks + rng.random() * refresh) / refresh).astype(int)
    fading = rng.standard_normal(shown[-1] + 1)
    for i in range(1, len(fading)):
        fading[i] = memory * fading[i - 1] + np.sqrt(1 - memory**2) * fading[i]
    return ticks, np.clip(np.rint(level + noise * fading), 1, 30).astype(int)[shown]


def measured(seed, *, begin=0.0, port=1, label="", **radio):
    """Rows of `signal` of a port that was measured so."""
    ticks, csq = cached(seed, **radio)
    return [
        row(begin + tick, int(value), port=port, label=label)
        for tick, value in zip(ticks, csq, strict=True)
    ]
