"""Blocks, keyed by the blocker; records, keyed by the blocked; the rulebook, one entity.

A block bars both lines at once, whoever of the two has blocked, and is counted on the record of the blocked: there the rules
that came with it are looked at, and a penalty or a ban follows, which waits for a review by a person.
Laws: two people are barred from each other exactly while one of them blocks the other; a rule fires once a window for a user;
what a review takes back is what was taken. Refusals: `same_user`, `too_many_blocks`, `not_blocked`, `review_unknown`.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec.structs import replace

from schemas.balance import Credit, EntryKind, EntryRecorded, Reason, Transfer, earnings_account
from schemas.blocklist import (
    MAX_BLOCKS,
    PENALTIES,
    BlockRefusal,
    BlockRefused,
    BlockRule,
    Blocks,
    BlocksInbox,
    BlockUser,
    Case,
    Consequence,
    ConsequenceDrawn,
    ConsequenceReviewed,
    CountBlock,
    Counted,
    PublishRules,
    Record,
    RecordInbox,
    Review,
    ReviewRefused,
    Rulebook,
    RulebookInbox,
    RulesPublished,
    UnblockUser,
    UserBlocked,
    UserUnblocked,
)
from schemas.favorites import BarFavorite, UnbarFavorite
from schemas.log.base import AccountId, Message, Wake, derived_id
from schemas.user import Ban, Unban, UserSignedUp
from schemas.video_line import Bar, Unbar

# The newest so many blocks are looked at: a rule asks for a thousand at most.
MAX_COUNTED: Final = 1_000
MAX_CASES: Final = 200


def decide_blocks(blocks: Blocks | None, message: BlocksInbox) -> tuple[Blocks | None, Sequence[Message]]:
    """Decide one message of a blocker's inbox."""
    if isinstance(message, Wake):
        return blocks, ()
    peers = blocks.peers if blocks else {}
    told: dict[str, Any] = {
        "id": derived_id(message.id, 0), "at": message.at, "cause": message.id, "user": message.user, "peer": message.peer,
    }  # fmt: skip
    refusal = refusal_of(peers, message)
    if refusal is not None:
        return blocks, (BlockRefused(**told, refusal=refusal),)
    both = ((message.user, message.peer), (message.peer, message.user))
    if isinstance(message, UnblockUser):
        unbars = _to_both(message, both, Unbar, UnbarFavorite)
        rest = {peer: reason for peer, reason in peers.items() if peer != message.peer}
        return Blocks(rest) if rest else None, (UserUnblocked(**told), *unbars)
    blocked = UserBlocked(**told, reason=message.reason, rules=message.rules)
    if peers.get(message.peer) is message.reason:
        return blocks, (blocked,)
    bars = _to_both(message, both, Bar, BarFavorite)
    count = CountBlock(
        id=derived_id(message.id, 3),
        at=message.at,
        user=message.peer,
        by=message.user,
        reason=message.reason,
        rules=message.rules,
    )
    after = Blocks({**peers, message.peer: message.reason})
    return after, (blocked, *(bars if message.peer not in peers else ()), count)


def _to_both(message: Message, both: Sequence[tuple[str, str]], *types: type[Message]) -> list[Message]:
    """What is said to both sides, in lines and in favourites."""
    return [
        type_(id=derived_id(message.id, f"{type_.__name__}/{user}"), at=message.at, user=user, peer=peer)  # type: ignore[call-arg]
        for type_ in types
        for user, peer in both
    ]


def refusal_of(peers: dict[str, Any], message: BlockUser | UnblockUser) -> BlockRefusal | None:
    """The first guard that the message fails, or None."""
    if message.user == message.peer:
        return BlockRefusal.SAME_USER
    if isinstance(message, UnblockUser):
        return None if message.peer in peers else BlockRefusal.NOT_BLOCKED
    return BlockRefusal.TOO_MANY_BLOCKS if len(peers) >= MAX_BLOCKS and message.peer not in peers else None


# --- the record of the blocked ----------------------------------------------------------------------------------------------


def decide_record(record: Record | None, message: RecordInbox) -> tuple[Record | None, Sequence[Message]]:
    """Decide one message of a record's inbox."""
    known = record or Record()
    match message:
        case Wake():
            return record, ()
        case UserSignedUp():
            return replace(known, role=message.role), ()
        case CountBlock():
            return _count(known, message)
        case Review():
            return _review(known, message)
        case EntryRecorded() if message.kind is EntryKind.DEBIT:
            cases = tuple(replace(c, taken_coins=-message.coins) if c.case == message.ref else c for c in known.cases)
            return replace(known, cases=cases), ()
        case EntryRecorded():
            return record, ()


def _count(record: Record, message: CountBlock) -> tuple[Record, Sequence[Message]]:
    others = [c for c in record.counted if (c.by, c.reason) != (message.by, message.reason)]
    record = replace(record, counted=(*others, Counted(message.by, message.reason, message.at))[-MAX_COUNTED:])
    told: list[Message] = []
    for rule in message.rules:
        if (by := _fires(record, rule, message)) is not None:
            case = Case(f"{rule.rule}-{len(record.cases) + 1}", rule, message.at, by)
            record = replace(record, cases=(*record.cases, case)[-MAX_CASES:])
            told += _draw(case, message, len(told))
    return record, told


def _fires(record: Record, rule: BlockRule, message: CountBlock) -> tuple[str, ...] | None:
    """The people whose blocks make a rule fire; None: it does not."""
    since = message.at - timedelta(seconds=rule.window_s)
    if rule.reason is not message.reason or rule.role not in (None, record.role):
        return None
    if any(case.rule.rule == rule.rule and case.at > since for case in record.cases):
        return None
    by = tuple(c.by for c in record.counted if c.reason is rule.reason and c.at > since)
    return by if len(by) >= rule.blocks else None


def _draw(case: Case, message: CountBlock, first: int) -> tuple[Message, Message]:
    drawn = ConsequenceDrawn(
        id=derived_id(message.id, first), at=message.at, cause=message.id, user=message.user, case=case.case, rule=case.rule,
        by=case.by,
    )  # fmt: skip
    id_, rule = derived_id(message.id, first + 1), case.rule
    if rule.then is Consequence.PENALTY:
        return drawn, Transfer(
            id=id_,
            at=message.at,
            account=earnings_account(message.user),
            to=AccountId(PENALTIES),
            coins=rule.coins,
            reason=Reason.PENALTY,
            ref=case.case,
        )
    until = message.at + timedelta(seconds=rule.ban_s) if rule.ban_s else None
    return drawn, Ban(
        id=id_, at=message.at, user=message.user, reason=f"blocks:{rule.reason}", by=f"rule:{rule.rule}", until=until
    )


def _review(record: Record, message: Review) -> tuple[Record, Sequence[Message]]:
    case = next((c for c in record.cases if c.case == message.case and c.upheld is None), None)
    told: dict[str, Any] = {"at": message.at, "cause": message.id, "user": message.user, "case": message.case}
    if case is None:
        return record, (ReviewRefused(id=derived_id(message.id, 0), **told, refusal=BlockRefusal.REVIEW_UNKNOWN),)
    reviewed = ConsequenceReviewed(id=derived_id(message.id, 0), **told, upheld=message.upheld, reviewer=message.by)
    cases = tuple(replace(c, upheld=message.upheld) if c is case else c for c in record.cases)
    after = replace(record, cases=cases)
    id_ = derived_id(message.id, 1)
    if message.upheld or (case.rule.then is Consequence.PENALTY and not case.taken_coins):
        return after, (reviewed,)
    if case.rule.then is Consequence.BAN:
        return after, (reviewed, Unban(id=id_, at=message.at, user=message.user, by=message.by))
    back = Credit(
        id=id_,
        at=message.at,
        account=earnings_account(message.user),
        counterparty=AccountId(PENALTIES),
        coins=case.taken_coins,
        reason=Reason.PENALTY,
        ref=case.case,
    )
    return after, (reviewed, back)


# --- the rules --------------------------------------------------------------------------------------------------------------


def decide_rulebook(_: Rulebook | None, message: RulebookInbox) -> tuple[Rulebook | None, Sequence[Message]]:
    """Decide one message of the rulebook's inbox: the last word holds."""
    if not isinstance(message, PublishRules):
        return _, ()
    published = RulesPublished(
        id=derived_id(message.id, 0), at=message.at, cause=message.id, rulebook=message.rulebook, rules=message.rules,
        by=message.by,
    )  # fmt: skip
    return Rulebook(message.rules), (published,)
