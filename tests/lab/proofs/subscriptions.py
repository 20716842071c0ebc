"""The auditor of subscriptions: reads a whole log, and says which laws of subscriptions it breaks.

Each is where the store's words about its latest period say, whatever came in which order; each word is told to a purchase, and
answered; its user has its tag while it lasts, given and taken in turn. It reads raw records, and knows nothing of how they were
made.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from tests.lab.proofs.auditor import Read
from tests.lab.proofs.ledger import Json

# In which order words that were signed at the same time count, the last one most.
RANKS: Final = ("active", "grace", "hold", "paused", "expired", "revoked")
LASTING: Final = ("active", "grace")
# What is over by the clock alone is over so long behind its end.
SLACK: Final = timedelta(hours=1)
EPOCH: Final = "1970-01-01T00:00:00Z"


def broken_subscriptions(read: Read) -> Iterator[str]:
    """The laws, one behind the other; to be asked when the log is quiet."""
    facts: dict[str, list[Json]] = defaultdict(list)
    for row in read("subscription.events"):
        facts[row.key].append(row.value or {})
    words: dict[str, dict[str, Json]] = defaultdict(dict)
    for row in read("subscription.inbox"):
        if row.value and row.value["type"] == "ClaimSubscription":
            words[row.key][row.value["id"]] = row.value
    claimed = {row.value["id"] for row in read("purchase.inbox") if row.value and row.value["type"] == "ClaimPurchase"}
    states = {row.key: row.value for row in read("subscription.state")}
    tags: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in read("member.inbox"):
        if row.value and row.value["type"] in ("PutTag", "RemoveTag") and row.value.get("by") in words:
            tags[row.value["by"]][row.value.get("tag", "")].append(row.value["type"])
    for name, said in words.items():
        if missing := said.keys() - {fact["cause"] for fact in facts[name]}:
            yield f"{name}: nobody answered {sorted(missing)}"
        refused = {fact["cause"] for fact in facts[name] if fact["type"] == "SubscriptionRefused"}
        if untold := {f"{id_}/period" for id_ in said.keys() - refused} - claimed:
            yield f"{name}: {sorted(untold)} were told to no purchase"
        changes = [fact for fact in facts[name] if fact["type"] == "SubscriptionChanged"]
        if states.get(name) is None or not changes:
            continue
        yield from _standing(name, [word for id_, word in said.items() if id_ not in refused], changes[-1])
        yield from _tagged(name, states[name] or {}, tags[name], changes[-1])


def _standing(name: str, words: list[Json], last: Json) -> Iterator[str]:
    """Where it stands by a second reckoning."""
    latest = max(words, key=lambda word: (_at(word["purchased_at"]), _at(word["paid_until"]), word["transaction"]))
    of_it = [word for word in words if word["transaction"] == latest["transaction"]]
    signed = max(of_it, key=lambda word: (_at(word.get("signed_at", EPOCH)), word.get("revoked_parts", 0)))
    told = max(of_it, key=lambda word: (_at(word.get("told_at", EPOCH)), RANKS.index(word.get("status", "active"))))
    status, until = told.get("status", "active"), told.get("until", latest["paid_until"])
    if _at(until) == _at(EPOCH):
        until = latest["paid_until"]
    by_clock = status in LASTING and last["status"] == "expired" and _at(until) + SLACK <= _at(last["at"])
    if signed.get("revoked_parts"):
        status = "revoked"
    elif by_clock or any(word.get("replaced") for word in words):
        status = "expired"
    due = (latest["transaction"], status, told.get("renews", True), told.get("next_store_product", ""))
    if (last["transaction"], last["status"], last.get("renews", True), last.get("next_store_product", "")) != due:
        yield f"{name} is {due} by the store's words, and the last fact says {last}"


def _tagged(name: str, state: Json, tags: dict[str, list[str]], last: Json) -> Iterator[str]:
    """The tag of the running period's product; where that was another one before, its tag was taken."""
    for tag, told in tags.items():
        if told != [("PutTag", "RemoveTag")[number % 2] for number in range(len(told))]:
            yield f"{name}: its tag {tag} was given and taken in the order {told}"
    given = {tag for tag, told in tags.items() if told[-1] == "PutTag"}
    if given != ({state.get("tag", "")} - {""} if last["status"] in LASTING else set()):
        yield f"{name} is {last['status']}, and its tags were told {dict(tags)}"


def _at(text: object) -> datetime:
    return datetime.fromisoformat(str(text))
