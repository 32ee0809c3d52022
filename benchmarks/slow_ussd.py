"""A survey, messages and sends beside a USSD that takes half a minute, and the same without one."""

from __future__ import annotations

import argparse
import statistics
import threading
import time

import neogate_lab as ng
from neogate_lab.simulator import UssdAnswer

SPARE = 1.0
"""Seconds that the USSD takes longer than what is measured beside it."""


def measure(seconds: float, ussd: bool) -> tuple[str, ...]:
    """One line of the table: a survey every second, and an SMS each way every second."""
    with (
        ng.SimulatedGateway(ports=4, seed=7, sms_delay=0.02, restless=False) as sim,
        ng.connect(
            sim.host,
            port=sim.port,
            username=sim.username,
            password=sim.password,
            store=":memory:",
            sms_interval=0.0,
        ) as gw,
    ):
        replies: list[int] = []
        asking = threading.Thread(target=lambda: replies.append(len(gw.ussd_all("*100#"))))
        if ussd:
            sim.set_ussd(None, "*100#", UssdAnswer("5", delay=seconds + SPARE))
            asking.start()
            sim.wait_until(lambda: any("ussd" in command.text for command in sim.commands))
        survey = gw.survey(every=1.0, duration=seconds, progress=False)
        end = time.monotonic() + seconds
        sent: list[float] = []
        told: list[float] = []
        while time.monotonic() < end - 1:
            begin = time.perf_counter()
            assert gw.send_sms("+79000000001", "hi", port=1).status == "sent"
            sent.append(time.perf_counter() - begin)
            heard = threading.Event()
            undo = gw.listen(lambda sms, heard=heard: heard.set())
            begin = time.perf_counter()
            sim.receive_sms(port=2, sender="900", text="now")
            assert heard.wait(5)
            told.append(time.perf_counter() - begin)
            undo()
            time.sleep(1.0)
        survey.wait()
        assert not replies, "the USSD ended before what was measured beside it"
        rows = survey.frame()
        if ussd:
            asking.join()
            assert replies[0] > 1
    return (
        f"{seconds + SPARE:g} s on {replies[0]} ports" if ussd else "none",
        f"{rows.time.nunique()}",
        f"{(~rows.ok).sum()}",
        *(f"{rows.latency_ms.quantile(part):.1f}" for part in (0.5, 1.0)),
        *(f"{1e3 * value:.0f}" for value in (statistics.median(sent), max(sent))),
        *(f"{1e3 * value:.1f}" for value in (statistics.median(told), max(told))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_ussd", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    print(
        "| USSD | ticks | not measured | latency ms, p50 | max | sent after ms, p50 | max |", end=""
    )
    print(" told after ms, p50 | max |\n|" + "---|" * 9)
    for ussd in (False, True):
        print("| " + " | ".join(measure(seconds, ussd)) + " |", flush=True)


if __name__ == "__main__":
    main()
