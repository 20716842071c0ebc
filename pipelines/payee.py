"""A payee, keyed by user: what was earned on which day, and what of it a payout may draw.

State: earnings that are not drawn by day, debits since the last draw, the destination (`schemas.payee.Payee`).
Laws: what is drawn is at most what was earned at least `reserve_days` ago, less all that went out since; an entry is drawn
once, unless its payout came to nothing; one payout at a time; a destination changes only between payouts; who wants it is asked
for in each round that begins from then on, once.
Refusals: `destination_unknown`, `payout_open`, `below_minimum`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from schemas.balance import EntryRecorded, Reason
from schemas.log.base import LAST, Message, UserId, Wake, derive, later, reply, same_fields
from schemas.outbox import EffectKind, OweEffect
from schemas.payee import (
    MAX_DAYS,
    AutomaticPut,
    DestinationPut,
    DestinationRefused,
    Draw,
    EarnedDay,
    OpenRound,
    Payee,
    PayeeInbox,
    PutAutomatic,
    PutDestination,
    day_of,
)
from schemas.payout import DestinationGone, DrawEarnings, EarningsDrawn, EndDraw, PayByProvider, RequestPayout
from schemas.payout_fields import PAYOUT_PROVIDER, Paying, PayoutRefusal, pay_id
from schemas.user import UserErased

Decision = tuple[Payee | None, Sequence[Message]]
NOTHING = Payee()


def decide_payee(payee: Payee | None, message: PayeeInbox, common: Payee | None = None) -> Decision:
    """Decide one message of a payee's inbox, under the round of payouts that its partition was told of last."""
    known = payee or NOTHING
    match message:
        case Wake():
            return _wake(payee, message, common)
        case PayByProvider():
            return payee, (_pay(known, message),)
        case OpenRound():
            return Payee(round=message.round), ()
        case PutAutomatic():
            return _put_automatic(payee, known, message, common)
        case EntryRecorded() | EndDraw() if known.erased_at is not None:
            return payee, ()
        case EntryRecorded():
            return _booked(known, message), ()
        case PutDestination():
            return _put(payee, known, message)
        case DrawEarnings():
            return _draw(payee, known, message)
        case EndDraw():
            return (None if payee is None else _ended(payee, message)), ()
        case UserErased():
            return Payee(erased_at=message.at), ()  # what is left is forfeited, what the bank has is settled without a payee


def _wake(payee: Payee | None, message: Wake, common: Payee | None) -> Decision:
    """The mark of an erasure is forgotten; or a round has begun, in which the payee is asked for, if there may be something."""
    if payee is None or payee.is_due(message.at):
        return None, ()
    if common is None or not payee.behind(common):
        return payee, ()
    after, user = replace(payee, round=common.round), UserId(message.key)
    if payee.open is not None or not payee.destination or not (payee.days or payee.returned_coins > 0):
        return after, ()
    name = sha256(f"{common.round}/{user}".encode()).hexdigest()[:32]
    return after, (RequestPayout(**derive(message, "round"), payout=name, user=user, by=user),)


def _put_automatic(payee: Payee | None, known: Payee, message: PutAutomatic, common: Payee | None) -> Decision:
    """A round that has begun before is nothing to whoever comes later."""
    if known.erased_at is not None:
        refusal = PayoutRefusal.PAYEE_ERASED
        return payee, (DestinationRefused(**reply(message), user=message.user, refusal=refusal),)
    after = replace(known, automatic=message.automatic, round=common.round if common is not None else "")
    return after, (AutomaticPut(**reply(message), user=message.user, automatic=message.automatic),)


def _pay(payee: Payee, message: PayByProvider) -> Message:
    if not payee.iban or payee.destination != message.destination:
        return DestinationGone(**reply(message), user=message.user, payout=message.payout)
    paying = Paying(message.user, message.amount_cents, message.currency, payee.holder, payee.iban)
    return OweEffect(
        **derive(message, "pay"), effect=pay_id(message.payout), kind=EffectKind.PAY, provider=PAYOUT_PROVIDER,
        subject=message.payout, expires_at=LAST, paying=paying,
    )  # fmt: skip


def _booked(payee: Payee, entry: EntryRecorded) -> Payee:
    """An agency's share is taken off the day on which it was earned; whatever else goes out, off what is old enough."""
    if entry.coins < 0 and entry.reason != Reason.SHARE:
        return replace(payee, debits_coins=payee.debits_coins - entry.coins, debits_seq=entry.seq)
    return replace(payee, days=_with(payee.days, EarnedDay(day_of(entry.at), entry.coins, entry.seq)))


def _with(days: tuple[EarnedDay, ...], more: EarnedDay) -> tuple[EarnedDay, ...]:
    """The days with more earned on one of them, whichever it is; of too many the oldest two become one."""
    found = {day.day: day for day in days}
    known = found.get(more.day, EarnedDay(more.day, 0, 0))
    found[more.day] = EarnedDay(more.day, known.coins + more.coins, max(known.last_seq, more.last_seq))
    after = sorted(found.values(), key=lambda day: day.day)
    if len(after) <= MAX_DAYS:
        return tuple(after)
    first, second, *rest = after
    return (EarnedDay(second.day, first.coins + second.coins, max(first.last_seq, second.last_seq)), *rest)


def _put(payee: Payee | None, known: Payee, message: PutDestination) -> Decision:
    mark = sha256(f"{message.iban}|{message.holder}".encode()).hexdigest()[:32]
    if known.erased_at is not None:
        refusal = PayoutRefusal.PAYEE_ERASED
        return payee, (DestinationRefused(**reply(message), user=message.user, refusal=refusal),)
    if known.open is not None and mark != known.destination:
        refusal = PayoutRefusal.PAYOUT_OPEN
        return payee, (DestinationRefused(**reply(message), user=message.user, refusal=refusal),)
    after = replace(known, holder=message.holder, iban=message.iban, destination=mark)
    return after, (DestinationPut(**reply(message), user=message.user, destination=mark),)


def _draw(payee: Payee | None, known: Payee, message: DrawEarnings) -> Decision:
    old = [day for day in known.days if day.day < _youngest(message.at, message.reserve_days)]
    there = sum(day.coins for day in old) - known.debits_coins + known.returned_coins
    coins = min(there, message.most_coins)
    left = there - coins
    refusal = _refusal_of(known, coins, message.minimum_coins)
    if refusal is not None:
        return payee, (_drawn(message, refusal=refusal),)
    draw = Draw(
        payout=message.payout, coins=coins, from_seq=known.drawn_seq + 1,
        to_seq=max([known.drawn_seq, *(day.last_seq for day in old)]),
        debits_coins=known.debits_coins, debits_from_seq=known.settled_seq + 1,
        debits_to_seq=max(known.settled_seq, known.debits_seq), again_coins=known.returned_coins - left,
        destination=known.destination,
    )  # fmt: skip
    after = replace(
        known, days=known.days[len(old) :], debits_coins=0, drawn_seq=draw.to_seq, settled_seq=draw.debits_to_seq,
        returned_coins=left, open=draw,
    )  # fmt: skip
    return after, (_drawn(message, **same_fields(draw, EarningsDrawn)),)


def _youngest(at: datetime, reserve_days: int) -> int:
    """The first day that is in reserve: today's earnings always are, unless there is no reserve."""
    return day_of(later(at, -timedelta(days=reserve_days))) if reserve_days else day_of(at) + 1


def _refusal_of(payee: Payee, coins: int, minimum_coins: int) -> PayoutRefusal | None:
    if not payee.destination:
        return PayoutRefusal.DESTINATION_UNKNOWN
    if payee.open is not None:
        return PayoutRefusal.PAYOUT_OPEN
    return PayoutRefusal.BELOW_MINIMUM if coins < max(1, minimum_coins) else None


def _drawn(message: DrawEarnings, **fields: Any) -> EarningsDrawn:
    return EarningsDrawn(**reply(message), user=message.user, **{"payout": message.payout} | fields)


def _ended(payee: Payee, message: EndDraw) -> Payee:
    """What was paid is done with; what came to nothing can be drawn again, entry by entry, as it was."""
    if message.returned_coins:
        return replace(payee, returned_coins=payee.returned_coins + message.returned_coins)
    draw = payee.open
    if draw is None or draw.payout != message.payout:
        return payee
    if message.paid:
        return replace(payee, open=None)
    earned = draw.coins + draw.debits_coins - draw.again_coins
    days = _with(payee.days, EarnedDay(0, earned, draw.to_seq)) if draw.to_seq >= draw.from_seq else payee.days
    return replace(
        payee, open=None, days=days, debits_coins=payee.debits_coins + draw.debits_coins,
        drawn_seq=draw.from_seq - 1, settled_seq=draw.debits_from_seq - 1,
        returned_coins=payee.returned_coins + draw.again_coins,
    )  # fmt: skip
