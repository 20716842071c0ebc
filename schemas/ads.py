"""Attribution: which campaign brought a user. `install` (keyed by AppsFlyer's id of the app on one phone) hears what AppsFlyer
pushes, and who signed up there; `attribution` (keyed by user) decides which touch counts, and what is owed to ad networks.

A push and a sign-up are joined whichever comes first. The rule, in the words that AppsFlyer has for it:

- attribution window (LOOKBACK): an install is the reason of a sign-up that comes within 30 days behind it, or, since clocks and
  pushes are late, up to EARLY before it. The earliest such install is the user's acquisition; it does not change any more.
- re-attribution: a return (re-engagement, re-attribution, reinstall) that a network is paid for takes over from its time on,
  whichever network brought the user before. An organic return never does.
- re-attribution window (RETURN_WINDOW): a return counts for what the user does within 30 days behind it, and not at all for
  who signs up later than that. Then the acquisition counts again; where there is none, the return goes on to count.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.ads_details import PushDetails
from schemas.balance import EntryRecorded, Reason, owner_of
from schemas.billing_rules import CallKind
from schemas.chat import ItemPosted, message_sender
from schemas.erased import mark_ends
from schemas.gift import GiftSent, if_paid
from schemas.log.base import Fact, Id, Message, OptionalId, State, Time, Wake, later
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import CONTACT, IDENTIFIER, PLAIN, WORDS
from schemas.names import known
from schemas.postback import (
    MAX_PENDING,
    ClickId,
    Consent,
    Consents,
    Conversion,
    ConversionKind,
    ConversionRef,
    Forgone,
    Identity,
    PostbackBook,
    PostbackRule,
    Provider,
    UserAgent,
    names_user,
)
from schemas.user import Code, OptionalUser, Short, User_, UserCommand, UserErased, UserFact, UserSignedUp
from schemas.video import CallEnded

LOOKBACK: Final = timedelta(days=30)
RETURN_WINDOW: Final = timedelta(days=30)
EARLY: Final = timedelta(days=1)
# AppsFlyer repeats a push within hours, so the last ones are enough. A phone is remembered for so long behind its last message.
MAX_SEEN: Final = 256
FORGOTTEN_AFTER: Final = timedelta(days=90)
MAX_USERS: Final = 20
MAX_RAW: Final = 65_536
ORGANIC: Final = "organic"
# A network was paid, and AppsFlyer does not say which one.
UNKNOWN: Final = "unknown"
# AppsFlyer's names of networks that postbacks go to, and of none.
NETWORKS: Final = {"snapchat_int": "snapchat", "snapchat": "snapchat", ORGANIC: ORGANIC}

# A push is named by the hash of what it says.
PushName = Annotated[str, Meta(min_length=1, max_length=64), PLAIN]
Word = Annotated[str, Meta(max_length=256), PLAIN]
Raw = Annotated[str, Meta(max_length=MAX_RAW), WORDS]
Unread = Annotated[tuple[Short, ...], Meta(max_length=32), PLAIN]


class TouchKind(StrEnum):
    """What a push tells; the retargeting kinds take over from an install."""

    INSTALL = "install"
    REINSTALL = "reinstall"
    RE_ENGAGEMENT = "re-engagement"
    RE_ATTRIBUTION = "re-attribution"


class Touch(State):
    """What brought an install (or a return): network and campaign down to the ad, as AppsFlyer attributes it. `at`: of the
    install or the return; `touched_at`: of the click or view before it, if any."""

    kind: TouchKind
    at: Time
    network: Word = ORGANIC
    campaign: Word = ""
    campaign_id: Word = ""
    adset: Word = ""
    adset_id: Word = ""
    ad: Word = ""
    ad_id: Word = ""
    channel: Word = ""
    site: Word = ""
    touch_type: Word = ""
    touched_at: Time | None = None
    platform: Word = ""
    country: Word = ""
    app: Word = ""


class Unattributed(StrEnum):
    """Why a push counts for no user though it names one: by an e-mail address or a phone number, or by no id of ours."""

    CONTACT = "contact"
    FOREIGN = "foreign"


def network_of(media_source: str) -> str:
    """Our name of a media source; organic where there is none."""
    name = known(media_source)
    return NETWORKS.get(name.lower(), name) or ORGANIC


# --- installs ---------------------------------------------------------------------------------------------------------------


class RecordPush(Message):
    """AppsFlyer pushed something. `push`: names it, a repeat has the same; `touch`: of installs and returns; `unread`: fields
    that could not be read, so that the push counts as one without them. `event_value` and `raw` had all of it, once, and are
    empty now."""

    install: Id
    push: PushName
    event_name: Word
    user: OptionalUser = ""
    touch: Touch | None = None
    event_value: Raw = ""
    raw: Raw = ""
    details: PushDetails = PushDetails()
    unread: Unread = ()


class ClaimInstall(Message):
    """The user has the app on this phone."""

    install: Id
    user: User_


class DisownInstall(ClaimInstall):
    """The user was erased, and is nobody's of this phone any more."""


class _OfInstall(Fact):
    install: Id


class PushRecorded(_OfInstall):
    """A push, the first time that it came."""

    event_name: Word
    user: OptionalUser = ""
    touch: Touch | None = None
    event_value: Raw = ""
    raw: Raw = ""
    details: PushDetails = PushDetails()
    unread: Unread = ()


class PushRepeated(_OfInstall):
    """The same push came again: it changes nothing."""

    changes_state: ClassVar[bool] = False
    event_name: Word


class UserTouched(_OfInstall):
    """A user of the app on this phone, and a touch that brought the phone there."""

    user: User_
    touch: Touch


class Install(State):
    """The app on one phone: its touches (earliest install, latest return that was paid for, and latest install, if there were
    several), who signed up there, which pushes came."""

    first: Touch | None = None
    last: Touch | None = None
    again: Touch | None = None
    users: Annotated[tuple[User_, ...], Meta(max_length=MAX_USERS)] = ()
    seen: Annotated[tuple[PushName, ...], Meta(max_length=MAX_SEEN)] = ()
    seen_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return later(self.seen_at, FORGOTTEN_AFTER) if self.seen_at else None


# --- attribution ------------------------------------------------------------------------------------------------------------


class PutTracking(UserCommand):
    """The phone tells what its owner consents to, and the names that ad networks and analytics know it by."""

    consents: Consents = ()
    appsflyer_id: Code = ""
    advertising_id: Annotated[Short, IDENTIFIER] = ""
    vendor_id: Annotated[Short, IDENTIFIER] = ""
    app_instance_id: Annotated[Short, IDENTIFIER] = ""
    click_id: ClickId = ""
    tracking_allowed: bool = False
    ip: Annotated[Short, CONTACT] = ""
    user_agent: UserAgent = ""


class ShareHashes(UserCommand):
    """From the private profile: SHA-256 of the normalised e-mail address and phone number, or empty."""

    email_sha256: Annotated[Short, CONTACT] = ""
    phone_sha256: Annotated[Short, CONTACT] = ""


class ShareRules(UserCommand):
    """To the broadcast key of a partition (`user`): what is owed to whom from now on."""

    shared: PostbackBook


class TrackingPut(UserFact):
    """What the user consents to, and which names are known (never the names)."""

    consents: Consents = ()
    told: Annotated[tuple[Code, ...], Meta(max_length=16)] = ()


class _OfTouch(UserFact):
    signed_up_at: Time
    touch: Touch


class UserAttributed(_OfTouch):
    """The user came by this touch; a later fact (a return by another campaign, or the install again, when the return's window
    is over) takes its place."""


class AttributionMissed(_OfTouch):
    """The touch counts for nothing: it lies outside its window, or is an organic return."""


class _OfConversion(UserFact):
    conversion: ConversionKind
    ref: ConversionRef


class ConversionRecorded(_OfConversion):
    """The user did something that campaigns are paid for. `ref`: the purchase, call or gift."""

    coins: int = 0
    network: Word = ""
    campaign: Word = ""


class PostbackForgone(_OfConversion):
    """A rule wanted it told to the provider, but what that needs did not come in time."""

    provider: Provider
    why: Forgone


class Attribution(State):
    """A user as ad networks matter. `first`, `last`: the earliest install (of those within the window, if there are any) and
    the latest return that was paid for; `later`: until the sign-up, the last install; `lapsed`: that return's window is over;
    `pending`: what is not told to everybody yet; under a broadcast key: only `shared`; `erased_at`: nothing is taken."""

    role: Code = ""
    country: Code = ""
    platform: Code = ""
    locale: Code = ""
    app_version: Code = ""
    signed_up_at: Time | None = None
    first: Touch | None = None
    later: Touch | None = None
    last: Touch | None = None
    lapsed: bool = False
    appsflyer_id: OptionalId = ""
    consents: Consents = ()
    identity: Identity = Identity()
    purchases: int = 0
    calls: int = 0
    gifts: int = 0
    wrote: bool = False
    pending: Annotated[tuple[Conversion, ...], Meta(max_length=MAX_PENDING)] = ()
    shared: PostbackBook | None = None
    erased_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When a conversion waits no more, a return's window is over, nobody signed up in time, or an erasure is forgotten."""
        if self.erased_at is not None:
            return mark_ends(self.erased_at)
        if self.signed_up_at is None and (touch := self.last or self.later or self.first):
            return later(touch.at, FORGOTTEN_AFTER)
        ends = [one.until for one in self.pending[:1]]
        if self.returned is not None and self.acquired is not None and not self.lapsed:
            ends.append(later(self.returned.at, RETURN_WINDOW))
        return min(ends, default=None)

    @property
    def acquired(self) -> Touch | None:
        """The install that brought the user: the sign-up lies within its window."""
        return self.first if self.first is not None and not self.outside(self.first) else None

    @property
    def returned(self) -> Touch | None:
        """The latest return that was paid for, if the sign-up does not come too late behind it."""
        return self.last if self.last is not None and not self.outside(self.last) else None

    @property
    def touch(self) -> Touch | None:
        """What counts now: a return within its window, else the install; the return again, where no install does."""
        return (None if self.lapsed else self.returned) or self.acquired or self.returned

    def touch_at(self, at: datetime) -> Touch | None:
        """What counts for something that the user did then."""
        back, install = self.returned, self.acquired
        if back is None or install is None:
            return back or install
        return back if back.at <= at <= later(back.at, RETURN_WINDOW) else install

    def outside(self, touch: Touch) -> bool:
        """Whether a touch counts for nothing that this user does."""
        if touch.kind is not TouchKind.INSTALL and touch.network == ORGANIC:
            return True
        if self.signed_up_at is None:
            return False
        since = self.signed_up_at - touch.at
        return not -EARLY <= since <= LOOKBACK if touch.kind is TouchKind.INSTALL else since > RETURN_WINDOW

    def lacks(self, rule: PostbackRule, at: datetime) -> Forgone | None:
        """The first thing that the postback of a conversion of that time lacks, or None."""
        touch = self.touch_at(at)
        if rule.network and (touch is None or touch.network != rule.network):
            return Forgone.NOT_ATTRIBUTED
        if rule.consent is not Consent.NONE and rule.consent not in self.consents:
            return Forgone.NO_CONSENT
        return None if names_user(rule.provider, self.identity, self.appsflyer_id) else Forgone.NO_IDENTIFIER


InstallInbox = RecordPush | ClaimInstall | DisownInstall | UserSignedUp | Wake
AttributionInbox = (
    PutTracking | ShareHashes | ShareRules | UserSignedUp | UserTouched | EntryRecorded | CallEnded | GiftSent | ItemPosted
    | UserErased | Wake
)  # fmt: skip


def _bought(entry: EntryRecorded) -> str:
    """Who paid for coins."""
    bought = entry.reason == Reason.PURCHASE and entry.coins > 0 and entry.account.endswith("/coins")
    return owner_of(entry.account) if bought else ""


def _talked(ended: CallEnded) -> str:
    """Who placed a call that came to be; watching a recorded video is none."""
    return ended.caller if ended.connected and ended.kind is not CallKind.CLIP else ""


INSTALL: Final = Entity(
    "install",
    key="install",
    flow=Flow.GROWTH,
    state=Install,
    commands=(RecordPush, ClaimInstall, DisownInstall),
    facts=(PushRecorded, PushRepeated, UserTouched),
    hears=(Hears(UserSignedUp, "appsflyer_id", "an install is joined with its sign-up"),),
)
ATTRIBUTION: Final = Entity(
    "attribution",
    key="user",
    flow=Flow.GROWTH,
    state=Attribution,
    commands=(PutTracking, ShareHashes, ShareRules),
    facts=(TrackingPut, UserAttributed, AttributionMissed, ConversionRecorded, PostbackForgone),
    hears=(
        Hears(UserTouched, "user", "which campaign brought the user"),
        Hears(UserSignedUp, "user", "sign-ups are told to ad networks"),
        Hears(EntryRecorded, _bought, "purchases are told to ad networks"),
        Hears(CallEnded, _talked, "calls are told to ad networks"),
        Hears(GiftSent, if_paid("sender"), "gifts are told to ad networks"),
        Hears(ItemPosted, message_sender, "the first message is told to ad networks"),
        Hears(UserErased, "user", "what is personal is forgotten"),
    ),
    private=True,
    broadcast=True,
)
