"""How people of a city are paid: agencies that invite streamers for a share of what they earn, streamers and agencies that ask
for payouts or have them asked for by the timetable, and finance, of whom two look at each payout, and which the market's
provider pays, or its bank from a file.
"""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from typing import Any, Final

from tests.lab.city.phone import Phone
from tests.lab.city.shopping import Stores

WORTH: Final = 50
TERMS: Final = {"cents_per_100_coins": WORTH, "fee_cents": 2, "minimum_coins": 40, "reserve_days": 0}
IBAN: Final = "FR1420041010050500013M02606"
MOST_BPS: Final = 4_000
INVITED: Final = 0.6
ACCEPTS: Final = 0.85
LEAVES: Final = 0.03
AUTOMATIC: Final = 0.5
ASKS: Final = 0.25
# Finance rejects some, lets the provider pay half, and takes the others to the bank.
REJECTS: Final = 0.1
BY_PROVIDER: Final = 0.5
ROUND_EVERY_S: Final = 7
LOOKS_S: Final = 1.0
# Behind the last request every payout has ended within this: the provider stumbles twice at most, and is asked again.
ENDS_S: Final = 120.0
OPEN: Final = ("held", "approved", "exported")
PAGE: Final = 200


class Earner:
    """A streamer's or an agency's side: where to be paid to, membership, and asking. `shares`: what the streamer has accepted,
    in basis points, by agency; `held_coins`: what the feed says that payouts hold."""

    def __init__(self, phone: Phone, seed: str) -> None:
        self.phone = phone
        self.shares: dict[str, int] = {}
        self.held_coins = 0
        self._chance = random.Random(f"{seed}/earns")
        self._invitations: list[dict[str, Any]] = []
        self._agency = ""
        self._count = 0
        self._automatic = self._chance.random() < AUTOMATIC

    async def begin(self) -> None:
        """Say where to be paid to, and whether by rounds."""
        await self.phone.ask("PUT", "/v1/payouts/destination", {"holder": self.phone.user, "iban": IBAN})
        if self._automatic:
            await self.phone.ask("PUT", "/v1/payouts/automatic", {"automatic": True})

    def heard(self, type_: str, event: dict[str, Any]) -> None:
        """An invitation; what became of it; coins that a payout holds."""
        if type_ == "EntryRecorded" and event["account"].endswith("/earnings"):
            self.held_coins = event["held_coins"]
        elif type_ == "MembershipStepped" and event["user"] == self.phone.user:
            match event["step"]:
                case "invited":
                    self._invitations.append(event)
                case "joined":
                    self._agency = event["agency"]
                case "left":
                    self._agency = ""

    async def act(self) -> None:
        """Answer invitations, leave, or ask for a payout."""
        while self._invitations:
            await self._answer(self._invitations.pop())
        if self._agency and self._chance.random() < LEAVES:
            await self.phone.ask("DELETE", "/v1/users/me/agency")
        elif not self._automatic and self._chance.random() < ASKS:
            self._count += 1
            await self.phone.ask("POST", "/v1/payouts", key=f"{self.phone.user}-payout-{self._count}")

    async def _answer(self, invited: dict[str, Any]) -> None:
        agency, share = invited["agency"], invited.get("share_bps", 0)
        path = f"/v1/users/me/agency/invitations/{agency}"
        if self._agency or self._chance.random() >= ACCEPTS:
            await self.phone.ask("POST", f"{path}/decline")
            return
        self.shares[agency] = share
        await self.phone.ask("POST", f"{path}/accept", {"share_bps": share})


class Finance:
    """Two clerks, `agencies`, and the bank's counter. `seen`: each payout as a clerk saw it; `files`: so many went to the
    bank."""

    def __init__(self, clerks: list[Phone], agencies: list[Earner], admin: Phone, stores: Stores, seed: str) -> None:
        self.agencies = agencies
        self.seen: dict[str, dict[str, Any]] = {}
        self.files = 0
        self._clerks, self._admin, self._stores = clerks, admin, stores
        self._chance = random.Random(f"{seed}/finance")
        self._job = f"payouts-{admin.user}"
        self._payees: set[str] = set()
        self._batches: list[str] = []
        self._by_provider: dict[str, bool] = {}
        self._taken: dict[str, str] = {}
        self._statements: dict[str, list[str]] = {}

    async def begin(self, streamers: list[str]) -> None:
        """Terms without a reserve, rounds by the timetable, agencies and their invitations."""
        clerk = self._clerks[0]
        known = await clerk.ask("GET", "/v1/payouts/terms")
        if known is None or (known.json()["cents_per_100_coins"], known.json()["reserve_days"]) != (WORTH, 0):
            await clerk.ask("PUT", "/v1/admin/payouts/terms", TERMS)
        await self._admin.ask("PUT", f"/v1/admin/jobs/{self._job}", {
            "schedule": {"every_s": ROUND_EVERY_S}, "command": "BeginPayoutRound",
            "template": {"terms": "terms", "round": "{fire}"},
        })  # fmt: skip
        for number, agency in enumerate(self.agencies):
            name = agency.phone.user
            await clerk.ask(
                "PUT", f"/v1/admin/agencies/{name}", {"agency_name": f"Agency {number}", "most_share_bps": MOST_BPS}
            )
            await agency.begin()
        for streamer in streamers:
            if self._chance.random() < INVITED:
                share = self._chance.randrange(500, MOST_BPS + 1, 250)
                inviting = self._chance.choice(self.agencies).phone
                await inviting.ask("POST", "/v1/agency/invitations", {"user": streamer, "share_bps": share})
        self._payees = {*streamers, *(agency.phone.user for agency in self.agencies)}

    async def live(self, tired: asyncio.Event) -> None:
        """Look at what is asked for, pay it, and write down what the bank says; agencies ask, too."""
        while not tired.is_set():
            await self._look()
            for agency in self.agencies:
                await agency.act()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(tired.wait(), LOOKS_S)

    async def evening(self, earners: list[Earner]) -> list[str]:
        """No more rounds; what is under way is brought to its end. The payouts that were not, in time, and whose coins are
        held."""
        await self._admin.ask("DELETE", f"/v1/admin/jobs/{self._job}")
        deadline, quiet, left = time.monotonic() + ENDS_S, 0, list[str]()
        while quiet < 3 and time.monotonic() < deadline:
            left = [*await self._look(), *(one.phone.user for one in earners if one.held_coins)]
            quiet = 0 if left else quiet + 1
            await asyncio.sleep(LOOKS_S)
        return left

    async def _look(self) -> list[str]:
        """One look at all payouts of the city's people; those that are open."""
        found: dict[str, list[str]] = defaultdict(list)
        for status in OPEN:
            answer = await self._clerks[0].ask("GET", f"/v1/admin/payouts?status={status}&limit={PAGE}")
            rows = answer.json()["payouts"] if answer is not None else ()
            found[status] = [row["payout"] for row in rows if row["user"] in self._payees]
        for payout in found["held"]:
            await self._decide(payout)
        for payout in found["approved"]:
            await self._send(payout)
        await self._take_to_bank([one for one in found["approved"] if not self._by_provider[one] and one not in self._taken])
        for payout, words in self._statements.items():
            await self._settle(payout, words)
        return [*found["held"], *found["approved"], *found["exported"]]

    async def _decide(self, payout: str) -> None:
        """A second person looks at it."""
        answer = await self._clerks[0].ask("GET", f"/v1/payouts/{payout}")
        if answer is None:
            return
        shown = answer.json()
        if shown["status"] != "held":
            return
        self.seen[payout] = shown
        clerk = self._chance.choice([one for one in self._clerks if one.user != shown["maker"]])
        path = f"/v1/admin/payouts/{payout}"
        if self._chance.random() < REJECTS:
            await clerk.ask("POST", f"{path}/reject", {"ref": "doubtful"})
        else:
            await clerk.ask("POST", f"{path}/approve", {"seen": shown["seen"]})

    async def _send(self, payout: str) -> None:
        """To the provider, or it waits for the next file."""
        if self._by_provider.setdefault(payout, self._chance.random() < BY_PROVIDER):
            await self._chance.choice(self._clerks).ask("POST", f"/v1/admin/payouts/{payout}/send")

    async def _take_to_bank(self, payouts: list[str]) -> None:
        """A batch of those, and the files of all batches that the bank does not have."""
        clerk = self._chance.choice(self._clerks)
        if payouts:
            key = f"{clerk.user}-batch-{len(self._taken)}"
            batch = await clerk.ask("POST", "/v1/admin/payouts/batches", {"payouts": payouts}, key)
            if batch is not None:
                self._batches.append(batch.json()["batch"])
                self._taken |= {one: one.replace("-", "") for one in batch.json()["payouts"]}
        for name in list(self._batches):
            file = await clerk.ask("GET", f"/v1/admin/payouts/batches/{name}/file")
            if file is not None:
                said = (await self._stores.act("take", file=file.text))["statements"]
                self.files += 1
                self._batches.remove(name)
                self._statements |= {one: list(said[id_]) for one, id_ in self._taken.items() if id_ in said}

    async def _settle(self, payout: str, words: list[str]) -> None:
        """What the bank's statements say of it, in turn."""
        while words:
            body = {"status": words[0], "ref": "statement"}
            if await self._clerks[1].ask("POST", f"/v1/admin/payouts/{payout}/settle", body) is None:
                stands = await self._clerks[1].ask("GET", f"/v1/payouts/{payout}")
                if stands is None or stands.json()["status"] != words[0]:
                    return  # else it was settled, and the answer was lost
            words.pop(0)
