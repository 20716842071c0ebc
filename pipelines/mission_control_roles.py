"""The book of staff: who has which roles. State: `schemas.mission_control_roles.StaffBook`, one for the whole platform.

Laws: nobody gives or takes without the permission, by the book, or, where it says nothing of them, by their token; nobody gets
a role that may more than who gives it, and nobody gives themselves one; a role of one's own may be laid down. A book that has
had an admin has one, unless the last one is erased. What the book has said of a person it never unsays, but for an erasure.
Refusals, in order of precedence: `schemas.mission_control_roles.RoleRefusal`.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from schemas.log.base import Message, Wake, reply, same_fields
from schemas.mission_control_roles import (
    GIVEN,
    MAX_STAFF,
    PERMISSIONS,
    GiveRole,
    Permission,
    RoleRefusal,
    RoleRefused,
    RolesChanged,
    RoleUnchanged,
    StaffBook,
    StaffInbox,
    TakeRole,
    in_order,
    permissions_of,
)
from schemas.user import Role, UserErased

Decision = tuple[StaffBook | None, Sequence[Message]]
People = Mapping[str, tuple[Role, ...]]


def decide_staff(book: StaffBook | None, message: StaffInbox) -> Decision:
    """Decide one message of the book's inbox."""
    match message:
        case Wake():
            return book, ()
        case UserErased():
            if book is None or message.user not in book.people:
                return book, ()
            return replace(book, people={user: roles for user, roles in book.people.items() if user != message.user}), ()
    book = book or StaffBook()
    before = {message.by: in_order(GIVEN.intersection(message.claimed))} | book.people
    refusal = refusal_of(before, message)
    if refusal is not None:
        return book, (RoleRefused(**reply(message), **same_fields(message, RoleRefused), refusal=refusal),)
    after = people_after(before, message)
    if after == book.people:
        return book, (RoleUnchanged(**reply(message), **same_fields(message, RoleUnchanged)),)
    return _changed(book, after, message)


def refusal_of(people: People, message: GiveRole | TakeRole) -> RoleRefusal | None:
    """The first guard that the message fails, or None. `people`: as the book has them, and who asks."""
    own, gives = message.user == message.by, isinstance(message, GiveRole)
    may = permissions_of(people[message.by])
    if message.role not in GIVEN:
        return RoleRefusal.ROLE_NOT_GIVEN
    if Permission.ROLES_CHANGE not in may:
        return RoleRefusal.NOT_PERMITTED
    if own and gives:
        return RoleRefusal.OWN_ROLE
    if not PERMISSIONS[message.role] <= may:
        return RoleRefusal.ROLE_ABOVE_OWN
    after = people_after(people, message)
    if len(after) > MAX_STAFF:
        return RoleRefusal.STAFF_FULL
    return None if any(Role.ADMIN in roles for roles in after.values()) else RoleRefusal.LAST_ADMIN


def people_after(people: People, message: GiveRole | TakeRole) -> People:
    """Who has which roles behind the change."""
    roles = set(people.get(message.user, ()))
    roles = roles | {message.role} if isinstance(message, GiveRole) else roles - {message.role}
    return {**people, message.user: in_order(roles)}


def _changed(book: StaffBook, after: People, message: GiveRole | TakeRole) -> Decision:
    """The change, and, where the book has not known who made it, that it does from now on."""
    told = [user for user in dict.fromkeys((message.user, message.by)) if after[user] != book.people.get(user)]
    facts = []
    for number, user in enumerate(told):
        fact = RolesChanged(
            **reply(message, number), book=message.book, user=user, roles=after[user], version=book.version + number + 1
        )  # fmt: skip
        if user == message.user:
            fact = replace(
                fact, role=message.role, given=isinstance(message, GiveRole), by=message.by, why=message.why,
                signed_up=message.signed_up,
            )  # fmt: skip
        facts.append(fact)
    return StaffBook(dict(after), book.version + len(told)), facts
