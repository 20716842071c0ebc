"""Attribution: `install` (keyed by AppsFlyer's id of the app on one phone) and `attribution` (keyed by user).

State: `schemas.ads`. Laws: a push counts once; which touch counts for a user does not depend on the order in which pushes,
sign-up and claims come (the earliest install within the window, or the latest return); a conversion is told by the rules of its
own time, to each provider as each event once, as soon as nothing is lacking, and else forgone with its reason; nothing is owed
to a provider without the consent that its rule names.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from schemas.ads import (
    MAX_SEEN,
    MAX_USERS,
    Attribution,
    AttributionInbox,
    AttributionMissed,
    ClaimInstall,
    ConversionRecorded,
    Install,
    InstallInbox,
    PostbackForgone,
    PushRecorded,
    PushRepeated,
    PutTracking,
    RecordPush,
    ShareHashes,
    ShareRules,
    Touch,
    TouchKind,
    TrackingPut,
    UserAttributed,
    UserTouched,
)
from schemas.balance import EntryRecorded, owner_of
from schemas.gift import GiftSent
from schemas.log.base import Message, UserId, Wake, derived_id
from schemas.outbox import EffectKind, OweEffect
from schemas.postback import (
    MAX_PENDING,
    TAKEN_FOR,
    Consent,
    Conversion,
    ConversionKind,
    Forgone,
    Postback,
    PostbackBook,
    PostbackRule,
    Provider,
    names_user,
    postback_id,
)
from schemas.user import UserSignedUp
from schemas.video import CallEnded

NO_RULES: Final = PostbackBook()
AD_NETWORKS: Final = frozenset({Provider.SNAPCHAT, Provider.APPSFLYER})
Decision = tuple[Attribution | None, Sequence[Message]]
Touched = TypeVar("Touched", Install, Attribution)


# --- installs ---------------------------------------------------------------------------------------------------------------


def decide_install(install: Install | None, message: InstallInbox) -> tuple[Install | None, Sequence[Message]]:
    """Decide one message of the app on one phone."""
    known = install or Install()
    match message:
        case Wake():
            forgotten = install is None or (install.wake_at is not None and install.wake_at <= message.at)
            return (None if forgotten else install), ()
        case RecordPush():
            return _pushed(known, message)
        case ClaimInstall():
            return _claimed(known, message, message.install)
        case UserSignedUp():
            return _claimed(known, message, message.appsflyer_id)


def _pushed(install: Install, message: RecordPush) -> tuple[Install, Sequence[Message]]:
    head: dict[str, Any] = {"at": message.at, "cause": message.id, "install": message.install}
    if message.push in install.seen:
        return install, (PushRepeated(id=derived_id(message.id, 0), event_name=message.event_name, **head),)
    after = replace(_seen(install, message), seen=(*install.seen, message.push)[-MAX_SEEN:])
    told: list[Message] = [
        PushRecorded(
            id=derived_id(message.id, 0), event_name=message.event_name, user=message.user, touch=message.touch,
            event_value=message.event_value, raw=message.raw, **head,
        )
    ]  # fmt: skip
    if message.touch is not None:
        after = _with_touch(after, message.touch)
        told += [_touched(message, message.install, user, message.touch, n) for n, user in enumerate(after.users)]
    if message.user:
        after, more = _claimed(after, message, message.install, UserId(message.user))
        told += more
    return after, told


def _with_touch(known: Touched, touch: Touch) -> Touched:
    """Of installs the earliest is kept, of returns the latest: the order in which they come does not matter."""
    if touch.kind is TouchKind.INSTALL:
        return replace(known, first=min((known.first, touch), key=_order) if known.first else touch)
    return replace(known, last=max((known.last, touch), key=_order) if known.last else touch)


def _order(touch: Touch) -> tuple[Any, ...]:
    return touch.at, touch.network, touch.campaign, touch.campaign_id, touch.adset_id, touch.ad_id


def _claimed(
    install: Install, message: RecordPush | ClaimInstall | UserSignedUp, name: str, user: UserId | None = None
) -> tuple[Install, Sequence[Message]]:
    """The user is here, if not known yet, and hears of the touches."""
    user = user or UserId(message.user)
    if user in install.users or len(install.users) >= MAX_USERS:
        return install, ()
    after = replace(_seen(install, message), users=(*install.users, user))
    touches = [touch for touch in (after.first, after.last) if touch is not None]
    return after, [_touched(message, name, user, touch, f"{user}/{n}") for n, touch in enumerate(touches)]


def _seen(install: Install, message: Message) -> Install:
    return replace(install, seen_at=max(install.seen_at or message.at, message.at))


def _touched(message: Message, install: str, user: UserId, touch: Touch, ordinal: int | str) -> UserTouched:
    name = derived_id(message.id, f"to/{ordinal}")
    return UserTouched(id=name, at=message.at, cause=message.id, install=install, user=user, touch=touch)


# --- attribution ------------------------------------------------------------------------------------------------------------


def decide_attribution(user: Attribution | None, message: AttributionInbox, common: Attribution | None) -> Decision:
    """Decide one message of a user's attribution, under the rules that its partition was told."""
    if isinstance(message, ShareRules):
        older = user is not None and user.shared is not None and user.shared.version >= message.shared.version
        return (user if older else Attribution(shared=message.shared)), ()
    rules = (common.shared if common is not None else None) or NO_RULES
    known = user or Attribution()
    match message:
        case Wake():
            return _wake(user, message)
        case UserSignedUp():
            return _signed_up(known, message, rules)
        case UserTouched():
            return _touch(known, message)
        case PutTracking():
            return _tracking(known, message)
        case ShareHashes():
            identity = replace(known.identity, email_sha256=message.email_sha256, phone_sha256=message.phone_sha256)
            return _settle(replace(known, identity=identity), message, message.user, [])
        case EntryRecorded():
            return _bought(known, message, rules)
        case CallEnded():
            kinds = _kinds(known.calls, ConversionKind.CALL, ConversionKind.FIRST_CALL)
            after = replace(known, calls=known.calls + 1)
            return _converted(after, message, rules, (message.caller, kinds, message.call, 0))
        case GiftSent():
            kinds = _kinds(known.gifts, ConversionKind.GIFT, ConversionKind.FIRST_GIFT)
            after = replace(known, gifts=known.gifts + 1)
            return _converted(after, message, rules, (message.sender, kinds, message.gift, message.price_coins))


def _kinds(before: int, kind: ConversionKind, first: ConversionKind) -> tuple[ConversionKind, ...]:
    return (kind,) if before else (kind, first)


def _signed_up(user: Attribution, message: UserSignedUp, rules: PostbackBook) -> Decision:
    if user.signed_up_at is not None:
        return user, ()
    after = replace(
        user, role=message.role, country=message.country, platform=message.platform, locale=message.locale,
        app_version=message.app_version, signed_up_at=message.at, appsflyer_id=message.appsflyer_id or user.appsflyer_id,
    )  # fmt: skip
    told: list[Message] = []
    if after.touch is not None:
        told.append(_attributed(after, message, message.user))
    elif after.first is not None:
        told.append(_missed(after, message, message.user, after.first))
    return _converted(after, message, rules, (message.user, (ConversionKind.SIGN_UP,), message.user, 0), told)


def _touch(user: Attribution, message: UserTouched) -> Decision:
    touch = message.touch
    after = replace(_with_touch(user, touch), appsflyer_id=user.appsflyer_id or message.install)
    told: list[Message] = []
    if user.signed_up_at is not None:
        if after.touch is not None and after.touch != user.touch:
            told.append(_attributed(after, message, message.user))
        elif touch.kind is TouchKind.INSTALL and after.outside(touch):
            told.append(_missed(after, message, message.user, touch))
    return _settle(after, message, message.user, told)


def _attributed(user: Attribution, message: Message, name: UserId) -> UserAttributed:
    assert user.touch is not None
    assert user.signed_up_at is not None
    return UserAttributed(
        id=derived_id(message.id, "attributed"), at=message.at, cause=message.id, user=name, signed_up_at=user.signed_up_at,
        touch=user.touch,
    )  # fmt: skip


def _missed(user: Attribution, message: Message, name: UserId, touch: Touch) -> AttributionMissed:
    assert user.signed_up_at is not None
    return AttributionMissed(
        id=derived_id(message.id, "missed"), at=message.at, cause=message.id, user=name, signed_up_at=user.signed_up_at,
        touch=touch,
    )  # fmt: skip


def _tracking(user: Attribution, message: PutTracking) -> Decision:
    names = ("advertising_id", "vendor_id", "app_instance_id", "click_id", "tracking_allowed", "ip", "user_agent")
    given = {name: getattr(message, name) for name in names}
    after = replace(
        user, consents=message.consents, identity=replace(user.identity, **given),
        appsflyer_id=message.appsflyer_id or user.appsflyer_id,
    )  # fmt: skip
    told: list[Message] = [
        TrackingPut(
            id=derived_id(message.id, 0), at=message.at, cause=message.id, user=message.user, consents=message.consents,
            told=tuple(name for name in ("appsflyer_id", *names) if getattr(message, name)),
        )
    ]  # fmt: skip
    if message.appsflyer_id and message.appsflyer_id != user.appsflyer_id:
        claim = derived_id(message.id, "claim")
        told.append(ClaimInstall(id=claim, at=message.at, install=message.appsflyer_id, user=message.user))
    return _settle(after, message, message.user, told)


def _bought(user: Attribution, entry: EntryRecorded, rules: PostbackBook) -> Decision:
    kinds = _kinds(user.purchases, ConversionKind.PURCHASE, ConversionKind.FIRST_PURCHASE)
    after = replace(user, purchases=user.purchases + 1)
    return _converted(after, entry, rules, (owner_of(entry.account), kinds, entry.transfer or entry.id, entry.coins))


# --- conversions and what is owed -------------------------------------------------------------------------------------------

Done = tuple[UserId, tuple[ConversionKind, ...], str, int]


def _converted(
    user: Attribution, message: Message, rules: PostbackBook, done: Done, before: Sequence[Message] = ()
) -> Decision:
    """Something happened: who, of which kinds, what it is called, coins. It is a fact, and waits for what its rules need."""
    name, kinds, ref, coins = done
    touch = user.touch
    facts: list[Message] = [
        ConversionRecorded(
            id=derived_id(message.id, kind), at=message.at, cause=message.id, user=name, conversion=kind, ref=ref, coins=coins,
            network=touch.network if touch else "", campaign=touch.campaign if touch else "",
        )
        for kind in kinds
    ]  # fmt: skip
    events: dict[tuple[str, str], PostbackRule] = {}
    for rule in rules.rules:
        if rule.conversion in kinds:
            events.setdefault((rule.provider, rule.event), rule)
    if events:
        conversion = Conversion(ref, message.at, coins, tuple(events.values()))
        user = replace(user, pending=(*user.pending, conversion))
    return _settle(user, message, name, [*before, *facts])


def _settle(user: Attribution, message: Message, name: UserId, told: list[Message]) -> Decision:
    """Owe what lacks nothing any more; give up what comes too late, or what is too much."""
    if not user.pending or user.signed_up_at is None:
        return user, told
    kept: list[Conversion] = []
    for number, conversion in enumerate(user.pending):
        overdue = message.at >= conversion.until or len(user.pending) - number > MAX_PENDING
        waits: list[PostbackRule] = []
        for rule in conversion.waits:
            lacking = lacks(user, rule)
            late = message.at >= conversion.at + TAKEN_FOR[rule.provider]
            if lacking is None and not late:
                told.append(_owe(user, rule, conversion, (message, name)))
            elif overdue or late:
                told.append(_forgo(rule, conversion, lacking or Forgone.TOO_LATE, (message, name)))
            else:
                waits.append(rule)
        if waits:
            kept.append(conversion if len(waits) == len(conversion.waits) else replace(conversion, waits=tuple(waits)))
    return replace(user, pending=tuple(kept)), told


def lacks(user: Attribution, rule: PostbackRule) -> Forgone | None:
    """The first thing that a postback lacks, or None."""
    touch = user.touch
    if rule.network and (touch is None or touch.network != rule.network):
        return Forgone.NOT_ATTRIBUTED
    if rule.consent is not Consent.NONE and rule.consent not in user.consents:
        return Forgone.NO_CONSENT
    return None if names_user(rule.provider, user.identity, user.appsflyer_id) else Forgone.NO_IDENTIFIER


def _owe(user: Attribution, rule: PostbackRule, conversion: Conversion, of: tuple[Message, UserId]) -> OweEffect:
    message, name = of
    touch, value = user.touch, rule.value
    postback = Postback(
        user=name, conversion=rule.conversion, event=rule.event, at=conversion.at, ref=conversion.ref,
        network=touch.network if touch else "", campaign=touch.campaign if touch else "", coins=conversion.coins,
        value_micros=value.fixed_micros + value.per_coin_micros * conversion.coins if value else None,
        currency=value.currency if value else "", country=user.country, platform=user.platform, locale=user.locale,
        app_version=user.app_version, appsflyer_id=user.appsflyer_id if rule.provider in AD_NETWORKS else "",
        identity=user.identity,
    )  # fmt: skip
    effect = postback_id(rule.provider, rule.event, conversion.ref)
    return OweEffect(
        id=derived_id(message.id, f"owe/{effect}"), at=message.at, effect=effect, kind=EffectKind.POSTBACK,
        provider=rule.provider, subject=name, expires_at=conversion.at + TAKEN_FOR[rule.provider], postback=postback,
    )  # fmt: skip


def _forgo(rule: PostbackRule, conversion: Conversion, why: Forgone, of: tuple[Message, UserId]) -> PostbackForgone:
    message, name = of
    return PostbackForgone(
        id=derived_id(message.id, f"forgone/{rule.provider}/{rule.event}/{conversion.ref}"), at=message.at, cause=message.id,
        user=name, conversion=rule.conversion, ref=conversion.ref, provider=rule.provider, why=why,
    )  # fmt: skip


def _wake(user: Attribution | None, message: Wake) -> Decision:
    """A conversion waits no more, or nobody signed up. A stale wake changes nothing."""
    if user is None or user.wake_at is None or user.wake_at > message.at:
        return user, ()
    if user.signed_up_at is None:
        return None, ()
    return _settle(user, message, UserId(message.key), [])
