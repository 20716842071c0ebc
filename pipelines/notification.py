"""Notifications, keyed by user. State: `schemas.notification.Notifications`.

Laws: one occurrence a person and cause; a push is decided once for an occurrence, names why, and never behind an
acknowledgement, a reading or a withdrawal that stands earlier in the log; the badge is the number of unread occurrences; quiet
hours put pushes off, and lose none; a call's push is decided, and of use, only while it rings; of an occurrence that is due a
push is decided, or a fact says why not; a phone whose token is dead is not pushed, unless it was registered later.
What a push says: `schemas.notification_push`. Refusals: `schemas.notification.NotificationRefusal`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from msgspec.structs import replace

from schemas.balance import EntryRecorded
from schemas.blocklist import ConsequenceDrawn
from schemas.chat import ChatRead, ItemHidden, ItemKind, ItemPosted, kept_ref
from schemas.chat_message import MessageDeleted
from schemas.favorites import FavoriteCameOnline
from schemas.log.base import Fact, Message, UserId, Wake, derive, later, reply, same_fields
from schemas.log.topics import inbox_keys
from schemas.notification import (
    NOTIFICATION,
    AckNotification,
    DropPhone,
    KeepPhone,
    NoticeRepeated,
    NotificationAcked,
    NotificationInbox,
    NotificationPreferencesPut,
    NotificationRead,
    NotificationRefusal,
    NotificationRefused,
    NotificationWithdrawn,
    Notified,
    PhoneDropped,
    PhoneEnd,
    PhoneKept,
    PushDecided,
    PushForgone,
    PushHeld,
    PutNotificationPreferences,
    SendNotice,
)
from schemas.notification_kinds import MANNERS, Delivery, NotificationKind, Text
from schemas.notification_push import collapse_key, in_language, push_of, silent_push_of
from schemas.notification_state import (
    MAX_PHONES,
    NoPush,
    Notice,
    Notifications,
    Occurrence,
    Phone,
    PushReason,
    Withdrawal,
    kept_locale,
    kept_peer,
    kept_subscription,
    kept_token,
    occurrence_of,
    with_room,
)
from schemas.outbox import EffectKind, OweEffect
from schemas.push import Push, PushAccepted, PushPlatform, PushTokenDead, WithdrawPush, provider_of, push_id
from schemas.user import CameOnline, UserBanned, UserErased, WentOffline
from schemas.video import CallConnected, CallEnded, CallRinging, EndReason

Decision = tuple[Notifications | None, Sequence[Message]]

NOTHING: Final = Notifications()
# What stands in a chat, and is read there.
ITEM_KINDS: Final = {
    ItemKind.MESSAGE: NotificationKind.MESSAGE, ItemKind.GIFT: NotificationKind.GIFT,
    ItemKind.CALL: NotificationKind.CALL_MISSED,
}  # fmt: skip
APPLE: Final = frozenset({"ios", "ipados"})
IN_CHATS: Final = frozenset(ITEM_KINDS.values())
Chosen = Callable[[Occurrence], bool]
Happening = ItemPosted | CallRinging | FavoriteCameOnline | EntryRecorded | UserBanned | ConsequenceDrawn


def decide_notification(state: Notifications | None, message: NotificationInbox) -> Decision:
    """Decide one message of a person's inbox."""
    before = state or NOTHING
    if isinstance(message, UserErased):
        return Notifications(erased_at=message.at), ()
    if before.erased_at is not None:
        return _of_the_erased(before, message)
    match message:
        case CameOnline() | WentOffline():
            return _kept(replace(before, online=isinstance(message, CameOnline))), ()
        case KeepPhone() | DropPhone() | PushTokenDead():
            return _phones(before, message)
        case AckNotification():
            return _ack(before, message)
        case PutNotificationPreferences():
            put = NotificationPreferencesPut(**reply(message), **same_fields(message, NotificationPreferencesPut))
            return _kept(replace(before, silent=message.silent, quiet=message.quiet)), (put,)
    turn = _Turn(UserId(_keys()[type(message)](message)), before, message)
    match message:
        case Wake() if not before.is_due(message.at):
            return state, []
        case Wake():
            turn.push_due()
        case PushAccepted():
            turn.taken(message.occurrence)
        case SendNotice():
            turn.notice(message)
        case ChatRead() | ItemHidden() | MessageDeleted() | CallConnected() | CallEnded():
            _over(turn, message)
        case _:
            _happened(turn, message)
    return _kept(turn.state), turn.messages


@cache
def _keys() -> dict[type[Message], Callable[[Any], str]]:
    """How each message tells whose inbox it stands in."""
    return inbox_keys(NOTIFICATION)


def _kept(state: Notifications) -> Notifications | None:
    return None if state == NOTHING else state


def _of_the_erased(state: Notifications, message: NotificationInbox) -> Decision:
    if isinstance(message, Wake):
        return (None if state.is_due(message.at) else state), ()
    if not isinstance(message, AckNotification | PutNotificationPreferences | SendNotice):
        return state, ()
    return state, (NotificationRefused(**reply(message), user=message.user, refusal=NotificationRefusal.PERSON_ERASED),)


# --- what happens -----------------------------------------------------------------------------------------------------------


def _happened(turn: "_Turn", message: Happening) -> None:
    """An occurrence, unless it is known."""
    match message:
        case ItemPosted():
            # Who has declined a call knows of it.
            muted = message.muted or message.reason is EndReason.DECLINED
            turn.note(ITEM_KINDS[message.kind], peer=message.user, ref=message.ref, seq=message.seq, muted=muted)
        case CallRinging():
            turn.note(NotificationKind.CALL_INCOMING, peer=message.caller, ref=message.call, ends_at=message.until)
        case FavoriteCameOnline():
            turn.note(NotificationKind.FAVORITE_ONLINE, peer=message.user)
        case EntryRecorded():
            turn.note(NotificationKind.CREDIT_LOW, ref=message.ref)
        case UserBanned() | ConsequenceDrawn():
            turn.note(NotificationKind.CONSEQUENCE, ref=message.case)


def _over(turn: "_Turn", message: ChatRead | ItemHidden | MessageDeleted | CallConnected | CallEnded) -> None:
    """Occurrences that were read elsewhere, or are none any more."""
    match message:
        case ChatRead():
            one, _, other = message.pair.partition("/")
            peer = other if one == message.user else one
            turn.read(lambda found: found.kind in IN_CHATS and found.peer == peer and found.seq <= message.seq)
        case ItemHidden():
            turn.read(lambda found: found.kind in IN_CHATS and found.peer == message.peer and found.seq == message.seq)
        case MessageDeleted():
            turn.withdraw(
                lambda found: found.kind in IN_CHATS and found.peer == message.sender and found.seq == message.seq,
                Withdrawal.DELETED,
            )
        case CallConnected() | CallEnded():
            why = Withdrawal.ANSWERED if isinstance(message, CallConnected) else Withdrawal.ENDED
            turn.withdraw(lambda found: found.kind is NotificationKind.CALL_INCOMING and found.ref == message.call, why)


def _ack(state: Notifications, message: AckNotification) -> Decision:
    """A phone has it. What has no read mark of its own, as items of chats have, is read by that."""
    turn = _Turn(message.user, state, message)
    found = next((one for one in state.occurrences if one.notification == message.notification), None)
    if found is None:
        unknown, name = NotificationRefusal.NOTIFICATION_UNKNOWN, message.notification
        return _kept(state), (NotificationRefused(**reply(message), user=message.user, notification=name, refusal=unknown),)
    turn.acknowledge(found)
    if found.kind not in IN_CHATS:
        turn.read(lambda one: one.notification == found.notification)
    return turn.state, turn.messages


# --- phones -----------------------------------------------------------------------------------------------------------------


def _phones(state: Notifications, message: KeepPhone | DropPhone | PushTokenDead) -> Decision:
    match message:
        case KeepPhone():
            return _keep_phone(state, message)
        case DropPhone():
            leaving = [one for one in state.phones if one.device == kept_ref(message.device)]
            staying, end = [one for one in state.phones if one not in leaving], PhoneEnd.LOGGED_OUT
        case PushTokenDead():  # what was registered later is another registration
            dead_at, end = message.dead_at or message.at, PhoneEnd.TOKEN_DEAD
            leaving = [one for one in state.phones if one.kept_at <= dead_at and one.without(message.token) != one]
            kept = [one.without(message.token) if one in leaving else one for one in state.phones]
            staying = [one for one in kept if one.addresses]
    told = [_dropped(message, one, end, number) for number, one in enumerate(leaving)]
    return _kept(replace(state, phones=tuple(staying))), told


def _keep_phone(state: Notifications, message: KeepPhone) -> Decision:
    """A phone as it registers now; one of another name with the same token is the same one."""
    platform = PushPlatform.IOS if message.platform.lower() in APPLE else PushPlatform.ANDROID
    phone = Phone(
        kept_ref(message.device), message.at, platform, kept_locale(message.locale), kept_token(message.push_token),
        kept_token(message.voip_token), kept_subscription(message.onesignal_id),
    )  # fmt: skip
    others = [one for one in state.phones if one.device != phone.device and not one.shares(phone)]
    staying = others[max(0, len(others) - MAX_PHONES + 1) :]
    gone = [one for one in state.phones if one.device != phone.device and one not in staying]
    kept = PhoneKept(**reply(message), user=message.user, device=phone.device, platform=platform, locale=phone.locale)
    told = [_dropped(message, one, PhoneEnd.REPLACED, number) for number, one in enumerate(gone)]
    return replace(state, phones=(*staying, phone)), (kept, *told)


def _dropped(message: KeepPhone | DropPhone | PushTokenDead, phone: Phone, end: PhoneEnd, ordinal: int) -> PhoneDropped:
    told = reply(message, f"phone/{ordinal}")
    return PhoneDropped(**told, user=message.user, device=phone.device, platform=phone.platform, end=end)


class _Turn:
    """One message's decision: `state` and `messages` grow with it."""

    def __init__(self, user: UserId, state: Notifications, message: NotificationInbox) -> None:
        self.state = state
        self.messages: list[Message] = []
        self._user = user
        self._message = message
        self._at = message.at

    def note(
        self, kind: NotificationKind, *, cause: str = "", peer: str = "", ref: str = "", seq: int = 0,
        ends_at: datetime | None = None, muted: bool = False, by: str = "", words: Text | None = None,
    ) -> None:  # fmt: skip
        """A cause has come; one that was known is nothing new."""
        name = occurrence_of(self._user, cause or self._message.id)
        if any(one.notification == name for one in self.state.occurrences):
            if words is not None:
                self._tell(NoticeRepeated, self._named(name, kind))
            return
        manner = MANNERS[kind]
        if manner.holds_s and ends_at is None:
            ends_at = later(self._at, timedelta(seconds=manner.holds_s))
        no_push = self._no_push(kind, muted=muted)
        # Nobody waits for the acknowledgement of somebody who is not there.
        patience = timedelta(seconds=manner.ack_after_s if self.state.online else 0)
        due_at = None if no_push else later(self._at, patience)
        one = Occurrence(
            name, kind, self._at, kept_peer(peer), kept_ref(ref), seq, counts=manner.counts, ends_at=ends_at, due_at=due_at,
            no_push=no_push,
        )  # fmt: skip
        notices = self.state.notices if words is None else (*self.state.notices, Notice(name, words.title, words.body))
        self.state = replace(self.state, occurrences=(*self.state.occurrences, one), notices=notices)
        self._make_room()
        self._tell(
            Notified, self._named(name, kind), peer=one.peer, ref=one.ref, seq=seq, ends_at=ends_at, due_at=due_at,
            no_push=no_push, title=words.title if words else "", body=words.body if words else "", by=by,
            unread=self.state.unread,
        )  # fmt: skip
        if due_at is not None and due_at <= self._at:
            self._push(one)

    def notice(self, message: SendNotice) -> None:
        """Staff tells something, in the language of the phone that was registered last."""
        newest = max(self.state.phones, key=lambda phone: phone.kept_at, default=None)
        words = in_language(message.texts, newest.locale if newest else "")
        self.note(
            NotificationKind.NOTICE, cause=f"notice/{message.notice}", ref=message.notice, by=message.by, words=words
        )  # fmt: skip

    def _no_push(self, kind: NotificationKind, *, muted: bool) -> NoPush | None:
        if MANNERS[kind].delivery is Delivery.IN_APP:
            return NoPush.IN_APP
        if muted:
            return NoPush.MUTED
        return NoPush.SILENCED if kind in self.state.silent else None

    def _make_room(self) -> None:
        self.state, left_out = with_room(self.state)
        for one in left_out:
            if one.due_at is not None:
                self._tell(PushForgone, self._of(one), no_push=NoPush.OVERFLOW)

    def acknowledge(self, one: Occurrence) -> None:
        """A phone has it: nothing is pushed any more."""
        acked = replace(one, acked_at=one.acked_at or self._at, due_at=None, held=False)
        self.state = self.state.with_(acked)
        self._tell(NotificationAcked, self._of(one), after_s=_after_s(one, acked.acked_at))

    def read(self, chosen: Chosen) -> None:
        """The person has read what is open of these: phones take it away, nothing is pushed any more."""
        found = [one for one in self.state.occurrences if one.open and chosen(one)]
        for one in found:
            self.state = self.state.with_(replace(one, read_at=self._at, due_at=None, held=False))
            self._tell(NotificationRead, self._of(one), after_s=_after_s(one, self._at), unread=self.state.unread)
        self._take_back(found)

    def withdraw(self, chosen: Chosen, why: Withdrawal) -> None:
        """What is open of these is none any more."""
        found = [one for one in self.state.occurrences if one.open and chosen(one)]
        for one in found:
            self.state = self.state.with_(replace(one, withdrawn_at=self._at, withdrawal=why, due_at=None, held=False))
            self._tell(NotificationWithdrawn, self._of(one), withdrawal=why, unread=self.state.unread)
        self._take_back(found)

    def taken(self, name: str) -> None:
        """A vendor has taken a push; where that was too late, it is taken back."""
        one = next((found for found in self.state.occurrences if found.notification == name), None)
        if one is None or one.told:
            return
        self.state = self.state.with_(replace(one, told=True))
        if not one.open:
            self._silence([one])

    # --- pushes ----------------------------------------------------------------------------------------------------------

    def push_due(self) -> None:
        """The time of some occurrences has come: of those that one notice on the phone stands for, the newest is pushed."""
        due = [one for one in self.state.occurrences if one.due_at is not None and one.due_at <= self._at]
        newest = {collapse_key(one): one.notification for one in due}
        for one in due:
            if newest[collapse_key(one)] == one.notification:
                self._push(one)
            else:
                self._forgo(one, NoPush.COLLAPSED)

    def _push(self, one: Occurrence) -> None:
        if one.ends_at is not None and self._at >= one.ends_at:
            return self._forgo(one, NoPush.TOO_LATE)
        until = self.state.quiet.over_at(self._at) if self.state.quiet else None
        if until is not None:
            return self._forgo(one, NoPush.TOO_LATE) if one.ends_at and until >= one.ends_at else self._hold(one, until)
        pushes = [push for phone in self.state.phones if (push := push_of(self.state, one, phone, self._at)) is not None]
        if not pushes:
            return self._forgo(one, NoPush.NO_PHONE)
        reason = PushReason.NO_ACK if self.state.online else PushReason.OFFLINE
        self.state = self.state.with_(replace(one, due_at=None, held=False, pushed_at=self._at, reason=reason))
        self._tell(PushDecided, self._of(one), reason=reason, phones=len(pushes), after_s=_after_s(one, self._at))
        self._owe(pushes)
        return None

    def _hold(self, one: Occurrence, until: datetime) -> None:
        self.state = self.state.with_(replace(one, due_at=until, held=True))
        self._tell(PushHeld, self._of(one), until=until)

    def _forgo(self, one: Occurrence, why: NoPush) -> None:
        self.state = self.state.with_(replace(one, due_at=None, held=False, no_push=why))
        self._tell(PushForgone, self._of(one), no_push=why)

    def _owe(self, pushes: Iterable[Push]) -> None:
        for push in pushes:
            owed = OweEffect(
                **derive(self._message, f"push/{len(self.messages)}"), effect=push_id(push.occurrence, push.device),
                kind=EffectKind.PUSH, provider=provider_of(push), subject=self._user, expires_at=push.expires_at, push=push,
            )  # fmt: skip
            self.messages.append(owed)

    # --- taking back -----------------------------------------------------------------------------------------------------

    def _take_back(self, over: Iterable[Occurrence]) -> None:
        """What was pushed of these is not tried any more, and phones that show it are woken to take it away."""
        pushed = [one for one in over if one.pushed_at is not None]
        for one in pushed:
            for phone in self.state.phones:
                name = push_id(one.notification, phone.device)
                self.messages.append(WithdrawPush(**derive(self._message, f"push/{len(self.messages)}"), effect=name))
        self._silence([one for one in pushed if one.told])

    def _silence(self, over: Iterable[Occurrence]) -> None:
        """A silent push a phone for each notice that it shows, which names the occurrence, and brings the badge."""
        shown = {collapse_key(one): one for one in over}.values()
        phones = [phone for phone in self.state.phones if phone.push_token or phone.onesignal_id]
        self._owe([silent_push_of(self.state, one, phone, self._message.id, self._at) for one in shown for phone in phones])

    # --- what is told ----------------------------------------------------------------------------------------------------

    def _named(self, name: str, kind: NotificationKind) -> dict[str, Any]:
        return {"user": self._user, "notification": name, "kind": kind}

    def _of(self, one: Occurrence) -> dict[str, Any]:
        return self._named(one.notification, one.kind)

    def _tell(self, fact: type[Fact], named: dict[str, Any], **more: Any) -> None:
        self.messages.append(fact(**reply(self._message, f"told/{len(self.messages)}"), **named, **more))


def _after_s(one: Occurrence, at: datetime | None) -> float:
    return max(0.0, ((at or one.at) - one.at).total_seconds())
