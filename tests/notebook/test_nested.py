"""allow_nested_loops where there is nothing to nest; test_kernel.py has the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import neogate_lab

PLAIN = """
import asyncio
import neogate_lab as ng

before = (asyncio.run, asyncio.Task, asyncio.get_event_loop)
ng.allow_nested_loops()
assert (asyncio.run, asyncio.Task, asyncio.get_event_loop) == before

async def main():
    ng.allow_nested_loops()
    ng.allow_nested_loops()
    async def inner():
        await asyncio.sleep(0)
        return 7
    return asyncio.run(inner())

print(asyncio.run(main()))
"""


def test_a_plain_script_is_left_alone_until_a_loop_runs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PLAIN)
    run = subprocess.run(
        [sys.executable, "-W", "error", script],
        env={"PYTHONPATH": str(Path(neogate_lab.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("7\n", "")
