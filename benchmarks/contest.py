"""Contests: contestants take turns, round after round, and medians go into one table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Result", "contest", "table"]


@dataclass(frozen=True, slots=True)
class Result:
    """What one contestant reached.

    Attributes
    ----------
    topic, contestant : str
        What was measured, and who did it.
    values : tuple of float
        One a round, in `unit`.
    unit : str
        Of the values.
    ratio : float
        Median over the reference's median, of the same topic.
    """

    topic: str
    contestant: str
    values: tuple[float, ...]
    unit: str
    ratio: float

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)


def contest(
    topic: str,
    unit: str,
    contestants: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    reference: str,
    warm_up: bool = True,
) -> list[Result]:
    """Let the contestants take turns, so that a slow minute of the machine hits them all.

    Parameters
    ----------
    topic, unit : str
        For the table.
    contestants : mapping
        Name -> a callable that measures once and returns the value.
    rounds : int
        How often each has its turn.
    reference : str
        The contestant that the ratios refer to.
    warm_up : bool
        Run each once before, unmeasured.
    """
    values: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    if warm_up:
        for name in order:
            contestants[name]()
    for _ in range(rounds):
        for name in order:
            values[name].append(contestants[name]())
        order = order[1:] + order[:1]
    base = statistics.median(values[reference])
    return [
        Result(topic, name, tuple(found), unit, statistics.median(found) / base)
        for name, found in values.items()
    ]


def table(results: list[Result]) -> str:
    """Results as a Markdown table."""
    heading = ("what", "who", "median", "lowest", "highest", "unit", "ratio")
    rows: list[tuple[str, ...]] = [heading]
    topic = ""
    for result in results:
        what = "" if result.topic == topic else result.topic
        topic = result.topic
        numbers = (result.median, min(result.values), max(result.values))
        rows.append(
            (what, result.contestant, *map(_short, numbers), result.unit, f"{result.ratio:.2f}")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
