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
from schemas.log.base import Message, UserId, Wake, derived_id, unix_minute
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.panel import (
    MAX_COHORTS,
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
from schemas.user import SessionOpened, UserSignedUp

Decision = tuple[Member | None, Sequence[Message]]

SPENT: Final = frozenset({Reason.CALL, Reason.GIFT})
BLANK: Final = Member()


# --- the book ---------------------------------------------------------------------------------------------------------------


def decide_cohorts(book: CohortBook | None, message: BookInbox) -> tuple[CohortBook | None, Sequence[Message]]:
    """Decide one message of the book of cohorts."""
    known = book or CohortBook()
    if isinstance(message, Wake):
        return book, ()
    name = message.cohort.cohort if isinstance(message, PutCohort) else message.cohort
    others = tuple(cohort for cohort in known.cohorts if cohort.cohort != name)
    refusal = None
    if isinstance(message, RemoveCohort) and len(others) == len(known.cohorts):
        refusal = CohortRefusal.COHORT_UNKNOWN
    elif isinstance(message, PutCohort) and len(others) >= MAX_COHORTS:
        refusal = CohortRefusal.TOO_MANY_COHORTS
    head: dict[str, Any] = {"id": derived_id(message.id, 0), "at": message.at, "cause": message.id, "book": message.book}
    if refusal is not None:
        return book, (CohortRefused(**head, cohort=name, refusal=refusal),)
    version = known.version + 1
    if isinstance(message, PutCohort):
        after = CohortBook(version, (*others, message.cohort))
        fact: Message = CohortPut(**head, cohort=message.cohort, version=version, by=message.by)
    else:
        after = CohortBook(version, others)
        fact = CohortRemoved(**head, cohort=name, version=version, by=message.by)
    shares = [
        ShareCohorts(id=derived_id(message.id, f"to/{key}"), at=message.at, user=UserId(key), shared=after)
        for key in broadcast_keys(log_partitions())
    ]
    return after, (fact, *shares)


# --- members ----------------------------------------------------------------------------------------------------------------


def decide_member(member: Member | None, message: MemberInbox, common: Member | None) -> Decision:
    """Decide one message of a member, under the book that its partition was told."""
    rules = compiled(common.shared) if common is not None and common.shared is not None else EMPTY
    known = member or BLANK
    match message:  # what there is most of is asked first
        case CountAction():
            return _counted(known, message, message.user, message.counts, rules)
        case EntryRecorded():
            return _paid(known, message, rules)
        case Wake():
            return (None, ()) if member is None else _wake(member, message, rules)
        case PutTag() | RemoveTag():
            return _tag(known, message, rules)
        case ShareCohorts():
            older = known.shared is not None and known.shared.version >= message.shared.version
            return (member if older else Member(shared=message.shared)), ()
        case UserAttributed():
            return _attributed(known, message, rules)
    changes: dict[str, Any] = {"last_seen_at": max(known.last_seen_at or message.at, message.at)}
    touched: list[str] = [Moment.LAST_SEEN]
    told: dict[Attribute, str] = {}
    if isinstance(message, UserSignedUp):
        changes["signed_up_at"] = message.at
        touched.append(Moment.SIGNED_UP)
        told = {
            Attribute.ROLE: message.role, Attribute.COUNTRY: message.country, Attribute.PLATFORM: message.platform,
            Attribute.LOCALE: message.locale, Attribute.APP_VERSION: message.app_version,
        }  # fmt: skip
    elif isinstance(message, SessionOpened):
        told = {Attribute.PLATFORM: message.platform, Attribute.APP_VERSION: message.app_version}
    told = {field: value for field, value in told.items() if value}
    if told:
        changes["attributes"] = {**known.attributes, **told}
    return _look(known, changes, message, message.user, rules.touched((*touched, *told)), rules, {})


def _attributed(member: Member, message: UserAttributed, rules: Compiled) -> Decision:
    """The last word on what brought the user."""
    found = {Attribute.NETWORK: message.touch.network, Attribute.CAMPAIGN: message.touch.campaign}
    attributes = {field: value for field, value in (member.attributes | found).items() if value}
    return _look(member, {"attributes": attributes}, message, message.user, rules.touched(tuple(found)), rules, {})


def _paid(member: Member, entry: EntryRecorded, rules: Compiled) -> Decision:
    spent = entry.reason in SPENT
    counts = {Counter.COINS_SPENT: -entry.coins} if spent else {Counter.COINS_BOUGHT: entry.coins}
    return _counted(member, entry, owner_of(entry.account), counts, rules)


def _counted(member: Member, message: Message, user: UserId, counts: dict[Counter, int], rules: Compiled) -> Decision:
    minute = unix_minute(message.at)
    if minute < FIRST_MINUTE:
        return member, ()
    held: dict[str, Any] = dict(member.counts)
    read: Read = {}
    for counter, amount in counts.items():
        name = COUNTERS[counter]
        held[name] = read[name] = count(buckets_of(held.get(name)), minute, amount)
    touched, due_at = rules.touched(tuple(counts)), member.due_at
    leaves = touched.leaves(minute)
    if leaves is not None and (due_at is None or leaves < due_at):
        due_at = leaves
    return _look(member, {"counts": held, "due_at": due_at}, message, user, touched, rules, read, minute)


def _look(  # noqa: PLR0917 - the one path that every action takes
    member: Member, changes: dict[str, Any], message: Message, user: UserId, touched: Touched, rules: Compiled, read: Read,
    minute: int | None = None,
) -> Decision:  # fmt: skip
    """The member with the changes, and which cohorts it enters or leaves: of those that what was touched can change, and, when
    windows have moved, those that may be left by that; of all, when the book is another one. `minute`: that of the message."""
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
    if not read:  # counts that have changed are all in there
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
    told: Sequence[Message] = ()
    if changed:
        changes["cohorts"], told = _changed(cohorts, changed, message, user, rules)
    return replace(member, **changes), told


def _moved(  # noqa: PLR0917 - as above
    member: Member, changed: list[int], at: datetime, minute: int, rules: Compiled, read: Read, since: datetime
) -> tuple[list[int], datetime | None]:
    """Something may have left a window: what has changed then, in all, and when to look again."""
    moved, due_at = rules.moved(member, at, minute, read, since)
    if not moved:
        return changed, due_at
    found = set(changed)
    for field in moved:
        found.update(rules.touched((field,)).look(member, member.cohorts, at, minute, read))
    return sorted(found), due_at


def _changed(
    known: dict[str, str], changed: list[int], message: Message, user: UserId, rules: Compiled
) -> tuple[dict[str, str], list[Message]]:
    """The cohorts when these (by number) have been entered, or left; and the facts."""
    told: list[Message] = []
    cohorts = dict(known)
    for number in changed:
        cohort = rules.book.cohorts[number]
        tag = cohorts.pop(cohort.cohort, None)
        if tag is None:
            cohorts[cohort.cohort] = cohort.tag
            told.append(_enter(cohort, message, user))
        else:
            told.append(_leave(cohort.cohort, tag, message, user))
    return cohorts, told


def _enter(cohort: Cohort, message: Message, user: UserId) -> CohortEntered:
    name = derived_id(message.id, f"in/{cohort.cohort}")
    return CohortEntered(id=name, at=message.at, cause=message.id, user=user, cohort=cohort.cohort, tag=cohort.tag)


def _leave(cohort: str, tag: str, message: Message, user: UserId) -> CohortLeft:
    name = derived_id(message.id, f"out/{cohort}")
    return CohortLeft(id=name, at=message.at, cause=message.id, user=user, cohort=cohort, tag=tag)


def _look_at_all(  # noqa: PLR0917 - as above
    member: Member, at: datetime, message: Message, user: UserId, rules: Compiled, read: Read, minute: int
) -> Decision:
    """Under another book. Cohorts that are no more, or have another tag now, are left, the latter to be entered again."""
    known = rules.cohorts
    gone = {name: tag for name, tag in member.cohorts.items() if name not in known or known[name].tag != tag}
    told: list[Message] = [_leave(name, tag, message, user) for name, tag in gone.items()]
    stay = {name: tag for name, tag in member.cohorts.items() if name not in gone}
    cohorts, more = _changed(stay, rules.all(member, stay, at, minute, read), message, user, rules)
    due_at = rules.moved(member, at, minute, read)[1]
    return replace(member, cohorts=cohorts, version=rules.version, due_at=due_at), (*told, *more)


def _wake(member: Member, message: Wake, rules: Compiled) -> Decision:
    """A window moved, or the book is another one. A stale wake changes nothing."""
    due = member.due_at is not None and member.due_at <= message.at
    if member.shared is not None or not (due or member.version != rules.version):
        return member, ()
    return _look(member, {}, message, UserId(message.key), rules.touched(()), rules, {})


def _tag(member: Member, message: PutTag | RemoveTag, rules: Compiled) -> Decision:
    there = isinstance(message, PutTag)
    head: dict[str, Any] = {
        "id": derived_id(message.id, 0),
        "at": message.at,
        "cause": message.id,
        "user": message.user,
        "tag": message.tag,
    }
    tags = tuple(tag for tag in member.tags if tag != message.tag)
    if not there and len(tags) == len(member.tags):
        return (None if member is BLANK else member), (TagRefused(**head, refusal=TagRefusal.TAG_UNKNOWN),)
    if there and len(tags) >= MAX_TAGS:
        return member, (TagRefused(**head, refusal=TagRefusal.TOO_MANY_TAGS),)
    changes = {"tags": (*tags, message.tag) if there else tags}
    after, told = _look(member, changes, message, message.user, rules.touched((Attribute.TAG,)), rules, {})
    return after, (TagChanged(**head, there=there, by=message.by), *told)
