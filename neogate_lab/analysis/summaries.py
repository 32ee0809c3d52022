"""Recorded measurements and messages as small tables of answers; never a comparison or a picture.

CSQ has 32 values, so the engine only counts how often each occurs; means, medians and quantiles
come from those counts and are the same on every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from neogate_lab import times
from neogate_lab.analysis import readings
from neogate_lab.analysis.tables import Data, column_of, fetch, opened, typed, utc
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

_JOIN = 1.5
"""Ticks further apart than this many of their usual distances have a gap between them."""

_MOST_SERIES_ROWS = 1_000_000
"""Up to so many rows are looked at one after the other; of longer tables, stretches all over."""

_STRETCHES = 50

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
    stretch = _whole_seconds(every)
    table = opened(
        data,
        "signal",
        {*keys, "time", "gateway", "port", "ok", "registered", "rssi_dbm"},
    )
    counts, groups = _counts(table, keys, stretch)
    answer = _strength(counts, groups)
    answer["availability"] = _availability(counts, len(groups))["availability"]
    series = _series(table, keys, stretch)
    answer = answer.join(_independent(series, groups, answer["n_values"]))
    return _answer(groups, answer, keys, stretch, "signal", _SUMMARY)


def strength_by_hour(data: Data) -> pd.DataFrame:
    """The median signal strength of every hour, all ports together: time, median_dbm."""
    table = opened(data, "signal", ("gateway", "time", "ok", "registered", "rssi_dbm"))
    counts, groups = _counts(table, [], 3600)
    frame = _strength(counts, groups).join(groups)
    time = pd.to_datetime(frame["bucket"], unit="s", utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame({"time": time, "median_dbm": frame["median_dbm"]})


def value_counts(data: Data, by: str) -> pd.DataFrame:
    """How often each value occurs while registered: `by`, value (NaN: none), count."""
    table = opened(data, "signal", {by, "time", "ok", "registered", "rssi_dbm"})
    counts, _ = _counts(table.filter(table.ok & table.registered), [by], None)
    totals = counts.groupby([by, "value"], observed=True, dropna=False)["count"].sum()
    return totals.reset_index()


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
        n_registered, measured (answered ÷ scheduled) and availability (registered ÷ answered).

    Raises
    ------
    InvalidRequest
        `data` is no table `signal`, or a column is unknown.
    """
    keys = _keys(by, "signal")
    stretch = _whole_seconds(every)
    table = opened(data, "signal", {*keys, "time", "ok", "registered", "rssi_dbm"})
    counts, groups = _counts(table, keys, stretch)
    return _answer(
        groups, _availability(counts, len(groups)), keys, stretch, "signal", _AVAILABILITY
    )


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
        absent are of kind ``blind``.

    Raises
    ------
    InvalidRequest
        `data` is no table `signal`.
    """
    import ibis

    columns = ("gateway", "port", "time", "ok", "registered", "power", "sim", "up", "state")
    table = opened(data, "signal", (*columns, "survey"))
    table = table.mutate(
        second=table.time.epoch_seconds().cast("int64"),
        kind=_kind(table),
        survey=ibis.coalesce(table.survey, ""),
    )
    line = ["gateway", "port"]
    order = ibis.window(group_by=line, order_by="time")
    ticks = ibis.window(group_by=[*line, "survey"], order_by="time")
    table = table.mutate(
        before=table.kind.lag().over(order),
        time_before=table.time.lag().over(order),
        passed=table.second - table.second.lag().over(order),
        tick=table.second - table.second.lag().over(ticks),
        after=table.time.lead().over(order),
    )
    usual = _usual_ticks(
        fetch(table.group_by([*line, "survey", "tick"]).aggregate(count=table.count()))
    )
    # What is sure to be no gap stays in the engine; the rest is judged by each survey's own ticks.
    least = float(usual["usual"].min()) if len(usual) else 1.0
    telling = (
        table.before.isnull()
        | table.after.isnull()
        | (table.kind != table.before)
        | (table.passed > _JOIN * least)
    )
    chosen = [*line, "survey", "time", "kind", "before", "time_before", "passed", "after"]
    rows = fetch(table.filter(telling).select(*chosen))
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
    counts, groups = _counts(table.filter(table.ok & table.registered), keys, None)
    answer = _strength(counts, groups)
    span = counts.groupby("group").agg(first=("first", "min"), last=("last", "max"))
    answer = answer.join(span).join(groups)
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
    order = ibis.window(group_by=["gateway", "port"], order_by="time")
    table = table.mutate(before=table.network.lag().over(order), seen=table.time.lag().over(order))
    rows = fetch(table.filter(table.before != table.network))
    rows = rows.sort_values(["gateway", "port", "time"], ignore_index=True)
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
    grouped = rows.groupby(keys, observed=True, sort=True)
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
    keys = [by] if isinstance(by, str) else list(by)
    if not keys:
        raise InvalidRequest("by names no column: give at least one")
    for key in keys:
        column_of(table, key)
    return keys


def _whole_seconds(every: times.Period | None) -> int | None:
    if every is None:
        return None
    length = times.seconds(every, "every")
    if length != int(length):
        raise InvalidRequest(f"every takes whole seconds, not {length:g}")
    return int(length)


def _bucket(table: Any, stretch: int) -> Any:
    return table.time.epoch_seconds().cast("int64") // stretch * stretch


def _counts(table: Any, keys: list[str], stretch: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often each value occurs in each group (its number in `group`), and the groups."""
    names = list(keys)
    if stretch is not None:
        table = table.mutate(bucket=_bucket(table, stretch))
        names.append("bucket")
    kinds = [name for name in ("ok", "registered", "rssi_dbm") if name not in names]
    counts = fetch(
        table.group_by([*names, *kinds]).aggregate(
            count=table.count(), first=table.time.min(), last=table.time.max()
        )
    )
    for flag in ("ok", "registered"):
        counts[flag] = counts[flag].astype("boolean").fillna(False).astype(bool)
    value = pd.to_numeric(counts["rssi_dbm"]).astype("Float64").to_numpy(float, na_value=np.nan)
    counts["value"] = np.where(counts["ok"], value, np.nan)
    counts["count"] = counts["count"].astype("int64")
    counts["group"] = counts.groupby(names, observed=True, sort=True, dropna=False).ngroup()
    groups = counts.drop_duplicates("group").set_index("group")[names].sort_index()
    return counts, groups


def _strength(counts: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Counts, mean and quantiles of each group from how often each value occurs."""
    total = len(groups)
    valued = counts[counts["value"].notna()]
    number, value, count = (valued[name].to_numpy() for name in ("group", "value", "count"))
    n = np.bincount(counts["group"], counts["count"], total)
    n_values = np.bincount(number, count, total)
    silent = counts[counts["ok"] & counts["registered"] & counts["value"].isna()]
    quantile = _Quantiles(number, value, count, total)
    median = quantile(0.5)
    spread = _Quantiles(number, np.abs(value - median[number]), count, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(number, value * count, total) / n_values
    return pd.DataFrame(
        {
            "n": n,
            "n_values": n_values,
            "n_missing": n - n_values,
            "mean_dbm": mean,
            "median_dbm": median,
            "mad_db": spread(0.5),
            "p10_dbm": quantile(0.1),
            "p90_dbm": quantile(0.9),
            "n_no_value": np.bincount(silent["group"], silent["count"], total),
        },
        index=groups.index,
    )


class _Quantiles:
    """Quantiles of groups of counted values, interpolated as numpy and DuckDB do."""

    def __init__(self, group: Any, value: Any, count: Any, groups: int) -> None:
        order = np.lexsort((value, group))
        self._value = value[order]
        self._upto = np.cumsum(count[order])
        self._n = np.bincount(group, count, groups).astype(np.int64)
        self._start = np.cumsum(self._n) - self._n

    def __call__(self, share: float) -> np.ndarray[Any, Any]:
        if not len(self._value):
            return np.full(len(self._n), np.nan)
        place = share * (self._n - 1)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, self._n - 1)
        below, above = (self._at(each) for each in (low, high))
        found = below + (above - below) * (place - low)
        return np.where(self._n > 0, found, np.nan)

    def _at(self, place: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        index = np.searchsorted(self._upto, self._start + place, side="right")
        found: np.ndarray[Any, Any] = self._value[np.minimum(index, len(self._value) - 1)]
        return found


def _availability(counts: pd.DataFrame, total: int) -> pd.DataFrame:
    answered = counts["count"].where(counts["ok"], 0)
    registered = answered.where(counts["registered"], 0)
    n, n_answered, n_registered = (
        np.bincount(counts["group"], each, total)
        for each in (counts["count"], answered, registered)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "n": n,
                "n_answered": n_answered,
                "n_registered": n_registered,
                "measured": n_answered / n,
                "availability": n_registered / n_answered,
            }
        )


def _series(table: Any, keys: list[str], stretch: int | None) -> pd.DataFrame:
    """Values in the order of time, all of them or those of stretches all over a long table."""
    table = table.mutate(second=table.time.epoch_seconds().cast("int64"))
    if stretch is not None:
        table = table.mutate(bucket=_bucket(table, stretch))
    size = fetch(
        table.aggregate(rows=table.count(), first=table.second.min(), last=table.second.max())
    )
    rows = int(size["rows"].iloc[0])
    if rows > _MOST_SERIES_ROWS:
        first, last = int(size["first"].iloc[0]), int(size["last"].iloc[0])
        period = max((last - first) // _STRETCHES, 1)
        width = max(int(period * _MOST_SERIES_ROWS / rows), 1)
        table = table.filter((table.second - first) % period < width)
    names = list(dict.fromkeys(["gateway", "port", *keys, *(["bucket"] if stretch else [])]))
    value = table.ok.ifelse(table.rssi_dbm.cast("float64"), None)
    series = fetch(table.select(*names, "time", value=value))
    series["value"] = pd.to_numeric(series["value"]).astype(float)
    seconds = utc(series["time"]).astype("int64") / 1e6
    series["second"] = seconds
    return series.sort_values(["gateway", "port", "second"], kind="stable", ignore_index=True)


def refresh_by_port(series: pd.DataFrame) -> pd.Series:
    """The refresh period of each row's port, in seconds; `series` is sorted by port and second."""

    def period(rows: pd.DataFrame) -> float:
        return readings.refresh_period(rows["second"].to_numpy(), rows["value"].to_numpy())

    ports = series.groupby(["gateway", "port"], observed=True, sort=False)
    number = ports.ngroup().to_numpy()
    found = np.array([period(rows) for _, rows in ports[["second", "value"]]])
    return pd.Series(found[number] if len(found) else np.empty(0), index=series.index)


def _independent(series: pd.DataFrame, groups: pd.DataFrame, n_values: pd.Series) -> pd.DataFrame:
    """Refresh period and independent readings of each group."""
    series = series.assign(refresh=refresh_by_port(series))
    names = list(groups.columns)
    lookup = groups.reset_index()
    series = series.merge(lookup, on=names, how="left", sort=False)
    refresh = series.groupby("group")["refresh"].median()
    valued = series[series["value"].notna()].sort_values(
        ["group", "gateway", "port", "second"], kind="stable"
    )
    # Ports in one group are series of their own, whose independent readings add up.
    part = valued.groupby(["group", "gateway", "port"], observed=True, sort=False).ngroup()
    number = part.to_numpy()
    thin = readings.thinned(
        number,
        valued["second"].to_numpy(),
        valued["value"].to_numpy(),
        valued["refresh"].fillna(readings.UNSEEN_REFRESH).to_numpy(),
    )
    parts = int(number.max()) + 1 if len(number) else 0
    owner = valued.groupby(number)["group"].first().to_numpy() if parts else np.empty(0, int)
    seen = np.bincount(valued["group"].to_numpy(int), minlength=len(groups))
    told = np.bincount(owner, readings.means(*thin, parts).independent, len(groups))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(seen > 0, told / seen, told.sum() / max(seen.sum(), 1))
    return pd.DataFrame(
        {"refresh_s": refresh.reindex(groups.index), "n_independent": share * n_values},
        index=groups.index,
    )


def _answer(
    groups: pd.DataFrame,
    answer: pd.DataFrame,
    keys: list[str],
    stretch: int | None,
    table: str,
    columns: Sequence[Column],
) -> pd.DataFrame:
    frame = answer.join(groups)
    declared = [column_of(table, key) for key in keys]
    if stretch is not None:
        start = Column("time", "time", "start of the stretch", "UTC")
        frame["time"] = pd.to_datetime(frame["bucket"], unit="s", utc=True)
        declared.append(start)
    return typed(frame, [*declared, *columns])


def _kind(table: Any) -> Any:
    """What a row says about its port: "" is registered."""
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
        else_="not_registered",
    )


def _usual_ticks(counts: pd.DataFrame) -> pd.DataFrame:
    """The usual distance of ticks of each survey and port: the median, in seconds."""
    counts = counts[counts["tick"].notna() & (counts["tick"] > 0)]
    counts = counts.sort_values(["gateway", "port", "survey", "tick"])
    line = counts.groupby(["gateway", "port", "survey"], observed=True)
    half = line["count"].transform("sum") / 2
    first = counts[line["count"].cumsum() >= half].groupby(["gateway", "port", "survey"])
    return first["tick"].first().rename("usual").reset_index()


def _runs(rows: pd.DataFrame, usual: pd.DataFrame) -> pd.DataFrame:
    """Runs of equal kind, and gaps as runs of kind blind."""
    rows = rows.merge(usual, on=["gateway", "port", "survey"], how="left")
    for name in ("time", "time_before"):
        rows[name] = utc(rows[name])
    rows = rows.sort_values(["gateway", "port", "time"], kind="stable", ignore_index=True)
    found: list[dict[str, Any]] = []
    for (gateway, port), line in rows.groupby(["gateway", "port"], observed=True, sort=True):
        found += [{"gateway": gateway, "port": port, **run} for run in _runs_of_port(line)]
    columns = [column.name for column in _OUTAGES]
    frame = pd.DataFrame(found, columns=columns)
    frame["seconds"] = (utc(frame["end"]) - utc(frame["start"])).dt.total_seconds()
    return frame


def _runs_of_port(line: pd.DataFrame) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    kind: str = ""
    start: Any = None
    tick_before = np.nan

    def close(end: Any) -> None:
        if kind:
            runs.append({"start": start, "end": end, "kind": kind})

    rows: Any = line.itertuples()
    for row in rows:
        allowed = np.fmax(row.usual, tick_before)
        gap = row.passed > max(_JOIN * allowed, allowed + 1) if allowed == allowed else False
        tick = tick_before if tick_before == tick_before else row.usual
        tick_before = row.usual
        if gap:
            dark = row.time_before + pd.Timedelta(seconds=tick)
            if kind != "blind":
                close(dark)
                kind, start = "blind", dark
        if row.kind != kind:
            close(row.time)
            kind, start = row.kind, row.time
    close(pd.NaT)
    return runs
