"""Notifications: `GET /v1/notifications`, `POST /v1/notifications/{notification}/ack`, preferences at
`/v1/users/me/notification-preferences`; staff asks why somebody was pushed or not, and tells a user something:
`/v1/admin/notifications/{user}`."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, Field

from infra import cron
from schemas.log.base import UserId, new_id, now
from schemas.notification import (
    NOTIFICATION,
    AckNotification,
    NoticeRepeated,
    NotificationAcked,
    NotificationPreferencesPut,
    NotificationRefusal,
    Notified,
    PutNotificationPreferences,
    SendNotice,
)
from schemas.notification_kinds import MANNERS, NotificationKind, Text, text_of
from schemas.notification_quiet import QuietHours
from schemas.notification_state import (
    MAX_LANGUAGES,
    NoPush,
    NoticeText,
    Notifications,
    Occurrence,
    PushReason,
    Withdrawal,
)
from schemas.outbox import OUTBOX, Effect
from schemas.push import push_id
from schemas.user import UserRefusal
from serving.body import RequestBody
from serving.notice_words import NoticeTextBody, each_language_once
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, IdInPath, Moment, UserInPath
from serving.runtime.gate import Acting, unless_erased
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import USER_ERASED, Refusals, refusal_of
from serving.runtime.staff import PeopleChange, PeopleLook
from serving.runtime.views import Views
from serving.runtime.wall import WallClock, ZoneName, clock_of, minute_of, offsets_of

router = APIRouter(tags=["notifications"])

REFUSED: Final[Refusals] = {
    NotificationRefusal.PERSON_ERASED: USER_ERASED,
    NotificationRefusal.NOTIFICATION_UNKNOWN: (404, "you have no such notification, or 50 newer ones have come since"),
}


class NotificationAnswer(BaseModel):
    """An occurrence: what happened, by whom (`peer`), what of (`ref`, `seq`), its words in the language that was asked for, and
    where it stands. `unread`: the badge counts it."""

    notification: str
    kind: NotificationKind
    at: datetime
    peer: str
    ref: str
    seq: int
    title: str
    body: str
    unread: bool
    acked_at: datetime | None
    read_at: datetime | None
    withdrawn: Withdrawal | None


class NotificationsAnswer(BaseModel):
    """A page, newest first; `unread`: of all (50: or more). `next_before` null: that was all."""

    notifications: list[NotificationAnswer]
    unread: int
    next_before: datetime | None = None


class QuietHoursBody(RequestBody):
    """From when to when nobody pushes you, on the wall of your zone."""

    begins: WallClock
    ends: WallClock
    zone: ZoneName


class NotificationPreferencesBody(RequestBody):
    """Kinds for which you are never pushed, and your quiet hours: what comes in these is pushed when they are over, unless you
    have seen it by then."""

    silent: Annotated[list[str], Field(max_length=32, examples=[["favorite_online"]])] = []
    quiet: Annotated[
        QuietHoursBody | None, Field(examples=[{"begins": "22:00", "ends": "07:00", "zone": "Europe/Berlin"}])
    ] = None  # fmt: skip


class NotificationPreferencesAnswer(BaseModel):
    """Your preferences; `kinds`: all that there are."""

    silent: list[str]
    quiet: QuietHoursBody | None
    kinds: list[str]


class NoticeBody(RequestBody):
    """A notice; its first text is for all other languages."""

    texts: Annotated[list[NoticeTextBody], Field(min_length=1, max_length=MAX_LANGUAGES), AfterValidator(each_language_once)]


class NoticeAnswer(BaseModel):
    """The occurrence that the notice is for this user."""

    notification: str


class PushAnswer(BaseModel):
    """How a push to one phone stands, as long as the outbox remembers it."""

    device: str
    status: str
    provider: str
    attempts: int
    http_status: int


class TimelineStepAnswer(BaseModel):
    """One step of an occurrence: when, and in words."""

    at: datetime
    step: str


class TimelineAnswer(BaseModel):
    """An occurrence and why it was pushed, or was not. `reason` with `pushed_at`: it was; `no_push`: it was not; neither: that
    was not decided yet, and `due_at` says when it will be, or it was acknowledged, read or withdrawn before."""

    notification: str
    user: str
    kind: NotificationKind
    delivery: str
    reason: PushReason | None
    no_push: NoPush | None
    due_at: datetime | None
    pushed_at: datetime | None
    steps: list[TimelineStepAnswer]
    pushes: list[PushAnswer]


# --- one's own --------------------------------------------------------------------------------------------------------------


@router.get("/v1/notifications", response_model=NotificationsAnswer, responses=responses(401, 403, 422, 503))
async def list_notifications(
    caller: SignedIn,
    request: Request,
    before: Moment | None = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 50,
    locale: Annotated[str, Query(max_length=64, description="such as de-AT; titles and bodies are in its language")] = "en",
) -> Any:
    """Your newest notifications (50 are remembered), newest first."""
    found = _of(views_of(request), caller.user)
    shown = list[NotificationAnswer]()
    newest = sorted(found.occurrences, key=lambda one: one.at, reverse=True)
    for one in (one for one in newest if before is None or one.at < before):
        if len(shown) >= limit and one.at < shown[-1].at:  # those of one moment are on one page
            return NotificationsAnswer(notifications=shown, unread=found.unread, next_before=shown[-1].at)
        shown.append(_answer(found, one, locale))
    return NotificationsAnswer(notifications=shown, unread=found.unread)


@router.post("/v1/notifications/{notification}/ack", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def acknowledge_notification(notification: IdInPath, caller: Acting, request: Request) -> None:
    """Your phone has it: nothing is pushed for it any more. What is no item of a chat is read by that; items of chats are
    read by their chat's read mark."""
    command = AckNotification(id=new_id(), at=now(), user=UserId(caller.user), notification=notification)
    await commands_of(request).ask(command, NotificationAcked)


@router.get(
    "/v1/users/me/notification-preferences", response_model=NotificationPreferencesAnswer, responses=responses(401, 403, 503)
)
async def read_notification_preferences(caller: SignedIn, request: Request) -> Any:
    """What you want to be pushed, and when."""
    found = _of(views_of(request), caller.user)
    return _preferences(found.silent, found.quiet)


@router.put(
    "/v1/users/me/notification-preferences", response_model=NotificationPreferencesAnswer,
    responses=responses(400, 401, 403, 404, 422, 503),
)  # fmt: skip
async def put_notification_preferences(body: NotificationPreferencesBody, caller: Acting, request: Request) -> Any:
    """Say what you want to be pushed, and when. Without `quiet` there are no quiet hours."""
    if unknown := [kind for kind in body.silent if kind not in list(NotificationKind)]:
        raise Problem(
            422, "kind_unknown", f"there is no kind {unknown[0][:40]!r}; there are {', '.join(NotificationKind)}"
        )  # fmt: skip
    silent = tuple(kind for kind in NotificationKind if kind in body.silent)
    quiet = await asyncio.to_thread(_quiet, body.quiet) if body.quiet else None
    command = PutNotificationPreferences(id=new_id(), at=now(), user=UserId(caller.user), silent=silent, quiet=quiet)
    fact = await commands_of(request).ask(command, NotificationPreferencesPut)
    return _preferences(fact.silent, fact.quiet)


def _quiet(body: QuietHoursBody) -> QuietHours:
    """Quiet hours with what the zone's clocks will show. Errors: Problem 422."""
    if body.begins == body.ends:
        raise Problem(422, "quiet_hours_empty", "quiet hours begin and end at different times; leave `quiet` out for none")
    return QuietHours(minute_of(body.begins), minute_of(body.ends), body.zone, offsets_of(body.zone), cron.ZONES)


def _preferences(silent: tuple[NotificationKind, ...], quiet: QuietHours | None) -> NotificationPreferencesAnswer:
    shown = None
    if quiet is not None:
        shown = QuietHoursBody(begins=clock_of(quiet.begins), ends=clock_of(quiet.ends), zone=quiet.zone)
    return NotificationPreferencesAnswer(silent=list(silent), quiet=shown, kinds=list(NotificationKind))


def _of(views: Views, user: str) -> Notifications:
    found: Notifications | None = views.of(NOTIFICATION).get(user)
    return found or Notifications()


def _answer(found: Notifications, one: Occurrence, locale: str) -> NotificationAnswer:
    notice = next((own for own in found.notices if own.notification == one.notification), None)
    words = Text(notice.title, notice.body) if notice else text_of(one.kind, locale)
    return NotificationAnswer(
        notification=one.notification, kind=one.kind, at=one.at, peer=one.peer, ref=one.ref, seq=one.seq, title=words.title,
        body=words.body, unread=one.unread, acked_at=one.acked_at, read_at=one.read_at, withdrawn=one.withdrawal,
    )  # fmt: skip


# --- staff ------------------------------------------------------------------------------------------------------------------


@router.post(
    "/v1/admin/notifications/{user}", status_code=201, response_model=NoticeAnswer,
    responses=responses(400, 401, 403, 404, 422, 503),
)  # fmt: skip
async def send_notice(user: UserInPath, body: NoticeBody, caller: PeopleChange, key: IdempotencyKey, request: Request) -> Any:
    """Tell a user something, once under this key. The phone that was registered last gives the language."""
    if unless_erased(request, user) is None:
        raise refusal_of(request, UserRefusal.USER_UNKNOWN, user=user)
    notice = request_id(caller.user, f"notice {key}")
    texts = tuple(NoticeText(one.language, one.title, one.body) for one in body.texts)
    command = SendNotice(id=new_id(), at=now(), user=UserId(user), notice=notice, texts=texts, by=caller.user)
    fact = await commands_of(request).ask(command, Notified, NoticeRepeated)
    return NoticeAnswer(notification=fact.notification)


@router.get(
    "/v1/admin/notifications/{user}/{notification}", response_model=TimelineAnswer, responses=responses(401, 403, 404, 422, 503)
)
async def read_notification(user: UserInPath, notification: IdInPath, _: PeopleLook, request: Request) -> Any:
    """What became of a user's notification, step by step: why there was a push, or why not."""
    views = views_of(request)
    found = _of(views, user)
    one = next((one for one in found.occurrences if one.notification == notification), None)
    if one is None:
        raise refusal_of(request, NotificationRefusal.NOTIFICATION_UNKNOWN)
    pushes = [
        PushAnswer(
            device=phone.device, status=effect.status, provider=effect.provider, attempts=effect.attempt,
            http_status=effect.http_status,
        )
        for phone in found.phones
        if (effect := _effect(views, one, phone.device)) is not None
    ]  # fmt: skip
    return TimelineAnswer(
        notification=one.notification, user=user, kind=one.kind, delivery=MANNERS[one.kind].delivery, reason=one.reason,
        no_push=one.no_push, due_at=one.due_at, pushed_at=one.pushed_at, pushes=pushes,
        steps=[TimelineStepAnswer(at=at, step=step) for at, step in sorted(_steps(one), key=lambda step: step[0])],
    )  # fmt: skip


def _effect(views: Views, one: Occurrence, device: str) -> Effect | None:
    effect: Effect | None = views.of(OUTBOX).get(push_id(one.notification, device))
    return effect


def _steps(one: Occurrence) -> Iterator[tuple[datetime, str]]:
    yield one.at, "told on the feed"
    if one.acked_at is not None:
        yield one.acked_at, "acknowledged by a phone"
    if one.pushed_at is not None:
        why = "no phone was there" if one.reason is PushReason.OFFLINE else "no phone had acknowledged it in time"
        yield one.pushed_at, f"pushed: {why}"
    if one.due_at is not None:
        yield one.due_at, "a push is decided, as quiet hours are over" if one.held else "a push is decided"
    if one.read_at is not None:
        yield one.read_at, "read"
    if one.withdrawn_at is not None:
        yield one.withdrawn_at, f"withdrawn: {one.withdrawal}"
