"""The city's campaigns: installs that AppsFlyer pushes (some late, some twice), consents, rules, and vendors that stumble; at
the end the platform's ledger of postbacks is held against what the vendors took.

Laws: what a vendor took is what the ledger calls accepted, each id once whatever failed; nothing is left under way; no request
was against a vendor's contract; every install that led to a sign-up is attributed.
"""

import asyncio
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx
from clickhouse_connect.driver.client import Client

from infra.clickhouse import connect
from tests.lab.city.phone import Phone, Sights
from tests.lab.city.vendors import ENVIRONMENT, KINDS

# Of ten people, six come by a campaign, two organically, two are unknown to AppsFlyer.
SOURCES: Final = {"snapchat_int": 4, "tiktokglobal_int": 2, "organic": 2, "": 2}
CAMPAIGNS: Final = {"snapchat_int": ("Autumn", "Winter"), "tiktokglobal_int": ("Dance",), "organic": ("",)}
COUNTRIES: Final = ("DE", "GB", "FR", "US")
CONSENTS: Final = 0.85
TWICE: Final = 0.2
# A third of the vendors' answers fail while people are about.
TROUBLE: Final = 1 / 3
PATIENCE_S: Final = 120.0
VALUE: Final = {"currency": "EUR", "per_coin_micros": 10_000}
RULES: Final = [
    {"conversion": "sign_up", "provider": "snapchat", "event": "SIGN_UP", "consent": "ads", "network": "snapchat"},
    {"conversion": "purchase", "provider": "snapchat", "event": "PURCHASE", "consent": "ads", "network": "snapchat",
     "value": VALUE},
    {"conversion": "first_call", "provider": "snapchat", "event": "CUSTOM_EVENT_1", "consent": "ads", "network": "snapchat"},
    {"conversion": "sign_up", "provider": "appsflyer", "event": "af_complete_registration", "consent": "ads"},
    {"conversion": "purchase", "provider": "appsflyer", "event": "af_purchase", "consent": "ads", "value": VALUE},
    {"conversion": "first_gift", "provider": "amplitude", "event": "First gift", "consent": "analytics"},
    {"conversion": "first_purchase", "provider": "ga4", "event": "first_purchase", "consent": "analytics", "value": VALUE},
]  # fmt: skip
SPENDERS: Final = {
    "rule": {"rule": "count", "field": "coins_spent", "window": "30d", "at_least": 100}, "tag": "spender",
    "name": "Spent 100 coins in 30 days", "everybody": True,
}  # fmt: skip


class Arrival(NamedTuple):
    """How somebody comes: what the phone tells at sign-up, and AppsFlyer's push if it sends one."""

    sign_up: dict[str, str]
    install: str
    push: dict[str, Any] | None
    push_first: bool


def arrival_of(user: str, chance: random.Random) -> Arrival:
    """By chance."""
    ios = chance.random() < 0.5
    known = {
        "country": chance.choice(COUNTRIES),
        "platform": "ios" if ios else "android",
        "app_version": "1.4",
        "locale": "en_GB",
    }
    source = chance.choices(list(SOURCES), list(SOURCES.values()))[0]
    if not source:
        return Arrival(known, "", None, push_first=False)
    install, at = f"af-{user}", datetime.now(UTC) - timedelta(minutes=chance.randrange(1, 600))
    campaign, ad = chance.choice(CAMPAIGNS[source]), chance.randrange(1, 4)
    text = f"{at:%Y-%m-%d %H:%M:%S}.000"
    push = {
        "appsflyer_id": install, "event_name": "install", "event_time": text, "install_time": text, "media_source": source,
        "campaign": campaign or None, "af_c_id": campaign.lower() or None, "af_adset": "18+", "af_adset_id": "s1",
        "af_ad": f"Ad {ad}", "af_ad_id": f"a{ad}", "platform": known["platform"], "country_code": known["country"],
        "app_id": ENVIRONMENT["OLO_APP_ID_IOS" if ios else "OLO_APP_ID_ANDROID"],
    }  # fmt: skip
    return Arrival(known | {"appsflyer_id": install}, install, push, push_first=chance.random() < 0.6)


class Campaigns:
    """What brings people, and the audit of what vendors were told. `vendors`: the stand-ins' URL."""

    def __init__(self, vendors: str, clickhouse: str, client: httpx.AsyncClient, sights: Sights) -> None:
        self.broken: list[str] = []
        self.sums: Counter[str] = Counter()
        self._vendors = vendors
        self._clickhouse = clickhouse
        self._client = client
        self._sights = sights
        self._installs: set[str] = set()
        self._users: set[str] = set()

    async def begin(self, admin: Phone) -> None:
        """Rules, a cohort, and vendors that stumble."""
        await admin.ask("PUT", "/v1/admin/postbacks/rules", {"rules": RULES})
        await admin.ask("PUT", "/v1/admin/cohorts/spenders", SPENDERS)
        await self._trouble(TROUBLE)

    async def _trouble(self, share: float) -> None:
        await self._client.post(f"{self._vendors}/trouble", json={"share": share, "kinds": KINDS})

    async def kill(self, token: str) -> None:
        """From now on a phone's token is none."""
        await self._client.post(f"{self._vendors}/trouble", json={"share": TROUBLE, "kinds": KINDS, "dead": [token]})

    async def arrive(self, phone: Phone, chance: random.Random) -> bool:
        """Somebody installs the app and signs up, in either order; agrees to be measured, or not. False: try again."""
        arrival = arrival_of(phone.user, chance)
        if arrival.push_first:
            await self._push(arrival, chance)
        if not await phone.sign_up(arrival.sign_up):
            return False
        self._users.add(phone.user)
        if arrival.push and not arrival.push_first:
            await self._push(arrival, chance)
        agrees = chance.random() < CONSENTS
        await phone.ask("PUT", "/v1/tracking", {
            "consents": ["ads", "analytics"] if agrees else [], "appsflyer_id": arrival.install, "tracking_allowed": agrees,
            "advertising_id": f"ad-{phone.user}", "app_instance_id": f"ga-{phone.user}",
        })  # fmt: skip
        await phone.ask("PUT", "/v1/profile", {"name": phone.user.rpartition("-")[2], "age": chance.randrange(18, 50),
                                               "country": arrival.sign_up["country"], "languages": ["en"]})  # fmt: skip
        await phone.ask("PUT", "/v1/profile/private", {"email": f"{phone.user}@example.com"})
        return True

    async def _push(self, arrival: Arrival, chance: random.Random) -> None:
        headers = {"X-AppsFlyer-Token": ENVIRONMENT["OLO_APPSFLYER_PUSH_TOKEN"]}
        for _ in range(2 if chance.random() < TWICE else 1):
            began = time.monotonic()
            while (
                answer := await self._client.post("/v1/webhooks/appsflyer", json=arrival.push, headers=headers)
            ).status_code == 503 and time.monotonic() < began + self._sights.patience_s:
                await asyncio.sleep(1)
            if answer.status_code != 200:
                self._sights.wrong(f"AppsFlyer's push: {answer.status_code} {answer.text[:200]}")
        self._installs.add(arrival.install)

    # --- the end ---------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Wait until every postback has ended, then hold the ledger against the vendors."""
        await self._trouble(0.0)
        client = await asyncio.to_thread(connect, self._clickhouse)
        deadline = time.monotonic() + PATIENCE_S
        rows: list[tuple[str, str, str, int]] = []
        while time.monotonic() < deadline:
            rows = await asyncio.to_thread(self._ledger, client)
            if rows and all(state in ("accepted", "refused") for _, _, state, _ in rows):
                break
            await asyncio.sleep(1)
        self._audit(rows, (await self._client.get(f"{self._vendors}/received")).json())
        attributed = await asyncio.to_thread(self._attributed, client)
        if attributed != len(self._installs):
            self.broken.append(f"{len(self._installs)} installs led to a sign-up, {attributed} users are attributed")
        self.sums["installs"] = len(self._installs)

    def _ledger(self, client: Client) -> list[tuple[str, str, str, int]]:
        found = client.query("SELECT provider, effect, state, attempts, user FROM postbacks").result_rows
        return [(provider, effect, state, attempts) for provider, effect, state, attempts, user in found if user in self._users]

    def _attributed(self, client: Client) -> int:
        found = client.query("SELECT DISTINCT user FROM attributions FINAL WHERE counts").result_rows
        return sum(1 for (user,) in found if user in self._users)

    def _audit(self, rows: list[tuple[str, str, str, int]], received: dict[str, Any]) -> None:
        states = Counter(state for _, _, state, _ in rows)
        self.sums.update(owed=len(rows), attempts=sum(row[3] for row in rows), requests=received["requests"], **states)
        self.broken += [f"against a vendor's contract: {line}" for line in received["wrong"][:5]]
        left = [row[1] for row in rows if row[2] not in ("accepted", "refused")]
        if left:
            self.broken.append(f"{len(left)} postbacks are still under way, such as {left[0]}")
        taken = {(provider, id_) for provider, known in received["taken"].items() for id_ in known}
        ours = {(row[0], row[1]) for row in rows}
        accepted = {(row[0], row[1]) for row in rows if row[2] == "accepted"}
        for missing in sorted(accepted - taken)[:3]:
            self.broken.append(f"the ledger says accepted, {missing[0]} did not get {missing[1]}")
        for extra in sorted((taken & ours) - accepted)[:3]:
            self.broken.append(f"{extra[0]} took {extra[1]}, the ledger does not say so")
        repeats = [
            known[1] for provider, ids in received["taken"].items() for id_, known in ids.items() if (provider, id_) in ours
        ]
        self.sums["taken more than once"] = sum(1 for times in repeats if times > 1)
