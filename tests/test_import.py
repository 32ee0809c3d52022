"""Importing the package changes nothing in the process, and loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "IPython",
    "duckdb",
    "ibis",
    "ipywidgets",
    "matplotlib",
    "nest_asyncio",
    "nest_asyncio2",
    "numpy",
    "pandas",
    "pyarrow",
    "tqdm",
    "typer",
)

STATE = """
import asyncio, asyncio.base_events, builtins, importlib, logging, os, pkgutil, signal, socket
import sys, threading, time, warnings

def members(owner):
    return {f"{owner.__name__}.{name}": value for name, value in vars(owner).items()
            if not name.startswith("__") or callable(value)}

def state():
    seen = {
        "threads": threading.enumerate(),
        "policy": asyncio.get_event_loop_policy(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "logging": (logging.root.level, list(logging.root.handlers), logging.getLoggerClass()),
        "last resort": (logging.lastResort, logging.raiseExceptions),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "finders": list(sys.meta_path),
        "socket": (socket.socket, socket.create_connection, socket.getdefaulttimeout()),
        "time": (time.time, time.monotonic, time.sleep),
    }
    for owner in (
        asyncio, asyncio.events, asyncio.futures, asyncio.runners, asyncio.tasks,
        asyncio.BaseEventLoop, asyncio.SelectorEventLoop, type(asyncio.get_event_loop_policy()),
        builtins,
    ):
        seen.update(members(owner))
    if "pandas" in sys.modules:
        import pandas
        seen["pandas options"] = pandas.describe_option(_print_desc=False)
    if "matplotlib" in sys.modules:
        import matplotlib
        seen["matplotlib"] = sorted(map(repr, dict.items(matplotlib.rcParams)))
    return seen

def changes(before):
    after = state()
    # A submodule that is imported for the first time appears in its package: nothing is replaced.
    return [name for name in before if before[name] != after.get(name)]
"""


def run(program: str) -> list[str]:
    """Run `program` after `STATE` as strictly as Python can; the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", STATE + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_import_changes_nothing_and_prints_nothing() -> None:
    program = "before = state(); import neogate_lab; assert not changes(before), changes(before)"
    assert run(program) == []


def test_import_leaves_the_options_of_pandas_and_matplotlib_alone() -> None:
    program = """
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import matplotlib, pandas
before = state()
import neogate_lab
assert not changes(before), changes(before)
"""
    assert run(program) == []


def test_import_loads_nothing_heavy() -> None:
    assert run(f"import neogate_lab; print(*(set({HEAVY}) & set(sys.modules)), sep='\\n')") == [""]


def test_every_public_name_is_there_and_getting_it_patches_nothing() -> None:
    program = """
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ipywidgets, matplotlib, pandas
before = state()
import neogate_lab
for name in neogate_lab.__all__:
    getattr(neogate_lab, name)
assert set(neogate_lab.__all__) <= set(dir(neogate_lab))
assert not changes(before), changes(before)
"""
    assert run(program) == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    import neogate_lab

    with pytest.raises(AttributeError, match="balance_of_power"):
        _ = neogate_lab.balance_of_power


def test_the_package_logs_to_nobody_by_itself() -> None:
    program = "import neogate_lab; print(*map(type, logging.getLogger('neogate_lab').handlers))"
    assert run(program) == ["<class 'logging.NullHandler'>"]


def test_every_module_can_be_the_first_one_imported() -> None:
    program = """
import neogate_lab
names = [m.name for m in pkgutil.walk_packages(neogate_lab.__path__, "neogate_lab.")]
for name in names:
    for loaded in [n for n in sys.modules if n.split(".")[0] == "neogate_lab"]:
        del sys.modules[loaded]
    importlib.import_module(name)
print(len(names))
"""
    (count,) = run(program)
    assert int(count) > 20


@pytest.mark.parametrize(
    "patch",
    [
        "asyncio.run = print",
        "asyncio.BaseEventLoop._run_once = print",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "warnings.simplefilter('ignore')",
        "logging.basicConfig()",
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
        "import pandas; before = state(); pandas.set_option('display.width', 7)",
        "import matplotlib; before = state(); matplotlib.use('svg')",
    ],
)
def test_a_change_would_be_seen(patch: str) -> None:
    program = f"before = state()\n{patch}\nprint(len(changes(before)) > 0)"
    assert run(program) == ["True"]
