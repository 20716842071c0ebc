"""Notifications, keyed by user: what a person is told, in the app and by pushes, and why.

An occurrence is one cause of one person's: a fact, such as an item of a chat or a call that rings, is told once. The app shows
it from the feed and acknowledges it; who is offline, or does not acknowledge it in time, is pushed. How each kind is told is
data: `schemas.notification_kinds`.
"""

from enum import StrEnum
from typing import ClassVar, Final

from schemas.balance import EntryRecorded, owner_of
from schemas.billing_rules import CallKind
from schemas.blocklist import Consequence, ConsequenceDrawn
from schemas.chat import ChatRead, ItemHidden, ItemPosted, KeptRef
from schemas.chat_message import MessageDeleted
from schemas.favorites import FavoriteCameOnline
from schemas.log.base import By, Id, OptionalId, Refused, Time, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.notification_kinds import LOW_COINS, NotificationKind
from schemas.notification_quiet import QuietHours
from schemas.notification_state import (
    Kinds,
    NoPush,
    NoticeBody,
    NoticeTexts,
    NoticeTitle,
    Notifications,
    OccurrenceName,
    PushReason,
    Withdrawal,
)
from schemas.push import DeviceMark, PushAccepted, PushPlatform, PushTokenDead
from schemas.user import (
    CameOnline,
    Code,
    OptionalUser,
    PushToken,
    SubscriptionId,
    UserBanned,
    UserCommand,
    UserErased,
    UserFact,
    WentOffline,
)
from schemas.video import CallConnected, CallEnded, CallRinging


class NotificationRefusal(StrEnum):
    """Why something was refused, in order of precedence."""

    PERSON_ERASED = "person_erased"
    NOTIFICATION_UNKNOWN = "notification_unknown"


class PhoneEnd(StrEnum):
    """Why a phone is not pushed any more: its user has logged out there; its token is dead; more phones came."""

    LOGGED_OUT = "logged_out"
    TOKEN_DEAD = "token_dead"  # noqa: S105 - not a secret
    REPLACED = "replaced"


class KeepPhone(UserCommand):
    """The user's phone can be reached like this from now on, by the tokens that it told when it logged in."""

    device: DeviceMark
    platform: Code = ""
    locale: Code = ""
    push_token: PushToken = ""
    voip_token: PushToken = ""
    onesignal_id: SubscriptionId = ""


class DropPhone(UserCommand):
    """The user has logged out on this phone."""

    device: DeviceMark


class AckNotification(UserCommand):
    """A phone of the user's has the occurrence."""

    notification: Id


class PutNotificationPreferences(UserCommand):
    """Kinds for which the user is never pushed, and when nobody is."""

    silent: Kinds = ()
    quiet: QuietHours | None = None


class SendNotice(UserCommand):
    """Staff tells the user something; `notice` is told to a person once. The first text is for all other languages."""

    notice: Id
    texts: NoticeTexts
    by: By = ""


class _OfOccurrence(UserFact):
    notification: OccurrenceName
    kind: NotificationKind


class Notified(_OfOccurrence):
    """Something happened. `peer`: by whom; `ref`, `seq`: the message, call, gift, case, entry or notice, and its place in the
    chat; `ends_at`: it is of no use any more. Either a push is due at `due_at`, or `no_push` says why not; `unread`: how
    many occurrences are."""

    peer: OptionalUser = ""
    ref: KeptRef = ""
    seq: int = 0
    ends_at: Time | None = None
    due_at: Time | None = None
    no_push: NoPush | None = None
    title: NoticeTitle = ""
    body: NoticeBody = ""
    by: By = ""
    unread: int = 0


class NoticeRepeated(_OfOccurrence):
    """This notice was told before; nothing is done."""

    changes_state: ClassVar[bool] = False


class NotificationAcked(_OfOccurrence):
    """A phone has it, `after_s` behind the event (told again when it was acknowledged before)."""

    after_s: float = 0.0


class NotificationRead(_OfOccurrence):
    """The person has read it."""

    after_s: float = 0.0
    unread: int = 0


class NotificationWithdrawn(_OfOccurrence):
    """It is none any more."""

    withdrawal: Withdrawal
    unread: int = 0


class PushDecided(_OfOccurrence):
    """The person is pushed, on so many phones, `after_s` behind the event."""

    reason: PushReason
    phones: int
    after_s: float = 0.0


class PushHeld(_OfOccurrence):
    """These are quiet hours: it is looked at again when they are over."""

    until: Time


class PushForgone(_OfOccurrence):
    """The person is not pushed."""

    no_push: NoPush


class PhoneKept(UserFact):
    """A phone can be reached by pushes, from `at` on."""

    device: DeviceMark
    platform: PushPlatform
    locale: Code = ""


class PhoneDropped(UserFact):
    """A phone cannot be reached any more."""

    device: DeviceMark
    platform: PushPlatform
    end: PhoneEnd


class NotificationPreferencesPut(UserFact):
    """The user's preferences are these."""

    silent: Kinds = ()
    quiet: QuietHours | None = None


class NotificationRefused(UserFact, Refused):
    """Nothing was changed."""

    notification: OptionalId = ""
    refusal: NotificationRefusal


def _told_of(posted: ItemPosted) -> str:
    return "" if posted.quiet else posted.peer


def _called(call: CallRinging | CallConnected | CallEnded) -> str:
    """In roulette both hold their phones in their hands, and a film calls nobody."""
    return call.callee if call.kind is CallKind.DIRECT else ""


def _poor(entry: EntryRecorded) -> str:
    """Whose coins fall below the mark by this entry."""
    low = entry.balance_coins < LOW_COINS <= entry.balance_coins - entry.coins
    return owner_of(entry.account) if low and entry.account.endswith("/coins") else ""


def _fined(drawn: ConsequenceDrawn) -> str:
    """A ban tells by itself."""
    return drawn.user if drawn.rule.then is Consequence.PENALTY else ""


NotificationInbox = (
    KeepPhone | DropPhone | AckNotification | PutNotificationPreferences | SendNotice | CameOnline | WentOffline | ItemPosted
    | ChatRead | ItemHidden | MessageDeleted | CallRinging | CallConnected | CallEnded | FavoriteCameOnline | EntryRecorded
    | UserBanned | ConsequenceDrawn | PushAccepted | PushTokenDead | UserErased | Wake
)  # fmt: skip

NOTIFICATION: Final = Entity(
    "notification",
    key="user",
    flow=Flow.LIVE,
    state=Notifications,
    commands=(KeepPhone, DropPhone, AckNotification, PutNotificationPreferences, SendNotice),
    facts=(
        Notified, NoticeRepeated, NotificationAcked, NotificationRead, NotificationWithdrawn, PushDecided, PushHeld,
        PushForgone, PhoneKept, PhoneDropped, NotificationPreferencesPut, NotificationRefused,
    ),
    hears=(
        Hears(CameOnline, "user", "who is online is shown it in the app first"),
        Hears(WentOffline, "user", "who is offline is pushed at once"),
        Hears(ItemPosted, _told_of, "messages, gifts and missed calls"),
        Hears(ChatRead, "user", "what was read in the chat is read"),
        Hears(ItemHidden, "user", "what was hidden was seen"),
        Hears(MessageDeleted, "receiver", "what was taken back is withdrawn"),
        Hears(CallRinging, _called, "a call rings"),
        Hears(CallConnected, _called, "a call that was taken rings nowhere else"),
        Hears(CallEnded, _called, "a call that is over does not ring"),
        Hears(FavoriteCameOnline, "follower", "a favourite is online"),
        Hears(EntryRecorded, _poor, "few coins are left"),
        Hears(UserBanned, "user", "a ban"),
        Hears(ConsequenceDrawn, _fined, "a penalty"),
        Hears(PushAccepted, "user", "what was pushed may have to be taken back"),
        Hears(PushTokenDead, "user", "a phone that cannot be reached is forgotten"),
        Hears(UserErased, "user", "what is personal is forgotten"),
    ),
    shown=(
        Shown(Notified, ("user",), "the app shows it, and acknowledges it", ("due_at", "no_push", "by")),
        Shown(NotificationRead, ("user",), "the user's other phones take it away"),
        Shown(NotificationWithdrawn, ("user",), "the phones take it away"),
    ),
    private=True,
)  # fmt: skip
