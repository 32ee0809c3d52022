"""An SMS is queued once, written by one, and its status only ever goes forward."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neogate_lab.errors import BudgetExceeded, InvalidRequest
from neogate_lab.history.outbox import STATUSES
from neogate_lab.history.store import Store
from tests.history.samples import at, sms


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """A second user of the same store, as another process would be."""
    with Store(store.path) as made:
        yield made


def queue(store: Store, seconds: float = 0, **values: Any) -> int:
    row, fresh = store.enqueue(sms(seconds, **values)).result()
    assert fresh
    return int(row["row_id"])


def reach(store: Store, status: str, **values: Any) -> int:
    row_id = queue(store, **values)
    if status in ("written", "sent", "failed", "unknown"):
        assert store.claim(row_id, now=at(1), interval=0).result() == 0.0
    if status not in ("queued", "written"):
        store.settle(values["id"], status, now=at(2)).result()
    return row_id


def test_a_queued_row_comes_back_as_it_is_on_disk(store: Store) -> None:
    row, fresh = store.enqueue(sms(id="ng1")).result()
    assert fresh
    assert row | {"owner_alive": True, "port_written_at": None} == store.waiting("lab").result()[0]
    assert (row["row_id"], row["status"], row["status_at"]) == (1, "queued", at(0))
    assert (row["owner"], row["written_at"], row["error"]) == (store.owner, None, "")


def test_an_id_is_used_once(store: Store) -> None:
    queue(store, id="ng1")
    with pytest.raises(InvalidRequest, match="take a new id"):
        store.enqueue(sms(id="ng1")).result()
    queue(store)
    queue(store)  # no id at all is no id


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("retry_failed", [False, True])
def test_a_key_stands_for_its_first_sms(store: Store, status: str, retry_failed: bool) -> None:
    row_id = reach(store, status, id="ng1", key="k")
    row, fresh = store.enqueue(sms(9, id="ng2", key="k"), retry_failed=retry_failed).result()
    again = status == "cancelled" or (status == "failed" and retry_failed)
    assert fresh == again
    assert (row["row_id"] != row_id) == again
    assert row["status"] == ("queued" if again else status)


def test_the_newest_sms_of_a_key_counts(store: Store) -> None:
    reach(store, "failed", id="ng1", key="k")
    second, _ = store.enqueue(sms(9, id="ng2", key="k"), retry_failed=True).result()
    row, fresh = store.enqueue(sms(9, id="ng3", key="k"), retry_failed=True).result()
    assert (row["row_id"], fresh) == (second["row_id"], False)


@pytest.mark.parametrize("change", [{"to": "+39999"}, {"text": "bye"}, {"port": 2}])
def test_a_key_with_other_content_is_refused(store: Store, change: dict[str, Any]) -> None:
    queue(store, key="k")
    with pytest.raises(InvalidRequest, match=f"another {next(iter(change))}") as caught:
        store.enqueue(sms(key="k", **change)).result()
    assert "390123" not in str(caught.value)


def test_keys_are_per_gateway_and_no_key_is_none(store: Store) -> None:
    assert queue(store, key="k") != queue(store, key="k", gateway="roof")
    assert queue(store) != queue(store)


def test_only_a_dead_owners_queued_row_is_taken_over(store: Store, other: Store) -> None:
    row_id = queue(store, key="k")
    row, fresh = other.enqueue(sms(key="k")).result()
    assert (fresh, row["owner"]) == (False, store.owner)
    owner = store.owner
    store.close()
    row, fresh = other.enqueue(sms(key="k")).result()
    assert (fresh, row["row_id"], row["owner"]) == (True, row_id, other.owner)
    assert owner != other.owner
    assert other.enqueue(sms(key="k")).result()[1] is False, "it goes on once"


def test_only_its_owner_moves_a_row_and_only_while_it_is_queued(store: Store, other: Store) -> None:
    row_id = queue(store, port=1, span=2)
    assert other.move(row_id, port=3, span=4).result()["port"] == 1
    moved = store.move(row_id, port=3, span=4).result()
    assert (moved["port"], moved["span"]) == (3, 4)
    store.claim(row_id, now=at(1), interval=0).result()
    assert store.move(row_id, port=1, span=2).result()["port"] == 3


# -- budget ------------------------------------------------------------------------------------


def test_the_budget_counts_segments_of_24_hours(store: Store) -> None:
    day = 24 * 3600
    reach(store, "sent", id="old", segments=5)
    queue(store, day, segments=3, gateway="roof")
    reach(store, "cancelled", id="no", segments=50)
    with pytest.raises(BudgetExceeded, match="this SMS: 2; used in 24 hours: 8, of the 9"):
        store.enqueue(sms(day, segments=2), budget=9).result()
    assert store.enqueue(sms(day + 2, segments=2), budget=5).result()[1], "the old one is past"


def test_the_budget_admits_the_last_segment_and_what_still_waits_counts(store: Store) -> None:
    assert store.enqueue(sms(segments=3), budget=3).result()[1]
    with pytest.raises(BudgetExceeded):
        store.enqueue(sms(10 * 24 * 3600), budget=3).result()


def test_an_earlier_result_costs_nothing(store: Store) -> None:
    reach(store, "sent", id="ng1", key="k")
    assert store.enqueue(sms(key="k"), budget=0).result()[1] is False


# -- pacing ------------------------------------------------------------------------------------


def test_a_port_sends_once_in_the_interval(store: Store) -> None:
    first, second, elsewhere = queue(store), queue(store), queue(store, port=2)
    assert store.claim(first, now=at(0), interval=10).result() == 0.0
    assert store.claim(second, now=at(4), interval=10).result() == 6.0
    assert store.claim(elsewhere, now=at(4), interval=10).result() == 0.0
    assert store.claim(second, now=at(10), interval=10).result() == 0.0
    assert list(store.outbox(port=1)["written_at"]) == [at(0), at(10)]


def test_a_row_is_claimed_once(store: Store) -> None:
    row_id = queue(store)
    assert store.claim(row_id, now=at(0), interval=0).result() == 0.0
    assert store.claim(row_id, now=at(99), interval=0).result() == -1.0
    assert store.claim(12345, now=at(99), interval=0).result() == -1.0


def test_a_living_owners_row_is_not_claimed_but_a_dead_ones_is(store: Store, other: Store) -> None:
    row_id = queue(store)
    assert other.claim(row_id, now=at(0), interval=0).result() == -1.0
    store.close()
    assert other.claim(row_id, now=at(0), interval=0).result() == 0.0
    assert list(other.outbox()["owner"]) == [other.owner]


def test_a_clock_set_back_does_not_block_a_port_for_long(store: Store) -> None:
    first, second = queue(store), queue(store)
    assert store.claim(first, now=at(3600), interval=10).result() == 0.0
    assert store.claim(second, now=at(0), interval=10).result() == 0.0


def test_two_users_claiming_one_port_keep_the_pace(store: Store, other: Store) -> None:
    users = {s: [queue(s) for _ in range(20)] for s in (store, other)}
    clock, written = itertools.count(), []

    def send(user: Store, row_ids: list[int]) -> None:
        for row_id in row_ids:
            while user.claim(row_id, now=at(now := next(clock)), interval=10).result():
                pass
            written.append(now)

    threads = [threading.Thread(target=send, args=item) for item in users.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    times = store.outbox()["written_at"].sort_values()
    assert len(written) == len(times.dropna()) == 40
    assert times.diff().dt.total_seconds().min() >= 10


# -- status ------------------------------------------------------------------------------------

ALLOWED = {
    "queued": {"cancelled", "failed"},
    "written": {"sent", "failed", "unknown"},
    "unknown": {"sent", "failed"},
    "failed": {"sent"},
}


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_status_only_goes_forward(store: Store, before: str, after: str) -> None:
    reach(store, before, id="ng1")
    was = store.outbox().to_dict("records")
    row = store.settle("ng1", after, now=at(60), error="why", smsc="+7").result()
    assert row is not None
    if after in ALLOWED.get(before, ()):
        assert (row["status"], row["status_at"], row["error"]) == (after, at(60), "why")
        assert row["smsc"] == "+7"
    else:
        assert row["status"] == before
        assert store.outbox().to_dict("records") == was


def test_a_foreign_id_is_none_of_ours(store: Store) -> None:
    queue(store)
    assert store.settle("someone-elses", "sent", now=at(0)).result() is None
    assert store.settle("", "sent", now=at(0)).result() is None
    with pytest.raises(InvalidRequest, match="never 'delivered'"):
        store.settle("ng1", "delivered", now=at(0))


def test_waiting_tells_whether_the_owner_lives(store: Store, other: Store) -> None:
    for status in STATUSES:
        reach(store, status, id=status)
    queue(other, gateway="roof")
    found = other.waiting("lab").result()
    assert [(row["status"], row["owner_alive"]) for row in found] == [
        ("queued", True),
        ("written", True),
    ]
    store.close()
    assert [row["owner_alive"] for row in other.waiting("lab").result()] == [False, False]


@pytest.mark.parametrize("name", ["", "../journal.sqlite", "0" * 31, "G" * 32])
def test_an_owner_that_never_was_is_dead(store: Store, name: str) -> None:
    assert not store._owners.alive(name)


def test_a_dead_owners_file_is_swept_away(store: Store, tmp_path: Path) -> None:
    left = store.path / "owners" / ("a" * 32)
    assert store.owner
    left.touch()
    assert not store._owners.alive("a" * 32)
    assert [path.name for path in left.parent.iterdir()] == [store.owner]
