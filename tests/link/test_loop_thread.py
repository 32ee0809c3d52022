"""One loop thread a process: results, errors, interrupts, guards, and an end with its last user."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import gc
import os
import random
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from neogate_lab.errors import GatewayClosed, NeogateError, NoAnswer, WrongThread
from neogate_lab.latch import Latch
from neogate_lab.link import loop_thread
from neogate_lab.link.loop_thread import LoopThread
from tests.support import interrupt_when


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = loop_thread.acquire()
    yield loop
    if loop.alive:
        loop.release()


async def value(result: Any) -> Any:
    return result


def test_a_result_comes_back(loop: LoopThread) -> None:
    assert loop.run(value(42)) == 42


def test_an_error_comes_back_with_the_callers_frames(loop: LoopThread) -> None:
    async def fail() -> None:
        raise NoAnswer("silent")

    with pytest.raises(NoAnswer, match="silent") as caught:
        loop.run(fail())
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_an_error_comes_back_with_the_callers_frames"
    assert names[-1] == "fail"


def test_an_error_leaves_no_cycle(loop: LoopThread) -> None:
    class Local:
        pass

    async def fail(held: Local) -> None:
        raise NoAnswer("silent")

    gc.collect()
    gc.disable()
    try:
        held = Local()
        gone = weakref.ref(held)
        with pytest.raises(NoAnswer) as caught:
            loop.run(fail(held))
        del held, caught
        # The loop may still be letting go of the task.
        deadline = time.monotonic() + 2
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert gone() is None
    finally:
        gc.enable()


def test_all_users_share_one_thread_that_ends_with_the_last() -> None:
    first, second = loop_thread.acquire(), loop_thread.acquire()
    assert first is second
    first.release()
    assert second.run(value(1)) == 1
    second.release()
    assert not second.alive
    third = loop_thread.acquire()
    assert third is not first
    third.release()


def test_many_threads_may_call_at_once(loop: LoopThread) -> None:
    async def echo(number: int) -> int:
        await asyncio.sleep(0.001)
        return number

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(loop.run(echo(n)))) for n in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(30))


def test_an_interrupt_cancels_waits_for_the_clean_up_and_is_raised(loop: LoopThread) -> None:
    cleaned = threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            cleaned.set()

    # Raised on another thread, it is noticed at the end of a slice only.
    threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(long())
    assert cleaned.is_set()
    assert loop.run(value(1)) == 1


def test_a_clean_up_that_hangs_does_not_hold_an_interrupt_up(loop: LoopThread) -> None:
    assert loop_thread.WAIT_SLICE + loop_thread.INTERRUPT_GRACE < 1.0
    release = threading.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            while not release.is_set():  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(0.01)

    threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(stubborn())
    release.set()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs pthread_kill")
def test_a_second_interrupt_leaves_at_once(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_thread, "INTERRUPT_GRACE", 30.0)
    release = threading.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            while not release.is_set():  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(0.01)

    main = threading.main_thread().ident
    for delay in (0.05, 0.2):
        threading.Timer(delay, signal.pthread_kill, [main, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(stubborn())
    release.set()


def test_a_blocking_call_on_the_loop_thread_is_refused(loop: LoopThread) -> None:
    async def nested() -> Any:
        return loop.run(value(1))

    with pytest.raises(WrongThread, match="wait for itself"):
        loop.run(nested())


def test_output_of_long_tasks_does_not_land_in_the_cell_that_started_them(
    loop: LoopThread,
) -> None:
    cell = contextvars.ContextVar("cell", default="none")
    cell.set("In [7]")

    async def look() -> str:
        return cell.get()

    assert loop.run(look()) == "none"


def test_a_call_on_an_ended_loop_is_refused_and_leaves_no_coroutine_behind() -> None:
    loop = loop_thread.acquire()
    loop.release()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GatewayClosed, match="connect"):
            loop.run(value(1))
        gc.collect()
    with pytest.raises(GatewayClosed):
        loop.post(lambda: None)


def test_a_loop_that_ends_meanwhile_ends_every_call() -> None:
    loop = loop_thread.acquire()
    started = threading.Event()
    errors: list[BaseException] = []

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            loop.run(forever())
        except GatewayClosed as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert started.wait(5)
    loop.release()
    thread.join(5)
    assert [type(error) for error in errors] == [GatewayClosed]


def test_a_release_on_the_loop_thread_itself_does_not_wait_for_itself() -> None:
    loop = loop_thread.acquire()
    loop.post(loop.release)
    loop._thread.join(5)
    assert not loop.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_and_gets_a_loop_of_its_own(loop: LoopThread) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with pytest.raises(GatewayClosed, match="forked"):
                loop.run(value(1))
            own = loop_thread.acquire()
            if own is not loop and own.run(value(7)) == 7:
                own.release()
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loop.run(value(1)) == 1


def test_a_loop_that_can_not_be_made_is_an_error_and_no_endless_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_files() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(asyncio, "Runner", out_of_files)
    errors: list[BaseException] = []

    def make() -> None:
        try:
            LoopThread()
        except NeogateError as error:
            errors.append(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(10)
    (error,) = errors
    assert "Too many open files" in str(error)


def test_a_call_that_comes_while_the_loop_ends_is_not_begun(loop: LoopThread) -> None:
    begun: list[bool] = []

    async def work() -> None:
        begun.append(True)
        await asyncio.Event().wait()

    loop.post(loop._stop.set)
    with pytest.raises(GatewayClosed):
        loop.run(work())
    assert begun == []


@pytest.mark.parametrize("certain", [False, True])
def test_what_is_certain_is_begun_though_an_interrupt_comes_first(
    loop: LoopThread, certain: bool
) -> None:
    let_go = threading.Event()
    steps: list[str] = []

    async def close() -> None:
        steps.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    loop.post(lambda: let_go.wait(10))  # the loop is busy when the call and the interrupt come
    pressing = interrupt_when(lambda: True)
    with pytest.raises(KeyboardInterrupt):
        loop.run(close(), certain=certain)
    pressing.join()
    let_go.set()
    loop.run(value(1))
    loop.run(value(1))
    assert steps == (["begun", "cleaned up"] if certain else [])


def test_a_signal_handler_may_give_the_loop_back_within_acquire(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = loop_thread.LoopThread

    def interrupted() -> LoopThread:
        loop.release()  # what a handler does in this very thread
        return made()

    monkeypatch.setattr(loop_thread, "LoopThread", interrupted)
    monkeypatch.setattr(loop_thread, "_shared", None)
    loop_thread.acquire().release()
    assert not loop.alive


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_interrupts_at_any_moment_leave_the_loop_running(loop: LoopThread) -> None:
    chance = random.Random(0)

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGALRM, press)
    try:
        for _ in range(150):
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(2e-5, 3e-4))
                    for _ in range(20):
                        loop.run(value(1))
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, earlier)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(loop.run(value(7))), daemon=True)
    thread.start()
    thread.join(30)
    assert answers == [7]


def test_a_latch_lets_everybody_through_and_an_interrupted_waiter_holds_up_nobody() -> None:
    latch = Latch()
    assert not latch.wait(0)
    passed: list[bool] = []
    threads = [threading.Thread(target=lambda: passed.append(latch.wait(30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    latch.open()
    for thread in threads:
        thread.join()
    assert passed == [True] * 4
    latch._gate.acquire()  # the interrupt came just before it was let go
    assert latch.wait(30)
