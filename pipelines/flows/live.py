"""The live flow: users, lines, calls, roulette, clips, tariffs, bills, gifts and blocks, decided exactly once.

`python -m pipelines.flows.live --slot N --metrics-port P`; start more slots to share the partitions.
"""

from infra.config import Config
from pipelines import (
    billing_bill,
    billing_tariffs,
    blocklist,
    favorites,
    gift,
    outbox,
    profile,
    settings,
    user,
    video_call,
    video_clip,
    video_line,
    video_pool,
    video_room,
)
from pipelines.flows.process import arguments, start
from pipelines.runtime.core import Core, Decider
from pipelines.runtime.worker import Worker
from schemas.log import topics

NAME = "live"

DECIDERS = (
    Decider(topics.USER, user.decide),
    Decider(topics.LINE, video_line.decide),
    Decider(topics.CALL, video_call.decide),
    Decider(topics.POOL, video_pool.decide),
    Decider(topics.CLIP, video_clip.decide),
    Decider(topics.ROOM, video_room.decide),
    Decider(topics.TARIFFS, billing_tariffs.decide),
    Decider(topics.BILL, billing_bill.decide),
    Decider(topics.GIFT, gift.decide),
    Decider(topics.GIFT_ITEM, gift.decide_item),
    Decider(topics.BLOCKS, blocklist.decide),
    Decider(topics.RECORD, blocklist.decide_record),
    Decider(topics.RULEBOOK, blocklist.decide_rules),
    Decider(topics.OUTBOX, outbox.decide),
    Decider(topics.PROFILE, profile.decide),
    Decider(topics.PRIVATE_PROFILE, profile.decide_private),
    Decider(topics.SETTINGS, settings.decide),
    Decider(topics.FAVORITES, favorites.decide),
    Decider(topics.FOLLOWERS, favorites.decide_followers),
)


def build(slot: int, config: Config) -> Worker:
    """A worker of this flow, connected."""
    return Worker(NAME, slot, Core(DECIDERS), config)


if __name__ == "__main__":
    start(NAME, build, arguments())
