"""A survey whose process is killed goes on by name in another: same grid, label and count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import neogate_lab as ng
from tests.support import login

ROOT = Path(__file__).parents[1]
EVERY = 0.2
SETTINGS = {"every": EVERY, "duration": "3s", "label": "sill", "name": "roof test"}

SURVEYOR = """
    import os, sys, time
    import neogate_lab as ng

    host, port, store = sys.argv[1:]
    gw = ng.connect(host, port=int(port), username="apiuser", password="apipass", store=store,
                    name="lab")
    survey = gw.survey(every=0.2, duration="3s", label="sill", name="roof test", progress=False)
    while survey.done < 2:
        time.sleep(0.01)
    survey.mark("roof", port=2)
    done = survey.done
    while survey.done < done + 3:
        time.sleep(0.01)
    os.write(1, b"go")
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with -9")
def test_a_killed_survey_goes_on_by_name(tmp_path: Path) -> None:
    store = tmp_path / "lab"
    with ng.SimulatedGateway(2, restless=False) as sim:
        command = [sys.executable, "-c", textwrap.dedent(SURVEYOR), sim.host, str(sim.port)]
        with subprocess.Popen(
            [*command, str(store)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.read(2) == b"go"
            process.kill()
            assert process.wait(20) == -signal.SIGKILL
        with ng.connect(sim.host, **login(sim, store=store)) as gw:
            with pytest.warns(
                ng.NeogateWarning, match=r"'roof test' goes on after \d+ of 15 ticks"
            ):
                survey = gw.survey(**SETTINGS, progress=False)
            before = survey.done
            survey.wait(timeout="60s")
            frame, surveys, links = survey.frame(), gw.store.surveys(), gw.connections()
    assert 5 <= before < 15
    grid = (frame.time - frame.time.iloc[0]).dt.total_seconds() / EVERY
    assert (grid.round(4) % 1 == 0).all()
    assert frame.time.nunique() == 15
    assert not frame.duplicated(["port", "time"]).any()
    assert frame[frame.port == 1].label.unique().tolist() == ["sill"]
    assert frame[frame.port == 2].label.unique().tolist() == ["sill", "roof"]
    assert frame[frame.time >= surveys.time.iloc[1]].label.unique().tolist() == ["sill", "roof"]
    assert surveys.reason.tolist() == ["died", "done"]
    gap = links[links.event == "not_running"]
    assert len(gap) == 1
    assert gap.gap_s.iloc[0] > 0
