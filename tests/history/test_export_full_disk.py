"""A disk that is full in the middle of an export leaves what was there, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neogate_lab.history.store import Store
from tests.history.samples import measurement

resource = pytest.importorskip("resource")

EXPORT = """
import resource, signal, sys
from neogate_lab.errors import StoreError
from neogate_lab.history.store import Store

store, target = sys.argv[1:]
with Store(store) as opened:
    opened.export(target, progress=False, until="2026-11-20 12:00:02")
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        opened.export(target, progress=False)
    except StoreError as error:
        print(error)
"""


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.xlsx", "x"])
def test_a_file_that_cannot_grow(tmp_path: Path, name: str) -> None:
    if name == "x.xlsx":
        pytest.importorskip("xlsxwriter")
    out = tmp_path / "out"
    out.mkdir()
    with Store(tmp_path / "lab.neogate") as store:
        rows = [measurement(i, label=f"{i * 7919 % 10**9:x}" * 8) for i in range(3000)]
        store.append("signal", rows).result()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", EXPORT, store.path, out / name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "File too large" in done.stdout
    assert [each.name for each in out.iterdir()] == [name]
    size = sum(each.stat().st_size for each in [out / name, *(out / name).rglob("*")])
    assert 0 < size < 40_000
