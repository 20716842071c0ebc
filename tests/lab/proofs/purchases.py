"""The auditor of purchases: of each one exactly so much is credited as the store's last word says, but for what lapsed of its
bonus, to its intent's user, as the account's book and the purchase's own facts tell alike. It reads raw records, and knows
nothing of how they were made."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from schemas.balance_ledger import Ledger, account_in
from schemas.payment import PaymentRefusal
from schemas.purchase import STORE_ACCOUNTS, WHOLE
from tests.lab.proofs.auditor import Read
from tests.lab.proofs.ledger import Json

# Claims that were refused for these reasons leave nothing behind.
FORGOTTEN: Final = (PaymentRefusal.INTENT_UNKNOWN, PaymentRefusal.PRODUCT_DIFFERS, PaymentRefusal.QUANTITY_IMPOSSIBLE)
SIGNS: Final = {"PurchaseCredited": 1, "PurchaseRestored": 1, "PurchaseRefunded": -1}


def broken_purchases(read: Read) -> Iterator[str]:
    """Each purchase of which the books do not say what the store's last word says, of which a claim was not answered, or which
    waits for ever."""
    told: dict[str, list[Json]] = defaultdict(list)
    for row in read("purchase.events"):
        told[row.key].append(row.value or {})
    booked, lapsed = _booked(read), _lapsed(read)
    states = {row.key: row.value for row in read("purchase.state")}
    claims: dict[str, dict[str, Json]] = defaultdict(dict)
    for row in read("purchase.inbox"):
        if row.value and row.value["type"] == "ClaimPurchase":
            claims[row.key][row.value["id"]] = row.value
    for name, words in claims.items():
        yield from _answered(name, words, told[name])
        state = states.get(name)
        if state is None:
            if booked[name]:
                yield f"{name} is forgotten, and its coins are credited: {dict(booked[name])}"
            continue
        if state.get("moving_coins") or state.get("asked"):
            yield f"{name} waits for ever: {state}"
        refused = {fact["cause"] for fact in told[name] if fact.get("refusal") in FORGOTTEN}
        heard = [word for id_, word in words.items() if id_ not in refused]
        words_said = ((word.get("revoked_parts", 0), word.get("parts", WHOLE), word) for word in heard)
        _, _, revoked, parts = max((_signed_at(word), part / of, part, of) for part, of, word in words_said)
        due = state["coins"] - (state["coins"] - lapsed[name]) * revoked // parts
        net = sum(fact.get("coins", 0) * SIGNS.get(fact["type"], 0) for fact in told[name])
        if state.get("retry_at"):
            due = net
        if dict(booked[name]) != ({account_in(Ledger(state.get("ledger", "ordinary")), state["user"]): due} if due else {}):
            yield f"{name}: {due} coins are {state['user']}'s, and booked are {dict(booked[name])}"
        if net != due:
            yield f"{name}: its facts add up to {net}, where {due} are due"


def _signed_at(word: Json) -> datetime:
    """As texts, a whole second would be later than the same one with its fraction."""
    return datetime.fromisoformat(word["signed_at"]) if "signed_at" in word else datetime.min.replace(tzinfo=UTC)


def broken_consumptions(read: Read) -> Iterator[str]:
    """Each purchase at Google that was credited and of which Google is not told so once, or of which more is told than done.
    Periods of subscriptions are not consumed."""
    credited = (row.value for row in read("purchase.events") if row.value and row.value["type"] == "PurchaseCredited")
    google = {fact["purchase"] for fact in credited if fact["store"].startswith("google") and not fact.get("subscription")}
    owed = _those(read, "outbox.inbox", "OweEffect")
    if owed != Counter(f"consume/{name}" for name in google):
        yield f"credited are {sorted(google)}, and consumption is owed of {dict(owed)}"
    taken, heard = _those(read, "outbox.events", "EffectAccepted"), _those(read, "purchase.events", "PurchaseConsumed")
    if taken != Counter({f"consume/{name}": count for name, count in heard.items()}) or any(
        count > 1 for count in heard.values()
    ):
        yield f"taken is {dict(taken)}, and told {dict(heard)}"


def _those(read: Read, topic: str, kind: str) -> Counter[str]:
    """How many records of a type there are, by key; of effects those of consumption."""
    found = ((row.key, row.value or {}) for row in read(topic))
    return Counter(key for key, value in found if value["type"] == kind and value.get("kind", "consume") == "consume")


def _booked(read: Read) -> dict[str, dict[str, int]]:
    """By purchase and account: what came from the store, less what went back to it or is owed."""
    booked: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in read("account.events"):
        entry = row.value or {}
        if entry["type"] == "EntryRecorded" and entry.get("counterparty") in STORE_ACCOUNTS:
            booked[entry["ref"]][entry["account"]] += entry.get("coins", 0) - entry.get("debt_change_coins", 0)
    return defaultdict(dict, {name: {who: coins for who, coins in of.items() if coins} for name, of in booked.items()})


def _lapsed(read: Read) -> Counter[str]:
    """By purchase: what of its bonus was not spent in its time."""
    lapsed = Counter[str]()
    for row in read("account.events"):
        entry = row.value or {}
        if entry["type"] == "EntryRecorded" and entry["kind"] == "lapse":
            lapsed[entry["ref"].removesuffix("/bonus")] -= entry["coins"]
    return lapsed


def _answered(name: str, words: dict[str, Json], facts: list[Json]) -> Iterator[str]:
    if sum(fact["type"] == "PurchaseCredited" for fact in facts) > 1:
        yield f"{name} was credited for the first time more than once"
    answered = {fact["cause"] for fact in facts}
    if missing := words.keys() - answered:
        yield f"{name}: nobody answered {sorted(missing)}"
