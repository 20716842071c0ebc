"""The gallery: `GET /v1/gallery`, its live changes `GET /v1/gallery/stream`, and the rules by role.

The shelves live in this process, fed by the views: who comes online, is called, is blocked or tagged moves at once. To miss
nothing, open the stream first, then read pages. Errors: `no_gallery` for roles that see nobody, `cursor_invalid`.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, BackgroundTasks, FastAPI, Query, Request
from pydantic import BaseModel, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from schemas.gallery import (
    GALLERY_RULES,
    MAX_BOOST_S,
    MAX_BOOSTS,
    PAGE_LIMIT,
    SHIPPED_RULES,
    BoostKind,
    GalleryRules,
    GalleryRulesPut,
    Order,
    PutGalleryRules,
    ShowCards,
)
from schemas.log.base import UserId, new_id, now
from schemas.user import USER, USER_ID_PATTERN, Role
from serving.body import RequestBody
from serving.gallery_room import Room, Rooms, Watcher, room_of
from serving.gallery_shelf import Position
from serving.runtime.auth import Caller
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import Word
from serving.runtime.gate import Looking
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import RulesChange, RulesLook
from serving.view_store.indexes import ONLINE

router = APIRouter(tags=["gallery"])

# A stream ends after so long; the client comes back, and reads its first page anew.
STREAM_S: Final = 1_800.0
RETRY_MS: Final = 1_000


Explain = Annotated[bool, Query(description="say of each card why it stands where it stands")]


class ReasonAnswer(BaseModel):
    """A part of a position: what, and by how many seconds it lifts (negative: sinks)."""

    what: str
    seconds: float


class CardAnswer(BaseModel):
    """Somebody online. `place`: the smaller, the earlier; cards of a stream are put between those of pages by it. `why`: with
    `explain=1`."""

    user: str
    place: int
    online_s: float
    busy: bool
    name: str
    age: int | None
    country: str
    languages: list[str]
    photo: str
    tags: list[str]
    favorite: bool
    why: list[ReasonAnswer] | None = None


class GalleryAnswer(BaseModel):
    """A page. `cursor`: give it back for the next one; null: this is the last."""

    cards: list[CardAnswer]
    cursor: str | None


class BoostBody(RequestBody):
    """What lifts a card, and by how many seconds; `tag` for the kind tag only."""

    kind: BoostKind
    seconds: Annotated[int, Field(strict=True, ge=-MAX_BOOST_S, le=MAX_BOOST_S)]
    tag: Word = ""


Tags = Annotated[list[Word], Field(max_length=MAX_BOOSTS)]
# A preview looks at so many of those online, and shows so many cards.
MAX_PREVIEWED: Final = 2_000


class GalleryRulesBody(RequestBody):
    """What a role sees."""

    shows: Role
    order: Order
    boosts: Annotated[list[BoostBody], Field(max_length=MAX_BOOSTS)] = []
    show_busy: bool = True
    same_country: bool = False
    only_tags: Tags = []
    never_tags: Tags = []


class GalleryPreviewBody(RequestBody):
    """Rules that need not be in force, and whose eyes to see by."""

    rules: GalleryRulesBody
    viewer: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["ann"])]


class GalleryPreviewAnswer(BaseModel):
    """The first cards, each with why it stands where it stands. `cut`: more are online than were looked at."""

    cards: list[CardAnswer]
    cut: bool


def prepare(app: FastAPI) -> None:
    """The rooms follow the views from the beginning."""
    app.state.rooms = Rooms(app.state.views)


def _room(request: Request, caller: Caller) -> Room:
    views_of(request)
    room = room_of(request, caller.role)
    if room is None:
        raise Problem(
            403, "no_gallery", f"the role {caller.role} sees no gallery; PUT /v1/admin/gallery/{caller.role} says whom"
        )
    return room


def _cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(f"{position[0]}/{position[1]}".encode()).decode()


def _position(cursor: str) -> Position:
    try:
        ms, _, user = base64.urlsafe_b64decode(cursor.encode()).decode().partition("/")
        return int(ms), user
    except ValueError:
        raise Problem(400, "cursor_invalid", "a cursor is what the last page's `cursor` says") from None


@router.get("/v1/gallery", response_model=GalleryAnswer, responses=responses(400, 401, 403, 422, 503))
async def read_gallery(
    *,
    caller: Looking,
    request: Request,
    background: BackgroundTasks,
    cursor: Annotated[str, Query(max_length=512)] = "",
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = 20,
    explain: Explain = False,
) -> Any:
    """Your gallery, a page of it: whom the rules of your role show, in your own order."""
    room = _room(request, caller)
    after = _position(cursor) if cursor else None
    viewer = room.viewpoint(caller.user)
    positions = room.shelf.page(viewer, limit, after)
    cards = [CardAnswer(**room.card(viewer, position, explain=explain)) for position in positions]
    if cards:
        shown = tuple(UserId(user) for _, user in positions)
        command = ShowCards(id=new_id(), at=now(), viewer=UserId(caller.user), cards=shown)
        background.add_task(commands_of(request).note, command)
    return GalleryAnswer(cards=cards, cursor=_cursor(positions[-1]) if len(positions) == limit else None)


@router.get(
    "/v1/gallery/stream",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "A stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **responses(401, 403, 422, 503),
    },
)
async def follow_gallery(caller: Looking, request: Request, *, explain: Explain = False) -> EventSourceResponse:
    """Changes of your gallery, live: `card` (came, or moved), `gone`, and `again` (the rules changed: read it anew)."""
    room = _room(request, caller)
    lifetime = min(STREAM_S, caller.expires_at - time.time())
    return EventSourceResponse(_changes(room, room.open(caller.user, explain=explain), lifetime), ping=15)


async def _changes(room: Room, watcher: Watcher, lifetime_s: float) -> AsyncIterator[ServerSentEvent]:
    try:
        yield ServerSentEvent(retry=RETRY_MS)
        yield ServerSentEvent(data="{}", event="ready")
        async with asyncio.timeout(lifetime_s):
            while True:
                name, data = await watcher.changes.get()
                yield ServerSentEvent(data=data, event=name)
    except TimeoutError:
        return
    finally:
        room.close(watcher)


@router.get("/v1/admin/gallery", response_model=dict[str, GalleryRulesBody], responses=responses(401, 403, 503))
async def read_gallery_rules(_: RulesLook, request: Request) -> Any:
    """What each role sees."""
    put = views_of(request).of(GALLERY_RULES)
    found = {role: put.get(role, SHIPPED_RULES.get(role)) for role in Role}
    return {role: msgspec.to_builtins(known) for role, known in found.items() if known is not None}


@router.put("/v1/admin/gallery/{role}", response_model=GalleryRulesBody, responses=responses(400, 401, 403, 422, 503))
async def put_gallery_rules(role: Role, body: GalleryRulesBody, caller: RulesChange, request: Request) -> Any:
    """Whom a role sees from now on, in which order, lifted by what."""
    command = PutGalleryRules(id=new_id(), at=now(), role=role, rules=_rules(body), by=caller.user)
    await commands_of(request).ask(command, GalleryRulesPut)
    return body


def _rules(body: GalleryRulesBody) -> GalleryRules:
    """The rules as the log has them. Errors: Problem 422."""
    for boost in body.boosts:
        if (boost.kind is BoostKind.TAG) != bool(boost.tag):
            raise Problem(422, "boost_invalid", "a boost of kind tag names its tag; no other kind has one")
    rules: GalleryRules = msgspec.convert(body.model_dump(), GalleryRules)
    return rules


@router.post(
    "/v1/admin/gallery/{role}/preview", response_model=GalleryPreviewAnswer, responses=responses(400, 401, 403, 404, 422, 503)
)
async def preview_gallery(role: Role, body: GalleryPreviewBody, _: RulesLook, request: Request) -> Any:
    """What somebody would see if their role's rules were these; nobody is shown anything, and nothing is counted as shown."""
    views, rules = views_of(request), _rules(body.rules)
    if body.viewer not in views.of(USER):
        raise Problem(404, "user_unknown", "there is no such user")
    rooms: Rooms = request.app.state.rooms
    room = await rooms.tried(role, rules, MAX_PREVIEWED)
    viewer = room.viewpoint(body.viewer)
    cards = [CardAnswer(**room.card(viewer, one, explain=True)) for one in room.shelf.page(viewer, PAGE_LIMIT)]
    return GalleryPreviewAnswer(cards=cards, cut=views.count(ONLINE, rules.shows) > MAX_PREVIEWED)
