"""A phone in Python: it signs up, reads its balance and follows its feed, and goes on after a break where it was."""

import sys
import time
from collections.abc import Iterator

import httpx
from httpx_sse import ServerSentEvent, connect_sse
from olo_client import AuthenticatedClient
from olo_client.api.balance import read_balance
from olo_client.api.users import sign_up
from olo_client.models import BalanceAnswer, EntryRecorded, SignUpBody, UserAnswer

url, token = sys.argv[1:]
olo = AuthenticatedClient(base_url=url, token=token)


class Feed:
    """One's own feed, from a cursor on."""

    def __init__(self, cursor: str) -> None:
        self.cursor, self.retry_s = cursor, 1.0
        self.http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=httpx.Timeout(5, read=60))

    def events(self) -> Iterator[ServerSentEvent]:
        """Everything behind the cursor, and then whatever comes; connects again by itself."""
        while True:
            try:
                with connect_sse(self.http, "GET", f"{url}/v1/feed", headers={"Last-Event-ID": self.cursor}) as stream:
                    stream.response.raise_for_status()
                    for event in stream.iter_sse():
                        self.cursor = event.id or self.cursor
                        self.retry_s = event.retry / 1000 if event.retry else self.retry_s
                        yield event
            except httpx.HTTPStatusError as error:
                if error.response.status_code < 500 and error.response.status_code != 429:
                    raise
            except httpx.TransportError:
                pass
            time.sleep(self.retry_s)


signed_up = sign_up.sync(client=olo, body=SignUpBody(platform="desktop", country="DE"))
assert isinstance(signed_up, UserAnswer), signed_up

balance = read_balance.sync(client=olo)
assert isinstance(balance, BalanceAnswer), balance
print("balance", balance.available_coins, flush=True)

feed = Feed(balance.cursor or "")


def next_entry() -> EntryRecorded:
    """The next line of the book."""
    for event in feed.events():
        if event.event == "ready":
            print("ready", flush=True)
        if event.event == "gap":
            print("gap", flush=True)  # too long away: read balances and calls anew
        if event.event == "EntryRecorded":
            return EntryRecorded.from_dict(event.json())
    raise AssertionError("the feed has no end")


print("entry", next_entry().coins, flush=True)
input()  # away, until somebody presses Enter
print("entry", next_entry().coins, flush=True)
