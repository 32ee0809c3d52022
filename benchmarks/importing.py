"""Import time: what `import neogate_lab` adds to a kernel, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.contest import Result, contest

__all__ = ["run"]


def run(rounds: int) -> list[Result]:
    """Milliseconds of imports; the budget is 150 ms beyond pandas."""
    return contest(
        "import",
        "ms ↓",
        {
            "pandas": lambda: _milliseconds("", "import pandas"),
            "neogate_lab": lambda: _milliseconds("", "import neogate_lab"),
            "neogate_lab, after pandas": lambda: _milliseconds(
                "import pandas", "import neogate_lab"
            ),
            "ng.connect, after pandas": lambda: _milliseconds(
                "import pandas", "from neogate_lab import connect"
            ),
        },
        rounds=rounds,
        reference="pandas",
    )


def _milliseconds(before: str, statement: str) -> float:
    program = (
        f"{before}\nimport time\nstart = time.perf_counter()\n{statement}\n"
        "print(1000 * (time.perf_counter() - start))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(run.stdout)
