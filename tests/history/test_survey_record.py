"""A survey is found again by its name: its stretches, marks and last tick, wherever these lie."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neogate_lab.history.store import Store

from .samples import NOON, at, measurement

DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "lab", clock=lambda: NOON) as store:
        yield store


def begun(seconds: float, **values: Any) -> dict[str, Any]:
    row = {"time": at(seconds), "gateway": "lab", "name": "s", "every_s": 10.0, "label": "roof"}
    return row | values


def ticks(store: Store, *seconds: float, **values: Any) -> None:
    rows = [measurement(second, **({"survey": "s"} | values)) for second in seconds]
    store.append("signal", rows).result()


def test_nothing_is_on_record(store: Store) -> None:
    assert store.recall_survey("lab", "s").result() == ([], [], None)


def test_stretches_and_marks_of_this_survey_alone(store: Store) -> None:
    store.append("surveys", [begun(0), begun(1, name="other"), begun(2, gateway="x")]).result()
    marks = [
        {"time": at(5), "gateway": "lab", "port": 1, "label": "yard", "survey": "s"},
        {"time": at(6), "gateway": "lab", "label": "cellar", "survey": "other"},
    ]
    store.append("marks", marks).result()
    stretches, found, last = store.recall_survey("lab", "s").result()
    assert [(row["time"], row["label"]) for row in stretches] == [(at(0), "roof")]
    assert [(row["port"], row["label"]) for row in found] == [(1, "yard")]
    assert last is None


@pytest.mark.parametrize("sealed", [False, True])
def test_the_last_tick_of_a_stretch_without_an_end(store: Store, sealed: bool) -> None:
    store.append("surveys", [begun(0), begun(2 * DAY)]).result()
    ticks(store, 0, 10, 2 * DAY, 2 * DAY + 10, 3 * DAY, 3 * DAY + 10)
    ticks(store, 4 * DAY, survey="other")
    ticks(store, 4 * DAY, gateway="other")
    if sealed:
        assert store.seal() == 8
    assert store.recall_survey("lab", "s").result()[2] == at(3 * DAY + 10)


@pytest.mark.parametrize("sealed", [False, True])
def test_ticks_of_earlier_stretches_are_not_those_of_this_one(store: Store, sealed: bool) -> None:
    store.append("surveys", [begun(0, stopped_at=at(20)), begun(50)]).result()
    ticks(store, 0, 10)
    if sealed:
        store.seal()
    assert store.recall_survey("lab", "s").result()[2] is None
    ticks(store, 60)
    assert store.recall_survey("lab", "s").result()[2] == at(60)


def test_a_stretch_that_ended_needs_no_last_tick(store: Store) -> None:
    store.append("surveys", [begun(0, stopped_at=at(20), reason="stopped")]).result()
    ticks(store, 0, 10)
    assert store.recall_survey("lab", "s").result()[2] is None


def test_its_lock_is_one_of_its_own(store: Store) -> None:
    first, again = store.survey_lock("lab", "s"), store.survey_lock("lab", "s")
    others = [store.survey_lock("lab", "t"), store.survey_lock("x", "s"), store.record_lock("lab")]
    assert first.acquire()
    assert not again.acquire()
    assert all(other.acquire() for other in others)
    first.release()
    assert again.acquire()
    for lock in (again, *others):
        lock.release()


def test_stretches_without_an_end_are_found(store: Store) -> None:
    rows = [begun(0, stopped_at=at(20)), begun(50), begun(60, name="t"), begun(70, gateway="x")]
    store.append("surveys", rows).result()
    assert [row["name"] for row in store.open_surveys("lab").result()] == ["s", "t"]


def test_its_lock_tells_who_has_it(store: Store) -> None:
    lock, seen = store.survey_lock("lab", "s"), store.survey_lock("lab", "s")
    assert seen.holder == "another process"
    assert lock.acquire()
    assert seen.holder == "this process"
    (file,) = (store.path / "locks").glob("survey-*")
    for text, words in (
        (f"4711 {socket.gethostname()}", "process 4711"),
        ("4711 elsewhere", "process 4711 on elsewhere"),
        ("", "another process"),
    ):
        file.write_text(text)
        assert seen.holder == words
    lock.release()


def test_who_looks_whether_it_is_taken_is_not_named_and_makes_no_file(store: Store) -> None:
    lock, seen = store.survey_lock("lab", "s"), store.survey_lock("lab", "s")
    assert not seen.taken()
    assert not list((store.path / "locks").glob("survey-*"))
    assert lock.acquire()
    assert seen.taken()
    assert lock.taken()
    (file,) = (store.path / "locks").glob("survey-*")
    file.write_text("4711 elsewhere\n")
    lock.release()
    assert not seen.taken()
    assert seen.holder == "process 4711 on elsewhere"


@pytest.mark.parametrize("kind", ["survey", "record"])
def test_a_lock_never_names_nobody_while_it_is_signed(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def make(endpoint: str) -> Any:
        if kind == "survey":
            return store.survey_lock("lab", "s")
        return store.record_lock("lab", endpoint)

    def named(lock: Any) -> str:
        return str(lock.holder if kind == "survey" else lock.endpoint)

    first, second = make("a-long-name.example"), make("b")
    assert first.acquire()
    first.release()
    names = {named(second)}
    for call in ("lseek", "write", "ftruncate"):
        real = getattr(os, call)

        def looked_at(*args: Any, real: Any = real) -> Any:
            names.add(named(second))
            try:
                return real(*args)
            finally:
                names.add(named(second))

        monkeypatch.setattr(f"neogate_lab.history.locks.os.{call}", looked_at)
    assert second.acquire()
    assert names == ({"this process"} if kind == "survey" else {"a-long-name.example", "b"})
    second.release()


def test_a_lock_that_was_dropped_is_free(store: Store) -> None:
    assert store.survey_lock("lab", "s").acquire()
    gc.collect()
    lock = store.survey_lock("lab", "s")
    assert lock.acquire()
    lock.release()
