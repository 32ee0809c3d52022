"""Every time without a measurement is told once, with the reason that it had, and adds up."""

from __future__ import annotations

import pandas as pd

from neogate_lab.analysis import gaps

DAY = pd.Timestamp("2026-11-20", tz="UTC")
PORTS = pd.DataFrame({"gateway": "lab", "port": [1, 2], "last": DAY + pd.Timedelta("23h")})


def at(hour: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(hour, "h")


def runs(*rows: tuple[int, float, float | None]) -> pd.DataFrame:
    made = [
        {
            "gateway": "lab",
            "port": port,
            "start": at(start),
            "end": pd.NaT if end is None else at(end),
            "seconds": None if end is None else 3600 * (end - start),
            "kind": "blind",
        }
        for port, start, end in rows
    ]
    frame = pd.DataFrame(made).astype({"seconds": "float64"})
    return frame.assign(end=pd.to_datetime(frame["end"], utc=True))


def stretches(*rows: tuple[float, float | None, str]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "time": [at(start) for start, _, _ in rows],
            "stopped_at": [pd.NaT if end is None else at(end) for _, end, _ in rows],
            "reason": [reason for _, _, reason in rows],
        }
    ).assign(gateway="lab")
    return frame.assign(stopped_at=pd.to_datetime(frame["stopped_at"], utc=True))


def links(*rows: tuple[float, str, float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.Series([at(time) for time, _, _ in rows], dtype="datetime64[us, UTC]"),
            "event": [event for _, event, _ in rows],
            "gap_s": pd.Series([gap for _, _, gap in rows], dtype="float64"),
        }
    ).assign(gateway="lab")


def why(frame: pd.DataFrame) -> dict[float, str]:
    return {
        (start - DAY).total_seconds() / 3600: reason
        for start, reason in zip(frame["start"], frame["reason"], strict=True)
    }


def test_each_time_has_the_reason_that_held_in_its_middle():
    surveys = stretches(
        (0, 4, "paused"), (5, 8, "died"), (10, 12, "closed"), (13, 14, "failed"), (15, None, "")
    )
    events = links(
        (1, "lost", None), (2, "restored", 3600.0),
        (16, "unreachable", None), (17, "connected", None),
        (19, "asleep", 1800.0),
        (20, "lost", None), (20.1, "closed", None),
    )  # fmt: skip
    blind = runs(
        (1, 1, 2), (1, 3, 3.1), (1, 4, 5), (1, 7.9, 10), (1, 12, 13), (1, 14, 15),
        (1, 16, 17), (1, 18.5, 19), (1, 20.5, 20.6), (1, 22, None),
    )  # fmt: skip
    told = gaps.explained(blind, PORTS, surveys, events)
    assert why(told) == {
        1: "link", 3: "failed", 4: "paused", 7.9: "died", 12: "ended", 14: "ended",
        16: "link", 18.5: "asleep", 20.5: "failed", 22: "failed",
    }  # fmt: skip
    assert list(told["open"]) == [False] * 9 + [True]
    assert told["end"].iloc[-1] == at(23)
    assert told["seconds"].sum() == 31_680.0  # 8.8 hours


def test_two_surveys_leave_a_time_only_when_both_have_ended():
    surveys = stretches((0, 2, "paused"), (1, 3, "done"))
    told = gaps.explained(runs((1, 1.5, 2.7), (1, 3, 4)), PORTS, surveys, links())
    assert why(told) == {1.5: "failed", 3: "ended"}


def test_without_a_survey_nothing_was_asked_for_between_samples():
    told = gaps.explained(runs((1, 1, 2)), PORTS, stretches(), links())
    assert why(told) == {1: "ended"}


def test_other_gateways_explain_nothing():
    surveys = stretches((0, 1, "paused")).assign(gateway="attic")
    events = links((0, "lost", None)).assign(gateway="attic")
    told = gaps.explained(runs((1, 2, 3)), PORTS, surveys, events)
    assert why(told) == {2: "ended"}


def test_a_night_that_one_port_began_a_tick_early_is_one_night():
    blind = runs((1, 19.9, 23), (2, 20, 23), (2, 1, 1.1), (1, 1.5, 1.6))
    told = gaps.explained(blind, PORTS, stretches((0, 20, "closed")), links())
    nights, *short = gaps.together(told)
    assert (nights["start"], nights["end"], nights["ports"]) == (at(19.9), at(23), {1, 2})
    assert nights["seconds"] == 11_160.0  # 3.1 hours
    assert [gap["ports"] for gap in short] == [{2}, {1}]


def test_a_short_failure_within_a_longer_one_is_told_beside_it():
    blind = runs((1, 1, 5), (2, 2, 3.5))
    told = gaps.explained(blind, PORTS, stretches((0, None, "")), links())
    assert [gap["ports"] for gap in gaps.together(told)] == [{1}, {2}]


def test_nothing_missing_is_nothing_told():
    told = gaps.explained(runs((1, 1, 2)).head(0), PORTS, stretches(), links())
    assert gaps.together(told) == []
