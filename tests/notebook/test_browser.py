"""The panels in JupyterLab, Notebook 7 and as a page, in a real browser: typed, pressed, seen."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import neogate_lab as ng
from tests.notebook.lab import (
    PATIENCE,
    Board,
    Lab,
    Notebook,
    Visit,
    browse,
    chromium,
    darken,
    open_notebook,
    run_all,
    wait_for_kernel,
    write_notebook,
)

pytestmark = [pytest.mark.timeout(600)]

HOSTILE = r"<script>window.hit=1</script><img src=x onerror='window.hit=1'> $\alpha$ \(x\)"
SPREADSHEET = "=HYPERLINK(1)"
ESCAPES = "\x1b[31mred\x1b[0m"
RIGHT_TO_LEFT = "\u202egnp.exe \u0645\u0631\u062d\u0628\u0627"

SLEEP_ONCE = """import pathlib, time
if not pathlib.Path("slept").exists():
    pathlib.Path("slept").touch()
    time.sleep(600)"""
"""The first kernel sleeps until it is interrupted; the second does not."""

MISSED = """panel = ng.UssdPanel(gw)
panel.transcript._trait_values["value"] = "what the page missed"
panel"""
"""A change that no message told, as a page that was still loading would have it."""


@pytest.fixture
def sim() -> Iterator[ng.SimulatedGateway]:
    with ng.SimulatedGateway(sms_delay=0.05, ussd_delay=0.05) as simulator:
        yield simulator


@pytest.fixture
def visit() -> Iterator[Visit]:
    with browse(chromium()) as opened:
        from playwright.sync_api import expect

        expect.set_options(timeout=PATIENCE)  # a busy machine may take so long
        yield opened


def setup(sim: ng.SimulatedGateway) -> str:
    return (
        "import neogate_lab as ng\n"
        f'gw = ng.connect("{sim.host}", port={sim.port}, username="{sim.username}", name="lab",\n'
        f'                password="{sim.password}", store=":memory:", sms_interval=0)'
    )


def dashboard(sim: ng.SimulatedGateway, home: Path) -> Board:
    target = f"{sim.host}:{sim.port}"
    return Board(home, target, "--username", sim.username, NEOGATE_PASSWORD=sim.password)


def send_an_sms(visit: Visit, sim: ng.SimulatedGateway) -> None:
    from playwright.sync_api import expect

    page, before = visit.page, len(sim.sent)
    compose = page.locator(".neogate-compose")
    expect(compose.locator(".neogate-compose-port select")).to_contain_text("1: Up · ")
    compose.locator(".neogate-compose-to input").fill("+79261234567")
    compose.locator(".neogate-compose-text textarea").fill(HOSTILE)
    compose.locator(".neogate-compose-to input").press("Enter")  # must send nothing
    expect(compose.locator(".neogate-compose-counter")).to_contain_text("GSM-7 · 1 segment")
    compose.locator(".neogate-compose-send").click()
    expect(compose.locator(".neogate-compose-status")).to_contain_text("sent")
    expect(compose.locator(".neogate-compose-history")).to_contain_text(HOSTILE)
    assert [sms.text for sms in sim.sent[before:]] == [HOSTILE]


def walk_a_menu(visit: Visit, sim: ng.SimulatedGateway) -> None:
    from playwright.sync_api import expect

    sim.set_ussd(None, "*121#", {"": f"{HOSTILE}\n1 {HOSTILE}", "1": HOSTILE})
    page = visit.page
    ussd = page.locator(".neogate-ussd")
    choices = ussd.locator(".neogate-ussd-choices button")
    answer = ussd.locator(".neogate-ussd-answer")

    def dial(code: str) -> None:
        ussd.locator(".neogate-ussd-code input").fill(code)
        page.keyboard.press("Tab")
        ussd.locator(".neogate-ussd-send").click()

    expect(ussd.locator(".neogate-ussd-port select")).to_contain_text("1: Up")
    expect(ussd.locator(".neogate-ussd-reply input")).to_be_hidden()
    ussd.locator(".neogate-ussd-presets select").select_option("*102#")
    expect(ussd.locator(".neogate-ussd-code input")).to_have_value("*102#")
    ussd.locator(".neogate-ussd-send").click()
    expect(choices).to_have_count(3)
    expect(answer).to_contain_text("Меню")
    choices.nth(2).click()
    expect(answer).to_contain_text("Роуминг")
    ussd.locator(".neogate-ussd-reply input").fill("2")
    page.keyboard.press("Tab")
    ussd.locator(".neogate-ussd-reply-send").click()
    expect(choices.first).to_contain_text("Включить")
    choices.first.focus()
    page.keyboard.press("Enter")  # the keyboard is enough
    expect(ussd.locator(".neogate-ussd-status")).to_contain_text("answered")
    expect(ussd.locator(".neogate-ussd-reply input")).to_be_hidden()
    expect(answer).to_contain_text("Интернет: Включить")
    dial("*121#")
    expect(choices.first).to_contain_text(HOSTILE)
    expect(answer).to_contain_text(HOSTILE)
    choices.first.click()
    expect(ussd.locator(".neogate-ussd-status")).to_contain_text("answered")
    expect(ussd.locator(".neogate-ussd-transcript")).to_contain_text(HOSTILE)


def walk_a_menu_by_keyboard(visit: Visit, sim: ng.SimulatedGateway) -> None:
    """Enter dials, the focus stays, and what a screen reader listens to is never replaced."""
    from playwright.sync_api import expect

    page = visit.page
    ussd = page.locator(".neogate-ussd")
    status = ussd.locator(".neogate-ussd-status")
    code, reply = (ussd.locator(f".neogate-ussd-{name} input") for name in ("code", "reply"))
    dial = ussd.locator("button.neogate-ussd-send")
    choices = ussd.locator(".neogate-ussd-choices button")
    region = status.element_handle()
    assert region is not None

    code.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("*101#")
    page.keyboard.press("Enter")
    expect(choices.first).to_be_visible()
    expect(code).to_be_focused()
    reply.focus()
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(ussd.locator(".neogate-ussd-transcript td").nth(2)).to_have_text("3")
    expect(dial).to_be_enabled()
    sim.freeze()
    dial.focus()
    page.keyboard.press("Enter")
    expect(dial).to_be_disabled()  # as assistive technology sees it
    sim.thaw()
    expect(choices.first).to_be_visible()
    expect(dial).to_be_enabled()
    expect(dial).to_be_focused()
    choices.first.focus()
    page.keyboard.press("Enter")
    expect(status).to_be_focused()  # for the choice is gone
    assert region.evaluate("region => region.isConnected && region.role") == "status"
    expect(page.locator("[role=status] [role=status]")).to_have_count(0)


def see_messages_arrive(visit: Visit, sim: ng.SimulatedGateway) -> None:
    from playwright.sync_api import expect

    inbox = visit.page.locator(".neogate-inbox")
    rows, message = inbox.locator(".neogate-row"), inbox.locator(".neogate-inbox-message")
    expect(inbox.locator(".neogate-inbox-count")).to_contain_text("no messages")
    texts = [HOSTILE, SPREADSHEET, ESCAPES, RIGHT_TO_LEFT, "Your code is 482913"]
    for number, text in enumerate(texts, start=1):
        sim.receive_sms(port=1, sender=f"<b>{number}</b>", text=text)
        expect(inbox.locator(".neogate-inbox-count")).to_contain_text(f"{number} unread")
    expect(rows.filter(visible=True)).to_have_count(len(texts))
    for place, text in enumerate(reversed(texts)):
        rows.nth(place).locator("button").click()
        expect(message).to_contain_text(text.replace("\x1b", "␛"))
    expect(inbox.locator(".neogate-inbox-count")).to_contain_text("0 unread")
    assert message.locator("b, script, img").count() == 0
    rows.first.locator("button").click()
    expect(inbox.locator(".neogate-inbox-code input")).to_have_value("482913")
    inbox.locator(".neogate-inbox-contains input").fill("HYPERLINK")
    visit.page.keyboard.press("Tab")
    expect(rows.filter(visible=True)).to_have_count(1)
    inbox.locator(".neogate-inbox-contains input").fill("")
    visit.page.keyboard.press("Tab")
    expect(rows.filter(visible=True)).to_have_count(len(texts))


def watch_the_plot(visit: Visit) -> None:
    from playwright.sync_api import expect

    signal = visit.page.locator(".neogate-signal")
    signal.locator(".neogate-signal-every input").fill("0.5s")
    visit.page.keyboard.press("Tab")
    signal.locator(".neogate-signal-start").click()
    expect(signal.locator(".neogate-signal-status")).to_contain_text("measuring")
    plot = signal.locator("img")
    expect(plot).to_be_visible()
    expect(plot).to_have_attribute("alt", re.compile(r"^Signal of ports 1, .* dBm"))
    expect(signal.locator(".neogate-signal-values")).to_contain_text("dBm")
    for _ in range(2):
        expect(plot).not_to_have_attribute("src", plot.get_attribute("src") or "")
    signal.locator(".neogate-signal-label input").focus()
    visit.page.keyboard.type("$roof$ <i>")  # letter by letter, and no pause before the press
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    expect(signal.locator(".neogate-signal-status")).to_contain_text("$roof$ <i>")
    expect(signal.locator(".neogate-signal-values")).to_contain_text("$roof$ <i>")
    expect(plot).to_have_attribute("alt", re.compile(r"labelled \$roof\$ <i>"))


def stay_with_a_survey(visit: Visit) -> None:
    """Who leaves the page while it measures is asked; who stays then loses nothing."""
    from playwright.sync_api import expect

    page, plot = visit.page, visit.page.locator(".neogate-signal img")
    # Another Jupyter on this machine may have left one: with it, Voila's own goodbye is heard.
    page.evaluate("document.cookie = '_xsrf=theirs'")
    page.evaluate("location.reload()")
    visit.until(lambda: visit.questions)
    page.get_by_role("tab", name="Signal").click()
    expect(plot).not_to_have_attribute("src", plot.get_attribute("src") or "")
    page.locator(".neogate-signal-stop").click()
    expect(page.locator(".neogate-signal-status")).to_contain_text("stopped")
    visit.clean()


def lose_the_way_and_find_it(visit: Visit) -> None:
    """One miss is a hiccup; two cover the page, until its server answers again."""
    from playwright.sync_api import expect

    page = visit.page
    kernel = "**/api/kernels/*"
    notice, reconnect = page.get_by_role("alertdialog"), page.get_by_role("button", name="Reconn")
    page.route(kernel, lambda route: route.abort(), times=1)
    with page.expect_request_finished(lambda request: "/api/kernels/" in request.url):
        visit.until(lambda: visit.complaints)
    expect(page.locator(".neogate-notice")).to_have_count(0)
    page.route(kernel, lambda route: route.abort())
    expect(notice).to_contain_text("does not answer")
    page.keyboard.press("Escape")
    expect(notice).to_be_visible()
    reconnect.focus()
    expect(reconnect).not_to_be_focused()
    page.unroute(kernel)
    expect(notice).to_be_hidden()
    reconnect.focus()
    expect(reconnect).to_be_focused()
    assert all("ERR_FAILED" in complaint for complaint in visit.complaints), visit.complaints
    visit.complaints.clear()


def lose_the_kernel(visit: Visit, board: Board) -> None:
    """A kernel that died is not started again behind the page, which says so."""
    from playwright.sync_api import expect

    notice = visit.page.get_by_role("alertdialog")
    visit.until(lambda: len(board.kernels()) == 1)  # those of earlier pages end
    os.kill(board.kernels()[0], signal.SIGKILL)
    expect(notice).to_contain_text("This page has ended")
    visit.picture("page-ended", "html")
    visit.complaints.clear()
    notice.get_by_role("button", name="Reload").click()
    expect(visit.page.locator(".neogate-dashboard-connection")).to_contain_text("✓ connected")
    expect(notice).to_be_hidden()
    visit.clean()


def test_an_sms_is_sent_and_a_menu_walked(
    visit: Visit, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    with Lab(tmp_path) as lab:
        write_notebook(lab.work / "panels.ipynb", setup(sim), "ng.ComposePanel(gw)", MISSED)
        open_notebook(visit, lab, "panels.ipynb")
        run_all(visit)
        transcript = visit.page.locator(".neogate-ussd-transcript")
        expect(transcript).to_have_text("what the page missed")
        send_an_sms(visit, sim)
        walk_a_menu(visit, sim)
        walk_a_menu_by_keyboard(visit, sim)
        visit.picture("lab-light", ".jp-Notebook")
        darken(visit)
        visit.picture("lab-dark", ".jp-Notebook")
        visit.clean()


def test_messages_arrive_and_the_plot_moves_also_after_interrupt_restart_and_rerun(
    visit: Visit, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = visit.page

    def menu(*names: str) -> None:
        for name in names:
            page.get_by_role("menuitem", name=re.compile(f"^{name}")).first.click()

    with Lab(tmp_path) as lab:
        cells = (setup(sim), "ng.InboxPanel(gw)", "ng.SignalPanel(gw, every=0.5)")
        write_notebook(lab.work / "live.ipynb", *cells, SLEEP_ONCE)
        open_notebook(visit, lab, "live.ipynb")
        run_all(visit)
        visit.until((lab.work / "slept").exists)
        # What arrives is shown although the kernel is busy.
        expect(page.locator(".neogate-inbox-count")).to_contain_text("no messages")
        sim.receive_sms(port=1, sender="Bank", text="while it slept")
        expect(page.locator(".neogate-inbox-count")).to_contain_text("1 unread")
        menu("Kernel", "Interrupt Kernel")
        wait_for_kernel(visit, lab, "live.ipynb")
        watch_the_plot(visit)
        # Run again: the newer panels go on, the survey is one still.
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(2).click()
        page.keyboard.press("Control+Enter")
        expect(page.locator(".neogate-signal")).to_have_count(1)
        expect(page.locator(".neogate-signal-status")).to_contain_text("measuring")
        plot = page.locator(".neogate-signal img")
        expect(plot).to_be_visible()
        expect(plot).not_to_have_attribute("src", plot.get_attribute("src") or "")
        page.locator(".neogate-signal-stop").click()
        expect(page.locator(".neogate-signal-status")).to_contain_text("stopped")

        menu("Kernel", "Restart Kernel and Run All Cells…")
        page.get_by_role("button", name="Confirm Kernel Restart").click()
        see_messages_arrive(visit, sim)
        watch_the_plot(visit)
        visit.clean()


def test_the_dashboard_is_a_page_for_this_machine_alone(
    visit: Visit, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = visit.page
    with dashboard(sim, tmp_path) as board:
        page.goto(board.address.split("?")[0])
        expect(page.locator("#password_input")).to_be_visible()  # who lacks the secret
        page.goto(board.address)
        expect(page.locator(".neogate-dashboard-connection")).to_contain_text("connected")

        def tab(name: str) -> None:
            page.get_by_role("tab", name=name).click()

        watch_the_plot(visit)
        visit.picture("page-signal", "body")
        tab("Inbox")
        see_messages_arrive(visit, sim)
        visit.picture("page-inbox", "body")
        tab("Send an SMS")
        send_an_sms(visit, sim)
        visit.picture("page-send", "body")
        tab("USSD")
        walk_a_menu(visit, sim)
        walk_a_menu_by_keyboard(visit, sim)
        visit.picture("page-ussd", "body")
        sim.refuse_logins()
        sim.drop_connections()
        expect(page.locator(".neogate-dashboard-connection")).not_to_contain_text("✓")
        sim.accept_logins()
        page.get_by_role("button", name="Reconnect").click()
        expect(page.locator(".neogate-dashboard-connection")).to_contain_text("✓ connected")
        visit.clean()

        stay_with_a_survey(visit)
        page.goto(f"{board.address}&theme=dark")
        expect(page.locator(".neogate-dashboard-connection")).to_contain_text("connected")
        assert visit.questions == 1  # none where nothing is measured
        tab("Inbox")
        expect(page.locator(".neogate-row").first).to_be_visible()
        visit.picture("page-dark", "body")
        visit.clean()

        lose_the_way_and_find_it(visit)
        lose_the_kernel(visit, board)
        board.interrupt()
        notice = page.get_by_role("alertdialog")
        expect(notice).to_contain_text("neogate-lab dashboard has ended")
        visit.picture("page-silent", "html")
    first, second, died = board.log().splitlines()
    assert [first, second] == [f"Dashboard: {board.address}", "Ctrl-C ends it."]
    assert died.endswith(" died, removing from map.")
    assert board.status == 0
    with board:
        expect(notice).to_contain_text("was started again")
    assert board.log().splitlines() == [f"Dashboard: {board.address}", "Ctrl-C ends it."]


def test_a_page_without_a_gateway_says_why(visit: Visit, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    with ng.SimulatedGateway() as gone:
        target = f"{gone.host}:{gone.port}"
    with Board(
        tmp_path, target, "--username", "me", NEOGATE_PASSWORD="<b>c0nf1dent1al</b>"
    ) as board:
        visit.page.goto(board.address)
        expect(visit.page.get_by_role("alert")).to_contain_text("No connection.")
        expect(visit.page.get_by_role("alert")).to_contain_text(target)
        assert "c0nf1dent1al" not in visit.page.content()
        visit.clean()


def test_notebook_7_shows_the_panels_too(
    visit: Visit, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    with Notebook(tmp_path) as server:
        write_notebook(server.work / "seven.ipynb", setup(sim), "ng.Dashboard(gw)")
        visit.page.goto(server.address("seven.ipynb"))
        wait_for_kernel(visit, server, "seven.ipynb")
        visit.complaints.clear()  # Notebook's own, before anything of ours ran
        run_all(visit)
        watch_the_plot(visit)
        visit.page.get_by_role("tab", name="Send an SMS").click()
        send_an_sms(visit, sim)
        visit.picture("notebook-7", ".neogate-dashboard")
        visit.clean()


def test_the_gateway_is_told_goodbye_when_a_page_closes(
    visit: Visit, sim: ng.SimulatedGateway, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = visit.page

    def close_it() -> None:
        expect(page.locator(".neogate-dashboard-connection")).to_contain_text("connected")
        page.goto("about:blank")
        visit.until(lambda: not sim.sessions)

    with dashboard(sim, tmp_path) as board:
        page.goto(board.address)
        close_it()
        page.context.clear_cookies()
        where, secret = board.address.split("?token=")
        page.goto(where)
        page.locator("#password_input").fill(secret)
        page.keyboard.press("Enter")
        close_it()
    assert board.log().splitlines() == [f"Dashboard: {board.address}", "Ctrl-C ends it."]
