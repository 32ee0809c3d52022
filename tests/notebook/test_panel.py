"""What holds for every panel: ports, messages, life, and a stranger's text."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from datetime import UTC, datetime

import ipywidgets as widgets
import pytest

import neogate_lab as ng
from neogate_lab.notebook import panel as panel_module
from neogate_lab.notebook.panel import Panel, as_html, clock_time
from tests.support import eventually

PANELS = [ng.ComposePanel, ng.UssdPanel]
EVERY = [*PANELS, ng.InboxPanel, ng.SignalPanel]
each_panel = pytest.mark.parametrize("make", PANELS)
every_panel = pytest.mark.parametrize("make", EVERY)


@each_panel
def test_the_ports_are_asked_for_without_waiting(
    make: type[Panel], gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.freeze()
    panel = make(gw)  # with a frozen gateway this would hang if it waited
    assert panel.port_field.value is None
    sim.thaw()
    eventually(lambda: len(panel.port_field.options) == 4)
    assert panel.port_field.options[3] == ("4: Undetected SIM Card", 4)
    assert panel.port_field.value == 1


def test_the_first_port_is_one_that_works(gw: ng.Gateway, sim: ng.SimulatedGateway) -> None:
    sim.remove_sim(1)
    panel = ng.ComposePanel(gw)
    eventually(lambda: panel.port_field.value is not None)
    assert panel.port_field.value == 2


def test_the_port_asked_for_is_chosen(gw: ng.Gateway) -> None:
    panel = ng.ComposePanel(gw, port=3)
    assert panel.port_field.value == 3
    eventually(lambda: len(panel.port_field.options) == 4)
    assert panel.port_field.value == 3


def test_a_port_that_does_not_exist_is_named_with_those_that_do(
    gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unknown:
        unknown.setattr(ng.Gateway, "ports", [])
        panel = ng.ComposePanel(gw, port=9)
    eventually(lambda: "lab has no port 9; it has 1, 2, 3, 4" in panel.status_line.value)
    assert panel.port_field.value is None
    panel.to_field.value, panel.text_field.value = "+79001", "x"
    panel.send_button.click()
    assert "choose one in the list" in panel.status_line.value
    with pytest.raises(ng.InvalidRequest, match="lab has no port 9; it has 1-4"):
        ng.ComposePanel(gw, port=9)  # now that they are known


def test_ports_that_could_not_be_asked_for_can_be_asked_for_again(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.refuse_logins()
    sim.drop_connections()
    eventually(lambda: gw.status != "connected")
    panel = ng.ComposePanel(gw)
    eventually(lambda: "error:" in panel.status_line.value)
    panel.send_button.click()
    assert "the ports are not known yet: press Refresh" in panel.status_line.value
    sim.accept_logins()

    def press_until_known() -> bool:
        gw.reconnect()
        panel.refresh_button.click()
        return panel.port_field.value == 1

    eventually(press_until_known)
    eventually(lambda: panel.status_line.value == "")


@every_panel
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"colour": "red"}, "knows no colour; it takes a gateway"),
        ({"port": "1"}, "port must be a whole number from 1, not '1'"),
        ({"port": True}, "port must be a whole number from 1, not True"),
    ],
)
def test_what_can_not_be_used_is_refused(
    make: type[Panel], arguments: dict[str, object], words: str, gw: ng.Gateway
) -> None:
    with pytest.raises(ng.InvalidRequest, match=words.replace("?", r"\?")):
        make(gw, **arguments)


@every_panel
def test_only_a_gateway_of_connect_will_do(make: type[Panel]) -> None:
    with pytest.raises(ng.InvalidRequest, match=r"connect\(\) or demo\(\), not str"):
        make("192.168.5.150")


@pytest.mark.parametrize("make", [*EVERY, ng.Dashboard])
def test_a_closed_gateway_says_so_by_itself(make: type[Panel], gw: ng.Gateway) -> None:
    panel = make(gw)
    gw.close()
    eventually(lambda: "lab was closed; connect again" in panel.status_line.value)
    late = make(gw)
    eventually(lambda: "lab was closed; connect again" in late.status_line.value)


@each_panel
def test_on_a_closed_gateway_a_press_is_answered(make: type[Panel], gw: ng.Gateway) -> None:
    panel = make(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    gw.close()
    panel.send_button.click()
    eventually(lambda: "lab was closed; connect again" in panel.status_line.value)
    eventually(lambda: not panel.send_button.disabled)
    panel.send_button.click()
    eventually(lambda: not panel.send_button.disabled)
    assert panel.status_line.value.count("lab was closed; connect again") == 1


@each_panel
def test_running_a_cell_again_retires_the_earlier_panel(make: type[Panel], gw: ng.Gateway) -> None:
    first, other_port = make(gw), make(gw, port=2)
    second = make(gw)
    assert "use the newer one" in first.status_line.value
    assert first.send_button.disabled
    before = first.status_line.value
    eventually(
        lambda: len(second.port_field.options) == 4 and len(other_port.port_field.options) == 4
    )
    first.send_button.click()
    assert first.status_line.value == before
    assert not second.send_button.disabled
    assert not other_port.send_button.disabled


@each_panel
def test_a_panel_of_another_gateway_stays(
    make: type[Panel], gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    with ng.demo() as other:
        mine, theirs = make(gw), make(other)
        eventually(lambda: mine.port_field.value and theirs.port_field.value)
        assert not mine.send_button.disabled
        assert not theirs.send_button.disabled


@every_panel
def test_closing_takes_every_widget_out(make: type[Panel], gw: ng.Gateway) -> None:
    before = set(widgets.Widget.get_manager_state()["state"])
    panel = make(gw)
    eventually(lambda: panel.port_field.value is not None)
    panel.close()
    panel.close()
    gc.collect()
    left = widgets.Widget.get_manager_state()["state"]
    assert {state["model_name"] for key, state in left.items() if key not in before} <= {
        "LayoutModel",  # ipywidgets itself leaves layouts and styles
        "ButtonStyleModel",
        "CheckboxStyleModel",
        "DescriptionStyleModel",
        "HTMLStyleModel",
        "TextStyleModel",
    }


@every_panel
def test_a_button_that_can_not_be_pressed_keeps_the_focus(
    make: type[Panel], gw: ng.Gateway
) -> None:
    button = make(gw).refresh_button
    eventually(lambda: not button.disabled)
    button.disabled = True
    assert "disabled" not in button.get_state()  # which would drop it
    assert "neogate-off" in button._dom_classes
    button.disabled = False
    assert "neogate-off" not in button._dom_classes


def press_on_the_page(button: widgets.Button) -> None:
    button._handle_custom_msg({"event": "click"}, [])


def answer(panel: Panel, number: int, **values: str) -> None:
    """As a page does, each field in a message of its own."""
    for field in panel._fields:
        value = values.get(field.description)
        field.set_state({"answered": number} | ({} if value is None else {"value": value}))


@every_panel
def test_a_page_that_comes_is_told_what_it_missed_but_not_what_is_typed(
    make: type[Panel], gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make(gw)
    eventually(panel._known.is_set)
    told: dict[widgets.Widget, set[str]] = {}
    monkeypatch.setattr(
        widgets.Widget, "send_state", lambda widget, key=None: told.update({widget: set(key or ())})
    )
    hello = next(child for child in panel.children if "neogate-hello" in child._dom_classes)
    press_on_the_page(hello)
    assert "value" in told[panel.status_line]
    assert "_options_labels" in told[panel.port_field]
    assert panel.port_field.layout in told
    assert "_dom_classes" in told[panel.refresh_button]
    assert not any({"value", "answered"} & told[field] for field in panel._fields)


@pytest.fixture
def typing(gw: ng.Gateway) -> ng.ComposePanel:
    """On a page that is open, with a text of which the page holds back the rest."""
    panel = ng.ComposePanel(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)
    answer(panel, panel.asked, To="+79261234567", Text="Dear f")
    return panel


def test_a_press_waits_for_what_was_typed_before_it(
    typing: ng.ComposePanel, sim: ng.SimulatedGateway
) -> None:
    before = typing.asked
    press_on_the_page(typing.send_button)
    press_on_the_page(typing.send_button)  # impatient
    assert typing.asked == before + 1  # a held Enter must not put off the answer for ever
    assert "for what was typed last" in typing.status_line.value
    assert not typing.send_button.disabled
    typing.to_field.set_state({"answered": typing.asked})
    assert not typing.send_button.disabled
    answer(typing, typing.asked, Text="Dear friend")
    assert typing.send_button.disabled
    eventually(lambda: "<bdi>sent</bdi>" in typing.status_line.value and not typing._busy)
    answer(typing, typing.asked)  # another page that shows it, too
    assert not typing._busy
    assert [sms.text for sms in sim.sent] == ["Dear friend"]


def test_more_than_was_agreed_to_is_not_sent(
    typing: ng.ComposePanel, sim: ng.SimulatedGateway
) -> None:
    answer(typing, typing.asked, Text="a" * 600)
    press_on_the_page(typing.send_button)
    answer(typing, typing.asked)
    assert "Send it?" in typing.status_line.value
    press_on_the_page(typing.confirm_button)
    answer(typing, typing.asked, Text="a" * 700)  # the last letters come with the answer
    assert not typing._busy
    assert sim.sent == []


def test_a_press_on_a_page_that_answers_nothing_acts_at_once(
    gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    panel = ng.ComposePanel(gw, port=1)
    panel.to_field.value, panel.text_field.value = "+79261234567", "all there"
    press_on_the_page(panel.send_button)
    eventually(lambda: [sms.text for sms in sim.sent] == ["all there"])


def test_a_press_whose_page_comes_back_much_later_does_nothing(
    typing: ng.ComposePanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_on_the_page(typing.send_button)
    monkeypatch.setattr(panel_module, "_STALE", 0.0)
    answer(typing, typing.asked)
    assert "press it again" in typing.status_line.value
    assert not typing._busy


def test_a_press_whose_page_never_comes_back_does_not_hold_the_button(
    typing: ng.ComposePanel, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_on_the_page(typing.send_button)
    with monkeypatch.context() as patch:
        patch.setattr(panel_module, "_STALE", 0.0)
        first = typing.asked
        press_on_the_page(typing.send_button)  # on another page, much later
    assert typing.asked == first + 1
    answer(typing, first)
    assert not typing._busy
    answer(typing, typing.asked)
    eventually(lambda: [sms.text for sms in sim.sent] == ["Dear f"])


def test_a_press_whose_page_never_answers_is_told_as_not_done(
    typing: ng.ComposePanel, sim: ng.SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_module, "_STALE", 0.1)
    press_on_the_page(typing.send_button)
    eventually(lambda: "the page did not answer" in typing.status_line.value)
    answer(typing, typing.asked)
    assert not typing._busy
    assert sim.sent == []


def test_a_press_that_waits_for_its_page_tells_that_the_gateway_was_closed(
    typing: ng.ComposePanel, gw: ng.Gateway
) -> None:
    press_on_the_page(typing.send_button)
    gw.close()
    eventually(lambda: "was closed; connect again" in typing.status_line.value)
    assert typing._held == {}


def test_a_press_whose_panel_was_closed_meanwhile_does_nothing(
    typing: ng.ComposePanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_on_the_page(typing.send_button)
    typing.retire()
    monkeypatch.setattr(panel_module, "_STALE", 0.0)  # nor does it ask for another press
    answer(typing, typing.asked)
    assert "This panel was closed" in typing.status_line.value
    assert not typing._busy


@each_panel
def test_a_failing_callback_is_shown(
    make: type[Panel], gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make(gw, port=1)
    eventually(lambda: len(panel.port_field.options) == 4)

    def broken(*_: object) -> None:
        raise RuntimeError("out of <luck>")

    monkeypatch.setattr(gw, "_post", broken)
    panel.refresh_button.click()
    assert "RuntimeError: out of &lt;luck&gt;" in panel.status_line.value


@every_panel
def test_the_repr_shows_nothing_personal(make: type[Panel], gw: ng.Gateway) -> None:
    panel = make(gw)
    for field in ("to_field", "text_field", "code_field"):
        if hasattr(panel, field):
            getattr(panel, field).value = "+79261234567"
    assert repr(panel) == f"<{make.__name__} of lab>"


@pytest.mark.parametrize("kind", [Panel, ng.Dashboard, *EVERY])
def test_no_name_of_ipywidgets_is_taken_by_accident(kind: type[Panel]) -> None:
    machinery = set(vars(type("Plain", (widgets.VBox,), {})))
    ours = {name for name in vars(kind) if not name.startswith("__")} - machinery
    assert ours & set(dir(widgets.VBox)) <= {"close", "_repr_mimebundle_"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<img src=x onerror='a()'>", "&lt;img src=x onerror=&#x27;a()&#x27;&gt;"),
        ('" onclick="', "&quot; onclick=&quot;"),
        (r"$\alpha$", r"$\alpha$"),
        ("\x1b[31mred\x00\x7f\x9b", "␛[31mred␀␡\ufffd"),
        ("a\tb\nc", "a\tb\nc"),
        ("\ud800", "\ufffd"),
        ("‮evil", "‮evil"),
    ],
)
def test_a_strangers_text_is_only_text(text: str, shown: str) -> None:
    assert as_html(text) == f"<bdi>{shown}</bdi>"


def test_times_are_those_of_the_tables_wherever_the_kernel_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert clock_time(datetime(2026, 11, 20, 23, 5, 7, tzinfo=UTC)) == "23:05:07"
    finally:
        monkeypatch.undo()
        time.tzset()


@every_panel
def test_only_html_widgets_that_know_no_tex_are_used(make: type[Panel], gw: ng.Gateway) -> None:
    def inside(widget: widgets.Widget) -> list[widgets.Widget]:
        children = getattr(widget, "children", ())
        return [widget, *itertools.chain.from_iterable(map(inside, children))]

    # Label and HTMLMath hand their text to MathJax.
    assert not {type(widget) for widget in inside(make(gw))} & {widgets.Label, widgets.HTMLMath}


@every_panel
def test_operator_signal_and_state_stand_beside_each_port(
    make: type[Panel], gw: ng.Gateway, sim: ng.SimulatedGateway
) -> None:
    sim.set_signal(1, 20)
    panel = make(gw)

    def first() -> str:
        return next((label for label, port in panel.port_field.options if port == 1), "")

    eventually(lambda: first().startswith("1: Up · −73 dBm, good · "))


@each_panel
def test_where_no_widget_can_be_shown_the_ports_are(make: type[Panel], gw: ng.Gateway) -> None:
    panel = make(gw)
    eventually(panel._known.is_set)
    shown = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "need a front end with widgets" in shown["text/plain"]
    assert "Undetected SIM Card" in shown["text/html"]
    assert "gw." in shown["text/html"]


def test_a_cell_that_is_edited_and_run_again_leaves_no_panel_behind(
    gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = iter([("one", "1"), ("one", "1"), ("two", "2"), ("one", "3")])
    monkeypatch.setattr(panel_module, "_cell", lambda: next(runs))
    both = [ng.UssdPanel(gw, port=1), ng.UssdPanel(gw, port=2)]
    other = ng.UssdPanel(gw, port=3)
    assert not any(each._retired for each in both)
    edited = ng.UssdPanel(gw, port=4)
    assert all(each._retired for each in both)
    assert not any(each._retired for each in (other, edited))


def test_what_a_look_could_not_see_is_taken_back_when_it_can(
    gw: ng.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_module, "_AFTER_ERROR", 0.05)
    looks = iter([RuntimeError("once")])

    ready = threading.Event()

    def look(self: ng.UssdPanel) -> float:
        ready.wait(10)
        for error in looks:
            raise error
        return 0.05

    monkeypatch.setattr(ng.UssdPanel, "_look", look)
    said: list[str] = []
    shown = ng.UssdPanel(gw, port=1)
    shown.status_line.observe(lambda change: said.append(change["new"]), "value")
    ready.set()
    eventually(lambda: said and said[-1] == "")
    assert "RuntimeError: once" in said[-2]
