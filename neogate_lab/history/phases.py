"""The moments at which a crash is tried; outside of crash tests nothing happens at them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["PHASES", "at", "reached"]

PHASES = ("queued", "committed", "written", "renamed", "listed", "deleted")
"""An operation queued; its transaction committed and nobody told; a segment's draft on disk; in its
place; listed but not committed; its rows deleted from the journal but not committed.
"""

at: Callable[[str], None] | None = None
"""What to call at each phase; set by crash tests in a process that they mean to kill."""


def reached(phase: str) -> None:
    """Say that a phase of `PHASES` was reached."""
    if at is not None:
        at(phase)
