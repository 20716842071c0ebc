"""Attribution: `install` (keyed by AppsFlyer's id of the app on one phone) and `attribution` (keyed by user).

State, and the rule of windows: `schemas.ads`. Laws: a push counts once; which touch counts for a user does not depend on the
order in which pushes, sign-up and claims come (the earliest install within the attribution window; within the re-attribution
window of a paid return, the latest one), but for installs between the first and the last one before the sign-up, which are
forgotten: where the first is too old, the last one counts; no organic return takes over; the last `UserAttributed` is what
counts. A conversion is told by the rules of its own time, to each provider as each event once, as soon as nothing is lacking,
and else forgone with its reason; nothing is owed to a provider without the consent that its rule names.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from schemas.ads import (
    MAX_SEEN,
    MAX_USERS,
    ORGANIC,
    RETURN_WINDOW,
    Attribution,
    AttributionInbox,
    AttributionMissed,
    ClaimInstall,
    ConversionRecorded,
    DisownInstall,
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
from schemas.log.base import MAX_ID_LENGTH, Message, UserId, Wake, derive, later, reply, same_fields
from schemas.outbox import EffectKind, OweEffect
from schemas.postback import (
    MAX_PENDING,
    MAX_WAITS,
    TAKEN_FOR,
    Consent,
    Conversion,
    ConversionKind,
    Forgone,
    Identity,
    Postback,
    PostbackBook,
    PostbackRule,
    Provider,
    names_user,
    postback_id,
)
from schemas.user import UserErased, UserSignedUp
from schemas.video import CallEnded

NO_RULES: Final = PostbackBook()
AD_NETWORKS: Final = frozenset({Provider.SNAPCHAT, Provider.APPSFLYER})
Decision = tuple[Attribution | None, Sequence[Message]]


# --- installs ---------------------------------------------------------------------------------------------------------------


def decide_install(install: Install | None, message: InstallInbox) -> tuple[Install | None, Sequence[Message]]:
    """Decide one message of the app on one phone."""
    state = install or Install()
    match message:
        case Wake():
            return (None if state.is_due(message.at) else install), ()
        case RecordPush():
            return _pushed(state, message)
        case DisownInstall():
            others = tuple(user for user in state.users if user != message.user)
            return (install if len(others) == len(state.users) else replace(state, users=others)), ()
        case ClaimInstall():
            return _claimed(state, message, message.install, message.user)
        case UserSignedUp():
            return _claimed(state, message, message.appsflyer_id, message.user)


def _pushed(install: Install, message: RecordPush) -> tuple[Install, Sequence[Message]]:
    if message.push in install.seen:
        return install, (PushRepeated(**reply(message), install=message.install, event_name=message.event_name),)
    after = replace(_seen(install, message), seen=(*install.seen, message.push)[-MAX_SEEN:])
    facts: list[Message] = [PushRecorded(**reply(message), **same_fields(message, PushRecorded))]
    if message.touch is not None:
        after = _with_touch(after, message.touch)
        facts += [_touched(message, message.install, user, message.touch, n) for n, user in enumerate(after.users)]
    if message.user:
        after, more = _claimed(after, message, message.install, UserId(message.user))
        facts += more
    return after, facts


def _with_touch(install: Install, touch: Touch) -> Install:
    """The earliest and the latest install are kept, and the latest return that was paid for, whatever the order."""
    if touch.kind is TouchKind.INSTALL:
        first, last = _with_install(touch, install.first, install.again)
        return replace(install, first=first, again=last)
    if touch.network == ORGANIC:
        return install
    return replace(install, last=max((install.last, touch), key=_order) if install.last else touch)


def _with_install(touch: Touch, first: Touch | None, last: Touch | None) -> tuple[Touch, Touch | None]:
    """The earliest and the latest install with one more, whatever the order; None where there is but one."""
    installs = sorted(filter(None, (first, last, touch)), key=_order)
    return installs[0], installs[-1] if installs[-1] != installs[0] else None


def _order(touch: Touch) -> tuple[datetime, str, str, str, str, str]:
    return touch.at, touch.network, touch.campaign, touch.campaign_id, touch.adset_id, touch.ad_id


def _claimed(install: Install, message: Message, name: str, user: UserId) -> tuple[Install, Sequence[Message]]:
    """The user has the app on this phone, and is told of its touches, unless the install knows that already."""
    if user in install.users or len(install.users) >= MAX_USERS:
        return install, ()
    after = replace(_seen(install, message), users=(*install.users, user))
    touches = [touch for touch in (after.first, after.again, after.last) if touch is not None]
    return after, [_touched(message, name, user, touch, f"{user}/{n}") for n, touch in enumerate(touches)]


def _seen(install: Install, message: Message) -> Install:
    return replace(install, seen_at=max(install.seen_at or message.at, message.at))


def _touched(message: Message, install: str, user: UserId, touch: Touch, ordinal: int | str) -> UserTouched:
    return UserTouched(**reply(message, f"to/{ordinal}"), install=install, user=user, touch=touch)


# --- attribution ------------------------------------------------------------------------------------------------------------


def decide_attribution(user: Attribution | None, message: AttributionInbox, common: Attribution | None) -> Decision:
    """Decide one message of a user's attribution, under the rules that its partition was told."""
    if isinstance(message, ShareRules):
        older = user is not None and user.shared is not None and user.shared.version >= message.shared.version
        return (user if older else Attribution(shared=message.shared)), ()
    rules = (common.shared if common is not None else None) or NO_RULES
    state = user or Attribution()
    if state.erased_at is not None:
        return _late(state, message)
    match message:
        case Wake():
            return _wake(user, message)
        case UserErased():
            disown = DisownInstall(**derive(message, "disown"), install=state.appsflyer_id or "-", user=message.user)
            return Attribution(erased_at=message.at), ((disown,) if state.appsflyer_id else ())
        case UserSignedUp():
            return _signed_up(state, message, rules)
        case UserTouched():
            return _touch(state, message)
        case PutTracking():
            return _tracking(state, message)
        case ShareHashes():
            identity = replace(state.identity, **same_fields(message, Identity))
            return _settle(replace(state, identity=identity), message, message.user, [])
        case EntryRecorded():
            return _bought(state, message, rules)
        case CallEnded():
            kinds = _kinds(state.calls, ConversionKind.CALL, ConversionKind.FIRST_CALL)
            after = replace(state, calls=state.calls + 1)
            return _converted(after, message, rules, Deed(message.caller, kinds, message.call))
        case GiftSent():
            kinds = _kinds(state.gifts, ConversionKind.GIFT, ConversionKind.FIRST_GIFT)
            after = replace(state, gifts=state.gifts + 1)
            return _converted(after, message, rules, Deed(message.sender, kinds, message.gift, message.price_coins))


def _late(user: Attribution, message: AttributionInbox) -> Decision:
    """Of who was erased nothing is taken any more."""
    match message:
        case Wake() if user.is_due(message.at):
            return None, ()
        case PutTracking():
            return user, (TrackingPut(**reply(message), user=message.user),)
    return user, ()


def _kinds(before: int, kind: ConversionKind, first: ConversionKind) -> tuple[ConversionKind, ...]:
    return (kind,) if before else (kind, first)


def _signed_up(user: Attribution, message: UserSignedUp, rules: PostbackBook) -> Decision:
    if user.signed_up_at is not None:
        return user, ()
    after = replace(
        user, role=message.role, country=message.country, platform=message.platform, locale=message.locale,
        app_version=message.app_version, signed_up_at=message.at, appsflyer_id=message.appsflyer_id or user.appsflyer_id,
    )  # fmt: skip
    if after.later is not None:
        after = replace(after, first=after.first if after.acquired else after.later, later=None)
    known = [touch for touch in (after.first, after.last) if touch is not None]
    missed = [_missed(message, touch, message.at) for touch in known if after.outside(touch)]
    facts = [*missed, *_attributed(Attribution(), after, message)]
    return _converted(after, message, rules, Deed(message.user, (ConversionKind.SIGN_UP,), message.user), facts)


def _touch(user: Attribution, message: UserTouched) -> Decision:
    touch = message.touch
    after = replace(_kept(user, touch), appsflyer_id=user.appsflyer_id or message.install)
    facts: list[Message] = []
    if after.signed_up_at is not None:
        facts = _attributed(user, after, message, touch)
        if not facts and after.outside(touch):
            facts = [_missed(message, touch, after.signed_up_at)]
    return _settle(after, message, message.user, facts)


def _kept(user: Attribution, touch: Touch) -> Attribution:
    """The user with one more touch. Of the installs before the sign-up the first and the last one are kept: the sign-up's time
    tells which of them counts."""
    if touch.kind is not TouchKind.INSTALL:
        last = user.last if user.last is not None and user.last.network != ORGANIC else None
        stays = touch.network == ORGANIC or (last is not None and _order(touch) <= _order(last))
        return user if stays else replace(user, last=touch, lapsed=False)
    first, last = _with_install(touch, user.first, user.later)
    if user.signed_up_at is None or last is None:
        return replace(user, first=first, later=last)
    return replace(user, first=min((first, last), key=user.outside))


def _attributed(
    before: Attribution, after: Attribution, message: UserSignedUp | UserTouched, touch: Touch | None = None
) -> list[Message]:
    """What counts since this message and did not before, also for a time that is over (a return that came late: `touch`). What
    counts now is told last."""
    assert after.signed_up_at is not None
    told: list[Touch] = []
    if after.acquired is not None and after.acquired != before.acquired:
        told.append(after.acquired)
    if touch is not None and touch.kind is not TouchKind.INSTALL and touch != after.returned and not after.outside(touch):
        told.append(touch)
    if after.returned is not None and after.returned != before.returned:
        told.append(after.returned)
    if told and after.touch is not None and told[-1] != after.touch:
        told.append(after.touch)
    return [_came_by(message, message.user, one, after.signed_up_at, n) for n, one in enumerate(told)]


def _came_by(message: Message, user: UserId, touch: Touch, signed_up_at: datetime, ordinal: int = 0) -> UserAttributed:
    fact = reply(message, f"attributed/{ordinal}")
    return UserAttributed(**fact, user=user, signed_up_at=signed_up_at, touch=touch)


def _missed(message: UserSignedUp | UserTouched, touch: Touch, signed_up_at: datetime) -> AttributionMissed:
    fact = reply(message, f"missed/{touch.kind}")
    return AttributionMissed(**fact, user=message.user, signed_up_at=signed_up_at, touch=touch)


def _tracking(user: Attribution, message: PutTracking) -> Decision:
    names = same_fields(message, Identity)
    appsflyer_id = message.appsflyer_id or user.appsflyer_id
    after = replace(
        user, consents=message.consents, identity=replace(user.identity, **names), appsflyer_id=appsflyer_id
    )  # fmt: skip
    known = {"appsflyer_id": message.appsflyer_id, **names}
    put = TrackingPut(
        **reply(message), user=message.user, consents=message.consents,
        told=tuple(name for name, value in known.items() if value),
    )  # fmt: skip
    messages: list[Message] = [put]
    if appsflyer_id != user.appsflyer_id:
        messages.append(ClaimInstall(**derive(message, "claim"), install=appsflyer_id, user=message.user))
    return _settle(after, message, message.user, messages)


def _bought(user: Attribution, entry: EntryRecorded, rules: PostbackBook) -> Decision:
    kinds = _kinds(user.purchases, ConversionKind.PURCHASE, ConversionKind.FIRST_PURCHASE)
    after = replace(user, purchases=user.purchases + 1)
    deed = Deed(owner_of(entry.account), kinds, entry.transfer or entry.id[-MAX_ID_LENGTH:], entry.coins)
    return _converted(after, entry, rules, deed)


# --- conversions and what is owed -------------------------------------------------------------------------------------------


class Deed(NamedTuple):
    """What a user did that campaigns are paid for: its kinds, the id of the purchase, call or gift (`ref`), and the coins."""

    user: UserId
    kinds: tuple[ConversionKind, ...]
    ref: str
    coins: int = 0


def _converted(
    user: Attribution, message: Message, rules: PostbackBook, deed: Deed, before: Sequence[Message] = ()
) -> Decision:
    """The deed becomes a fact of each kind, behind the messages `before`, and waits for what its postbacks need."""
    touch = user.touch_at(message.at)
    network, campaign = (touch.network, touch.campaign) if touch else ("", "")
    facts = [
        ConversionRecorded(
            **reply(message, kind), user=deed.user, conversion=kind, ref=deed.ref, coins=deed.coins, network=network,
            campaign=campaign,
        )
        for kind in deed.kinds
    ]  # fmt: skip
    events: dict[tuple[str, str], PostbackRule] = {}
    for rule in rules.rules:
        if rule.conversion in deed.kinds:
            events.setdefault((rule.provider, rule.event), rule)
    if events:
        conversion = Conversion(deed.ref, message.at, deed.coins, tuple(events.values())[:MAX_WAITS])
        user = replace(user, pending=(*user.pending, conversion))
    return _settle(user, message, deed.user, [*before, *facts])


def _settle(user: Attribution, message: Message, name: UserId, messages: list[Message]) -> Decision:
    """Postbacks that lack nothing any more are owed; those that waited too long, or are too many, are given up. What becomes of
    them is put behind `messages`."""
    if not user.pending:
        return user, messages
    if user.signed_up_at is None:  # nothing is told before the sign-up
        gone = [(rule, one) for one in user.pending[:-MAX_PENDING] for rule in one.waits]
        forgone = [_forgo(rule, one, lacks(user, rule, one.at) or Forgone.TOO_LATE, message, name) for rule, one in gone]
        return (replace(user, pending=user.pending[-MAX_PENDING:]) if gone else user), [*messages, *forgone]
    pending: list[Conversion] = []
    for number, conversion in enumerate(user.pending):
        waited_enough = message.at >= conversion.until or len(user.pending) - number > MAX_PENDING
        waits: list[PostbackRule] = []
        for rule in conversion.waits:
            lacking = lacks(user, rule, conversion.at)
            too_late = message.at >= later(conversion.at, TAKEN_FOR[rule.provider])
            if lacking is None and not too_late:
                messages.append(_owe(user, rule, conversion, message, name))
            elif waited_enough or too_late:
                messages.append(_forgo(rule, conversion, lacking or Forgone.TOO_LATE, message, name))
            else:
                waits.append(rule)
        if waits:
            pending.append(conversion if len(waits) == len(conversion.waits) else replace(conversion, waits=tuple(waits)))
    return replace(user, pending=tuple(pending)), messages


def lacks(user: Attribution, rule: PostbackRule, at: datetime) -> Forgone | None:
    """The first thing that the postback of a conversion of that time lacks, or None."""
    touch = user.touch_at(at)
    if rule.network and (touch is None or touch.network != rule.network):
        return Forgone.NOT_ATTRIBUTED
    if rule.consent is not Consent.NONE and rule.consent not in user.consents:
        return Forgone.NO_CONSENT
    return None if names_user(rule.provider, user.identity, user.appsflyer_id) else Forgone.NO_IDENTIFIER


def _owe(user: Attribution, rule: PostbackRule, conversion: Conversion, message: Message, name: UserId) -> OweEffect:
    effect = postback_id(rule.provider, rule.event, conversion.ref)
    return OweEffect(
        **derive(message, f"owe/{effect}"),
        effect=effect,
        kind=EffectKind.POSTBACK,
        provider=rule.provider,
        subject=name,
        expires_at=later(conversion.at, TAKEN_FOR[rule.provider]),
        postback=_postback(user, rule, conversion, name),
    )


def _postback(user: Attribution, rule: PostbackRule, conversion: Conversion, name: UserId) -> Postback:
    touch, value = user.touch_at(conversion.at), rule.value
    return Postback(
        user=name, conversion=rule.conversion, event=rule.event, at=conversion.at, ref=conversion.ref,
        network=touch.network if touch else "", campaign=touch.campaign if touch else "", coins=conversion.coins,
        value_micros=value.fixed_micros + value.per_coin_micros * conversion.coins if value else None,
        currency=value.currency if value else "", country=user.country, platform=user.platform, locale=user.locale,
        app_version=user.app_version, appsflyer_id=user.appsflyer_id if rule.provider in AD_NETWORKS else "",
        identity=user.identity,
    )  # fmt: skip


def _forgo(rule: PostbackRule, conversion: Conversion, why: Forgone, message: Message, name: UserId) -> PostbackForgone:
    return PostbackForgone(
        **reply(message, f"forgone/{rule.provider}/{rule.event}/{conversion.ref}"), user=name, conversion=rule.conversion,
        ref=conversion.ref, provider=rule.provider, why=why,
    )  # fmt: skip


def _wake(user: Attribution | None, message: Wake) -> Decision:
    """A conversion waits no more, a return's window is over, or nobody signed up. A stale wake changes nothing."""
    if user is None or not user.is_due(message.at):
        return user, ()
    if user.signed_up_at is None:
        return None, ()
    name, facts, install, back = UserId(message.key), list[Message](), user.acquired, user.returned
    if install is not None and back is not None and not user.lapsed and later(back.at, RETURN_WINDOW) <= message.at:
        facts.append(_came_by(message, name, install, user.signed_up_at))
        user = replace(user, lapsed=True)
    return _settle(user, message, name, facts)
