"""A real ipykernel in a process of its own, driven over the wire as a notebook does."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import neogate_lab
from neogate_lab.notebook.served import PAGE
from tests.support import missing

__all__ = ["Kernel", "Reply", "environment", "start_kernel"]

SOURCES = Path(neogate_lab.__file__).parents[1]


@dataclass(slots=True)
class Reply:
    """What one cell showed."""

    text: str = ""
    error: str = ""
    trace: str = ""
    seconds: float = 0.0


class Kernel:
    """Runs cells; made by `start_kernel`."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager = manager
        self.asked: list[tuple[str, bool]] = []
        self._client = client

    async def run(self, *cells: str, seconds: float = 60) -> str:
        """Run cells, all sent at once as "Run All" does; each must end well; return the text."""
        asked = [self._client.execute(cell) for cell in cells]
        replies = [await self.wait(cell, seconds) for cell in asked]
        for cell, reply in zip(cells, replies, strict=True):
            assert not reply.error, f"{cell}\n{reply.text}\n{reply.trace}"
        return "".join(reply.text for reply in replies)

    async def typing(self, cell: str, answer: str, seconds: float = 60) -> str:
        """Run a cell that asks for one thing, which `asked` keeps with whether it is a password."""
        asked = self._client.execute(cell, allow_stdin=True)
        request = await self._client.get_stdin_msg(timeout=seconds)
        self.asked.append((request["content"]["prompt"], request["content"]["password"]))
        self._client.input(answer)
        reply = await self.wait(asked, seconds)
        assert not reply.error, f"{cell}\n{reply.text}\n{reply.trace}"
        return reply.text

    def ask(self, cell: str) -> str:
        """Begin to run a cell; `wait` takes what this returns."""
        asked: str = self._client.execute(cell)
        return asked

    async def wait(self, asked: str, seconds: float = 60, *, text: str | None = None) -> Reply:
        """Wait until a cell has ended, or has shown `text`."""
        reply = Reply()
        begin = time.monotonic()
        while (left := begin + seconds - time.monotonic()) > 0:
            try:
                message = await self._client.get_iopub_msg(timeout=left)
            except queue.Empty:
                break
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                reply.text += content["text"]
            elif kind == "error":
                reply.error, reply.trace = content["ename"], "\n".join(content["traceback"])
            ended = kind == "status" and content["execution_state"] == "idle"
            if ended or (text is not None and text in reply.text):
                reply.seconds = time.monotonic() - begin
                return reply
        raise AssertionError(f"the cell did not end within {seconds:g} s: {reply}")


def environment(home: Path) -> dict[str, str]:
    """The environment of a kernel that finds this package and leaves the user's folders alone."""
    places = [str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(places),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }


@asynccontextmanager
async def start_kernel(home: Path, name: str = "python3") -> AsyncIterator[Kernel]:
    """Start a kernel of this very Python, its working directory `home`; or the page's "neogate"."""
    for module in ("jupyter_client", "ipykernel"):
        if find_spec(module) is None:
            missing(f"{module}: pip install 'neogate-lab[test]'")
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(
        kernel_name=name,
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(PAGE / "kernels")]),
        # Unix sockets: no port that another test could take meanwhile.
        transport="ipc",
        ip=str(home / "kernel"),
    )
    await manager.start_kernel(cwd=str(home), env=environment(home))
    client = manager.client()
    try:
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
