"""The one word for a signal strength."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from neogate_lab.analysis.quality import quality


@pytest.mark.parametrize(
    ("dbm", "word"),
    [
        (-51, "excellent"),
        (-70, "excellent"),
        (-71, "good"),
        (-85, "good"),
        (-86, "fair"),
        (-100, "fair"),
        (-101, "weak"),
        (-113, "weak"),
        (None, "no value"),
        (math.nan, "no value"),
        (pd.NA, "no value"),
        (pd.Series([-73], dtype="Int16")[0], "good"),
        (pd.Series([-73.0]).mean(), "good"),
    ],
)
def test_a_word_says_how_good_a_signal_is(dbm: float | None, word: str) -> None:
    assert quality(dbm) == word
