"""Takes the README's pictures of every panel, light and dark: python -m tests.notebook.screenshots.

They are of a simulated gateway in JupyterLab, and replace those in data/screenshots.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import expect

import neogate_lab as ng
from tests.notebook.lab import (
    PATIENCE,
    Lab,
    Visit,
    browse,
    chromium,
    darken,
    open_notebook,
    run_all,
    write_notebook,
)

FOLDER = Path(__file__).parents[2] / "data" / "screenshots"
PANELS = ("dashboard", "signal", "inbox", "compose", "ussd")


def main() -> None:
    """Fill the panels as somebody would, and take their pictures."""
    expect.set_options(timeout=PATIENCE)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        ng.SimulatedGateway(sms_delay=0.1, ussd_delay=0.1) as sim,
        browse(chromium()) as visit,
        Lab(Path(home)) as lab,
    ):
        connect = (
            "import neogate_lab as ng\n"
            f'gw = ng.connect("{sim.host}", port={sim.port}, username="{sim.username}", '
            f'password="{sim.password}", name="lab", store=":memory:")'
        )
        kinds = ("SignalPanel", "InboxPanel", "ComposePanel", "UssdPanel", "Dashboard")
        cells = (f"ng.{kind}(gw)" for kind in kinds)
        write_notebook(lab.work / "panels.ipynb", connect, *cells)
        visit.page.set_viewport_size({"width": 1280, "height": 4000})
        open_notebook(visit, lab, "panels.ipynb")
        run_all(visit)
        for name in PANELS:
            expect(visit.page.locator(f".neogate-{name}").first).to_be_visible()
        _measure(visit, sim)
        _receive(visit, sim)
        _send(visit)
        _ask(visit)
        visit.page.wait_for_timeout(2000)  # the last picture of the plot
        _take(visit, "light")
        darken(visit)
        _take(visit, "dark")


def _measure(visit: Visit, sim: ng.SimulatedGateway) -> None:
    panel = visit.page.locator(".neogate-signal").first
    panel.locator(".neogate-signal-every input").fill("0.5s")
    panel.locator(".neogate-signal-start").click()
    expect(panel.locator("img")).to_be_visible()
    for label, values in (("window sill", (14, 20, 9)), ("roof antenna", (19, 24, 17))):
        panel.locator(".neogate-signal-label input").fill(label)
        panel.locator(".neogate-signal-mark").click()
        expect(panel.locator(".neogate-signal-values")).to_contain_text(label)
        for step in range(24):
            for port, value in enumerate(values, start=1):
                sim.set_signal(port, value + (step * port * 7 // 3) % 3 - 1)
            visit.page.wait_for_timeout(500)
    panel.locator(".neogate-signal-stop").click()
    expect(panel.locator(".neogate-signal-status")).to_contain_text("stopped")


def _receive(visit: Visit, sim: ng.SimulatedGateway) -> None:
    panel = visit.page.locator(".neogate-inbox").first
    texts = (
        (1, "MegaFon", "Ваш баланс 250 руб. Спасибо, что вы с нами!"),
        (2, "+79161234567", "The pump house is dry again. See you at six."),
        (3, "Beeline", "<b>Roaming</b> is now =cheaper"),
        (1, "G-Bank", "482913 is your verification code. Never tell it to anybody."),
    )
    for number, (port, sender, text) in enumerate(texts, start=1):
        sim.receive_sms(port=port, sender=sender, text=text)
        expect(panel.locator(".neogate-inbox-count")).to_contain_text(f"of {number}")
    panel.locator(".neogate-row button").first.click()
    expect(panel.locator(".neogate-inbox-code input")).to_have_value("482913")


def _send(visit: Visit) -> None:
    panel = visit.page.locator(".neogate-compose").first
    panel.locator(".neogate-compose-to input").fill("+79261234567")
    panel.locator(".neogate-compose-text textarea").fill("The roof antenna is up.")
    panel.locator(".neogate-compose-send").click()
    expect(panel.locator(".neogate-compose-status")).to_contain_text("sent")
    panel.locator(".neogate-compose-text textarea").fill("On my way. " * 14 + "See you soon…")


def _ask(visit: Visit) -> None:
    panel = visit.page.locator(".neogate-ussd").first
    for code, answer in (("*100#", "answered"), ("*101#", "menu")):
        panel.locator(".neogate-ussd-code input").fill(code)
        panel.locator(".neogate-ussd-send").click()
        expect(panel.locator(".neogate-ussd-status")).to_contain_text(answer)


def _take(visit: Visit, theme: str) -> None:
    for name in PANELS:
        visit.page.locator(f".neogate-{name}").first.screenshot(path=FOLDER / f"{name}-{theme}.png")


if __name__ == "__main__":
    main()
