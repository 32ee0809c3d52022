"""The other end of the wire: a simulated gateway; imports nothing of link or history."""

from __future__ import annotations

from neogate_lab.simulator.device import Command
from neogate_lab.simulator.firmware import FIRMWARES
from neogate_lab.simulator.messages import Part
from neogate_lab.simulator.radio import PortTruth
from neogate_lab.simulator.replay import ReplayGateway
from neogate_lab.simulator.server import SimulatedGateway
from neogate_lab.simulator.sms import SentSms
from neogate_lab.simulator.ussd import UssdAnswer

__all__ = [
    "FIRMWARES",
    "Command",
    "Part",
    "PortTruth",
    "ReplayGateway",
    "SentSms",
    "SimulatedGateway",
    "UssdAnswer",
]
