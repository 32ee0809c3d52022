"""What happened, on disk: the journal, its frames and its exports; never a socket or a gateway."""

from __future__ import annotations

from neogate_lab.history.store import Store, open_store

__all__ = ["Store", "open_store"]
