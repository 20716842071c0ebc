"""Four eyes: a command that moves much money is asked for by one person and sent when a second one has approved it.

An *approval* is an entity of its own, `approval`. It holds the command as a template (`schemas/log/templates.py`), so that a
new kind of command is one row of FOUR_EYES. Who approves says which SHA-256 they have seen: over the command and its template.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from msgspec import Meta

from schemas.adjustment import PlaceAdjustment
from schemas.log.base import REMEMBERED_FOR, Fact, Fields, Id, Message, Refused, State, Time, Wake, later
from schemas.log.entity import Entity, Flow
from schemas.log.personal import PLAIN
from schemas.migration import PutMigrationFeed
from schemas.mission_control import Why
from schemas.payment import PutProduct
from schemas.timetable import Template
from schemas.transfer import PlaceTransfer
from schemas.user import Code, OptionalUser, User_

# A colleague answers within a day, or the question is asked anew.
APPROVAL_LIVES: Final = timedelta(days=1)
MAX_BENEFICIARIES: Final = 4

Seen = Annotated[str, Meta(max_length=64, description="SHA-256 of what was seen"), PLAIN]
Beneficiaries = Annotated[tuple[User_, ...], Meta(max_length=MAX_BENEFICIARIES)]


class FourEyes(NamedTuple):
    """Of a kind of command: how many coins it is about, and who gains by it."""

    coins: Callable[[Any], int]
    beneficiaries: Callable[[Any], tuple[str, ...]]


def owner_of(party: str) -> tuple[str, ...]:
    """The user whose account it is; nobody, for an outside party."""
    return () if party.startswith("@") else (party.rpartition("/")[0],)


FOUR_EYES: Final[Mapping[type[Message], FourEyes]] = {
    PlaceTransfer: FourEyes(lambda transfer: transfer.coins, lambda transfer: owner_of(transfer.payee)),
    PlaceAdjustment: FourEyes(lambda adjustment: adjustment.coins, lambda adjustment: owner_of(adjustment.account)),
    PutProduct: FourEyes(lambda product: product.coins, lambda _: ()),
    PutMigrationFeed: FourEyes(lambda feed: feed.total_coins, lambda _: ()),
}


def needs_approval(command: Any, limit_coins: int) -> bool:
    """Whether a second person has to approve the command. `limit_coins` 0: there is no limit."""
    rule = FOUR_EYES.get(type(command))
    return bool(limit_coins) and rule is not None and rule.coins(command) > limit_coins


def seen_of(command: str, template: str) -> str:
    """What who approves has to have seen."""
    return sha256(f"{command}\n{template}".encode()).hexdigest()


class ApprovalStatus(StrEnum):
    """Where an approval stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class ApprovalRefusal(StrEnum):
    """Why a command was refused, in order of precedence."""

    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    TEMPLATE_INVALID = "template_invalid"
    OWN_BENEFIT = "own_benefit"
    APPROVAL_UNKNOWN = "approval_unknown"
    APPROVAL_OVER = "approval_over"
    OWN_APPROVAL = "own_approval"
    BENEFICIARY = "beneficiary"
    APPROVAL_CHANGED = "approval_changed"


class ApprovalName(Fields):
    """Which approval."""

    approval: Id


class Wanted(Fields):
    """Who (`maker`) wants which command to be sent, and why."""

    maker: User_
    command: Code
    template: Template
    why: Why = ""


class AskApproval(Message, ApprovalName, Wanted):
    """`maker` wants this command to be sent, once a second person has approved it."""


class GiveApproval(Message, ApprovalName):
    """`by` has seen what has this SHA-256, and approves it."""

    by: User_
    seen: Seen


class RejectApproval(Message, ApprovalName):
    """`by` does not want it to be done; its maker may take it back so, too."""

    by: User_
    why: Why = ""


class _OfApproval(Fact, ApprovalName, Wanted):
    coins: int
    until: Time
    beneficiaries: Beneficiaries = ()


class ApprovalAsked(_OfApproval):
    """It waits for a second person, until `until`."""


class _Decided(_OfApproval):
    by: OptionalUser = ""
    because: Why = ""


class ApprovalGiven(_Decided):
    """`by` has approved it; the command `sent` is on its way."""

    sent: Annotated[str, Meta(max_length=700), PLAIN] = ""


class ApprovalRejected(_Decided):
    """`by` does not want it."""


class ApprovalExpired(_Decided):
    """Nobody has said anything in time."""


class ApprovalRepeated(Fact, ApprovalName):
    """The same was said before, and has been done."""

    changes_state: ClassVar[bool] = False
    status: ApprovalStatus


class ApprovalRefused(Refused, ApprovalName):
    """Nothing was changed."""

    by: User_
    refusal: ApprovalRefusal


class Approval(State, Wanted, kw_only=True):
    """An approval; behind its end it is remembered for a while, so that repeats are known. `by`: who decided."""

    coins: int
    until: Time
    beneficiaries: Beneficiaries = ()
    status: ApprovalStatus = ApprovalStatus.OPEN
    by: OptionalUser = ""
    over_at: Time | None = None

    @property
    def seen(self) -> str:
        """What who approves has to have seen."""
        return seen_of(self.command, self.template)

    @property
    def wake_at(self) -> datetime | None:
        """When it is too late to approve it, or when it may be forgotten."""
        return self.until if self.over_at is None else later(self.over_at, REMEMBERED_FOR)


ApprovalInbox = AskApproval | GiveApproval | RejectApproval | Wake

APPROVAL: Final = Entity(
    "approval",
    key="approval",
    flow=Flow.LIVE,
    state=Approval,
    commands=(AskApproval, GiveApproval, RejectApproval),
    facts=(ApprovalAsked, ApprovalGiven, ApprovalRejected, ApprovalExpired, ApprovalRepeated, ApprovalRefused),
)
