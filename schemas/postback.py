"""Postbacks: what ad networks and analytics are told of a user, by rules as data. `postback_rules` is the one book of rules.

A postback is owed once for each action, provider and event name; its id is the deduplication id at the vendor. What it tells is
fixed when it is owed. `Identity` is for the vendor alone: the store cuts it out of what analysts see.
"""

import hashlib
import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import MAX_ID_LENGTH, BookName, By, Fact, Id, Message, OptionalId, State, Time, Wake, later
from schemas.log.entity import Entity, Flow
from schemas.log.personal import CONTACT, IDENTIFIER, PLAIN
from schemas.user import Code, Short, User_

BOOK: Final = "postbacks"
MAX_RULES: Final = 100
# A conversion waits so long for what its postbacks lack: the push, consent, a name that the network knows.
PENDING_FOR: Final = timedelta(days=7)
# Each is some hundred bytes, or some thousand where its texts are as long as they may be.
MAX_PENDING: Final = 14
# What a user does is of two kinds at most (a purchase and the first one), and each provider is told once of each.
MAX_WAITS: Final = 8
# The longest name of an event that any vendor takes.
EventName = Annotated[str, Meta(min_length=1, max_length=40), PLAIN]
Word = Annotated[str, Meta(max_length=256), PLAIN]
ClickId = Annotated[str, Meta(max_length=256), IDENTIFIER]
UserAgent = Annotated[str, Meta(max_length=512), CONTACT]
# The purchase, call, gift or user.
ConversionRef = Annotated[str, Meta(max_length=MAX_ID_LENGTH), PLAIN]
# A postback's id has the provider, the event and the conversion's id, and must be a key.
MAX_POSTBACK_ID_BYTES: Final = 400
MICROS: Final = 1_000_000


class Provider(StrEnum):
    """Who is told."""

    SNAPCHAT = "snapchat"
    APPSFLYER = "appsflyer"
    AMPLITUDE = "amplitude"
    GA4 = "ga4"


class Consent(StrEnum):
    """What a user can agree to. `none` is asked of nobody."""

    NONE = "none"
    ADS = "ads"
    ANALYTICS = "analytics"


Consents = Annotated[tuple[Consent, ...], Meta(max_length=len(Consent))]


class ConversionKind(StrEnum):
    """What a user does that is told to others. The first purchase is both a `purchase` and a `first_purchase`; of messages only
    the first one is a conversion."""

    SIGN_UP = "sign_up"
    FIRST_PURCHASE = "first_purchase"
    PURCHASE = "purchase"
    FIRST_CALL = "first_call"
    CALL = "call"
    FIRST_GIFT = "first_gift"
    GIFT = "gift"
    FIRST_MESSAGE = "first_message"


class Forgone(StrEnum):
    """Why nothing was owed though a rule wanted it, in order of precedence."""

    NOT_ATTRIBUTED = "not_attributed"
    NO_CONSENT = "no_consent"
    NO_IDENTIFIER = "no_identifier"
    TOO_LATE = "too_late"


class Value(State):
    """What a conversion is worth, in millionths of the currency: `fixed_micros` and, for each coin moved, `per_coin_micros`."""

    currency: Annotated[str, Meta(max_length=4, pattern="^[A-Z]{3}$"), PLAIN]
    fixed_micros: Annotated[int, Meta(ge=0, le=10**12)] = 0
    per_coin_micros: Annotated[int, Meta(ge=0, le=10**9)] = 0


class PostbackRule(State):
    """Tell `provider` of `conversion` as `event`. `network`: only of users whom it brought (empty: of everybody)."""

    conversion: ConversionKind
    provider: Provider
    event: EventName
    consent: Consent
    network: Code = ""
    value: Value | None = None


class PostbackBook(State):
    """All rules; as shipped, none: nothing leaves until somebody says so."""

    version: int = 0
    rules: Annotated[tuple[PostbackRule, ...], Meta(max_length=MAX_RULES)] = ()


class PutPostbackRules(Message, BookName):
    """These are the rules from now on."""

    rules: Annotated[tuple[PostbackRule, ...], Meta(max_length=MAX_RULES)]
    by: By = ""


class PostbackRulesPut(Fact, BookName):
    """These are the rules."""

    rules: Annotated[tuple[PostbackRule, ...], Meta(max_length=MAX_RULES)]
    version: int
    by: By = ""


class Identity(State):
    """By what names others know a user: hashed (SHA-256) e-mail and phone, the phone's advertising ids, address and browser."""

    email_sha256: Annotated[Short, CONTACT] = ""
    phone_sha256: Annotated[Short, CONTACT] = ""
    advertising_id: Annotated[Short, IDENTIFIER] = ""
    vendor_id: Annotated[Short, IDENTIFIER] = ""
    app_instance_id: Annotated[Short, IDENTIFIER] = ""
    click_id: ClickId = ""
    tracking_allowed: bool = False
    ip: Annotated[Short, CONTACT] = ""
    user_agent: UserAgent = ""


class Postback(State):
    """Everything that a vendor's request is made of, but for our own credentials there. `value_micros` of `currency`."""

    user: User_
    conversion: ConversionKind
    event: EventName
    at: Time
    ref: ConversionRef
    network: Word = ""
    campaign: Word = ""
    coins: int = 0
    value_micros: int | None = None
    currency: Code = ""
    country: Code = ""
    platform: Code = ""
    locale: Code = ""
    app_version: Code = ""
    appsflyer_id: OptionalId = ""
    identity: Identity = Identity()


class Conversion(State):
    """Something that happened lately, and the rules (of that time) whose postbacks still lack something."""

    ref: ConversionRef
    at: Time
    coins: int
    waits: Annotated[tuple[PostbackRule, ...], Meta(max_length=MAX_WAITS)]

    @property
    def until(self) -> datetime:
        """When it waits no more."""
        return later(self.at, PENDING_FOR)


def postback_id(provider: Provider, event: str, ref: Id) -> str:
    """The effect that tells a provider of an action as an event; also the vendor's deduplication id."""
    name = f"{provider}/{event}/{ref}"
    if len(name.encode()) <= MAX_POSTBACK_ID_BYTES:
        return name
    return f"{provider}/{event}/{hashlib.sha256(ref.encode()).hexdigest()}"


# Behind this a vendor does not take an event, or does not count it for its day: Snapchat's integrations 7 days; AppsFlyer
# keeps an event's own time until 02:00 UTC of the next day, and takes it later; Amplitude deduplicates for 7 days; GA4 for 3.
TAKEN_FOR: Final = {
    Provider.SNAPCHAT: timedelta(days=7),
    Provider.APPSFLYER: timedelta(days=2),
    Provider.AMPLITUDE: timedelta(days=7),
    Provider.GA4: timedelta(hours=72),
}


def names_user(provider: Provider, identity: Identity, appsflyer_id: str) -> bool:
    """Whether the provider can tell who it is: by what it demands of a request."""
    match provider:
        case Provider.SNAPCHAT:
            named = identity.email_sha256 or identity.phone_sha256 or identity.advertising_id
            return bool(named or (identity.ip and identity.user_agent))
        case Provider.APPSFLYER:
            return bool(appsflyer_id)
        case Provider.GA4:
            return bool(identity.app_instance_id)
        case Provider.AMPLITUDE:
            return True


# --- rules that can be ------------------------------------------------------------------------------------------------------

# Conversions API v3: the event names.
SNAPCHAT_EVENTS: Final = frozenset(
    {"SIGN_UP", "LOGIN", "PURCHASE", "SUBSCRIBE", "START_TRIAL", "VIEW_CONTENT", "ADD_CART", "START_CHECKOUT", "ADD_BILLING"}
    | {"PAGE_VIEW", "SEARCH", "SHARE", "INVITE", "SAVE", "RATE", "RESERVE", "LIST_VIEW", "AD_CLICK", "AD_VIEW", "APP_OPEN"}
    | {"COMPLETE_TUTORIAL", "LEVEL_COMPLETE", "ACHIEVEMENT_UNLOCKED", "SPENT_CREDITS", "APP_INSTALL"}
    | {f"CUSTOM_EVENT_{number}" for number in range(1, 6)}
)
NAMES: Final = {
    Provider.APPSFLYER: re.compile(r"[A-Za-z0-9_.-]{1,40}"),
    Provider.AMPLITUDE: re.compile(r"[^\x00-\x1f]{1,40}"),
    Provider.GA4: re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}"),
}


# Names that a vendor keeps for itself: it takes an event of such a name with 2xx, and drops it, or counts it as its own.
# GA4: Measurement Protocol reference, "Reserved names"; Amplitude: HTTP API v2, "Reserved events"; AppsFlyer: what it pushes
# itself, which would come back as an install.
RESERVED: Final = {
    Provider.GA4: frozenset(
        {"ad_activeview", "ad_click", "ad_exposure", "ad_impression", "ad_query", "ad_reward", "adunit_exposure"}
        | {"app_background", "app_clear_data", "app_exception", "app_install", "app_remove", "app_store_refund", "app_update"}
        | {"app_store_subscription_cancel", "app_store_subscription_convert", "app_store_subscription_renew", "app_upgrade"}
        | {"dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "first_open"}
        | {"first_open_time", "first_visit", "first_visit_time", "in_app_purchase", "notification_dismiss"}
        | {"notification_foreground", "notification_open", "notification_receive", "notification_send", "os_update"}
        | {"screen_view", "session_start", "session_start_with_rollout", "user_engagement"}
    ),
    Provider.AMPLITUDE: frozenset({"session_start", "session_end", "revenue_amount"}),
    Provider.APPSFLYER: frozenset({"install", "reinstall", "re-engagement", "re-attribution", "uninstall"}),
}
RESERVED_PREFIXES: Final = {
    Provider.GA4: ("firebase_", "google_", "ga_", "gtag."),
    Provider.AMPLITUDE: ("$", "[amplitude]"),
    Provider.APPSFLYER: (),
}


def name_error(provider: Provider, event: str) -> str | None:
    """Why an event cannot have this name at the provider; None: it can."""
    if provider is Provider.SNAPCHAT:
        knows = ", ".join(sorted(SNAPCHAT_EVENTS))
        return None if event in SNAPCHAT_EVENTS else f"Snapchat knows no event {event!r}; it knows {knows}"
    if not NAMES[provider].fullmatch(event):
        return f"{event!r} is no event name at {provider}"
    name = event.strip().lower()
    kept = name in RESERVED[provider] or (provider is Provider.APPSFLYER and name.replace("_", "-") in RESERVED[provider])
    if kept or name.startswith(RESERVED_PREFIXES[provider]):
        return f"{provider} keeps the name {event!r} for itself, and would drop the event; choose another"
    return None


class PostbackRuleError(ValueError):
    """Rules that cannot be; the text says what to do."""


def check_rules(rules: tuple[PostbackRule, ...]) -> None:
    """Whether rules can be. Errors: PostbackRuleError."""
    seen: set[tuple[str, str]] = set()
    for rule in rules:
        if (rule.provider, rule.conversion) in seen:
            raise PostbackRuleError(f"{rule.conversion} is told to {rule.provider} twice; one rule for both is enough")
        seen.add((rule.provider, rule.conversion))
        if error := name_error(rule.provider, rule.event):
            raise PostbackRuleError(error)
        if rule.provider is Provider.SNAPCHAT and rule.event == "PURCHASE" and rule.value is None:
            raise PostbackRuleError("Snapchat's PURCHASE needs a value with its currency")
        if rule.provider is not Provider.AMPLITUDE and rule.provider is not Provider.GA4 and rule.consent is not Consent.ADS:
            raise PostbackRuleError(f"{rule.provider} is an ad network: its rules need the consent ads")


RulesInbox = PutPostbackRules | Wake

POSTBACK_RULES: Final = Entity(
    "postback_rules",
    key="book",
    flow=Flow.GROWTH,
    state=PostbackBook,
    commands=(PutPostbackRules,),
    facts=(PostbackRulesPut,),
    raw="rules change a few times a year",
)
