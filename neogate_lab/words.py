"""How numbers read in sentences, whoever writes them; never a sentence itself."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ranges"]


def ranges(numbers: Iterable[int], dash: str = "-") -> str:
    """Whole numbers in few words, in order: "1-4, 7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}{dash}{b}" for a, b in runs)
