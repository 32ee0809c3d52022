"""Kill a process in the middle of a batch of SMS, go on in another, and count what went out.

``python -m tests.killing [KILLS]`` does so many times in each phase, and prints what came of it; it
fails when an SMS went out twice, or was left out without being reported as unknown. The simulator
lives in the process that counts; the process that is killed runs this module too.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neogate_lab.errors import NeogateWarning
from neogate_lab.history.store import Store
from neogate_lab.link.async_gateway import AsyncGateway
from neogate_lab.link.outbox import Outbox, SmsResult
from neogate_lab.link.session import Session
from neogate_lab.simulator import SimulatedGateway

__all__ = ["PHASES", "SIZE", "Outcome", "kill_and_resume"]

PHASES = ("queued", "written", "bytes sent", "status received", "status committed", "random")
"""When it is killed: right after the commit of the whole batch, or of one SMS as written; after
one SMS's bytes left; before or after its status is committed; at any moment."""

ROOT = Path(__file__).parents[1]
SIZE = 8
INTERVAL = 0.02
STATUS_TIMEOUT = 0.4


@dataclass(frozen=True)
class Outcome:
    """What a killed batch came to.

    Attributes
    ----------
    twice, lost : int
        SMS that the simulator was asked for more than once; that it was never asked for and that
        are not reported as unknown. Both must be 0.
    unknown, unknown_gone_out : int
        Reported as unknown; of these, really asked for.
    before : int
        How many had left when it was killed.
    """

    phase: str
    sent: int
    unknown: int
    unknown_gone_out: int
    twice: int
    lost: int
    before: int


def batch() -> list[dict[str, Any]]:
    ports = itertools.cycle([1, 2, "auto"])
    return [
        {"to": f"+7900000{number:04d}", "text": f"message {number}", "port": port}
        for number, port in zip(range(SIZE), ports, strict=False)
    ]


def gateway(host: str, port: int, store: Store) -> AsyncGateway:
    return AsyncGateway(
        host,
        port=port,
        username="apiuser",
        password="apipass",
        name="lab",
        ledger=store,
        sms_interval=INTERVAL,
        sms_status_timeout=STATUS_TIMEOUT,
        keepalive=0.2,
    )


def kill_and_resume(folder: Path, phase: str, seed: int) -> Outcome:
    """Kill one process in `phase`, for "random" a second one too, and finish in this process."""
    chance = random.Random(f"{phase} {seed}")
    with SimulatedGateway(sms_delay=0.03, restless=False) as sim:
        for _ in range(2 if phase == "random" else 1):
            _live_and_die(sim, folder, phase, chance)
        before = len(sim.sent)
        results = asyncio.run(_finish(sim, folder))
        asked = Counter(sms.text for sms in sim.sent)
    unknown = {number for number, sms in enumerate(results) if sms.status == "unknown"}
    texts = [message["text"] for message in batch()]
    gone = {number for number, text in enumerate(texts) if asked[text]}
    return Outcome(
        phase=phase,
        sent=sum(sms.status == "sent" for sms in results),
        unknown=len(unknown),
        unknown_gone_out=len(unknown & gone),
        twice=sum(times > 1 for times in asked.values()),
        lost=len(set(range(SIZE)) - gone - unknown),
        before=before,
    )


def _live_and_die(sim: SimulatedGateway, folder: Path, phase: str, chance: random.Random) -> None:
    nth = chance.randrange(1, SIZE // 2 + 1)
    command = [sys.executable, "-m", "tests.killing", "live", sim.host, str(sim.port), str(folder)]
    with subprocess.Popen(
        [*command, phase, str(nth)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        if phase == "random":
            time.sleep(chance.uniform(0, 0.25))
            process.kill()
        ended = process.wait(20)
    assert ended == -signal.SIGKILL or (phase == "random" and ended == 0)
    assert sim.wait_until(lambda: sim.sessions == 0)


async def _finish(sim: SimulatedGateway, folder: Path) -> list[SmsResult]:
    with Store(folder) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore", NeogateWarning)  # of what was left queued
        async with gateway(sim.host, sim.port, store) as gw:
            await gw.resume_outbox()
            return await gw.send_many(batch())


# -- the process that is killed --------------------------------------------------------------------
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(phase: str, nth: int) -> None:
    """Have this process kill itself the n-th time that it comes to `phase`."""
    left = nth

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def after(verb: str, wanted: Callable[[Any], bool]) -> None:
        original = getattr(Store, verb)

        def then(done: Future[Any]) -> None:
            if wanted(done.result()) and due():
                die()

        def patched(*arguments: Any, **settings: Any) -> Future[Any]:
            future: Future[Any] = original(*arguments, **settings)
            future.add_done_callback(then)
            return future

        setattr(Store, verb, patched)

    if phase == "queued":
        left = 1
        after("enqueue_many", lambda answers: True)
    elif phase == "written":
        after("claim", lambda delay: delay == 0)
    elif phase == "status committed":
        after("settle", lambda row: row is not None and row["status"] == "sent")
    elif phase == "status received":
        report = Outbox.report

        async def heard(*arguments: Any) -> None:
            if due():
                die()
            await report(*arguments)

        Outbox.report = heard  # type: ignore[method-assign]
    elif phase == "bytes sent":
        write = Session._write

        def wrote(session: Session, data: bytes) -> None:
            write(session, data)
            if b"gsm send sms" in data and due():
                die()

        Session._write = wrote  # type: ignore[method-assign]


async def live(host: str, port: int, folder: str) -> None:
    warnings.simplefilter("ignore", NeogateWarning)
    async with gateway(host, port, Store(folder)) as gw:
        os.write(1, b"go\n")
        await gw.resume_outbox(wait=False)
        await gw.send_many(batch())


# -- many times ------------------------------------------------------------------------------------
def one(number: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return kill_and_resume(Path(folder) / "lab.neogate", PHASES[number % len(PHASES)], number)


def many(kills: int) -> int:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(one, range(kills)))
    columns = ("sent", "unknown", "unknown_gone_out", "twice", "lost")
    print(f"{'phase':<18}{'batches':>8}{'SMS':>6}", *(f"{name:>17}" for name in columns), sep="")
    for phase in (*PHASES, "all"):
        chosen = [outcome for outcome in outcomes if phase in (outcome.phase, "all")]
        sums = [sum(getattr(outcome, name) for outcome in chosen) for name in columns]
        numbers = "".join(f"{total:>17}" for total in sums)
        print(f"{phase:<18}{len(chosen):>8}{SIZE * len(chosen):>6}{numbers}")
    return int(any(outcome.twice or outcome.lost for outcome in outcomes))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["live", _host, _port, _folder, _phase, _nth]:
            arm(_phase, int(_nth))
            asyncio.run(live(_host, int(_port), _folder))
        case [_kills]:
            sys.exit(many(int(_kills)))
        case _:
            sys.exit(many(102))
