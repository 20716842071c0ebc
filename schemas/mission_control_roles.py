"""Who of the staff may do what: permissions, and the roles that give them.

A route of staff names one permission (`serving/runtime/staff.py`), and lets in whoever has a role that gives it. What looks and
what changes are two permissions, so that an auditor may see whatever staff sees.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from schemas.user import Role


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
STAFF: Final = frozenset(role for role, permissions in PERMISSIONS.items() if permissions)


def permissions_of(roles: Iterable[Role]) -> frozenset[Permission]:
    """All that somebody with these roles may do."""
    return frozenset[Permission]().union(*(PERMISSIONS[role] for role in roles))
