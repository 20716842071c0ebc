"""The daily reconcile: each store's history is held against our purchases, what the store's own word mends is mended, and what
was found is told to the log (`schemas.reconciliation`).

Apple: all notifications of the span as it has signed them, and of our purchases of the span that are in none of them the
transaction as it is now. Google: what was voided in the span, and of each of these, and of our purchases of the span, what it
says of the token now. Google lists no purchases: one of which nobody ever told us is found when Google takes it back, three
days later, because nobody has acknowledged it.

What Apphud has told of the span is held against both (`schemas.apphud`): of what it tells alone Apple is asked by the
transaction, and Google cannot be, without the token.

The store is asked first, then the log is read: what is known here is the newer of the two. In memory is what belongs to the
span.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

import httpx
import msgspec

from infra.config import Config
from infra.entities import states_of, tell
from infra.vendors import app_store, app_store_api, play_store
from infra.vendors.app_store import ForgedError
from infra.vendors.play_store import AwayError, Hint, Voided
from schemas.apphud import APPHUD, Apphud
from schemas.log.base import State, new_id, now
from schemas.payment import PRODUCT, Product
from schemas.purchase import PURCHASE, ClaimPurchase, Purchase, Store, purchase_name
from schemas.reconciliation import MAX_DIFFERENCES, RECONCILIATION, Difference, RecordReconciliation
from schemas.reconciliation_rules import UNHEARD, UNKNOWN, Told, compare, compare_apphud, cures, gathered
from schemas.subscription import SUBSCRIPTION, ClaimSubscription, known_as, period_claim

T = TypeVar("T")
# What a store tells, and our purchases that are held against it; of periods of subscriptions the words that they are of.
Periods = dict[str, ClaimSubscription]
Held = tuple[list[Told], dict[str, Purchase], Periods]
GOOGLE: Final = (Store.GOOGLE, Store.GOOGLE_SANDBOX)
TRIES: Final = 5
FIRST_PAUSE_S: Final = 0.5
# Google lists no more.
MAX_DAYS: Final = 30


class Run(NamedTuple):
    """What a run found: all differences, and the command that tells the log."""

    command: RecordReconciliation
    differences: tuple[Difference, ...]


def sellers(config: Config) -> list[Store]:
    """The stores that can be asked here."""
    apple = [] if app_store_api.missing_settings(config) else [apple_of(config)]
    return [*apple, *([] if play_store.missing_settings(config) else [Store.GOOGLE])]


def apple_of(config: Config) -> Store:
    """Under which name the purchases of this platform's App Store are kept."""
    return Store.APPLE if config.apple_environment == "production" else Store.APPLE_SANDBOX


def reconcile(config: Config, store: Store, days: int, client: httpx.Client) -> Run:
    """Hold a store's last days against ours, mend, and tell the log. Errors: AwayError, KafkaException."""
    until = now()
    since = until - timedelta(days=min(days, MAX_DAYS))
    ask = _apple if store.is_apple else _google
    heard = _heard(config, store, since)
    told, known, periods = ask(config, client, since, until, heard)
    products = [(name, state) for name, state in states_of(config, PRODUCT) if isinstance(state, Product)]
    sold = {(one.apple_id if store.is_apple else one.google_id) for _, one in products} - {""}
    found = (*compare(told, known, sold), *compare_apphud(heard, told, known, since))
    for word in cures(told, found):
        if period := periods.get(word.id):
            tell(config, SUBSCRIPTION, period.name, known_as(period, products))
        else:
            tell(config, PURCHASE, word.purchase, word)
    command = RecordReconciliation(
        id=new_id(), at=now(), run=f"{store}/{until:%Y-%m-%dT%H:%M:%SZ}", store=store, since=since, until=until, told=len(told),
        known=len(known), differences=found[:MAX_DIFFERENCES], left_off=max(0, len(found) - MAX_DIFFERENCES),
    )  # fmt: skip
    tell(config, RECONCILIATION, command.run, command)
    return Run(command, found)


def patient(ask: Callable[[], T], pause_s: float = FIRST_PAUSE_S) -> T:
    """What a store answers; asked again some times, with growing pauses. Errors: AwayError."""
    for number in range(TRIES):
        try:
            return ask()
        except AwayError:
            if number == TRIES - 1:
                raise
            time.sleep(pause_s * (1 << number))
    raise AssertionError


def _known(config: Config, stores: tuple[Store, ...], since: datetime, names: Iterable[str]) -> dict[str, Purchase]:
    """Our purchases of these names, and those of the span."""
    named = set(names)

    def belongs(name: str, state: Purchase) -> bool:
        return name in named or (state.store in stores and max(state.purchased_at, state.signed_at) >= since)

    found = states_of(config, PURCHASE, lambda name, state: isinstance(state, Purchase) and belongs(name, state))
    return {name: state for name, state in found if isinstance(state, Purchase)}


def _heard(config: Config, store: Store, since: datetime) -> dict[str, Apphud]:
    """What Apphud has told of the span's transactions."""
    stores = (store,) if store.is_apple else GOOGLE

    def belongs(_: str, state: State) -> bool:
        return isinstance(state, Apphud) and state.store in stores and max(_times(state), default=since) >= since

    return {name: state for name, state in states_of(config, APPHUD, belongs) if isinstance(state, Apphud)}


def _times(state: Apphud) -> list[datetime]:
    return [at for at in (state.bought_at, state.refunded_at) if at is not None]


def _told(name: str, read: Callable[[], ClaimPurchase]) -> Told:
    try:
        return Told(name, read())
    except ForgedError as error:
        return Told(name, code=error.code)


def _apple(config: Config, client: httpx.Client, since: datetime, until: datetime, heard: Mapping[str, Apphud]) -> Held:
    words, unread, periods = list[ClaimPurchase](), dict[str, Told](), Periods()
    for signed in patient(lambda: list(app_store_api.history(config, client, since, until))):
        try:
            word = app_store.read_notification(config, signed, new_id())
        except ForgedError as error:
            unread[error.code] = Told("", code=error.code)
            continue
        if isinstance(word, ClaimSubscription):
            period = period_claim(word)
            periods[period.id] = word
            words.append(period)
        elif isinstance(word, ClaimPurchase):
            words.append(word)
    told = gathered(words)
    known = _known(config, (apple_of(config),), since, {*told, *heard})
    bought = {name for name, word in heard.items() if word.bought_at is not None}
    now_told = [_transaction(config, client, name) for name in sorted((known.keys() | bought) - told.keys())]
    return [*told.values(), *now_told, *unread.values()], known, periods


def _transaction(config: Config, client: httpx.Client, name: str) -> Told:
    """What Apple says now of a purchase of ours."""
    signed = patient(lambda: app_store_api.transaction(config, client, name.partition(":")[2]))
    if signed is None:
        return Told(name, code=UNKNOWN)

    def read() -> ClaimPurchase:
        word = app_store.read_transaction(config, signed, "", new_id())
        return word if isinstance(word, ClaimPurchase) else period_claim(word)

    return _told(name, read)


def _google(config: Config, client: httpx.Client, since: datetime, until: datetime, heard: Mapping[str, Apphud]) -> Held:
    voided: dict[str, list[Voided]] = {}
    for one in patient(lambda: play_store.voided(config, client, since, until)):
        voided.setdefault(one.order, []).append(one)
    voids = {purchase_name(store, order) for store in GOOGLE for order in voided}
    known = _known(config, GOOGLE, since, {*voids, *heard})
    told = []
    for name, ours in known.items():
        taken = voided.pop(name.partition(":")[2], [])
        if token := ours.token or next((one.token for one in taken), ""):
            found = _purchase(config, client, name, Hint("reconcile", token, ours.store_product))
            told.append(found._replace(doubled=_doubled(taken, ours.quantity)))
    return [*told, *(Told(purchase_name(Store.GOOGLE, order), code=UNHEARD) for order in voided)], known, {}


def _purchase(config: Config, client: httpx.Client, name: str, hint: Hint) -> Told:
    """What Google says now of a purchase of ours."""
    return _told(name, lambda: patient(lambda: play_store.read_purchase(config, client, hint, "", new_id())))


def _doubled(voids: list[Voided], quantity: int) -> bool:
    """Whether more was taken back than there was. A void that says no quantity is of all."""
    return sum(one.quantity or quantity for one in voids) > quantity


def shown(one: Difference) -> Iterator[str]:
    """A difference as a row of texts."""
    for value in msgspec.structs.astuple(one):
        yield str(value) if value else ""
