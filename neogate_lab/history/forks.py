"""What must not be under way while the process forks: SQLite in another thread.

A child that inherits SQLite's mutexes or its notes on file locks waits for ever, or writes over its
parent's rows.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator

__all__ = ["unforked"]

_PATIENCE_S = 10.0
"""A fork waits at most that long: somebody may have left off in the middle of reading."""

_turn = threading.RLock()
_changed = threading.Condition()
_users: Counter[int] = Counter()
_forker: int | None = None


@contextlib.contextmanager
def unforked() -> Iterator[None]:
    """Keep other threads from forking while this runs, and wait while one does."""
    me = threading.get_ident()
    with _changed:
        _changed.wait_for(lambda: _forker in (None, me) or _users[me] > 0)
        _users[me] += 1
    try:
        yield
    finally:
        with _changed:
            _users[me] -= 1
            _changed.notify_all()


def _before_fork() -> None:
    global _forker
    _turn.acquire()
    me = threading.get_ident()
    with _changed:
        _forker = me
        _changed.wait_for(
            lambda: not any(count for user, count in _users.items() if user != me), _PATIENCE_S
        )


def _after_fork_in_parent() -> None:
    global _forker
    with _changed:
        _forker = None
        _changed.notify_all()
    _turn.release()


def _after_fork_in_child() -> None:
    global _changed, _forker, _turn
    _turn, _changed, _forker = threading.RLock(), threading.Condition(), None
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
