"""A transfer: one request to move coins, done once; keyed by the transfer's id, which the client's idempotency key gives.

State: the request, who waits for its outcome, the outcome (`schemas.balance.TransferState`); forgotten a day after it began.
It asks the payer's account (`Transfer`) or, when coins come from outside, the payee's (`Credit`), and hears the entries and
refusals that carry its id. A payee that refuses sends the coins back; then the outcome waits for the `return` entry.
Laws: every request gets one answer (settled, repeated or conflicted); coins are asked for once; the outcome never changes.
Refusals: `idempotency_key_reused` (other contents under the same id), `in_progress` (too many repeats wait already).
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Refusal, Transfer, is_outside
from schemas.balance_lots import Lot
from schemas.log.base import REMEMBERED_FOR, Message, MessageId, TransferId, Wake, derive, later, reply, same_fields
from schemas.transfer import (
    MAX_ASKED,
    PlaceTransfer,
    TransferConflicted,
    TransferInbox,
    TransferOutcome,
    TransferRepeated,
    TransferSettled,
    TransferState,
    TransferStatus,
)

Decision = tuple[TransferState | None, Sequence[Message]]


def decide_transfer(state: TransferState | None, message: TransferInbox) -> Decision:
    """Decide one message of a transfer's inbox."""
    match message:
        case PlaceTransfer():
            return _begin(message) if state is None else _again(state, message)
        case _ if state is None:
            return None, ()  # forgotten long ago
        case Wake():
            return _forget(state, message)
        case _ if state.outcome is not None:
            return state, ()
        case EntryRecorded():
            return _entry(state, message)
        case AccountRefused():
            return _refused(state, message)


def _begin(message: PlaceTransfer) -> Decision:
    forget_at = later(message.at, REMEMBERED_FOR)
    state = TransferState(**same_fields(message, TransferState), forget_at=forget_at, asked=(MessageId(message.id),))
    payer, payee = message.payer, message.payee
    if not is_outside(payer):
        return state, (Transfer(**derive(message, "debit"), account=payer, to=payee, **same_fields(message, Transfer)),)
    if not is_outside(payee):
        lots = (Lot(message.transfer, message.coins, message.expires_at),) if message.expires_at else ()
        fields = same_fields(message, Credit)
        return state, (Credit(**derive(message, "credit"), account=payee, counterparty=payer, lots=lots, **fields),)
    outcome = TransferOutcome(TransferStatus.REFUSED, Refusal.ACCOUNT_UNKNOWN, payee)
    return _settle(state, message.transfer, message, outcome)


def _again(state: TransferState, message: PlaceTransfer) -> Decision:
    asked = (message.payer, message.payee, message.coins, message.reason, message.ref, message.expires_at)
    if asked != (state.payer, state.payee, state.coins, state.reason, state.ref, state.expires_at):
        return state, (_conflict(message, Refusal.IDEMPOTENCY_KEY_REUSED),)
    if state.outcome is not None:
        return state, (_answer(TransferRepeated, state, message.transfer, message.id, message.at),)
    if message.id in state.asked:
        return state, ()
    if len(state.asked) >= MAX_ASKED:
        return state, (_conflict(message, Refusal.IN_PROGRESS),)
    return replace(state, asked=(*state.asked, MessageId(message.id))), ()


def _conflict(message: PlaceTransfer, refusal: Refusal) -> TransferConflicted:
    return TransferConflicted(**reply(message, "conflict"), transfer=message.transfer, refusal=refusal)


def _entry(state: TransferState, entry: EntryRecorded) -> Decision:
    """A leg was booked: the credit ends a transfer, so does a debit to outside, so does the return of refused coins."""
    done = TransferOutcome(TransferStatus.COMPLETED)
    transfer = TransferId(entry.transfer)
    if entry.kind is EntryKind.CREDIT or (entry.kind is EntryKind.DEBIT and is_outside(state.payee)):
        return _settle(state, transfer, entry, done)
    if entry.kind is EntryKind.RETURN and state.refused is not None:
        return _settle(state, transfer, entry, state.refused)
    return state, ()


def _refused(state: TransferState, refused: AccountRefused) -> Decision:
    outcome = TransferOutcome(TransferStatus.REFUSED, refused.refusal, refused.account, refused.shortfall_coins)
    if refused.account == state.payer or is_outside(state.payer):
        return _settle(state, TransferId(refused.transfer), refused, outcome)
    return replace(state, refused=outcome), ()  # the coins are on their way back


def _settle(state: TransferState, transfer: TransferId, message: Message, outcome: TransferOutcome) -> Decision:
    first, *others = state.asked
    settled = replace(state, asked=(), outcome=outcome)
    answers = [_answer(TransferSettled, settled, transfer, first, message.at)]
    answers += [_answer(TransferRepeated, settled, transfer, other, message.at) for other in others]
    return settled, answers


def _answer(
    kind: type[TransferSettled | TransferRepeated], state: TransferState, transfer: TransferId, request: str, at: datetime
) -> Message:
    """The outcome, as the answer to one request, which may have come long before the message that is decided now."""
    assert state.outcome is not None
    ordinal = "repeated" if kind is TransferRepeated else "settled"
    return kind(id=f"{request}/{ordinal}", at=at, cause=request, transfer=transfer, **same_fields(state, kind))


def _forget(state: TransferState, message: Wake) -> Decision:
    if not state.is_due(message.at):
        return state, ()
    if state.outcome is None:  # its legs are late, by a day; keep it until they are there
        return replace(state, forget_at=later(message.at, REMEMBERED_FOR)), ()
    return None, ()
