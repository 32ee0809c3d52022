"""What was told survives kill -9 exactly once, and two processes never disturb each other."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from neogate_lab.history.phases import PHASES
from neogate_lab.history.store import Store, open_store
from tests.history.crash import Lives
from tests.history.samples import NOON, at, sms

ROOT = Path(__file__).parents[2]


def start(path: Path, name: str, most: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.history.recorder", str(path), name, str(most)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize("phase", [*PHASES, "random"])
def test_killed_at_any_moment_what_was_told_is_there_exactly_once(
    tmp_path: Path, phase: str
) -> None:
    chance = random.Random(phase)
    lives = Lives(tmp_path / "lab")
    for _ in range(3):
        lives.live(phase, chance)
        lives.check()
    assert lives.told["signal"]


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


def test_processes_seal_while_others_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    Store(path).close()
    code = (
        "import sys; from neogate_lab.history import open_store, sealer;"
        "sealer._OPEN_DAY = 3; store = open_store(sys.argv[1]);"
        "print(sum(store.seal() for _ in range(40)))"
    )
    writer = start(path, "a", 400)
    sealers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    with open_store(path) as store:
        live = store.live()
        last = 0
        while any(process.poll() is None for process in (writer, *sealers)):
            frame, followed = store.signal(), live.refresh()
            assert len(followed) >= len(frame) >= last
            assert frame["row_id"].is_unique
            assert followed["row_id"].is_unique
            last = len(frame)
        outs = [process.communicate(timeout=60)[0] for process in (writer, *sealers)]
        assert [process.returncode for process in (writer, *sealers)] == [0, 0, 0]
        assert len(outs[0].splitlines()) == 800
        store.seal()
        assert store.seal() == 0
        assert sum(map(int, outs[1:])) <= 1000
        assert len(store.message_parts()) == 600
        assert sorted(store.signal()["label"]) == sorted(f"a{number}" for number in range(400))
        assert sorted(live.refresh()["row_id"]) == list(range(1, 401))
        assert Counter(store.inbox()["text"]) == Counter(f"a{number}" for number in range(400))


def test_the_record_lock_has_one_holder_and_death_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    code = (
        "import sys; from neogate_lab.history import open_store;"
        "lock = open_store(sys.argv[1]).record_lock('../lab');"
        "print(lock.acquire(), lock.acquire(), lock.held, flush=True); sys.stdin.read()"
    )
    with Store(path) as store:
        mine, others = store.record_lock("../lab"), store.record_lock("cellar")
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "True True True\n"
            assert not mine.acquire()
            assert not mine.held
            assert others.acquire()
            process.kill()
            process.wait()
        assert mine.acquire()
        assert not store.record_lock("../lab").acquire()
        mine.release()
        mine.release()
        assert not mine.held
        again = store.record_lock("../lab")
        assert again.acquire()
        again.release()
        others.release()


def test_the_next_holder_finds_until_when_the_last_one_listened(tmp_path: Path) -> None:
    with Store(tmp_path / "lab") as store:
        lock, other = store.record_lock("lab"), store.record_lock("cellar")
        lock.note(NOON)  # without the lock, nothing happens
        assert lock.acquire()
        assert lock.noted() is None
        lock.note(NOON)
        lock.note(NOON.astimezone(timezone(timedelta(hours=3))) + timedelta(seconds=1.5))
        lock.release()
        assert lock.noted() is None
        again = store.record_lock("lab")
        assert again.acquire()
        assert again.noted() == NOON + timedelta(seconds=1.5)
        assert other.acquire()
        assert other.noted() is None
        again.release()
        other.release()
        (file,) = [f for f in (store.path / "locks").iterdir() if f.read_bytes().strip(b"\0\n")]
        file.write_bytes(b"2026-11-2")
        assert again.acquire()
        assert again.noted() is None
        again.release()


def test_who_finds_it_taken_learns_of_which_gateway(tmp_path: Path) -> None:
    with Store(tmp_path / "lab") as store:
        lock, other = store.record_lock("lab", "a-long-name.example"), store.record_lock("lab", "b")
        assert other.endpoint == ""
        assert lock.acquire()
        lock.note(NOON)
        assert not other.acquire()
        assert other.endpoint == "a-long-name.example"
        lock.release()
        assert other.acquire()
        assert (other.noted(), lock.endpoint) == (NOON, "b")
        other.release()


def test_one_of_many_threads_gets_the_lock(tmp_path: Path) -> None:
    with Store(tmp_path / "lab") as store:
        locks = [store.record_lock("lab") for _ in range(8)]
        threads = [threading.Thread(target=lock.acquire) for lock in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(lock.held for lock in locks) == 1
        for lock in locks:
            lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_neither_has_nor_keeps_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, warnings; from neogate_lab.history import Store\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "store = Store(sys.argv[1]); lock = store.record_lock('lab'); assert lock.acquire()\n"
        "inwards, outwards = os.pipe()\n"
        "if child := os.fork():\n"
        "    os.read(inwards, 1); kept = not store.record_lock('lab').acquire()\n"
        "    lock.release(); free = store.record_lock('lab').acquire()\n"
        "    os.kill(child, 9); os.waitpid(child, 0); print(kept, free)\n"
        "else:\n"
        "    os.write(outwards, b'y' if not lock.held and not lock.acquire() else b'')\n"
        "    import time; time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lab")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")
