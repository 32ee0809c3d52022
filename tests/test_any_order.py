"""Verbs, panels, faults and the end in any order, from several threads: all of them end."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import neogate_lab as ng
from neogate_lab.gateway import Gateway
from neogate_lab.simulator import SimulatedGateway
from tests.support import login

QUICK: dict[str, Any] = {
    "connect_timeout": 1.0,
    "command_timeout": 0.5,
    "keepalive": 0.3,
    "sms_status_timeout": 1.0,
}
LONG = 60.0
"""Seconds until something counts as hanging, on any machine."""


def survey(gw: Gateway) -> None:
    running = gw.survey(every=0.1, name="s", progress=False)
    running.pause()
    running.resume()
    running.stop()


def conversation(gw: Gateway) -> None:
    with gw.ussd_session(1) as session:
        session.send("*100#", timeout=1)


VERBS: list[Callable[[Gateway], object]] = [
    Gateway.spans,
    Gateway.sample,
    Gateway.reconnect,
    Gateway.resume_outbox,
    Gateway.waiting,
    Gateway.inbox,
    repr,
    survey,
    conversation,
    lambda gw: gw.survey(every=0.1, progress=False),
    lambda gw: gw.send_sms("900", "one", port=1),
    lambda gw: gw.send_sms("900", "two", port=2, wait=False),
    lambda gw: gw.send_many([{"to": "900", "text": "three", "port": "auto"}], progress=False),
    lambda gw: gw.ussd_all("*100#", timeout=1),
    lambda gw: gw.wait_for_sms(timeout=0.1),
    lambda gw: gw.on_sms(lambda message: gw.sample(), name="sample"),
    lambda gw: ng.Dashboard(gw).close(),
    lambda gw: ng.InboxPanel(gw).retire(),
]
FAULTS: list[Callable[[SimulatedGateway], object]] = [
    lambda sim: sim.freeze(0.2),
    lambda sim: sim.drop_connections(reset=True),
    lambda sim: sim.swallow(),
    lambda sim: sim.cut_next_reply(),
    lambda sim: sim.restart(0.1),
    lambda sim: sim.refuse_logins(times=1),
    lambda sim: sim.receive_sms(1, "900", "long " * 60),
    lambda sim: sim.remove_sim(2),
]


@pytest.mark.filterwarnings("ignore::neogate_lab.errors.NeogateWarning")
@pytest.mark.parametrize("seed", range(6))
def test_everything_ends(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    with SimulatedGateway(ports=2, login_delay=0.01) as sim, ThreadPoolExecutor(6) as pool:
        gw = ng.connect(sim.host, **login(sim, store=tmp_path / "lab", **QUICK))

        def use(verbs: list[Callable[[Gateway], object]]) -> None:
            for verb in verbs:
                with contextlib.suppress(ng.NeogateError):  # the link is down, or it was closed
                    verb(gw)

        def harm(faults: list[Callable[[SimulatedGateway], object]]) -> None:
            for fault in faults:
                fault(sim)
                time.sleep(chance.uniform(0, 0.1))

        together = threading.Barrier(2)

        def close() -> None:
            together.wait(LONG)
            gw.close()

        working = [pool.submit(use, chance.choices(VERBS, k=6)) for _ in range(3)]
        working.append(pool.submit(harm, chance.choices(FAULTS, k=4)))
        time.sleep(chance.uniform(0, 0.5))
        for each in [*working, pool.submit(close), pool.submit(close)]:
            each.result(LONG)
    with ng.Store(tmp_path / "lab") as store:
        assert set(store.outbox().status) <= {"sent", "failed", "written", "unknown", "cancelled"}
        assert store.surveys().stopped_at.notna().all()
        assert store.record_lock(gw.name).acquire()
    assert all(count == 1 for count in sim.sent_per_id.values())
