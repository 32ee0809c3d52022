"""Starting, stopping, threads, and what the simulator may import."""

from __future__ import annotations

import ast
import asyncio
import errno
import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import neogate_lab.simulator
from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator import SimulatedGateway

from .raw import Raw

PACKAGE = Path(neogate_lab.simulator.__file__).parent
Make = Callable[..., SimulatedGateway]


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "neogate-simulator"]


def test_ready_when_with_returns_and_gone_afterwards() -> None:
    sim = SimulatedGateway()
    assert (sim.port, _threads()) == (0, [])
    with sim, Raw(sim) as client:
        client.login()
        assert len(_threads()) == 1
        assert sim.port > 0
        assert "listening" in repr(sim)
    assert _threads() == []
    assert sim.sessions == 0
    with pytest.raises(ConnectionRefusedError):
        Raw(sim)


def test_stop_and_start_again_on_the_same_port() -> None:
    sim = SimulatedGateway().start()
    port = sim.port
    assert sim.start() is sim
    sim.stop()
    sim.stop()
    with sim.start(), Raw(sim) as client:
        assert sim.port == port
        assert client.login().quiet()


def test_stop_while_a_client_reads_nothing() -> None:
    with SimulatedGateway(max_backlog=1 << 30) as sim, Raw(sim) as lazy:
        lazy.login()
        for _ in range(100):
            sim.send_raw(b"x" * 100_000)
        lazy.send(b"Action: Logoff\r\n\r\n")
    assert _threads() == []


def test_stop_while_a_ussd_runs() -> None:
    with SimulatedGateway() as sim, Raw(sim) as client:
        client.login()
        client.ask("gsm send ussd 2 *109#")
        assert sim.wait_until(lambda: len(sim.commands) == 1)
    assert _threads() == []


def test_a_taken_port_is_named() -> None:
    with SimulatedGateway() as sim:
        with pytest.raises(InvalidRequest, match=f"{sim.host}:{sim.port}"):
            SimulatedGateway(port=sim.port).start()
        assert len(_threads()) == 1


def test_knobs_may_be_turned_from_many_threads() -> None:
    with SimulatedGateway() as sim, Raw(sim) as client, ThreadPoolExecutor(8) as pool:
        client.login()
        list(pool.map(lambda n: sim.send_event("N", Value=n), range(200)))
        seen = {client.packet() for _ in range(200)}
    assert len(seen) == 200


def test_waiting_for_something_that_needs_the_loop() -> None:
    with SimulatedGateway() as sim, Raw(sim) as client:
        client.login()
        assert sim.wait_until(lambda: sim.truth(1).sim and sim.logins == 1)
        assert not sim.wait_until(lambda: sim.logins == 2, timeout=0.01)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"ports": 0}, "ports=0: give an integer, 1 to 32"),
        ({"ports": 33}, "1 to 32"),
        ({"ports": 2.5}, "1 to 32"),
        ({"ports": True}, "1 to 32"),
        ({"firmware": "tg300"}, "tg200, v3, tg400, manual2013, ami5"),
        ({"port": 70_000}, "0 to 65535"),
        ({"seed": "x"}, "seed='x': give an integer"),
        ({"speed": 0}, "speed=0: give a number, more than 0"),
        ({"sms_delay": -1}, "sms_delay=-1: give a number, 0 or more"),
        ({"refresh": float("nan")}, "refresh=nan"),
        ({"sms_every": 0}, "sms_every=0"),
        ({"max_line": 10}, "64 or more"),
    ],
)
def test_impossible_arguments_name_the_choices(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        SimulatedGateway(**knobs)


@pytest.mark.parametrize(
    "ask",
    [
        lambda sim, port: sim.set_signal(port, 1),
        lambda sim, port: sim.set_status(port),
        lambda sim, port: sim.remove_sim(port),
        lambda sim, port: sim.insert_sim(port),
        lambda sim, port: sim.truth(port),
        lambda sim, port: sim.number(port),
        lambda sim, port: sim.balance(port),
        lambda sim, port: sim.receive_sms(port, "1", "x"),
        lambda sim, port: sim.receive_part(port, "1", "x"),
        lambda sim, port: sim.set_send_outcome(port),
        lambda sim, port: sim.report_sms(port=port),
    ],
)
@pytest.mark.parametrize("port", [0, 5, "1", True])
def test_a_port_that_is_not_there_is_refused(
    ask: Callable[[SimulatedGateway, Any], object], port: object
) -> None:
    with pytest.raises(InvalidRequest, match="ports 1 to 4"):
        ask(SimulatedGateway(), port)


def test_no_secret_in_its_repr() -> None:
    sim = SimulatedGateway(username="who", password="s3cret")
    assert "s3cret" not in repr(sim) + repr(sim._hub.settings)


def test_it_shares_no_code_with_the_client() -> None:
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {
            name
            for node in ast.walk(tree)
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            if name.startswith("neogate_lab")
        }
        foreign = {name for name in modules if not name.startswith("neogate_lab.simulator")}
        assert foreign <= {"neogate_lab.errors", "neogate_lab.latch"}, path.name


def test_it_is_light_to_import() -> None:
    code = (
        "import sys, neogate_lab.simulator; print({'pandas', 'numpy', 'pyarrow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_loop_that_can_not_be_made_is_an_error_and_no_endless_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_files() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    sim = SimulatedGateway()
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(asyncio, "Runner", out_of_files)
        with pytest.raises(InvalidRequest, match="Too many open files"):
            pool.submit(sim.start).result(10)
    with sim:
        assert sim.port > 0


@pytest.mark.parametrize("turns", range(8))
def test_a_connection_that_comes_while_it_stops_is_closed(turns: int) -> None:
    simulator = SimulatedGateway().start()
    listener = simulator._listener

    def come_then_stop() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_connection((simulator.host, simulator.port)):
            pass  # the kernel takes it, the loop will hear of it, and find that it is over

        def later(turns: int) -> None:
            if turns:
                loop.call_soon(later, turns - 1)
            else:
                assert listener._stopping is not None
                listener._stopping.set()

        later(turns)

    listener.call(come_then_stop)
    simulator.stop()
    gc.collect()  # what was left open warns, and fails the test
