"""The roulette pool: pairs users with streamers, longest waiting first.

State: who waits on either side, longest first (`schemas.video_line.Pool`). Who enters is paired at once with the one of the
other side who has waited longest and fits: neither is barred from the other, nor are they each other's last partner.
Laws: nobody waits twice; a pair leaves the pool together; between two messages no fitting pair waits.
"""

import uuid
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from schemas.billing import CallKind
from schemas.log.base import Message, Wake, derived_id
from schemas.user import Role
from schemas.video import PlaceCall
from schemas.video_line import EnterPool, Matched, Pool, PoolInbox, Waiting

NAMESPACE: Final = uuid.UUID("6c0f5f5e-9d3a-5b0e-8d0e-4f1f0c6f0a02")

Decision = tuple[Pool | None, Sequence[Message]]


def decide_pool(pool: Pool | None, message: PoolInbox) -> Decision:
    """Decide one message of the pool's inbox."""
    if isinstance(message, Wake):
        return pool, ()
    known = pool or Pool()
    without = replace(known, users=_without(known.users, message.user), streamers=_without(known.streamers, message.user))
    if not isinstance(message, EnterPool):
        return without, ()
    new = Waiting(
        message.user, message.role, message.since, message.country, message.barred, message.last_partner,
        message.tags,
    )  # fmt: skip
    is_user = message.role is Role.USER
    others = without.streamers if is_user else without.users
    partner = next((other for other in others if fits(new, other)), None)
    if partner is None:
        side = "users" if is_user else "streamers"
        waiting = tuple(sorted((*getattr(without, side), new), key=lambda waiting: waiting.since))
        return replace(without, **{side: waiting}), ()
    after = replace(
        without,
        users=_without(without.users, partner.user),
        streamers=_without(without.streamers, partner.user),
        matches=without.matches + 1,
    )
    return after, _match(message, *((new, partner) if is_user else (partner, new)))


def fits(one: Waiting, other: Waiting) -> bool:
    """Whether two may be paired."""
    barred = one.user in other.barred or other.user in one.barred
    return not barred and one.last_partner != other.user and other.last_partner != one.user


def _without(waiting: tuple[Waiting, ...], user: str) -> tuple[Waiting, ...]:
    return tuple(one for one in waiting if one.user != user)


def _match(message: EnterPool, user: Waiting, streamer: Waiting) -> tuple[Message, ...]:
    call = str(uuid.uuid5(NAMESPACE, message.id))
    matched = Matched(
        id=derived_id(message.id, 0),
        at=message.at,
        cause=message.id,
        pool=message.pool,
        call=call,
        user=user.user,
        streamer=streamer.user,
        waited_s=max(0.0, (message.at - min(user.since, streamer.since)).total_seconds()),
    )
    place = PlaceCall(
        id=derived_id(call, "place"),  # an id of its own: people who are paired again and again must not make ids grow
        at=message.at,
        call=call,
        caller=user.user,
        callee=streamer.user,
        kind=CallKind.ROULETTE,
        caller_role=user.role,
        callee_role=streamer.role,
        country=user.country,
        tags=user.tags,
    )
    return matched, place
