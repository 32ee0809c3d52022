"""Drives asterisk-ami: log in, look, send, receive; prints what it saw as one line of JSON."""

import json
import sys
import threading

from asterisk.ami import AMIClient, SimpleAction


def main(host: str, port: str, username: str, secret: str) -> None:
    seen = {"events": []}
    enough = threading.Event()
    client = AMIClient(address=host, port=int(port), timeout=10)

    def on_event(event, **kwargs):
        keys = {name.lower(): value for name, value in event.keys.items()}
        seen["events"].append(
            {
                "event": event.name,
                "id": keys.get("id"),
                "status": keys.get("status"),
                "span": keys.get("gsmspan"),
                "sender": keys.get("sender"),
                "content": keys.get("content"),
            }
        )
        if len(seen["events"]) == 2:
            enough.set()

    client.add_event_listener(on_event)
    login = client.login(username=username, secret=secret).response
    seen["login"] = not login.is_error()
    if seen["login"]:
        spans = command(client, "gsm show spans")
        seen["spans"] = "\n".join(spans.follows)
        sent = command(client, 'gsm send sms 2 +79001234567 "from%20asterisk-ami" aami-1')
        seen["send"] = sent.status
        assert enough.wait(20)
        client.logoff()
    print(json.dumps(seen))


def command(client, text):
    return client.send_action(SimpleAction("SMSCommand", Command=text)).response


main(*sys.argv[1:])
