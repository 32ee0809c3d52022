"""Measurements and messages as small tables of answers; never a comparison or a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab import times
from neogate_lab.analysis.counts import Counts, counted
from neogate_lab.analysis.series import independent, series
from neogate_lab.analysis.tables import (
    Data,
    column_of,
    fetch,
    filled,
    opened,
    since_1970,
    stretch_of,
    typed,
    utc,
)
from neogate_lab.errors import InvalidRequest
from neogate_lab.history.schema import GATEWAY, PORT, Column

__all__ = [
    "availability",
    "delivery",
    "handovers",
    "latency",
    "operators",
    "outages",
    "signal_summary",
]

By = str | Sequence[str]

_ORDER = ["time", "survey", "kind"]

_JOIN = 1.5
"""Ticks further apart than this many of their usual distances have a gap between them."""

_LONGEST = 10_000 * 366 * 86_400  # seconds

_AVAILABILITY = (
    Column("n", "int64", "scheduled measurements"),
    Column("n_answered", "int64", "those that the gateway answered"),
    Column("n_registered", "int64", "those of them in which the port was registered"),
    Column("measured", "float", "answered ÷ scheduled"),
    Column("availability", "float", "registered ÷ answered"),
)
_SUMMARY = (
    Column("n", "int64", "scheduled measurements"),
    Column("n_missing", "int64", "those without a value, for whatever reason"),
    Column("mean_dbm", "float", "mean of the values", "dBm"),
    Column("median_dbm", "float", "median of the values", "dBm"),
    Column("mad_db", "float", "median distance from the median", "dB"),
    Column("p10_dbm", "float", "10 % of the values are at or below", "dBm"),
    Column("p90_dbm", "float", "90 % of the values are at or below", "dBm"),
    Column("n_no_value", "int64", "registered, but no value"),
    Column("refresh_s", "float", "period in which the driver's value is renewed", "s"),
    Column("n_independent", "float", "independent readings that would tell as much"),
    Column("availability", "float", "registered ÷ answered"),
)
_OUTAGES = (
    GATEWAY,
    PORT,
    Column("start", "time", "the first tick of it", "UTC"),
    Column("end", "time", "the first tick after it; missing while open", "UTC"),
    Column("seconds", "float", "from start to end; missing while open", "s"),
    Column("kind", "cat", "no_sim, power_off, down, not_registered, or blind: nobody measured"),
)
_OPERATORS = (
    GATEWAY,
    PORT,
    Column("network", "cat", "network as sent"),
    Column("n", "int64", "measurements registered with it"),
    Column("share", "float", "of the port's registered measurements"),
    Column("first", "time", "first tick with it", "UTC"),
    Column("last", "time", "last tick with it", "UTC"),
    Column("mean_dbm", "float", "mean of the values", "dBm"),
    Column("median_dbm", "float", "median of the values", "dBm"),
)
_HANDOVERS = (
    GATEWAY,
    PORT,
    Column("time", "time", "the first tick with the new network", "UTC"),
    Column("before", "cat", "network before"),
    Column("after", "cat", "network after"),
    Column("away_s", "float", "since the last tick with the network before", "s"),
)
_DELIVERY = (
    Column("n", "int64", "SMS asked for"),
    Column("n_sent", "int64", "taken by the SMS centre"),
    Column("n_failed", "int64", "refused"),
    Column("n_unknown", "int64", "written, and nothing was heard of them"),
    Column("n_waiting", "int64", "queued or written"),
    Column("n_cancelled", "int64", "given up before they were written"),
    Column("segments", "int64", "segments of those written"),
    Column("delivery", "float", "sent ÷ (sent + failed + unknown)"),
    Column("median_s", "float", "from written to sent", "s"),
    Column("p90_s", "float", "from written to sent", "s"),
)
_LATENCY = (
    Column("n", "int64", "answers that were timed"),
    Column("median_ms", "float", "from the tick to the answer", "ms"),
    Column("p90_ms", "float", "from the tick to the answer", "ms"),
    Column("p99_ms", "float", "from the tick to the answer", "ms"),
    Column("max_ms", "float", "from the tick to the answer", "ms"),
)


def signal_summary(
    data: Data, by: By = ("gateway", "port"), every: times.Period | None = None
) -> pd.DataFrame:
    """Summarise signal strength.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.
    by : str or sequence of str
        Columns of `signal` that make a group.
    every : float, str or timedelta, optional
        Also group by stretches of time of this length, in whole seconds, counted from 1970 UTC.

    Returns
    -------
    DataFrame
        A row a group, sorted: the columns of `by`, `time` (start of the stretch) if `every` is
        given, and

        - n, n_missing: scheduled measurements, and those of them without a value;
        - mean_dbm, median_dbm, mad_db, p10_dbm, p90_dbm: of the values;
        - n_no_value: registered, but without a value, which may mean "too weak to tell";
        - refresh_s: how often the driver renews its value, the median of the ports, from all of
          `data`; missing where too few changes show it;
        - n_independent: independent readings that would tell as much about the mean, corrected for
          repeats and autocorrelation; of more than a million rows, estimated from stretches;
        - availability: registered ÷ answered.

    Raises
    ------
    InvalidRequest
        `data` is no table `signal`, or a column is unknown.
    """
    keys = _keys(by, "signal")
    stretch = _whole_seconds(every, keys)
    table = opened(
        data,
        "signal",
        {*keys, "time", "gateway", "port", "ok", "registered", "rssi_dbm"},
    )
    counts = counted(table, keys, stretch)
    rows = series(table, keys, stretch, counts)
    answer = counts.strength().join(independent(rows, counts))
    answer["availability"] = counts.availability()["availability"]
    return _answer(counts, answer, stretch, _SUMMARY)


def strength_by_hour(data: Data) -> pd.DataFrame:
    """The median signal strength of every hour, all ports together: time, median_dbm."""
    table = opened(data, "signal", ("gateway", "time", "ok", "registered", "rssi_dbm"))
    counts = counted(table, [], 3600)
    time = utc(pd.to_datetime(counts.keys["bucket"], unit="us", utc=True))
    return pd.DataFrame({"time": time, "median_dbm": counts.strength()["median_dbm"]})


def extremes(data: Data, every: int) -> pd.DataFrame:
    """The weakest and the strongest value of every stretch, as rows that `signal_history` draws.

    Two rows a gateway, port, label and stretch of `every` seconds, half a stretch apart; without a
    value where there was none, not ok where nothing was answered.
    """
    columns = ("gateway", "port", "time", "ok", "registered", "rssi_dbm", "network", "label")
    table = opened(data, "signal", columns)
    value = table.ok.ifelse(table.rssi_dbm.cast("float64"), None)
    table = table.mutate(bucket=stretch_of(since_1970(table.time), every), value=value)
    rows = fetch(
        table.group_by(["gateway", "port", "label", "bucket"]).aggregate(
            low=table.value.min(),
            high=table.value.max(),
            answers=table.ok.ifelse(1, 0).sum(),
            registrations=(table.ok & table.registered).ifelse(1, 0).sum(),
            network=table.network.max(),
        )
    ).sort_values(["gateway", "port", "bucket", "label"], ignore_index=True)
    made = []
    for name, later in (("low", 0.0), ("high", every / 2)):
        value = pd.to_numeric(rows[name]).astype(float)
        time = pd.to_datetime(rows["bucket"] + int(later * 1e6), unit="us", utc=True)
        made.append(
            pd.DataFrame(
                {
                    "time": time.astype("datetime64[us, UTC]"),
                    **{key: rows[key] for key in ("gateway", "port", "label", "network")},
                    "ok": rows["answers"] > 0,
                    "registered": rows["registrations"] > 0,
                    "rssi_dbm": value,
                    "rssi_bound": np.select([value <= -113, value >= -51], ["<=", ">="], ""),
                }
            )
        )
    return pd.concat(made, ignore_index=True)


def value_counts(data: Data, by: str) -> pd.DataFrame:
    """How often each value occurs while registered: `by`, value (NaN: none), count."""
    table = opened(data, "signal", {by, "time", "ok", "registered", "rssi_dbm"})
    counts = counted(table.filter(table.ok & table.registered), [by])
    found = counts.keys.take(counts.group).reset_index(drop=True)
    found["value"], found["count"] = counts.value, counts.count
    return found.sort_values([by, "value"], ignore_index=True)


def availability(
    data: Data, by: By = ("gateway", "port"), every: times.Period | None = None
) -> pd.DataFrame:
    """How much of the time ports were registered, as far as anybody measured.

    Parameters
    ----------
    data, by, every
        As for `signal_summary`.

    Returns
    -------
    DataFrame
        A row a group, sorted: the columns of `by`, `time` if `every` is given, n, n_answered,
        n_registered, measured (answered ÷ scheduled) and availability (registered ÷ answered;
        where the gateway does not say, it does not count as registered).

    Raises
    ------
    InvalidRequest
        `data` is no table `signal`, or a column is unknown.
    """
    keys = _keys(by, "signal")
    stretch = _whole_seconds(every, keys)
    table = opened(data, "signal", {*keys, "time", "ok", "registered", "rssi_dbm"})
    counts = counted(table, keys, stretch)
    return _answer(counts, counts.availability(), stretch, _AVAILABILITY)


def outages(data: Data) -> pd.DataFrame:
    """Find the times when a port was not registered, and those when nobody measured.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.

    Returns
    -------
    DataFrame
        A row a run of ticks, sorted by gateway, port and start: gateway, port, start, end
        (exclusive; missing while open), seconds, kind. Measurements that failed and ticks that are
        absent are of kind ``blind``. A port that is up, and of which the gateway does not say
        whether it is registered, is none.

    Raises
    ------
    InvalidRequest
        `data` is no table `signal`.
    """
    import ibis

    columns = ("gateway", "port", "time", "ok", "registered", "power", "sim", "up", "state")
    table = opened(data, "signal", (*columns, "survey"))
    table = table.mutate(
        micros=since_1970(table.time),
        kind=_kind(table),
        survey=ibis.coalesce(table.survey, ""),
    )
    line = ["gateway", "port"]
    # Two surveys may measure a port at once: their order is the same on every engine.
    order = ibis.window(group_by=line, order_by=_ORDER)
    ticks = ibis.window(group_by=[*line, "survey"], order_by="time")
    table = table.mutate(
        before=table.kind.lag().over(order),
        time_before=table.time.lag().over(order),
        survey_before=table.survey.lag().over(order),
        passed=table.micros - table.micros.lag().over(order),
        tick=table.micros - table.micros.lag().over(ticks),
        after=table.time.lead().over(order),
    )
    # Ticks of a clock that jitters are as many as rows: within a millisecond they are one.
    near = (*line, "survey", (table.tick - table.tick % 1000).name("near"))
    usual = _usual_ticks(
        fetch(table.group_by(near).aggregate(tick=table.tick.min(), count=table.count()))
    )
    # What is sure to be no gap stays in the engine; the rest is judged by each survey's own ticks.
    telling = (
        table.before.isnull()
        | table.after.isnull()
        | (table.kind != table.before)
        | (table.passed > _JOIN * _least(table.survey, usual))
    )
    chosen = ("survey", "time", "kind", "survey_before", "time_before", "passed")
    rows = fetch(table.filter(telling).select(*line, *chosen))
    return typed(_runs(rows, usual), _OUTAGES)


def operators(data: Data) -> pd.DataFrame:
    """Which networks each port was registered with, how long, and how strong they were.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.

    Returns
    -------
    DataFrame
        A row a port and network, sorted: gateway, port, network, n, share (of the port's registered
        measurements), first, last, mean_dbm, median_dbm.
    """
    keys = ["gateway", "port", "network"]
    table = opened(data, "signal", {*keys, "time", "ok", "registered", "rssi_dbm"})
    counts = counted(table.filter(table.ok & table.registered), keys)
    answer = counts.strength().join(counts.keys)
    ends = pd.DataFrame({"first": counts.first, "last": counts.last}).groupby(counts.group)
    for name, micros in ends.agg({"first": "min", "last": "max"}).items():
        answer[name] = pd.to_datetime(micros, unit="us", utc=True)
    answer["share"] = answer["n"] / answer.groupby(["gateway", "port"])["n"].transform("sum")
    return typed(answer, _OPERATORS)


def handovers(data: Data) -> pd.DataFrame:
    """Find the changes of network of each port; cells within a network are not shown by gateways.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.

    Returns
    -------
    DataFrame
        A row a change, sorted: gateway, port, time (the first tick with the new network), before,
        after, away_s (since the last tick with the network before).
    """
    import ibis

    table = opened(data, "signal", ("gateway", "port", "time", "ok", "registered", "network"))
    table = table.filter(table.ok & table.registered & (table.network != ""))
    order = ibis.window(group_by=["gateway", "port"], order_by=["time", "network"])
    table = table.mutate(before=table.network.lag().over(order), seen=table.time.lag().over(order))
    rows = fetch(table.filter(table.before != table.network))
    rows = rows.sort_values(["gateway", "port", "time", "network"], ignore_index=True)
    away = utc(rows["time"]) - utc(rows["seen"])
    rows = rows.assign(after=rows["network"], away_s=away.dt.total_seconds())
    return typed(rows, _HANDOVERS)


def delivery(data: Data, by: By = ("gateway", "port")) -> pd.DataFrame:
    """What became of the SMS that were to be sent.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `outbox`.
    by : str or sequence of str
        Columns of `outbox` that make a group.

    Returns
    -------
    DataFrame
        A row a group, sorted: the columns of `by`, n, n_sent, n_failed, n_unknown, n_waiting,
        n_cancelled, segments (of those written), delivery (sent ÷ sent, failed and unknown),
        median_s and p90_s (from written to sent). Sent means that the SMS centre took it.
    """
    keys = _keys(by, "outbox")
    if "segments" in keys:
        raise InvalidRequest("by takes no segments: the answer has a column of that name")
    table = opened(data, "outbox", {*keys, "status", "segments", "written_at", "status_at"})
    rows = fetch(table)
    taken = utc(rows["status_at"]) - utc(rows["written_at"])
    sent = rows["status"] == "sent"
    rows = rows.assign(
        seconds=taken.dt.total_seconds().where(sent),
        paid=pd.to_numeric(rows["segments"]).where(utc(rows["written_at"]).notna()),
        n_sent=sent,
        n_failed=rows["status"] == "failed",
        n_unknown=rows["status"] == "unknown",
        n_waiting=rows["status"].isin(["queued", "written"]),
        n_cancelled=rows["status"] == "cancelled",
    )
    grouped = rows.groupby(keys, observed=True, sort=True, dropna=False)
    counted = [name for name in rows if str(name).startswith("n_")]
    answer = grouped[counted].sum()
    answer["n"] = grouped.size()
    answer["segments"] = grouped["paid"].sum()
    ended = answer["n_sent"] + answer["n_failed"] + answer["n_unknown"]
    answer["delivery"] = answer["n_sent"] / ended.where(ended > 0)
    answer["median_s"] = grouped["seconds"].median()
    answer["p90_s"] = grouped["seconds"].quantile(0.9)
    return typed(answer.reset_index(), [*(column_of("outbox", key) for key in keys), *_DELIVERY])


def latency(data: Data, by: By = ("gateway", "port")) -> pd.DataFrame:
    """How long answers took, from when they were due.

    Parameters
    ----------
    data : DataFrame, Store, path or URL of Parquet, or Ibis table
        The table `signal`.
    by : str or sequence of str
        Columns of `signal` that make a group.

    Returns
    -------
    DataFrame
        A row a group, sorted: the columns of `by`, n, median_ms, p90_ms, p99_ms, max_ms.
    """
    keys = _keys(by, "signal")
    table = opened(data, "signal", {*keys, "ok", "latency_ms"})
    table = table.filter(table.ok & table.latency_ms.notnull() & ~table.latency_ms.isnan())
    table = filled(table, keys)
    took = table.latency_ms
    rows = fetch(
        table.group_by(keys).aggregate(
            n=table.count(),
            median_ms=took.quantile(0.5),
            p90_ms=took.quantile(0.9),
            p99_ms=took.quantile(0.99),
            max_ms=took.max(),
        )
    )
    rows = rows.sort_values(keys, ignore_index=True)
    return typed(rows, [*(column_of("signal", key) for key in keys), *_LATENCY])


def _keys(by: By, table: str) -> list[str]:
    if not isinstance(by, Iterable):
        raise InvalidRequest(f"by takes a column or several, not {by!r}")
    keys = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    if not keys:
        raise InvalidRequest("by names no column: give at least one")
    for key in keys:
        column_of(table, key)
    return keys


def _whole_seconds(every: times.Period | None, keys: list[str]) -> int | None:
    if every is None:
        return None
    if "time" in keys:
        raise InvalidRequest("by takes no time where every groups by it: leave out one of them")
    length = times.seconds(every, "every")
    if length != int(length) or length > _LONGEST:
        raise InvalidRequest(f"every takes whole seconds, up to 10,000 years, not {length:g}")
    return int(length)


def _answer(
    counts: Counts, answer: pd.DataFrame, stretch: int | None, columns: Sequence[Column]
) -> pd.DataFrame:
    frame = answer.join(counts.keys)
    declared = [column_of("signal", key) for key in map(str, counts.keys) if key != "bucket"]
    if stretch is not None:
        frame["time"] = pd.to_datetime(frame["bucket"], unit="us", utc=True)
        declared.append(Column("time", "time", "start of the stretch", "UTC"))
    return typed(frame, [*declared, *columns])


def _kind(table: Any) -> Any:
    """What a row says about its port: "" is registered, or up and nothing said of a network."""
    import ibis

    state = ibis.coalesce(table.state, "").lower()
    return ibis.cases(
        (~ibis.coalesce(table.ok, False), "blind"),
        (ibis.coalesce(table.registered, False), ""),
        (~ibis.coalesce(table.power, True), "power_off"),
        (~ibis.coalesce(table.sim, True), "no_sim"),
        # Rows of before those flags, where a firmware's state told.
        (state.contains("power off") | state.contains("power down"), "power_off"),
        (state.contains("no sim") | state.contains("sim not"), "no_sim"),
        (table.registered.isnull() & ~ibis.coalesce(table.up, True), "down"),
        (table.registered.isnull() & ibis.coalesce(table.up, False), ""),
        else_="not_registered",
    )


def _usual_ticks(counts: pd.DataFrame) -> pd.DataFrame:
    """The usual distance of ticks of each survey and port: the median, in microseconds."""
    counts = counts[counts["tick"].notna() & (counts["tick"] > 0)]
    counts = counts.sort_values(["gateway", "port", "survey", "tick"])
    line = counts.groupby(["gateway", "port", "survey"], observed=True, dropna=False)
    half = line["count"].transform("sum") / 2
    first = counts[line["count"].cumsum() >= half].groupby(
        ["gateway", "port", "survey"], dropna=False
    )
    return first["tick"].first().rename("usual").reset_index()


def _least(survey: Any, usual: pd.DataFrame) -> Any:
    """The least usual distance of a survey's ticks, as an expression; of all where it has none."""
    import ibis

    least = usual.groupby("survey")["usual"].min()
    others = least[least > least.min()]
    cases = [
        (survey.isin([str(name) for name in names.index]), int(names.iloc[0]))
        for _, names in others.groupby(others)
    ]
    rest = int(least.min()) if len(least) else 1_000_000
    return ibis.cases(*cases, else_=rest) if cases else rest


def _runs(rows: pd.DataFrame, usual: pd.DataFrame) -> pd.DataFrame:
    """Runs of equal kind, and gaps as runs of kind blind."""
    # Rows of a gateway that was never reached have no port; engines type such a column anyhow.
    rows, usual = rows.astype({"port": "Int16"}), usual.astype({"port": "Int16"})
    rows = rows.merge(usual, on=["gateway", "port", "survey"], how="left").merge(
        usual.rename(columns={"survey": "survey_before", "usual": "usual_before"}),
        on=["gateway", "port", "survey_before"],
        how="left",
    )
    for name in ("time", "time_before"):
        rows[name] = utc(rows[name])
    rows = rows.sort_values(["gateway", "port", *_ORDER], ignore_index=True)
    gap = rows["passed"] > _JOIN * np.fmax(rows["usual"], rows["usual_before"])
    tick = pd.to_timedelta(rows["usual_before"].fillna(rows["usual"]), unit="us")
    dark = rows.assign(kind="blind", time=rows["time_before"] + tick.dt.as_unit("us"))[gap]
    # What was dark ends with the row that tells of it.
    told = pd.concat([dark, rows]).sort_index(kind="stable")
    line = ["gateway", "port"]
    before = told.groupby(line, observed=True, sort=False, dropna=False)["kind"].shift()
    begun = told[told["kind"] != before].rename(columns={"time": "start"}).reset_index(drop=True)
    begun["end"] = begun.groupby(line, observed=True, sort=False, dropna=False)["start"].shift(-1)
    for gateway, dark in rows[rows["port"].isna()].groupby("gateway", observed=True):
        # It ends with the first row that has a port.
        later = rows[(rows["gateway"] == gateway) & rows["port"].notna()]["time"]
        last = begun.index[(begun["gateway"] == gateway) & begun["port"].isna()][-1]
        begun.loc[last, "end"] = later[later > dark["time"].iloc[-1]].min()
    begun = begun[begun["kind"] != ""]
    seconds = (utc(begun["end"]) - utc(begun["start"])).dt.total_seconds()
    return begun.assign(seconds=seconds)[[column.name for column in _OUTAGES]]
