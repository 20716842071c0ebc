"""The growth flow, one process on an embedded broker: cohorts with 50 rules, interaction, attribution; events a second,
exactly once.

The events are what the panel hears of calls, gifts and coins, over 50,000 users and an hour; the rules are of every kind, half
of them over counters that the events change. The limit of the same run is the same process with an empty book of rules.
"""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from schemas.ads import ATTRIBUTION, INSTALL, RecordPush, Touch, TouchKind
from schemas.ads_details import PushDetails
from schemas.interaction import PAIR, RecordView
from schemas.log.base import Message, UserId, now
from schemas.log.codec import encode
from schemas.log.entity import Entity, broadcast_keys
from schemas.pair import pair_of
from schemas.panel import (
    MEMBER,
    All,
    Attribute,
    Cohort,
    CohortBook,
    Count,
    CountAction,
    Is,
    Moment,
    Not,
    Rule,
    ShareCohorts,
    Some,
    Within,
)
from schemas.panel_counters import Counter
from schemas.user import Role, UserSignedUp
from tests.lab.bench.ground import committed, fill, ground, rate

EVENTS: Final = 400_000
USERS: Final = 50_000
RULES: Final = 50
AIM: Final = 50_000
JOINS: Final = 60_000
# What is kept of a push beside its touch.
DETAILS: Final = PushDetails(
    app_version="3.2.1", os_version="17.4.1", language="de-DE", device_category="phone", match_type="id_matching"
)
DEEDS: Final = (
    {Counter.CALLS: 1, Counter.TALKED_S: 61},
    {Counter.GIFTS_SENT: 1},
    {Counter.GIFTS_RECEIVED: 1},
    {Counter.COINS_SPENT: 60},
    {Counter.COINS_BOUGHT: 500},
)


def rules(count: int) -> tuple[Rule, ...]:
    """Rules of every kind, over all counters and several windows."""
    made: list[Rule] = []
    counters, windows = list(Counter), ("30m", "6h", "24h", "7d", "30d")
    for number in range(count):
        counter = counters[number % len(counters)]
        count_ = Count(counter, windows[number % len(windows)], at_least=1 + number % 7)
        country = Is(Attribute.COUNTRY, (f"C{number % 9}", "DE"))
        made.append(
            (
                All((count_, country)),
                Some((country, Within(Moment.SIGNED_UP, 86_400 * (1 + number)))),
                All((Not(country), count_)),
                Within(Moment.LAST_SEEN, 3_600 * (1 + number)),
            )[number % 4]
        )
    return tuple(made)


def _shares(book: CohortBook) -> Iterator[Message]:
    for key in broadcast_keys(MEMBER.partitions):
        yield ShareCohorts(id=f"share/{key}", at=now(), user=UserId(key), shared=book)


def _actions(chance: random.Random, events: int) -> Iterator[Message]:
    began = now() - timedelta(hours=1)
    for number in range(events):
        at = began + timedelta(seconds=3_600 * number / events)
        user = UserId(f"u{chance.randrange(USERS)}")
        yield CountAction(id=f"a{number}", at=at, user=user, counts=chance.choice(DEEDS))


def _views(chance: random.Random, events: int) -> Iterator[Message]:
    began = now() - timedelta(hours=1)
    for number in range(events):
        at = began + timedelta(seconds=3_600 * number / events)
        one, other = UserId(f"u{chance.randrange(USERS)}"), UserId(f"s{chance.randrange(20)}")
        yield RecordView(id=f"v{number}", at=at, pair=pair_of(one, other), user=one, peer=other)


def _measure(entity: Entity, key: str, messages: list[Message]) -> float:
    """A broker of its own, its inbox filled, and the flow over it."""
    with ground() as config:
        total = fill(config, entity.inbox, ((getattr(one, key).encode(), encode(one)) for one in messages))
        return rate(committed(config, "growth", entity.inbox), total, ["-m", "pipelines.flows.host", "growth"], config)


def _joins(chance: random.Random, pairs: int) -> list[tuple[Entity, str, Message]]:
    """Pushes and sign-ups in any order: each two make one attribution. A sign-up is heard by the phone and by the user."""
    at, told = now() - timedelta(minutes=5), []
    for number in range(pairs):
        touch = Touch(TouchKind.INSTALL, at - timedelta(hours=1), "snapchat", "Autumn", "c1", "18+", "s1", "Ad", "a1")
        push = RecordPush(id=f"p{number}", at=at, install=f"af{number}", push=f"p{number}", event_name="install", touch=touch,
                          details=DETAILS)  # fmt: skip
        user = UserId(f"u{number}")
        sign_up = UserSignedUp(id=f"s{number}", at=at, cause="x", user=user, role=Role.USER, appsflyer_id=f"af{number}")
        told += [(INSTALL, push.install, push), (INSTALL, push.install, sign_up), (ATTRIBUTION, user, sign_up)]
    chance.shuffle(told)
    return told


def _attributions(pairs: int) -> float:
    """Joins a second: until all users have heard of both."""
    with ground() as config:
        messages = _joins(random.Random(1), pairs)
        for entity in (INSTALL, ATTRIBUTION):
            fill(config, entity.inbox, ((key.encode(), encode(one)) for which, key, one in messages if which is entity))
        decided = committed(config, "growth", ATTRIBUTION.inbox)
        return rate(decided, 2 * pairs, ["-m", "pipelines.flows.host", "growth"], config) / 2


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print the rates."""
    events = int(EVENTS * scale)
    tell(f"growth flow: {events:,} events over {USERS:,} users, one process; aim {AIM:,}/s with {RULES} rules")
    found: dict[int, float] = {}
    for count in (0, RULES):
        book = CohortBook(1, tuple(Cohort(f"c{n}", f"t{n}", rule) for n, rule in enumerate(rules(count))))
        messages = [*_shares(book), *_actions(random.Random(1), events)]
        found[count] = _measure(MEMBER, "user", messages)
        tell(f"  cohorts, {count:>2} rules  {found[count]:>9,.0f} events/s")
    verdict = "reached" if found[RULES] >= AIM else "NOT reached"
    tell(f"  of the same without rules: {found[RULES] / found[0]:.2f}   (aim {AIM:,}/s: {verdict})")
    joined = _attributions(int(JOINS * scale))
    tell(f"  attribution          {joined:>9,.0f} joins/s (a push, a sign-up, the user's attribution: five records each)")
    pairs = _measure(PAIR, "pair", list(_views(random.Random(1), events)))
    tell(f"  interaction          {pairs:>9,.0f} events/s")
