"""Killed at any moment while messages pour in: what was told is on disk, exactly once."""

from __future__ import annotations

import json
import queue
import random
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

import neogate_lab as ng
from neogate_lab.simulator import SimulatedGateway

RECORDER = """
    import json, sys, threading
    import neogate_lab as ng

    host, port, username, password, store = sys.argv[1:]
    told = threading.Lock()

    def tell(message):
        with told:
            print(json.dumps([message.row_id, message.sender, message.text]), flush=True)

    gw = ng.connect(host, port=int(port), username=username, password=password, store=store,
                    name="lab")
    gw._listen(tell)
    gw.spans()
    print(json.dumps("ready"), flush=True)
    threading.Event().wait()
"""


class Recorder:
    """A process that prints every message that it was told."""

    def __init__(self, sim: SimulatedGateway, store: Path) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(RECORDER),
                sim.host,
                str(sim.port),
                sim.username,
                sim.password,
                str(store),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[Any] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        assert self.lines.get(timeout=20) == "ready"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # a line cut by the kill was not told
                self.lines.put(json.loads(line))

    def kill(self) -> list[Any]:
        """Kill it, as it stands; what it had told since the last look."""
        self._process.kill()
        self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return [self.lines.get() for _ in range(self.lines.qsize())]


@pytest.mark.timeout(60)
def test_what_was_told_is_on_disk_exactly_once(tmp_path: Path) -> None:
    store = tmp_path / "killed.neogate"
    rng = random.Random(20261120)
    told: list[Any] = []
    sent = 0
    with SimulatedGateway(restless=False) as sim:
        for _ in range(7):
            recorder = Recorder(sim, store)
            for _ in range(rng.randrange(1, 120)):
                sent += 1
                text = f"{sent} " + "x" * rng.choice((10, 200, 400))
                order = [*range(1, 2 + (len(text) > 160) + (len(text) > 306))]
                rng.shuffle(order)
                sim.receive_sms(
                    port=rng.randrange(1, 4),
                    sender=f"+7900{sent:07d}",
                    text=text,
                    order=order,
                    reference=f"{sent}",
                )
            # Wait for some of them only, so that the kill hits the middle of the stream.
            for _ in range(rng.randrange(0, 20)):
                try:
                    told.append(recorder.lines.get(timeout=0.5))
                except queue.Empty:
                    break
            told += recorder.kill()
    assert len(told) > 50
    with ng.open_store(store) as kept:
        rows = kept.inbox()
        parts = kept.message_parts()
    on_disk = {row.row_id: [row.row_id, row.sender, row.text] for row in rows.itertuples()}
    assert len(on_disk) == len(rows)
    assert [on_disk.get(message[0]) for message in told] == told
    assert len({message[0] for message in told}) == len(told)
    assert not rows.duplicated(["sender", "reference"]).any()
    assert not parts.duplicated(["sender", "reference", "index"]).any()


@pytest.mark.timeout(60)
def test_parts_that_were_open_at_the_kill_complete_after_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "killed.neogate"
    texts = {f"+7900{number:07d}": f"{number} " + "y" * 200 for number in range(5)}
    with SimulatedGateway(restless=False) as sim:
        first = Recorder(sim, store)
        for sender, text in texts.items():
            sim.receive_sms(port=1, sender=sender, text=text, reference="7", missing=[2])
        sim.receive_sms(port=1, sender="900", text="after the parts")
        assert first.lines.get(timeout=10)[1] == "900"  # told in order: the parts are on disk
        assert first.kill() == []
        second = Recorder(sim, store)
        for sender, text in texts.items():
            sim.receive_sms(port=1, sender=sender, text=text, reference="7", order=[2, 1])
        told = [second.lines.get(timeout=10) for _ in texts]
        sim.receive_sms(port=1, sender="901", text="the end")
        assert second.lines.get(timeout=10)[1] == "901"
        assert second.kill() == []
    assert {sender: text for _, sender, text in told} == texts
    with ng.open_store(store) as kept:
        rows = kept.inbox()
    assert sorted(rows.sender) == sorted([*texts, "900", "901"])
    assert rows.complete.all()
