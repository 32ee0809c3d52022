"""A million measurements as a picture, beside matplotlib alone: time, and ink that differs."""

from __future__ import annotations

import gc
import time
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.contest import Result, contest
from neogate_lab.analysis import canvas, plots

__all__ = ["ink_difference", "run", "walk"]

POINTS = 1_000_000


def walk(points: int = POINTS, seed: int = 1) -> pd.DataFrame:
    """Rows of `signal` of a port read every 10 s: level, fading, steps of CSQ, gaps, no values."""
    chance = np.random.default_rng(seed)
    drift = np.cumsum(chance.standard_normal(points)) / 40
    drift -= np.linspace(0, drift[-1], points)
    fading = np.repeat(chance.standard_normal(-(-points // 2)), 2)[:points]
    csq = np.clip(np.rint(15 + 3 * np.sin(drift) + fading), 1, 30)
    tick = np.arange(points) * 10
    tick[points // 3 :] += points // 2  # nobody measured for a while
    # rows without a value, as drivers show the weakest signals
    value = pd.array(2 * csq - 113, "Float64")
    value[chance.random(points) < 0.0005] = pd.NA
    start = np.datetime64("2026-01-01", "us")

    def words(word: str) -> pd.Categorical:
        return pd.Categorical.from_codes(np.zeros(points, np.int8), pd.Index([word], dtype="str"))

    return pd.DataFrame(
        {
            "time": pd.to_datetime(start + tick.astype("timedelta64[s]"), utc=True),
            "gateway": words("lab"),
            "port": 1,
            "ok": True,
            "rssi_dbm": value.astype("Int16"),
            "rssi_bound": words(""),
            "registered": True,
            "label": words(""),
            "survey": words("year"),
        }
    )


def every_point(frame: pd.DataFrame) -> Axes:
    """The same picture as matplotlib draws it: every point, in one stroke."""
    with (
        mock.patch.object(plots, "_COLUMNS_OF_PIXELS", len(frame)),
        mock.patch.object(plots, "Stroke", Line2D),
    ):
        return plots.signal_history(frame)


def ink(ax: Axes) -> np.ndarray[Any, Any]:
    """A picture as levels of ink from 0 to 255."""
    surface: Any = ax.figure.canvas
    surface.draw()
    return 255 - np.asarray(surface.buffer_rgba())[:, :, :3].min(axis=2).astype(int)


def ink_difference(frame: pd.DataFrame) -> float:
    """The share of pixels with ink, in either picture, that differ by more than a tenth of it."""
    one, other = ink(plots.signal_history(frame)), ink(every_point(frame))
    inked = (one > 0) | (other > 0)
    return float((np.abs(one - other)[inked] > 25).mean())


def bare(x: Any, y: Any) -> None:
    """What matplotlib alone does with it."""
    figure = Figure(figsize=(canvas.WIDTH, canvas.HEIGHT))
    surface = FigureCanvasAgg(figure)
    figure.add_subplot().plot(x, y)
    surface.draw()


def run(rounds: int) -> list[Result]:
    """Draw a million points both ways, in turns."""
    frame = walk()

    def of_frame() -> float:
        return timed(lambda: bare(frame["time"], frame["rssi_dbm"]))

    def of_arrays() -> float:
        times = frame["time"].dt.tz_localize(None).to_numpy()
        values = frame["rssi_dbm"].to_numpy(float, na_value=np.nan)
        return timed(lambda: bare(times, values))

    def ours() -> float:
        return timed(lambda: ink(plots.signal_history(frame)))

    def of_nothing() -> float:
        return timed(lambda: ink(plots.signal_history(few)))

    few = frame.head(3)
    topic = f"plot {POINTS:,} points"
    names = {
        "ax.plot of the frame's columns": of_frame,
        "ax.plot of bare arrays": of_arrays,
        "neogate_lab": ours,
        "neogate_lab, 3 points": of_nothing,
    }
    results = contest(
        topic, "ms ↓", names, rounds=rounds, reference="ax.plot of the frame's columns"
    )
    differs = 100 * ink_difference(frame)
    return [*results, Result("the same, ink", "neogate_lab", (differs,), "% of pixels ↓", 0.0)]


def timed(call: Any) -> float:
    """Milliseconds that it takes."""
    gc.collect()
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
