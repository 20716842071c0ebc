"""Chats: `POST /v1/chats/{user}/messages` writes a message, once; edits, deletes, reads, mutes; `GET /v1/chats` lists chats,
`GET /v1/chats/{user}` pages through one."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, Field

from schemas.chat import (
    CHAT,
    CHAT_BADGE,
    CHAT_MESSAGE,
    CHAT_PAGE,
    PAGE_ITEMS,
    Chat,
    ChatHidden,
    ChatItem,
    ChatMuted,
    ChatRead,
    HideChat,
    HideItem,
    ItemHidden,
    ItemKind,
    ItemPosted,
    MuteChat,
    ReadChat,
    page_key,
    side_of,
)
from schemas.chat_message import (
    MAX_TEXT,
    ChatMessage,
    ChatRefusal,
    DeleteMessage,
    EditMessage,
    MessageDeleted,
    MessageEdited,
    MessageRepeated,
    SendMessage,
)
from schemas.log.base import UserId, later, new_id, now
from schemas.log.codec import decoder_of, encode
from schemas.pair import pair_of
from schemas.profile import PROFILE
from schemas.user import USER, User
from serving.body import RequestBody
from serving.chat_item import ItemAnswer, item_answer
from serving.chat_words import findings_in, limit_of
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, IdInPath, Moment, OptionalWebUrl, UserInPath
from serving.runtime.gate import Acting, takes_part
from serving.runtime.later import NotDecided
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.views import Views
from serving.view_store.indexes import CHATS, chat_day, chat_hour

router = APIRouter(tags=["chats"])

REFUSED: Final[Refusals] = {
    ChatRefusal.SAME_USER: (409, "you cannot write to yourself"),
    ChatRefusal.CLIENT_ID_REUSED: (409, "this Idempotency-Key was used for a message to somebody else; use a new one"),
    ChatRefusal.MESSAGE_UNKNOWN: (404, "there is no such message in this chat"),
    ChatRefusal.NOT_SENDER: (403, "only who wrote a message may edit it, or take it back from both"),
    ChatRefusal.MESSAGE_DELETED: (409, "the message was deleted"),
    ChatRefusal.TOO_LATE: (409, "messages are edited within 15 minutes, and taken back from both within two days"),
    ChatRefusal.EDIT_PENDING: (409, "another edit of this message is under way; try again soon"),
    ChatRefusal.CONTACT_FORBIDDEN: (422, "messages do not say phone numbers, addresses or names at messengers (rule {rule})"),
    ChatRefusal.LINK_FORBIDDEN: (422, "messages have no such links (rule {rule})"),
    ChatRefusal.WORD_FORBIDDEN: (422, "messages do not say this (rule {rule})"),
    ChatRefusal.TOO_MANY_NEW_CHATS: (429, "new accounts begin a few chats within an hour; write to somebody new later", 600),
    ChatRefusal.SENDER_UNKNOWN: (403, "users and streamers who have signed up may write messages"),
    ChatRefusal.SENDER_BANNED: (403, "you are banned"),
    ChatRefusal.RECEIVER_UNKNOWN: (404, "there is no such user"),
    ChatRefusal.NOT_REACHABLE: (409, "you and this user cannot write to each other"),
    ChatRefusal.CHAT_UNKNOWN: (404, "there is no chat between you and this user"),
    ChatRefusal.ITEM_UNKNOWN: (404, "this chat has no item with this number"),
}
# How many days back a page of the list looks, and how many pages a page of items reads at most.
MAX_DAYS: Final = 400
MAX_PAGES: Final = 8

_fact: Final = decoder_of((ItemPosted, MessageEdited))
Seq = Annotated[int, Path(ge=1, le=2**53)]
Responses = responses(400, 401, 403, 404, 409, 422, 503)


class MessageBody(RequestBody):
    """A text, a picture, or both."""

    text: Annotated[str, Field(max_length=MAX_TEXT, pattern=r"^[^\x00]*$", examples=["hello"])] = ""
    picture_url: OptionalWebUrl = ""


class MessageAnswer(BaseModel):
    """A message has its place."""

    message: str
    seq: int


class ReadBody(RequestBody):
    """Up to which item you have read."""

    seq: Annotated[int, Field(strict=True, ge=0, le=2**53, examples=[1])]


class ReadAnswer(BaseModel):
    """Up to which item you have read, and how many are left (50: or more)."""

    seq: int
    unread: int


class MuteBody(RequestBody):
    """Whether this chat is quiet."""

    muted: bool = True


class PageAnswer(BaseModel):
    """A page, newest first; `read` and `peer_read`: up to where you, and the other, have read; `next_before` null: that was
    all."""

    items: list[ItemAnswer]
    read: int
    peer_read: int
    unread: int
    next_before: int | None = None


class ChatAnswer(BaseModel):
    """A chat: the other side, the newest item that you see, and how many you have not read (50: or more)."""

    user: str
    name: str
    photo: str
    online: bool
    seq: int
    at: datetime
    read: int
    unread: int
    muted: bool
    last: ItemAnswer | None


class ChatsAnswer(BaseModel):
    """Chats, those with the newest items first; `unread`: in all of them. `next_before` null: these were the last."""

    chats: list[ChatAnswer]
    unread: int
    next_before: datetime | None = None


# --- writing ----------------------------------------------------------------------------------------------------------------


@router.post("/v1/chats/{user}/messages", status_code=201, response_model=MessageAnswer, responses=Responses)
async def send_message(user: UserInPath, body: MessageBody, caller: Acting, key: IdempotencyKey, request: Request) -> Any:
    """Write a message. The Idempotency-Key is your own id of it: the same one again, from any of your phones, is the same
    message, however much later."""
    _check(body, request)
    message = request_id(caller.user, f"message {key}")
    at, views = now(), views_of(request)
    command = SendMessage(
        id=new_id(), at=at, message=message, sender=UserId(caller.user), receiver=UserId(user), **body.model_dump(),
        findings=findings_in(views, body.text), limit=limit_of(views, caller.user, user, at),
    )  # fmt: skip
    fact = await commands_of(request).ask(command, ItemPosted, MessageRepeated)
    if not fact.seq:  # the same message again, while the first one is under way
        raise NotDecided
    return MessageAnswer(message=message, seq=fact.seq)


@router.put("/v1/chats/{user}/messages/{message}", response_model=MessageAnswer, responses=Responses)
async def put_message(user: UserInPath, message: IdInPath, body: MessageBody, caller: Acting, request: Request) -> Any:
    """Put another text in the place of your message, within 15 minutes."""
    _check(body, request)
    sides = {"user": UserId(caller.user), "peer": UserId(user)}
    found = findings_in(views_of(request), body.text)
    command = EditMessage(id=new_id(), at=now(), message=message, **sides, **body.model_dump(), findings=found)
    fact = await commands_of(request).ask(command, MessageEdited)
    return MessageAnswer(message=message, seq=fact.seq)


@router.delete("/v1/chats/{user}/messages/{message}", status_code=204, responses=Responses)
async def remove_message(user: UserInPath, message: IdInPath, caller: Acting, request: Request) -> None:
    """Delete your message for both, within two days."""
    command = DeleteMessage(id=new_id(), at=now(), message=message, user=UserId(caller.user), peer=UserId(user))
    await commands_of(request).ask(command, MessageDeleted)


@router.delete("/v1/chats/{user}/items/{seq}", status_code=204, responses=Responses)
async def remove_item(user: UserInPath, seq: Seq, caller: Acting, request: Request) -> None:
    """Delete an item for yourself; the other still sees it."""
    command = HideItem(id=new_id(), at=now(), **_sides(caller.user, user), seq=seq)
    await commands_of(request).ask(command, ItemHidden)


@router.delete("/v1/chats/{user}", status_code=204, responses=Responses)
async def remove_chat(user: UserInPath, caller: Acting, request: Request) -> None:
    """Take a chat off your list until it has another item. Nothing in it is unread then, and nothing is deleted."""
    await commands_of(request).ask(HideChat(id=new_id(), at=now(), **_sides(caller.user, user)), ChatHidden)


@router.put("/v1/chats/{user}/read", response_model=ReadAnswer, responses=Responses)
async def put_read_mark(user: UserInPath, body: ReadBody, caller: Acting, request: Request) -> Any:
    """You have read up to this item. A mark only rises."""
    command = ReadChat(id=new_id(), at=now(), **_sides(caller.user, user), seq=body.seq)
    fact = await commands_of(request).ask(command, ChatRead)
    return ReadAnswer(seq=fact.seq, unread=fact.unread)


@router.post("/v1/chats/{user}/typing", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def send_typing(user: UserInPath, caller: Acting, request: Request) -> None:
    """You are typing: the other's phones are shown `Typing` now, and nobody keeps it."""
    views = views_of(request)
    chat: Chat | None = views.of(CHAT).get(pair_of(caller.user, user))
    if chat is not None and chat.seq and not chat.barred:
        views.hub.show_now(user, "Typing", encode({"type": "Typing", "user": caller.user}))


@router.put("/v1/chats/{user}/mute", status_code=204, responses=Responses)
async def put_mute(user: UserInPath, body: MuteBody, caller: Acting, request: Request) -> None:
    """Be left alone by this chat, or not any more; what comes is unread all the same."""
    await commands_of(request).ask(MuteChat(id=new_id(), at=now(), **_sides(caller.user, user), muted=body.muted), ChatMuted)


def prepare(app: FastAPI) -> None:
    """Phones are shown texts, which no record of the feed has."""
    views: Views = app.state.views
    views.hub.completes |= {b"ItemPosted": partial(_with_text, views), b"MessageEdited": partial(_with_text, views)}


def _with_text(views: Views, shown: bytes) -> bytes:
    """A fact of a message with its text, where this process has that already, and it was not deleted; else a phone asks."""
    fact: Any = _fact(shown)
    name = fact.message if isinstance(fact, MessageEdited) else fact.ref if fact.kind is ItemKind.MESSAGE else ""
    known: ChatMessage | None = views.of(CHAT_MESSAGE).get(name) if name else None
    if known is None or known.deleted_at is not None or (isinstance(fact, MessageEdited) and known.edited_at != fact.at):
        return shown
    return shown[:-1] + b"," + encode({"text": known.text, "picture_url": known.picture_url})[1:]


def _sides(user: str, peer: str) -> dict[str, Any]:
    return {"pair": pair_of(user, peer), "user": UserId(user), "peer": UserId(peer)}


def _check(body: MessageBody, request: Request) -> None:
    if not body.text.strip() and not body.picture_url:
        raise Problem(422, "message_empty", "a message has a text, or a picture, or both")
    hosts = {host.strip().lower() for host in request.app.state.config.picture_hosts.split(",")} - {""}
    if body.picture_url and _host(body.picture_url) not in hosts:
        raise Problem(422, "picture_host_not_allowed", "pictures stand at one of the hosts of OLO_PICTURE_HOSTS")


def _host(url: str) -> str:
    """The host of an address; empty where browsers would not agree on it, as with a backslash."""
    try:
        return "" if "\\" in url else urlsplit(url).hostname or ""
    except ValueError:
        return ""


# --- reading ----------------------------------------------------------------------------------------------------------------


@router.get("/v1/chats", response_model=ChatsAnswer, responses=responses(401, 403, 422, 503))
async def list_chats(
    caller: SignedIn, request: Request, before: Moment | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Any:
    """Your chats, those with the newest items first. A page looks at most 400 days back from `before`; so it may be short, or
    empty, and there are more all the same, while it has a `next_before`."""
    views, found = views_of(request), list[ChatAnswer]()
    badge = views.of(CHAT_BADGE).get(caller.user)
    unread = badge.unread if badge else 0
    until = before or now() + timedelta(days=1)
    since = later(until, -timedelta(days=MAX_DAYS))
    for peer, chat in _newest(views, caller.user, until, since):
        if len(found) >= limit and chat.items[-1].at < found[-1].at:  # those of one moment are on one page
            return ChatsAnswer(chats=found, unread=unread, next_before=found[-1].at)
        found.append(_chat(views, caller.user, peer, chat))
    known: User | None = views.of(USER).get(caller.user)
    more = known is not None and known.signed_up_at < since
    return ChatsAnswer(chats=found, unread=unread, next_before=since if more else None)


def _newest(views: Views, user: str, before: datetime, since: datetime) -> Iterator[tuple[str, Chat]]:
    """The chats in the user's list of that time and their other sides, the newest first: an hour at a time, of days that have
    any."""
    for back in range(MAX_DAYS + 1):
        day = later(before, -timedelta(days=back))
        if not views.rows(CHATS, chat_day(user, day), limit=1):
            continue
        last = day.replace(hour=23, minute=0, second=0, microsecond=0)
        for hour in range(24):
            keys = views.rows(CHATS, chat_hour(user, last - timedelta(hours=hour)))
            states = [(key, state) for key in keys if (state := views.of(CHAT).get(key)) is not None]
            for key, chat in sorted(states, key=lambda one: one[1].items[-1].at, reverse=True):
                if since <= chat.items[-1].at < before:
                    one, _, other = key.partition("/")
                    yield (other if one == user else one), chat


def _chat(views: Views, user: str, peer: str, chat: Chat) -> ChatAnswer:
    side = side_of(pair_of(user, peer), user)
    own, seen = chat.sides[side], [item for item in reversed(chat.items) if not item.gone >> side & 1]
    open_ = not chat.barred and takes_part(views, peer)
    profile = views.of(PROFILE).get(peer) if open_ else None
    known = views.of(USER).get(peer) if open_ else None
    return ChatAnswer(
        user=peer, name=profile.name if profile else "", photo=profile.photos[0] if profile and profile.photos else "",
        online=bool(known and known.sessions), seq=chat.seq, at=chat.items[-1].at, read=own.read, unread=own.unread,
        muted=own.muted, last=item_answer(views, seen[0], user, peer) if seen else None,
    )  # fmt: skip


@router.get("/v1/chats/{user}", response_model=PageAnswer, responses=responses(401, 403, 404, 422, 503))
async def list_items(
    user: UserInPath,
    caller: SignedIn,
    request: Request,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="only items with a lower number")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Any:
    """The items of your chat with somebody, newest first."""
    views, pair = views_of(request), pair_of(caller.user, user)
    chat: Chat | None = views.of(CHAT).get(pair)
    if chat is None or not chat.seq:
        raise refusal_of(request, ChatRefusal.CHAT_UNKNOWN)
    side = side_of(pair, caller.user)
    found, seq = list[ChatItem](), min(before or chat.seq + 1, chat.seq + 1)
    last = max(0, seq - 1 - MAX_PAGES * PAGE_ITEMS)
    for item in _items(views, pair, chat, seq, last):
        if not item.gone >> side & 1:
            found.append(item)
            if len(found) == limit:
                last = item.seq - 1
                break
    return PageAnswer(
        items=[item_answer(views, item, caller.user, user) for item in found], read=chat.sides[side].read,
        peer_read=0 if chat.barred else chat.sides[1 - side].read, unread=chat.sides[side].unread,
        next_before=last + 1 if last else None,
    )  # fmt: skip


def _items(views: Views, pair: str, chat: Chat, before: int, last: int) -> Iterator[ChatItem]:
    """The items before one, down to the one behind `last`: the newest are the chat's own, all others stand on pages."""
    own = {item.seq: item for item in chat.items}
    for number in range((before - 2) // PAGE_ITEMS, last // PAGE_ITEMS - 1, -1):
        stored = views.of(CHAT_PAGE).get(page_key(pair, number * PAGE_ITEMS + 1))
        items = {item.seq: item for item in (stored.items if stored else ())} | own
        for seq in range(min(before - 1, (number + 1) * PAGE_ITEMS), max(last, number * PAGE_ITEMS), -1):
            if seq in items:
                yield items[seq]


@router.get("/v1/chats/{user}/messages/{message}", response_model=ItemAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_message(user: UserInPath, message: IdInPath, caller: SignedIn, request: Request, response: Response) -> Any:
    """One message: what a phone asks for that was shown an item without its text."""
    views = views_of(request)
    known: ChatMessage | None = views.of(CHAT_MESSAGE).get(message)
    if known is None or not known.seq or {known.sender, known.receiver} != {caller.user, user}:
        raise refusal_of(request, ChatRefusal.MESSAGE_UNKNOWN)
    side = side_of(pair_of(known.sender, known.receiver), known.sender)
    item = ChatItem(known.sent_at, seq=known.seq, ref=message, by=side, length=len(known.text))
    response.headers["Cache-Control"] = "no-store"
    return item_answer(views, item, caller.user, user)
