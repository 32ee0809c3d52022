"""Checks of the knobs' arguments; each failure is an InvalidRequest that says what to give."""

from __future__ import annotations

import math

from neogate_lab.errors import InvalidRequest


def whole(name: str, value: object, low: int | None = None, high: int | None = None) -> None:
    """Insist on an int between `low` and `high`."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if good and low is not None:
        good = value >= low  # type: ignore[operator]
    if good and high is not None:
        good = value <= high  # type: ignore[operator]
    if not good:
        limits = "" if low is None else f", {low} or more" if high is None else f", {low} to {high}"
        raise InvalidRequest(f"{name}={value!r}: give an integer{limits}")


def positive(name: str, value: object, *, zero: bool = False) -> None:
    """Insist on a number above 0, or of at least 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and (value > 0 or (zero and value == 0))):  # type: ignore[operator]
        limits = "0 or more" if zero else "more than 0"
        raise InvalidRequest(f"{name}={value!r}: give a number, {limits}")


def number(name: str, value: object) -> None:
    """Insist on a finite number."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and math.isfinite(value)):  # type: ignore[arg-type]
        raise InvalidRequest(f"{name}={value!r}: give a number")
