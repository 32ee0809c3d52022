"""In a real ipykernel: the stop button, what is left after close(), and nested loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.notebook.kernel import Kernel, start_kernel

LOOK = """
import asyncio, os, pathlib, threading, time

def look():
    sockets = set()
    for entry in pathlib.Path("/proc/self/fd").iterdir():
        try:
            sockets.add(str(entry.readlink()))
        except OSError:
            pass
    tasks = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
    return (
        {thread.name for thread in threading.enumerate()},
        {name for name in sockets if name.startswith("socket:")},
        tasks,
    )

def left(before):
    end = time.monotonic() + 5
    while any(now - then for now, then in zip(look(), before)) and time.monotonic() < end:
        time.sleep(0.02)
    return [now - then for now, then in zip(look(), before)]

before = look()
"""

DEMO = "import neogate_lab as ng; gw = ng.demo(sms_interval=0)"

NEVER_ANSWERED = """
threading.Thread(
    target=lambda: (
        gw.simulator.wait_until(
            lambda: any("*109#" in c.text and c.span == {port} + 1 for c in gw.simulator.commands)
        ),
        print("asked"),
    )
).start()
gw.ussd("*109#", port={port}, timeout=30)
"""

MAIN = """
async def main():
    async with ng.AsyncGateway(
        sim.host, port=sim.port, username=sim.username, password=sim.password
    ) as link:
        reply, *_ = await asyncio.gather(link.ussd("*100#", port=1), link.spans())
        await asyncio.sleep(0.2)
        return reply.outcome
"""


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with start_kernel(tmp_path) as running:
        yield running


async def test_the_stop_button_ends_a_ussd_and_nothing_is_left_after_close(kernel: Kernel) -> None:
    await kernel.run(LOOK, DEMO)
    delays = []
    for port in (1, 2, 3):
        asked = kernel.ask(NEVER_ANSWERED.format(port=port))
        await kernel.wait(asked, text="asked")
        await kernel.manager.interrupt_kernel()
        reply = await kernel.wait(asked)
        assert reply.error == "KeyboardInterrupt"
        delays.append(reply.seconds)
    # The median, since a loaded machine may make one of them late.
    assert sorted(delays)[1] < 1.0, delays
    assert (
        await kernel.run("print(len(gw.spans()), gw.send_sms('+791', 'x', port=1).status)")
        == "4 sent\n"
    )
    assert await kernel.run("gw.close(); print(left(before))") == "[set(), set(), set()]\n"


async def test_panels_work_and_leave_nothing_after_close(kernel: Kernel) -> None:
    await kernel.run(LOOK, DEMO)
    await kernel.run("compose, ussd = ng.ComposePanel(gw, port=1), ng.UssdPanel(gw, port=1)")
    await kernel.run("board = ng.Dashboard(gw); board.signal.start_button.click()")
    await kernel.run(
        "compose.to_field.value, compose.text_field.value = '+791', 'x'",
        "compose.send_button.click()",
        "ussd.code_field.value = '*101#'; ussd.send_button.click()",
        "while not board.signal.plot.value: time.sleep(0.01)",
        "while 'sent' not in compose.status_line.value: time.sleep(0.01)",
        "while not ussd.choices.children: time.sleep(0.01)",
        "ussd.choices.children[0].click()",
        "while 'answered' not in ussd.status_line.value: time.sleep(0.01)",
    )
    assert await kernel.run("gw.close(); print(left(before))") == "[set(), set(), set()]\n"
    await kernel.run(
        "compose.send_button.click()", "assert 'was closed' in compose.status_line.value"
    )


async def test_script_style_code_runs_in_cells_once_allowed(kernel: Kernel) -> None:
    await kernel.run(LOOK, DEMO, "sim = gw.simulator", MAIN)
    refused = await kernel.wait(kernel.ask("coroutine = main(); asyncio.run(coroutine)"))
    assert refused.error == "RuntimeError"
    await kernel.run("coroutine.close()")
    # Sent at once, as by Run All: not one of them may be lost.
    shown = await kernel.run(
        "ng.allow_nested_loops(); ng.allow_nested_loops()",
        "print(asyncio.run(main()))",
        "print(asyncio.run(main()))",
        "print(await main())",
        "print(len(gw.spans()))",
    )
    assert shown == "done\ndone\ndone\n4\n"


async def test_no_verb_of_a_gateway_breaks_by_nested_loops(kernel: Kernel) -> None:
    await kernel.run(LOOK, DEMO, "sim = gw.simulator", MAIN)
    await kernel.run(
        # What runs on the loop thread while asyncio is patched goes on.
        "survey = gw.survey(every='0.2s', duration='2s', progress=False)",
        "menu = gw.ussd_session(port=1).__enter__(); first = menu.send('*101#')",
        "ng.allow_nested_loops()",
        "assert menu.send('2').outcome == 'done'; menu.close()",
        "survey.wait(); assert survey.frame().ok.all() and len(survey.frame()) == 10 * 4",
        "assert asyncio.run(main()) == 'done'",
        "sim.receive_sms(port=1, sender='Bank', text='code 1')",
        "assert gw.wait_for_sms(since='1m').text == 'code 1'",
        "assert gw.send_sms('+791', 'x', port=1).status == 'sent'",
        "sim.drop_connections()",
        "while not (gw.connections().event == 'restored').any(): time.sleep(0.05)",
        "assert len(gw.diagnostics()) == 4",
    )
    asked = kernel.ask(NEVER_ANSWERED.format(port=2))
    await kernel.wait(asked, text="asked")
    await kernel.manager.interrupt_kernel()
    assert (await kernel.wait(asked, 10)).error == "KeyboardInterrupt"
    # A loop thread that is started after the patch works as well.
    await kernel.run("gw.close()", "gw = ng.demo()", "assert len(gw.spans()) == 4")
    assert await kernel.run("gw.close(); print(left(before))") == "[set(), set(), set()]\n"


async def test_the_kernel_of_the_page_is_not_cut_short(tmp_path: Path) -> None:
    async with start_kernel(tmp_path, "neogate") as kernel:
        asked = kernel.ask("import os, time; print('asked'); time.sleep(1); print('done')")
        await kernel.wait(asked, text="asked")
        await kernel.manager.interrupt_kernel()  # as Voila does before it ends a kernel
        assert (await kernel.wait(asked)).text == "done\n"
        await kernel.run(
            "import comm, neogate_lab as ng; ng.Dashboard",
            # Without it a page asks for each widget by itself.
            "assert 'jupyter.widget.control' in comm.get_comm_manager().targets",
        )
