"""SMS that come in by themselves: strangers' texts of every kind; never an answer to anything."""

from __future__ import annotations

import asyncio
import random

from neogate_lab.simulator.device import Device

SENDERS = ("+79001234567", "10086", "MegaFon", "+8613800138000", "900")
TEXTS = (
    "Ok",
    "Your code is 4821. Tell it to nobody.",
    "Ваш баланс близок к нулю",
    "您的验证码是 735 204，五分钟内有效。",
    "See you at the antenna 📡👍",
    "=HYPERLINK(1) <b>bold</b> 100% + tax & more\nsecond line",
    "Long news about the weather on the mast, the roof and the hill behind it. " * 4,
    "Длинное сообщение, которое не помещается в одну часть и приходит по кускам. " * 2,
)


async def incoming(device: Device, seed: int, every: float) -> None:
    """Hand over a text now and then, `every` real seconds on average, until cancelled."""
    rng = random.Random(f"{seed}/traffic")  # noqa: S311
    while True:
        await asyncio.sleep(rng.expovariate(1.0 / every))
        port = rng.choice(device.radio.ports)
        sender, text = rng.choice(SENDERS), rng.choice(TEXTS)
        device.catch_up()
        if device.radio.truth(port).registered:
            device.sms.receive(port, sender, text, gap=0.2)
