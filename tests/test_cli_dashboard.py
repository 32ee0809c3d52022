"""`neogate-lab dashboard`: what it needs, and what it refuses before anything is served."""

from __future__ import annotations

import json
import os
import socket
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neogate_lab.cli import app, dashboard
from neogate_lab.notebook import served

ROOT = Path(__file__).parents[1]


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


@pytest.mark.skipif(find_spec("voila") is None, reason="voila: pip install 'neogate-lab[browser]'")
def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "another dashboard runs; give another --port" in run("--demo", "--port", str(port))


def test_the_kernel_is_told_everything_but_the_password(tmp_path: Path) -> None:
    variables = served.order(demo=False, folder=tmp_path, target="lab", username="me", store="s")
    assert json.loads(variables["NEOGATE_DASHBOARD"]) == {
        "demo": False,
        "folder": str(tmp_path),
        "connection": {"target": "lab", "username": "me", "store": "s"},
    }
    assert variables["JUPYTER_PATH"].split(os.pathsep)[0] == str(served.PAGE)


def test_the_page_ships_with_the_package() -> None:
    template = served.PAGE / "voila" / "templates" / "neogate" / "index.html.j2"
    assert "http" not in template.read_text()
    notebook = json.loads(served.NOTEBOOK.read_text())
    assert [cell["outputs"] for cell in notebook["cells"]] == [[]]
