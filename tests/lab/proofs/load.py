"""Load for the proof: clients that grant and transfer over HTTP and retry until they have an answer, and clients of the feed.

Each request keeps its idempotency key over all its retries. Every answer is remembered, so that the audit can hold the log
against what clients were told. Feed clients keep every entry they saw and resume with Last-Event-ID.
"""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any, NamedTuple

import httpx

from infra import tokens

# A client that has waited so long for an answer gives up, which the proof counts as a failure.
PATIENCE_S = 90.0
# A stream that has not caught up by then has missed something.
CAUGHT_UP_S = 60.0
FINAL = frozenset({201, 402, 404, 409})


class Told(NamedTuple):
    """What a client was told in the end."""

    transfer: str
    status: int


class Wait(NamedTuple):
    """A client's wait for its final answer, in seconds. `at`: when it began, by the monotonic clock."""

    at: float
    seconds: float


class Load:
    """Clients against one platform. `told`: key -> answer; `seen`: user -> the entries its feed has shown, in order;
    `put_off`: the codes of 503. `pause_s`: between two requests of a client; `patience_s`: until one gives up."""

    def __init__(
        self, url: str, project: str, users: int, seed: int, *, pause_s: float = 0.0, patience_s: float = PATIENCE_S
    ) -> None:
        self.url = url
        self.put_off: Counter[str] = Counter()
        self._pause_s, self._patience_s = pause_s, patience_s
        self.users = [f"p{seed}-{number}" for number in range(users)]
        self.tokens = {user: tokens.token(project, user, "user") for user in self.users}
        self.admin = tokens.token(project, "prover", "admin")
        self.told: dict[str, Told] = {}
        self.statuses: Counter[int | str] = Counter()
        self.seen: dict[str, list[tuple[str, int]]] = {user: [] for user in self.users}
        self.resumed = 0
        self.given_up: list[str] = []
        self.waits: list[Wait] = []
        self._chance = random.Random(seed)
        self._finished = False
        self._cursors: dict[str, str] = {}

    async def sign_up(self) -> None:
        """Make the users, and note where their feeds stand."""
        async with self._client() as client:
            for user in self.users:
                headers = {"Authorization": f"Bearer {self.tokens[user]}"}
                deadline = time.monotonic() + PATIENCE_S
                # What is not decided in time (202, 503) is asked for again: a log of three copies is slow at first.
                while (answer := await client.get("/v1/balance", headers=headers)).status_code != 200:
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{user} has no account: {answer.text}")
                    await client.post("/v1/users", headers=headers)
                self._cursors[user] = answer.json()["cursor"]

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=10, trust_env=False, limits=httpx.Limits(max_connections=400))

    def finish(self) -> None:
        """No new requests from now on."""
        self._finished = True

    async def run(self, clients: int, streams: int) -> None:
        """Load until `finish`; then every request under way gets its answer, and every stream sees what there is."""
        async with self._client() as client:
            watching = [asyncio.create_task(self._watch(client, user)) for user in self.users[:streams]]
            await asyncio.gather(*(self._place(client, number) for number in range(clients)))
            await self._caught_up(client, self.users[:streams])
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _caught_up(self, client: httpx.AsyncClient, users: list[str]) -> None:
        """Wait until each stream has shown the entry that the balance stands at, or CAUGHT_UP_S are over: the audit tells."""
        deadline = time.monotonic() + CAUGHT_UP_S
        for user in users:
            headers = {"Authorization": f"Bearer {self.tokens[user]}"}
            goal = (f"{user}/coins", (await client.get("/v1/balance", headers=headers)).json()["seq"])
            while goal[1] > 1 and goal not in self.seen[user] and time.monotonic() < deadline:
                await asyncio.sleep(0.05)

    async def _place(self, client: httpx.AsyncClient, number: int) -> None:
        count = 0
        while not self._finished:
            count += 1
            await self._ask(client, f"c{number}-{count}")
            await asyncio.sleep(self._pause_s)

    def _request(self) -> tuple[str, dict[str, Any]]:
        payer, payee = self._chance.choice(self.users), self._chance.choice([*self.users, "nobody"])
        coins = self._chance.randrange(1, 60)
        if self._chance.random() < 0.35:
            return "/v1/admin/grants", {"account": f"{payee}/coins", "coins": coins}
        return "/v1/admin/transfers", {"payer": f"{payer}/coins", "payee": f"{payee}/coins", "coins": coins}

    async def probe(self, name: str) -> float:
        """Grant every user a coin, all at once; the seconds until the last of them was decided. The users' accounts lie on all
        partitions of money. `name`: of this probe, for good."""
        began = time.monotonic()
        async with self._client() as client:
            grants = [("/v1/admin/grants", {"account": f"{user}/coins", "coins": 1}) for user in self.users]
            await asyncio.gather(*(self._ask(client, f"{name}-{n}", grant) for n, grant in enumerate(grants)))
        return time.monotonic() - began

    async def _ask(self, client: httpx.AsyncClient, key: str, request: tuple[str, dict[str, Any]] | None = None) -> None:
        """One request, again and again under its key until the answer is final; now and then once more after that."""
        path, body = request or self._request()
        headers = {"Authorization": f"Bearer {self.admin}", "Idempotency-Key": key, "X-Reason": "a proof"}
        began = time.monotonic()
        again = self._chance.random() < 0.1
        while True:
            status, transfer = await self._once(client, path, body, headers)
            self.statuses[status] += 1
            if status in FINAL:
                known = self.told.setdefault(key, Told(transfer, int(status)))
                if known.status != status:
                    self.given_up.append(f"{key} was told {known.status}, then {status}")
                if not again:
                    break
                again = False
            elif time.monotonic() - began > self._patience_s:
                self.given_up.append(f"{key}: no answer in {self._patience_s:.0f} s, last {status}")
                break
            else:
                await asyncio.sleep(0.1)
        self.waits.append(Wait(began, time.monotonic() - began))

    @property
    def waited(self) -> str:
        """How long clients have waited, in words."""
        waits = sorted(wait.seconds for wait in self.waits)
        return f"a client's wait for its final answer: median {waits[len(waits) // 2]:.2f} s, worst {waits[-1]:.2f} s"

    async def _once(self, client: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str]) -> tuple[int | str, str]:
        try:
            answer = await client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            return type(error).__name__, ""
        transfer = answer.headers.get("location", "").rpartition("/")[2]
        if answer.status_code == 409 and "retry-after" in answer.headers:
            return "409 in_progress", transfer  # not the transfer's outcome: too many repeats are waiting for it
        if answer.status_code == 503:
            self.put_off[answer.json()["code"]] += 1
        return answer.status_code, transfer

    async def _watch(self, client: httpx.AsyncClient, user: str) -> None:
        """A phone: reads its feed, reconnects with Last-Event-ID whenever the stream ends."""
        while True:
            headers = {"Authorization": f"Bearer {self.tokens[user]}", "Last-Event-ID": self._cursors[user]}
            try:
                async with client.stream("GET", "/v1/feed", headers=headers, timeout=30) as answer:
                    if answer.status_code == 200:
                        await self._read(user, answer)
            except httpx.HTTPError:
                pass
            self.resumed += 1
            await asyncio.sleep(0.1)

    async def _read(self, user: str, answer: httpx.Response) -> None:
        id_ = ""
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                id_ = line[4:]
            elif line.startswith('data: {"type":"EntryRecorded"'):
                entry = json.loads(line[6:])
                self.seen[user].append((entry["account"], entry["seq"]))
            elif not line and id_:
                self._cursors[user], id_ = id_, ""
