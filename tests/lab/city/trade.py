"""The trade of a city: who buys and who earns, the stores, agencies and finance; from the morning until its books."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import httpx

from tests.lab.city.life import Person, Streamer, User
from tests.lab.city.payday import Earner, Finance
from tests.lab.city.phone import Phone, Sights
from tests.lab.city.shopping import Shopper, Stores
from tests.lab.city.trade_books import TradeBooks

# So many streamers an agency.
STREAMERS: Final = 12
MOST_AGENCIES: Final = 4


class Trade:
    """`vendors`: where the market is; `clickhouse`: where analysts ask."""

    def __init__(self, vendors: str, clickhouse: str, client: httpx.AsyncClient, sights: Sights, seed: str) -> None:
        self.stores = Stores(vendors, client, sights)
        self._clickhouse, self._sights, self._seed = clickhouse, sights, seed
        self._shoppers: list[Shopper] = []
        self._earners: list[Earner] = []
        self._finance: Finance | None = None
        self._tired = asyncio.Event()
        self._clerks: asyncio.Task[None] | None = None

    async def begin(
        self, people: Sequence[Person], admin: Phone, phone: Callable[[str, str], Awaitable[Phone]]
    ) -> None:  # fmt: skip
        """Everybody knows how to buy and to be paid; `phone` makes one by name and role."""
        await self.stores.begin(admin)
        for person in people:
            seed = f"{self._seed}/{person.phone.user}"
            match person:
                case User():
                    person.shopper = Shopper(person.phone, self.stores, seed, len(self._shoppers))
                    self._shoppers.append(person.shopper)
                case Streamer():
                    person.earner = Earner(person.phone, seed)
                    self._earners.append(person.earner)
        for shopper in self._shoppers:
            shopper.others = [one.phone for one in self._shoppers if one is not shopper][:10]
        streamers = [earner.phone.user for earner in self._earners]
        agencies = []
        for number in range(min(MOST_AGENCIES, 1 + len(streamers) // STREAMERS)):
            agency = await phone(f"agency{number}", "agency")
            while not await agency.sign_up():
                await asyncio.sleep(0.5)
            agencies.append(Earner(agency, f"{self._seed}/{agency.user}"))
            agency.on_event = agencies[-1].heard
            agency.connect()
        clerks = [await phone(name, "finance") for name in ("fay", "gus")]
        self._earners += agencies
        self._finance = Finance(clerks, agencies, admin, self.stores, self._seed)
        await self._finance.begin(streamers)

    @property
    def payees(self) -> list[str]:
        """Streamers and agencies, who are paid."""
        return [earner.phone.user for earner in self._earners]

    def open(self) -> None:
        """Finance begins to work."""
        assert self._finance is not None
        self._clerks = asyncio.create_task(self._finance.live(self._tired))

    async def close(self) -> TradeBooks:
        """What stores have not told is told, what is to be paid is paid; then the books can be closed."""
        assert self._finance is not None
        assert self._clerks is not None
        self._tired.set()
        for ended in await asyncio.gather(self._clerks, return_exceptions=True):
            if isinstance(ended, BaseException):
                self._sights.wrong(f"finance ended: {ended!r}")
        await self.stores.evening()
        books = TradeBooks(self.stores, self._finance, self._shoppers, self._earners, self._clickhouse)
        left = await self._finance.evening(self._earners)
        books.broken += [f"{one}: a payout is still under way" for one in left]
        return books

    async def end(self) -> None:
        """Agencies go home, too."""
        if self._finance is not None:
            await asyncio.gather(*(agency.phone.disconnect() for agency in self._finance.agencies))

    @staticmethod
    def tell(tell: Callable[[str], None], sums: "Counter[str]") -> None:
        """What the books say of it."""
        euros = {name: sums[name] / 1_000 for name in ("cash taken", "cash", "cash in the warehouse")}
        tell(f"cash: stores took {euros['cash taken']:,.2f} EUR and gave back {euros['cash taken'] - euros['cash']:,.2f}: "
             f"{euros['cash']:,.2f} left, {euros['cash in the warehouse']:,.2f} by our purchases; {sums['sales']:,} sales, of "
             f"which {sums['periods']:,} periods of {sums['subscriptions']:,} subscriptions, {sums['taken back']:,} taken "
             f"back, {sums['consumed']:,} consumed; {sums['owed']:,} coins are owed")  # fmt: skip
        tell(f"earnings: {sums['coins earned']:,} coins earned = {sums['coins paid out']:,} paid out + {sums['coins left']:,} "
             f"left; of them agencies had {sums['coins shared']:,}")  # fmt: skip
        tell(f"payouts: {sums['payouts']:,}, of which {sums['payouts paid']:,} paid: {sums['cents paid'] / 100:,.2f} EUR and "
             f"{sums['cents of fees'] / 100:,.2f} of fees; provider and bank have paid "
             f"{sums['cents by provider and bank'] / 100:,.2f} EUR")  # fmt: skip
