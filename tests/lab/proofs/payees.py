"""Payees of the money proof: streamers who earn and ask to be paid, two of finance who approve each other's large sums, approve
or reject payouts and take them to the bank in batches, and the bank, whose word is paid, failed, or returned later on. All of
them ask again until they have a final answer.

`sums` and `words`: what the bank was told to pay, and what it said at last; the proof holds the log against both."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx

from infra import tokens
from tests.lab.city.bank import ordered_in
from tests.lab.proofs.asker import Asker, code_of
from tests.lab.proofs.auditor import Read

# Staff moves no more than this alone; the city's people buy less at once.
LIMIT_COINS: Final = 2_000
SETTINGS: Final = {
    "OLO_FOUR_EYES_COINS": str(LIMIT_COINS), "OLO_PAYER_NAME": "Olo", "OLO_PAYER_IBAN": "DE89370400440532013000",
}  # fmt: skip
IBAN: Final = "FR1420041010050500013M02606"
TERMS: Final[dict[str, Any]] = {"cents_per_100_coins": 50, "fee_cents": 20, "minimum_coins": 100}
ENDS: Final = ("paid", "failed")
LATER: Final = ("payout_open", "below_minimum")
PAUSE_S: Final = 0.5
# So often a payout is looked at that is on its way.
ARRIVES: Final = 120
BY_PROVIDER: Final = 0.4
# So often each of them is paid at least.
ROUNDS: Final = 2


class Clerk(NamedTuple):
    """One of finance."""

    user: str
    token: str


class Payees:
    """`streamers`: their tokens; `transfers`: what the ledger was asked for here; `wanted`: by large transfer, whether a second
    person approved it; `sums`: by batch, what its file says of each payout, in cents; `words`: by payout, the bank's last;
    `sent`: what the provider was to pay."""

    def __init__(self, url: str, project: str, seed: int, streamers: int = 4) -> None:
        names = [f"s{seed}-{number}" for number in range(streamers)]
        self.streamers = {name: tokens.token(project, name, "streamer") for name in names}
        self._clerks = [Clerk(name, tokens.token(project, name, "finance")) for name in ("fay", "gus")]
        self._url, self._chance = url, random.Random(seed)
        self._asker = Asker()
        self._finished = False
        self._numbers = itertools.count()
        self._approved: list[str] = []
        self.transfers: set[str] = set()
        self.wanted: dict[str, bool] = {}
        self.sums: dict[str, dict[str, int]] = defaultdict(dict)
        self.words: dict[str, str] = {}
        self.sent: set[str] = set()
        self.told, self.given_up = self._asker.told, self._asker.given_up
        self.wrong: list[str] = []

    def finish(self) -> None:
        """Ask for no more; what is under way is brought to its end."""
        self._finished = True

    async def move_in(self) -> None:
        """They sign up and earn. At first all of that is in reserve, then there is none."""
        async with self._client() as client:
            await self._terms(client, reserve_days=1)
            await asyncio.gather(*(self._begin(client, user) for user in self.streamers))
            await self._terms(client, reserve_days=0)

    async def _begin(self, client: httpx.AsyncClient, user: str) -> None:
        token = self.streamers[user]
        await self._ask(client, "POST", "/v1/users", token, None, 201, 200)
        await self._ask(client, "PUT", "/v1/payouts/destination", token, {"holder": user, "iban": IBAN}, 200)
        await self._earn(client, user)
        early = await self._ask(client, "POST", "/v1/payouts", token, None, 409)
        if early is not None and code_of(early) != "below_minimum":
            self.wrong.append(f"{user} asked for what is in reserve, and was told {early.text}")

    async def run(self) -> None:
        """Earn and be paid until `finish`, each of them twice at least."""
        async with self._client() as client:
            paying = asyncio.create_task(self._pay(client))
            await asyncio.gather(*(self._live(client, user) for user in self.streamers))
            self._approved.append("")
            await paying
            await asyncio.gather(*(self._ended(client, payout) for payout in self.sent))

    async def _ended(self, client: httpx.AsyncClient, payout: str) -> None:
        """The provider has said what became of it."""
        shown = None
        for _ in range(ARRIVES):
            shown = await self._ask(client, "GET", f"/v1/payouts/{payout}", self._clerks[0].token, None, 200)
            if shown is None or shown.json()["status"] in ENDS:
                return
            await asyncio.sleep(PAUSE_S)
        self.wrong.append(f"the provider has {payout}, and it does not end: {shown.text if shown is not None else ''}")

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, timeout=10, trust_env=False)

    async def _terms(self, client: httpx.AsyncClient, **changed: int) -> None:
        await self._ask(client, "PUT", "/v1/admin/payouts/terms", self._clerks[0].token, TERMS | changed, 200)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, token: str, body: Any, *due: int
    ) -> httpx.Response | None:
        """The final answer, which has one of these statuses; None: it has not, and that is noted."""
        key = f"payees-{next(self._numbers)}"
        answer = await self._asker.final(client, method, path, token, body, key)
        if answer is not None and answer.status_code not in due:
            self.wrong.append(f"{method} {path} was answered {answer.status_code}: {answer.text}")
            return None
        return answer

    async def _live(self, client: httpx.AsyncClient, user: str) -> None:
        rounds = 0
        while rounds < ROUNDS or not self._finished:
            await self._earn(client, user)
            rounds += await self._be_paid(client, user)
            await asyncio.sleep(self._chance.random() * PAUSE_S)

    # --- earnings -----------------------------------------------------------------------------------------------------------

    async def _earn(self, client: httpx.AsyncClient, user: str) -> None:
        """A sum that one person may move, one that takes two, now and then a fine."""
        account, token = f"{user}/earnings", self._clerks[0].token
        body: dict[str, Any] = {"account": account, "coins": self._chance.randrange(100, LIMIT_COINS)}
        answer = await self._ask(client, "POST", "/v1/admin/grants", token, body, 201)
        self._note(answer)
        if self._chance.random() < 0.4:
            await self._ask_two(client, account)
        if self._chance.random() < 0.2:
            fine = {"payer": account, "payee": "@penalties", "coins": self._chance.randrange(1, 200)}
            self._note(await self._ask(client, "POST", "/v1/admin/transfers", token, fine, 201, 402))

    def _note(self, answer: httpx.Response | None) -> None:
        if answer is not None and "location" in answer.headers:
            self.transfers.add(answer.headers["location"].rpartition("/")[2])

    async def _ask_two(self, client: httpx.AsyncClient, account: str) -> None:
        """One asks for a large sum, and cannot send it alone; the other one approves or rejects it."""
        asks, decides = self._chance.sample(self._clerks, 2)
        coins, transfer = self._chance.randrange(LIMIT_COINS + 1, 3 * LIMIT_COINS), f"large-{next(self._numbers)}"
        await self._ask(client, "POST", "/v1/admin/grants", asks.token, {"account": account, "coins": coins}, 403)
        template = {"transfer": transfer, "payer": "@promotions", "payee": account, "coins": coins, "reason": "grant"}
        body = {"command": "PlaceTransfer", "template": template, "reason": "a large sum"}
        asked = await self._ask(client, "POST", "/v1/admin/approvals", asks.token, body, 201)
        if asked is None:
            return
        path = f"/v1/admin/approvals/{asked.json()['approval']}"
        seen = {"seen": asked.json()["seen"]}
        await self._ask(client, "POST", f"{path}/approve", asks.token, seen, 403)
        self.wanted[transfer] = self._chance.random() < 0.8
        if self.wanted[transfer]:
            self.transfers.add(transfer)
            await self._ask(client, "POST", f"{path}/approve", decides.token, seen, 200)
        else:
            await self._ask(client, "POST", f"{path}/reject", decides.token, {"reason": "too large"}, 200)

    # --- payouts ------------------------------------------------------------------------------------------------------------

    async def _be_paid(self, client: httpx.AsyncClient, user: str) -> bool:
        """A payout, asked for by the streamer or by one of finance; a second person approves or rejects it. Whether there is
        one, or cannot be."""
        asks, decides = self._chance.sample(self._clerks, 2)
        by_staff = self._chance.random() < 0.4
        path, token = ("/v1/admin/payouts", asks.token) if by_staff else ("/v1/payouts", self.streamers[user])
        asked = await self._ask(client, "POST", path, token, {"user": user} if by_staff else None, 201, 409)
        if asked is None or asked.status_code == 409:
            if asked is not None and code_of(asked) not in LATER:
                self.wrong.append(f"{user} asked for a payout, and was told {asked.text}")
            return bool(self.wrong)
        payout = asked.json()["payout"]
        path, seen = f"/v1/admin/payouts/{payout}", {"seen": asked.json()["seen"]}
        if by_staff:
            await self._ask(client, "POST", f"{path}/approve", asks.token, seen, 403)
        if self._chance.random() < 0.15:
            await self._once(client, f"{path}/reject", decides.token, {"ref": "doubtful"})
            return True
        await self._once(client, f"{path}/approve", decides.token, seen)
        if self._chance.random() < BY_PROVIDER:
            await self._once(client, f"{path}/send", decides.token, None)
            self.sent.add(payout)
        else:
            self._approved.append(payout)
        return True

    async def _once(self, client: httpx.AsyncClient, path: str, token: str, body: Any) -> None:
        """An act on a payout; where the answer was lost, the payout has gone on when it is asked for again."""
        answer = await self._ask(client, "POST", path, token, body, 200, 409)
        if answer is not None and answer.status_code == 409 and code_of(answer) != "payout_elsewhere":
            self.wrong.append(f"POST {path} was answered {answer.text}")

    async def _pay(self, client: httpx.AsyncClient) -> None:
        """Take what is approved to the bank, batch by batch, until "" says that no more comes; then the bank's word."""
        done: set[str] = set()
        while "" not in done:
            await asyncio.sleep(PAUSE_S)
            names = [name for name in self._approved if name and name not in done]
            done |= set(self._approved)
            if names:
                await self._take(client, names)

    async def _take(self, client: httpx.AsyncClient, names: list[str]) -> None:
        clerk = self._chance.choice(self._clerks)
        batch = await self._ask(client, "POST", "/v1/admin/payouts/batches", clerk.token, {"payouts": names}, 201)
        if batch is None:
            return
        name = batch.json()["batch"]
        files = [await self._file(client, name, one.token) for one in self._clerks]
        if files[0] is None or files[1] is None or files[0].content != files[1].content:
            self.wrong.append(f"the file of batch {name} is another one each time")
            return
        self.sums[name] = {one.id: one.cents for one in ordered_in(files[0].content)}
        for payout in names:
            words = self._chance.choice((("paid",), ("paid",), ("failed",), ("paid", "returned")))
            for word in words:
                await self._settle(client, clerk, payout, word)
                self.words[payout] = word

    async def _file(self, client: httpx.AsyncClient, batch: str, token: str) -> httpx.Response | None:
        """The bank's file of a batch. Where the answer to the batch was lost, some of its payouts may not have answered yet."""
        for _ in range(ARRIVES):
            file = await self._ask(client, "GET", f"/v1/admin/payouts/batches/{batch}/file", token, None, 200, 409)
            if file is None or file.status_code == 200:
                return file
            if code_of(file) != "batch_waiting":
                self.wrong.append(f"the file of batch {batch} was answered {file.text}")
                return None
            await asyncio.sleep(PAUSE_S)
        return None

    async def _settle(self, client: httpx.AsyncClient, clerk: Clerk, payout: str, word: str) -> None:
        """Write down the bank's word. Where the answer to it was lost, the payout may be on its way there still, and takes the
        next word only when it has arrived."""
        for _ in range(ARRIVES):
            await self._once(client, f"/v1/admin/payouts/{payout}/settle", clerk.token, {"status": word, "ref": "statement"})
            shown = await self._ask(client, "GET", f"/v1/payouts/{payout}", clerk.token, None, 200)
            if shown is None or shown.json()["status"] == word:
                return
            await asyncio.sleep(PAUSE_S)

    # --- the audit ----------------------------------------------------------------------------------------------------------

    def broken(self, read: Read) -> list[str]:
        """Where the log does not say what the bank was told and has said, and where one person moved a large sum alone."""
        return [*self.wrong, *self._of_bank(read), *self._of_approvals(read)][:10]

    def _of_bank(self, read: Read) -> Iterator[str]:
        states = {row.key: row.value or {} for row in read("payout.state")}
        told = {payout: cents for batch in self.sums.values() for payout, cents in batch.items()}
        for batch, sums in self.sums.items():
            due = {
                name.replace("-", ""): state["amount_cents"] for name, state in states.items() if state.get("batch") == batch
            }
            if sums != due:
                yield f"batch {batch}: its file pays {sums}, the log says {due}"
        for payout, word in self.words.items():
            if states.get(payout, {}).get("status") != word or payout.replace("-", "") not in told:
                yield f"{payout}: the bank said {word}, the log has {states.get(payout)}"
        if sum(len(sums) for sums in self.sums.values()) != len(told):
            yield f"a payout stands in two files: {dict(self.sums)}"
        if not any(state.get("status") == "paid" for state in states.values()):
            yield "nobody was paid: the proof proves nothing of payouts"

    def _of_approvals(self, read: Read) -> Iterator[str]:
        """A large sum is moved by an approval's command only, once; what was rejected is not moved."""
        given = {row.value["sent"]: row.value for row in read("approval.events") if row.value and "sent" in row.value}
        settled = [
            row.value["transfer"] for row in read("transfer.events") if row.value and row.value["type"] == "TransferSettled"
        ]
        for transfer, approved in self.wanted.items():
            if settled.count(transfer) != approved:
                yield f"{transfer} was {'approved' if approved else 'rejected'}, and settled {settled.count(transfer)} times"
        if sum(self.wanted.values()) != len(given):
            yield f"{sum(self.wanted.values())} large sums were approved, the log says {len(given)}"
        for row in read("transfer.inbox"):
            order = row.value or {}
            if order.get("type") != "PlaceTransfer" or order["coins"] <= LIMIT_COINS:
                continue
            approval = given.get(order["id"])
            if approval is None or approval["by"] == approval["maker"]:
                yield f"{order['transfer']} moves {order['coins']} coins by one person: {order}, {approval}"
