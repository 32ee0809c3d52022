"""Real engines: a PostgreSQL server of its own, and Spark in its JVM; never a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import missing

__all__ = ["postgres_server", "spark_session"]


@contextlib.contextmanager
def postgres_server() -> Iterator[Any]:
    """An Ibis connection to a PostgreSQL server of its own, on a free port of 127.0.0.1."""
    try:
        import ibis
        import psycopg  # noqa: F401 - what Ibis needs to connect
    except ImportError:
        missing("psycopg: pip install 'neogate-lab[engines]'")
    commands = _postgres_commands()
    # Not below pytest's own folder, which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="neogate-postgres-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses root
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def run(command: str, *arguments: str) -> None:
        subprocess.run(
            [*as_user, commands / command, "-D", folder / "data", *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    try:
        run("initdb", "-A", "trust", "-U", "lab", "--no-sync", "--locale=C", "--encoding=UTF8")
        port = _free_port()
        options = f"-p {port} -c fsync=off -c listen_addresses=127.0.0.1 -k {folder}"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            connection = ibis.postgres.connect(
                host="127.0.0.1", port=port, user="lab", database="postgres"
            )
            try:
                yield connection
            finally:
                connection.disconnect()
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _postgres_commands() -> Path:
    """Where initdb is: Debian keeps it off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb", path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))
    if found is None:
        missing("initdb: apt-get install postgresql")
    return Path(found).resolve().parent


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def spark_session(folder: Path) -> Iterator[Any]:
    """A Spark session in a JVM of its own, which keeps what it writes in `folder`."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        missing("pyspark: pip install 'neogate-lab[engines]'")
    if shutil.which("java") is None:
        missing("java: apt-get install openjdk-17-jre-headless")
    interrupt = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
            .config("spark.local.dir", str(folder))
            .getOrCreate()
        )
        try:
            yield session
        finally:
            jvm = session._sc._gateway
            session.stop()
            jvm.shutdown()
            jvm.proc.stdin.close()
            jvm.proc.wait(30)
            signal.signal(signal.SIGINT, interrupt)  # Spark's own outlives it, and would fail
