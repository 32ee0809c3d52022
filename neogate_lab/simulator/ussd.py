"""The network's side of USSD: answers, deep menus and dialogs; never how long they take.

Every port's SIM knows these codes; ``set_ussd`` changes or adds some.

======== ============================================================================
code     answer
======== ============================================================================
*100#    the balance of the SIM, in the operator's own words and alphabet
*101#    a menu of three levels in GSM text (code 15); ``0`` goes back, ``00`` to its top
*102#    the same in UCS-2 hex (code 72)
*103#    text and m = 2, ended by the network
*104#    m = 3, another client answered
*105#    m = 4, not supported
*106#    m = 5, the network's own time-out
*107#    a good answer after 20 s
*108#    ``0:Send USSD failed``
*109#    no answer at all
*110#    ``0:Sending USSD now``
*111#    UCS-2 hex under code 15
*112#    UCS-2 hex with a language prefix (code 17)
*113#    8-bit data in hex (code 68)
*114#    text under code 0
*115#    an empty answer
others   ``UNKNOWN APPLICATION``, ended by the network
======== ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

from neogate_lab.errors import InvalidRequest
from neogate_lab.simulator.messages import is_gsm
from neogate_lab.simulator.radio import SimCard

Trouble = Literal["", "failed", "timeout", "busy", "never"]
TROUBLES = get_args(Trouble)


@dataclass(frozen=True, slots=True)
class UssdAnswer:
    """What the network answers, and what it would answer next.

    Attributes
    ----------
    text : str
        Shown to the user.
    choices : mapping of str to UssdAnswer
        A menu: what leads to which answer; the dialog stays open.
    responses : int, optional
        +CUSD's m, 0-5 (WIRE §9); by default 1 with choices and 0 without.
    dcs : int, optional
        Data coding scheme; by default 15 if the text is GSM 7-bit, else 72.
    raw : str, optional
        Goes out as the message instead of the encoded text.
    delay : float, optional
        Seconds until it comes, instead of the gateway's usual.
    trouble : {"", "failed", "timeout", "busy", "never"}
        The gateway's own failure line instead of an answer, or none ever.
    """

    text: str = field(default="", repr=False)
    choices: Mapping[str, UssdAnswer] = field(default_factory=dict, repr=False)
    responses: int | None = None
    dcs: int | None = None
    raw: str | None = field(default=None, repr=False)
    delay: float | None = None
    trouble: Trouble = ""

    def __post_init__(self) -> None:
        if self.trouble not in TROUBLES:
            raise InvalidRequest(
                f"trouble {self.trouble!r} is not known: choose from {', '.join(TROUBLES[1:])}"
            )
        if self.responses is not None and self.responses not in range(6):
            raise InvalidRequest(f"responses {self.responses!r}: give +CUSD's m, 0 to 5")

    @property
    def m(self) -> int:
        """+CUSD's m."""
        return self.responses if self.responses is not None else int(bool(self.choices))

    @property
    def coding(self) -> int:
        """The data coding scheme as a number."""
        return self.dcs if self.dcs is not None else (15 if is_gsm(self.text) else 72)

    @property
    def message(self) -> str:
        """The raw message as it stands behind ``USSD Message:``."""
        return self.raw if self.raw is not None else _encode(self.text, self.coding)


Tree: TypeAlias = "str | UssdAnswer | Mapping[str, Tree]"


def answer_from(tree: Tree, *, dcs: int | None, delay: float | None) -> UssdAnswer:
    r"""Make an answer of a text, of an answer, or of a menu as nested dicts.

    A dict's ``""`` is the menu's text, every other key a choice:
    ``{"": "1 Balance\n2 More", "1": "12.50", "2": {"": "1 Tariff", "1": "Basic"}}``.
    """
    if isinstance(tree, UssdAnswer):
        return tree
    if isinstance(tree, str):
        return UssdAnswer(tree, dcs=dcs, delay=delay)
    if isinstance(tree, Mapping) and isinstance(tree.get(""), str):
        branches = {
            key: answer_from(branch, dcs=dcs, delay=delay) for key, branch in tree.items() if key
        }
        return UssdAnswer(str(tree[""]), branches, dcs=dcs, delay=delay)
    raise InvalidRequest(
        "a USSD reply is a text, a UssdAnswer, or a dict with the menu's text under '' and a reply "
        "under each choice"
    )


class Dialog:
    """One SIM's conversation with the network: codes, and the menu that is open now."""

    def __init__(self, sim: SimCard, balance: Callable[[], float]) -> None:
        self._sim, self._balance = sim, balance
        self._codes: dict[str, UssdAnswer] = {}
        self._trail: list[UssdAnswer] = []

    @property
    def open(self) -> bool:
        """Whether a menu waits for an answer."""
        return bool(self._trail)

    def set(self, code: str, answer: UssdAnswer) -> None:
        """Answer `code` like this from now on."""
        self._codes[code] = answer

    def close(self) -> None:
        """Forget the open menu: the network gave up waiting."""
        self._trail.clear()

    def ask(self, text: str) -> UssdAnswer:
        """Take a code, or a choice of the open menu, and return the network's answer."""
        answer = self._choose(text) if self._trail and not _is_code(text) else self._dial(text)
        if answer.m != 1:
            self._trail.clear()
        return answer

    def _dial(self, code: str) -> UssdAnswer:
        self._trail.clear()
        answer = self._codes.get(code) or built_in(code, self._sim, self._balance())
        if answer.m == 1:
            self._trail.append(answer)
        return answer

    def _choose(self, text: str) -> UssdAnswer:
        menu = self._trail[-1]
        if text in menu.choices:
            answer = menu.choices[text]
            self._trail.append(answer)
            return answer
        if text in ("0", "00") and len(self._trail) > 1:
            del self._trail[-1 if text == "0" else 1 :]
            return self._trail[-1]
        return UssdAnswer("Invalid choice", responses=2, dcs=15)


def _is_code(text: str) -> bool:
    return text.startswith(("*", "#")) and text.endswith("#")


def _encode(text: str, dcs: int) -> str:
    """Write `text` under a data coding scheme of 3GPP TS 23.038 §5, as the gateway shows it."""
    if dcs in (72, 17):
        # The prefix is two septets in two octets: "en".
        prefix = "6537" if dcs == 17 else ""
        return prefix + text.encode("utf-16-be", "surrogatepass").hex().upper()
    if dcs == 68:
        return text.encode("latin-1", "replace").hex().upper()
    return text


def _balance(sim: SimCard, balance: float) -> UssdAnswer:
    operator = sim.operator
    if operator.name == "MTS":
        return UssdAnswer(f"Ваш баланс: {balance:.2f}".replace(".", ",") + f" {operator.currency}")
    if operator.name == "CHINA MOBILE":
        return UssdAnswer(f"您的余额为{balance:.2f}{operator.currency}")
    if operator.name == "Telmob":
        return UssdAnswer(f"Votre solde est de {balance:.0f} {operator.currency}.")
    return UssdAnswer(f"Balance: {balance:.2f} {operator.currency}\nSpend it well!")


def _menu(words: tuple[str, ...], sim: SimCard, balance: float, dcs: int) -> UssdAnswer:
    top, tariff, balance_word, extras, roaming, internet, on, back = words

    def leaf(text: str) -> UssdAnswer:
        return UssdAnswer(text, dcs=dcs)

    def switch(name: str) -> UssdAnswer:
        return UssdAnswer(f"{name}\n1 {on}\n0 {back}", {"1": leaf(f"{name}: {on}")}, dcs=dcs)

    more = UssdAnswer(
        f"{extras}\n1 {roaming}\n2 {internet}\n\n0 {back}",
        {"1": switch(roaming), "2": switch(internet)},
        dcs=dcs,
    )
    return UssdAnswer(
        f"{top}\n1 {balance_word}\n2 {tariff}\n3 {extras}",
        {
            "1": leaf(f"{balance_word}: {balance:.2f}"),
            "2": leaf(f"{tariff}: {sim.operator.name} 300"),
            "3": more,
        },
        dcs=dcs,
    )


_GSM_WORDS = ("Welcome", "Tariff", "Balance", "Extras", "Roaming", "Internet", "On", "Back")
_RUSSIAN = ("Меню", "Тариф", "Баланс", "Услуги", "Роуминг", "Интернет", "Включить", "Назад")
_CHINESE = ("欢迎", "套餐", "余额", "业务", "漫游", "上网", "开通", "返回")


def built_in(code: str, sim: SimCard, balance: float) -> UssdAnswer:
    """Return what a SIM answers to a code that nobody set."""
    if code == "*100#":
        return _balance(sim, balance)
    if code == "*101#":
        return _menu(_GSM_WORDS, sim, balance, 15)
    if code == "*102#":
        words = _CHINESE if sim.operator.mcc == "460" else _RUSSIAN
        return _menu(words, sim, balance, 72)
    hidden = UssdAnswer("Баланс 42", dcs=72)
    specials = {
        "*103#": UssdAnswer("Session ended by the network", responses=2),
        "*104#": UssdAnswer(responses=3),
        "*105#": UssdAnswer(responses=4),
        "*106#": UssdAnswer(responses=5),
        "*107#": UssdAnswer("Sorry for the wait", delay=20.0),
        "*108#": UssdAnswer(trouble="failed"),
        "*109#": UssdAnswer(trouble="never"),
        "*110#": UssdAnswer(trouble="busy"),
        "*111#": replace(hidden, dcs=15, raw=hidden.message),
        "*112#": UssdAnswer("Bonus: 5 €", dcs=17),
        "*113#": UssdAnswer("Bonus: 5", dcs=68),
        "*114#": UssdAnswer("Bonus: 5", dcs=0),
        "*115#": UssdAnswer(""),
    }
    return specials.get(code, UssdAnswer("UNKNOWN APPLICATION", responses=2, dcs=15))
