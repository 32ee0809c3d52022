"""A recorder and a notebook on one store: what arrives is kept once, also when one is killed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import neogate_lab as ng
from tests.support import eventually, recorded

ROOT = Path(__file__).parent.parent


def recording(sim: ng.SimulatedGateway, store: Path) -> subprocess.Popen[bytes]:
    """A recorder in a process of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "neogate_lab.cli", "record", "--every", "10s"),
            *("--store", str(store), f"{sim.host}:{sim.port}"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NEOGATE_USERNAME": sim.username,
            "NEOGATE_PASSWORD": sim.password,
        },
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="kills with -9")
def test_a_notebook_takes_over_from_a_killed_recorder(tmp_path: Path) -> None:
    store = tmp_path / "lab"
    with ng.SimulatedGateway(restless=False) as sim:
        recorder = recording(sim, store)
        try:
            # Its first tick is on record, so it has the lock by now.
            eventually(lambda: len(recorded(store)))
            with ng.connect(
                sim.host, port=sim.port, username=sim.username, password=sim.password, store=store
            ) as gw:
                assert gw.connections().gap_s.isna().all()  # the recorder still listens
                heard: list[str] = []
                gw.on_sms(lambda sms: heard.append(sms.text), name="hear")
                sim.receive_sms(1, "900", "while both live")
                eventually(lambda: heard == ["while both live"])
                for number in range(40):
                    sim.receive_sms(1, "900", f"message {number}")
                    if number == 20:
                        recorder.kill()
                    time.sleep(0.005)
                recorder.wait()
                eventually(lambda: len(heard) == 41)
                texts = list(gw.inbox().text)
        finally:
            recorder.kill()
            recorder.wait()
    assert sorted(texts) == sorted(heard)
    assert set(texts) == {"while both live", *(f"message {number}" for number in range(40))}


@pytest.mark.parametrize("end", ["kill", "terminate"])
@pytest.mark.skipif(sys.platform == "win32", reason="kills with -9")
def test_the_time_after_a_recorder_ended_is_a_gap(tmp_path: Path, end: str) -> None:
    store = tmp_path / "lab"
    with ng.SimulatedGateway(restless=False) as sim:
        recorder = recording(sim, store)
        begun = datetime.now(UTC)
        try:
            eventually(lambda: len(recorded(store)))
            getattr(recorder, end)()
            recorder.wait(timeout=30)
            ended = datetime.now(UTC)
            with ng.connect(
                sim.host, port=sim.port, username=sim.username, password=sim.password, store=store
            ) as gw:
                rows = gw.connections()
        finally:
            recorder.kill()
            recorder.wait()
    first, last = rows[rows.event == "connected"].itertuples()
    assert math.isnan(first.gap_s)  # nobody was there before
    assert "nobody is known to have listened since" in last.reason
    assert 0 <= last.gap_s <= (last.time - begun).total_seconds()
    if end == "kill":
        assert last.gap_s >= (last.time - ended).total_seconds()
