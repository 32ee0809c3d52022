"""allow_nested_loops: the opt-in for asyncio.run() in a cell; importing this patches nothing."""

from __future__ import annotations

import asyncio

__all__ = ["allow_nested_loops"]


def allow_nested_loops() -> None:
    """Let scripts that end in ``asyncio.run(main())`` run in a notebook cell as they are.

    A notebook's kernel runs an event loop already, and asyncio refuses a second one inside. This
    applies nest_asyncio, which patches asyncio for the rest of the process: loops become
    re-entrant, `asyncio.run` uses the running loop, and tasks become asyncio's slower ones in
    Python. It can't be undone; calling it again changes nothing.

    `Gateway` never needs it, and works the same with and without it: its loop has a thread of its
    own. It is meant for `AsyncGateway`; ``await main()`` in a cell does without it, too.

    Where no loop runs, as in a plain script, there is nothing to nest and nothing is patched.

    Examples
    --------
    >>> ng.allow_nested_loops()  # doctest: +SKIP
    >>> asyncio.run(main())  # doctest: +SKIP
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    # Its kept fork: under ipykernel 7, nest_asyncio 1.6 loses the cells that are queued behind an
    # asyncio.run(), as "Run All" does.
    import nest_asyncio2

    nest_asyncio2.apply(loop)
