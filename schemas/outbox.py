"""The outbox: side effects in the outside world, each an entity keyed by its own id. Only the `dispatch` flow talks to vendors.

An effect is owed once, and tried until the vendor has taken it, said no for good, or it is too late. A replay never re-fires
it: what is to be tried is a fact (`EffectDue`), what came of it a command (`ReportAttempt`). The id is the vendor's
deduplication key where it has one.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.erased import ErasedUsers
from schemas.log.base import EPOCH, By, Fact, Fields, Id, Key, Message, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import WORDS
from schemas.mission_control_roles import Roles, RolesChanged
from schemas.payment import StoreAct
from schemas.payout_fields import Paying
from schemas.postback import Postback
from schemas.push import Push, PushAccepted, PushFailure, PushRefused, PushTokenDead, WithdrawPush
from schemas.timetable_plan import Plan, PlanWanted
from schemas.user import Code, Role, User_, UserErased
from schemas.video import CallEnded

# Half a second, then twice as long each time, up to ten minutes.
FIRST_RETRY: Final = timedelta(milliseconds=500)
LONGEST_RETRY: Final = timedelta(minutes=10)

# A vendor that asks for more than a month asks for more than any effect lives.
MAX_RETRY_AFTER_S: Final = 31 * 86_400
Detail = Annotated[str, Meta(max_length=2_000), WORDS]


class EffectKind(StrEnum):
    """What is to be done."""

    CLOSE_ROOM = "close_room"
    POSTBACK = "postback"
    # Of the timetable: a chore of the platform, by its name; and the next instants of a job.
    CHORE = "chore"
    PLAN = "plan"
    # Of an erased user, where users sign in.
    DELETE_ACCOUNT = "delete_account"
    # Of somebody whose roles have changed, likewise.
    SET_CLAIMS = "set_claims"
    # To a phone: see `schemas.push`.
    PUSH = "push"
    # To a store, about a purchase that was credited.
    CONSUME = "consume"
    TELL_USAGE = "tell_usage"
    ACKNOWLEDGE = "acknowledge"
    # By a provider, to a payee.
    PAY = "pay"


class AttemptOutcome(StrEnum):
    """What came of an attempt: taken; said no for good; to be tried again; or, of a push, another provider is to be asked."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"
    ROUTED = "routed"


class EffectStatus(StrEnum):
    """Where an effect stands. `due`: with `dispatch`; `waiting`: for its next attempt."""

    DUE = "due"
    WAITING = "waiting"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXPIRED = "expired"


# Who is told that a purchase was consumed; and for so long it is tried: Google gives back what nobody has acknowledged within
# three days, and a purchase that was acknowledged waits until it is consumed.
PLAY: Final = "google_play"
APP_STORE: Final = "app_store"
CONSUME_EXPIRES: Final = timedelta(days=30)
# Nobody's room is open any more an hour after the call: credentials are not renewed for calls that ended.
ROOM_EXPIRES: Final = timedelta(hours=1)
# Where users sign in; and for so long it is tried to delete an account there.
SIGN_IN: Final = "firebase"
ACCOUNT_EXPIRES: Final = timedelta(days=30)


def close_room_id(call: str) -> str:
    """The effect that closes a call's room."""
    return f"close_room/{call}"


def delete_account_id(user: str) -> str:
    """The effect that deletes a user's account where users sign in."""
    return f"delete_account/{user}"


def consume_id(purchase: str) -> str:
    """The effect that tells a purchase's store that it was consumed."""
    return f"consume/{purchase}"


def acknowledge_id(subscription: str) -> str:
    """The effect that tells Google Play that a subscription is known."""
    return f"acknowledge/{subscription}"


def tell_usage_id(purchase: str, ask: str) -> str:
    """The effect that answers a store which asked what of a purchase was used."""
    return f"usage/{purchase}/{ask}"


def set_claims_id(user: str) -> str:
    """The effect that tells where users sign in which roles somebody has."""
    return f"set_claims/{user}"


class Claims(Struct, frozen=True, omit_defaults=True):
    """What a user's tokens are to claim. `version` is the book's; `since`: tokens of an earlier sign-in are not renewed."""

    role: Role
    version: int
    roles: Roles = ()
    since: Time | None = None


class EffectName(Fields):
    """Which effect."""

    effect: Key


class EffectFields(Fields):
    """What is to be done, by whom, and about what: `subject` is the call, purchase or payout, or the user who is told of."""

    kind: EffectKind
    provider: Code
    subject: Id


class OweEffect(Message, EffectName, EffectFields):
    """Do this, until `expires_at`: later it is of no use any more. `subject`: the call, or the user who is told of."""

    expires_at: Time
    postback: Postback | None = None
    wanted: PlanWanted | None = None
    push: Push | None = None
    store_act: StoreAct | None = None
    paying: Paying | None = None


class ReportAttempt(Message, EffectName):
    """`dispatch` has tried; `retry_after_s`: what the vendor asked for (0: nothing); `doubtful`: it failed, and may have been
    taken all the same. Of a push: whom to ask (`provider`), or why it was refused, and when the phone's token died."""

    attempt: Annotated[int, Meta(ge=0, le=2**31)]
    outcome: AttemptOutcome
    status: Annotated[int, Meta(ge=0, le=999)] = 0
    detail: Detail = ""
    retry_after_s: Annotated[float, Meta(ge=0, le=MAX_RETRY_AFTER_S)] = 0.0
    plan: Plan | None = None
    doubtful: bool = False
    provider: Code = ""
    failure: PushFailure | None = None
    dead_at: Time | None = None


class RedriveEffect(Message, EffectName):
    """An operator has mended the cause: try a refused or expired effect again, until `expires_at`."""

    expires_at: Time
    by: By


class ForgetEffects(Message, EffectName):
    """To the broadcast key of a partition (`effect`): `user` was erased. Nobody is told of that user any more."""

    user: User_


class _OfEffect(Fact, EffectName, EffectFields):
    attempt: int


class EffectDue(_OfEffect):
    """Attempt number `attempt` (from 1) is to be made, until `expires_at`."""

    expires_at: Time
    postback: Postback | None = None
    wanted: PlanWanted | None = None
    push: Push | None = None
    claims: Claims | None = None
    store_act: StoreAct | None = None
    paying: Paying | None = None


class EffectAccepted(_OfEffect):
    """The vendor has taken it; of a push tells `PushAccepted`. `plan`: the instants that a job wanted."""

    detail: Detail = ""
    plan: Plan | None = None


class StoreActTaken(Fact, EffectName):
    """The store has taken what it was told about a purchase; behind the `EffectAccepted`, and without the store's words."""

    kind: EffectKind
    purchase: Id


class PaymentEnded(Fact, EffectName):
    """The provider has said what became of a payout: it was paid, or never left; behind the effect's last fact, and without the
    provider's words."""

    payout: Id
    paid: bool = False


class EffectPostponed(_OfEffect):
    """The attempt failed; the next one comes at `next_at`."""

    next_at: Time
    status: int = 0
    detail: Detail = ""


class _GivenUp(_OfEffect):
    status: int = 0
    detail: Detail = ""


class EffectRefused(_GivenUp):
    """The vendor said no for good: a person has to look (`olo outbox`)."""


class EffectExpired(_GivenUp):
    """It is too late, or the user who is told of was erased; the last failure was `detail`."""


class Effect(State, EffectFields):
    """An effect: what, where it stands, how many attempts were due so far, and why the last one failed. `doubtful`: one of them
    may have been taken all the same; `withdrawn`: its owner does not want it any more; `told`: the version of `claims` that is
    or was with `dispatch`. The state under a broadcast key has only `erased`: users of whom nobody is told any more."""

    expires_at: Time
    status: EffectStatus
    attempt: int = 1
    next_at: Time | None = None
    http_status: int = 0
    detail: Detail = ""
    forget_at: Time | None = None
    postback: Postback | None = None
    erased: ErasedUsers = ()
    wanted: PlanWanted | None = None
    push: Push | None = None
    doubtful: bool = False
    withdrawn: bool = False
    claims: Claims | None = None
    told: int = 0
    store_act: StoreAct | None = None
    paying: Paying | None = None

    @property
    def wake_at(self) -> datetime | None:
        """The next attempt, or when it may be forgotten. While it is with `dispatch`, nothing."""
        return self.next_at or self.forget_at

    def behind(self, common: State | None) -> bool:
        """Whether it tells of a user who was erased."""
        if self.kind is EffectKind.PAY and self.paying is not None:
            return bool(self.paying.iban) and isinstance(common, Effect) and self.paying.user in common.erased
        told = self.postback or self.push or self.detail or self.paying
        tells = told and self.kind in (EffectKind.POSTBACK, EffectKind.PUSH)
        return bool(tells) and isinstance(common, Effect) and self.subject in common.erased


def erased_effects(users: ErasedUsers) -> Effect:
    """The state under a broadcast key."""
    return Effect(
        kind=EffectKind.POSTBACK, provider="", subject="-", expires_at=EPOCH, status=EffectStatus.ACCEPTED, erased=users
    )  # fmt: skip


OutboxInbox = (
    OweEffect | ReportAttempt | RedriveEffect | WithdrawPush | ForgetEffects | CallEnded | UserErased | RolesChanged | Wake
)

OUTBOX: Final = Entity(
    "outbox",
    key="effect",
    flow=Flow.LIVE,
    state=Effect,
    commands=(OweEffect, ReportAttempt, RedriveEffect, WithdrawPush, ForgetEffects),
    facts=(
        EffectDue, EffectAccepted, EffectPostponed, EffectRefused, EffectExpired, PushAccepted, PushRefused, PushTokenDead,
        StoreActTaken, PaymentEnded,
    ),
    hears=(
        Hears(
            CallEnded,
            lambda ended: close_room_id(ended.call) if ended.room else "",
            "the provider puts out who is still in the room",
        ),
        Hears(
            UserErased,
            lambda erased: delete_account_id(erased.user),
            "the account where the user signs in leads to an address or a number",
        ),
        Hears(RolesChanged, lambda changed: set_claims_id(changed.user), "tokens are to claim what the log says"),
    ),
    broadcast=True,
)  # fmt: skip
