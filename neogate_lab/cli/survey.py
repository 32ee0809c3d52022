"""`neogate-lab survey`: one survey in the terminal, and what it says at its end."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import neogate_lab as ng
from neogate_lab.cli.base import Every, Store, Target, Username, app, period, polite, stoppable
from neogate_lab.cli.terminal import plain, print_table, watched

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["survey"]

_FOR_EVER = timedelta(days=36_500)
_MOST_OUTAGES = 12


@app.command()
@polite
@stoppable()
def survey(
    target: Target = None,
    every: Every = 10.0,
    duration: Annotated[
        float | None,
        typer.Option(
            parser=period,
            metavar="PERIOD",
            help="10m, 2h, 1d; default until Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="What is measured: place, antenna, operator.")] = "",
    port: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="PORT",
            help="This port; again for more; default all.",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The survey's name in tables; one on record goes on.", show_default=False
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it there: a .png, .svg or .pdf.", show_default=False)
    ] = None,
    username: Username = None,
) -> None:
    """Measure the signal of a gateway's ports, and sum it up.

    Ctrl-C ends it; what was measured is on disk already. The password comes from a profile or
    NEOGATE_PASSWORD, or you are asked for it.
    """
    if plot is not None:
        plot = plot.expanduser()
        _check_plot(plot)
    with ng.connect(target, username=username, store=store) as gateway:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ng.NeogateWarning)  # it is told below
            running = gateway.survey(
                every=every,
                duration=duration,
                port=port or None,
                label=label,
                name=name,
                progress=watched(),
            )
        if running.notice:
            typer.echo(f"neogate-lab: {plain(running.notice)}", err=True)
        try:
            running.wait(timeout=_FOR_EVER)
        except KeyboardInterrupt:
            running.stop()
        where = gateway.store.path
        frame = running.frame()
        summary = running.summary()
    _print(running, frame, summary)
    print(f"\n{len(frame)} rows are in {plain(str(where))}")
    print(f"  ng.open_store({str(where)!r}).signal(survey={running.name!r})")
    if plot is not None:
        ng.plots.signal_history(frame).get_figure().savefig(plot, dpi=150)  # type: ignore[union-attr]
        print(f"plot: {plain(str(plot))}")


def _check_plot(path: Path) -> None:
    """A plot that can't be written is better known before hours of measuring."""
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ng.InvalidRequest(f"--plot can't draw {path.name}: end it in .png, .svg or .pdf")
    if not path.absolute().parent.is_dir():
        raise ng.InvalidRequest(f"--plot: there is no folder {path.parent}")


def _print(running: ng.Survey, frame: pd.DataFrame, summary: pd.DataFrame) -> None:
    total = "" if running.total is None else f" of {running.total}"
    print(f"{plain(running.name)}: {running.done}{total} ticks\n")
    print_table(
        summary.assign(registered=100 * summary["availability"]),
        {
            "port": "port",
            **({"label": "label"} if (summary["label"] != "").any() else {}),
            "n": "ticks",
            "n_missing": "no value",
            "median_dbm": "median dBm",
            "p10_dbm": "10 %",
            "p90_dbm": "90 %",
            "registered": "registered %",
        },
    )
    found = ng.outages(frame)
    if len(found):
        print("\nnot registered, or not measured (UTC)")
        print_table(
            found.head(_MOST_OUTAGES),
            {"port": "port", "kind": "why", "start": "from", "end": "until", "seconds": "seconds"},
        )
        if len(found) > _MOST_OUTAGES:
            print(f"  … and {len(found) - _MOST_OUTAGES} more: ng.outages(frame)")
