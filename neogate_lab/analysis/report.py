"""The report's sections and its page, one HTML file; what they tell is read from copies.py.

The page holds no script and loads nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from neogate_lab.analysis import charts, comparison, findings, gaps, plots, summaries
from neogate_lab.analysis.copies import PLACED, PORTS_A_PICTURE, Asked, Copies
from neogate_lab.analysis.quality import BANDS
from neogate_lab.analysis.tables import extents, fetch
from neogate_lab.choice import PortChoice
from neogate_lab.errors import InvalidRequest
from neogate_lab.history.parquet_files import package_version
from neogate_lab.history.places import Place, locate
from neogate_lab.history.redaction import LEVELS
from neogate_lab.history.schema import SCHEMA_VERSION
from neogate_lab.history.store import Store
from neogate_lab.progress import PATIENCE, Bar
from neogate_lab.times import Moment, moment
from neogate_lab.words import ranges

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["write_report"]

_DPI = 160
_NARROWER = 0.87
"""Pictures as wide as a page: letters come out larger than on a screen's width."""

_MOST_DRAWN = 200_000
"""Rows drawn one by one; longer histories are drawn by the extremes of stretches."""

_STRETCHES = 1500
_MOST_COMPARED = 300_000
"""Rows of one comparison; of more, stretches all over are taken."""

_FEW_PORTS = 4
"""So many have pictures of their own."""

_MOST_PICTURES = 12
_MOST_OUTAGES = 25
_MOST_BLIND = 10
_MOST_HANDOVERS = 25
_MOST_EVENTS = 10
_MOST_PORTS = 256
_MOST_LABELS = 50

_MODULE = ("manufacturer", "model", "revision", "operator")
_LONG_ENOUGH = pd.Timedelta(days=2)
"""For a heatmap of hours and days."""


def write_report(
    store: Store,
    path: str | os.PathLike[str],
    *,
    gateway: str | Iterable[str] | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    port: PortChoice = None,
    redact: str | None = "all",
    title: str | None = None,
    progress: bool = True,
) -> Path | str:
    """Write a report of what was measured as one self-contained HTML file, whole or not at all.

    It tells what was measured and what was not, a verdict a port (of more than 16, of those that
    stand out), comparisons of labels, outages, networks, numbers of messages, the method and where
    everything comes from; texts of messages are never in it. It prints well, needs no script, and
    loads nothing.

    Parameters
    ----------
    store : Store
        Where the rows are; another process may be recording into it.
    path : str or path
        Ends in .html or .htm; also a URL of fsspec. What stood there is replaced.
    gateway : str or iterable of str, optional
        Only of these.
    since, until : date, datetime, timedelta or str, optional
        A time (naive is UTC) or how long ago ("2h"); `until` is exclusive.
    port : int or iterable of int, optional
        Only of these physical ports, from 1.
    redact : {"all", "text", "numbers", None}
        What to hide, as in exports: the same cell has the same token in both. "none" is None.
    title : str, optional
        The heading; it is shown as it is given.
    progress : bool
        Show a bar when it takes longer than two seconds.

    Returns
    -------
    Path or str
        The file; a URL as it was given.

    Raises
    ------
    InvalidRequest
        Another suffix, a missing folder, an unknown level, or a filter that can't be read.
    StoreError
        The store can't be read or the file not be written; what was there before is untouched.
    """
    now = datetime.now(UTC)
    if not isinstance(store, Store):
        raise InvalidRequest(
            "write_report() takes a store, as open_store(path) gives it, not "
            f"{type(store).__name__}"
        )
    place = _checked(path)
    if redact == "none":
        redact = None
    if redact is not None and redact not in LEVELS:
        raise InvalidRequest(f"redact is one of {', '.join(LEVELS)} or none, not {redact!r}")
    asked = Asked(
        gateways=_listed(gateway),
        ports=_listed(port),
        since=None if since is None else moment(since, now),
        until=None if until is None else moment(until, now, "until"),
        redact=redact,
    )
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="neogate-report-"))
        bar = Bar(place.name, len(_SECTIONS) + 1, "step", delay=PATIENCE, shown=progress)
        stack.callback(bar.close)
        copies = Copies(store, Path(folder), asked)
        stack.callback(copies.close)
        page: dict[str, Any] = {
            "title": findings.readable(title) if title else "Signal report",
            "made": now,
            "asked": asked,
        }
        for done, section in enumerate(_SECTIONS, start=1):
            bar.show(done)
            page |= section(copies)
        with place.replacing() as file:
            file.write(_rendered(page).encode())
        bar.show(len(_SECTIONS) + 1)
    return place.answer()


def _checked(path: str | os.PathLike[str]) -> Place:
    place = locate(path)
    if Path(place.name).suffix.lower() not in (".html", ".htm"):
        raise InvalidRequest(f"{place.name or place} is no name for a report: end it in .html")
    place.check_parent()
    if place.is_folder():
        raise InvalidRequest(f"{place} is a folder: give a file's name")
    return place


def _listed(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A plot as it stands in the page."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


def _picture(ax: Axes, alt: str, caption: str) -> _Picture:
    file = io.BytesIO()
    figure: Any = ax.figure
    width, height = figure.get_size_inches()
    figure.set_size_inches(_NARROWER * width, _NARROWER * height)
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    width, height = (int(inches * 96) for inches in figure.get_size_inches())
    data = base64.b64encode(file.getvalue()).decode()
    return _Picture(f"data:image/png;base64,{data}", alt, caption, width, height)


# -- sections: each gives the template its part ----------------------------------------------------


def _overview(copies: Copies) -> dict[str, Any]:
    ports = copies.ports
    first, last = copies.span if len(ports) else (None, None)
    reached = set(ports["gateway"])
    return {
        "rows": copies.rows,
        "n_ports": len(ports),
        "gateways": [
            {
                "gateway": gateway,
                "ports": _ranges(part["port"]),
                "n": int(part["n"].sum()),
                "first": part["first"].min(),
                "last": part["last"].max(),
            }
            for gateway, part in ports.groupby("gateway", observed=True, sort=True)
        ],
        "unreached": [
            {**row, "later": row["gateway"] in reached}
            for row in copies.unreached.to_dict("records")
        ],
        "first": first,
        "last": last,
        "several": copies.several,
        "fleet": "port" not in copies.keys,
    }


def _measured(copies: Copies) -> dict[str, Any]:
    surveys = copies.frame("surveys")
    table = copies.signal.filter(copies.signal.survey != "")
    taken = extents(table, "gateway", "survey")
    known = {
        (str(row["gateway"]), str(row["name"])): row for row in surveys.to_dict("records")
    }  # the newest start of each name
    rows = []
    for row in taken.sort_values(["first", "survey"]).to_dict("records"):
        settings = known.get((str(row["gateway"]), str(row["survey"])), {})
        rows.append(
            {
                "name": row["survey"],
                "gateway": row["gateway"],
                "every": settings.get("every_s", float("nan")),
                "ports": _survey_ports(str(settings.get("ports", ""))),
                "end": settings.get("reason") or "no end recorded",
                **{name: row[name] for name in ("n", "first", "last")},
            }
        )
    labels = copies.labels
    return {
        "surveys": rows[:_MOST_LABELS],
        "surveys_total": len(rows),
        "single": copies.rows - int(taken["n"].sum()) if len(taken) else copies.rows,
        "labels": labels.head(_MOST_LABELS).to_dict("records"),
        "labels_total": len(labels),
    }


def _missed(copies: Copies) -> dict[str, Any]:
    keys = copies.keys
    table = copies.signal.filter(~copies.signal.ok.fill_null(False))
    counts = fetch(table.group_by([*keys, "error"]).aggregate(n=table.count()))
    known = counts["error"].isin(list(findings.ERRORS))
    counts["kind"] = counts["error"].where(known, "")
    kinds = [kind for kind in (*findings.ERRORS, "") if (counts["kind"] == kind).any()]
    by_kind = counts.pivot_table("n", keys, "kind", "sum", fill_value=0) if len(counts) else counts
    scheduled = copies.ports.groupby(keys)["n"].sum()
    lost = [
        {
            **row,
            "kinds": [int(by_kind.loc[key, kind]) for kind in kinds],
            "total": int(by_kind.loc[key].sum()),
            "share": by_kind.loc[key].sum() / scheduled[key],
        }
        for key, row in _keyed(by_kind.index if len(counts) else [], keys)
    ]
    events = copies.frame("connections")
    surveys = copies.frame("surveys")
    blind = gaps.explained(copies.runs, copies.ports, surveys, events)
    together = gaps.together(blind)
    noted = _noted(events, set(surveys["gateway"].astype("str")))
    longest = noted.sort_values("gap_s", ascending=False).head(_MOST_EVENTS)
    seen = {(str(r["gateway"]), int(r["port"])) for r in copies.ports.to_dict("records")}
    there = {
        (str(gateway), int(port))
        for name in PLACED
        for gateway, port in copies.frame(name)[["gateway", "port"]].itertuples(index=False)
        if not pd.isna(port)
    }
    return {
        "lost": lost[:_MOST_PORTS],
        "lost_kinds": [findings.ERRORS.get(kind, "other") for kind in kinds],
        **_spent(copies, blind),
        "blind": [
            {
                **gap,
                "ports": _ranges(sorted(gap["ports"])),
                "reason": gaps.REASONS[gap["reason"]],
            }
            for gap in together[:_MOST_BLIND]
        ],
        "blind_next": together[_MOST_BLIND]["seconds"] if len(together) > _MOST_BLIND else None,
        "blind_total": len(together),
        "events": [
            {
                "time": row["time"],
                "gateway": row["gateway"],
                "event": row["event"].replace("_", " "),
                "reason": row["reason"],
                "gap": row["gap_s"],
            }
            for row in longest.sort_index().to_dict("records")
        ],
        "events_total": len(noted),
        "unmeasured": [
            {"gateway": gateway, "ports": sorted(port for _, port in mine)}
            for gateway, mine in groupby(sorted(there - seen), itemgetter(0))
        ],
    }


def _keyed(keys: Iterable[Any], names: list[str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Keys of a group, each with a row that begins with them."""
    for key in keys:
        yield key, dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True))


def _spent(copies: Copies, blind: pd.DataFrame) -> dict[str, Any]:
    """Where the time went: measured, and not measured for which reason; it adds up.

    A row a port, or the mean of a gateway's ports.
    """
    keys = copies.keys
    ports = copies.ports
    whole = (ports["last"] - ports["first"]).dt.total_seconds()
    count = ports.groupby(keys).size()
    lost = blind.groupby([*keys, "reason"])["seconds"].sum()
    kinds = [reason for reason in gaps.REASONS if (blind["reason"] == reason).any()]
    rows = []
    spans = whole.groupby([ports[name] for name in keys]).mean()
    for key, row in _keyed(spans.index[:_MOST_PORTS] if kinds else [], keys):
        place = key if isinstance(key, tuple) else (key,)
        by_kind = [float(lost.get((*place, kind), 0.0)) / count[key] for kind in kinds]
        measured = spans[key] - sum(by_kind)
        share = measured / spans[key] if spans[key] else float("nan")
        rows.append(
            {**row, "whole": spans[key], "measured": measured, "share": share, "kinds": by_kind}
        )
    return {"spent": rows, "spent_kinds": [gaps.REASONS[kind] for kind in kinds]}


def _noted(events: pd.DataFrame, surveyed: set[str]) -> pd.DataFrame:
    """What the links noted, each loss once, when it was over; what `gaps` tells is left out."""
    rows = events[~events["event"].isin(["not_running", "asleep"])].astype(
        {"event": "str", "reason": "str", "gateway": "str"}
    )
    links = rows.groupby("gateway")
    over = (rows["event"] == "restored") & (links["event"].shift() == "lost")
    rows["reason"] = rows["reason"].where(~over, links["reason"].shift())
    told = (rows["event"] == "lost") & (links["event"].shift(-1) == "restored")
    came = rows["event"].isin(["connected", "closed"])
    expected = came & ((rows["reason"] == "") | rows["gateway"].isin(surveyed))
    return rows[~(told | expected)].reset_index(drop=True)


def _verdicts(copies: Copies) -> dict[str, Any]:
    if not copies.rows:
        return {"verdicts": [], "verdicts_total": 0, "told": [], "told_total": 0, "glance": []}
    share = copies.registered.drop(columns=["n", "availability"])
    answers = copies.strength.merge(share, on=["gateway", "port"])
    labels, told = copies.by_label
    if labels:  # a change of place is no memory of the air: readings count within each label
        places = pd.MultiIndex.from_frame(answers[["gateway", "port"]])
        answers["n_independent"] = told.reindex(places).to_numpy()
    last: dict[Any, Any] = copies.ports.set_index(["gateway", "port"])["last"].to_dict()
    outages = dict(iter(copies.outages.groupby(["gateway", "port"], observed=True)))
    rows: list[dict[Any, Any]] = []
    for row in answers.to_dict("records"):
        key = (row["gateway"], row["port"])
        mine = outages.get(key, copies.outages.head(0))
        if not row["n_registered"]:
            mine = copies.runs[(copies.runs["gateway"] == key[0]) & (copies.runs["port"] == key[1])]
            mine = findings.joined(mine)
        said = findings.verdict(row, mine, last[key], labels.get(key, {}))
        numbers = {"outages": len(mine), "longest": findings.longest(mine, last[key])}
        rows.append({**row, **said, **(numbers if row["n_registered"] else _NO_OUTAGES)})
    chosen = [row for row in rows if findings.striking(row)] if copies.many else rows
    return {
        "verdicts": rows[:_MOST_PORTS],
        "verdicts_total": len(rows),
        "told": chosen[:_MOST_PORTS],
        "told_total": len(chosen),
        "glance": _glance(rows) if copies.several else [],
    }


_NO_OUTAGES = dict.fromkeys(("outages", "longest"), float("nan"))


def _glance(ports: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    """A row a gateway: how many ports of each word, and what was answered and registered."""
    rows = []
    for gateway, part in pd.DataFrame(ports).groupby("gateway", sort=True):
        words = part["word"].value_counts()
        answered = part["n_answered"].sum()
        rows.append(
            {
                "gateway": gateway,
                "ports": len(part),
                "words": ", ".join(
                    f"{words[each]} {each}" for each in findings.WORDS if each in words
                ),
                "measured": answered / part["n"].sum(),
                "availability": part["n_registered"].sum() / answered if answered else float("nan"),
                "outages": part["outages"].sum(),
                "longest": part["longest"].max(),
            }
        )
    return rows


def _comparisons(copies: Copies) -> dict[str, Any]:
    labels = [str(label) for label in copies.labels["label"]]
    chosen = findings.pairs(labels)
    found = []
    for a, b in chosen:
        table, thinned = _thinned(copies, (a, b))
        answer = comparison.compare(table, a, b)
        both = answer["mean_a_dbm"].notna() & answer["mean_b_dbm"].notna()
        overall = comparison.compare(table, a, b, overall=True)["verdict"].iloc[0]
        shown = answer if both.any() else answer.head(0)
        picture = None
        if 0 < len(shown) <= PORTS_A_PICTURE:
            picture = _picture(
                charts.compared(answer, a, b),
                f"{findings.readable(overall)}. A row a port shows its difference in dB and 95 % "
                "interval, which the table below holds, too.",
                f"{findings.readable(b)} compared with {findings.readable(a)}: right of zero, "
                f"{findings.readable(b)} is better.",
            )
        found.append(
            {
                "a": a,
                "b": b,
                "verdict": overall,
                "thinned": thinned,
                "picture": picture,
                "rows": shown.head(_MOST_PORTS).to_dict("records"),
            }
        )
    return {
        "comparisons": found,
        "labels_compared": len(labels),
        "all_pairs": len(chosen) == len(labels) * (len(labels) - 1) // 2,
    }


def _thinned(copies: Copies, labels: tuple[str, str]) -> tuple[Any, bool]:
    """The rows of two labels; of many, stretches all over, that memory stays bounded.

    They are looked for once: several answers are made of them.
    """
    table = copies.signal.filter(copies.signal.label.isin(labels))
    table = table.mutate(second=table.time.epoch_seconds().cast("int64"))
    known = copies.labels[copies.labels["label"].isin(labels)]
    rows = int(known["n"].sum())
    if rows <= _MOST_COMPARED:
        return copies.held(table), False
    kept = None
    for row in known.to_dict("records"):
        start = int(row["first"].timestamp())
        period = max((int(row["last"].timestamp()) - start) // 50, 1)
        width = max(int(period * _MOST_COMPARED / rows), 1)
        mine = (table.label == row["label"]) & ((table.second - start) % period < width)
        kept = mine if kept is None else kept | mine
    return copies.held(table.filter(kept)), True


def _history(copies: Copies) -> dict[str, Any]:
    if not copies.rows:
        return {"history": [], "history_left": 0, "stretch": None, "spread": []}
    first, last = copies.span
    stretch = None
    if copies.rows > _MOST_DRAWN:
        stretch = max(60, int((last - first).total_seconds() / _STRETCHES) // 60 * 60)
    groups = list(copies.groups())
    pictures = []
    drawn = [
        (gateway, ports)
        for gateway, ports in groups
        if any((gateway, port) in copies.valued for port in ports)
    ]
    for gateway, ports in drawn[:_MOST_PICTURES]:
        table = copies.of(gateway, ports)
        data = table if stretch is None else summaries.extremes(table, stretch)
        of = f"ports {_ranges(ports)}" if len(ports) > 1 else f"port {ports[0]}"
        of += f" of {findings.readable(gateway)}" if copies.several else ""
        pictures.append(
            _picture(
                plots.signal_history(data),
                f"Signal strength of {of} in dBm over time, from {first:%Y-%m-%d %H:%M} to "
                f"{last:%Y-%m-%d %H:%M} UTC. Medians: {_medians(copies, gateway, ports)}.",
                f"Signal strength of {of}."
                + (
                    f" Each {findings.length(stretch)} is drawn by its lowest and highest value."
                    if stretch
                    else ""
                ),
            )
        )
    return {
        "history": pictures,
        "history_left": sum(len(ports) for _, ports in drawn[_MOST_PICTURES:]),
        "stretch": stretch,
        "spread": _spread(copies),
    }


def _medians(copies: Copies, gateway: str, ports: Iterable[int]) -> str:
    """Those of some ports in words, for who can't see a picture."""
    mine = copies.strength[copies.strength["gateway"] == gateway].set_index("port")["median_dbm"]
    return ", ".join(f"port {port} {_dbm(mine[port])}" for port in ports)


def _dbm(median: float) -> str:
    return f"{findings.negative(median)} dBm" if median == median else "none"


def _spread(copies: Copies) -> list[_Picture]:
    """Distributions, and hours by days where there are enough of them."""
    first, last = copies.span
    places = [(gateway, port) for gateway, ports in copies.groups() for port in ports]
    valued = [place for place in places if place in copies.valued]
    made: list[_Picture] = []
    if not valued:
        return made
    if len(copies.labels) > 1 and len(places) <= _FEW_PORTS:
        for gateway, port in valued:
            data = copies.of(gateway, [port])
            data = data.filter(data.label != "")
            told = f"Medians of {copies.port_name(gateway, port)}: " + ", ".join(
                f"{label} {_dbm(median)}"
                for label, median in copies.by_label[0].get((gateway, port), {}).items()
            )
            made.append(_shares(data, "label", copies.port_name(gateway, port), told))
    elif not copies.several and not copies.many:
        whose = "all labels together" if len(copies.labels) > 1 else ""
        told = f"Medians: {_medians(copies, places[0][0], [port for _, port in places])}"
        made.append(_shares(copies.signal, "port", whose, told))
    if last - first >= _LONG_ENOUGH and not copies.several:
        if len(places) > _FEW_PORTS:
            made.append(_hours(copies.signal, "all ports together"))
        else:
            made += [_hours(copies.of(g, [p]), copies.port_name(g, p)) for g, p in valued]
    return made


def _shares(data: Any, by: str, whose: str, told: str) -> _Picture:
    of = f" ({whose})" if whose else ""
    return _picture(
        charts.distribution(data, by=by),
        f"How often each signal strength was measured, a row a {by}{of}. {told}.",
        f"How often each signal strength was measured, by {by}{of}; a row's bars together are all "
        "of its registered measurements.",
    )


def _hours(data: Any, whose: str) -> _Picture:
    ax = charts.heatmap(data)
    values = ax.collections[0].get_array()
    assert values is not None
    low, high = (findings.negative(float(each)) for each in (values.min(), values.max()))
    days = "each day" if values.shape[0] < charts.MOST_DAYS else f"the last {charts.MOST_DAYS} days"
    what = f"Median signal strength of each hour of {days}, {whose}"
    return _picture(ax, f"{what}: between {low} and {high} dBm.", f"{what}.")


def _availability(copies: Copies) -> dict[str, Any]:
    out, seen = copies.outages, copies.registered
    away = copies.runs[copies.runs["kind"] != "blind"][["gateway", "port"]].drop_duplicates()
    never = seen[(seen["n_registered"] == 0) & (seen["n_answered"] > 0)]
    last = copies.ports.set_index(["gateway", "port"])["last"]
    rows = []
    for row in out.to_dict("records"):
        end = last[(str(row["gateway"]), row["port"])]
        open_ = pd.isna(row["end"])
        rows.append(
            {
                **{name: row[name] for name in ("gateway", "port", "start", "end")},
                "open": open_,
                "seconds": (end - row["start"]).total_seconds() if open_ else row["seconds"],
                "kind": findings.KINDS[str(row["kind"])],
            }
        )
    rows.sort(key=lambda row: (-row["seconds"], row["start"], row["gateway"], row["port"]))
    strips = []
    for gateway, spans in list(copies.ports.groupby("gateway", observed=True))[:_MOST_PICTURES]:
        share, runs = (
            frame[frame["gateway"] == gateway] for frame in (copies.registered, copies.runs)
        )
        whose = f" of {findings.readable(gateway)}" if copies.several else ""
        strips.append(
            _picture(
                charts.strip(spans.reset_index(drop=True), share, runs),
                f"When each port{whose} was registered, and when not and why. Of the answered "
                "measurements, registered: "
                + ", ".join(
                    f"port {port} {findings.percent(each)}"
                    for port, each in share[["port", "availability"]].itertuples(index=False)
                )
                + ".",
                f"When each port{whose} was registered, when it was not and why, and when nobody "
                "measured.",
            )
        )
    return {
        "strips": strips,
        "outages": rows[:_MOST_OUTAGES],
        "outages_total": len(rows),
        "never_registered": len(never.merge(away.astype({"gateway": "str"}))),
        "answered": bool((seen["n_answered"] > 0).any()),
        "outages_seconds": sum(row["seconds"] for row in rows),
    }


def _networks(copies: Copies) -> dict[str, Any]:
    found = summaries.operators(copies.signal)
    places = found.groupby(["gateway", "port"], observed=True).size()
    # Looking at neighbours takes memory by the row, as for `runs`; most ports need none of it.
    changes = [
        change
        for gateway, port in places[places > 1].index
        for change in summaries.handovers(copies.of(str(gateway), [port])).to_dict("records")
    ]
    return {
        "networks": _seen(found, copies.keys).head(2 * _MOST_PORTS).to_dict("records"),
        "handovers": changes[:_MOST_HANDOVERS],
        "handovers_total": len(changes),
    }


def _seen(found: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Networks of each port, or of each gateway of a fleet; medians from `low` to `high`."""
    line = found.groupby([*keys, "network"], observed=True)
    rows = line.agg(
        n=("n", "sum"),
        first=("first", "min"),
        last=("last", "max"),
        low=("median_dbm", "min"),
        high=("median_dbm", "max"),
    )
    rows["ports"] = line["port"].agg(_ranges)
    rows["share"] = rows["n"] / rows.groupby(keys, observed=True)["n"].transform("sum")
    rows = rows.reset_index()
    rows["network"] = rows["network"].astype("str").replace("", "not told")
    return rows


def _messages(copies: Copies) -> dict[str, Any]:
    inbox, outbox, ussd = (copies.frame(name) for name in ("messages", "outbox", "ussd"))
    keys = copies.keys
    received = inbox.groupby(keys, observed=True).agg(
        n=("row_id", "size"), parts=("parts", "sum"), complete=("complete", "sum")
    )
    asked = ussd.groupby([*keys, "outcome"], observed=True).size().unstack(fill_value=0)
    delivery = summaries.delivery(outbox, by=keys)
    picture = None
    if len(delivery) and "port" in keys:
        picture = _picture(
            charts.delivery(outbox),
            f"SMS to send, a bar a port, by what became of them. Of {delivery['n'].sum():,}, "
            f"{delivery['n_sent'].sum():,} were sent and {delivery['n_failed'].sum():,} failed.",
            "What became of the SMS that were to be sent; sent means taken by the SMS centre.",
        )
    return {
        "received": received.head(_MOST_PORTS).reset_index().to_dict("records"),
        "delivery": delivery.head(_MOST_PORTS).to_dict("records"),
        "delivery_picture": picture,
        "outcomes": [str(each).replace("_", " ") for each in asked.columns],
        "ussd": [
            {**row, "counts": list(asked.loc[key])}
            for key, row in _keyed(asked.index[:_MOST_PORTS], keys)
        ],
    }


def _provenance(copies: Copies) -> dict[str, Any]:
    modules = copies.frame("identities").drop_duplicates(["gateway", "port"], keep="last")
    modules = modules.sort_values(["gateway", "port"])
    inbox = copies.frame("messages")
    off = (inbox["gateway_time_utc"] - inbox["received_at"]).dt.total_seconds()
    clocks = []
    for gateway, part in off.groupby(inbox["gateway"], observed=True):
        told = part.dropna()
        if len(told):
            clocks.append(
                {
                    "gateway": gateway,
                    "n": len(told),
                    "median": float(told.median()),
                    "low": float(told.min()),
                    "high": float(told.max()),
                }
            )
    return {
        "version": package_version(),
        "schema_version": SCHEMA_VERSION,
        "modules": _alike(modules, copies.keys).head(_MOST_PORTS).to_dict("records"),
        "clocks": clocks,
        "untimed": int((off.isna() & (inbox["gateway_time"] != "")).sum()),
        "strengths": BANDS,
    }


_SECTIONS: tuple[Callable[[Copies], dict[str, Any]], ...] = (
    _overview,
    _verdicts,
    _measured,
    _missed,
    _comparisons,
    _history,
    _availability,
    _networks,
    _messages,
    _provenance,
)


def _alike(modules: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """A row a module, or one for all of a fleet's gateway that are alike."""
    if "port" in keys:
        return modules
    line = modules.groupby([*keys, *_MODULE], observed=True, as_index=False)
    return line.agg(ports=("port", _ranges), time=("time", "min"))


def _ranges(ports: Iterable[Any]) -> str:
    """Ports in few words: "1–4, 7"."""
    return ranges(map(int, ports), dash="–")


def _survey_ports(text: str) -> str:
    """The ports of a survey's settings, which a file may have spoilt."""
    try:
        return _ranges(json.loads(text)) if text else "all"
    except (ValueError, TypeError):
        return "–"


def _rendered(page: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("neogate_lab", "analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": _when,
        "length": findings.length,
        "percent": findings.percent,
        "number": _number,
        "ranges": _ranges,
        "readable": findings.readable,
        "unanswered": findings.unanswered,
    }
    style = environment.loader.get_source(environment, "report.css")[0]  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("report.html").render(page, style=style, style_hash=digest)


def _when(time: Any) -> str:
    return "–" if pd.isna(time) else f"{time:%Y-%m-%d %H:%M:%S}"


def _number(number: Any, places: int = 0) -> str:
    return "–" if pd.isna(number) else findings.negative(float(number), places)
