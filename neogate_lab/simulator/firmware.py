"""How the firmware variants differ on the wire, as data; never how they are served."""

from __future__ import annotations

from dataclasses import dataclass, replace

from neogate_lab.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Firmware:
    """One variant; the defaults are those of the TG200 of 2019.

    Attributes
    ----------
    echo_action_id : bool
        Whether replies carry the client's ActionID (WIRE §2).
    sentinel : bool
        Whether SMS events end in ``--END SMS EVENT--`` (WIRE §8).
    first_index, single_index : int
        ``Index`` of the first part of a long SMS, and of an SMS of one part.
    """

    name: str
    banner: str = "Asterisk Call Manager/1.1"
    echo_action_id: bool = True
    sentinel: bool = True
    span_header: str = "GsmSpan"
    first_index: int = 1
    single_index: int = 1
    manual_reference: bool = False  # long SMS: E9510086 instead of 244
    detail_words: tuple[str, ...] = ("gsm", "show", "span")
    provisioned: bool = True
    cband: bool = True
    ber: bool = True
    statistics: bool = False  # PDD, ASR, ACD
    own_number: bool = False
    manufacturer: str = "SIMCOM_Ltd"
    model: str = "SIMCOM_SIM900"
    revision: str = "1137B13SIM900M64_ST"
    misspelt_ussd: bool = False
    timeout_errno: bool = False  # "(110)" behind a USSD time-out
    output_headers: bool = False
    fully_booted: bool = False


_BASE = Firmware("tg200")
FIRMWARES = {
    variant.name: variant
    for variant in (
        _BASE,
        replace(
            _BASE,
            name="v3",
            provisioned=False,
            single_index=0,
            cband=False,
            statistics=True,
            timeout_errno=True,
            manufacturer="",
            model="UC15",
            revision="UC15EQAR02A09E2G",
        ),
        replace(
            _BASE,
            name="tg400",
            misspelt_ussd=True,
            ber=False,
            own_number=True,
            model="SIMCOM_SIM800",
            revision="Revision:1116B01SIM800M32",
        ),
        replace(
            _BASE,
            name="manual2013",
            echo_action_id=False,
            sentinel=False,
            span_header="GsmPort",
            manual_reference=True,
            detail_words=("gsm", "show"),
            ber=False,
        ),
        replace(
            _BASE,
            name="ami5",
            banner="Asterisk Call Manager/5.0.2",
            output_headers=True,
            fully_booted=True,
            manufacturer="Quectel_M35",
            model="",
            revision="M35FAR01A07",
        ),
    )
}


def choose(name: str, **knobs: bool | int | None) -> Firmware:
    """Return the variant `name`, with those fields changed that are not None.

    Raises
    ------
    InvalidRequest
        No such variant; the message names those that exist.
    """
    if name not in FIRMWARES:
        raise InvalidRequest(f"firmware {name!r} is not known: choose from {', '.join(FIRMWARES)}")
    changes = {field: value for field, value in knobs.items() if value is not None}
    return replace(FIRMWARES[name], **changes)  # type: ignore[arg-type]
