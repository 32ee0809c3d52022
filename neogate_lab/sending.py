"""A frame of SMS as notebooks send it: rows, progress bar, answer; how it is sent is the link's."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import frame_of_records
from neogate_lab.link.batch import NEEDED, READ, check_names
from neogate_lab.link.outbox import SmsResult
from neogate_lab.progress import Bar
from neogate_lab.warn import warn

if TYPE_CHECKING:
    import pandas as pd

    from neogate_lab.fleet import Fleet
    from neogate_lab.gateway import Gateway

__all__ = ["as_frame", "messages_of", "results_of", "send"]

_ENDED = frozenset({"sent", "failed", "unknown", "cancelled"})


def as_frame(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A batch as a frame; what is one already is returned as it is.

    Raises
    ------
    InvalidRequest
        It is neither a frame nor a list of dicts.
    """
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    rows = list(rows) if isinstance(rows, Iterable) else [rows]
    if not all(isinstance(row, Mapping) for row in rows):
        raise InvalidRequest(
            "send_many() takes a DataFrame, or a list of dicts, with to, text and port; a file is "
            "read first: pd.read_csv(path, dtype=str)"
        )
    return pd.DataFrame(rows, dtype=object)


def messages_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as messages.

    Raises
    ------
    InvalidRequest
        A column is missing, is there twice, or has nearly the right name.
    """
    check_names(frame.columns)
    twice = [name for name in READ if list(frame.columns).count(name) > 1]
    if twice:
        raise InvalidRequest(f"the frame has two columns {' and '.join(twice)}: keep one")
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing and len(frame):
        hint = '; port may be "auto" in every row' if "port" in missing else ""
        if "port" in missing and "span" in frame.columns:
            hint = "; a port is the number printed on the box, which is span minus 1"
        raise InvalidRequest(
            f"the frame has no column {', '.join(missing)}: send_many() needs to, text and port, "
            f"and takes key{hint}"
        )
    names = [name for name in READ if name in frame.columns]
    cells = (frame[name].tolist() for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def results_of(frame: pd.DataFrame, results: list[SmsResult]) -> pd.DataFrame:
    """The frame with what became of each row in the columns of the view `batch`."""
    import pandas as pd

    answer = frame_of_records("batch", results)
    answer.index = frame.index
    kept = frame.drop(columns=[name for name in answer if name in frame.columns])
    return pd.concat([kept, answer], axis=1)


def send(
    facade: Gateway | Fleet,
    messages: list[dict[str, Any]],
    *,
    progress: bool,
    dry_run: bool,
    retry_failed: bool,
    batch: str,
) -> list[SmsResult]:
    """Send a frame's messages with a bar; warn when an earlier call had sent them all."""
    bar = _BatchBar(len(messages)) if progress and not dry_run else None
    show = facade._dispatcher.show
    sending: Coroutine[Any, Any, list[SmsResult]] = facade._link.send_many(
        messages,
        dry_run=dry_run,
        retry_failed=retry_failed,
        batch=batch,
        progress=None if bar is None else lambda number, sms: show(bar.show, number, sms),
    )
    try:
        results = facade._run(sending)
    finally:
        if bar is not None:
            show(bar.close)
    if messages and not dry_run and all(result.earlier for result in results):
        warn(
            "nothing was sent now: every SMS of this frame was taken up by an earlier call; to "
            'send them again on purpose, give batch="another name"'
        )
    return results


class _BatchBar:
    """Counts the SMS of a batch that came to their end, in a bar."""

    def __init__(self, total: int) -> None:
        self._queued = False
        self._ended: set[int] = set()
        self._bar = Bar("SMS", total, "SMS")

    def show(self, number: int, result: SmsResult) -> None:
        """Take a change; called from one thread."""
        self._queued = True
        if result.status in _ENDED:
            self._ended.add(number)
            self._bar.show(len(self._ended))

    def close(self) -> None:
        """Leave it as it stands; one of a batch that was refused goes away."""
        self._bar.close(leave=self._queued)
