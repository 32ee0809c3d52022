"""Both panels in JupyterLab, in a real browser: typed, pressed, looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.lab import Lab, browse, chromium, open_notebook, run_all, write_notebook

HOSTILE = r"<script>window.hit=1</script><img src=x onerror='window.hit=1'> $\alpha$ \(x\)"

SETUP = f"""import neogate_lab as ng
gw = ng.demo()
hostile = {HOSTILE!r}
gw.simulator.set_ussd(None, "*121#", {{"": hostile + "\\n1 " + hostile, "1": hostile}})"""


@pytest.mark.timeout(180)
def test_an_sms_is_sent_and_a_menu_walked_in_the_browser(tmp_path: Path) -> None:
    executable = chromium()
    from playwright.sync_api import expect

    with Lab(tmp_path) as lab, browse(executable) as visit:
        write_notebook(lab.work / "panels.ipynb", SETUP, "ng.ComposePanel(gw)", "ng.UssdPanel(gw)")
        open_notebook(visit, lab, "panels.ipynb")
        run_all(visit)
        page = visit.page

        compose = page.locator(".neogate-compose")
        expect(compose.locator(".neogate-compose-port select")).to_contain_text("1: Up")
        compose.locator(".neogate-compose-to input").fill("+79261234567")
        compose.locator(".neogate-compose-text textarea").fill(HOSTILE)
        page.keyboard.press("Tab")
        expect(compose.locator(".neogate-compose-counter")).to_contain_text("GSM-7 · 1 segment")
        visit.picture("compose-written", ".neogate-compose")
        compose.locator(".neogate-compose-send").click()
        expect(compose.locator(".neogate-compose-status")).to_contain_text("sent")
        expect(compose.locator(".neogate-compose-history")).to_contain_text(HOSTILE)
        visit.picture("compose-sent", ".neogate-compose")

        ussd = page.locator(".neogate-ussd")
        choices = ussd.locator(".neogate-ussd-choices button")
        answer = ussd.locator(".neogate-ussd-answer")

        def dial(code: str) -> None:
            ussd.locator(".neogate-ussd-code input").fill(code)
            page.keyboard.press("Tab")
            ussd.locator(".neogate-ussd-send").click()

        expect(ussd.locator(".neogate-ussd-reply input")).to_be_hidden()
        dial("*102#")
        expect(choices).to_have_count(3)
        expect(answer).to_contain_text("Меню")
        visit.picture("ussd-menu", ".neogate-ussd")
        choices.nth(2).click()
        expect(answer).to_contain_text("Роуминг")
        ussd.locator(".neogate-ussd-reply input").fill("2")
        page.keyboard.press("Tab")
        ussd.locator(".neogate-ussd-reply-send").click()
        expect(choices.first).to_contain_text("Включить")
        choices.first.click()
        expect(ussd.locator(".neogate-ussd-status")).to_contain_text("answered")
        expect(ussd.locator(".neogate-ussd-reply input")).to_be_hidden()
        expect(answer).to_contain_text("Интернет: Включить")
        visit.picture("ussd-walked", ".neogate-ussd")

        dial("*121#")
        expect(choices.first).to_contain_text(HOSTILE)
        expect(answer).to_contain_text(HOSTILE)
        choices.first.click()
        expect(ussd.locator(".neogate-ussd-status")).to_contain_text("answered")
        expect(ussd.locator(".neogate-ussd-transcript")).to_contain_text(HOSTILE)
        assert page.evaluate("window.hit") is None
        assert page.locator("mjx-container, .MathJax").count() == 0

        visit.picture("panels-light", ".jp-Notebook")
        dark = "'apputils:change-theme', {theme: 'JupyterLab Dark'}"
        page.evaluate(f"window.jupyterapp.commands.execute({dark})")
        expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
        expect(page.locator("#jupyterlab-splash")).to_have_count(0)
        visit.picture("panels-dark", ".jp-Notebook")
        assert visit.complaints == []
        assert visit.strays == []
