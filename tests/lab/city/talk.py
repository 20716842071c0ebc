"""The city talks: people write to each other, send again under the same id, edit, take back, read and mute; phones register for
pushes and acknowledge what they are shown, but for those in the background; tokens die, and phones register anew.

A phone remembers what its feed has shown, and says at once what can never be: an item that does not follow the one before, a
read mark that sinks, a notification that is told twice. The rest is held against it by `tests.lab.city.talk_books`.
"""

import asyncio
import contextlib
import random
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from tests.lab.city.phone import Phone, Sights

# To so many others somebody writes; of all phones so many are in the background, and acknowledge nothing.
FRIENDS: Final = 4
BACKGROUND: Final = 0.3
# Seconds until a message is looked at, on average; who looks reads the chat, and may answer.
LOOK_S: Final = 2.0
ANSWERS: Final = 0.4
AGAIN: Final = 0.15
# What somebody does with a chat; weights.
ACTS: Final = {"write": 80, "edit": 6, "delete": 6, "mute": 4, "die": 10}
# Behind this a phone whose token has died is opened, and registers anew.
ANEW_S: Final = 15.0
READS: Final = 0.5


class Item(NamedTuple):
    """An item of a chat, as the feed showed it. `counts`: it may be unread, as a talk never is."""

    seq: int
    kind: str
    ref: str
    user: str
    counts: bool


class Thread:
    """A chat on one phone: its items in the order of the feed, the own read mark and the other's, what was taken back."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.read = 0
        self.peer_read = 0
        self.deleted: set[int] = set()

    def unread(self, user: str, kept: int) -> int:
        """A recount, among the newest that a chat remembers."""
        found = [one for one in self.items[-kept:] if one.seq > self.read and one.seq not in self.deleted]
        return sum(one.counts and one.user != user for one in found)


Hasten = Callable[[str], Awaitable[None]]


class Talk:
    """What all phones share: `sent`, who wrote each message to whom, by its id; `said`, what it may say now (None: it was taken
    back); `owners`, whose each token is; `dead`, the tokens that have died. `kill`: tells the vendors of a token's death; None:
    there are no vendors."""

    def __init__(self, sights: Sights, kill: Hasten | None = None) -> None:
        self.sights = sights
        self.counts: Counter[str] = Counter()
        self.said: defaultdict[str, set[str | None]] = defaultdict(set)
        self.sent: dict[str, tuple[str, str]] = {}
        self.owners: dict[str, str] = {}
        self.dead: set[str] = set()
        self.talkers: dict[str, Talker] = {}
        self.kill = kill

    def join(self, phone: Phone, seed: str, *, background: bool | None = None) -> "Talker":
        """A phone that talks. `background`: whether it is in the background; None: by chance."""
        talker = self.talkers[phone.user] = Talker(self, phone, seed)
        talker.background = talker.background if background is None else background
        return talker

    async def evening(self) -> None:
        """All phones are opened: some chats are read, and everything is acknowledged."""
        await asyncio.gather(*(talker.evening() for talker in self.talkers.values()))


class Talker:
    """One phone's chats and notifications."""

    def __init__(self, talk: Talk, phone: Phone, seed: str) -> None:
        self.phone = phone
        self.threads: defaultdict[str, Thread] = defaultdict(Thread)
        self.notified: dict[str, dict[str, Any]] = {}
        self.badge = 0
        self.most_unread = 0
        self.friends: Sequence[Phone] = ()
        self._talk = talk
        self._chance = random.Random(f"{seed}/talk")
        self.background = self._chance.random() < BACKGROUND
        self.apple = self._chance.random() < 0.5
        self._acked: set[str] = set()
        self._over: set[str] = set()
        self._own: list[tuple[str, str]] = []
        self._token = ""
        self._home = False
        self._opened = asyncio.Event()
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what the phone does ---------------------------------------------------------------------------------------------

    async def register(self) -> None:
        """Log in, with tokens."""
        self._token, voip = f"fcm-{uuid.uuid4().hex}", uuid.uuid4().hex * 2 if self.apple else ""
        subscription = str(uuid.uuid4()) if self._chance.random() < 0.5 else ""
        self._talk.owners |= {token: self.phone.user for token in (self._token, voip, subscription) if token}
        body = {"device": f"phone of {self.phone.user}"[:64], "platform": "ios" if self.apple else "android", "locale": "en-GB",
                "push_token": self._token, "voip_token": voip, "onesignal_id": subscription}  # fmt: skip
        await self.phone.ask("POST", "/v1/sessions", body)

    async def act(self) -> None:
        """One thing, with somebody's chat."""
        acts = ACTS if self._own else {"write": 1}
        match self._chance.choices(list(acts), list(acts.values()))[0]:
            case "write":
                await self.write(self._chance.choice(self.friends).user)
            case "edit":
                peer, message = self._chance.choice(self._own)
                await self._change("PUT", peer, message, f"{self._words()}, rather")
            case "delete":
                peer, message = self._own.pop(self._chance.randrange(len(self._own)))
                await self._change("DELETE", peer, message, None)
            case "mute":
                peer, _ = self._chance.choice(self._own)
                await self.phone.ask("PUT", f"/v1/chats/{peer}/mute", {"muted": self._chance.random() < 0.5})
            case "die":
                await self._lose_token()

    async def _change(self, method: str, peer: str, message: str, text: str | None) -> None:
        """Put another text in a message's place, or take it back. One that was refused may have been done before."""
        self._talk.said[message].add(text)
        body = None if text is None else {"text": text}
        if await self.phone.ask(method, f"/v1/chats/{peer}/messages/{message}", body) is not None:
            self._talk.said[message] = {text}

    def _words(self) -> str:
        self._count += 1
        return f"{self.phone.user} says {self._count}"

    async def write(self, peer: str) -> None:
        """A message; now and then it is sent again under its id, and is the same one."""
        text, path = self._words(), f"/v1/chats/{peer}/messages"
        key, sights = f"talk-{self._count}", self._talk.sights
        sights.expect("message", text)
        answer = await self.phone.ask("POST", path, {"text": text}, key)
        if answer is None:
            sights.forget("message", text)
            return
        sent = answer.json()
        self._talk.said[sent["message"]].add(text)
        self._talk.sent[sent["message"]] = self.phone.user, peer
        self._talk.counts["messages"] += 1
        self._own.append((peer, sent["message"]))
        if self._chance.random() < AGAIN:
            again = await self.phone.ask("POST", path, {"text": text}, key)
            self._talk.counts["sent again"] += 1
            if again is not None and again.json() != sent:
                sights.wrong(f"{self.phone.user} sent {key} again: {again.json()}, before {sent}")

    async def read(self, peer: str) -> None:
        """Up to the newest item."""
        if items := self.threads[peer].items:
            await self.phone.ask("PUT", f"/v1/chats/{peer}/read", {"seq": items[-1].seq})

    async def _look(self, peer: str) -> None:
        await asyncio.sleep(self._chance.expovariate(1 / LOOK_S))
        if self._home or self.background or not self.phone.online.is_set():
            return
        await self.read(peer)
        if self._chance.random() < ANSWERS:
            await self.write(peer)

    async def _lose_token(self) -> None:
        """The app was installed anew: what was its token is none; it registers anew when it is opened."""
        token = self._token
        if self._talk.kill is None or token in self._talk.dead:
            return
        self._talk.dead.add(token)
        await self._talk.kill(token)
        self._soon(self._anew())

    async def _anew(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._opened.wait(), ANEW_S)
        await self.register()

    async def _ack(self, name: str) -> None:
        if name not in self._acked and name not in self._over:
            self._acked.add(name)
            await self.phone.ask("POST", f"/v1/notifications/{name}/ack")

    async def evening(self) -> None:
        """The phone is opened: some of its chats are read, everything is acknowledged."""
        self._home, self.background = True, False
        self._opened.set()
        await asyncio.gather(*self._tasks)
        for peer in list(self.threads):
            if self._chance.random() < READS:
                await self.read(peer)
        for name in list(self.notified):
            await self._ack(name)

    def _soon(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what the phone sees ---------------------------------------------------------------------------------------------

    def heard(self, type_: str, event: dict[str, Any]) -> None:
        """One event of the feed."""
        match type_:
            case "ItemPosted":
                self._item(event)
            case "ChatRead":
                self._read(event)
            case "MessageDeleted":
                self.threads[self._other(event["sender"], event["receiver"])].deleted.add(event["seq"])
            case "BadgeChanged":
                self.badge = event["unread"]
            case "Notified":
                self._notified(event)
            case "NotificationRead" | "NotificationWithdrawn":
                self._over.add(event["notification"])

    def _other(self, one: str, other: str) -> str:
        return other if one == self.phone.user else one

    def _item(self, event: dict[str, Any]) -> None:
        peer = self._other(event["user"], event["peer"])
        items, kind = self.threads[peer].items, event.get("kind", "message")
        item = Item(event["seq"], kind, event["ref"], event["user"], kind != "call" or not event.get("connected"))
        if item.seq != len(items) + 1:
            self._talk.sights.wrong(f"{self.phone.user} was shown item {item.seq} of {peer} behind {len(items)}")
        items.append(item)
        self._talk.counts["items seen"] += 1
        if item.user != self.phone.user and kind == "message":
            self._talk.sights.saw("message", event.get("text", ""))
            if not self._home:
                self._soon(self._look(peer))

    def _read(self, event: dict[str, Any]) -> None:
        mine = event["user"] == self.phone.user
        one, _, other = event["pair"].partition("/")
        thread, seq = self.threads[self._other(one, other)], event["seq"]
        if seq < (thread.read if mine else thread.peer_read):
            self._talk.sights.wrong(f"{self.phone.user} was shown a read mark that sinks to {seq}: {event['pair']}")
        if mine:
            thread.read = seq
        else:
            thread.peer_read = seq

    def _notified(self, event: dict[str, Any]) -> None:
        name = event["notification"]
        if name in self.notified:
            self._talk.sights.wrong(f"{self.phone.user} was told {name} twice")
        self.notified[name] = event
        self.most_unread = max(self.most_unread, event.get("unread", 0))
        if not self.background:
            self._soon(self._ack(name))
