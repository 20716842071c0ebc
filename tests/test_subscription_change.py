"""Subscriptions that are changed to another product at the store: what is given follows the running period, what comes next is
told before, and the same words in any order, any number of times, lead to one state, the same tags and the same coins."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.panel import decide_member
from pipelines.payment import decide_intent, decide_product
from pipelines.purchase import decide_purchase
from pipelines.subscription import decide_subscription
from schemas.balance import Credit
from schemas.log.base import Message, UserId, Wake
from schemas.outbox import OweEffect
from schemas.panel import PutTag, RemoveTag
from schemas.payment import (
    IntentRead,
    KeepIntent,
    OpenIntent,
    PaymentRefusal,
    PinProduct,
    ProductPinned,
    PutProduct,
    ReadIntent,
    changed_intent,
)
from schemas.purchase import WHOLE, ClaimPurchase, PurchaseRefused, Store
from schemas.subscription import (
    ClaimSubscription,
    Subscription,
    SubscriptionChanged,
    SubscriptionRefused,
    SubscriptionStatus,
    subscription_name,
)
from tests.people import BOB

EVE: Final = UserId("eve")
T: Final = datetime(2030, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
NAME: Final = subscription_name(Store.APPLE, "7")
OLD, NEW = (subscription_name(Store.GOOGLE, one) for one in ("GPA.1", "GPA.2"))
S = SubscriptionStatus
# Our products: what each period gives, and the tag.
PRODUCTS: Final = {"month": (100, "vip"), "year": (1_500, "vip"), "gold": (300, "gold")}
DECIDERS: Final = {
    "product": decide_product, "intent": decide_intent, "subscription": decide_subscription, "purchase": decide_purchase,
    "member": lambda state, message: decide_member(state, message, None),
}  # fmt: skip


class World:
    """Deciders side by side: what one of them tells reaches another in the order of its inbox, and no other order is kept."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.states: dict[tuple[str, str], Any] = {}
        self.inboxes: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.told: list[Any] = []
        for name, (coins, tag) in PRODUCTS.items():
            self.send(PutProduct(
                id=f"put/{name}", at=T, product=name, coins=coins, renewing=True, apple_id=f"a.{name}", google_id=f"g.{name}",
                tag=tag, active=name != "gold",
            ))  # fmt: skip
        self.run()
        for intent, user, product in (("i", BOB, "month"), ("j", BOB, "year"), ("e", EVE, "year")):
            self.send(OpenIntent(id=f"open/{intent}", at=T, intent=intent, user=user, product=product))
        self.run()

    def send(self, message: Any) -> None:
        """Into the inbox of whose it is."""
        place = place_of(message)
        if place:
            self.inboxes[place].append(message)

    def run(self) -> None:
        """Until nothing is left to decide."""
        while places := [place for place, inbox in self.inboxes.items() if inbox]:
            place = self.chance.choice(places)
            decider: Any = DECIDERS[place[0]]
            self.states[place], told = decider(self.states.get(place), self.inboxes[place].pop(0))
            self.told += told
            for one in told:
                self.send(one)

    def tags(self, user: str = BOB) -> set[str]:
        member = self.states.get(("member", user))
        return set(member.tags) if member else set()

    def credited(self) -> dict[str, tuple[str, int]]:
        """What each transaction gives to whom, by the store's last word; the ledger is asked for it once."""
        asked = [one.ref for one in self.told if isinstance(one, Credit)]
        assert len(set(asked)) == len(asked)
        purchases = {name: state for (entity, name), state in self.states.items() if entity == "purchase" and state}
        return {name: (state.user, state.due_coins) for name, state in purchases.items()}


def place_of(message: Message) -> tuple[str, str] | None:
    match message:
        case PutProduct() | PinProduct():
            return "product", message.product
        case OpenIntent() | ReadIntent() | KeepIntent() | ProductPinned():
            return "intent", message.intent
        case ClaimSubscription():
            return "subscription", message.name
        case ClaimPurchase():
            return "purchase", message.purchase
        case IntentRead():
            return "subscription" if message.purchase.startswith("subscription") else "purchase", message.purchase
        case PutTag() | RemoveTag():
            return "member", message.user
        case Wake():
            return "subscription", message.key
    return None


def word(product: str, period: int, begins: int, days: int, signed: int = 0, **more: Any) -> ClaimSubscription:
    """Apple's word of a period that begins on a day and lasts for so many; with a status it tells of the renewal, too."""
    paid_until, at = T + DAY * (begins + days), T + DAY * begins + timedelta(seconds=signed)
    fields: dict[str, Any] = {"intent": "i", "name": NAME, "store": Store.APPLE, "transaction": f"7{period}"} | more
    shelf = "a" if fields["store"].is_apple else "g"
    if "status" in fields:
        fields = {"told_at": at, "until": paid_until} | fields
    return ClaimSubscription(
        id=f"{fields['name']}-{fields['transaction']}-{signed}-{sorted(more)}", at=T + DAY * begins, quantity=1,
        purchased_at=T + DAY * begins, paid_until=paid_until, signed_at=at, store_product=f"{shelf}.{product}", sold_as=product,
        **fields,
    )  # fmt: skip


def played(words: list[ClaimSubscription], seed: int = 0, until: datetime | None = None) -> World:
    world = World(Random(seed))
    for one in words:
        world.send(one)
        if world.chance.random() < 0.5:
            world.run()
    world.run()
    for name in sorted({one.name for one in words}):
        world.send(Wake(id=f"w/{name}", at=until or T, key=name))
    world.run()
    return world


def standing(world: World, name: str = NAME) -> tuple[Any, ...]:
    """All that a subscription says of itself, but not which of the same words it heard of last."""
    state: Subscription = world.states["subscription", name]
    assert not state.reading
    assert not state.asked
    return tuple(getattr(state, field) for field in Subscription.__struct_fields__)


BEGUN = word("month", 1, 0, 30)
# A downgrade waits for the renewal, is taken back, and asked for again; then the renewal is of the other product.
WAITING = word("month", 1, 0, 30, 5, status=S.ACTIVE, next_store_product="a.year", next_product="year")
TAKEN_BACK = word("month", 1, 0, 30, 6, status=S.ACTIVE)
AGAIN = word("month", 1, 0, 30, 7, status=S.ACTIVE, next_store_product="a.year", next_product="year")
RENEWED = word("year", 2, 30, 365, status=S.ACTIVE)
# An upgrade at once, bought in the app with an intent of its own, which is paid for shorter than what it takes the place of.
UPGRADED = word("gold", 3, 40, 30, status=S.ACTIVE)
ENDED = word("year", 2, 30, 365, 900_000, status=S.EXPIRED, renews=False)
REFUNDED = word("gold", 3, 40, 30, 8, revoked_parts=WHOLE)


@pytest.mark.parametrize(
    ("words", "product", "tags", "coins", "next_product"),
    [
        ([BEGUN], "month", {"vip"}, [100], ""),
        ([BEGUN, WAITING], "month", {"vip"}, [100], "year"),
        ([BEGUN, WAITING, TAKEN_BACK], "month", {"vip"}, [100], ""),
        ([BEGUN, WAITING, TAKEN_BACK, AGAIN], "month", {"vip"}, [100], "year"),
        ([BEGUN, AGAIN, RENEWED], "year", {"vip"}, [100, 1_500], ""),
        ([BEGUN, RENEWED, UPGRADED], "gold", {"gold"}, [100, 300, 1_500], ""),
        ([BEGUN, RENEWED, UPGRADED, ENDED], "gold", {"gold"}, [100, 300, 1_500], ""),
        ([UPGRADED, BEGUN], "gold", {"gold"}, [100, 300], ""),
        ([BEGUN, UPGRADED, REFUNDED], "gold", set(), [0, 100], ""),
    ],
)
def test_what_is_given_follows_the_running_period(
    words: list[ClaimSubscription], product: str, tags: set[str], coins: list[int], next_product: str
) -> None:
    world = played(words)
    state: Subscription = world.states["subscription", NAME]
    assert (state.product, world.tags(), state.next_product) == (product, tags, next_product)
    assert sorted(one for _, one in world.credited().values()) == coins
    changed = [one for one in world.told if isinstance(one, SubscriptionChanged)]
    assert (changed[-1].product, changed[-1].next_product, changed[-1].coins) == (product, next_product, PRODUCTS[product][0])
    assert not any(isinstance(one, SubscriptionRefused | PurchaseRefused) for one in world.told)


def test_a_tag_that_both_products_give_is_never_taken_in_between() -> None:
    world = played([BEGUN, RENEWED])
    assert [type(one) for one in world.told if isinstance(one, PutTag | RemoveTag)] == [PutTag]


def test_what_a_change_gives_is_pinned_by_version_and_kept() -> None:
    """The product changes behind the subscription's change: its next periods give what the first one gave."""
    world = played([BEGUN, RENEWED])
    world.send(PutProduct(id="put2", at=T, product="year", coins=1, renewing=True, apple_id="a.year", tag="none"))
    world.run()
    world.send(word("year", 4, 395, 365, status=S.ACTIVE))
    world.run()
    assert [coins for _, coins in world.credited().values()] == [100, 1_500, 1_500]
    assert world.tags() == {"vip"}
    kept = {one.intent for one in world.told if isinstance(one, KeepIntent)}
    assert kept == {"i", changed_intent("i", "year")}


def test_a_product_of_which_nobody_knows_gives_nothing_until_it_is_put() -> None:
    unknown = replace(RENEWED, store_product="a.week", sold_as="")
    forth, back = played([BEGUN, unknown]), played([unknown, BEGUN])
    for world in (forth, back):
        state: Subscription = world.states["subscription", NAME]
        assert (state.product, state.user, state.tagged, world.tags()) == ("", "", False, set())
        assert [one.refusal for one in world.told if isinstance(one, PurchaseRefused)] == [PaymentRefusal.PRODUCT_DIFFERS]
    over = [one for one in forth.told if isinstance(one, SubscriptionChanged)][-1]
    assert (over.user, over.status) == (BOB, S.EXPIRED)
    forth.send(PutProduct(id="put2", at=T, product="week", coins=25, renewing=True, apple_id="a.week", tag="w"))
    forth.run()
    forth.send(replace(unknown, id="again", sold_as="week"))
    forth.run()
    assert (forth.states["subscription", NAME].product, forth.tags()) == ("week", {"w"})
    assert sorted(coins for _, coins in forth.credited().values()) == [25, 100]


def test_a_word_without_an_intent_is_of_whose_the_subscription_is() -> None:
    world = played([BEGUN, replace(RENEWED, intent="")])
    assert [coins for _, coins in world.credited().values()] == [100, 1_500]


GOOGLE: Final[dict[str, Any]] = {"store": Store.GOOGLE, "status": S.ACTIVE}
G_OLD = word("month", 1, 0, 30, name=OLD, transaction="GPA.1", token="t1", **GOOGLE)
G_RENEWED = word("month", 1, 0, 60, 1, name=OLD, transaction="GPA.1..0", token="t1", **GOOGLE)
G_OVER = replace(
    G_RENEWED, id="over", signed_at=T + DAY, told_at=T + DAY, status=S.EXPIRED, renews=False, replaced=True
)  # fmt: skip
G_NEW = word("year", 1, 20, 365, name=NEW, transaction="GPA.2", token="t2", linked_intent="i", **GOOGLE | {"intent": "j"})
G_STALE = replace(G_RENEWED, id="stale", signed_at=T + 2 * DAY, told_at=T + 2 * DAY)


def test_what_was_replaced_at_google_gives_nothing_any_more() -> None:
    world = played([G_OLD, G_RENEWED, G_OVER, G_NEW, G_STALE])
    old, new = (world.states["subscription", name] for name in (OLD, NEW))
    assert (old.seen, old.tagged, old.replaced) == (S.EXPIRED, False, True)
    assert (new.seen, new.product, new.user, world.tags()) == (S.ACTIVE, "year", BOB, {"vip"})
    assert {one.effect for one in world.told if isinstance(one, OweEffect)} == {f"acknowledge/{OLD}", f"acknowledge/{NEW}"}
    assert sorted(coins for _, coins in world.credited().values()) == [100, 100, 1_500]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [({"intent": "e"}, PaymentRefusal.PURCHASE_OF_ANOTHER), ({"intent": "none"}, PaymentRefusal.INTENT_UNKNOWN)],
)
def test_who_replaces_it_is_its_owner(changes: dict[str, Any], refusal: PaymentRefusal) -> None:
    world = played([G_OLD, G_OVER, replace(G_NEW, **changes)])
    assert {one.refusal for one in world.told if isinstance(one, SubscriptionRefused | PurchaseRefused)} == {refusal}
    assert (world.tags(), world.tags(EVE)) == (set(), set())
    assert [coins for _, coins in world.credited().values()] == [100, 100]
    unknown = played([replace(G_NEW, linked_intent="before us")])
    assert unknown.states["subscription", NEW].product == "year"


def test_each_token_of_a_subscription_is_acknowledged() -> None:
    """A replacement that waits for the renewal has a token of its own, and the first one's orders."""
    waiting = replace(
        G_RENEWED, id="w", token="t2", told_at=T + DAY, signed_at=T + DAY, next_store_product="g.year",
        transaction="GPA.1..1", paid_until=T + 90 * DAY, until=T + 90 * DAY,
    )  # fmt: skip
    world = played([G_OLD, waiting])
    owed = {(one.effect, one.store_act.token) for one in world.told if isinstance(one, OweEffect) and one.store_act}
    assert owed == {(f"acknowledge/{OLD}", "t1"), (f"acknowledge/{OLD}/GPA.1..1", "t2")}
    assert world.states["subscription", OLD].seen_next == "g.year"


APPLES: Final = [BEGUN, WAITING, TAKEN_BACK, AGAIN, RENEWED, UPGRADED, ENDED, REFUNDED]
OTHERS: Final = [word("year", 5, 80, 365, intent="j"), word("month", 6, 90, 30, intent="e")]
GOOGLES: Final = [G_OLD, G_RENEWED, G_OVER, G_NEW, G_STALE]


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([*APPLES, *OTHERS, *GOOGLES]), min_size=2, max_size=10, unique_by=lambda one: one.id),
    st.integers(0, 99), st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_same_words_in_any_order_lead_to_one_state(words: list[ClaimSubscription], seed: int, chance: Any) -> None:
    mixed = [*words, replace(chance.choice(words), id="twice")]
    chance.shuffle(mixed)
    at = T + DAY * chance.choice((10, 75, 200))
    first, second = played(words, until=at), played(mixed, seed, at)
    for name in sorted({one.name for one in words}):
        assert standing(first, name) == standing(second, name)
    assert (first.tags(), first.tags(EVE), first.credited()) == (second.tags(), second.tags(EVE), second.credited())
    for user in (BOB, EVE):
        states = [first.states["subscription", name] for name in {one.name for one in words}]
        assert first.tags(user) == {state.tag for state in states if state.tagged and state.user == user}
