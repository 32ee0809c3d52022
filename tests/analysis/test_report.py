"""A report tells what was measured and what was not, hides what it must, and is one quiet file."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.text import Text
from typer.testing import CliRunner

from neogate_lab.analysis import findings, report, summaries
from neogate_lab.analysis.report import write_report
from neogate_lab.cli import app
from neogate_lab.errors import InvalidRequest, StoreError
from neogate_lab.history.schema import TABLES
from neogate_lab.history.store import Store
from tests.analysis.radio import at, failed, frame, measured, row

PICTURE = re.compile(r'data:image/png;base64,[^"]*')
VOID = {"meta", "img", "br"}
HOSTILE = (
    '<script>alert(1)</script><img src=x onerror="alert(2)">" onload=alert(3) $\\alpha$ '
    "{{ 7*7 }} \x1b[31mred\x1b[0m \u202egnp.exe"
)


class Page(HTMLParser):
    """The tags of a page, checked to be balanced, and its words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self._open, self._source = [], [], [], text
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        text = " ".join(" ".join(self.words).split())
        return text.replace(" .", ".").replace(" ,", ",").replace("\N{SOFT HYPHEN}", "")

    @property
    def source(self):
        """Everything but the bytes of pictures."""
        return PICTURE.sub("", self._source)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def stored(path, **tables):
    store = Store(path)
    for table, rows in tables.items():
        plain = [{n: v for n, v in each.items() if n != "row_id"} for each in rows]
        store.append(table, plain).result()
    return store


def made(path, *, options=None, **tables):
    """A report of a store with these rows."""
    with stored(path / "store", **tables) as store:
        write_report(store, path / "report.html", progress=False, **(options or {}))
    return (path / "report.html").read_text(encoding="utf-8")


def survey_rows(**more):
    begun = measured(1, seconds=3600, port=1, label="sill", level=12)
    moved = measured(2, begin=3600, seconds=3600, port=1, label="roof", level=16)
    silent = [row(10 * t, None, port=2, registered=False, state="No SIM") for t in range(720)]
    rows = [*begun, *moved, *silent]
    for lost in (100, 400):
        rows[lost] = failed(10 * lost, label=rows[lost]["label"])
    for away in range(200, 212):
        rows[away] |= {"registered": False, "rssi_dbm": None, "signal": None}
    return [each | more for each in rows]


OUTBOX = [
    {
        "queued_at": at(10 * n),
        "gateway": "lab",
        "port": 1,
        "to": "+79261234567",
        "text": "a secret text",
        "segments": 1,
        "id": f"id{n}",
        "status": status,
        "written_at": at(10 * n),
        "status_at": at(10 * n + 3),
    }
    for n, status in enumerate(["sent", "sent", "failed"])
]
MESSAGES = [
    {
        "received_at": at(20),
        "gateway": "lab",
        "port": 1,
        "sender": "+79037654321",
        "text": "a secret answer",
        "gateway_time": "2026-11-20 11:00:25",
        "gateway_time_utc": at(25),
        "parts": 1,
        "total": 1,
        "complete": True,
    }
]
SURVEYS = [{"time": at(0), "gateway": "lab", "name": "s", "every_s": 10.0, "ports": "[1,2]"}]
MODULES = [
    {
        "time": at(0),
        "gateway": "lab",
        "port": port,
        "model": "SIM840W",
        "revision": "1137B04",
        "imei": f"35394804123456{port}",
    }
    for port in (1, 2, 7)
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of a survey of two hours, with everything that a store can hold."""
    return made(
        tmp_path_factory.mktemp("whole"),
        options={"redact": None, "title": "Two antennas"},
        signal=survey_rows(),
        outbox=OUTBOX,
        messages=MESSAGES,
        surveys=SURVEYS,
        identities=MODULES,
        connections=[
            {"time": at(60), "gateway": "lab", "event": "lost", "reason": "cable", "gap_s": 5.0}
        ],
        ussd=[{"time": at(5), "gateway": "lab", "port": 1, "code": "*100#", "outcome": "done"}],
    )


# -- what it tells ---------------------------------------------------------------------------------


def test_it_tells_what_was_measured_and_when(whole):
    text = Page(whole).text
    assert "Two antennas" in text
    assert "2026-11-20 08:00:00 to 2026-11-20 09:59:50 UTC" in text
    assert "Measurements 1,440" in text
    for word in ("Surveys", "Labels", "sill", "roof", "SIM840W", "1137B04", "tables of schema"):
        assert word in text


def test_each_port_has_a_verdict_in_words(whole):
    text = Page(whole).text
    assert "Good signal: median −" in text or "Fair signal: median −" in text
    assert "1 outage, 2 min." in text
    assert re.search(r"Medians by label: sill −\d+, roof −\d+ dBm\. \d+ independent", text)
    assert "Never registered: no SIM." in text


def test_a_long_gateways_name_stands_once_above_its_ports_in_each_table(tmp_path):
    long = "warehouse-north-east-2"
    rows = [row(10 * t, gateway=g, port=p) for t in range(4) for g in ("lab", long) for p in (1, 2)]
    text = Page(made(tmp_path, signal=rows, options={"redact": None})).text
    verdicts = text[text.index("Gateways at a glance") : text.index("Comparisons No")]
    glance, numbers = verdicts.split("The numbers behind it")
    assert re.search(f"lab port 1 .* port 2 .* {long} port 1 .* port 2 ", glance)
    assert re.search(f"lab port 1 .* port 2 .* {long} port 1 .* port 2 ", numbers)
    assert (glance.count(long), numbers.count(long)) == (2, 1)


def fleet_rows():
    """Three gateways of eight ports: one port weak, one without a SIM, one away for a while."""
    rows = [
        row(10 * t, 15, gateway=g, port=p, network="MTS" if p % 2 else "TIM")
        for t in range(60)
        for g in ("attic", "lab", "roof")
        for p in range(1, 9)
    ]
    for each in rows:
        if (each["gateway"], each["port"]) == ("lab", 3):
            each |= {"registered": False, "rssi_dbm": None, "signal": None, "state": "No SIM"}
        elif (each["gateway"], each["port"]) == ("roof", 8):
            each |= {"signal": 3, "rssi_dbm": -107}
        elif (each["gateway"], each["port"]) == ("attic", 2) and at(100) <= each["time"] < at(200):
            each |= {"registered": False, "rssi_dbm": None, "signal": None}
    return [
        each if n % 48 else failed(10 * (n // 24), gateway="attic") for n, each in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return made(
        tmp_path_factory.mktemp("fleet"),
        options={"redact": None},
        signal=fleet_rows(),
        outbox=[
            each | {"gateway": g, "id": g + each["id"]} for each in OUTBOX for g in ("attic", "lab")
        ],
        identities=[
            {
                "time": at(0),
                "gateway": "lab",
                "port": p,
                "model": "SIM840W",
                "imei": f"3539480412345{p}0",
            }
            for p in (1, 2, 3, 5)
        ],
    )


def test_a_fleet_is_told_by_gateway_and_the_ports_that_stand_out_one_by_one(fleet):
    text = Page(fleet).text
    verdicts = text[text.index("Gateways at a glance") : text.index("The numbers behind it")]
    assert "lab 8 7 good, 1 not registered 100 % 87.5 % 0 –" in verdicts
    assert "roof 8 7 good, 1 weak 100 % 100 % 0 –" in verdicts
    assert "20 ports of 24 stand in the table below only" in verdicts
    assert re.findall(r"(?:attic|lab|roof) port \d", verdicts) == [
        "attic port 1",  # of which half failed
        "lab port 3",
        "roof port 8",
    ]
    assert "port 2 fair" not in verdicts
    assert "1 outage, 1 min 40 s" in verdicts


def test_more_ports_that_stand_out_than_are_told_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_MOST_PORTS", 2)
    text = Page(made(tmp_path, signal=fleet_rows())).text
    assert "20 ports of 24 stand in the table below only" in text
    assert "2 more such ports are not listed; there are 4 in all." in text


def test_tables_of_a_fleet_have_a_row_a_gateway(fleet):
    text = Page(fleet).text
    assert "Gateway no answer in time of all attic 30 6.2 %" in text
    assert "attic MTS 1, 3, 5, 7" in text
    assert "lab MTS 1, 5, 7 180 42.9 % −83" in text
    assert "SMS to send Gateway" in text
    assert "attic 3 2 1 0 0 0 3 66.7 % 3 s 3 s" in text
    assert "lab 1–3, 5 SIM840W" in text


def test_ports_that_were_never_registered_are_told_apart_from_outages(fleet, tmp_path):
    text = Page(fleet).text
    assert "Ports 24 1 never registered" in text
    assert "Outages 1 " in text
    assert "1 outage, 1 min 40 s in all ports together" in text
    assert "1 port that was never registered is not counted." in text
    dark = [row(10 * t, None, port=p, registered=False) for t in range(9) for p in (1, 2)]
    assert "2 ports were never registered" not in Page(made(tmp_path, signal=dark)).text
    assert "No port was ever registered." in Page(made(tmp_path, signal=dark)).text


def test_where_nothing_was_answered_no_outage_could_be_seen(tmp_path):
    text = Page(made(tmp_path, signal=[failed(10 * t) for t in range(9)])).text
    assert "No measurement was answered, so no outage could be seen." in text
    assert "never registered" not in text  # nobody knows
    assert "No port showed a value, so there is nothing to draw." in text


def test_labels_are_compared_in_a_sentence(whole):
    text = Page(whole).text
    assert "roof compared with sill" in text
    assert re.search(
        r"roof is 8\.\d dB better, 95 % interval 7\.\d to 8\.\d, from \d{3} independent", text
    )


def test_what_was_not_measured_is_told_too(whole):
    text = Page(whole).text
    assert "no answer in time" in text
    assert "Known from elsewhere, but not measured in this period: port 7 of lab." in text
    assert "lost 5 s cable" in text


def test_messages_are_counted_and_never_quoted(whole):
    text = Page(whole).text
    assert "secret" not in Page(whole).source
    assert "+79" not in Page(whole).source
    assert "66.7 %" in text
    assert "Sent is not delivered" in text
    assert "USSD exchanges by outcome Port done port 1 1" in text


def test_the_clock_of_the_gateway_is_estimated_from_sms(whole):
    assert re.search(r"Median Lowest Highest lab 1 5\.0 s 5\.0 s 5\.0 s", Page(whole).text)


def test_outages_come_longest_first_and_in_a_limited_number(tmp_path):
    rows = [row(10 * t, registered=not (t % 3 == 1 or 200 < t < 210)) for t in range(300)]
    text = Page(made(tmp_path, signal=rows)).text
    listed = text[text.index("Outages, the longest first") :]
    assert re.match(
        r"Outages, the longest first .*? What port 1 \S+ 08:33:30 \S+ \S+ 1 min 30", listed
    )
    assert "98 outages" in text
    assert "73 more outages are not listed; there are 98 in all." in text


def test_a_filter_is_said_in_the_report(tmp_path):
    asked = {"port": 1, "since": "2026-11-20 08:30", "until": "2026-11-20 09:30"}
    text = Page(made(tmp_path, signal=survey_rows(), options=asked)).text
    assert "asked for of port 1 only" in text
    assert "from 2026-11-20 08:30:00 until 2026-11-20 09:30:00 (exclusive)" in text
    assert "Measurements 360" in text
    assert "Never registered" not in text  # which port 2 was


# -- one quiet file --------------------------------------------------------------------------------


def test_nothing_is_loaded_and_nothing_runs(whole):
    page = Page(whole)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "link", "object", "base"})
    assert "://" not in whole
    assert all(each["src"].startswith("data:image/png;base64,") for each in page.all("img"))
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    style = re.search(r"<style>(.*)</style>", whole, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"'sha256-{digest}'" in policy
    assert not any("style" in attributes for _, attributes in page.tags)


def test_it_can_be_read_without_seeing_it(whole):
    page = Page(whole)
    told = [each["alt"] for each in page.all("img")]
    assert any(re.search(r"Medians: port 1 −\d+ dBm, port 2 none\.", each) for each in told)
    assert any(re.search(r"Medians of port 1: sill −\d+ dBm, roof −\d+ dBm", each) for each in told)
    assert any("registered: port 1 98.3 %, port 2 0 %." in each for each in told)
    assert any(re.search(r"roof is 8\.\d dB better", each) for each in told)
    assert any("Of 3, 2 were sent and 1 failed." in each for each in told)
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(later <= before + 1 for before, later in itertools.pairwise(headings))
    assert len(page.all("main")) == 1
    wide = [each for each in page.all("div") if each.get("class") == "table"]
    assert all(each.get("tabindex") == "0" for each in wide)  # by which keys can scroll it
    anchors = {each["href"][1:] for each in page.all("a")}
    assert anchors == {each["id"] for each in page.all("section")}
    assert len(page.all("h1")) == 1
    assert all("scope" in each for each in page.all("th"))
    assert page.tags[0] == ("html", {"lang": "en"})


def test_the_same_data_give_the_same_bytes_apart_from_the_time_made(tmp_path):
    with stored(tmp_path / "store", signal=survey_rows()) as store:
        pages = []
        for name in ("a.html", "b.html"):
            write_report(store, tmp_path / name, progress=False)
            text = (tmp_path / name).read_text(encoding="utf-8")
            pages.append(re.sub(r'<time id="made">[^<]*</time>', "", text))
    assert pages[0] == pages[1]


# -- what it hides ---------------------------------------------------------------------------------


def planted(what):
    """A row of every table with `what` in every text column."""
    tables = {}
    for name, table in TABLES.items():
        cells = {c.name: what for c in table.columns if c.kind in ("text", "cat")}
        cells |= {c.name: at(0) for c in table.columns if c.kind == "time"}
        cells |= {"port": 1} if "port" in table.names else {}
        tables[name] = [cells]
    tables["signal"] = [
        {
            "time": at(10 * t),
            "port": 1,
            "ok": True,
            "registered": True,
            "rssi_dbm": -71 - 2 * (t % 3),
            **dict.fromkeys(("gateway", "network", "survey", "state"), what),
            "label": f"{what} {'ab'[t // 10]}",
        }
        for t in range(20)
    ]
    tables["outbox"][0] |= {"status": "sent"}
    tables["connections"][0] |= {"event": "lost"}
    tables["surveys"][0] |= {"name": what}
    return tables


@pytest.mark.parametrize("redact", ["all", "numbers"])
@pytest.mark.parametrize("gateways", [1, 3])
def test_numbers_identities_and_pins_are_hidden_wherever_they_stand(
    tmp_path, monkeypatch, redact, gateways
):
    number, imsi, pin = "+390123456789", "250021234567890", "4821"
    rows = planted(f"call {number}, imsi {imsi}, pin {pin}")
    if gateways > 1:  # enough for tables by gateway
        rows["signal"] = [
            each | {"gateway": f"{g} {each['gateway']}", "port": p}
            for each in rows["signal"]
            for g in range(gateways)
            for p in range(1, 9)
        ]
    drawn = []

    def picture(ax, alt, caption):
        drawn.extend(text.get_text() for text in ax.figure.findobj(Text))
        return made_of(ax, alt, caption)

    made_of = report._picture
    monkeypatch.setattr(report, "_picture", picture)
    text = made(tmp_path, options={"redact": redact}, **rows)
    pictures = PICTURE.findall(text)
    assert pictures
    assert drawn
    for each in pictures:
        png = base64.b64decode(each.partition(",")[2])
        assert set(chunks(png)) <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}  # no words beside pixels
    for secret in (number, number[1:], number[4:], imsi, pin):
        assert secret not in Page(text).source
        assert secret not in "\n".join(drawn)


def chunks(png):
    """The kinds of the parts of a PNG file."""
    place = 8
    while place < len(png):
        yield png[place + 4 : place + 8]
        place += 12 + int.from_bytes(png[place : place + 4], "big")


def test_the_gateway_is_hidden_by_default_and_shown_when_asked_for(tmp_path):
    rows = [row(10 * t, gateway="headquarters.example") for t in range(3)]
    with stored(tmp_path / "store", signal=rows) as store:
        for redact, shown in (("all", False), ("numbers", True), ("none", True), (None, True)):
            write_report(store, tmp_path / "r.html", redact=redact, progress=False)
            text = (tmp_path / "r.html").read_text(encoding="utf-8")
            assert ("headquarters" in text) is shown
            assert ("nothing is hidden" in text) is (redact in ("none", None))


@pytest.mark.parametrize("redact", ["all", None])
def test_strangers_text_is_only_ever_text(tmp_path, redact):
    text = made(tmp_path, options={"redact": redact, "title": HOSTILE}, **planted(HOSTILE))
    page = Page(text)
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe"})
    assert all(each["src"].startswith("data:") for each in page.all("img"))
    assert "{{ 7*7 }}" in page.text  # as it was written
    assert "<script>alert(1)</script>" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


# -- whatever the store holds ----------------------------------------------------------------------


def test_a_gateway_that_was_never_reached_is_told_as_not_measured(tmp_path):
    dark = [failed(10 * t, gateway="attic", port=None) for t in range(6)]
    seen = [row(10 * t, port=p) for t in range(6) for p in (1, 2)]
    text = Page(made(tmp_path, signal=seen + dark, options={"redact": None})).text
    assert "Gateways 1 of 2" in text
    assert "attic not measured Never reached: none of 6 measurements was answered" in text
    assert "lab port 1" in text
    assert "Measurements 12" in text
    assert "Every scheduled measurement was answered" not in text


def test_a_gateway_that_came_late_is_told_with_the_time_before(tmp_path):
    dark = [failed(10 * t, port=None) for t in range(6)]
    seen = [row(10 * t) for t in range(6, 12)]
    text = Page(made(tmp_path, signal=dark + seen, options={"redact": None})).text
    assert "lab 2026-11-20 08:00:00 2026-11-20 08:00:50 6 measured" in text
    assert "Never reached" not in text


def test_an_empty_store_gives_a_report_that_says_so(tmp_path):
    text = Page(made(tmp_path)).text
    assert "What was not measured Nothing was measured at all." in text
    assert "No measurement was recorded in this period" in text
    assert "Method and caveats" in text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([row(0)], "Worth only 1 independent reading", id="one measurement"),
        pytest.param([failed(0)], "its only measurement was not answered", id="one that failed"),
        pytest.param(
            [failed(0, port=None, label="roof")],
            "Never reached: its only measurement was not answered",
            id="never reached",
        ),
        pytest.param(
            [row(10 * t, None) for t in range(9)],
            "without a single signal value",
            id="registered, never a value",
        ),
        pytest.param(
            [row(10 * t, None, registered=False) for t in range(9)],
            "Never registered.",
            id="never registered",
        ),
        pytest.param(
            [row(10 * t, registered=None, network="") for t in range(9)],
            "Up, but the gateway does not say whether it is registered: median −83 dBm.",
            id="up, and no more is said",
        ),
        pytest.param(
            [row(10 * t, port=p) for t in range(4) for p in range(1, 33)],
            "port 32",
            id="32 ports",
        ),
        pytest.param(
            [row(10 * t, gateway=g) for t in range(4) for g in ("attic", "lab")],
            "lab port 1",
            id="two gateways",
        ),
        pytest.param([row(10 * t, label="roof") for t in range(4)], "the same label", id="1 label"),
        pytest.param(
            [row(10 * t, label=f"place {t // 4}") for t in range(28)],
            "There are 7 labels; the first is compared with the 6 after it.",
            id="many labels",
        ),
    ],
)
def test_any_store_gives_a_readable_report(tmp_path, rows, words):
    text = Page(made(tmp_path, signal=rows, options={"redact": None})).text
    assert words in text
    assert " nan" not in text
    assert "NaT" not in text
    assert "None" not in text


def test_long_histories_are_drawn_and_compared_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_MOST_DRAWN", 100)
    monkeypatch.setattr(report, "_MOST_COMPARED", 300)
    text = Page(made(tmp_path, signal=survey_rows())).text
    assert "is drawn by its lowest and highest value" in text
    assert "stretches spread evenly over each were taken" in text
    assert "Measurements 1,440" in text


def test_changes_of_network_are_looked_for_where_there_is_more_than_one(tmp_path, monkeypatch):
    asked = []

    def handovers(data):
        asked.append(data)
        return found(data)

    found = summaries.handovers
    monkeypatch.setattr(report.summaries, "handovers", handovers)
    rows = [
        row(10 * tick, port=port, network="TIM" if (port, tick) > (2, 3) and port == 2 else "MTS")
        for tick in range(9)
        for port in (1, 2, 3)
    ]
    text = Page(made(tmp_path, signal=rows)).text
    assert "2026-11-20 08:00:40 MTS TIM 10 s" in text
    assert len(asked) == 1


def test_extremes_keep_each_stretchs_lowest_and_highest():
    rows = [row(10 * t, 5 + t % 6) for t in range(12)] + [failed(120), row(180, None)]
    drawn = summaries.extremes(frame(rows), 60).sort_values("time", ignore_index=True)
    assert list(drawn["rssi_dbm"].iloc[:4]) == [-103, -93, -103, -93]
    assert drawn["rssi_dbm"].iloc[4:].isna().all()
    assert list(drawn["ok"]) == [True] * 4 + [False] * 2 + [True] * 2
    assert (drawn["time"].diff().dropna() == pd.Timedelta(seconds=30)).all()


# -- where it goes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("report.pdf", {}, "end it in .html"),
        ("report", {}, "end it in .html"),
        ("nowhere/report.html", {}, "there is no folder"),
        ("folder.html", {}, "is a folder"),
        ("report.html", {"redact": "some"}, "redact is one of"),
        ("report.html", {"since": "soon"}, "since takes a time"),
    ],
)
def test_what_can_not_be_written_is_refused_in_words(tmp_path, name, options, words):
    (tmp_path / "folder.html").mkdir()
    with (
        stored(tmp_path / "store") as store,
        pytest.raises(InvalidRequest, match=re.escape(words)),
    ):
        write_report(store, tmp_path / name, **options)
    assert {each.name for each in tmp_path.iterdir()} == {"store", "folder.html"}


def test_it_replaces_what_was_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.htm"
    path.write_text("before")
    with stored(tmp_path / "store", signal=[row(0)]) as store:
        monkeypatch.setattr(report, "_rendered", lambda page: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report(store, path, progress=False)
        assert path.read_text() == "before"
        monkeypatch.undo()
        assert write_report(store, path, progress=False) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {each.name for each in tmp_path.iterdir()} == {"store", "report.htm"}


def test_a_closed_store_is_told_as_such(tmp_path):
    store = stored(tmp_path / "store")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        write_report(store, tmp_path / "report.html")


def test_the_command_writes_it(tmp_path):
    stored(tmp_path / "store", signal=[row(0), row(0, gateway="attic")]).close()
    arguments = ["report", str(tmp_path / "store"), str(tmp_path / "r.html")]
    done = CliRunner().invoke(app, [*arguments, "--gateway", "lab", "--redact", "none"])
    assert done.exit_code == 0
    assert done.stdout == f"wrote {tmp_path / 'r.html'}\n"
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "lab" in text
    assert "attic" not in text
    refused = CliRunner().invoke(app, [*arguments[:2], "report.txt"])
    assert refused.exit_code == 1
    assert "end it in .html" in refused.output


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "250 ms"),
        (0, "0 s"),
        (4.254, "4.25 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (3599.9, "1 h"),
        (7500, "2 h 5 min"),
        (7199, "2 h"),
        (86400 * 3 + 60, "3 d"),
        (86400 * 365 - 10, "365 d"),
        (float("nan"), "–"),
    ],
)
def test_lengths_of_time_in_words(seconds, words):
    assert findings.length(seconds) == words


def test_nothing_is_never_less_than_nothing():
    assert [findings.negative(-0.04, places) for places in (0, 1, 2)] == ["0", "0.0", "−0.04"]


def test_shares_never_read_as_all_or_nothing_when_they_are_not():
    shares = (0, 0.0001, 0.5, 0.99999, 1)
    assert [findings.percent(each) for each in shares] == [
        "0 %",
        "< 0.1 %",
        "50 %",
        "> 99.9 %",
        "100 %",
    ]


def test_an_outage_that_failed_ticks_cut_is_told_as_one():
    rows = [row(10 * t, registered=not 10 <= t < 30) for t in range(60)]
    rows[20] = failed(200)
    runs = summaries.outages(frame(rows))
    assert list(runs["kind"]) == ["not_registered", "blind", "not_registered"]
    (outage,) = findings.joined(runs).to_dict("records")
    assert (outage["start"], outage["end"], outage["seconds"]) == (at(100), at(300), 200)


def test_outages_with_a_longer_blind_time_between_them_stay_two():
    rows = [row(10 * t, registered=not 10 <= t < 30) for t in range(60)]
    rows[13:28] = [failed(10 * t) for t in range(13, 28)]
    assert list(findings.joined(summaries.outages(frame(rows)))["seconds"]) == [30, 20]


def test_where_the_time_went_adds_up_and_each_gap_is_told_once(tmp_path):
    rows = [row(t) for t in range(0, 1000, 10)]
    rows += [failed(t, error="disconnected") for t in range(1000, 1600, 10)]
    rows += [row(t) for t in [*range(1600, 2000, 10), *range(5600, 6001, 10)]]
    both = [each | {"port": p, "span": p + 1} for each in rows for p in (1, 2)]
    ran = {"gateway": "lab", "name": "s", "every_s": 10.0}
    surveys = [
        ran | {"time": at(0), "stopped_at": at(2000), "reason": "paused"},
        ran | {"time": at(5600), "stopped_at": at(6001), "reason": "done"},
    ]
    connections = [
        {"time": at(999), "gateway": "lab", "event": "lost", "reason": "reset by peer"},
        {"time": at(1598), "gateway": "lab", "event": "restored", "gap_s": 599.0},
    ]
    page = made(tmp_path, signal=both, surveys=surveys, connections=connections)
    text = Page(page).text.split("What was not measured")[-1]
    assert "In all Measured Share survey paused no link" in text
    # 6000 s = 1800 s measured + 3600 s paused + 600 s without a link
    assert "port 1 1 h 40 min 30 min 30 % 1 h 10 min" in text
    assert text.count("1 h survey paused") == text.count("10 min no link") == 1
    assert text.count("reset by peer") == 1
    assert "lost" not in text.split("Links to the gateways")[1].split("Networks")[0]
