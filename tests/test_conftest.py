"""The shared fixtures can fail: every kind of leak is seen, and what is clean passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

LEAKS = """
import asyncio, socket, threading

held = []

def test_clean():
    with socket.create_server(("127.0.0.1", 0)):
        thread = threading.Thread(target=lambda: None, name="neogate-quick")
        thread.start()

def test_thread():
    stop = threading.Event()
    held.append(stop)
    threading.Thread(target=stop.wait, name="neogate-lost", daemon=True).start()

def test_socket():
    held.append(socket.create_server(("127.0.0.1", 0)))

async def test_task():
    held.append(asyncio.create_task(asyncio.sleep(60)))

def test_unasked():
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.set_exception(OSError("nobody asked"))
    del future
    loop.close()

async def test_clean_again():
    await asyncio.create_task(asyncio.sleep(0))
"""


def test_each_kind_of_leak_is_seen(tmp_path: Path) -> None:
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    (tmp_path / "quick.py").write_text("import tests.conftest\ntests.conftest.GRACE = 0.2\n")
    (tmp_path / "pytest.ini").write_text(INI)
    places = [str(Path(__file__).parents[1]), str(tmp_path)]
    command = f"import sys, pytest; sys.path[:0] = {places}; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-p", "quick", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rA"]
    run = subprocess.run(
        [sys.executable, "-c", command, *options, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in run.stdout.splitlines() if "::test_" in line and line[0] in "EF"]
    found = {line.split("::")[1].split()[0] for line in lines}
    assert found == {"test_thread", "test_socket", "test_task", "test_unasked"}, run.stdout
