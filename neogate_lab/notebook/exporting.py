"""The row of a panel that writes a table to a file; which rows, its panel says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from neogate_lab.errors import InvalidRequest
from neogate_lab.notebook.panel import Panel, button, text_field

__all__ = ["ExportRow"]


class ExportRow(widgets.HBox):  # type: ignore[misc]
    """A file's name and a button that writes it.

    Parameters
    ----------
    panel : Panel
        Whose message line tells what became of it.
    table : str
        What is exported, for the file's name.
    chosen : callable
        Asked on a press, it returns what writes the rows that are chosen then to a path.
    """

    def __init__(
        self, panel: Panel, table: str, chosen: Callable[[], Callable[[str], Path | str]]
    ) -> None:
        self._panel, self._chosen = panel, chosen
        self._writing = False
        self._replacing = ""  # the path that stands there already, as the last press was told
        self.path_field = text_field(
            "Export", f"{panel.css_class}-export", value=f"{table}.csv", placeholder=f"{table}.xlsx"
        )
        self.path_field.tooltip = (
            "A file's name: .csv, .parquet or .xlsx; without one of these, a folder"
        )
        self.write_button = button(
            "Write file", "Write what is chosen to this file", f"{panel.css_class}-write"
        )
        panel._pressed_when_typed(self.write_button, self._write)
        super().__init__(
            [self.path_field, self.write_button], layout=widgets.Layout(flex_flow="row wrap")
        )

    def enable(self, wanted: bool) -> None:
        """Let it be pressed, or not."""
        self.path_field.disabled = not wanted
        self.write_button.disabled = not wanted or self._writing

    def _write(self) -> None:
        path, write = self.path_field.value.strip(), self._chosen()
        if not path:
            raise InvalidRequest("give the file a name that ends in .csv, .parquet or .xlsx")
        elsewhere = "://" in path  # to look there takes time, so it is asked in any case
        if path != self._replacing and (elsewhere or Path(path).expanduser().exists()):
            self._replacing = path
            status = "perhaps there already" if elsewhere else "there already"
            self._panel._say("plain", status, f"press again to replace {path}")
            return
        self._replacing = ""

        def then(written: Path | str | None, error: BaseException | None) -> None:
            if self._panel._retired:
                return
            self._writing = self.write_button.disabled = False
            if error is not None:
                self._panel._say_error(error)
            else:
                where = written.absolute() if isinstance(written, Path) else written
                self._panel._say("good", "written", f"to {where}")

        self._writing = self.write_button.disabled = True
        self._panel._say("busy", "writing", path)
        self._panel._in_thread(lambda: write(path), then)
