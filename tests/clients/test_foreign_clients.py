"""Clients that others wrote log in, look, send and receive on the simulated gateway."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from neogate_lab.simulator import SimulatedGateway
from tests.support import missing

HERE = Path(__file__).parent
CLIENTS = ["panoramisk", "asterisk-ami", "nami", "asterisk-manager"]
MODULES = {"panoramisk": "panoramisk", "asterisk-ami": "asterisk.ami"}


def _program(client: str) -> list[str]:
    script = "ami_" + client.replace("-", "_")
    if client in MODULES:
        # A package whose parent is missing raises instead of returning None.
        top = MODULES[client].split(".")[0]
        if importlib.util.find_spec(top) is None:
            missing(f"{client} is not installed: pip install {client}")
        return [sys.executable, str(HERE / f"{script}.py")]
    node = shutil.which("node")
    if node is None:
        missing("node is not installed")
    if not (HERE / "node_modules" / client).is_dir():
        missing(f"{client} is not installed: run npm install in tests/clients")
    return [node, str(HERE / f"{script}.js")]


class Conversation:
    """One client's program, run against one gateway."""

    def __init__(self, client: str, sim: SimulatedGateway, password: str) -> None:
        arguments = [*_program(client), sim.host, str(sim.port), sim.username, password]
        self._process = subprocess.Popen(
            arguments, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def result(self) -> dict[str, Any]:
        output, errors = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, errors
        seen: dict[str, Any] = json.loads(output.splitlines()[-1])
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with self._process:
            pass


@pytest.fixture
def sim() -> Iterator[SimulatedGateway]:
    with SimulatedGateway(sms_delay=0.05, login_delay=0.05) as running:
        yield running


@pytest.mark.parametrize("client", CLIENTS)
def test_log_in_look_send_and_receive(client: str, sim: SimulatedGateway) -> None:
    with Conversation(client, sim, sim.password) as conversation:
        assert sim.wait_until(lambda: any(sms.outcome == "sent" for sms in sim.sent), 30)
        sim.receive_sms(1, "MegaFon", "Привет")
        seen = conversation.result()
    (sms,) = sim.sent
    assert (sms.span, sms.to, sms.text) == (2, "+79001234567", f"from {client}")
    assert seen["login"] is True
    assert seen["send"].lower() == "follows"
    for span in (2, 3, 4):
        assert f"GSM span {span}: Power on, Provisioned, Up, Active,Standard" in seen["spans"]
    assert "GSM span 5: Power on, Provisioned, Undetected SIM Card" in seen["spans"]
    report, received = seen["events"]
    assert (report["event"], report["id"], report["status"]) == ("UpdateSMSSend", sms.id, "1")
    assert (received["event"], received["span"], received["sender"]) == (
        "ReceivedSMS",
        "2",
        "MegaFon",
    )
    assert received["content"] in (None, "%EF%BB%BF%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82")
    assert sim.wait_until(lambda: sim.sessions == 0, 10)


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "panoramisk"])
def test_a_wrong_password_is_understood(client: str, sim: SimulatedGateway) -> None:
    with Conversation(client, sim, "wrong") as conversation:
        assert conversation.result()["login"] is False
    assert sim.logins == 0
