"""The command `neogate-lab`: the only place that prints; it does nothing that the API can't do."""

from __future__ import annotations

from neogate_lab.cli import dashboard, demo, export, record, replay, simulate, spans
from neogate_lab.cli.base import app

__all__ = ["app", "dashboard", "demo", "export", "record", "replay", "simulate", "spans"]
