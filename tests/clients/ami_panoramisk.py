"""Drives panoramisk: log in, look, send, receive; prints what it saw as one line of JSON."""

import asyncio
import json
import sys

from panoramisk import Manager


async def main(host: str, port: str, username: str, secret: str) -> None:
    seen = {"events": []}
    enough = asyncio.Event()
    manager = Manager(
        host=host,
        port=int(port),
        username=username,
        secret=secret,
        loop=asyncio.get_running_loop(),
    )

    def on_event(manager, event):
        seen["events"].append(
            {
                "event": event.event,
                "id": event["ID"],
                "status": event.status,
                "span": event.gsmspan,
                "sender": event.sender,
                # Its messages have a body of that name, so the header can't be read.
                "content": None,
            }
        )
        if len(seen["events"]) == 2:
            enough.set()

    manager.register_event("*SMS*", on_event)
    await manager.connect()
    # The first turn of the loop after connecting sends the login.
    await asyncio.sleep(0)
    await manager.authenticated_future
    await asyncio.sleep(0)
    seen["login"] = manager.authenticated
    if manager.authenticated:
        spans = await command(manager, "gsm show spans")
        seen["spans"] = "\n".join(str(line) for line in spans.content.splitlines())
        sent = await command(manager, 'gsm send sms 2 +79001234567 "from%20panoramisk" pano-1')
        seen["send"] = sent.response
        await enough.wait()
        manager.send_action({"Action": "Logoff"})
    manager.close()
    print(json.dumps(seen))


async def command(manager, text):
    return await manager.send_action({"Action": "SMSCommand", "command": text})


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
