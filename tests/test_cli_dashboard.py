"""`neogate-lab dashboard`: what it needs, and what it refuses before anything is served."""

from __future__ import annotations

import json
import os
import socket
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from neogate_lab.cli import app, dashboard
from neogate_lab.notebook import served

ROOT = Path(__file__).parents[1]

needs_voila = pytest.mark.skipif(
    find_spec("voila") is None, reason="voila: pip install 'neogate-lab[browser]'"
)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["dashboard", "--no-browser", *arguments])
    assert result.exit_code == 1
    return result.output


def test_without_voila_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    said = run("--demo")
    assert "needs voila and ipykernel" in said
    assert "pip install 'neogate-lab[dashboard]'" in said


def test_what_is_installed_then_is_all_that_it_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = " ".join(project["optional-dependencies"]["dashboard"])
    assert all(name in extra for name in dashboard._NEEDED)


@needs_voila
def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "another dashboard runs; give another --port" in run("--demo", "--port", str(port))


@needs_voila
@pytest.mark.parametrize(
    ("options", "theme", "browser"),
    [([], "light", False), (["--dark"], "dark", False), (["--browser"], "light", True)],
)
def test_the_page_is_served_to_this_machine_alone_at_a_secret_address(
    monkeypatch: pytest.MonkeyPatch, options: list[str], theme: str, browser: bool
) -> None:
    from voila.app import Voila

    served_by: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(dashboard, "_stop_in_order", lambda: None)  # there is no loop
    monkeypatch.setattr(
        Voila, "launch_instance", lambda words, **settings: served_by.append((words, settings))
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        said = CliRunner().invoke(
            app, ["dashboard", "--no-browser", "--demo", "--port", str(port), *options]
        )
        words, settings = served_by[-1]
        assert said.output.startswith(
            f"Dashboard: http://127.0.0.1:{port}/?token={settings['token']}\n"
        )
        assert (settings["ip"], settings["port"], settings["port_retries"]) == (
            "127.0.0.1",
            port,
            0,
        )
        assert settings["open_browser"] is browser
        assert f"--VoilaConfiguration.theme={theme}" in words
    first, second = (settings["token"] for _, settings in served_by)
    assert first != second
    assert len(first) >= 32


def test_the_kernel_is_told_everything_but_the_password(tmp_path: Path) -> None:
    variables = served.order(demo=False, folder=tmp_path, target="lab", username="me", store="s")
    assert json.loads(variables["NEOGATE_DASHBOARD"]) == {
        "demo": False,
        "folder": str(tmp_path),
        "connection": {"target": "lab", "username": "me", "store": "s"},
    }
    assert variables["JUPYTER_PATH"].split(os.pathsep)[0] == str(served.PAGE)


def test_the_page_ships_with_the_package() -> None:
    template = served.PAGE / "voila" / "templates" / "neogate"
    assert all("http" not in (template / name).read_text() for name in ("index.html.j2", "page.js"))
    notebook = json.loads(served.NOTEBOOK.read_text())
    assert [cell["outputs"] for cell in notebook["cells"]] == [[]]
