"""The floor plan: imports only go down, siblings never meet, and each trade stays in its folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import neogate_lab

PACKAGE = Path(neogate_lab.__file__).parent
ROOT = "neogate_lab"

FLOORS = (
    {"errors"},
    {"choice", "times", "progress", "words", "latch", "warn"},
    {"protocol"},
    {"link", "history", "simulator"},
    {"analysis"},
    {"config", "connecting", "dispatcher", "fleet", "gateway", "recorded", "sending", "survey"},
    {"notebook", "doctor", "cli"},
)
LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}
TOP = FLOORS[-1]
SIBLINGS = FLOORS[3]

NEVER_MEET = {
    **{part: SIBLINGS - {part} for part in SIBLINGS},
    # The simulator writes its wire itself, so that it can catch the client's mistakes.
    "simulator": (SIBLINGS | {"protocol"}) - {"simulator"},
    # Answers come from tables alone, also where no gateway is.
    "analysis": {"link", "simulator"},
}

PURE = {"protocol"}
IMPURE = {"asyncio", "socket", "select", "selectors", "ssl", "threading", "time", "pandas"}

ONLY_IN = {
    "ipywidgets": "notebook",
    "nest_asyncio": "notebook",
    "nest_asyncio2": "notebook",
    "pyarrow": "history",
    "sqlite3": "history",
    "typer": "cli",
}
SQL = re.compile(r"(?s)\b(SELECT\s.+\sFROM|INSERT\sINTO|DELETE\sFROM|CREATE\sTABLE|PRAGMA)\b")
FILES_OF_TABLES = {"to_parquet", "to_sql", "read_sql"}
MAY_PRINT = {"cli"}
PRINTERS = {"print", "pprint", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the package: its dotted name and its source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts), path.read_text(encoding="utf-8")


def imports(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and absolute name of whatever a module imports, anywhere in it, in whatever way."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            name = node.args[0] if node.args else None
            constant = isinstance(name, ast.Constant) and isinstance(name.value, str)
            yield node.lineno, name.value if constant else "?"  # type: ignore[union-attr]


def part_of(name: str) -> str:
    """The part of the package that a dotted name leads into, "" for its public face."""
    part = name.split(".")[1] if "." in name else ""
    return part if part in LEVEL else ""


def docstrings(tree: ast.AST) -> set[int]:
    """Identities of the strings that only describe."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def violations(module: str, source: str) -> Iterator[str]:
    """What a module does that its floor forbids."""
    own = module.split(".")[1]
    tree = ast.parse(source)
    if own in LEVEL:
        for line, name in imports(module, tree):
            yield from (f"{module}:{line} {wrong}" for wrong in wrong_import(own, name))
    elif own != "__init__":
        yield f"{module} has no floor: give it one here, as the design says"
    if own not in MAY_PRINT:
        for node in ast.walk(tree):
            spelt = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
            if spelt in PRINTERS:
                yield f"{module}:{node.lineno} prints: {spelt}"  # type: ignore[attr-defined]
    if own != "history":
        described = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in described and SQL.search(node.value):
                    yield f"{module}:{node.lineno} speaks SQL"
            elif isinstance(node, ast.Attribute) and node.attr in FILES_OF_TABLES:
                yield f"{module}:{node.lineno} calls {node.attr}"


def wrong_import(own: str, name: str) -> Iterator[str]:
    """Why the part `own` may not import `name`; nothing if it may."""
    first = name.partition(".")[0]
    if name == "?":
        yield "imports a module whose name is not written down"
    elif first != ROOT:
        if own in PURE and first in IMPURE:
            yield f"imports {first} into what is pure"
        if own != ONLY_IN.get(first, own):
            yield f"imports {first}, which belongs in {ONLY_IN[first]}"
    elif (other := part_of(name)) == "":
        if own not in TOP:
            yield "imports the package's public face, which stands above it"
    elif LEVEL[other] > LEVEL[own]:
        yield f"imports {other}, which stands above it"
    elif other in NEVER_MEET.get(own, set()):
        yield f"imports {other}, which it must never know"


def test_every_module_keeps_to_its_floor() -> None:
    found = [wrong for module, source in modules() for wrong in violations(module, source)]
    assert found == []


def test_the_walk_reaches_every_folder() -> None:
    seen = {part_of(module) for module, _ in modules()}
    assert seen >= {"errors", "protocol", "link", "history", "simulator", "analysis", "notebook"}


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("protocol.wire", "import neogate_lab.link.session", "link, which stands above"),
        ("protocol.wire", "def f():\n    from neogate_lab import gateway", "gateway, which stands"),
        ("protocol.wire", "from ..history.store import Store", "history, which stands above"),
        ("link.session", "from neogate_lab.history import Store", "history, which it must never"),
        ("history.store", "import neogate_lab.link", "link, which it must never know"),
        ("simulator.server", "from neogate_lab.link.clock import Clock", "link, which it must"),
        ("simulator.server", "from neogate_lab.protocol.wire import encode", "protocol, which it"),
        ("analysis.plots", "from neogate_lab.link import clock", "link, which it must never know"),
        ("survey", "if TYPE_CHECKING:\n    import neogate_lab.notebook", "notebook, which stands"),
        ("link.session", "import importlib\nimportlib.import_module('neogate_lab.cli')", "cli, wh"),
        ("link.session", "__import__(name)", "name is not written down"),
        ("gateway", "from neogate_lab import connect", "public face"),
        ("gateway", "import neogate_lab as ng", "public face"),
        ("attic", "", "has no floor"),
        ("protocol.gsm", "def f():\n    import time", "time into what is pure"),
        ("protocol.gsm", "from asyncio import sleep", "asyncio into what is pure"),
        ("protocol.gsm", "import socket", "socket into what is pure"),
        ("protocol.gsm", "import pandas as pd", "pandas into what is pure"),
        ("gateway", "import ipywidgets", "belongs in notebook"),
        ("cli", "import nest_asyncio", "belongs in notebook"),
        ("link.outbox", "import sqlite3", "belongs in history"),
        ("analysis.plots", "import pyarrow.parquet as pq", "belongs in history"),
        ("gateway", "query = f'SELECT * FROM {table}'", "speaks SQL"),
        ("gateway", "frame.to_parquet(path)", "calls to_parquet"),
        ("link.session", "print('x')", "prints: print"),
        ("link.session", "import sys\nsys.stderr.write('x')", "prints: sys.stderr"),
    ],
)
def test_a_made_up_violation_is_seen(module: str, source: str, wrong: str) -> None:
    found = list(violations(f"{ROOT}.{module}", source))
    assert any(wrong in each for each in found), found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway", "from neogate_lab import errors, survey\nimport neogate_lab.simulator.server"),
        ("cli", "import neogate_lab as ng\nprint(ng)"),
        ("notebook.nested", "def f():\n    import nest_asyncio"),
        ("history.store", "import sqlite3\nquery = 'SELECT 1 FROM signal'"),
        ("link.session", "from . import clock\nfrom .clock import Clock\nimport asyncio"),
        ("link.session", '"""SELECT what FROM the wire is no concern of ours."""'),
        ("__init__", "def __getattr__(name):\n    return import_module(places[name])"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert list(violations(f"{ROOT}.{module}", source)) == []
