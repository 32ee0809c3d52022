"""What was told survives kill -9 exactly once, and two processes never disturb each other."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from neogate_lab.history.store import Store, open_store
from tests.history.samples import at, sms

ROOT = Path(__file__).parents[2]


def start(path: Path, name: str, most: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.history.recorder", str(path), name, str(most)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_killed_at_any_moment_what_was_told_is_there_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "lab"
    told: dict[str, dict[str, int]] = {"signal": {}, "message": {}}
    for life in range(10):
        with start(path, f"life{life}-") as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randrange(1, 400))]
            process.kill()
            lines += process.stdout.readlines()  # told before the kill reached it
        for line in lines:
            if line.endswith("\n"):
                kind, number, row_id = line.split()
                told[kind][f"life{life}-{number}"] = int(row_id.strip("[]"))
        with open_store(path) as store:
            signal, inbox = store.signal(), store.inbox()
            parts = Counter(store.message_parts()["content"])
            waiting = store.recent_parts("lab", at(10**8)).result()
        on_disk = dict(zip(signal["label"], signal["row_id"], strict=True))
        assert len(on_disk) == len(signal)
        assert told["signal"].items() <= on_disk.items()
        messages = dict(zip(inbox["text"], inbox["row_id"], strict=True))
        assert len(messages) == len(inbox)
        assert told["message"].items() <= messages.items()
        for text in messages:
            odd = int(text.rpartition("-")[2]) % 2
            assert parts[text] == (1 if odd else 2)
        assert not {row["content"] for row, _ in waiting} & messages.keys()
    assert len(told["signal"]) > 100


def test_two_processes_write_at_once_and_a_third_reads(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    Store(path).close()
    writers = [start(path, name, 200) for name in ("a", "b")]
    lengths = [0]
    with open_store(path) as store:
        while any(writer.poll() is None for writer in writers):
            lengths.append(len(store.signal()))
        for writer in writers:
            out, _ = writer.communicate(timeout=60)
            assert writer.returncode == 0
            assert len(out.splitlines()) == 400
        signal = store.signal()
        assert lengths == sorted(lengths)
        assert signal["row_id"].is_unique
        names = [f"{name}{number}" for name in "ab" for number in range(200)]
        assert sorted(signal["label"]) == sorted(names)
        assert Counter(store.inbox()["text"]) == Counter(names)


def test_a_killed_owners_rows_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    code = (
        "import sys; from neogate_lab.history.store import Store;"
        "from tests.history.samples import at, sms;"
        "store = Store(sys.argv[1]);"
        "store.enqueue(sms(key='k', id='ng1')).result();"
        "row, _ = store.enqueue(sms(id='ng2', port=2)).result();"
        "store.claim(row['row_id'], now=at(0), interval=10).result();"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with open_store(path) as store:
            alive = [row["owner_alive"] for row in store.waiting("lab").result()]
            assert alive == [True, True]
            assert store.enqueue(sms(key="k")).result()[1] is False
            process.kill()
            process.wait()
            found = [(r["status"], r["owner_alive"]) for r in store.waiting("lab").result()]
            assert found == [("queued", False), ("written", False)]
            row, fresh = store.enqueue(sms(key="k")).result()
            assert (fresh, row["owner"], row["id"]) == (True, store.owner, "ng1")
            pace = sms(port=2)
            waits, _ = store.enqueue(pace).result()
            assert store.claim(waits["row_id"], now=at(4), interval=10).result() == 6.0
