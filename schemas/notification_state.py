"""What a person is told, as `notification` keeps it: occurrences, the words of notices, phones, and preferences."""

import re
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.chat import KeptRef
from schemas.erased import mark_ends
from schemas.log.base import State, Time
from schemas.log.personal import PLAIN, SECRET
from schemas.notification_kinds import NotificationKind
from schemas.notification_quiet import QuietHours
from schemas.push import PushPlatform, token_mark
from schemas.user import USER_ID, Code, UserInList

# A person remembers so many occurrences, read ones, too; unread ones are counted among these, so that 50 is to be read as 50 or
# more. Of these a handful are notices, which bring their own words.
KEPT: Final = 50
MAX_NOTICES: Final = 4
# As many as there may be sessions; the phone that was registered first gives way.
MAX_PHONES: Final = 8
MAX_LANGUAGES: Final = 8

# Made of the person and the cause; see `occurrence_of`.
OccurrenceName = Annotated[str, Meta(max_length=64, extra={"max_bytes": 66}), PLAIN]
# Tokens are printable ASCII; a phone with any other one is reached by nothing.
KeptToken = Annotated[str, Meta(max_length=512, extra={"max_bytes": 514}), SECRET]
KeptSubscription = Annotated[str, Meta(max_length=64, extra={"max_bytes": 66}), SECRET]
KeptLocale = Annotated[str, Meta(max_length=64, extra={"max_bytes": 66}), PLAIN]
# What staff tells many alike is about nobody.
NoticeTitle = Annotated[str, Meta(max_length=60), PLAIN]
NoticeBody = Annotated[str, Meta(max_length=200), PLAIN]
Kinds = Annotated[tuple[NotificationKind, ...], Meta(max_length=32)]


def digest_of(name: str) -> str:
    """What stands for a name where there is no room for it."""
    return sha256(name.encode()).hexdigest()[:32]


def occurrence_of(user: str, cause: str) -> str:
    """The occurrence that a cause is for a person."""
    return digest_of(f"{user}\n{cause}")


def kept_peer(user: str) -> str:
    """A user as a list keeps it; empty: it is none of ours."""
    return user if re.fullmatch(USER_ID, user) else ""


def kept_token(token: str) -> str:
    """A token as a list keeps it; empty: it is none."""
    return token if re.fullmatch(r"[!#-\[\]-~]{0,512}", token) else ""


def kept_subscription(name: str) -> str:
    """An id at OneSignal as a list keeps it; empty: it is none."""
    return name if re.fullmatch(r"[0-9A-Fa-f-]{36}", name) else ""


def kept_locale(locale: str) -> str:
    """A locale as a list keeps it; empty: it is none."""
    return locale if re.fullmatch(r"[A-Za-z0-9_-]{0,64}", locale) else ""


class PushReason(StrEnum):
    """Why somebody was pushed: no phone was there, or none has acknowledged the occurrence in time."""

    OFFLINE = "offline"
    NO_ACK = "no_ack"


class NoPush(StrEnum):
    """Why somebody was not pushed. `in_app`: its kind never is; `silenced`: by this person's preferences; `muted`: the chat is;
    `no_phone`: no phone has a token; `collapsed`: into a newer one that was due at the same time; `too_late`: it would have
    been over, as a call that does not ring any more; `overflow`: newer ones took its place before its time came."""

    IN_APP = "in_app"
    SILENCED = "silenced"
    MUTED = "muted"
    NO_PHONE = "no_phone"
    COLLAPSED = "collapsed"
    TOO_LATE = "too_late"
    OVERFLOW = "overflow"


class Withdrawal(StrEnum):
    """Why an occurrence is none any more: the call was taken, or is over; the message was taken back."""

    ANSWERED = "answered"
    ENDED = "ended"
    DELETED = "deleted"


class NoticeText(Struct, frozen=True):
    """What staff writes, in one language."""

    language: Code
    title: NoticeTitle
    body: NoticeBody


NoticeTexts = Annotated[tuple[NoticeText, ...], Meta(min_length=1, max_length=MAX_LANGUAGES)]


class Occurrence(State):
    """What one cause is for a person. `due_at`: a push is decided then; `held`: quiet hours hold it back until then. `told`: a
    vendor has taken a push. `counts`: it is unread until it is read or withdrawn."""

    notification: OccurrenceName
    kind: NotificationKind
    at: Time
    peer: UserInList = ""
    ref: KeptRef = ""
    seq: int = 0
    counts: bool = False
    ends_at: Time | None = None
    due_at: Time | None = None
    held: bool = False
    pushed_at: Time | None = None
    reason: PushReason | None = None
    told: bool = False
    no_push: NoPush | None = None
    acked_at: Time | None = None
    read_at: Time | None = None
    withdrawn_at: Time | None = None
    withdrawal: Withdrawal | None = None

    @property
    def unread(self) -> bool:
        """Whether the badge counts it."""
        return self.counts and self.read_at is None and self.withdrawn_at is None

    @property
    def open(self) -> bool:
        """Whether it is still to be shown: it was neither read nor withdrawn."""
        return self.read_at is None and self.withdrawn_at is None


class Notice(State):
    """The words of a notice, in its person's language."""

    notification: OccurrenceName
    title: NoticeTitle
    body: NoticeBody


class Phone(State):
    """How a phone is reached, and since when it is registered like this."""

    device: KeptRef
    kept_at: Time
    platform: PushPlatform
    locale: KeptLocale = ""
    push_token: KeptToken = ""
    voip_token: KeptToken = ""
    onesignal_id: KeptSubscription = ""

    @property
    def addresses(self) -> frozenset[str]:
        """Its tokens, and its subscription at OneSignal."""
        return frozenset((self.push_token, self.voip_token, self.onesignal_id)) - {""}

    def shares(self, other: "Phone") -> bool:
        """Whether both have a token in common."""
        return bool(self.addresses & other.addresses)

    def without(self, mark: str) -> "Phone":
        """Without the token of this mark."""
        kept = ("" if token_mark(one) == mark else one for one in (self.push_token, self.voip_token, self.onesignal_id))
        push_token, voip_token, onesignal_id = kept
        return replace(self, push_token=push_token, voip_token=voip_token, onesignal_id=onesignal_id)


class Notifications(State):
    """What a person is told: the newest occurrences in their order, phones, preferences, whether any phone is there.
    `erased_at`: the user was erased then; for a day, so that what comes late is ignored."""

    occurrences: Annotated[tuple[Occurrence, ...], Meta(max_length=KEPT)] = ()
    notices: Annotated[tuple[Notice, ...], Meta(max_length=MAX_NOTICES)] = ()
    phones: Annotated[tuple[Phone, ...], Meta(max_length=MAX_PHONES)] = ()
    online: bool = False
    silent: Kinds = ()
    quiet: QuietHours | None = None
    erased_at: Time | None = None

    @property
    def unread(self) -> int:
        """What the badge says."""
        return sum(one.unread for one in self.occurrences)

    def with_(self, one: Occurrence) -> "Notifications":
        """With this occurrence as it stands now."""
        found = tuple(one if other.notification == one.notification else other for other in self.occurrences)
        return replace(self, occurrences=found)

    @property
    def wake_at(self) -> datetime | None:
        """When the next push is decided, or the mark of an erasure is forgotten."""
        if self.erased_at is not None:
            return mark_ends(self.erased_at)
        return min((one.due_at for one in self.occurrences if one.due_at is not None), default=None)


def with_room(state: Notifications) -> tuple[Notifications, tuple[Occurrence, ...]]:
    """No more occurrences than are kept, and which gave way: the oldest one that is over, else the oldest whose push was
    decided, else the oldest of all; of notices the oldest."""
    found = state.occurrences
    surplus = tuple(one for one in found if one.kind is NotificationKind.NOTICE)[:-MAX_NOTICES]
    if not surplus and len(found) > KEPT:
        surplus = (min(found[:-1], key=lambda one: (one.open, one.due_at is not None)),)
    names = {one.notification for one in surplus}
    kept = tuple(one for one in found if one.notification not in names)
    return replace(
        state, occurrences=kept, notices=tuple(one for one in state.notices if one.notification not in names)
    ), surplus
