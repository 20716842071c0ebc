"""What people are notified of, as data: how each kind is told (`MANNERS`), and what a push says of it, by language (`TEXTS`).

A push never says what somebody wrote, or who: it stands on a locked phone, and goes through others' machines.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.push import Urgency

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S


class NotificationKind(StrEnum):
    """What happened. Members are only ever added."""

    MESSAGE = "message"
    GIFT = "gift"
    CALL_INCOMING = "call_incoming"
    CALL_MISSED = "call_missed"
    FAVORITE_ONLINE = "favorite_online"
    CREDIT_LOW = "credit_low"
    CONSEQUENCE = "consequence"
    NOTICE = "notice"


class Delivery(StrEnum):
    """How a kind reaches its person: only in the app; by a push, too, if no phone acknowledges it in time; by a push at once;
    or by the push that lets Apple's phones ring."""

    IN_APP = "in_app"
    IN_APP_THEN_PUSH = "in_app_then_push"
    PUSH_NOW = "push_now"
    VOIP = "voip"


class Collapse(StrEnum):
    """What a phone shows of several: each, the newest of one person's, or the newest of the kind."""

    EACH = "each"
    PEER = "peer"
    KIND = "kind"


class Manner(NamedTuple):
    """How a kind is told. `ack_after_s`: so long a phone with the app open has to acknowledge it; `ttl_s`: so long vendors try
    to reach a phone; `holds_s`: it is of no use later than this (0: it always is); `counts`: it is unread until it is
    read, and the badge counts it."""

    delivery: Delivery
    ack_after_s: int = 10
    ttl_s: int = DAY_S
    holds_s: int = 0
    collapse: Collapse = Collapse.EACH
    urgency: Urgency = Urgency.NORMAL
    counts: bool = True


MANNERS: Final[Mapping[NotificationKind, Manner]] = {
    NotificationKind.MESSAGE: Manner(
        Delivery.IN_APP_THEN_PUSH, ttl_s=7 * DAY_S, collapse=Collapse.PEER, urgency=Urgency.HIGH
    ),
    NotificationKind.GIFT: Manner(Delivery.IN_APP_THEN_PUSH, ttl_s=7 * DAY_S, urgency=Urgency.HIGH),
    # A phone whose app is open shows the call, and says so, within a second or two; all others have to ring.
    NotificationKind.CALL_INCOMING: Manner(Delivery.VOIP, ack_after_s=2, urgency=Urgency.HIGH, counts=False),
    NotificationKind.CALL_MISSED: Manner(Delivery.IN_APP_THEN_PUSH, collapse=Collapse.PEER),
    NotificationKind.FAVORITE_ONLINE: Manner(
        Delivery.IN_APP_THEN_PUSH, holds_s=HOUR_S, collapse=Collapse.KIND, counts=False
    ),
    NotificationKind.CREDIT_LOW: Manner(Delivery.IN_APP, counts=False),
    NotificationKind.CONSEQUENCE: Manner(Delivery.PUSH_NOW, ack_after_s=0, ttl_s=7 * DAY_S),
    NotificationKind.NOTICE: Manner(Delivery.IN_APP_THEN_PUSH, ack_after_s=60),
}  # fmt: skip

# Somebody whose coins fall below this is told.
LOW_COINS: Final = 100

ANY_LANGUAGE: Final = "en"


class Text(NamedTuple):
    """What a push shows."""

    title: str
    body: str


# By language; a notice of staff brings its own.
TEXTS: Final[Mapping[str, Mapping[NotificationKind, Text]]] = {
    "en": {
        NotificationKind.MESSAGE: Text("New message", "Somebody wrote to you."),
        NotificationKind.GIFT: Text("A gift for you", "Somebody gave you something."),
        NotificationKind.CALL_INCOMING: Text("Incoming call", "Somebody is calling you."),
        NotificationKind.CALL_MISSED: Text("Missed call", "Somebody called you."),
        NotificationKind.FAVORITE_ONLINE: Text("A favourite is online", "Say hello now."),
        NotificationKind.CREDIT_LOW: Text("Few coins left", "Top up before your next call."),
        NotificationKind.CONSEQUENCE: Text("About your account", "Something has changed. Open the app to see what."),
    },
    "de": {
        NotificationKind.MESSAGE: Text("Neue Nachricht", "Jemand hat dir geschrieben."),
        NotificationKind.GIFT: Text("Ein Geschenk für dich", "Jemand hat dir etwas geschenkt."),
        NotificationKind.CALL_INCOMING: Text("Anruf", "Jemand ruft dich an."),
        NotificationKind.CALL_MISSED: Text("Verpasster Anruf", "Jemand hat dich angerufen."),
        NotificationKind.FAVORITE_ONLINE: Text("Ein Favorit ist online", "Sag jetzt hallo."),
        NotificationKind.CREDIT_LOW: Text("Wenige Coins übrig", "Lade vor dem nächsten Anruf auf."),
        NotificationKind.CONSEQUENCE: Text("Zu deinem Konto", "Etwas hat sich geändert. Öffne die App, um zu sehen, was."),
    },
    "es": {
        NotificationKind.MESSAGE: Text("Mensaje nuevo", "Alguien te ha escrito."),
        NotificationKind.GIFT: Text("Un regalo para ti", "Alguien te ha regalado algo."),
        NotificationKind.CALL_INCOMING: Text("Llamada", "Alguien te está llamando."),
        NotificationKind.CALL_MISSED: Text("Llamada perdida", "Alguien te ha llamado."),
        NotificationKind.FAVORITE_ONLINE: Text("Un favorito está en línea", "Salúdale ahora."),
        NotificationKind.CREDIT_LOW: Text("Te quedan pocas monedas", "Recarga antes de la próxima llamada."),
        NotificationKind.CONSEQUENCE: Text("Sobre tu cuenta", "Algo ha cambiado. Abre la app para ver qué."),
    },
}


def language_of(locale: str) -> str:
    """The language of a phone's locale (`de-AT`, `es_MX`), or the one that all understand, where there are no texts in it."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language in TEXTS else ANY_LANGUAGE


def text_of(kind: NotificationKind, locale: str) -> Text:
    """What a push of this kind says; empty of a notice, which brings its own words."""
    return TEXTS[language_of(locale)].get(kind, Text("", ""))
