"""What only notebooks need: panels and nested loops; the only ipywidgets and nest_asyncio."""

from neogate_lab.notebook.compose import ComposePanel
from neogate_lab.notebook.dashboard import Dashboard
from neogate_lab.notebook.inbox import InboxPanel
from neogate_lab.notebook.monitor import SignalPanel
from neogate_lab.notebook.nested import allow_nested_loops
from neogate_lab.notebook.ussd import UssdPanel

__all__ = [
    "ComposePanel",
    "Dashboard",
    "InboxPanel",
    "SignalPanel",
    "UssdPanel",
    "allow_nested_loops",
]
