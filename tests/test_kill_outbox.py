"""Killed in the middle of a batch, in each phase: nothing goes out twice, nothing is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.killing import PHASES, SIZE, kill_and_resume


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_batch_is_finished_and_nothing_is_sent_twice(
    phase: str, seed: int, tmp_path: Path
) -> None:
    outcome = kill_and_resume(tmp_path / "lab.neogate", phase, seed)
    assert (outcome.twice, outcome.lost) == (0, 0)
    assert outcome.sent + outcome.unknown == SIZE
    if phase == "queued":
        assert (outcome.before, outcome.unknown) == (0, 0)
    elif phase in ("written", "bytes sent"):
        assert outcome.before < SIZE  # it was in the middle
    if phase == "written":  # committed as written, and its bytes never left
        assert outcome.unknown > outcome.unknown_gone_out
