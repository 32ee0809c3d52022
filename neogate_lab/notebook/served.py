"""The dashboard as a page of its own: what passes between the command and the page's kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from neogate_lab.errors import NeogateError

__all__ = ["NOTEBOOK", "PAGE", "order", "show"]

PAGE = Path(__file__).parent / "page"
"""A Jupyter data folder: the notebook, the template that asks no other machine, and the kernel."""

NOTEBOOK = PAGE / "dashboard.ipynb"

_ORDER = "NEOGATE_DASHBOARD"


def order(*, demo: bool, folder: Path, **connection: Any) -> dict[str, str]:
    """The environment that tells the page's kernel what to connect to; never a password."""
    known = {"demo": demo, "folder": str(folder), "connection": connection}
    data = os.pathsep.join(filter(None, [str(PAGE), os.environ.get("JUPYTER_PATH")]))
    return {_ORDER: json.dumps(known), "JUPYTER_PATH": data}


def show() -> None:
    """Connect as ordered, and show the dashboard; or why that can't be done."""
    from IPython.display import HTML, display

    import neogate_lab as ng
    from neogate_lab.notebook.panel import as_html

    wanted = json.loads(os.environ[_ORDER])
    os.chdir(wanted["folder"])
    try:
        gateway = ng.demo() if wanted["demo"] else ng.connect(**wanted["connection"])
    except NeogateError as error:
        words = f"<p><b>No connection.</b> {as_html(str(error))}</p><p>Reload to try again.</p>"
        display(HTML(f'<div role="alert">{words}</div>'))  # type: ignore[no-untyped-call]
        return
    display(ng.Dashboard(gateway))  # type: ignore[no-untyped-call]
