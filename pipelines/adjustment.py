"""An adjustment: one request of the staff's to do something to an account, done once; keyed by the adjustment's id, which the
client's idempotency key gives.

State: the request, who waits, the outcome (`schemas.adjustment.Adjustment`); forgotten a day after it began.
Laws: every request gets one answer (settled, repeated or conflicted); the account is asked once; the outcome never changes.
Refusals: `idempotency_key_reused` (other contents under the same id), `in_progress` (too many repeats wait already), and the
account's own.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from schemas.adjustment import (
    MAX_ASKED,
    AccountAfter,
    Act,
    Adjustment,
    AdjustmentConflicted,
    AdjustmentInbox,
    AdjustmentRepeated,
    AdjustmentSettled,
    AskLots,
    LotsTold,
    PlaceAdjustment,
)
from schemas.balance import (
    AccountRefused,
    EntryRecorded,
    Freeze,
    LotsRead,
    ReadLots,
    Reason,
    Refusal,
    SetCap,
    Unfreeze,
    WriteOff,
)
from schemas.log.base import REMEMBERED_FOR, Message, MessageId, Wake, derive, later, reply, same_fields

Decision = tuple[Adjustment | None, Sequence[Message]]


def decide_adjustment(state: Adjustment | None, message: AdjustmentInbox) -> Decision:
    """Decide one message of an adjustment's inbox."""
    match message:
        case PlaceAdjustment():
            return _begin(message) if state is None else _again(state, message)
        case AskLots():
            return state, (ReadLots(**derive(message, "lots"), account=message.account, request=message.adjustment),)
        case LotsRead():
            name = message.request
            return state, (LotsTold(**reply(message, to=name), adjustment=name, account=message.account, lots=message.lots),)
        case _ if state is None:
            return None, ()
        case Wake():
            return (None if state.is_due(message.at) else state), ()
        case _ if state.after is not None or state.refusal is not None:
            return state, ()
        case EntryRecorded():
            return _settle(replace(state, after=AccountAfter(**same_fields(message, AccountAfter))), message)
        case AccountRefused():
            return _settle(replace(state, refusal=message.refusal), message)


def _begin(message: PlaceAdjustment) -> Decision:
    forget_at, asked = later(message.at, REMEMBERED_FOR), (MessageId(message.id),)
    state = Adjustment(**same_fields(message, Adjustment), asked=asked, forget_at=forget_at)
    to: dict[str, Any] = {**derive(message, message.act), **same_fields(message, Freeze), "transfer": message.adjustment}
    match message.act:
        case Act.FREEZE:
            return state, (Freeze(**to),)
        case Act.UNFREEZE:
            return state, (Unfreeze(**to),)
        case Act.WRITE_OFF:
            return state, (WriteOff(**to, coins=message.coins, debt_coins=message.debt_coins),)
        case Act.CAP | Act.STAFF_CAP:
            to |= {"reason": Reason.CAP, "staff": message.act is Act.STAFF_CAP}
            return state, (SetCap(**to, cap_coins=message.cap_coins),)


def _again(state: Adjustment, message: PlaceAdjustment) -> Decision:
    asked = (message.account, message.act, message.ref, message.coins, message.debt_coins, message.cap_coins)
    if asked != (state.account, state.act, state.ref, state.coins, state.debt_coins, state.cap_coins):
        return state, (_conflict(message, Refusal.IDEMPOTENCY_KEY_REUSED),)
    if state.after is not None or state.refusal is not None:
        return state, (_answer(AdjustmentRepeated, state, message, message.adjustment, message.id),)
    if message.id in state.asked:
        return state, ()
    if len(state.asked) >= MAX_ASKED:
        return state, (_conflict(message, Refusal.IN_PROGRESS),)
    return replace(state, asked=(*state.asked, MessageId(message.id))), ()


def _conflict(message: PlaceAdjustment, refusal: Refusal) -> AdjustmentConflicted:
    return AdjustmentConflicted(**reply(message, "conflict"), adjustment=message.adjustment, refusal=refusal)


def _settle(state: Adjustment, message: EntryRecorded | AccountRefused) -> Decision:
    name, (first, *others) = message.transfer, state.asked
    answers = [_answer(AdjustmentSettled, state, message, name, first)]
    answers += [_answer(AdjustmentRepeated, state, message, name, other) for other in others]
    return replace(state, asked=()), answers


def _answer(kind: type[AdjustmentSettled], state: Adjustment, message: Message, name: str, request: str) -> Message:
    ordinal = "repeated" if kind is AdjustmentRepeated else "settled"
    told = same_fields(state, kind) | {"adjustment": name, "after": state.after or AccountAfter()}
    return kind(id=f"{request}/{ordinal}", at=message.at, cause=request, **told)
