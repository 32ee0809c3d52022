"""Round trips: one query at a time, over loopback, beside the least that a thread could do."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import neogate_lab as ng
from benchmarks import clients
from benchmarks.contest import Result, contest
from benchmarks.peer import USER, Peer

__all__ = ["run"]

QUERY = "gsm show spans"
END = b"--END COMMAND--\r\n\r\n"


def run(rounds: int) -> list[Result]:
    """Median microseconds from call to answer: with the canned peer, then with the simulator."""
    with Peer() as peer:
        results = contest(
            "round trip",
            "µs ↓",
            {
                "thread ping-pong": lambda: _ping_pong(peer.port, 1000),
                "neogate_lab Gateway.command": lambda: _facade(peer.port, 1000),
                "neogate_lab Gateway.spans": lambda: _facade(peer.port, 300, frame=True),
                "neogate_lab AsyncGateway": lambda: asyncio.run(_async_gateway(peer.port, 1000)),
                "panoramisk": lambda: asyncio.run(_panoramisk(peer.port, 1000)),
                "panoramisk from a thread": lambda: _panoramisk_from_a_thread(peer.port, 1000),
                "asterisk-ami": lambda: _asterisk_ami(peer.port, 1000),
            },
            rounds=rounds,
            reference="thread ping-pong",
        )
    with _simulator() as port:
        results += contest(
            "round trip, simulator",
            "µs ↓",
            {
                "thread ping-pong": lambda: _ping_pong(port, 500),
                "neogate_lab Gateway.command": lambda: _facade(port, 500),
                "panoramisk from a thread": lambda: _panoramisk_from_a_thread(port, 500),
                "asterisk-ami": lambda: _asterisk_ami(port, 500),
            },
            rounds=rounds,
            reference="thread ping-pong",
        )
    return results


def _typical(call: Callable[[], object], times: int) -> float:
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e6 * statistics.median(taken)


@contextlib.contextmanager
def _loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Line(asyncio.Protocol):
    """One question out, one answer in: a future, and no more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""
        self.answer: asyncio.Future[bytes] | None = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.answer is not None and self.buffer.endswith(b"\r\n\r\n"):
            self.answer.set_result(self.buffer)
            self.answer = None
            self.buffer = b""

    async def ask(self, action: bytes) -> bytes:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(action)
        return await self.answer


def _ping_pong(port: int, times: int) -> float:
    """The same bytes, loop thread and hand-over as the facade's, and nothing else."""
    login = "Action: Login\r\nUsername: {}\r\nSecret: {}\r\n\r\n".format(*USER).encode()
    action = f"Action: smscommand\r\nActionID: 1\r\ncommand: {QUERY}\r\n\r\n".encode()
    with _loop_thread() as loop:

        def ask(line: _Line, data: bytes) -> bytes:
            return asyncio.run_coroutine_threadsafe(line.ask(data), loop).result()

        _, line = asyncio.run_coroutine_threadsafe(
            loop.create_connection(_Line, "127.0.0.1", port), loop
        ).result()
        assert b"accepted" in ask(line, login)
        assert ask(line, action).endswith(END)
        taken = _typical(lambda: ask(line, action), times)
        loop.call_soon_threadsafe(line.transport.close)
        return taken


def _facade(port: int, times: int, *, frame: bool = False) -> float:
    with ng.connect(
        "127.0.0.1", port=port, username=USER[0], password=USER[1], store=":memory:"
    ) as gw:
        return _typical(gw.spans if frame else lambda: gw.command(QUERY), times)


async def _async_gateway(port: int, times: int) -> float:
    async with ng.AsyncGateway(
        "127.0.0.1", port=port, username=USER[0], password=USER[1]
    ) as gateway:
        return await _typical_wait(lambda: gateway.command(QUERY), times)


async def _typical_wait(call: Callable[[], Any], times: int) -> float:
    await call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - start)
    return 1e6 * statistics.median(taken)


async def _panoramisk(port: int, times: int) -> float:
    async with clients.panoramisk(port) as manager:
        return await _typical_wait(lambda: clients.query(manager, QUERY), times)


def _panoramisk_from_a_thread(port: int, times: int) -> float:
    with _loop_thread() as loop, contextlib.ExitStack() as stack:

        def wait(awaitable: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(awaitable, loop).result()

        context = clients.panoramisk(port)
        manager = wait(context.__aenter__())
        stack.callback(lambda: wait(context.__aexit__(None, None, None)))

        async def ask() -> Any:
            return await clients.query(manager, QUERY)

        return _typical(lambda: wait(ask()), times)


def _asterisk_ami(port: int, times: int) -> float:
    with clients.asterisk_ami(port) as run_command:
        return _typical(lambda: run_command(QUERY), times)


@contextlib.contextmanager
def _simulator() -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    pipe, child = context.Pipe()
    process = context.Process(target=_simulate, args=(child,))
    process.start()
    try:
        yield pipe.recv()
    finally:
        pipe.send(None)
        process.join(10)


def _simulate(pipe: Connection[Any, Any]) -> None:
    with ng.SimulatedGateway(ports=4, seed=7, username=USER[0], password=USER[1]) as simulator:
        pipe.send(simulator.port)
        pipe.recv()
