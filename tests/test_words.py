"""Numbers in sentences."""

from __future__ import annotations

import pytest

from neogate_lab.words import ranges


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([], ""), ([3], "3"), ([2, 1], "1-2"), ([7, 1, 2, 4, 3], "1-4, 7"), ([0, 2, 4], "0, 2, 4")],
)
def test_neighbours_are_told_as_one(numbers: list[int], said: str) -> None:
    assert ranges(numbers) == said


def test_the_dash_is_the_callers() -> None:
    assert ranges(iter([5, 6, 9]), dash="–") == "5–6, 9"
