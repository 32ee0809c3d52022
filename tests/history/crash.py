"""Lives of a recorder that are cut short, and what must hold of the store after each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from neogate_lab.history import segments
from neogate_lab.history.store import open_store
from tests.history.samples import at

ROOT = Path(__file__).parents[2]


@dataclass
class Lives:
    """One store, its recorders one after the other, and all that they were told."""

    path: Path
    lives: int = 0
    told: dict[str, dict[str, int]] = field(default_factory=lambda: {"signal": {}, "message": {}})
    orphans: int = 0
    slowest_open_s: float = 0.0

    def live(self, phase: str, chance: Random) -> None:
        """Record until the phase kills, or, for "random", until this process does."""
        name = f"life{self.lives}-"
        self.lives += 1
        at_phase = ["queued" if phase == "random" else phase, str(chance.randrange(1, 12))]
        if phase == "random":
            at_phase[1] = "1000000"
        elif phase in ("queued", "committed"):
            at_phase[1] = str(chance.randrange(1, 300))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.history.recorder", self.path, name, "0", *at_phase],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            lines = []
            if phase == "random":
                lines += [process.stdout.readline() for _ in range(chance.randrange(1, 600))]
                time.sleep(chance.random() / 50)
                process.kill()
            lines += process.stdout.readlines()
        assert process.returncode == -9, process.returncode
        for line in lines:
            if line.endswith("\n"):
                kind, number, row_id = line.split()
                self.told[kind][f"{name}{number}"] = int(row_id.strip("[]"))

    def check(self) -> None:
        """Everything told is there exactly once, and every segment is listed exactly once."""
        before = self._files()
        start = time.perf_counter()
        store = open_store(self.path)
        self.slowest_open_s = max(self.slowest_open_s, time.perf_counter() - start)
        with store:
            files = self._files()
            self.orphans += len(before) - len(files)
            assert files == self._listed()
            signal, inbox = store.signal(), store.inbox()
            parts = Counter(store.message_parts()["content"])
            waiting = store.recent_parts("lab", at(10**8)).result()
            with store._journal.reading() as connection:
                (unsealed,) = connection.execute("SELECT count(*) FROM signal").fetchone()
                sealed = sum(one.rows for one in segments.listed(connection, "signal"))
        assert unsealed + sealed == len(signal)
        on_disk = dict(zip(signal["label"], signal["row_id"], strict=True))
        assert len(on_disk) == len(signal)
        assert self.told["signal"].items() <= on_disk.items()
        messages = dict(zip(inbox["text"], inbox["row_id"], strict=True))
        assert len(messages) == len(inbox)
        assert self.told["message"].items() <= messages.items()
        for text in messages:
            odd = int(text.rpartition("-")[2]) % 2
            assert parts[text] == (1 if odd else 2)
        assert not {row["content"] for row, _ in waiting} & messages.keys()

    def _files(self) -> list[str]:
        folder = self.path / "segments"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))

    def _listed(self) -> list[str]:
        with open_store(self.path)._journal.reading() as connection:
            names = [
                one.name
                for table in ("signal", "message_parts", "ussd", "connections")
                for one in segments.listed(connection, table)
            ]
        assert len(set(names)) == len(names)
        return sorted(names)
