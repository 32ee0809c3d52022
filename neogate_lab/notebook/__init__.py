"""What only notebooks need: panels and nested loops; the only ipywidgets and nest_asyncio."""

from neogate_lab.notebook.compose import ComposePanel
from neogate_lab.notebook.nested import allow_nested_loops
from neogate_lab.notebook.ussd import UssdPanel

__all__ = ["ComposePanel", "UssdPanel", "allow_nested_loops"]
