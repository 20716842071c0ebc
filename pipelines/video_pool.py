"""The roulette pool: pairs users with streamers, longest waiting first.

State: who waits on either side, longest first (`schemas.video_line.Pool`). Who enters is paired at once with the one of the
other side who has waited longest and fits: neither has blocked the other, nor did the two talk to each other last, less than
APART_FOR ago. Who finds no partner stays if there is room; a user who has waited longer takes the room of the newest. The
others ask again by themselves.
Laws: nobody waits twice; a pair leaves the pool together; behind a message no pair waits in it that
fits at the message's time; who is turned away has not waited longer than anybody of the same side inside.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from schemas.billing_rules import CallKind
from schemas.log.base import Message, Wake, later, reply, same_fields
from schemas.log.codec import encode
from schemas.user import MAX_BLOCKS, Role
from schemas.video import PlaceCall
from schemas.video_line import (
    APART_FOR,
    MAX_SIDE_BYTES,
    MAX_WAITING,
    EnterPool,
    Matched,
    Pool,
    PoolInbox,
    Waiting,
    WaitingFields,
    mark_of,
)

NAMESPACE: Final = uuid.UUID("6c0f5f5e-9d3a-5b0e-8d0e-4f1f0c6f0a02")

Decision = tuple[Pool | None, Sequence[Message]]


def decide_pool(pool: Pool | None, message: PoolInbox) -> Decision:
    """Decide one message of the pool's inbox."""
    if isinstance(message, Wake):
        return pool, ()
    before = pool or Pool()
    others = _without(before, message.user)
    if not isinstance(message, EnterPool):
        return (pool if others == before else others), ()
    new = _weighed(Waiting(**same_fields(message, Waiting)), message)
    is_user = new.role is Role.USER
    partner = next((other for other in (others.streamers if is_user else others.users) if fits(new, other, message.at)), None)
    if partner is None:
        after = _wait(others, new)
        return (pool if after == before else after), ()
    after = replace(_without(others, partner.user), matches=others.matches + 1)
    return after, _match(message, *((new, partner) if is_user else (partner, new)))


def _wait(pool: Pool, new: Waiting) -> Pool:
    if new.role is Role.USER:
        return replace(pool, users=_longest_first((*pool.users, new)))
    return replace(pool, streamers=_longest_first((*pool.streamers, new)))


def _weighed(new: Waiting, message: EnterPool) -> Waiting:
    """With the marks of those whom an older line names, and with what it takes in the state: the number and a comma, too."""
    if message.barred:
        new = replace(new, bars=tuple(sorted({*new.bars, *map(mark_of, message.barred)}))[:MAX_BLOCKS])
    return replace(new, weight=len(encode(replace(new, weight=MAX_SIDE_BYTES))) + 1)


def _longest_first(waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """Those who have waited longest, as many as there is room for."""
    waiting, room = tuple(sorted(waiting, key=lambda one: (one.since, one.user))), MAX_SIDE_BYTES - 2
    for number, one in enumerate(waiting):
        room -= one.weight or len(encode(one)) + 1  # without: of an older state
        if room < 0 or number >= MAX_WAITING:
            return waiting[:number]
    return waiting


def fits(one: WaitingFields, other: WaitingFields, at: datetime) -> bool:
    """Whether two may be paired at `at`. Who have just met may again when either has met somebody else, or after APART_FOR."""
    barred = mark_of(one.user) in other.bars or mark_of(other.user) in one.bars
    just_met = one.last_partner == other.user and other.last_partner == one.user
    return not barred and not (just_met and _is_recent(one.met_at, at) and _is_recent(other.met_at, at))


def _is_recent(met_at: datetime | None, at: datetime) -> bool:
    return met_at is not None and at < later(met_at, APART_FOR)


def _without(pool: Pool, user: str) -> Pool:
    users = tuple(one for one in pool.users if one.user != user)
    return replace(pool, users=users, streamers=tuple(one for one in pool.streamers if one.user != user))


def _match(message: EnterPool, user: Waiting, streamer: Waiting) -> tuple[Message, ...]:
    call = str(uuid.uuid5(NAMESPACE, message.id))
    waited_s = max(0.0, (message.at - min(user.since, streamer.since)).total_seconds())
    matched = Matched(
        **reply(message), pool=message.pool, call=call, user=user.user, streamer=streamer.user, waited_s=waited_s
    )  # fmt: skip
    place = PlaceCall(
        id=f"{call}/place",  # an id of its own: people who are paired again and again must not make ids grow
        at=message.at,
        call=call,
        caller=user.user,
        callee=streamer.user,
        kind=CallKind.ROULETTE,
        caller_role=user.role,
        callee_role=streamer.role,
        country=user.country,
        tags=user.tags,
        price_class=streamer.price_class,
        caller_device=user.device,
        callee_device=streamer.device,
    )
    return matched, place
