"""The notebooks run from top to bottom in a real kernel, and are kept without outputs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from tests.notebook.kernel import environment
from tests.support import missing

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

FIRST_LINES = "import neogate_lab as ng\n\ngw = ng.demo("


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {
        "01_quickstart",
        "02_signal_survey",
        "03_messages",
        "04_ussd",
        "05_report",
        "06_fleet",
    }


@each_notebook
def test_a_notebook_is_kept_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert cells[0].source.startswith(FIRST_LINES)
    assert cells[-1].source == "gw.close()"


@each_notebook
async def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("nbclient", "ipykernel"):
        if find_spec(module) is None:
            missing(f"{module}: pip install 'neogate-lab[test]'")
    from nbclient import NotebookClient
    from traitlets.config import Config

    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "data").symlink_to(NOTEBOOKS[0].parents[1] / "data")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=60,
        resources={"metadata": {"path": str(tmp_path)}},
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(tmp_path / "kernel")}}),
    )
    await client.async_execute()
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    if path.stem == "01_quickstart":
        assert any("image/png" in output.get("data", {}) for output in outputs)
        written = {file.name for file in (tmp_path / "demo-output").iterdir()}
        assert written == {"signal.parquet", "inbox.csv"}
    if path.stem == "05_report":
        assert "roof is " in (tmp_path / "report.html").read_text(encoding="utf-8")
