"""JupyterLab, Notebook 7 or the dashboard's page on 127.0.0.1, and a browser that looks at it.

All that they write is in one folder, and each has a free port.

The steps were tried under load: a kernel is ready when the server says so, not when the page shows
a green dot; every wait has a condition.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

import neogate_lab
from tests.support import missing

if TYPE_CHECKING:
    from typing import Self

    from playwright.sync_api import Page

__all__ = [
    "PATIENCE",
    "Board",
    "Lab",
    "Notebook",
    "Visit",
    "browse",
    "chromium",
    "darken",
    "open_notebook",
    "run_all",
    "wait_for_kernel",
    "write_notebook",
]

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
SOURCES = Path(neogate_lab.__file__).parents[1]

PATIENCE = 120_000
"""Milliseconds that anything on a page may take on a busy machine."""

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_FOLDERS = {
    "HOME": "home",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}


def chromium() -> str:
    """Path of the system's Chromium; the test is skipped where a part is missing."""
    for module in ("jupyterlab", "notebook", "voila", "ipykernel", "playwright"):
        if find_spec(module) is None:
            missing(f"{module}: pip install 'neogate-lab[browser]'")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    missing("chromium: apt-get install chromium")


class _Server:
    """Runs a server in a process of its own; a context manager.

    Parameters
    ----------
    home : Path
        A folder for everything it writes; its working directory is ``home/work``.
    """

    interrupts: tuple[float, ...] = (0.2, 10)
    """Seconds after each SIGINT: the first asks, the second is the answer; kernels end with it."""

    def __init__(self, home: Path) -> None:
        self.work = home / "work"
        self._token = secrets.token_hex(16)
        self._log = home / "server.log"
        self._environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        for name, folder in _FOLDERS.items():
            (home / folder).mkdir()
            self._environment[name] = str(home / folder)
        self.work.mkdir()
        settings = home / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it can be used."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.work,
                env=self._environment,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + PATIENCE / 1000
            while not self._answers():
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < end, f"no server: {self.log()}"
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Press Ctrl-C once."""
        os.killpg(self._process.pid, signal.SIGINT)

    def log(self) -> str:
        """What it said."""
        return self._log.read_text()

    def _answers(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        for number, patience in (
            *((signal.SIGINT, patience) for patience in self.interrupts),
            (signal.SIGTERM, 5),
            (signal.SIGKILL, 5),
        ):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return


class Lab(_Server):
    """JupyterLab."""

    module, place = "jupyterlab", "lab/tree"

    def command(self) -> list[str]:
        """JupyterLab that asks nobody for news."""
        return [
            *(sys.executable, "-m", self.module, "--no-browser", "--allow-root"),
            f"--ServerApp.port={self._port}",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self._token}",
            f"--ServerApp.root_dir={self.work}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
            "--LabApp.expose_app_in_browser=True",
        ]

    def answers(self) -> bool:
        """Whether its API does."""
        return "started" in self._get("status")

    def address(self, notebook: str) -> str:
        """Where the browser finds a notebook."""
        return f"http://127.0.0.1:{self._port}/{self.place}/{notebook}?reset&token={self._token}"

    def sessions(self) -> list[dict[str, Any]]:
        """The server's sessions, each with its kernel."""
        found: list[dict[str, Any]] = self._get("sessions")
        return found

    def _get(self, what: str) -> Any:
        address = f"http://127.0.0.1:{self._port}/api/{what}?token={self._token}"
        with urllib.request.urlopen(address, timeout=5) as answer:
            return json.load(answer)


class Notebook(Lab):
    """Notebook 7."""

    module, place = "notebook", "notebooks"


class Board(_Server):
    """The page of `neogate-lab dashboard`.

    Parameters
    ----------
    home : Path
        A folder for everything it writes.
    arguments : str
        Of the command.
    **variables : str
        Environment that it gets besides.
    """

    interrupts = (15,)

    def __init__(self, home: Path, *arguments: str, **variables: str) -> None:
        super().__init__(home)
        self._arguments = arguments
        self._environment |= variables

    def command(self) -> list[str]:
        """The dashboard's command."""
        return [
            *(sys.executable, "-m", "neogate_lab.cli", "dashboard", "--no-browser"),
            *("--port", str(self._port), *self._arguments),
        ]

    def answers(self) -> bool:
        """Whether it listens, and has said where."""
        with socket.create_connection(("127.0.0.1", self._port), 5):
            return "token=" in self.log()

    @property
    def address(self) -> str:
        """Where the browser finds it, secret included."""
        return self.log().split("Dashboard: ")[1].split()[0]

    def kernels(self) -> list[int]:
        """Processes of its pages' kernels."""
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(child) for thread in threads for child in thread.read_text().split()]


class Visit:
    """A page, and what it should not have done; asked whether to leave it, one stays."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.strays: list[str] = []
        self.questions = 0
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._questioned)
        page.context.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda connection: self._asked(connection.url))

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _questioned(self, dialog: Any) -> None:
        if dialog.type == "beforeunload":
            self.questions += 1
        else:
            self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        scheme, _, rest = url.partition(":")
        if scheme not in ("data", "blob") and not rest.startswith("//127.0.0.1:"):
            self.strays.append(url)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for what is seen elsewhere than on the page, which goes on meanwhile."""
        for _ in range(PATIENCE // 100):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"not so after {PATIENCE // 1000} s")

    def clean(self) -> None:
        """Nothing went wrong on the page, nothing ran that strangers wrote, nobody was asked."""
        assert self.page.evaluate("window.hit") is None
        assert self.page.locator("mjx-container, .MathJax").count() == 0
        assert not self.complaints, self.complaints
        assert not self.strays, self.strays

    def picture(self, name: str, selector: str) -> None:
        """Keep a screenshot of one element under `artifacts/`."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.locator(selector).screenshot(path=ARTIFACTS / f"{name}.png")


@contextlib.contextmanager
def browse(executable: str) -> Iterator[Visit]:
    """A headless Chromium with a tall page, since cells far off the screen may not be drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            page.set_default_timeout(PATIENCE)
            yield Visit(page)
        finally:
            browser.close()


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


def open_notebook(visit: Visit, lab: Lab, name: str) -> None:
    """Open a notebook and wait until its kernel is idle and connected."""
    visit.page.goto(lab.address(name))
    wait_for_kernel(visit, lab, name)
    visit.page.get_by_role("button", name="Python 3").first.wait_for()


def wait_for_kernel(visit: Visit, lab: Lab, name: str) -> None:
    """Wait until the server says that a notebook's kernel is idle and connected."""

    def ready() -> bool:
        kernels = [session["kernel"] for session in lab.sessions() if session["path"] == name]
        return any(
            kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels
        )

    try:
        visit.until(ready)
    except AssertionError as late:
        ARTIFACTS.mkdir(exist_ok=True)
        visit.page.screenshot(path=ARTIFACTS / "no-kernel.png")
        raise AssertionError(f"{late}: {lab.sessions()}\n{visit.complaints}\n{lab.log()}") from None


def run_all(visit: Visit) -> None:
    """Run all cells, by the menu."""
    visit.page.get_by_role("menuitem", name="Run", exact=True).click()
    visit.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def darken(visit: Visit) -> None:
    """Change JupyterLab's theme."""
    from playwright.sync_api import expect

    dark = "'apputils:change-theme', {theme: 'JupyterLab Dark'}"
    visit.page.evaluate(f"window.jupyterapp.commands.execute({dark})")
    expect(visit.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    expect(visit.page.locator("#jupyterlab-splash")).to_have_count(0)
