"""Who of the staff may do what: permissions, the roles that give them, and the book of who has which.

The book is one entity, `staff`: what it says of a person is final, whatever a token claims; only where it says nothing the
token is believed, which is how a platform gets its first admin. Who gives or takes a role for the first time is written down,
too. A route of staff names one permission (`serving/runtime/staff.py`), and lets in whoever has a role that gives it. What
looks and what changes are two permissions, so that an auditor may see whatever staff sees.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.log.base import BookName, Fact, Message, Refused, State, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.mission_control import Why
from schemas.user import ListedUser, OptionalUser, Role, User_, UserErased, UserInList


class Permission(StrEnum):
    """What a role lets its people do. `*.look` reads, and changes nothing."""

    PEOPLE_LOOK = "people.look"
    PEOPLE_CHANGE = "people.change"
    PEOPLE_ERASE = "people.erase"
    PRIVATE_LOOK = "private.look"
    REPORTS_LOOK = "reports.look"
    REPORTS_CHANGE = "reports.change"
    MONEY_LOOK = "money.look"
    MONEY_CHANGE = "money.change"
    GROWTH_LOOK = "growth.look"
    GROWTH_CHANGE = "growth.change"
    RULES_LOOK = "rules.look"
    RULES_CHANGE = "rules.change"
    JOBS_LOOK = "jobs.look"
    JOBS_CHANGE = "jobs.change"
    ROLES_LOOK = "roles.look"
    ROLES_CHANGE = "roles.change"
    AUDIT_LOOK = "audit.look"
    LOG_LOOK = "log.look"
    LOG_CHANGE = "log.change"
    WAREHOUSE_LOOK = "warehouse.look"
    WAREHOUSE_CHANGE = "warehouse.change"

    @property
    def looks(self) -> bool:
        """Whether it only reads."""
        return self.value.endswith(".look")


# What each permission is for, in the words of docs/mission_control.md.
MEANING: Final[Mapping[Permission, str]] = {
    Permission.PEOPLE_LOOK: "tags, attribution, why a notification came",
    Permission.PEOPLE_CHANGE: "bans, tags, notices",
    Permission.PEOPLE_ERASE: "to erase somebody who has asked for it",
    Permission.PRIVATE_LOOK: "private profiles, for a reason",
    Permission.REPORTS_LOOK: "reports of chats with their evidence, cases of blocks",
    Permission.REPORTS_CHANGE: "what comes of reports and cases",
    Permission.MONEY_LOOK: "others' balances, entries, calls, gifts and transfers; products, tariffs",
    Permission.MONEY_CHANGE: "grants, transfers, products, gifts' prices, tariffs",
    Permission.GROWTH_LOOK: "cohorts, campaigns, exports of what campaigns brought",
    Permission.GROWTH_CHANGE: "cohorts, groups, campaigns",
    Permission.RULES_LOOK: "rules of blocks, chats, galleries and postbacks",
    Permission.RULES_CHANGE: "the same rules, and the apps' settings",
    Permission.JOBS_LOOK: "jobs by the clock",
    Permission.JOBS_CHANGE: "to put, pause and run them",
    Permission.ROLES_LOOK: "who has which role",
    Permission.ROLES_CHANGE: "to give and take roles, up to one's own",
    Permission.AUDIT_LOOK: "what staff did",
    Permission.LOG_LOOK: "records of the log, dead letters, the outbox",
    Permission.LOG_CHANGE: "to let dead letters go on, and have deliveries tried again",
    Permission.WAREHOUSE_LOOK: "questions in SQL, saved ones and others",
    Permission.WAREHOUSE_CHANGE: "to save questions and take them away",
}

_NONE: Final[frozenset[Permission]] = frozenset()
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.USER: _NONE,
    Role.STREAMER: _NONE,
    Role.AGENCY: _NONE,
    Role.SUPPORT: frozenset({
        Permission.PEOPLE_LOOK, Permission.PEOPLE_CHANGE, Permission.PRIVATE_LOOK, Permission.REPORTS_LOOK,
        Permission.REPORTS_CHANGE, Permission.MONEY_LOOK,
    }),
    Role.FINANCE: frozenset({Permission.MONEY_LOOK, Permission.MONEY_CHANGE}),
    Role.AUDITOR: frozenset(one for one in Permission if one.looks),
    Role.ADMIN: frozenset(Permission),
}  # fmt: skip
# Whoever has one of these is staff.
STAFF_ROLES: Final = frozenset(role for role, permissions in PERMISSIONS.items() if permissions)
# What people are given; users and streamers have signed up as that.
GIVEN: Final = frozenset({Role.AGENCY, *STAFF_ROLES})
BOOK: Final = "staff"
# Who ever had a role stays in the book: a token that still claims it is not believed.
MAX_STAFF: Final = 300


def permissions_of(roles: Iterable[Role]) -> frozenset[Permission]:
    """All that somebody with these roles may do."""
    return frozenset[Permission]().union(*(PERMISSIONS[role] for role in roles))


def in_order(roles: Iterable[Role]) -> tuple[Role, ...]:
    """The roles in the order of the enumeration, each once."""
    found = set(roles)
    return tuple(role for role in Role if role in found)


def strongest(roles: Iterable[Role]) -> Role | None:
    """The role that stands last in the enumeration, which is the one that may most; None: there is none."""
    return max(roles, key=list(Role).index, default=None)


class RoleRefusal(StrEnum):
    """Why a role was neither given nor taken, in order of precedence."""

    ROLE_NOT_GIVEN = "role_not_given"
    NOT_PERMITTED = "not_permitted"
    OWN_ROLE = "own_role"
    ROLE_ABOVE_OWN = "role_above_own"
    STAFF_FULL = "staff_full"
    LAST_ADMIN = "last_admin"


Roles = Annotated[tuple[Role, ...], Meta(max_length=len(Role))]


class RoleFields(BookName):
    """Whose role, which one, who says so, and why."""

    user: ListedUser
    role: Role
    by: ListedUser
    why: Why = ""


class _ChangeRole(Message, RoleFields):
    claimed: Roles = ()
    signed_up: Role = Role.USER


class GiveRole(_ChangeRole):
    """`user` has this role from now on. `claimed`: the roles that the token of `by` claims, which count as long as the book
    says nothing of `by`; `signed_up`: what the user's token is to claim without roles."""


class TakeRole(_ChangeRole):
    """`user` has this role no more; of somebody of whom the book says nothing yet, whatever a token claims ends with it."""


class RolesChanged(Fact, BookName):
    """`user` has these `roles`, and no others, whatever a token claims. `role` was given or taken; None: they were believed so
    far since the token of somebody who gives roles claimed them, and are written down. `version` counts a book's changes."""

    user: User_
    roles: Roles
    version: int
    given: bool = False
    role: Role | None = None
    by: OptionalUser = ""
    why: Why = ""
    signed_up: Role = Role.USER


class RoleUnchanged(Fact, BookName):
    """There is nothing to give or to take."""

    changes_state: ClassVar[bool] = False
    user: User_
    role: Role


class RoleRefused(Refused, BookName):
    """Nothing was changed."""

    user: User_
    role: Role
    refusal: RoleRefusal


class StaffBook(State):
    """Of whom the log has said something, and which roles they have: none, where the last one was taken."""

    people: Annotated[dict[UserInList, Roles], Meta(max_length=MAX_STAFF)] = {}
    version: int = 0


StaffInbox = GiveRole | TakeRole | UserErased | Wake

STAFF: Final = Entity(
    "staff",
    key="book",
    flow=Flow.LIVE,
    state=StaffBook,
    commands=(GiveRole, TakeRole),
    facts=(RolesChanged, RoleUnchanged, RoleRefused),
    hears=(Hears(UserErased, lambda _: BOOK, "who was erased has no role any more, and is not the last admin"),),
)
