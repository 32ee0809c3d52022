"""README.md says what is so: its names, calls, commands and links exist, and its Python runs."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import neogate_lab as ng
from neogate_lab import cli, config
from neogate_lab.history.schema import ALIASES, TABLES
from neogate_lab.simulator import SimulatedGateway

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "benchmarks/coverage.md",
    "data/WIRE.md",
)

OWNERS = {"ng": ng, "gw": ng.Gateway, "sim": SimulatedGateway}
COMMANDS: dict[str, Any] = get_command(cli.app).commands  # type: ignore[attr-defined]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spans() -> list[str]:
    """What stands between single backquotes."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"(?s)```.*?```", "", README))


PYTHON = blocks("python")


def said(commands: list[str]) -> Iterator[tuple[str, str]]:
    """(command, the rest of its line) of every `neogate-lab …`."""
    for line in commands:
        yield from re.findall(r"\bneogate-lab (\w+)([^\n&`]*)", line)


# -- commands --------------------------------------------------------------------------------------
def test_it_opens_with_the_two_commands() -> None:
    demo, tests, *_ = blocks("sh")
    assert demo.count("\n") == tests.count("\n") == 1
    assert demo.rstrip().endswith("neogate-lab demo")
    assert "pytest" in tests


def test_every_command_is_told_and_there_are_no_others() -> None:
    assert set(re.findall(r"^\| `neogate-lab (\w+)", README, re.MULTILINE)) == set(COMMANDS)
    used = [*said(blocks("sh")), *said(spans())]
    assert len(used) > 15
    for command, rest in used:
        known = {option for each in COMMANDS[command].params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (command, rest)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("block", blocks("sh"))
def test_a_shell_reads_it(block: str) -> None:
    subprocess.run(["bash", "-n", "-c", block], check=True)


# -- names -----------------------------------------------------------------------------------------
def test_every_public_name_is_told_and_there_are_no_others() -> None:
    told = set(re.findall(r"\bng\.(\w+)", README))
    assert set(ng.__all__) - {"__version__"} == told


def test_every_verb_of_a_gateway_is_told_and_there_are_no_others() -> None:
    told = set(re.findall(r"\bgw\.(\w+)", README))
    with ng.demo() as gw:
        public = {name for name in dir(gw) if not name.startswith("_")}
    assert told <= public
    assert public - told <= {"name", "names", "store"}


def test_every_picture_is_told() -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("| `ng.plots.heatmap(data)`")]
    named = {name.removeprefix("ng.plots.").removesuffix("(data)") for name in row.split("`")[1::2]}
    assert named | {"signal_history"} == set(ng.plots.__all__)


def calls() -> list[str]:
    codes = [each.replace("…", "...") for each in (*PYTHON, *spans())]
    found = []
    for code in codes:
        try:
            tree = ast.parse(code)
        except SyntaxError:
            continue
        found += [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if re.match(r"(gw|ng|sim)\.", call)]


@pytest.mark.parametrize("call", sorted(set(calls())))
def test_a_call_has_the_arguments_that_it_is_shown_with(call: str) -> None:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    path = ast.unparse(node.func).split(".")
    if "(" in ast.unparse(node.func):
        return  # a call on what another gives; that one is looked at by itself
    target: Any = OWNERS[path[0]]
    for name in path[1:]:
        target = getattr(target, name)
    signature = inspect.signature(target)
    arguments = [None] * (len(node.args) + (path[0] != "ng"))
    keywords = {each.arg: None for each in node.keywords if each.arg is not None}
    if not any(isinstance(each, ast.Constant) and each.value is ... for each in node.args):
        signature.bind(*arguments, **keywords)


def test_there_are_calls() -> None:
    assert len(calls()) > 50


def test_the_tables_that_can_be_exported() -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("| `gw.export(")]
    named = re.findall(r"`(\w+)`", row)
    assert {ALIASES.get(name, name) for name in named} == set(TABLES)


def test_extras_and_profiles_are_what_they_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(re.findall(r"(?:neogate-lab|'\.)\[(\w+)\]", README))
    assert extras
    assert extras <= set(project["optional-dependencies"])
    (profile,) = blocks("toml")
    (table,) = tomllib.loads(profile).values()
    told = {*table, *(word for word in spans() if word in config._PROFILE_KEYS)}
    assert told == config._PROFILE_KEYS


# -- links -----------------------------------------------------------------------------------------
def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# -- the Python runs -------------------------------------------------------------------------------
def the_block(holding: str) -> str:
    (block,) = [each for each in PYTHON if holding in each]
    return block


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NEOGATE_PASSWORD", "apipass")
    return tmp_path


def test_your_own_gateway_and_taking_data_home(here: Path) -> None:
    names: dict[str, Any] = {}
    with SimulatedGateway() as sim:
        code = the_block("192.168.5.150").replace("192.168.5.150", f"{sim.host}:{sim.port}")
        exec(code.replace('"10s"', '"0.2s"').replace('"5m"', '"0.4s"'), names)
        with names["gw"]:
            assert len(names["survey"].frame()) == 8
            exec(the_block('gw.export("signal")'), names)
    written = {path.name for path in here.iterdir()}
    assert {"signal.xlsx", "inbox.csv", "signal", "neogate.neogate"} <= written
    assert len(ng.read_parquet("signal")) == 8


def test_several_gateways(here: Path) -> None:
    code = the_block("connect_all")
    with ExitStack() as stack:
        for name, user in (("lab", "apiuser"), ("10.0.0.5", "apiuser"), ("10.0.0.6", "other")):
            sim = stack.enter_context(SimulatedGateway(ussd_delay=0.0, username=user))
            code = code.replace(f'"{name}"', f'"{sim.host}:{sim.port}"')
        names: dict[str, Any] = {"ng": ng}
        exec(code.replace('"10s"', '"0.2s"').replace('"1h"', '"0.2s"'), names)
        with names["fleet"] as fleet:
            assert fleet.failed == {}
            names["survey"].wait(timeout=30)
            assert len(names["survey"].frame()) == 12
            assert list(fleet["roof"].ussd_log()["outcome"]) == ["done"]


def test_the_simulator(here: Path) -> None:
    names: dict[str, Any] = {"ng": ng}
    exec(the_block("drop_connections"), names)
    assert isinstance(names["sim"], ng.SimulatedGateway)


def test_every_python_block_is_run() -> None:
    tested = ("192.168.5.150", 'gw.export("signal")', "connect_all", "drop_connections", "pyspark")
    assert {the_block(holding) for holding in tested} == set(PYTHON)
