"""What the link asks of whoever keeps the history; the store implements it, and a double in memory.

The link never learns of SQL or files. Every call returns at once with a future that is done when
the rows are on disk: whoever waits for it may then tell the user ("told = committed").
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Protocol

from neogate_lab.errors import InvalidRequest, NeogateError

logger = logging.getLogger(__name__)

Row = dict[str, Any]
"""A row by column name, as `history/schema.py` declares it: times are aware UTC datetimes, text is
str, None is unknown. Columns left out take their empty value ("" or None); row_id is assigned."""


class Lock(Protocol):
    """One at a time has it, among all processes; its holder's death frees it."""

    @property
    def held(self) -> bool:
        """Whether this object has it."""
        ...

    def acquire(self) -> bool:
        """Take it if it is free; whether this object has it now. `OSError` if nobody can."""
        ...

    def release(self) -> None:
        """Let another have it."""
        ...


class SurveyLock(Lock, Protocol):
    """Who holds it measures a survey."""

    def taken(self) -> bool:
        """Whether somebody has it; asking names nobody as its holder. `OSError` as `acquire`."""
        ...

    @property
    def holder(self) -> str:
        """Who took it last, in words: "process 4711"."""
        ...


class RecordLock(Lock, Protocol):
    """Who holds it records what arrives at a gateway."""

    @property
    def endpoint(self) -> str:
        """The gateway's address, as whoever took it last had it; "" if that is not known."""
        ...

    def noted(self) -> datetime | None:
        """Until when the holder, or the one before, is known to have listened; None if never."""
        ...

    def note(self, now: datetime) -> None:
        """Say that its holder listens now; found by the next one, whatever becomes of this."""
        ...


class Ledger(Protocol):
    """Record this; what is queued; was this key used; when did this port last send."""

    def append(self, table: str, rows: Sequence[Row]) -> Future[list[int]]:
        """Commit `rows`; the result is their row_ids."""
        ...

    def update(self, table: str, row_id: int, values: Mapping[str, Any]) -> Future[None]:
        """Commit new values of one row (surveys only: other tables change through verbs below)."""
        ...

    def recall_survey(self, gateway: str, name: str) -> Future[tuple[list[Row], list[Row], Any]]:
        """Rows of surveys and of marks with this name, oldest first; and, when the last of surveys
        has no stopped_at, the last tick on record since its time, None for none.
        """
        ...

    def survey_lock(self, gateway: str, name: str) -> SurveyLock:
        """The lock of the one who measures a survey of this name, not taken yet."""
        ...

    def open_surveys(self, gateway: str) -> Future[list[Row]]:
        """Rows of surveys at this gateway without stopped_at, oldest first: they run, or their
        process died.
        """
        ...

    def identify(self, row: Row) -> Future[bool]:
        """Commit an identity if it differs (time apart) from the port's last; True if so."""
        ...

    def record_lock(self, gateway: str, endpoint: str) -> RecordLock:
        """The lock of the one who records what arrives at a gateway, not taken yet; and where."""
        ...

    # -- inbound ---------------------------------------------------------------------------------
    def receive(
        self, gateway: str, part: Row | None, group: str, message: Row | None
    ) -> Future[int | None]:
        """In one transaction: the raw part, and either the message that it completes (row_id is the
        result; the group's open parts are forgotten) or, without a message, the part as an open one
        of `group`. An empty group with no message is a duplicate: the part is kept, and nothing is
        open. `part` None with a message closes a group that ran out of time.
        """
        ...

    def recent_parts(self, gateway: str, since: Any) -> Future[list[tuple[Row, str]]]:
        """Parts received since a time, and every older open one, in order of arrival; each with its
        open group's name, or "" when its message was already told.
        """
        ...

    def messages(self, gateway: str, since: Any) -> Future[list[Row]]:
        """Rows of messages received at this gateway since a time, oldest first."""
        ...

    # -- outbound --------------------------------------------------------------------------------
    @property
    def owner(self) -> str:
        """What marks the rows of outbox that are this object's to send."""
        ...

    def enqueue(
        self, row: Row, *, retry_failed: bool = False, budget: int | None = None
    ) -> Future[tuple[Row, bool]]:
        """Commit a queued SMS; (its row, True). When its non-empty key was used at this gateway:
        (the earlier row, False), or a new row if that one was cancelled, or failed and
        `retry_failed`. A queued row of a dead owner is taken over and returned with True.
        `InvalidRequest` when the key was used with another to, text or port; `BudgetExceeded` when
        the segments of the last 24 h (cancelled rows apart) and this row's exceed `budget`.
        """
        ...

    def enqueue_many(
        self,
        rows: Sequence[Row],
        *,
        retry_failed: bool = False,
        budget: int | None = None,
        any_port: Collection[str] = (),
        rehearse: bool = False,
    ) -> Future[list[tuple[Row, bool] | InvalidRequest]]:
        """`enqueue` for a batch, in one transaction; each row's answer, or its error. When there is
        an error, and to `rehearse`, nothing is committed. A key in `any_port` stands for its SMS
        whatever port that took.
        """
        ...

    def adopt(self, gateway: str) -> Future[list[Row]]:
        """Take over every queued row of a dead owner at this gateway; the rows, oldest first."""
        ...

    def look(self, ids: Collection[str]) -> Future[list[Row]]:
        """Rows of outbox with these wire ids, each with ``owner_alive``."""
        ...

    def claim(self, row_id: int, *, now: datetime, interval: float) -> Future[float]:
        """Pacing across processes: if the port's last written_at is at least `interval` seconds
        before `now`, commit the queued row as written and return 0.0; else the seconds to wait.
        -1.0 when the row is no longer queued, or a living owner's.
        """
        ...

    def move(self, row_id: int, *, port: int, span: int) -> Future[Row]:
        """Commit another port for a queued row of this owner; the row after it, unchanged when it
        is no such row.
        """
        ...

    def settle(
        self, id: str, status: str, *, now: datetime, error: str = "", smsc: str = ""
    ) -> Future[Row | None]:
        """Commit what became of the SMS with this wire id; the row after it, None for a foreign id.
        `written` and `unknown` may become sent or failed, `written` may become unknown, `failed`
        may become sent, `queued` may become cancelled or failed; any other change is ignored and
        the row returned as is.
        """
        ...

    def waiting(self, gateway: str) -> Future[list[Row]]:
        """Rows of outbox at this gateway that are queued or written, oldest first, each with its
        `owner` and the extra entries ``owner_alive`` (bool) and ``port_written_at``: when its port
        last sent, None for never.
        """
        ...


def append_or_log(ledger: Ledger, table: str, row: Row, what: str) -> Future[None]:
    """Commit a row; done once it is on disk, or could not be, which is logged as `what`."""
    settled: Future[None] = Future()
    settled.set_running_or_notify_cancel()  # whoever waits may give up, and the row stays

    def complain(error: BaseException) -> None:
        if isinstance(error, NeogateError):
            logger.error("%s: %s", what, error)
        else:
            logger.error("%s", what, exc_info=error)

    def check(done: Future[list[int]]) -> None:
        if (error := done.exception()) is not None:
            complain(error)
        settled.set_result(None)

    try:
        ledger.append(table, [row]).add_done_callback(check)
    except NeogateError as error:  # the store was closed first; whoever called must go on
        complain(error)
        settled.set_result(None)
    return settled
