"""What breaks on a disk is said in one sentence, and nothing else is lost by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from neogate_lab.errors import StoreError
from neogate_lab.history import sealer
from neogate_lab.history.export import read_parquet
from neogate_lab.history.store import Store, open_store
from tests.history.samples import NOON, at, measurement

ROOT = Path(__file__).parents[2]
DAY = 86_400
SAMPLES = "from tests.history.samples import NOON, at, measurement\n"


def run(code: str, *arguments: object, **options: int) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SAMPLES + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def sealed(path: Path, days: int = 3) -> list[Path]:
    """Make a store with a segment for each day."""
    with Store(path, clock=lambda: NOON) as store:
        rows = [measurement(day * DAY + i) for day in range(days) for i in range(100)]
        store.append("signal", rows).result()
        store.seal()
    return sorted((path / "segments" / "signal").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit on this platform")
def test_a_full_disk_leaves_rows_in_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    out = run(
        "import os, resource, sys\n"
        "from neogate_lab.errors import StoreError\n"
        "from neogate_lab.history import Store\n"
        "store = Store(sys.argv[1], clock=lambda: NOON)\n"
        "told = store.append('signal', [measurement(i, label=os.urandom(16).hex())"
        " for i in range(3000)]).result()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))\n"
        "try:\n    store.seal()\n"
        "except StoreError as error:\n    print(error)\n"
        "try:\n    store.append('signal', [measurement()]).result()\n"
        "except StoreError as error:\n    print('append', error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "assert len(store.signal()) == 3000\n"
        "left = [p.name for p in store.path.glob('segments/*/*')]; assert not left, left\n"
        "assert store.append('signal', [measurement()]).result() == [3001]\n"
        "print(store.seal(), len(store.signal()))\n",
        path,
    )
    lines = out.splitlines()
    assert "File too large" in lines[0]
    assert "failed" in lines[1]
    assert lines[2] == "3001 3001"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("act", ["open", "append", "seal"])
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path, act: str) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)
    path = tmp_path / "lab"
    sealed(path)
    for entry in (path, *path.rglob("*")):
        entry.chmod(0o755 if entry.is_dir() else 0o644)
    out = run(
        "import os, sys\n"
        "from neogate_lab.errors import StoreError\n"
        "from neogate_lab.history import open_store\n"
        "import neogate_lab.history.sealer, pandas, pyarrow.parquet\n"
        "act = sys.argv[2]\n"
        "store = None if act == 'open' else open_store(sys.argv[1])\n"
        "os.setuid(12345)\n"
        "try:\n"
        "    if act == 'open': open_store(sys.argv[1])\n"
        "    if act == 'append': store.append('signal', [measurement()]).result()\n"
        "    if act == 'seal': store.seal()\n"
        "except StoreError as error:\n    print('said', error)\n",
        path,
        act,
    )
    assert out.startswith("said the store ")
    assert "who may write there" in out
    with open_store(path) as store:
        assert len(store.signal()) == 300


@pytest.mark.parametrize("harm", ["cut", "flipped", "emptied", "missing"])
def test_a_damaged_segment_is_named_and_the_others_are_read(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "lab"
    middle = sealed(path)[1]
    data = bytearray(middle.read_bytes())
    if harm == "missing":
        middle.unlink()
    else:
        data[len(data) // 3] ^= 0xFF
        harmed = {"cut": data[: len(data) // 2], "emptied": b"", "flipped": data}
        middle.write_bytes(harmed[harm])
    with Store(path, clock=lambda: NOON) as store:  # nothing is old enough to be sealed unasked
        with pytest.raises(StoreError, match=rf"{middle.name} is missing, damaged"):
            store.signal()
        assert len(store.signal(until=at(DAY - 1))) == 100
        assert len(store.signal(since=at(2 * DAY - 1))) == 100
        assert store.append("signal", [measurement(3 * DAY)]).result() == [301]
        assert store.seal() == 1
        assert len(store.signal(since=at(2 * DAY - 1))) == 101


def test_a_damaged_segment_is_not_merged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "lab"
    with Store(path, clock=lambda: NOON) as store:
        for second in range(2):
            store.append("signal", [measurement(second)]).result()
            store.seal()
        first, second = sorted(path.glob("segments/signal/*"))
        first.write_bytes(b"PAR1")
        store.append("signal", [measurement(DAY)]).result()
        assert store.seal() == 1
        assert "stay apart" in caplog.text
        assert second.exists()
        assert len(store.signal(after_row=1)) == 2


@pytest.mark.parametrize("harm", ["lost", "emptied", "older"])
def test_segments_are_never_thrown_away_for_a_journal_that_is_not_theirs(
    tmp_path: Path, harm: str
) -> None:
    path = tmp_path / "lab"
    with Store(path, clock=lambda: NOON) as store:
        store.append("signal", [measurement()]).result()
    shutil.copy(path / "journal.sqlite", tmp_path / "backup")
    files = sealed(path)
    for journal in path.glob("journal.*"):
        journal.unlink()
    if harm == "emptied":
        (path / "journal.sqlite").touch()
    if harm == "older":
        shutil.copy(tmp_path / "backup", path / "journal.sqlite")
    with pytest.raises(StoreError, match=r"restore the journal|other things in it"):
        Store(path)
    assert all(file.exists() for file in files)
    assert sum(len(read_parquet(file)) for file in files) == 301


def test_a_damaged_journal_leaves_the_segments_readable(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    files = sealed(path)
    (path / "journal.sqlite").write_bytes(os.urandom(9000))
    with pytest.raises(StoreError, match="segments are Parquet files, which read_parquet reads"):
        open_store(path)
    assert sum(len(read_parquet(file)) for file in files) == 300


def test_what_a_crash_left_goes_when_the_store_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    files = sealed(path)
    left = [files[0].with_name("2026-11-20.5-9.parquet"), files[0].with_suffix(".tmp")]
    for file in left:
        file.write_bytes(b"half")
    strange = files[0].with_name("notes.txt")
    strange.write_text("mine")
    open_store(path).close()
    assert not any(file.exists() for file in left)
    assert strange.exists()
    assert all(file.exists() for file in files)


def test_what_a_crash_left_stays_while_another_seals(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    draft = sealed(path)[0].with_suffix(".tmp")
    with Store(path, clock=lambda: NOON) as store, store._sealer._locked(wait=True):
        draft.write_bytes(b"half")
        open_store(path).close()
        assert draft.exists()


def test_the_background_says_once_that_it_can_not_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sealer, "SEAL_ROWS", 10)
    with Store(tmp_path / "lab", clock=lambda: NOON) as store:
        (store.path / "segments").write_text("in the way")
        for _ in range(3):
            store.append("signal", [measurement(i) for i in range(20)]).result()
            for _ in range(2):
                store._writer.submit(lambda _: None).result()
            assert store._sealer._thread is not None
            store._sealer._thread.join()
        assert caplog.text.count("rows stay in the journal") == 1
        assert len(store.signal()) == 60


@pytest.mark.parametrize("time", [datetime(2026, 11, 20), None])
def test_a_clock_that_fails_ends_no_recording(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    time: datetime | None,
) -> None:
    monkeypatch.setattr(sealer, "SEAL_ROWS", 10)

    def clock() -> datetime:
        if time is None:
            raise RuntimeError("no battery")
        return time  # naive

    with Store(tmp_path / "lab", clock=clock) as store:
        for _ in range(3):
            store.append("signal", [measurement(i) for i in range(20)]).result(10)
        assert store.seal() == 60
    assert caplog.text.count("rows stay in the journal for now: the store's clock failed") == 1


def test_a_writer_that_can_not_be_started_is_said_and_hangs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Store(tmp_path / "lab") as store:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", too_many)
            with pytest.raises(StoreError, match="can't start new thread"):
                store.append("signal", [measurement()])
        assert len(store.append("signal", [measurement()]).result(10)) == 1
        assert len(store.signal()) == 1  # what was refused is not written later


def test_whatever_keeps_the_journal_from_opening_reaches_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise MemoryError("no room")

    with Store(tmp_path / "lab") as store:
        with monkeypatch.context() as patch:
            patch.setattr(store._journal, "connect", broken)
            with pytest.raises(MemoryError):
                store.append("signal", [measurement()]).result(10)
        assert len(store.append("signal", [measurement()]).result(10)) == 1


def test_closing_ends_a_seal_that_waits_for_another_process(tmp_path: Path) -> None:
    with Store(tmp_path / "lab") as store, store._sealer._locked(wait=True):
        other = Store(tmp_path / "lab")
        with ThreadPoolExecutor(1) as pool:
            sealing = pool.submit(other.seal)
            with pytest.raises(TimeoutError):
                sealing.result(0.1)
            other.close()
            with pytest.raises(StoreError, match="closed"):
                sealing.result(10)


def test_a_store_dropped_in_the_middle_of_writing_waits_for_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    writer = store._writer

    def stop() -> None:
        with writer._mutex:  # where a finalizer may run, in this very thread
            writer.stop()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    store.close()


def test_an_interrupt_while_a_store_closes_leaves_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "lab")
    store.append("signal", [measurement()]).result()

    def interrupted(timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._sealer, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert store._writer._thread is not None
    assert not store._writer._thread.is_alive()
