"""The panel: `cohorts` (the one book of rules) and `member` (keyed by user): who belongs to which cohort.

State: `schemas.panel`. Laws: after each message a member is in just those cohorts whose rule holds at the time of the newest
event; each change is a fact; a cohort that leaves the book is left by all. Rules reach members by broadcast: the state under
the partition's broadcast key is the book, and the host wakes each member that was decided under another version.
An event counts in the bucket of its own time, however late it comes, while that bucket is kept.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from schemas.ads import UserAttributed
from schemas.balance import EntryRecorded, Reason, owner_of
from schemas.erased import mark_ends
from schemas.log.base import Message, UserId, Wake, derive, reply, same_fields, unix_minute
from schemas.log.codec import encode
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.panel import (
    MAX_BOOK_BYTES,
    MAX_COHORTS,
    MAX_GIVERS,
    MAX_TAGS,
    Attribute,
    BookInbox,
    Cohort,
    CohortBook,
    CohortEntered,
    CohortLeft,
    CohortPut,
    CohortRefusal,
    CohortRefused,
    CohortRemoved,
    CountAction,
    Giver,
    Member,
    MemberInbox,
    Moment,
    PutCohort,
    PutTag,
    RemoveCohort,
    RemoveTag,
    ShareCohorts,
    TagChanged,
    TagRefusal,
    TagRefused,
)
from schemas.panel_counters import COUNTERS, FIRST_MINUTE, Counter, buckets_of, count
from schemas.panel_rules import EMPTY, Compiled, Read, Touched, compiled
from schemas.subscription import PREFIX
from schemas.user import CameOnline, SessionOpened, UserErased, UserSignedUp, WentOffline

Decision = tuple[Member | None, Sequence[Message]]

SPENT: Final = frozenset({Reason.CALL, Reason.GIFT})
BLANK: Final = Member()


# --- the book ---------------------------------------------------------------------------------------------------------------


def decide_cohorts(book: CohortBook | None, message: BookInbox) -> tuple[CohortBook | None, Sequence[Message]]:
    """Decide one message of the book of cohorts."""
    if isinstance(message, Wake):
        return book, ()
    state = book or CohortBook()
    name = message.cohort.cohort if isinstance(message, PutCohort) else message.cohort
    others = tuple(cohort for cohort in state.cohorts if cohort.cohort != name)
    refusal = _book_refusal(state, others, message)
    if refusal is not None:
        return book, (CohortRefused(**reply(message), book=message.book, cohort=name, refusal=refusal),)
    version = state.version + 1
    fact: Message
    if isinstance(message, PutCohort):
        after = CohortBook(version, (*others, message.cohort))
        fact = CohortPut(**reply(message), **same_fields(message, CohortPut), version=version)
    else:
        after = CohortBook(version, others)
        fact = CohortRemoved(**reply(message), **same_fields(message, CohortRemoved), version=version)
    shares = [
        ShareCohorts(**derive(message, f"to/{key}"), user=UserId(key), shared=after) for key in broadcast_keys(log_partitions())
    ]
    return after, (fact, *shares)


def _book_refusal(book: CohortBook, others: tuple[Cohort, ...], message: PutCohort | RemoveCohort) -> CohortRefusal | None:
    """The guard that the message fails, or None; `others` are the book's cohorts without the one that the message names."""
    if isinstance(message, RemoveCohort):
        return CohortRefusal.COHORT_UNKNOWN if len(others) == len(book.cohorts) else None
    if len(others) >= MAX_COHORTS:
        return CohortRefusal.TOO_MANY_COHORTS
    return CohortRefusal.BOOK_FULL if len(encode((*others, message.cohort))) > MAX_BOOK_BYTES else None


# --- members ----------------------------------------------------------------------------------------------------------------


def decide_member(member: Member | None, message: MemberInbox, common: Member | None) -> Decision:
    """Decide one message of a member, under the book that its partition was told."""
    rules = compiled(common.shared) if common is not None and common.shared is not None else EMPTY
    state = member or BLANK
    if state.erased_at is not None or isinstance(message, UserErased):
        return _erased(state, message)
    match message:  # The most frequent messages are asked for first.
        case CountAction():
            return _counted(state, message, message.user, message.counts, rules)
        case EntryRecorded():
            return _paid(state, message, rules)
        case Wake():
            return (None, ()) if member is None else _wake(member, message, rules)
        case PutTag() | RemoveTag():
            return _tag(state, message, rules)
        case ShareCohorts():
            older = state.shared is not None and state.shared.version >= message.shared.version
            return (member if older else Member(shared=message.shared)), ()
        case UserAttributed():
            return _attributed(state, message, rules)
        case _:
            return _seen(state, message, rules)


def _erased(member: Member, message: MemberInbox) -> Decision:
    """The user leaves all cohorts and has no tag; what comes later does not count."""
    match message:
        case UserErased() if member.erased_at is None:
            left = [_leave(cohort, tag, message, message.user) for cohort, tag in member.cohorts.items()]
            tags = [
                TagChanged(**reply(message, f"tag/{tag}"), user=message.user, tag=tag, there=False, by=message.by)
                for tag in member.tags
            ]
            return Member(erased_at=message.at, due_at=mark_ends(message.at)), (*left, *tags)
        case Wake() if member.is_due(message.at):
            return None, ()
        case PutTag() | RemoveTag():
            return member, (_tag_refused(message, TagRefusal.USER_ERASED),)
    return member, ()


def _seen(member: Member, message: UserSignedUp | SessionOpened | CameOnline | WentOffline, rules: Compiled) -> Decision:
    """The user was here; a sign-up and a session also say what the user is."""
    changes: dict[str, Any] = {"last_seen_at": max(member.last_seen_at or message.at, message.at)}
    touched: list[str] = [Moment.LAST_SEEN]
    attributes: dict[Attribute, str] = {}
    if isinstance(message, UserSignedUp):
        changes["signed_up_at"] = message.at
        touched.append(Moment.SIGNED_UP)
        attributes = {
            Attribute.ROLE: message.role, Attribute.COUNTRY: message.country, Attribute.PLATFORM: message.platform,
            Attribute.LOCALE: message.locale, Attribute.APP_VERSION: message.app_version,
        }  # fmt: skip
    elif isinstance(message, SessionOpened):
        attributes = {Attribute.PLATFORM: message.platform, Attribute.APP_VERSION: message.app_version}
    attributes = {attribute: value for attribute, value in attributes.items() if value}
    if attributes:
        changes["attributes"] = {**member.attributes, **attributes}
    return _look(member, changes, message, message.user, rules.touched((*touched, *attributes)), rules, {})


def _attributed(member: Member, message: UserAttributed, rules: Compiled) -> Decision:
    """The last word on which network and campaign brought the user."""
    origin = {Attribute.NETWORK: message.touch.network, Attribute.CAMPAIGN: message.touch.campaign}
    attributes = {attribute: value for attribute, value in (member.attributes | origin).items() if value}
    return _look(member, {"attributes": attributes}, message, message.user, rules.touched(tuple(origin)), rules, {})


def _paid(member: Member, entry: EntryRecorded, rules: Compiled) -> Decision:
    spent = entry.reason in SPENT
    counts = {Counter.COINS_SPENT: -entry.coins} if spent else {Counter.COINS_BOUGHT: entry.coins}
    return _counted(member, entry, owner_of(entry.account), counts, rules)


def _counted(member: Member, message: Message, user: UserId, amounts: dict[Counter, int], rules: Compiled) -> Decision:
    minute = unix_minute(message.at)
    if minute < FIRST_MINUTE:
        return member, ()
    counts: dict[str, Any] = dict(member.counts)
    read: Read = {}
    for counter, amount in amounts.items():
        name = COUNTERS[counter]
        counts[name] = read[name] = count(buckets_of(counts.get(name)), minute, amount)
    touched, due_at = rules.touched(tuple(amounts)), member.due_at
    leaves = touched.leaves(minute)
    if leaves is not None and (due_at is None or leaves < due_at):
        due_at = leaves
    return _look(member, {"counts": counts, "due_at": due_at}, message, user, touched, rules, read, minute)


def _look(  # noqa: PLR0917 - the one path that every action takes
    member: Member, changes: dict[str, Any], message: Message, user: UserId, touched: Touched, rules: Compiled, read: Read,
    minute: int | None = None,
) -> Decision:  # fmt: skip
    """The member after the changes, and the cohorts that it enters or leaves by them.

    Looked at are the cohorts whose rules ask for a field that was touched; once the member's `due_at` has come, also those
    whose rules ask for a field of which something has left a window; and after a change of the book all of them. `read` holds
    the counters that the caller has changed already, and `minute` is the Unix minute of the message, if the caller knows it."""
    at = message.at
    if member.seen_at is not None and member.seen_at > at:
        at, minute = member.seen_at, None
    if minute is None:
        minute = unix_minute(at)
    changes["seen_at"] = at
    first = member is BLANK
    if not first and member.version != rules.version:
        return _look_at_all(replace(member, **changes), at, message, user, rules, read, minute)
    due_at = changes.get("due_at", member.due_at)
    if not read:  # a rule finds the changed counters in `read`, everything else in the member
        member = replace(member, **changes)
    cohorts = member.cohorts
    if first:
        changes["version"] = rules.version
        changed = touched.look(member, rules.blank_cohorts, at, minute, read)
        changed = sorted(rules.blank.symmetric_difference(changed))
    else:
        changed = touched.look(member, cohorts, at, minute, read)
    if due_at is not None and due_at <= at:
        changed, changes["due_at"] = _moved(member, changed, at, minute, rules, read, due_at)
    elif touched.spans:
        changes["due_at"] = rules.moved(member, at, minute, read)[1]
    facts: Sequence[Message] = ()
    if changed:
        changes["cohorts"], facts = _changed(cohorts, changed, message, user, rules)
    return replace(member, **changes), facts


def _moved(  # noqa: PLR0917 - as above
    member: Member, changed: list[int], at: datetime, minute: int, rules: Compiled, read: Read, since: datetime
) -> tuple[list[int], datetime | None]:
    """Something may have left a window since the moment `since`: all cohorts (by number) that change by that, together with
    those in `changed`, and when to look again."""
    moved, due_at = rules.moved(member, at, minute, read, since)
    if not moved:
        return changed, due_at
    numbers = set(changed)
    for field in moved:
        numbers.update(rules.touched((field,)).look(member, member.cohorts, at, minute, read))
    return sorted(numbers), due_at


def _changed(
    before: dict[str, str], changed: list[int], message: Message, user: UserId, rules: Compiled
) -> tuple[dict[str, str], list[Message]]:
    """The member's cohorts when those in `changed` (by number) have been entered or left, and the facts that tell so."""
    facts: list[Message] = []
    cohorts = dict(before)
    for number in changed:
        cohort = rules.book.cohorts[number]
        tag = cohorts.pop(cohort.cohort, None)
        if tag is None:
            cohorts[cohort.cohort] = cohort.tag
            entered = reply(message, f"in/{cohort.cohort}")
            facts.append(CohortEntered(**entered, user=user, cohort=cohort.cohort, tag=cohort.tag))
        else:
            facts.append(_leave(cohort.cohort, tag, message, user))
    return cohorts, facts


def _leave(cohort: str, tag: str, message: Message, user: UserId) -> CohortLeft:
    return CohortLeft(**reply(message, f"out/{cohort}"), user=user, cohort=cohort, tag=tag)


def _look_at_all(  # noqa: PLR0917 - as above
    member: Member, at: datetime, message: Message, user: UserId, rules: Compiled, read: Read, minute: int
) -> Decision:
    """The member under another book. Cohorts that are no more are left. Those that have another tag now are left, too, and then
    entered again under that tag."""
    cohorts = rules.cohorts
    gone = {name: tag for name, tag in member.cohorts.items() if name not in cohorts or cohorts[name].tag != tag}
    facts: list[Message] = [_leave(name, tag, message, user) for name, tag in gone.items()]
    stay = {name: tag for name, tag in member.cohorts.items() if name not in gone}
    after, more = _changed(stay, rules.all(member, stay, at, minute, read), message, user, rules)
    due_at = rules.moved(member, at, minute, read)[1]
    return replace(member, cohorts=after, version=rules.version, due_at=due_at), (*facts, *more)


def _wake(member: Member, message: Wake, rules: Compiled) -> Decision:
    """Something may have left a window, or the book is another one. A stale wake changes nothing."""
    if member.shared is not None or not (member.is_due(message.at) or member.version != rules.version):
        return member, ()
    return _look(member, {}, message, UserId(message.key), rules.touched(()), rules, {})


def _tag(member: Member, message: PutTag | RemoveTag, rules: Compiled) -> Decision:
    there, by = isinstance(message, PutTag), message.by if message.by.startswith(PREFIX) else ""
    others = tuple(tag for tag in member.tags if tag != message.tag)
    if not there and len(others) == len(member.tags):
        return (None if member is BLANK else member), (_tag_refused(message, TagRefusal.TAG_UNKNOWN),)
    if there and len(others) >= MAX_TAGS:
        return member, (_tag_refused(message, TagRefusal.TOO_MANY_TAGS),)
    givers = _given(member, message.tag, by) if there else _left_to_give(member, message.tag, by)
    if not there and any(one.tag == message.tag for one in givers):
        return replace(member, givers=givers), ()
    changes = {"tags": (*others, message.tag) if there else others, "givers": givers}
    after, facts = _look(member, changes, message, message.user, rules.touched((Attribute.TAG,)), rules, {})
    changed = TagChanged(**reply(message), user=message.user, tag=message.tag, there=there, by=message.by)
    return after, (changed, *facts)


def _given(member: Member, tag: str, by: str) -> tuple[Giver, ...]:
    """Who gives which tag, where a subscription does: it (`by`; empty: a person), and whoever gives the same one."""
    known = [one.by for one in member.givers if one.tag == tag]
    if not known and (not by or tag in member.tags):
        known.append("")
    more = [Giver(tag, one) for one in dict.fromkeys((*known, by))] if by or any(known) else []
    return (*(one for one in member.givers if one.tag != tag), *more)[:MAX_GIVERS]


def _left_to_give(member: Member, tag: str, by: str) -> tuple[Giver, ...]:
    """The others: a person takes a tag away from all who give it, a subscription only its own."""
    return tuple(one for one in member.givers if one.tag != tag or (by and one.by != by))


def _tag_refused(message: PutTag | RemoveTag, refusal: TagRefusal) -> TagRefused:
    return TagRefused(**reply(message), user=message.user, tag=message.tag, refusal=refusal)
