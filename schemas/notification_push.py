"""What a push of an occurrence says to one phone: words, badge, and how long it is of use.

Occurrences of one collapse key are one notice on a phone, which the next one replaces. A silent push takes a notice away.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from schemas.log.base import later
from schemas.notification_kinds import MANNERS, Collapse, Delivery, Text, text_of
from schemas.notification_state import NoticeText, Notifications, Occurrence, Phone, digest_of
from schemas.push import Push, PushChannel, PushPlatform

# A phone that was off for longer has nothing to take back: what it shows then comes from the app.
TAKEN_BACK_FOR: Final = timedelta(days=1)


def collapse_key(one: Occurrence) -> str:
    """Occurrences of one key are one notice."""
    match MANNERS[one.kind].collapse:
        case Collapse.EACH:
            return one.notification
        case Collapse.PEER:
            return f"{one.kind}/{digest_of(one.peer)}"
        case Collapse.KIND:
            return str(one.kind)


def push_of(state: Notifications, one: Occurrence, phone: Phone, at: datetime) -> Push | None:
    """What this phone is pushed; None: it has no address for it. Only Apple's phones ring by a token of their own."""
    manner = MANNERS[one.kind]
    rings = manner.delivery is Delivery.VOIP and phone.platform is PushPlatform.IOS and bool(phone.voip_token)
    token, subscription = (phone.voip_token, "") if rings else (phone.push_token, phone.onesignal_id)
    if not token and not subscription:
        return None
    words = next((found for found in state.notices if found.notification == one.notification), None)
    text = Text(words.title, words.body) if words else text_of(one.kind, phone.locale)
    named = {"kind": one.kind.value, "notification": one.notification, "peer": one.peer, "ref": one.ref}
    return Push(
        occurrence=one.notification, device=phone.device, channel=PushChannel.VOIP if rings else PushChannel.ALERT, token=token,
        platform=phone.platform, expires_at=one.ends_at or later(at, timedelta(seconds=manner.ttl_s)), title=text.title,
        body=text.body, badge=state.unread, collapse_key=collapse_key(one), urgency=manner.urgency,
        data={name: value for name, value in named.items() if value}, subscription=subscription,
    )  # fmt: skip


def silent_push_of(state: Notifications, one: Occurrence, phone: Phone, name: str, at: datetime) -> Push:
    """What takes the notice away from this phone, and brings the badge. `name`: of what has ended the occurrence."""
    key = collapse_key(one)
    return Push(
        occurrence=f"{one.notification}/over/{digest_of(name)}", device=phone.device, channel=PushChannel.ALERT,
        token=phone.push_token, platform=phone.platform, expires_at=later(at, TAKEN_BACK_FOR), badge=state.unread,
        collapse_key=f"{key}/over", data={"withdrawn": one.notification, "collapse": key}, subscription=phone.onesignal_id,
    )  # fmt: skip


def in_language(texts: Sequence[NoticeText], locale: str) -> Text:
    """A notice in a phone's language, or in its first one."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    found = next((one for one in texts if one.language.lower() == language), texts[0])
    return Text(found.title, found.body)
