"""A synthetic phone: one user's HTTP requests and open feed, and everything that the feed has shown.

It speaks to the platform as an app would: httpx, a token, `GET /v1/feed` with Last-Event-ID. What it does is decided
in `tests.lab.city.life`; it only remembers. A refusal that comes in the ordinary way of things is counted; any other bad
answer, and an entry that does not follow the one before, is an error of the run.
"""

import asyncio
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpx

AGAIN_S: Final = 0.5
# Who is told to wait waits so long in all.
WAITS_S: Final = 60.0
# The feed pings every 15 s.
STREAM: Final = httpx.Timeout(10, read=40)
# Latencies of the last so many actions of a kind: what a live table shows.
RECENT: Final = 500
# What may come in the ordinary way of things: coins run out, people are busy, offline, blocked, or were faster.
EXPECTED: Final = frozenset(
    {
        "insufficient_coins", "caller_busy", "callee_busy", "callee_offline", "caller_offline", "blocked", "call_ended",
        "not_ringing", "busy", "waiting", "not_waiting", "offline", "not_blocked", "clip_unknown", "not_in_call",
        "profile_unknown", "not_favorite", "not_placed", "receiver_unknown", "user_unknown", "not_reachable", "edit_pending",
        "notification_unknown", "purchase_of_another", "purchase_pending", "transaction_revoked", "payout_open",
        "below_minimum", "payout_elsewhere", "payout_in_progress", "invitation_unknown", "terms_unknown",
    }
)  # fmt: skip


class Entry(NamedTuple):
    """One line of an account's book, as the feed showed it."""

    seq: int
    coins: int
    balance_coins: int
    reason: str
    ref: str
    kind: str = ""
    counterparty: str = ""
    debt_change_coins: int = 0


def _code(answer: httpx.Response) -> str:
    """A problem's code; of another answer, how it begins."""
    problem = "json" in answer.headers.get("content-type", "")
    return str(answer.json().get("code", "")) if problem else answer.text[:80]


class Sights:
    """What all phones together have measured and counted. Times are `time.perf_counter` seconds, latencies milliseconds.

    `put_off`: the codes of 503 that were followed by another try. `errors`: what never should happen; `unfinished`: what was
    given up for want of an answer, which a machine that others keep busy does, too.
    `patience_s`: for so long a request without an answer is sent again (0: each one is an error of the run)."""

    def __init__(self, patience_s: float = 0.0) -> None:
        self.patience_s = patience_s
        self.statuses: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.put_off: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.errors: list[str] = []
        self.unfinished: list[str] = []
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.granted_coins = 0
        self.grants: set[str] = set()
        self.spent_coins = 0
        self.calls: dict[str, Phone] = {}
        self.over: set[str] = set()
        self.gifts: dict[str, dict[str, Any]] = {}
        self._expected: dict[tuple[str, str], float] = {}

    def expect(self, kind: str, name: str) -> None:
        """An action begins: the event that shows it to the other phone comes under this name."""
        self._expected[kind, name] = time.perf_counter()

    def forget(self, kind: str, name: str) -> None:
        """The action came to nothing."""
        self._expected.pop((kind, name), None)

    def saw(self, kind: str, name: str) -> None:
        """The other phone shows it."""
        began = self._expected.pop((kind, name), None)
        if began is not None:
            took_ms = (time.perf_counter() - began) * 1000
            self.latencies[kind].append(took_ms)
            self.recent.append(took_ms)

    def wrong(self, text: str) -> None:
        """Something happened that never should."""
        self.errors.append(text)


class Phone:
    """One user. `entries`: account -> what the feed showed; `call`: the call that it is in, `talking` whether connected."""

    def __init__(self, user: str, token: str, client: httpx.AsyncClient, sights: Sights) -> None:
        self.user = user
        self.sights = sights
        self.entries: dict[str, list[Entry]] = defaultdict(list)
        self.cursor = ""
        self.online = asyncio.Event()
        self.call = ""
        self.talking = False
        self.balance_coins = 0
        self.on_event: Callable[[str, dict[str, Any]], None] = lambda _type, _event: None
        self._client = client
        # Staff that moves coins says why; of anybody else nobody asks.
        self._headers = {"Authorization": f"Bearer {token}", "X-Reason": "the city lives"}
        self._stream: asyncio.Task[None] | None = None

    # --- asking ----------------------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response | None:
        """One request; None: refused in an ordinary way, or given up (an error of the run).

        One with a key that is not decided yet is asked again, as an app would; while there is patience, so is any that got no
        answer, or 503: what a phone asks twice counts once. Whoever is told to wait (429), as an admin is who does everybody's
        errands at once, waits."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        began = time.monotonic()
        while True:
            answer = await self._once(method, path, body, headers)
            if answer is None or answer.status_code in (429, 503):
                told_to_wait = answer is not None and answer.status_code == 429
                if time.monotonic() < began + max(self.sights.patience_s, WAITS_S if told_to_wait else 0.0):
                    await asyncio.sleep(AGAIN_S if answer is None else self._put_off(answer))
                    continue
            elif answer.status_code == 202 and key:
                await asyncio.sleep(AGAIN_S)
                continue
            break
        if answer is None or answer.status_code in (429, 503):
            self.sights.unfinished.append(f"{method} {path} of {self.user}: {_code(answer) if answer else 'no answer'}")
            return None
        if answer.status_code < 400:
            return answer
        code = _code(answer)
        self.sights.refusals[code] += 1
        if code not in EXPECTED:
            self.sights.wrong(f"{method} {path} of {self.user}: {answer.status_code} {code}")
        return None

    def _put_off(self, answer: httpx.Response) -> float:
        """Count a 429 or 503; after how many seconds to ask again, as it says."""
        self.sights.put_off[_code(answer)] += 1
        return float(answer.headers.get("retry-after", AGAIN_S))

    async def _once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response | None:
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            self.sights.statuses[type(error).__name__] += 1
            return None
        self.sights.statuses[str(answer.status_code)] += 1
        return answer

    async def sign_up(self, known: dict[str, str] | None = None) -> bool:
        """Be known, with both accounts as they stand, and the feed's place behind them."""
        known = known or {"country": "GB", "platform": "city"}
        if await self.ask("POST", "/v1/users", known, key=f"up-{self.user}") is None:
            return False
        for book in ("coins", "earnings"):
            while (answer := await self._once("GET", f"/v1/balance?book={book}", None, self._headers)) is None or (
                answer.status_code != 200
            ):
                await asyncio.sleep(0.2)  # a sign-up opens both accounts soon
            found = answer.json()
            account = f"{self.user}/{book}"
            self.entries[account] = [Entry(found["seq"], found["balance_coins"], found["balance_coins"], "start", "")]
            self.cursor = self.cursor or found["cursor"]
        return True

    # --- the feed --------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the feed and keep it open."""
        if self._stream is None or self._stream.done():
            self._stream = asyncio.create_task(self._watch())

    async def disconnect(self) -> None:
        """Lose the network, or close the app: the feed ends without a word."""
        if self._stream is not None:
            self._stream.cancel()
            await asyncio.gather(self._stream, return_exceptions=True)
        self._stream = None
        self.online.clear()

    async def _watch(self) -> None:
        while True:
            headers = self._headers | {"Last-Event-ID": self.cursor}
            try:
                async with self._client.stream("GET", "/v1/feed", headers=headers, timeout=STREAM) as answer:
                    if answer.status_code == 200:
                        await self._read(answer)
                    elif answer.status_code != 503 or not self.sights.patience_s:
                        self.sights.wrong(f"the feed of {self.user} answers {answer.status_code}")
            except httpx.HTTPError as error:
                self.sights.statuses[f"feed {type(error).__name__}"] += 1
            self.online.clear()
            await asyncio.sleep(0.3)

    async def _read(self, answer: httpx.Response) -> None:
        id_ = type_ = ""
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                id_ = line[4:]
            elif line.startswith("event: "):
                type_ = line[7:]
            elif line.startswith("data: "):
                self._event(type_, json.loads(line[6:]))
            elif not line and id_:
                self.cursor, id_ = id_, ""

    def _event(self, type_: str, event: dict[str, Any]) -> None:
        if type_ == "ready":
            self.online.set()
            return
        if type_ == "gap":
            self.sights.wrong(f"the feed of {self.user} has a gap")
        elif type_ == "EntryRecorded":
            self._entry(event)
        self.on_event(type_, event)

    def _entry(self, event: dict[str, Any]) -> None:
        found = self.entries[event["account"]]
        entry = Entry(
            event["seq"], event.get("coins", 0), event["balance_coins"], event.get("reason", ""), event.get("ref", ""),
            event.get("kind", ""), event.get("counterparty", ""), event.get("debt_change_coins", 0),
        )  # fmt: skip
        if entry.seq <= found[0].seq:
            return  # it came before the balance that was asked for, and behind the cursor of the other account's
        if entry.seq != found[-1].seq + 1:
            self.sights.wrong(f"{event['account']}: the feed showed entry {entry.seq} after {found[-1].seq}")
        if entry.balance_coins != found[-1].balance_coins + entry.coins or entry.balance_coins < 0:
            self.sights.wrong(f"{event['account']}: entry {entry.seq} does not add up")
        found.append(entry)
        if event["account"].endswith("/coins"):
            self.balance_coins = entry.balance_coins
            self.sights.spent_coins += max(0, -entry.coins)
