"""The tariff book: one entity, so that versions have one order and ties are seen.

State: of each tariff the versions in force or scheduled (`schemas.billing.TariffBook`); before the first word the shipped ones.
A call is for the tariff whose rule fits it and says most; two rules that could fit the same call and say equally much are
refused when the second one is published. A call pins the version in force when it asks.
Laws: the version in force stays until another one begins. Each side is kept in its normal form.
Refusals, in order of precedence: `invalid_tariff`, `pays_more_than_it_takes`, `effective_in_past`,
`too_many_tariffs`, `overlapping_rules`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from schemas.billing import (
    MAX_BOOK_BYTES,
    MAX_DETAIL,
    MAX_TARIFFS,
    MAX_VERSIONS,
    PublishTariff,
    SelectTariff,
    Tariff,
    TariffBook,
    TariffPublished,
    TariffRefusal,
    TariffRefused,
    TariffSelected,
    TariffsInbox,
)
from schemas.billing_choice import SHIPPED_BOOK, choose, in_force
from schemas.billing_rating import normal, pays_more_from, problems_of
from schemas.log.base import Message, Wake, later, reply
from schemas.log.codec import encode

# A clock that is a little off must not refuse "now".
PAST: Final = timedelta(seconds=60)

Decision = tuple[TariffBook | None, Sequence[Message]]


def decide_tariffs(book: TariffBook | None, message: TariffsInbox) -> Decision:
    """Decide one message of the book's inbox."""
    state = book or SHIPPED_BOOK
    match message:
        case Wake():
            return book, ()
        case SelectTariff():
            tariff = choose(state, message.traits, message.at)
            return book, (TariffSelected(**reply(message), book=message.book, call=message.call, tariff=tariff),)
        case PublishTariff():
            return _publish(state, message)


def _publish(book: TariffBook, message: PublishTariff) -> Decision:
    effective_from = message.effective_from or message.at
    versions = book.versions.get(message.tariff, ())
    refusal = refusal_of(book, message)
    if refusal is not None:
        why, detail = refusal
        return book, (TariffRefused(**reply(message), book=message.book, refusal=why, detail=detail[:MAX_DETAIL]),)
    number = max((tariff.version for tariff in versions), default=0) + 1
    tariff = Tariff(
        message.tariff, number, message.rule, normal(message.payer), normal(message.earner), max(effective_from, message.at),
        message.name, message.subsidy, message.free,
    )  # fmt: skip
    kept = [version for version in _kept(versions, message.at) if version.effective_from != tariff.effective_from]
    if len(kept) + 1 >= MAX_VERSIONS and tariff.effective_from > message.at:
        full = (
            f"{MAX_VERSIONS - 2} versions of {message.tariff} are scheduled already; publish this one when the next is in force"
        )
        return book, (TariffRefused(**reply(message), book=message.book, refusal=TariffRefusal.TOO_MANY_TARIFFS, detail=full),)
    after = TariffBook({**book.versions, message.tariff: (*kept, tariff)})
    if len(encode(after)) > MAX_BOOK_BYTES:
        full = "the book of tariffs is full; publish fewer checkpoints, or fewer versions ahead of their time"
        return book, (TariffRefused(**reply(message), book=message.book, refusal=TariffRefusal.TOO_MANY_TARIFFS, detail=full),)
    published = TariffPublished(**reply(message), book=message.book, tariff=tariff, by=message.by)
    return after, (published,)


def _kept(versions: Sequence[Tariff], at: datetime) -> list[Tariff]:
    """The version in force, and those that are scheduled."""
    now = in_force(versions, at)
    return [version for version in versions if version is now or version.effective_from > at]


def refusal_of(book: TariffBook, message: PublishTariff) -> tuple[TariffRefusal, str] | None:
    """The first guard that a new version fails, with the words for it; or None."""
    problems = [*problems_of(message.payer, "payer"), *problems_of(message.earner, "earner")]
    if message.payer.free_s or message.earner.free_s:
        problems.append("free_s belongs to no side; say in free for whom the first seconds are free")
    if problems:
        return TariffRefusal.INVALID_TARIFF, "; ".join(problems)
    free_s = max((one.free_s for one in message.free), default=0)
    if not message.subsidy and (second := pays_more_from(replace(message.payer, free_s=free_s), message.earner)) is not None:
        of = " whose first seconds are free" if free_s else ""
        return TariffRefusal.PAYS_MORE_THAN_IT_TAKES, (
            f"behind second {second} the earner has got more than a payer{of} has paid; if that is meant, say subsidy: true"
        )
    if message.effective_from and message.effective_from < later(message.at, -PAST):
        return TariffRefusal.EFFECTIVE_IN_PAST, "effective_from lies in the past; calls that were billed stay billed"
    if message.tariff not in book.versions and len(book.versions) >= MAX_TARIFFS:
        return TariffRefusal.TOO_MANY_TARIFFS, f"there are {MAX_TARIFFS} tariffs already"
    for name, versions in book.versions.items():
        for other in versions if name != message.tariff else ():
            if other.rule.weight == message.rule.weight and other.rule.meets(message.rule):
                return TariffRefusal.OVERLAPPING_RULES, (
                    f"a call could fit this rule and that of {name} (version {other.version}), and both say equally much; "
                    "make one of them say more"
                )
    return None
