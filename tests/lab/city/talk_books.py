"""The books of the city's talk: what phones saw, held against the chats that HTTP answers, unread counts, badges, the
warehouse's notifications and pushes, and the vendors' stand-ins; each difference is named.

Laws: a chat's pages are what both phones saw, in its order, and each message is there once, as its sender left it; unread is a
recount, and the badge the sum; a notification is told once, and on the feed; a push names why, is decided once, and behind no
acknowledgement, reading or withdrawal; a phone takes an occurrence once, and the vendor that is said to have taken it did.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx
from clickhouse_connect.driver.client import Client

from infra.clickhouse import connect
from schemas.chat import KEPT
from tests.lab.city.phone import Phone
from tests.lab.city.talk import Talk, Talker

# For so long what is under way may take to come to its end: pushes that vendors have failed are tried again.
PATIENCE_S: Final = 90.0
AT_ONCE: Final = 8
SHOWN: Final = 5
OVER: Final = frozenset({"NotificationAcked", "NotificationRead", "NotificationWithdrawn"})
STEPS: Final = """SELECT user, notification, kind, step, reason, no_push, phones FROM notification_steps FINAL
WHERE startsWith(user, {city:String}) ORDER BY partition, offset"""
OUTCOMES: Final = """SELECT user, occurrence, device, channel, outcome, reason, provider FROM push_outcomes FINAL
WHERE startsWith(user, {city:String})"""


class Step(NamedTuple):
    """A row of `notification_steps`."""

    user: str
    notification: str
    kind: str
    step: str
    reason: str = ""
    no_push: str = ""
    phones: int = 0


class Outcome(NamedTuple):
    """A row of `push_outcomes`."""

    user: str
    occurrence: str
    device: str
    channel: str
    outcome: str
    reason: str = ""
    provider: str = ""


class TalkBooks:
    """The audit: `broken` laws, and the sums. `city`: how its people's names begin; `vendors`: the stand-ins' URL, or none.
    `unheard`: so many answers of vendors may have come to a process that had just died."""

    def __init__(
        self, talk: Talk, city: str, clickhouse: str, client: httpx.AsyncClient, vendors: str, *, unheard: int = 0
    ) -> None:
        self.broken: list[str] = []
        self.sums: Counter[str] = Counter()
        self._talk = talk
        self._city = city
        self._clickhouse = clickhouse
        self._client = client
        self._vendors = vendors
        self._unheard = unheard

    async def close(self) -> None:
        """Wait until nothing is under way, then compare. All phones are opened, and nobody writes any more."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def settled(talker: Talker) -> list[str]:
            async with gate:
                return await _settled(self._talk, talker)

        for found in await asyncio.gather(*map(settled, self._talk.talkers.values())):
            self.broken += found
        for message, (user, peer) in self._talk.sent.items():
            if all(item.ref != message for item in self._talk.talkers[user].threads[peer].items):
                self.broken.append(f"{user} was told that {message} is sent to {peer}, and it is not there")
        await self._pushes()
        self.sums.update(self._talk.counts)

    async def _pushes(self) -> None:
        client = await asyncio.to_thread(connect, self._clickhouse)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            steps, outcomes = await asyncio.to_thread(self._rows, client)
            received = await self._received()
            left = [*unfinished(steps, outcomes, received["taken"]), *self._unseen(steps)]
            if not left or time.monotonic() > deadline:
                break
            await asyncio.sleep(1)
        self.broken += left[:SHOWN]
        self.broken += push_laws(steps, outcomes)[:SHOWN]
        decided = [step.reason for step in steps if step.step == "PushDecided"]
        self.sums.update(notifications=sum(step.step == "Notified" for step in steps), pushes=len(decided), **Counter(decided))
        self.sums.update(Counter(one.outcome for one in outcomes))
        if self._vendors:
            self.broken += [f"against a vendor's contract: {line}" for line in received["wrong"][:SHOWN]]
            self.broken += list(vendor_laws(outcomes, received["taken"], self._talk.owners, self._unheard))[:SHOWN]
            self.broken += self._dead(outcomes, received["refused"])[:SHOWN]
            unheard = sum(not one["heard"] for one in received["taken"])
            self.sums.update(taken=len(received["taken"]), unheard=unheard, died=len(self._talk.dead))

    async def _received(self) -> dict[str, Any]:
        """What the stand-ins say; of pushes, what they took for these people."""
        if not self._vendors:
            return {"taken": [], "wrong": [], "refused": {}}
        found: dict[str, Any] = (await self._client.get(f"{self._vendors}/pushes/received")).json()
        return found | {"taken": [one for one in found["taken"] if one["token"] in self._talk.owners]}

    def _rows(self, client: Client) -> tuple[list[Step], list[Outcome]]:
        named = {"city": f"{self._city}-"}
        steps = client.query(STEPS, parameters=named).result_rows
        return [Step(*row) for row in steps], [Outcome(*row) for row in client.query(OUTCOMES, parameters=named).result_rows]

    def _unseen(self, steps: Sequence[Step]) -> list[str]:
        """What phones were told on the feed, and the warehouse does not have; or the other way round."""
        told = defaultdict(set)
        for step in steps:
            if step.step == "Notified":
                told[step.user].add(step.notification)
        broken = []
        for user, talker in self._talk.talkers.items():
            if differ := told[user] ^ set(talker.notified):
                broken.append(
                    f"{user}: the feed and the warehouse differ by {len(differ)} notifications, such as {min(differ)}"
                )
        return broken

    def _dead(self, outcomes: Sequence[Outcome], refused: Mapping[str, int]) -> list[str]:
        """Whose token a vendor has called dead, that person's phone is known to be so."""
        known = {one.user for one in outcomes if one.outcome == "PushTokenDead"}
        asked = [token for token in self._talk.dead if refused.get(token)]
        self.sums["found dead"] = len(asked)
        return [f"{owner}'s token is dead, and nobody knows" for t in asked if (owner := self._talk.owners[t]) not in known]


# --- chats ------------------------------------------------------------------------------------------------------------------


async def _settled(talk: Talk, talker: Talker) -> list[str]:
    """How the phone's chats differ from what HTTP answers, once that is the same or nobody waits any longer."""
    deadline = time.monotonic() + PATIENCE_S / 3
    while (found := [line async for line in _differences(talk, talker)]) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return found


async def _pages(phone: Phone, path: str, what: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All rows, by pages, and the first page."""
    rows, first, before = list[dict[str, Any]](), dict[str, Any](), ""
    while True:
        answer = await phone.ask("GET", f"{path}?limit=100{before}")
        page = answer.json() if answer is not None else {what: []}
        first = first or page
        rows += page[what]
        if (behind := page.get("next_before")) is None:
            return rows, first
        before = f"&before={str(behind).replace('+', '%2B')}"


async def _differences(talk: Talk, talker: Talker) -> Any:
    phone, user = talker.phone, talker.phone.user
    chats, listed = await _pages(phone, "/v1/chats", "chats")
    known = {chat["user"]: chat for chat in chats}
    seen = {peer: thread for peer, thread in talker.threads.items() if thread.items}
    if known.keys() != seen.keys():
        yield f"{user} has chats with {sorted(known.keys() ^ seen.keys())[:3]} here or there only"
    recount = 0
    for peer, thread in seen.items():
        items, page = await _pages(phone, f"/v1/chats/{peer}", "items")
        items.reverse()
        shown = [(one["seq"], one["kind"], one["ref"], one["sender"]) for one in items]
        if shown != [one[:4] for one in thread.items]:
            yield f"{user} was shown {len(thread.items)} items with {peer}, there are {len(shown)}, or others"
        for one in (one for one in items if one["kind"] == "message"):
            if one["text"] not in talk.said.get(one["ref"], ()):
                yield f"{user} reads {one['text']!r} of {one['sender']}, who left {talk.said.get(one['ref'])}"
        unread = thread.unread(user, KEPT)
        recount += unread
        told = (page.get("unread"), known.get(peer, {}).get("unread"), page.get("read"))
        if told != (unread, unread, thread.read):
            yield f"{user} with {peer}: unread of the page, of the list, and the mark are {told}, due {unread}, {thread.read}"
    answer = await phone.ask("GET", "/v1/notifications")
    notified = answer.json()["unread"] if answer is not None else -1
    if talker.most_unread >= KEPT:  # the oldest of these notifications are not remembered
        notified = recount
    if (listed.get("unread"), talker.badge, notified) != (recount, recount, recount):
        yield (f"{user} has {recount} unread; the list says {listed.get('unread')}, the badge {talker.badge}, "
               f"notifications {notified}")  # fmt: skip


# --- pushes -----------------------------------------------------------------------------------------------------------------


def _cause(occurrence: str) -> str:
    """The occurrence that a silent push takes away; of another one itself."""
    return occurrence.partition("/over/")[0]


def unfinished(
    steps: Sequence[Step], outcomes: Sequence[Outcome], taken: Sequence[Mapping[str, Any]] = ()
) -> list[str]:  # fmt: skip
    """What is still to come: an end for each notification that may be pushed, and one for each push, silent ones, too."""
    over = {step.notification for step in steps if step.step in OVER | {"PushDecided", "PushForgone"}}
    broken = [
        f"nobody says what became of {step.notification}"
        for step in steps
        if step.step == "Notified" and not step.no_push and step.notification not in over
    ]
    ends = Counter(one.occurrence for one in outcomes)
    broken += [f"nobody says what became of {one['occurrence']}" for one in taken if not ends[one["occurrence"]]]
    return broken + [
        f"{step.notification} is pushed on {step.phones} phones, of which {ends[step.notification]} have ended"
        for step in steps
        if step.step == "PushDecided" and ends[step.notification] != step.phones
    ]


def push_laws(steps: Sequence[Step], outcomes: Sequence[Outcome]) -> list[str]:
    """What is broken by what was decided. `steps`: in the order of the log."""
    broken, over = list[str](), set[str]()
    times: Counter[tuple[str, str]] = Counter()
    for step in steps:
        times[step.notification, step.step] += 1
        if step.step in OVER:
            over.add(step.notification)
        if step.step == "PushDecided" and step.notification in over:
            broken.append(f"{step.notification} is pushed behind its end")
        if step.step == "PushDecided" and step.reason not in ("offline", "no_ack"):
            broken.append(f"{step.notification} is pushed for {step.reason!r}")
    broken += [
        f"{name}: {what} {n} times" for (name, what), n in times.items() if n > 1 and what in ("Notified", "PushDecided")
    ]
    kinds = {step.notification: step.kind for step in steps}
    decided = {step.notification for step in steps if step.step == "PushDecided"}
    for one in outcomes:
        if (cause := _cause(one.occurrence)) not in decided:
            broken.append(f"{one.occurrence} is pushed, and nobody has decided so")
        if one.channel == "voip" and kinds.get(cause) != "call_incoming":
            broken.append(f"{one.occurrence}, a {kinds.get(cause)}, rings a phone")
    accepted = Counter((one.occurrence, one.device) for one in outcomes if one.outcome == "PushAccepted")
    return broken + [f"{key} was accepted {n} times" for key, n in accepted.items() if n > 1]


def vendor_laws(
    outcomes: Sequence[Outcome], taken: Sequence[Mapping[str, Any]], owners: Mapping[str, str], unheard: int = 0
) -> Iterator[str]:
    """What vendors took, held against what is said of it. One took a push twice only where its answer did not come, which may
    be true of `unheard` of those that did."""
    said = {(one.user, one.occurrence): one for one in outcomes}
    had = {(owners[one["token"]], one["occurrence"], one["provider"]) for one in taken}
    for one in outcomes:
        if one.outcome == "PushAccepted" and (one.user, one.occurrence, one.provider) not in had:
            yield f"{one.provider} is said to have taken {one.occurrence} of {one.user}, and has not"
    heard: Counter[tuple[str, str]] = Counter()
    for push in taken:
        owner = owners[push["token"]]
        heard[push["token"], push["occurrence"]] += push["heard"]
        outcome = said.get((owner, push["occurrence"]))
        if outcome is None:
            yield f"{push['provider']} took {push['occurrence']} for {owner}, whose it is not"
        elif outcome.outcome != "PushAccepted" and push["heard"]:
            unheard -= 1
            if unheard < 0:
                yield f"{push['provider']} took {push['occurrence']} for {owner}, and {outcome.outcome} is said"
    for (token, occurrence), times in heard.items():
        unheard -= max(0, times - 1)
        if times > 1 and unheard < 0:
            yield f"the phone of {owners[token]} took {occurrence} {times} times"
