"""Crowds at one person: a spammer whom 100,000 have blocked, a streamer with a million followers, a pool in which 50,000 wait.

The host's core decides all of it in this process, with states in memory and no broker. What is told: the largest state, the
largest transaction, and how much of a processor it takes.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from pipelines.flows.deciders import deciders
from pipelines.runtime.core import Batch, Core
from schemas.blocklist import BlockReason, BlockUser
from schemas.favorites import AddFavorite
from schemas.log import topics
from schemas.log.base import Message, UserId
from schemas.log.codec import encode
from schemas.log.entity import Flow, log_partitions, partition_of
from schemas.user import CameOnline, Role, UserSignedUp
from schemas.video_line import JoinRoulette

T: Final = datetime(2030, 1, 1, tzinfo=UTC)
BLOCKERS, FOLLOWERS, WAITING, ARRIVING = 100_000, 1_000_000, 50_000, 1_000
BATCH: Final = 2_000
STAR: Final = UserId("star".ljust(28, "s"))


class Host:
    """A flow's core over an inbox in memory."""

    def __init__(self, flow: Flow = Flow.LIVE) -> None:
        self.core = Core(deciders(flow))
        self.inboxes: defaultdict[tuple[str, int], deque[tuple[bytes, bytes]]] = defaultdict(deque)
        self.told: Counter[str] = Counter()
        self.largest: dict[str, int] = {}
        self.decided = self.longest = 0
        self.at = T
        for inbox in self.core.deciders:
            for partition in range(log_partitions()):
                lane = self.core.open(inbox, partition)
                lane.position = 0
                lane.begin()

    def send(self, messages: Iterable[Message]) -> None:
        """Put messages where this flow hears them."""
        for message in messages:
            for route in topics.routes()[type(message)]:
                if route.topic in self.core.deciders and (key := route.key(message).encode()):
                    self.inboxes[route.topic, partition_of(key, route.partitions)].append((key, encode(message)))

    def work(self) -> None:
        """Decide until nothing is left to do at this time."""
        while self._batch():
            pass

    def _batch(self) -> bool:
        batch, room = Batch(self.core), BATCH
        batch.wake(self.at)
        for place, lane in self.core.lanes.items():
            inbox = self.inboxes[place]
            for _ in range(min(room, len(inbox))):
                batch.take(lane, lane.position, *inbox.popleft())
            room = BATCH - batch.taken
        outputs = batch.seal()
        for topic, partition, key, value in outputs:
            if topic in self.core.deciders:
                self.inboxes[topic, partition].append((key, value or b""))
            elif topic.endswith(".state"):
                self.largest[topic] = max(self.largest.get(topic, 0), len(value or b""))
            self.told[topic] += 1
        self.decided += batch.taken
        self.longest = max(self.longest, len(outputs))
        batch.merge()
        return bool(outputs or batch.taken)

    def pass_s(self, seconds: float) -> None:
        """Time passes, a second at a time."""
        for _ in range(round(seconds)):
            self.at += timedelta(seconds=1)
            self.work()


def name_of(number: int, kind: str = "u") -> UserId:
    """A user's id, as long as Firebase's."""
    return UserId(f"{kind}{number:07}".ljust(28, "x"))


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print all three."""
    _spammer(tell, int(BLOCKERS * scale))
    _star(tell, int(FOLLOWERS * scale))
    _pool(tell, int(WAITING * scale), int(ARRIVING * scale))


def _spammer(tell: Callable[[str], None], blockers: int) -> None:
    host, began = Host(), time.process_time()
    for first in range(0, blockers, BATCH):
        host.send(
            BlockUser(id=f"b{n}", at=T, user=name_of(n), peer=STAR, reason=BlockReason.SPAM)
            for n in range(first, min(first + BATCH, blockers))
        )
        host.work()
    took = time.process_time() - began
    largest = max(host.largest, key=lambda topic: host.largest[topic])
    tell(
        f"  {blockers:,} block one user: {took * 1e6 / blockers:.0f} us each; largest {largest} {host.largest[largest]:,} bytes"
    )


def _star(tell: Callable[[str], None], followers: int) -> None:
    host, began = Host(), time.process_time()
    for first in range(0, followers, BATCH):
        host.send(
            AddFavorite(id=f"f{n}", at=T, user=name_of(n), peer=STAR) for n in range(first, min(first + BATCH, followers))
        )
        host.work()
    took = time.process_time() - began
    root, page = host.largest["followers.state"], host.largest["follower_page.state"]
    tell(f"  {followers:,} follow one: {took * 1e6 / followers:.0f} us each; root {root:,} bytes, largest page {page:,}")
    host.longest, before, began = 0, host.told["feed"], time.process_time()
    host.send([CameOnline(id="on", at=T, cause="o", user=STAR)])
    host.work()
    seconds = 0
    while host.told["feed"] - before < followers and seconds < 3_600:
        host.pass_s(1)
        seconds += 1
    took = time.process_time() - began
    told = host.told["feed"] - before
    tell(
        f"  ... {told:,} are told in {seconds} s ({took:.1f} s of a processor), at most {host.longest:,} records a transaction"
    )


def _pool(tell: Callable[[str], None], waiting: int, arriving: int) -> None:
    host = Host()
    for first in range(0, waiting, BATCH):
        host.send(chain.from_iterable(_joins(name_of(n), Role.USER, T) for n in range(first, min(first + BATCH, waiting))))
        host.work()
    began, decided = time.process_time(), host.decided
    host.pass_s(60)
    took = time.process_time() - began
    each, pool = (host.decided - decided) / 60, host.largest["pool.state"]
    tell(f"  {waiting:,} wait: {each:,.0f} decisions/s, {took / 60:.0%} of a processor; pool {pool:,} bytes")
    host.send(chain.from_iterable(_joins(name_of(n, "s"), Role.STREAMER, host.at) for n in range(arriving)))
    host.work()
    at_once, seconds = host.told["pool.events"], 0
    while host.told["pool.events"] < arriving and seconds < 120:
        host.pass_s(1)
        seconds += 1
    tell(f"  ... {arriving:,} streamers come at once: {at_once:,} paired at once, all within {seconds} s")


def _joins(user: UserId, role: Role, at: datetime) -> tuple[Message, ...]:
    return (
        UserSignedUp(id=f"{user}/s", at=at, cause="x", user=user, role=role),
        CameOnline(id=f"{user}/o", at=at, cause="x", user=user),
        JoinRoulette(id=f"{user}/j", at=at, user=user),
    )
