"""How a store's history is held against our purchases: pure, by transaction, and without an order.

Laws: where the store's latest words are those that our purchases have heard, nothing differs; a word that is sent as a cure
mends its difference; our own word, where it was signed later than the store's, is no difference.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from schemas.apphud import Apphud
from schemas.purchase import ClaimPurchase, PriceCheck, Purchase
from schemas.reconciliation import Cure, Difference, StoreDifference

# Why a store gave no word of a transaction: it knows none, it is another app's, it was taken back before anybody told us of it.
UNKNOWN: Final = "transaction_unknown"
ANOTHER_APP: Final = "transaction_of_another_app"
UNHEARD: Final = "purchase_unheard"
WITHOUT_WORD: Final = {
    UNKNOWN: (StoreDifference.PURCHASE_UNKNOWN, Cure.ASK_STORE),
    ANOTHER_APP: (StoreDifference.PRODUCT_FOREIGN, Cure.LOOK_AT_SETTINGS),
    UNHEARD: (StoreDifference.PURCHASE_MISSING, Cure.ASK_BUYER),
}


class Told(NamedTuple):
    """What a store tells of a transaction: its latest word, or the `code` that says why there is none. `doubled`: it tells of
    more refunds than there can be."""

    purchase: str
    claim: ClaimPurchase | None = None
    doubled: bool = False
    code: str = ""


def gathered(words: Iterable[ClaimPurchase]) -> dict[str, Told]:
    """The store's words by transaction, in any order, each once: the latest counts. Two of the same refund, signed at different
    times and without a reversal between them, are a doubled one."""
    by_purchase: dict[str, list[ClaimPurchase]] = {}
    for word in words:
        by_purchase.setdefault(word.purchase, []).append(word)
    return {name: _gathered(name, sorted(of, key=_age)) for name, of in by_purchase.items()}


def _age(word: ClaimPurchase) -> tuple[float, float]:
    return word.signed_at.timestamp(), word.revoked_parts / word.parts


def _gathered(name: str, words: Sequence[ClaimPurchase]) -> Told:
    doubled = any(
        one.revoked_parts and one.revoked_parts == other.revoked_parts and one.signed_at != other.signed_at
        for one, other in pairwise(words)
    )
    return Told(name, words[-1], doubled)


def compare(told: Iterable[Told], known: Mapping[str, Purchase], sold: Collection[str]) -> Iterator[Difference]:
    """All differences; `known`: our purchases by name, `sold`: the ids that our products have at the store."""
    for one in told:
        ours = known.get(one.purchase)
        if one.claim is None:
            yield from _without_word(one, ours)
        elif ours is None:
            yield _missing(one.claim, sold)
        else:
            yield from _differing(one.claim, ours)
        if one.doubled and one.claim is not None:
            yield _difference(StoreDifference.REFUND_DOUBLED, Cure.ASK_STORE, one.claim)


def compare_apphud(
    heard: Mapping[str, Apphud], told: Iterable[Told], known: Mapping[str, Purchase], since: datetime
) -> Iterator[Difference]:
    """What Apphud says and the store does not, or of our purchases since then does not say. The store's word, where it was had,
    is told of by `compare`; nothing that Apphud says alone is ever credited."""
    stores = {one.purchase: one for one in told}
    for name, word in heard.items():
        claim, ours = stores[name].claim if name in stores else None, known.get(name)
        cure = Cure.LOOK_AT_APPHUD if name in stores else Cure.ASK_STORE
        if ours is None and word.bought_at is not None and claim is None:
            alone = cure if name in stores else Cure.ASK_BUYER
            yield _of_apphud(StoreDifference.APPHUD_ALONE, alone, name, word, theirs=word.price_milliunits)
        elif ours is not None:
            back = claim is not None and claim.revoked_parts
            if word.refunded_at is not None and not ours.revoked_parts and not back:
                yield _of_apphud(StoreDifference.APPHUD_REFUND_ALONE, cure, name, word, ours=ours.net_coins)
            yield from _as_apphud_says(name, word, ours)
    if heard:
        for name, ours in known.items():
            if name not in heard and ours.credited and ours.purchased_at >= since:
                yield Difference(
                    difference=StoreDifference.APPHUD_SILENT, cure=Cure.LOOK_AT_APPHUD, purchase=name,
                    store_product=ours.store_product, ours=ours.net_coins,
                )  # fmt: skip


def _as_apphud_says(name: str, word: Apphud, ours: Purchase) -> Iterator[Difference]:
    prices = (ours.price_milliunits, ours.price_milliunits * ours.quantity)
    if word.currency and ours.currency and (word.currency != ours.currency or word.price_milliunits not in prices):
        told = {"theirs": word.price_milliunits, "ours": ours.price_milliunits}
        yield _of_apphud(StoreDifference.APPHUD_PRICE_DIFFERS, Cure.LOOK_AT_APPHUD, name, word, **told)
    if word.user and ours.user and word.user != ours.user:
        yield _of_apphud(StoreDifference.APPHUD_USER_DIFFERS, Cure.LOOK_AT_APPHUD, name, word)


def _of_apphud(kind: StoreDifference, cure: Cure, name: str, word: Apphud, **more: Any) -> Difference:
    return Difference(
        difference=kind, cure=cure, purchase=name, store_product=word.store_product, currency=word.currency, **more
    )  # fmt: skip


def cures(told: Iterable[Told], found: Iterable[Difference]) -> Iterator[ClaimPurchase]:
    """The words that mend differences, each once."""
    ill = {one.purchase for one in found if one.cure is Cure.SEND_WORD}
    yield from (one.claim for one in told if one.claim is not None and one.purchase in ill)


def _without_word(told: Told, ours: Purchase | None) -> Iterator[Difference]:
    if told.code == UNKNOWN and (ours is None or not ours.net_coins):
        return
    difference, cure = WITHOUT_WORD.get(told.code, (StoreDifference.WORD_UNREADABLE, Cure.LOOK_AT_SETTINGS))
    product, coins = ("", 0) if ours is None else (ours.store_product, ours.net_coins)
    yield Difference(
        difference=difference, cure=cure, purchase=told.purchase, store_product=product, ours=coins, code=told.code
    )  # fmt: skip


def _missing(claim: ClaimPurchase, sold: Collection[str]) -> Difference:
    """Nobody has told us. What cannot be credited is not sent."""
    if claim.store_product not in sold:
        return _difference(StoreDifference.PRODUCT_FOREIGN, Cure.PUT_PRODUCT, claim)
    cure = Cure.SEND_WORD if claim.intent else Cure.ASK_BUYER
    return _difference(StoreDifference.PURCHASE_MISSING, cure, claim)


def _differing(claim: ClaimPurchase, ours: Purchase) -> Iterator[Difference]:
    theirs_back, ours_back = claim.revoked_parts * ours.parts, ours.revoked_parts * claim.parts
    if theirs_back != ours_back and (claim.signed_at, theirs_back) > (ours.signed_at, ours_back):
        more = theirs_back > ours_back
        kind = StoreDifference.REFUND_MISSING if more else StoreDifference.REVERSAL_MISSING
        yield _difference(kind, Cure.SEND_WORD, claim, theirs=claim.revoked_parts, ours=ours.revoked_parts)
    told = claim.currency and ours.currency
    if ours.price_check is PriceCheck.DIFFERS or (told and _price(claim) != _price(ours)):
        prices = {"theirs": claim.price_milliunits, "ours": ours.price_milliunits, "currency": claim.currency}
        yield _difference(StoreDifference.PRICE_CHANGED, Cure.PUT_PRICE, claim, **prices)
    if ours.retry_at is not None:
        waits = {"theirs": ours.due_coins, "ours": ours.net_coins}
        yield _difference(StoreDifference.COINS_WAIT, Cure.LOOK_AT_ACCOUNT, claim, **waits)


def _price(of: ClaimPurchase | Purchase) -> tuple[str, int]:
    return of.currency, of.price_milliunits


def _difference(kind: StoreDifference, cure: Cure, claim: ClaimPurchase, **more: Any) -> Difference:
    return Difference(difference=kind, cure=cure, purchase=claim.purchase, store_product=claim.store_product, **more)
