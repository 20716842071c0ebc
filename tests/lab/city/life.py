"""What people in the city do: users buy coins, call, play roulette, give gifts, lose the network, block; streamers answer.

Each person has a random number generator of their own, seeded, so that a run's people are the same ones; their times are those
of the platform. All waiting is by asyncio; a phone's tasks end with it.
"""

import asyncio
import contextlib
import random
import time
from typing import Any, Final

from tests.lab.city.payday import Earner
from tests.lab.city.phone import Phone, Sights
from tests.lab.city.shopping import REFUND_S, REFUNDED, Shopper
from tests.lab.city.talk import FRIENDS, Talker

GIFTS: Final = {"rose": (10, 4), "kiss": (25, 10), "car": (120, 60)}
# Mean seconds: between two actions of a user, to answer a ring, of a talk, offline.
PAUSE_S: Final = 6.0
ANSWER_S: Final = 0.8
TALK_S: Final = 15.0
OFFLINE_S: Final = 8.0
# Who stays away for so long is offline, and pushed at once.
AWAY_S: Final = 90.0
AWAY: Final = 0.25
# A lost network lasts longer than a call waits for it.
LOST_S: Final = 26.0
# What everybody has to begin with where coins are bought at stores; and what is granted where there are none.
WELCOME_COINS: Final = 50
BUYS_COINS: Final = 400
# Who has no more than so many has spent some of any pack.
SPENT_COINS: Final = 300
TAKES: Final = 0.9
# What a user does next, and how a talk ends; weights.
NEXT: Final = {"call": 50, "roulette": 15, "gift": 15, "clip": 3, "leave": 4, "look": 8, "like": 5, "talk": 40}
ENDS: Final = {"hang_up": 55, "peer": 25, "block": 17, "lose": 3}


class Person:
    """Somebody with a phone; subclasses say what they do."""

    def __init__(self, phone: Phone, admin: Phone, seed: str) -> None:
        self.phone = phone
        self.admin = admin
        self.sights: Sights = phone.sights
        self.chance = random.Random(seed)
        self.streamers: list[Phone] = []
        self.talker: Talker | None = None
        self.shopper: Shopper | None = None
        self.earner: Earner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._evening = asyncio.Event()
        phone.on_event = self.heard

    def key(self) -> str:
        """A fresh idempotency key."""
        self._count += 1
        return f"{self.phone.user}-{self._count}"

    def soon(self, task: Any) -> None:
        """Do something on the side."""
        made = asyncio.get_running_loop().create_task(task)
        self._tasks.add(made)
        made.add_done_callback(self._tasks.discard)

    @property
    def tired(self) -> bool:
        """The day is over: nothing new begins, what is under way ends."""
        return self._evening.is_set()

    async def rest(self, mean_s: float) -> None:
        """Let some time pass, by chance; in the evening none."""
        await self.wait(min(mean_s * 4, self.chance.expovariate(1 / mean_s)))

    async def wait(self, seconds: float) -> None:
        """Let time pass until the evening."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._evening.wait(), seconds)

    def pick(self, weights: dict[str, int]) -> str:
        """One of the keys."""
        return self.chance.choices(list(weights), list(weights.values()))[0]

    # --- what everybody hears ----------------------------------------------------------------------------------------------

    def heard(self, type_: str, event: dict[str, Any]) -> None:
        """One event of the feed."""
        if self.talker is not None:
            self.talker.heard(type_, event)
        if self.shopper is not None:
            self.shopper.heard(type_, event)
        if self.earner is not None:
            self.earner.heard(type_, event)
        match type_:
            case "CallRinging":
                self._ringing(event)
            case "CallConnected":
                self._connected(event)
            case "CallEnded":
                self._ended(event)
            case "GiftSent" if event["receiver"] == self.phone.user:
                self.sights.saw("gift", event["sender"])
            case "EntryRecorded" if event.get("reason") in ("grant", "purchase"):
                self.sights.saw("grant", event["account"])

    def _ringing(self, event: dict[str, Any]) -> None:
        self.phone.call, self.phone.talking = event["call"], False
        self.sights.calls[event["call"]] = self.phone
        if event["callee"] == self.phone.user:
            self.sights.saw("call", event["caller"])
            self.soon(self._answer(event["call"]))

    async def _answer(self, call: str) -> None:
        await self.rest(ANSWER_S)
        if self.phone.call != call:
            return
        takes = not self.tired and self.chance.random() < TAKES
        word = "accept" if takes else "decline"
        self.sights.expect(word, call)
        if await self.phone.ask("POST", f"/v1/calls/{call}/{word}") is None:
            self.sights.forget(word, call)
        if self.tired:  # whoever was called out of roulette is in it again
            await self.phone.ask("DELETE", "/v1/roulette")

    def _connected(self, event: dict[str, Any]) -> None:
        clip, caller = event["kind"] == "clip", event["caller"] == self.phone.user
        if clip and not caller:
            return  # somebody watches a clip of hers
        self.phone.call, self.phone.talking = event["call"], True
        self.sights.calls[event["call"]] = self.phone
        if caller:
            self.sights.saw("accept", event["call"])
            self.soon(self._talk(event["call"], event["callee"], "hang_up" if clip else self.pick(ENDS)))

    async def _talk(self, call: str, peer: str, end: str) -> None:
        """A talk, from the caller's side: it ends one way or another."""
        await self.rest(TALK_S)
        if self.phone.call != call or self.tired:
            return
        match end:
            case "hang_up":
                await self._hang_up(call)
            case "block":
                await self._block(call, peer)
            case "lose":
                await self.phone.disconnect()
                await self.wait(LOST_S)
                self.phone.connect()
            case _:
                pass  # the other side hangs up, or the coins run out

    async def _hang_up(self, call: str) -> None:
        self.sights.expect("hang up", call)
        if await self.phone.ask("POST", f"/v1/calls/{call}/hang-up") is None:
            self.sights.forget("hang up", call)

    async def _block(self, call: str, peer: str) -> None:
        """The call ends at once; later they make it up, so that the city does not run out of pairs."""
        self.sights.expect("block", call)
        if await self.phone.ask("PUT", f"/v1/blocks/{peer}", {"reason": "not_interested"}) is None:
            self.sights.forget("block", call)
            return
        self.sights.expect("block, feed", self.phone.user)
        while peer in {card["user"] for card in await self._gallery()}:
            await asyncio.sleep(0.005)
        self.sights.saw("block, feed", self.phone.user)
        await self.rest(2 * PAUSE_S)
        await self.phone.ask("DELETE", f"/v1/blocks/{peer}")

    async def _gallery(self) -> list[dict[str, Any]]:
        """The first page of the gallery."""
        answer = await self.phone.ask("GET", "/v1/gallery?limit=100")
        cards: list[dict[str, Any]] = answer.json()["cards"] if answer is not None else []
        return cards

    def _ended(self, event: dict[str, Any]) -> None:
        """What one side did has reached the other."""
        call, by = event["call"], event.get("by", "")
        if self.phone.call == call:
            self.phone.call, self.phone.talking = "", False
        if call not in self.sights.over:
            self.sights.over.add(call)
            self.sights.ended[event.get("reason", "ended")] += 1
        if by == self.phone.user:
            return
        kind = {"hung_up": "hang up", "declined": "decline", "ended": "block"}.get(event.get("reason", "ended"))
        if kind:
            self.sights.saw(kind, call)

    # --- the end of the day ------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Do things until the evening."""
        raise NotImplementedError

    async def go_home(self, life: "asyncio.Task[None]") -> None:
        """Finish what is under way, begin nothing; hang up. The feed stays open, so that everything is still seen."""
        self._evening.set()
        for ended in await asyncio.gather(life, *self._tasks, return_exceptions=True):
            if isinstance(ended, BaseException):
                self.sights.wrong(f"a life ended: {ended!r}")
        self.phone.connect()
        await self.phone.ask("DELETE", "/v1/roulette")
        if self.phone.call:
            await self.phone.ask("POST", f"/v1/calls/{self.phone.call}/hang-up")


class Streamer(Person):
    """Answers, hangs up now and then, waits in roulette; may belong to an agency, and is paid."""

    async def live(self) -> None:
        """Be there; wait in roulette now and then."""
        if self.earner is not None:
            await self.earner.begin()
        clip = {"title": "hello", "url": "https://example.com/hello.mp4", "duration_s": 20}
        await self.phone.ask("PUT", f"/v1/clips/clip-{self.phone.user}", clip)
        while not self.tired:
            if self.phone.call and self.phone.talking and self.chance.random() < 0.5:
                await self._hang_up(self.phone.call)
            elif not self.phone.call and self.chance.random() < 0.4:
                await self.phone.ask("POST", "/v1/roulette")
            await self.rest(2 * PAUSE_S)
            if self.earner is not None and not self.tired:
                await self.earner.act()


class User(Person):
    """Buys coins and spends them."""

    async def live(self) -> None:
        """One action after another."""
        if self.shopper is not None:
            await self._be_granted(WELCOME_COINS, "grant")
            if self.shopper.subscribes:
                self.soon(self.shopper.subscribe(self._evening))
        while not self.tired:
            if self.phone.balance_coins < 60 or self.chance.random() < 0.02:
                await self._buy()
            await self.rest(PAUSE_S)
            if self.tired or not self.phone.online.is_set() or (self.phone.call and not self.phone.talking):
                continue
            action = "gift" if self.phone.call else self.pick(NEXT)
            await getattr(self, f"_do_{action}")()

    async def _buy(self) -> None:
        """At a store; where there is none, coins are granted."""
        if self.shopper is None:
            await self._be_granted(self.chance.randrange(1, 4) * BUYS_COINS, "purchase")
        elif (sale := await self.shopper.buy()) and self.chance.random() < REFUNDED:
            self.soon(self._regret(self.shopper, sale))

    async def _regret(self, shopper: Shopper, sale: str) -> None:
        """When some of it is spent, or all: then it is owed."""
        until = time.monotonic() + REFUND_S
        while not self.tired and self.phone.balance_coins > SPENT_COINS and time.monotonic() < until:
            await self.wait(1)
        await shopper.regret(sale)

    async def _be_granted(self, coins: int, reason: str) -> None:
        account = f"{self.phone.user}/coins"
        self.sights.expect("grant", account)
        body = {"account": account, "coins": coins, "reason": reason}
        answer = await self.admin.ask("POST", "/v1/admin/grants", body, key=self.key())
        if answer is not None:
            self.sights.granted_coins += coins
            self.sights.grants.add(answer.headers["location"].rpartition("/")[2])

    async def _do_call(self) -> None:
        """Somebody from the top of the gallery, or an old acquaintance."""
        shown = [card["user"] for card in await self._gallery() if not card["busy"]] if self.chance.random() < 0.3 else []
        other = next((one for one in self.streamers if one.user in shown[:10]), self.chance.choice(self.streamers))
        self.sights.expect("call", self.phone.user)
        if await self.phone.ask("POST", "/v1/calls", {"to": other.user}, key=self.key()) is None:
            self.sights.forget("call", self.phone.user)

    async def _do_roulette(self) -> None:
        if await self.phone.ask("POST", "/v1/roulette") is not None:
            await self.rest(PAUSE_S)
            if not self.phone.call:
                await self.phone.ask("DELETE", "/v1/roulette")

    async def _do_gift(self) -> None:
        other, gift = self.chance.choice(self.streamers), self.pick(dict.fromkeys(GIFTS, 1))
        self.sights.expect("gift", self.phone.user)
        body = {"to": other.user, "gift": gift, "call": self.phone.call}
        answer = await self.phone.ask("POST", "/v1/gifts", body, self.key())
        if answer is None:
            self.sights.forget("gift", self.phone.user)
        else:
            self.sights.gifts[answer.json()["id"]] = {"from": self.phone.user, "to": other.user, "gift": gift}

    async def _do_clip(self) -> None:
        other = self.chance.choice(self.streamers)
        await self.phone.ask("POST", f"/v1/clips/clip-{other.user}/plays", key=self.key())

    async def _do_leave(self) -> None:
        await self.phone.disconnect()
        await (self.wait(AWAY_S) if self.chance.random() < AWAY else self.rest(OFFLINE_S))
        self.phone.connect()

    async def _do_like(self) -> None:
        """Look at a profile, like whom it shows."""
        other = self.chance.choice(self.streamers)
        await self.phone.ask("GET", f"/v1/profiles/{other.user}")
        await self.phone.ask("PUT" if self.chance.random() < 0.8 else "DELETE", f"/v1/favorites/{other.user}")

    async def _do_talk(self) -> None:
        if self.talker is not None:
            self.talker.friends = self.talker.friends or self.chance.sample(self.streamers, min(FRIENDS, len(self.streamers)))
            await self.talker.act()

    async def _do_look(self) -> None:
        await self.phone.ask("GET", "/v1/balance")
        await self.phone.ask("GET", "/v1/gifts")
        await self._gallery()
