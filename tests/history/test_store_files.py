"""A store is a private folder; anything else at its path is refused in one sentence."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history.journal import STORE_VERSION
from neogate_lab.history.store import Store, open_store
from tests.history.samples import measurement


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_and_every_file_in_it_are_the_users_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        with Store(tmp_path / "lab") as store:
            store.append("signal", [measurement()]).result()
            assert store.owner
            assert store.record_lock("lab").acquire()
            store.seal()
            store.export(tmp_path / "out.csv", redact="all")
            found = {path.name: mode(path) for path in store.path.rglob("*") if path.is_file()}
            folders = {path.name: mode(path) for path in store.path.rglob("*") if path.is_dir()}
    finally:
        os.umask(previous)
    assert mode(tmp_path / "lab") == 0o700
    assert {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "redaction.key"} <= set(
        found
    )
    assert set(found.values()) == {0o600}
    assert set(folders) == {"locks", "owners", "segments", "signal"}
    assert set(folders.values()) == {0o700}


@pytest.mark.parametrize("path", [3, None, b"lab", "", "a\0b"])
@pytest.mark.parametrize("use", [Store, open_store])
def test_what_is_no_path_is_told(use: Callable[[Any], Store], path: object) -> None:
    with pytest.raises(InvalidRequest, match="a path is text that is not empty"):
        use(path)


def test_commits_survive_power_loss(store: Store) -> None:
    def settings(connection: sqlite3.Connection) -> tuple[str, int]:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        return journal, synchronous

    assert store._writer.submit(settings).result() == ("wal", 2)


def test_a_store_opens_again_with_what_was_told(tmp_path: Path) -> None:
    with Store(tmp_path / "lab") as store:
        told = store.append("signal", [measurement()]).result()
    with open_store(tmp_path / "lab") as again:
        assert list(again.signal()["row_id"]) == told


def test_open_store_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*check the spelling"):
        open_store(tmp_path / "typo")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for opening in (Store, open_store):
        with pytest.raises(StoreError, match="is a file, and a store is a folder"):
            opening(tmp_path / "file")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    before = mode(tmp_path)
    with pytest.raises(StoreError, match="choose a new path"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert mode(tmp_path) == before


def test_a_missing_parent_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check the path"):
        Store(tmp_path / "no" / "lab")


def test_a_newer_store_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    Store(path).close()
    with sqlite3.connect(path / "journal.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {STORE_VERSION + 1}")
    connection.close()
    for opening in (Store, open_store):
        with pytest.raises(StoreError, match=r"newer neogate_lab.*upgrade"):
            opening(path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    path.mkdir()
    connection = sqlite3.connect(path / "journal.sqlite")
    connection.execute("CREATE TABLE accounts (id)")
    connection.close()
    for opening in (Store, open_store):
        with pytest.raises(StoreError, match="not of a NeoGate store"):
            opening(path)


@pytest.mark.parametrize("harm", ["garbage", "truncated", "emptied"])
def test_a_damaged_journal_is_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "lab"
    with Store(path) as store:
        store.append("signal", [measurement(i) for i in range(2000)]).result()
    journal = path / "journal.sqlite"
    data = journal.read_bytes()
    harmed = {"garbage": os.urandom(9000), "truncated": data[: len(data) // 2], "emptied": b""}
    journal.write_bytes(harmed[harm])
    with pytest.raises(StoreError, match=r"damaged|not of a NeoGate store"):
        open_store(path)


def test_a_removed_store_is_noticed_before_anyone_is_told(tmp_path: Path) -> None:
    with Store(tmp_path / "lab") as store:
        store.append("signal", [measurement()]).result()
        (tmp_path / "lab").rename(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="check the path"):
            store.append("signal", [measurement()]).result()
        (tmp_path / "elsewhere").rename(tmp_path / "lab")
        assert store.append("signal", [measurement()]).result() == [2]


def test_memory_is_a_private_folder_until_close() -> None:
    store = Store(":memory:")
    store.append("signal", [measurement()]).result()
    assert mode(store.path) == 0o700
    store.close()
    assert not store.path.exists()


def test_a_forgotten_store_ends_by_itself() -> None:
    store = Store(":memory:")
    store.append("signal", [measurement()]).result()
    thread, path = store._writer._thread, store.path
    del store
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert not path.exists()


def test_close_twice_and_use_after_it(store: Store) -> None:
    assert repr(store) == f"<Store {store.path}>"
    store.close()
    store.close()
    assert repr(store) == f"<Store {store.path} closed>"
    with pytest.raises(StoreError, match="is closed"):
        store.append("signal", [measurement()])
    with pytest.raises(StoreError, match="is closed"):
        store.signal()


def test_close_writes_what_is_queued(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    told = [store.append("signal", [measurement(i)]) for i in range(50)]
    store.close()
    assert [future.result(0) for future in told] == [[i + 1] for i in range(50)]


def run(code: str, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=Path(__file__).parents[2],
        check=False,
    )


def test_leaving_the_interpreter_with_an_open_store_writes_and_does_not_hang(
    tmp_path: Path,
) -> None:
    done = run(
        "import sys; from neogate_lab.history.store import Store;"
        "from tests.history.samples import measurement;"
        "store = Store(sys.argv[1]); temporary = Store(':memory:');"
        "temporary.append('signal', [measurement()]);"
        "print(temporary.path);"
        "[store.append('signal', [measurement(i)]) for i in range(100)]",
        tmp_path / "lab",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(done.stdout.strip()).exists()
    with open_store(tmp_path / "lab") as store:
        assert len(store.signal()) == 100


def test_importing_the_store_stays_light() -> None:
    done = run(
        "import sys, neogate_lab.history.store;"
        "print(sorted({'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_parent_and_forked_child_both_go_on(tmp_path: Path) -> None:
    done = run(
        "import os, sys, warnings; from neogate_lab.history.store import Store\n"
        "from tests.history.samples import measurement\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "store = Store(sys.argv[1]); store.append('signal', [measurement()]).result()\n"
        "parent = store.owner\n"
        "if child := os.fork():\n"
        "    _, status = os.waitpid(child, 0)\n"
        "    ids = store.append('signal', [measurement()]).result()\n"
        "    print(os.waitstatus_to_exitcode(status), ids, store.owner == parent)\n"
        "else:\n"
        "    ids = store.append('signal', [measurement()]).result()\n"
        "    good = ids == [2] and store.owner != parent and store._owners.alive(parent)\n"
        "    store.close(); os._exit(0 if good else 1)\n",
        tmp_path / "lab",
    )
    assert (done.stdout, done.stderr) == ("0 [3] True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_waits_until_no_thread_is_in_the_database(tmp_path: Path) -> None:
    done = run(
        "import os, sys, threading, time, warnings; from neogate_lab.history.store import Store\n"
        "from tests.history.samples import measurement\n"
        "warnings.simplefilter('ignore', DeprecationWarning)\n"
        "store = Store(sys.argv[1]); store.append('signal', [measurement()]).result()\n"
        "inside, left = threading.Event(), []\n"
        "def read():\n"
        "    with store._journal.reading() as connection:\n"
        "        inside.set(); time.sleep(0.3)\n"
        "        connection.execute('SELECT count(*) FROM signal').fetchall(); left.append(True)\n"
        "reader = threading.Thread(target=read); reader.start(); inside.wait()\n"
        "if child := os.fork():\n"
        "    _, status = os.waitpid(child, 0); reader.join()\n"
        "    ids = store.append('signal', [measurement()]).result()\n"
        "    print(os.waitstatus_to_exitcode(status), left, ids)\n"
        "else:\n"
        "    ids = store.append('signal', [measurement()]).result()\n"
        "    store.close(); os._exit(0 if left and ids == [2] else 1)\n",
        tmp_path / "lab",
    )
    assert (done.stdout, done.stderr) == ("0 [True] [3]\n", "")
