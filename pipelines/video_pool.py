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
from schemas.log.base import Message, Wake, reply, same_fields
from schemas.user import Role
from schemas.video import PlaceCall
from schemas.video_line import EnterPool, Matched, Pool, PoolInbox, Waiting

NAMESPACE: Final = uuid.UUID("6c0f5f5e-9d3a-5b0e-8d0e-4f1f0c6f0a02")

Decision = tuple[Pool | None, Sequence[Message]]


def decide_pool(pool: Pool | None, message: PoolInbox) -> Decision:
    """Decide one message of the pool's inbox."""
    if isinstance(message, Wake):
        return pool, ()
    others = _without(pool or Pool(), message.user)
    if not isinstance(message, EnterPool):
        return others, ()
    new = Waiting(**same_fields(message, Waiting))
    is_user = new.role is Role.USER
    partner = next((other for other in (others.streamers if is_user else others.users) if fits(new, other)), None)
    if partner is None:
        return _wait(others, new), ()
    after = replace(_without(others, partner.user), matches=others.matches + 1)
    return after, _match(message, *((new, partner) if is_user else (partner, new)))


def _wait(pool: Pool, new: Waiting) -> Pool:
    if new.role is Role.USER:
        return replace(pool, users=_longest_first((*pool.users, new)))
    return replace(pool, streamers=_longest_first((*pool.streamers, new)))


def _longest_first(waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    return tuple(sorted(waiting, key=lambda one: one.since))


def fits(one: Waiting, other: Waiting) -> bool:
    """Whether two may be paired."""
    barred = one.user in other.barred or other.user in one.barred
    return not barred and one.last_partner != other.user and other.last_partner != one.user


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
    )
    return matched, place
