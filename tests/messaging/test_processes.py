"""Two processes on one store and port: the pace holds, a key goes out once, none is orphaned."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import neogate_lab as ng
from neogate_lab.errors import NeogateWarning

Connect = Callable[..., ng.Gateway]

SENDER = """
    import asyncio, json, sys
    from neogate_lab.history.store import Store
    from neogate_lab.link.async_gateway import AsyncGateway

    host, port, store, interval, messages = sys.argv[1:]

    async def main():
        async with AsyncGateway(host, port=int(port), username="apiuser", password="apipass",
                                name="lab", ledger=Store(store),
                                sms_interval=float(interval)) as gw:
            print("ready", flush=True)
            sys.stdin.readline()
            results = await gw.send_many(json.loads(messages))
            print(json.dumps([result.status for result in results]), flush=True)

    asyncio.run(main())
"""


def start(
    sim: ng.SimulatedGateway, store: Path, interval: float, messages: list[dict[str, Any]]
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", textwrap.dedent(SENDER), sim.host, str(sim.port)),
            *(str(store), str(interval), json.dumps(messages)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def messages(name: str, count: int) -> list[dict[str, Any]]:
    shared = {"to": "+79000", "text": "for both", "port": 1, "key": "shared"}
    own = [{"to": "+79000", "text": f"{name} {number}", "port": 1} for number in range(count)]
    return [own[0], shared, *own[1:]]


@pytest.mark.timeout(60)
def test_two_processes_share_one_port(sim: ng.SimulatedGateway, tmp_path: Path) -> None:
    interval = 0.1
    store = tmp_path / "lab.neogate"
    processes = [start(sim, store, interval, messages(name, 5)) for name in "ab"]
    for process in processes:
        go(process)
    for process in processes:
        out, _ = process.communicate(timeout=30)
        assert json.loads(out) == ["sent"] * 6
    expected = ["for both", *(f"{name} {number}" for name in "ab" for number in range(5))]
    assert Counter(sms.text for sms in sim.sent) == Counter(expected)
    with ng.open_store(store) as kept:
        times = sorted(kept.outbox().written_at)
        owners = kept.outbox().owner.nunique()
    assert owners == 2
    assert all((b - a).total_seconds() >= interval for a, b in pairwise(times))


@pytest.mark.timeout(60)
def test_who_waits_for_anothers_sms_takes_it_up_when_that_one_dies(
    sim: ng.SimulatedGateway, connect: Connect, tmp_path: Path
) -> None:
    store = tmp_path / "lab.neogate"
    other = start(sim, store, 60.0, messages("a", 2))
    go(other)
    assert sim.wait_until(lambda: len(sim.sent) == 1)
    gw = connect(store=store)
    seen: list[str] = []

    def follow(result: ng.SmsResult) -> None:
        seen.append(result.status)
        if result.status == "queued":
            other.kill()

    result = gw.send_sms("+79000", "for both", port=1, key="shared", progress=follow)
    other.communicate()
    assert result.status == "sent"
    assert seen[0] == "queued"
    assert [sms.text for sms in sim.sent] == ["a 0", "for both"]


@pytest.mark.timeout(60)
def test_what_a_killed_process_left_is_warned_of_and_taken_up(
    sim: ng.SimulatedGateway, connect: Connect, tmp_path: Path
) -> None:
    sim.set_send_outcome(outcome="never", times=1)
    store = tmp_path / "lab.neogate"
    other = start(sim, store, 60.0, messages("a", 2))
    go(other)
    assert sim.wait_until(lambda: len(sim.sent) == 1)
    other.kill()
    other.communicate()
    with pytest.warns(NeogateWarning, match=r"2 SMS queued .* resume_outbox"):
        gw = connect(store=store, sms_status_timeout=0.3)
    assert len(sim.sent) == 1  # nothing by itself
    taken = gw.resume_outbox()
    assert sorted(taken.status) == ["sent", "sent", "unknown"]
    assert Counter(sms.text for sms in sim.sent) == Counter(["a 0", "for both", "a 1"])
    assert gw.resume_outbox().empty


def test_an_sms_for_any_port_leaves_the_one_that_went_down_since(
    sim: ng.SimulatedGateway, connect: Connect, tmp_path: Path
) -> None:
    path = tmp_path / "lab.neogate"
    with ng.Store(path) as dead:
        for auto in (True, False):
            row = {
                **{"queued_at": datetime.now(UTC), "gateway": "lab", "port": 2, "span": 3},
                **{"to": "+79000", "text": f"auto {auto}", "segments": 1, "id": f"ng{auto}"},
            }
            dead.enqueue({**row, "auto": auto}).result()
    sim.set_status(2, registered=False)
    with pytest.warns(NeogateWarning, match=r"2 SMS queued .* resume_outbox"):
        gw = connect(store=path)
    taken = gw.resume_outbox().set_index("id")
    assert taken.port["ngTrue"] != 2
    assert taken.status["ngTrue"] == "sent"
    assert taken.port["ngFalse"] == 2  # whether that one can send is for the gateway to say


def test_a_living_processes_sms_are_left_to_it(
    sim: ng.SimulatedGateway, connect: Connect, tmp_path: Path
) -> None:
    other = start(sim, tmp_path / "lab.neogate", 60.0, messages("a", 2))
    go(other)
    assert sim.wait_until(lambda: len(sim.sent) == 1)
    gw = connect(store=tmp_path / "lab.neogate")
    assert gw.resume_outbox().empty
    assert len(gw.waiting()) == 2
    other.kill()
    other.communicate()
