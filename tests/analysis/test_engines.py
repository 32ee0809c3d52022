"""The same answers from DuckDB, a real PostgreSQL server and Spark in a real JVM."""

from __future__ import annotations

import re
from pathlib import Path

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import neogate_lab as ng
from neogate_lab.errors import InvalidRequest
from neogate_lab.history.frames import arrow_schema, frame_of
from neogate_lab.history.schema import TABLES
from tests.analysis.engines import postgres_server, spark_session
from tests.analysis.radio import at, failed, frame, measured, row

README = Path(__file__).parents[2] / "README.md"

QUESTIONS = {
    "signal_summary": ng.signal_summary,
    "signal_summary every": lambda data: ng.signal_summary(data, every="10m"),
    "signal_summary by": lambda data: ng.signal_summary(data, by=["label", "network"]),
    "availability": ng.availability,
    "availability every": lambda data: ng.availability(data, by="gateway", every="1h"),
    "outages": ng.outages,
    "operators": ng.operators,
    "handovers": ng.handovers,
    "latency": lambda data: ng.latency(data, by=["gateway", "label"]),
}
COMPARISONS = {
    "compare": lambda data: ng.compare(data, "sill", "roof"),
    "compare overall": lambda data: ng.compare(data, "sill", "roof", overall=True),
    "compare gateways": lambda data: ng.compare(data, "7", "lab:5038", by="gateway"),
    "compare ports": lambda data: ng.compare(data, 1, 2, by="port"),
}


def untidy():
    """Gaps, repeats, no values, failures, outages, operators, gateways, two surveys at once, ticks
    between seconds, and a port that never told whether it is registered.
    """
    rows = []
    for seed, (gateway, port) in enumerate((("7", 1), ("7", 2), ("lab:5038", 1))):
        for place, label in enumerate(("sill", "roof")):
            rows += [
                each | {"gateway": gateway, "survey": label}
                for each in measured(
                    10 * seed + place, begin=3.7 * port + 1800 * place, port=port, label=label,
                    seconds=1800, every=10 + 5 * place, refresh=20, noise=2, level=12 + 3 * place,
                )
            ]  # fmt: skip
        for each in rows[-40:-30]:
            each |= {"registered": False, "network": "", "signal": None, "rssi_dbm": None}
        for each in rows[-30:-20]:
            each |= {"signal": None, "rssi_dbm": None, "signal_raw": -1}
        for each in rows[-20:-12]:
            each |= {"network": "Beeline"}
        for each in rows[-10:-8]:
            each |= {"state": "No SIM", "registered": False, "up": None}
        del rows[-6:-3]
        twice = {"survey": "another", "registered": False, "network": "", "state": "Power off"}
        rows += [rows[-1], rows[-2] | twice, rows[-9] | {"survey": "another", "network": "Tele2"}]
        last = (rows[-4]["time"] - at(0)).total_seconds()
        rows.append(failed(last + 10, gateway=gateway, port=port, label="roof"))
    rows += [row(0.5 * n, port=3, registered=None, survey="roof") for n in (0, 1, 2, 7, 8)]
    for number, each in enumerate(rows):
        each |= {"row_id": number + 1}
        if each["ok"]:
            each |= {"latency_ms": number % 97 + 0.5}
    return frame(rows)


def messages():
    def sms(number, status, took=None):
        written = status not in ("queued", "cancelled")
        return {
            "row_id": number, "queued_at": at(number), "gateway": "lab", "port": number % 2 + 1,
            "status": status, "segments": number % 3 + 1,
            "written_at": at(number + 1) if written else None,
            "status_at": at(number + 1 + took) if took else None,
        }  # fmt: skip

    states = ["sent", "sent", "failed", "unknown", "queued", "written", "cancelled", "sent"]
    return frame_of("outbox", [sms(n, s, n + 2 if s == "sent" else None)
                               for n, s in enumerate(states)])  # fmt: skip


def numbers(connection, name):
    """A table as somebody may have declared it for himself: other numbers, times without a zone."""
    columns = ["gateway", "port::numeric", "ok::int::smallint AS ok", "registered::int",
               "rssi_dbm::numeric(8, 2)", "latency_ms::numeric(9, 3)", "network", "label", "state",
               "survey", "time AT TIME ZONE 'UTC' AS time"]  # fmt: skip
    connection.raw_sql(
        f'CREATE VIEW "My Signal" AS SELECT {", ".join(columns)}, up FROM {name}'
    ).close()
    return connection.table("My Signal")


def without_labels(data):
    """As another tool may leave it: words plain, no label missing instead of empty."""
    plain = data.astype(dict.fromkeys(data.select_dtypes("category"), "object"))
    return plain.assign(label=[None if i % 3 == 0 else w for i, w in enumerate(plain["label"])])


def told(data, table="signal"):
    """As Arrow with plain words, of the declared types though there be no row."""
    fields = [
        pa.field(each.name, pa.string() if pa.types.is_dictionary(each.type) else each.type)
        for each in arrow_schema(TABLES[table])
    ]
    return pa.Table.from_pandas(data, schema=pa.schema(fields), preserve_index=False)


def ask_all(subtests, tables):
    """Put every question to an engine; `tables` are what it holds of each kind of data."""
    data = untidy()
    for name, ask in (QUESTIONS | COMPARISONS).items():
        with subtests.test(name):
            pd.testing.assert_frame_equal(ask(tables["signal"]), ask(data))
    for name in ("signal_summary by", "latency"):
        with subtests.test(f"{name}, labels missing"):
            answer = QUESTIONS[name](tables["no labels"])
            pd.testing.assert_frame_equal(answer, QUESTIONS[name](without_labels(data)))
            assert answer["label"].iloc[0] == ""
    for name in ("signal_summary every", "availability", "outages", "operators", "handovers"):
        with subtests.test(f"{name}, nothing measured"):
            answer = QUESTIONS[name](tables["empty"])
            pd.testing.assert_frame_equal(answer, QUESTIONS[name](data.iloc[:0]))
            assert len(answer) == 0
    with subtests.test("delivery"):
        pd.testing.assert_frame_equal(ng.delivery(tables["outbox"]), ng.delivery(messages()))
    with subtests.test("one of a table's own"):
        answer = ng.signal_summary(tables["signal"].filter(tables["signal"].port == 1), by="port")
        expected = ng.signal_summary(data[data["port"] == 1], by="port")
        pd.testing.assert_frame_equal(answer, expected)


def files(folder):
    """The same tables as Parquet: an export by gateway and day, and plain files."""
    from neogate_lab.history.export import export

    export(untidy(), folder / "signal", "signal")
    for name, data in (
        ("no labels", without_labels(untidy())),
        ("empty", untidy().iloc[:0]),
    ):
        pq.write_table(told(data), folder / f"{name}.parquet")
    pq.write_table(told(messages(), "outbox"), folder / "outbox.parquet")
    return {
        "signal": folder / "signal",
        **{name: folder / f"{name}.parquet" for name in ("no labels", "empty", "outbox")},
    }


def test_the_data_has_what_is_difficult():
    data = untidy()
    assert set(ng.outages(data)["kind"]) == {"not_registered", "power_off", "no_sim", "blind"}
    summary = ng.signal_summary(data)
    told = summary[summary["port"] < 3]
    assert (told["n_no_value"] > 0).all()
    assert (told["n_missing"] > told["n_no_value"]).all()
    assert list(summary["availability"][summary["port"] == 3]) == [0]
    assert 0.5 in set(ng.outages(data)["start"].dt.microsecond / 1e6)
    assert len(ng.handovers(data)) > 3


def test_duckdb_reads_an_export_as_the_frame_that_it_was(tmp_path, subtests):
    connection = ibis.duckdb.connect()
    paths = files(tmp_path)
    ask_all(subtests, {
        "signal": connection.read_parquet(paths["signal"] / "*" / "*" / "*.parquet",
                                          hive_partitioning=True, hive_types_autocast=False),
        **{name: connection.read_parquet(paths[name]) for name in ("no labels", "empty", "outbox")},
    })  # fmt: skip
    with subtests.test("by its path"):
        pd.testing.assert_frame_equal(
            ng.signal_summary(str(paths["signal"])), ng.signal_summary(untidy())
        )


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_files_of_before_a_column_lie_beside_those_of_after(tmp_path, names):
    data = told(untidy().assign(power=False, registered=False))
    for name, each in zip(names, (data.drop_columns(["power", "sim"]), data), strict=True):
        (tmp_path / f"gateway={name}").mkdir()
        file = tmp_path / f"gateway={name}" / "0.parquet"
        pq.write_table(each.drop_columns(["gateway"]), file)
    found = ng.outages(tmp_path)
    kinds = found.groupby("gateway", observed=True)["kind"].agg(lambda kind: set(kind) - {"blind"})
    assert kinds[names[1]] == {"power_off"}
    assert "not_registered" in kinds[names[0]]
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(InvalidRequest, match="as Parquet"):
        ng.outages(tmp_path)


@pytest.mark.timeout(300)
def test_postgresql_gives_equal_answers(subtests):
    with postgres_server() as connection:
        connection.raw_sql("SET TIME ZONE 'Asia/Tokyo'").close()  # a server's may be any
        held = {
            "signal": told(untidy()),
            "no labels": told(without_labels(untidy())),
            "empty": told(untidy().iloc[:0]),
            "outbox": told(messages(), "outbox"),
        }
        ask_all(subtests, {n: connection.create_table(n, data) for n, data in held.items()})
        other = numbers(connection, "signal")
        for name, ask in QUESTIONS.items():
            with subtests.test(f"{name}, declared otherwise"):
                pd.testing.assert_frame_equal(ask(other), ask(untidy()))


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning"
)  # py4j leaves them to be found
def test_spark_gives_equal_answers(tmp_path, subtests):
    paths = files(tmp_path)
    with spark_session(tmp_path) as spark:
        connection = ibis.pyspark.connect(spark)
        ask_all(subtests, {
            name: connection.read_parquet(str(path)) for name, path in paths.items()
        })  # fmt: skip
        with subtests.test("as the README says"):
            (lines,) = re.findall(r"```python\n(import ibis\n.*?)```", README.read_text(), re.S)
            assert len(lines.splitlines()) <= 5
            url = "s3a://measurements/signal"
            assert url in lines
            names = {"ng": ng}
            exec(lines.replace(url, str(paths["signal"])), names)
            pd.testing.assert_frame_equal(names["hours"], ng.signal_summary(untidy(), every="1h"))
        # What ibis sets when it connects, somebody may set anew.
        spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
        spark.conf.set("spark.sql.ansi.enabled", "false")
        moved = connection.read_parquet(str(paths["signal"]))
        for name, ask in QUESTIONS.items():
            with subtests.test(f"{name}, in a session of Tokyo"):
                pd.testing.assert_frame_equal(ask(moved), ask(untidy()))


def test_what_is_no_such_table_is_told_in_a_sentence():
    unbound = ibis.table({"gateway": "string"}, name="signal")
    with pytest.raises(InvalidRequest, match="belongs to no connection"):
        ng.outages(unbound)
    words = ibis.memtable(untidy().astype("str"))
    with pytest.raises(InvalidRequest, match="column time is string, which is no timestamp"):
        ng.outages(words)


def test_flags_as_numbers_and_columns_of_nothing_are_understood():
    data = untidy().assign(roaming=None, label=None)
    numbers = data.astype({"ok": "Int8", "registered": "Int8", "up": "Int8"})
    pd.testing.assert_frame_equal(ng.outages(numbers), ng.outages(data))
    pd.testing.assert_frame_equal(
        ng.signal_summary(numbers, by="label"), ng.signal_summary(data, by="label")
    )


def test_what_an_engine_can_not_do_is_told_in_a_sentence():
    few = untidy()[["gateway", "port", "ok", "latency_ms"]].head(3).astype({"gateway": "str"})
    engine = ibis.sqlite.connect()
    table = engine.create_table("signal", few)
    with pytest.raises(InvalidRequest, match=r"^sqlite can't answer this .*: export the table to"):
        ng.latency(table)
    engine.disconnect()
