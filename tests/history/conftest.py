from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neogate_lab.history.store import Store
from tests.history.samples import NOON


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "lab.neogate", clock=lambda: NOON) as made:
        yield made
