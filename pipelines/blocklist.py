"""Blocks, keyed by the blocker; records, keyed by the blocked; the rulebook, one entity.

A block bars the peer from the blocker's own line and favourites, and parts the two. Where the two have met (`contact`), the
blocker's own record vouches that its user has signed up, and the record of the blocked counts it: there the rules that came
with it are looked at, and a penalty or a ban follows, which waits for a review by a person.
Laws: a line and favourites bar exactly those whom their user blocks; a rule fires once a window for a user;
what a review takes back is what was taken. Refusals: `same_user`, `too_many_blocks`, `not_blocked`, `review_unknown`,
`user_erased`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec.structs import replace

from schemas.balance import Credit, EntryKind, EntryRecorded, Reason, Transfer, earnings_account
from schemas.blocklist import (
    MAX_BAN_S,
    MAX_CASES,
    MAX_COUNTED,
    MAX_NAMED,
    PENALTIES,
    BlockReason,
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
    CountContact,
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
    VouchBlock,
)
from schemas.favorites import BarFavorite, UnbarFavorite
from schemas.log.base import AccountId, Message, Wake, derive, later, reply, same_fields
from schemas.user import MAX_BLOCKS, Ban, Unban, UserBanned, UserErased, UserSignedUp, UserUnbanned
from schemas.video_line import Bar, PartFrom, Unbar


def decide_blocks(blocks: Blocks | None, message: BlocksInbox) -> tuple[Blocks | None, Sequence[Message]]:
    """Decide one message of a blocker's inbox."""
    match message:
        case UserErased():
            return Blocks({}, erased_at=message.at), ()
        case Wake():
            return (None if blocks is not None and blocks.is_due(message.at) else blocks), ()
    peers = blocks.peers if blocks else {}
    refusal = BlockRefusal.USER_ERASED if blocks and blocks.erased_at else refusal_of(peers, message)
    if refusal is not None:
        return blocks, (BlockRefused(**reply(message), user=message.user, peer=message.peer, refusal=refusal),)
    if isinstance(message, UnblockUser):
        unblocked = UserUnblocked(**reply(message), user=message.user, peer=message.peer)
        rest = {peer: reason for peer, reason in peers.items() if peer != message.peer}
        return Blocks(rest) if rest else None, (unblocked, *_to_own(message, Unbar, UnbarFavorite))
    blocked = UserBlocked(**reply(message), **same_fields(message, UserBlocked))
    if peers.get(message.peer) is message.reason:
        return blocks, (blocked,)
    part = PartFrom(**derive(message, f"PartFrom/{message.peer}"), user=message.peer, peer=message.user)
    bars = (*_to_own(message, Bar, BarFavorite), part) if message.peer not in peers else ()
    return Blocks({**peers, message.peer: message.reason}), (blocked, *bars)


def _to_own(message: BlockUser | UnblockUser, *kinds: type[Bar | Unbar | BarFavorite | UnbarFavorite]) -> Sequence[Message]:
    """To the blocker's own line and favourites."""
    return [kind(**derive(message, f"{kind.__name__}/{message.user}"), user=message.user, peer=message.peer) for kind in kinds]


def refusal_of(peers: Mapping[str, BlockReason], message: BlockUser | UnblockUser) -> BlockRefusal | None:
    """The first guard that the message fails, or None."""
    if message.user == message.peer:
        return BlockRefusal.SAME_USER
    if isinstance(message, UnblockUser):
        return None if message.peer in peers else BlockRefusal.NOT_BLOCKED
    return BlockRefusal.TOO_MANY_BLOCKS if len(peers) >= MAX_BLOCKS and message.peer not in peers else None


# --- the record of the blocked ----------------------------------------------------------------------------------------------


def decide_record(record: Record | None, message: RecordInbox) -> tuple[Record | None, Sequence[Message]]:
    """Decide one message of a record's inbox."""
    state = record or Record()
    match message:
        case Wake():
            return record, ()
        case UserErased():
            return None, ()
        case UserSignedUp():
            return replace(state, role=message.role, signed_up_at=message.at), ()
        case UserBanned() | UserUnbanned():
            return replace(state, banned=isinstance(message, UserBanned)), ()
        case CountContact():
            return replace(state, met=state.met + 1), ()
        case VouchBlock():
            return record, _vouch(state, message)
        case CountBlock():
            return _count(state, message)
        case Review():
            after, messages = _review(state, message)
            return (record if after is state else after), messages
        case EntryRecorded() if message.kind is EntryKind.DEBIT:
            cases = tuple(replace(c, taken_coins=-message.coins) if c.case == message.ref else c for c in state.cases)
            return replace(state, cases=cases), ()
        case EntryRecorded():
            return record, ()


def _vouch(record: Record, message: VouchBlock) -> tuple[Message, ...]:
    """Nobody counts who has not signed up, or is banned."""
    if record.role is None or record.banned:
        return ()
    age_s = MAX_BAN_S if record.signed_up_at is None else int((message.at - record.signed_up_at).total_seconds())
    return (
        CountBlock(
            **derive(message, 0), user=message.peer, by=message.user, reason=message.reason, rules=message.rules,
            age_s=min(max(age_s, 0), MAX_BAN_S),
        ),
    )  # fmt: skip


def _count(record: Record, message: CountBlock) -> tuple[Record, Sequence[Message]]:
    record = replace(record, counted=_counted(record.counted, Counted(message.by, message.reason, message.at, message.age_s)))
    messages: list[Message] = []
    for rule in message.rules:
        if (by := _fires(record, rule, message)) is not None:
            number = max(record.drawn, len(record.cases)) + 1
            case = Case(f"{rule.rule}-{number}", rule, message.at, by[-MAX_NAMED:])
            record = replace(record, cases=_remembered((*record.cases, case)), drawn=number)
            messages += _draw(case, message, len(messages))
    return record, messages


def _counted(before: Sequence[Counted], block: Counted) -> tuple[Counted, ...]:
    """The newest block of each person for each reason. The newest MAX_COUNTED of a reason count: blocks for another one do not
    push them out."""
    others = [one for one in before if (one.by, one.reason) != (block.by, block.reason)]
    same = [one for one in others if one.reason is block.reason]
    if len(same) >= MAX_COUNTED:
        others.remove(same[0])
    return (*others, block)


def _remembered(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """The cases that there is room for. The first to go is one that a person has looked at, then the oldest; the newest case of
    each rule stays as long as it can, since it keeps its rule from firing again."""
    if len(cases) <= MAX_CASES:
        return cases
    newest = {case.rule.rule: case for case in cases}
    older = [case for case in cases if newest[case.rule.rule] is not case] or cases[:1]
    gone = next((case for case in older if case.upheld is not None), older[0])
    return tuple(case for case in cases if case is not gone)


def _fires(record: Record, rule: BlockRule, message: CountBlock) -> tuple[str, ...] | None:
    """The people whose blocks make a rule fire; None: it does not."""
    since = later(message.at, timedelta(seconds=-rule.window_s))
    if rule.reason is not message.reason or rule.role not in (None, record.role):
        return None
    if any(case.rule.rule == rule.rule and case.at > since for case in record.cases):
        return None
    fit = (c for c in record.counted if c.reason is rule.reason and c.at > since and c.age_s >= rule.min_age_s)
    by = tuple(c.by for c in fit)
    return by if len(by) >= min(rule.blocks, MAX_COUNTED) and len(by) * 100 >= rule.percent * record.met else None


def _draw(case: Case, message: CountBlock, first: int) -> tuple[Message, Message]:
    rule = case.rule
    drawn = ConsequenceDrawn(**reply(message, first), user=message.user, case=case.case, rule=rule, by=case.by)
    if rule.then is Consequence.PENALTY:
        return drawn, Transfer(
            **derive(message, first + 1), account=earnings_account(message.user), to=AccountId(PENALTIES), coins=rule.coins,
            reason=Reason.PENALTY, ref=case.case,
        )  # fmt: skip
    until = later(message.at, timedelta(seconds=rule.ban_s)) if rule.ban_s else None
    reason, by = f"blocks:{rule.reason}", f"rule:{rule.rule}"
    return drawn, Ban(**derive(message, first + 1), user=message.user, reason=reason, by=by, until=until, case=case.case)


def _review(record: Record, message: Review) -> tuple[Record, Sequence[Message]]:
    case = next((c for c in record.cases if c.case == message.case and c.upheld is None), None)
    if case is None:
        unknown = BlockRefusal.REVIEW_UNKNOWN
        return record, (ReviewRefused(**reply(message), user=message.user, case=message.case, refusal=unknown),)
    reviewed = ConsequenceReviewed(
        **reply(message), user=message.user, case=message.case, upheld=message.upheld, reviewer=message.by
    )  # fmt: skip
    cases = tuple(replace(c, upheld=message.upheld) if c is case else c for c in record.cases)
    return replace(record, cases=cases), (reviewed, *_undo(case, message))


def _undo(case: Case, message: Review) -> tuple[Message, ...]:
    """What takes back a consequence that was not upheld."""
    if message.upheld:
        return ()
    if case.rule.then is Consequence.BAN:
        return (Unban(**derive(message, 1), user=message.user, by=message.by, case=case.case),)
    if not case.taken_coins:
        return ()
    back = Credit(
        **derive(message, 1), account=earnings_account(message.user), counterparty=AccountId(PENALTIES),
        coins=case.taken_coins, reason=Reason.PENALTY, ref=case.case,
    )  # fmt: skip
    return (back,)


# --- the rules --------------------------------------------------------------------------------------------------------------


def decide_rulebook(rulebook: Rulebook | None, message: RulebookInbox) -> tuple[Rulebook | None, Sequence[Message]]:
    """Decide one message of the rulebook's inbox: the last word holds."""
    if not isinstance(message, PublishRules):
        return rulebook, ()
    return Rulebook(message.rules), (RulesPublished(**reply(message), **same_fields(message, RulesPublished)),)
