"""Payouts: a payout, keyed by its request; the terms in force; a batch that goes to the bank.

A payout pins the terms, draws what its payee may have, holds these coins, waits for a second person, goes to the bank in a
batch, and is settled by the bank's word. State: `schemas.payout.Payout`.
Laws: coins are held before anybody can approve; who asked never approves, nor who is paid; an approval binds what was seen (who
is paid, what, to where, on which terms); what the bank has is neither sent again nor let go until its word is known; gross is
what is paid plus the fee; every request gets one answer.
Refusals: `schemas.payout.PayoutRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from schemas.balance import (
    AccountRefused,
    Credit,
    EntryKind,
    EntryRecorded,
    Hold,
    Post,
    Reason,
    Void,
    earnings_account,
)
from schemas.log.base import LAST, MAX_COINS, HoldId, Message, MessageId, UserId, Wake, derive, later, reply, same_fields
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.outbox import PaymentEnded
from schemas.payee import OpenRound
from schemas.payout import (
    HELD_FOR,
    MAX_PAID_CENTS,
    PAYOUTS,
    TERMS,
    ApprovePayout,
    Batch,
    BatchClosed,
    BatchInbox,
    BatchRefused,
    BatchRepeated,
    BeginBatch,
    BeginPayoutRound,
    DestinationGone,
    DrawEarnings,
    EarningsDrawn,
    EndDraw,
    ExportPayout,
    PayByProvider,
    Payout,
    PayoutInbox,
    PayoutRefused,
    PayoutRepeated,
    PayoutRoundBegun,
    PayoutStepped,
    PinTerms,
    PutTerms,
    RejectPayout,
    RequestPayout,
    ReturnPayout,
    SendPayout,
    SettlePayout,
    Terms,
    TermsInbox,
    TermsPinned,
    TermsPut,
    TermsRefused,
    seen_of,
)
from schemas.payout_fields import PAYOUT_PROVIDER, PayoutRefusal, PayoutStatus

NOBODY_DECIDED = "nobody decided in time"
NO_DESTINATION = "nobody knows where to pay to"
Decision = tuple[Payout | None, Sequence[Message]]
# From where a request leads to where, and the kind of entry with which the ledger makes it true.
SETTLES = {
    PayoutStatus.REJECTED: ((PayoutStatus.HELD, PayoutStatus.APPROVED), EntryKind.VOID),
    PayoutStatus.PAID: ((PayoutStatus.EXPORTED,), EntryKind.POST),
    PayoutStatus.FAILED: ((PayoutStatus.EXPORTED,), EntryKind.VOID),
    PayoutStatus.RETURNED: ((PayoutStatus.PAID,), EntryKind.CREDIT),
}


def decide_payout_terms(terms: Terms | None, message: TermsInbox) -> tuple[Terms | None, Sequence[Message]]:
    """Decide one message of the terms' inbox."""
    match message:
        case Wake():
            return terms, ()
        case PutTerms():
            after = Terms(**same_fields(message, Terms), version=terms.version + 1 if terms else 1)
            return after, (TermsPut(**reply(message), terms=message.terms, by=message.by, **same_fields(after, TermsPut)),)
        case BeginPayoutRound():
            return terms, _begin_round(terms, message)
        case PinTerms():
            told = same_fields(terms or Terms(), TermsPinned)
            return terms, (TermsPinned(**reply(message), terms=message.terms, payout=message.payout, **told),)


def _begin_round(terms: Terms | None, message: BeginPayoutRound) -> Sequence[Message]:
    if terms is None:
        return (TermsRefused(**reply(message), terms=message.terms, refusal=PayoutRefusal.TERMS_UNKNOWN),)
    begun = PayoutRoundBegun(**reply(message), terms=message.terms, round=message.round, by=message.by)
    partitions = broadcast_keys(log_partitions())
    return (begun, *(OpenRound(**derive(message, f"to/{key}"), user=UserId(key), round=message.round) for key in partitions))


def decide_payout(payout: Payout | None, message: PayoutInbox) -> Decision:
    """Decide one message of a payout's inbox."""
    match message:
        case RequestPayout():
            return _request(payout, message)
        case ApprovePayout() | RejectPayout() | ExportPayout() | SendPayout() | SettlePayout():
            return _act(payout, message)
        case Wake():
            return _let_go(payout, message) if payout is not None and payout.is_due(message.at) else (payout, ())
        case _ if payout is None:
            return None, ()
        case TermsPinned():
            return _pinned(payout, message) if payout.status is PayoutStatus.REQUESTED and not payout.version else (payout, ())
        case EarningsDrawn():
            return _drawn(payout, message) if payout.status is PayoutStatus.REQUESTED and not payout.coins else (payout, ())
        case EntryRecorded():
            return _entered(payout, message)
        case AccountRefused():
            return _not_taken(payout, message)
        case DestinationGone() | PaymentEnded():
            return _said(payout, message)
        case ReturnPayout():
            return _returned(payout, message)


# --- the request ------------------------------------------------------------------------------------------------------------


def _request(payout: Payout | None, message: RequestPayout) -> Decision:
    if payout is not None:
        differs, in_progress = payout.user != message.user, payout.status is PayoutStatus.REQUESTED
        if differs or in_progress:  # whether there is one at all the first request will be told
            refusal = PayoutRefusal.PAYOUT_DIFFERS if differs else PayoutRefusal.PAYOUT_IN_PROGRESS
            return payout, (_refused(message, message.payout, refusal),)
        return payout, (PayoutRepeated(**reply(message), payout=message.payout, **same_fields(payout, PayoutRepeated)),)
    begun = Payout(
        user=message.user, status=PayoutStatus.REQUESTED, maker=message.by or message.user, asked=MessageId(message.id)
    )  # fmt: skip
    return begun, (PinTerms(**derive(message, "terms"), terms=TERMS, payout=message.payout),)


def _pinned(payout: Payout, message: TermsPinned) -> Decision:
    if not message.version:
        return None, (_refused(message, message.payout, PayoutRefusal.TERMS_UNKNOWN, payout),)
    draw = DrawEarnings(
        **derive(message, "draw"), user=payout.user, payout=message.payout, reserve_days=message.reserve_days,
        minimum_coins=max(message.minimum_coins, _least(message)), most_coins=_most(message),
    )  # fmt: skip
    names = ("version", "currency", "fee_cents", "cents_per_100_coins", "ask_days")
    return replace(payout, **{name: getattr(message, name) for name in names}), (draw,)


def _least(terms: TermsPinned) -> int:
    """So many coins that a cent is left behind the fee."""
    return -(-(terms.fee_cents + 1) * 100 // max(1, terms.cents_per_100_coins))


def _most(terms: TermsPinned) -> int:
    """So many coins that the ledger can hold them at once, and the bank's file can name the sum."""
    return min(MAX_COINS, (terms.fee_cents + MAX_PAID_CENTS) * 100 // max(1, terms.cents_per_100_coins))


def _drawn(payout: Payout, message: EarningsDrawn) -> Decision:
    name = message.payout
    if message.refusal is not None:
        return None, (_refused(message, name, message.refusal, payout),)
    amount = message.coins * payout.cents_per_100_coins // 100 - payout.fee_cents
    drawn = {field: value for field, value in same_fields(message, Payout).items() if field != "user"}
    known = replace(payout, **drawn, amount_cents=amount)
    hold = Hold(
        **derive(message, "hold"), account=earnings_account(payout.user), hold=HoldId(f"payout/{name}"), to=PAYOUTS,
        coins=message.coins, reason=Reason.PAYOUT, expires_at=LAST, ref=name,
    )  # fmt: skip
    return replace(known, seen=seen_of(known)), (hold,)


# --- what people do ---------------------------------------------------------------------------------------------------------

Act = ApprovePayout | RejectPayout | ExportPayout | SendPayout | SettlePayout


def _act(payout: Payout | None, message: Act) -> Decision:
    refusal = _refusal_of(payout, message)
    if payout is None or refusal is not None:
        batch = message.batch if isinstance(message, ExportPayout) else ""
        return payout, (_refused(message, message.payout, refusal or PayoutRefusal.PAYOUT_UNKNOWN, batch=batch),)
    match message:
        case ApprovePayout():
            return _step(
                replace(payout, status=PayoutStatus.APPROVED, approver=message.by), message, message.payout, message.by
            )
        case ExportPayout():
            exported = replace(payout, status=PayoutStatus.EXPORTED, batch=message.batch, until=None)
            return _step(exported, message, message.payout, message.by)
        case SendPayout():
            sent = replace(payout, status=PayoutStatus.EXPORTED, provider=PAYOUT_PROVIDER, until=None)
            after, told = _step(sent, message, message.payout, message.by)
            pay = PayByProvider(
                **derive(message, "pay"), user=payout.user, payout=message.payout, amount_cents=payout.amount_cents,
                currency=payout.currency, destination=payout.destination,
            )  # fmt: skip
            return after, (*told, pay)
        case RejectPayout() | SettlePayout():
            return _settle(payout, message)


def _refusal_of(payout: Payout | None, message: Act) -> PayoutRefusal | None:
    if payout is None:
        return PayoutRefusal.PAYOUT_UNKNOWN
    if payout.settling is not None or payout.status not in _from(message):
        return PayoutRefusal.PAYOUT_ELSEWHERE
    if message.by == payout.user:
        return PayoutRefusal.OWN_PAYOUT
    if payout.provider and payout.status is PayoutStatus.EXPORTED:
        return PayoutRefusal.PROVIDER_DECIDES
    if isinstance(message, ApprovePayout):
        if message.by == payout.maker:
            return PayoutRefusal.SAME_PERSON
        return PayoutRefusal.SEEN_DIFFERS if message.seen != payout.seen else None
    return None


def _from(message: Act) -> tuple[PayoutStatus, ...]:
    """Where a payout has to stand for what is asked."""
    match message:
        case ApprovePayout():
            return (PayoutStatus.HELD,)
        case ExportPayout() | SendPayout():
            return (PayoutStatus.APPROVED,)
        case RejectPayout():
            return SETTLES[PayoutStatus.REJECTED][0]
        case SettlePayout():
            return SETTLES[message.status][0] if message.status in SETTLES else ()


def _settle(payout: Payout, message: RejectPayout | SettlePayout) -> Decision:
    """Ask the ledger for what makes it true; the answer waits for its entry."""
    to = PayoutStatus.REJECTED if isinstance(message, RejectPayout) else message.status
    waits = replace(payout, settling=to, asked=MessageId(message.id), by=message.by, ref=message.ref, until=None)
    return waits, (_asked_of_ledger(payout, message, message.payout, SETTLES[to][1]),)


def _let_go(payout: Payout, message: Wake) -> Decision:
    """Nobody has decided, or nobody took it to the bank: its coins can be drawn again."""
    if payout.settling is not None or payout.status not in SETTLES[PayoutStatus.REJECTED][0]:
        return replace(payout, until=None), ()
    gone = replace(payout, settling=PayoutStatus.REJECTED, by="", ref=NOBODY_DECIDED, until=None)
    return gone, (_asked_of_ledger(payout, message, message.key, EntryKind.VOID),)


def _said(payout: Payout, message: DestinationGone | PaymentEnded) -> Decision:
    """The provider's word, or that it could not be asked to pay."""
    if not payout.provider or payout.status is not PayoutStatus.EXPORTED or payout.settling is not None:
        return payout, ()
    to = PayoutStatus.PAID if isinstance(message, PaymentEnded) and message.paid else PayoutStatus.FAILED
    ref = NO_DESTINATION if isinstance(message, DestinationGone) else payout.provider
    waits = replace(payout, settling=to, asked=None, by="", ref=ref)
    return waits, (_asked_of_ledger(waits, message, message.payout, SETTLES[to][1]),)


def _returned(payout: Payout, message: ReturnPayout) -> Decision:
    """It came back, says the provider: once, and behind its having been paid, whenever that is heard of."""
    if not payout.provider or payout.settling is PayoutStatus.RETURNED:
        return payout, ()
    if payout.status is PayoutStatus.EXPORTED:
        return replace(payout, returning=True), ()
    return _bring_back(payout, message, message.payout) if payout.status is PayoutStatus.PAID else (payout, ())


def _bring_back(payout: Payout, message: Message, name: str) -> Decision:
    waits = replace(
        payout, settling=PayoutStatus.RETURNED, asked=None, by="", ref=payout.provider, returning=False
    )  # fmt: skip
    return waits, (_asked_of_ledger(payout, message, name, EntryKind.CREDIT),)


def _asked_of_ledger(payout: Payout, message: Message, name: str, kind: EntryKind) -> Message:
    account = earnings_account(payout.user)
    of_hold = {"account": account, "hold": HoldId(f"payout/{name}"), "reason": Reason.PAYOUT, "ref": name}
    match kind:
        case EntryKind.POST:
            return Post(**derive(message, "post"), **of_hold, coins=payout.coins)  # type: ignore[arg-type]
        case EntryKind.CREDIT:
            return Credit(
                **derive(message, "return"), account=account, counterparty=PAYOUTS, coins=payout.coins, reason=Reason.PAYOUT,
                ref=name,
            )  # fmt: skip
        case _:
            return Void(**derive(message, "void"), **of_hold)  # type: ignore[arg-type]


# --- what the ledger says ---------------------------------------------------------------------------------------------------


def _entered(payout: Payout, entry: EntryRecorded) -> Decision:
    name = entry.ref
    if entry.kind is EntryKind.HOLD and payout.status is PayoutStatus.REQUESTED:
        held = replace(payout, status=PayoutStatus.HELD, asked=None, until=later(entry.at, HELD_FOR))
        return _step(held, entry, name, payout.maker, to=payout.asked or "")
    if payout.settling is None or SETTLES[payout.settling][1] is not entry.kind:
        return payout, ()
    asks = payout.provider and payout.settling is PayoutStatus.PAID and payout.ask_days
    until = later(entry.at, timedelta(days=payout.ask_days)) if asks else None
    settled = replace(payout, status=payout.settling, settling=None, asked=None, ask_until=until)
    after, told = _step(settled, entry, name, payout.by, to=payout.asked or "")
    told = (*told, _ended(settled, entry, name))
    if settled.status is not PayoutStatus.PAID or not settled.returning:
        return after, told
    waits, back = _bring_back(settled, entry, name)
    return waits, (*told, *back)


def _not_taken(payout: Payout, refused: AccountRefused) -> Decision:
    """The coins are not there any more: what was drawn goes back. Later refusals change nothing: the hold tells its own end."""
    name = refused.ref
    if payout.status is PayoutStatus.REQUESTED:
        told = _refused(refused, name, PayoutRefusal.ACCOUNT_REFUSES, payout)
        return None, (told, _ended(payout, refused, name))
    if payout.settling is None:
        return payout, ()
    told = _refused(refused, name, PayoutRefusal.ACCOUNT_REFUSES, payout)
    return replace(payout, settling=None, asked=None), (told,)


def _ended(payout: Payout, message: Message, name: str) -> EndDraw:
    back = payout.coins if payout.status is PayoutStatus.RETURNED else 0
    paid = payout.status is PayoutStatus.PAID
    return EndDraw(**derive(message, "end"), user=payout.user, payout=name, paid=paid, returned_coins=back)


def _step(payout: Payout, message: Message, name: str, by: str, *, to: str = "") -> Decision:
    ref = message.ref if isinstance(message, RejectPayout | SettlePayout) else payout.ref
    fields = same_fields(payout, PayoutStepped) | {"by": by, "ref": ref}
    return payout, (PayoutStepped(**reply(message, "step", to=to), payout=name, **fields),)


def _refused(
    message: Message, name: str, refusal: PayoutRefusal, payout: Payout | None = None, batch: str = ""
) -> PayoutRefused:
    to = payout.asked or "" if payout is not None else ""
    return PayoutRefused(**reply(message, "refused", to=to), payout=name, refusal=refusal, batch=batch)


# --- batches ----------------------------------------------------------------------------------------------------------------


def decide_payout_batch(batch: Batch | None, message: BatchInbox) -> tuple[Batch | None, Sequence[Message]]:
    """Decide one message of a batch's inbox."""
    match message:
        case Wake():
            return batch, ()
        case BeginBatch():
            return _begin(batch, message)
        case PayoutStepped() | PayoutRefused():
            return (batch, ()) if batch is None or message.payout not in batch.waiting else _heard(batch, message)


def _begin(batch: Batch | None, message: BeginBatch) -> tuple[Batch | None, Sequence[Message]]:
    if batch is not None:
        if message.payouts != batch.named:
            differs = PayoutRefusal.BATCH_DIFFERS
            return batch, (BatchRefused(**reply(message), batch=message.batch, refusal=differs),)
        return batch, (BatchRepeated(**reply(message), batch=message.batch),)
    names = tuple(dict.fromkeys(message.payouts))
    begun = Batch(at=message.at, asked=MessageId(message.id), named=message.payouts, waiting=names, by=message.by)
    exports = [
        ExportPayout(**derive(message, f"export/{n}"), payout=name, batch=message.batch, by=message.by)
        for n, name in enumerate(names)
    ]
    return (begun, exports) if names else (replace(begun, asked=None), (_closed(begun, message, message.batch),))


def _heard(batch: Batch, message: PayoutStepped | PayoutRefused) -> tuple[Batch | None, Sequence[Message]]:
    waiting = tuple(name for name in batch.waiting if name != message.payout)
    payouts = (*batch.payouts, message.payout) if isinstance(message, PayoutStepped) else batch.payouts
    after = replace(batch, waiting=waiting, payouts=payouts)
    if waiting:
        return after, ()
    return replace(after, asked=None), (_closed(after, message, message.batch, to=batch.asked or ""),)


def _closed(batch: Batch, message: Message, name: str, *, to: str = "") -> BatchClosed:
    left = tuple(one for one in dict.fromkeys(batch.named) if one not in batch.payouts)
    return BatchClosed(
        **reply(message, "closed", to=to), batch=name, payouts=batch.payouts, left=left, by=batch.by
    )  # fmt: skip
