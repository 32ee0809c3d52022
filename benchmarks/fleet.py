"""A fleet polled every ten seconds from one process: what a poll costs with 100 and 1000 gateways.

The gateways are a process of canned answers, a port of its own each; the fleet, its survey and its
store are the real ones, in a fresh process for every measurement. Sizes take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from benchmarks.peer import BANNER, USER, answer

__all__ = ["main"]

FILES = 16_384
SETTLE = 12.0
"""Seconds before the measurement: everything is connected and measured once by then."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one size cost.

    Attributes
    ----------
    cpu_ms : float
        Processor time of the process, all its threads, a poll of one gateway.
    p50_ms, p99_ms : float
        From when a measurement was due until its answer was there.
    memory_mib : float
        Peak resident memory.
    connect_s, close_s : float
        Wall time of `connect_all` and `Fleet.close`.
    polls, rows, failed : int
        Polls of a gateway, rows of ports, and rows that are not ok, missed ones among them.
    """

    cpu_ms: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    connect_s: float
    close_s: float
    polls: int
    rows: int
    failed: int


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[100, 1000], help="gateways")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each size")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two polls")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--profile", type=Path, help="write a profile of the loop thread there")
    asked = parser.parse_args()
    _allow_files()
    beside = Path("artifacts")  # not in /tmp, which may be memory: a disk is measured
    beside.mkdir(exist_ok=True)
    found: dict[int, list[Figures]] = {size: [] for size in asked.sizes}
    for number in range(asked.rounds):
        for size in asked.sizes if number % 2 == 0 else asked.sizes[::-1]:
            peer, told = _started(_serve, size)
            with tempfile.TemporaryDirectory(prefix="benchmark-", dir=beside) as folder:
                client, figures = _started(
                    _measure, told.recv(), asked.every, asked.seconds, folder, asked.profile
                )
                found[size].append(figures.recv())
                client.join()
            peer.terminate()
            peer.join()
            print(size, found[size][-1], file=sys.stderr)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {asked.rounds} rounds of "
        f"{asked.seconds:g} s, every {asked.every:g} s\n"
    )
    print(_table(found))


def _started(work: Callable[..., None], *arguments: Any) -> tuple[SpawnProcess, Any]:
    """A process that does some work, and the pipe by which it tells; it breaks with the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _table(found: dict[int, list[Figures]]) -> str:
    base = statistics.median(run.cpu_ms for run in next(iter(found.values())))
    heading = (
        "gateways | CPU a poll, ms (lowest-highest) | ratio | tick to answer p50, ms | p99, ms | "
        "memory, MiB | connect, s | close, s | rows | not ok"
    )
    lines = [f"| {heading} |", "|" + "---|" * (heading.count("|") + 1)]
    for size, runs in found.items():
        each = {name: [getattr(run, name) for run in runs] for name in Figures.__dataclass_fields__}
        mid = {name: statistics.median(values) for name, values in each.items()}
        lines.append(
            f"| {size} | {mid['cpu_ms']:.2f} ({min(each['cpu_ms']):.2f}-{max(each['cpu_ms']):.2f}) "
            f"| {mid['cpu_ms'] / base:.2f} | {mid['p50_ms']:.1f} | {mid['p99_ms']:.1f} "
            f"| {mid['memory_mib']:.0f} | {mid['connect_s']:.1f} | {mid['close_s']:.1f} "
            f"| {sum(each['rows'])} | {sum(each['failed'])} |"
        )
    return "\n".join(lines)


def _allow_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def _measure(
    pipe: Connection[Any, Any],
    ports: list[int],
    every: float,
    seconds: float,
    folder: str,
    profile: Path | None,
) -> None:
    import neogate_lab as ng

    _allow_files()
    began = time.monotonic()
    targets = [{"target": f"127.0.0.1:{port}", "name": f"g{n}"} for n, port in enumerate(ports)]
    fleet = ng.connect_all(targets, username=USER[0], password=USER[1], store=Path(folder, "store"))
    connect_s = time.monotonic() - began
    survey = fleet.survey(every=every, progress=False)
    time.sleep(SETTLE)
    profiler: Any = None
    if profile is not None:
        import cProfile

        profiler = cProfile.Profile()
        fleet._run(_call(profiler.enable))
    start, cpu = datetime.now(UTC), time.process_time()
    time.sleep(seconds)
    cpu, end = time.process_time() - cpu, datetime.now(UTC)
    if profiler is not None:
        fleet._run(_call(profiler.disable))
        profiler.dump_stats(profile)
    survey.stop()
    rows = fleet.signal(since=start, until=end)
    began = time.monotonic()
    fleet.close()
    polls = len(rows.drop_duplicates(["gateway", "time"]))
    late = rows.latency_ms.quantile([0.5, 0.99])
    pipe.send(
        Figures(
            cpu_ms=1000 * cpu / polls,
            p50_ms=float(late.iloc[0]),
            p99_ms=float(late.iloc[1]),
            memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            connect_s=connect_s,
            close_s=time.monotonic() - began,
            polls=polls,
            rows=len(rows),
            failed=int((~rows.ok).sum()),
        )
    )


async def _call(do: Any) -> None:
    do()


def _serve(pipe: Connection[Any, Any], gateways: int) -> None:
    _allow_files()
    asyncio.run(_listen(pipe, gateways))


async def _listen(pipe: Connection[Any, Any], gateways: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Gateway, "127.0.0.1", 0) for _ in range(gateways)]
    pipe.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.Event().wait()


class _Gateway(asyncio.Protocol):
    """Greets, and answers whatever is asked with canned bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""
        transport.write(BANNER)

    def data_received(self, data: bytes) -> None:
        *actions, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        self._transport.write(b"".join(map(answer, actions)))


if __name__ == "__main__":
    main()
