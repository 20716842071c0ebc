"""Growth in the simulator: pushes, sign-ups, consents, purchases, calls, gifts, views, tags, cohort and postback rules, and
erasures, in every order, with crashes, lost commits and repeats.

Laws: the log is the fold of its inboxes, record by record (so windows, cohorts and affinity are what an undisturbed run makes
of the same messages); nothing waits for ever; a postback is due once, and its user had consented; of whoever was erased
there is nothing personal in any state, no cohort, no tag, and nobody is told any more.

`python -m tests.lab.simulated_growth 2000` plays so many seeds and prints the counts.
"""

import random
import re
import sys
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from pipelines.flows.deciders import decider_of, deciders
from pipelines.runtime.core import Batch, Core, Decider, Output
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from schemas.ads import ATTRIBUTION, PutTracking, RecordPush, ShareHashes, Touch, TouchKind
from schemas.balance import EntryKind, EntryRecorded, Reason, coins_account
from schemas.billing_rules import CallKind
from schemas.blocklist import BlockReason, UserBlocked
from schemas.chat import ItemPosted
from schemas.chat_message import ChatRefusal, MessageRefused
from schemas.gift import GiftSent
from schemas.interaction import RecordView
from schemas.log import topics
from schemas.log.base import Message, UserId
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.entity import DEFAULT_PARTITIONS, Entity, Flow, broadcast_keys, partition_of
from schemas.log.personal import blank
from schemas.log.positions import POSITION, of_entity
from schemas.notification_state import NoticeText
from schemas.outbox import OUTBOX, EffectDue, ForgetEffects, OweEffect, delete_account_id
from schemas.outreach import RECIPIENT, Campaign, OpeningRefused, OpeningsEnded, OpeningText, PutCampaign
from schemas.pair import pair_of
from schemas.panel import Cohort, Count, Member, Moment, Not, PutCohort, PutTag, RemoveCohort, RemoveTag, Within
from schemas.panel_counters import Counter
from schemas.postback import BOOK, Consent, ConversionKind, PostbackRule, Provider, PutPostbackRules, Value
from schemas.user import CameOnline, Role, UserBanned, UserErased, UserSignedUp, UserUnbanned, WentOffline
from schemas.video import CallEnded, EndReason
from tests.lab.simulated_money import report

USERS = tuple(map(UserId, ("ann", "bob", "cat")))
STREAMERS = tuple(map(UserId, ("sue", "tia")))
SENDS = 60
ERASED_SHARE = 0.02
# Who was erased does nothing any more; what was on its way comes.
UNDER_WAY = timedelta(hours=12)
WORD = re.compile(r"\w+")
DECIDERS = (*deciders(Flow.GROWTH), decider_of(OUTBOX))
RULES = (
    PostbackRule(ConversionKind.SIGN_UP, Provider.SNAPCHAT, "SIGN_UP", Consent.ADS, "snapchat"),
    PostbackRule(ConversionKind.PURCHASE, Provider.SNAPCHAT, "PURCHASE", Consent.ADS, "snapchat", Value("EUR", 0, 10_000)),
    PostbackRule(ConversionKind.FIRST_CALL, Provider.APPSFLYER, "call", Consent.ADS),
    PostbackRule(ConversionKind.FIRST_GIFT, Provider.AMPLITUDE, "gift", Consent.ANALYTICS),
    PostbackRule(ConversionKind.FIRST_MESSAGE, Provider.AMPLITUDE, "message", Consent.ANALYTICS),
)
COHORTS = (
    Cohort("buyers", "buyer", Count(Counter.COINS_BOUGHT, "24h", at_least=1)),
    Cohort("quiet", "quiet", Not(Count(Counter.CALLS, "3d", at_least=1))),
    Cohort("new", "new", Within(Moment.SIGNED_UP, 86_400)),
)


def records_of(message: Message) -> Iterator[Output]:
    """The records that the log would have of a message: a command in its inbox, another flow's fact where it is heard here."""
    heard = {decider.entity.inbox for decider in DECIDERS}
    for route in topics.routes()[type(message)]:
        if route.topic in heard and (key := route.key(message).encode()):
            yield Output(route.topic, partition_of(key, route.partitions), key, encode(message))


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Rules first, or late; then everybody does everything."""
    at = EPOCH
    signed_up: set[str] = set()
    erased: dict[str, datetime] = {}
    for n in range(SENDS):
        hours = chance.random() < 0.1
        passed = timedelta(seconds=chance.expovariate(1 / (20_000 if hours else 60)))
        at += passed
        yield Step("pass", seconds=passed.total_seconds())
        late = timedelta(seconds=chance.choice((0, 0, 0, 30, 500, 700)))
        message = said(chance, f"m{n}", at - late, signed_up)
        gone = {user for user, erased_at in erased.items() if at - erased_at > UNDER_WAY}
        if message is not None and gone.isdisjoint(WORD.findall(encode(message).decode())):
            yield from records_of(message)
        if chance.random() < ERASED_SHARE:
            user = chance.choice((*USERS, *STREAMERS))
            erased.setdefault(user, at)
            yield from _erase(f"e{n}", at, user)


def said(chance: random.Random, name: str, at: datetime, signed_up: set[str]) -> Message | None:
    """One message, by chance; None: it would make no sense yet. `signed_up` is kept up to date."""
    user, streamer = chance.choice(USERS), chance.choice(STREAMERS)
    makers: dict[str, tuple[int, Callable[[], Message | None]]] = {
        "rules": (3, lambda: PutPostbackRules(id=name, at=at, book=BOOK, rules=RULES)),
        "cohort": (5, lambda: PutCohort(id=name, at=at, book="cohorts", cohort=chance.choice(COHORTS))),
        "uncohort": (1, lambda: RemoveCohort(id=name, at=at, book="cohorts", cohort="new")),
        "push": (8, lambda: _push(chance, name, at, user)),
        "sign up": (14, lambda: _sign_up(name, at, chance.choice((*USERS, *STREAMERS)), signed_up)),
        "tracking": (8, lambda: _tracking(chance, name, at, user)),
        "hashes": (3, lambda: ShareHashes(id=name, at=at, user=user, email_sha256="a" * 64)),
        "buy": (14, lambda: _bought(name, at, user) if user in signed_up else None),
        "call": (14, lambda: _called(chance, name, at, (user, streamer)) if user in signed_up else None),
        "gift": (8, lambda: GiftSent(id=name, at=at, cause="x", gift=name, sender=user, receiver=streamer, item="rose",
                                     price_coins=10, share_coins=4) if user in signed_up else None),
        "message": (8, lambda: ItemPosted(id=name, at=at, cause="x", pair=pair_of(user, streamer), user=user, peer=streamer,
                                          seq=1, ref=name) if user in signed_up else None),
        "view": (8, lambda: RecordView(id=name, at=at, pair=pair_of(user, streamer), user=user, peer=streamer)),
        "block": (2, lambda: UserBlocked(id=name, at=at, cause="x", user=user, peer=streamer, reason=BlockReason.SPAM)),
        "tag": (3, lambda: chance.choice((PutTag, RemoveTag))(id=name, at=at, user=user, tag="vip", by="root")),
        "online": (6, lambda: CameOnline(id=name, at=at, cause="x", user=chance.choice((user, streamer)))),
        "offline": (3, lambda: WentOffline(id=name, at=at, cause="x", user=streamer, online_s=1.0)),
        "ban": (2, lambda: UserBanned(id=name, at=at, cause="x", user=chance.choice((user, streamer)), reason="rude")),
        "unban": (2, lambda: UserUnbanned(id=name, at=at, cause="x", user=chance.choice((user, streamer)))),
        "not sent": (2, lambda: MessageRefused(id=name, at=at, cause="x", message=name, sender=streamer, receiver=user,
                                               refusal=ChatRefusal.SENDER_BANNED, campaign="greet")),
        "campaign": (6, lambda: PutCampaign(id=name, at=at, book="outreach", campaign=_campaign(chance), people=3)),
        "reply": (3, lambda: ItemPosted(id=name, at=at, cause="x", pair=pair_of(user, streamer), user=user, peer=streamer,
                                        seq=2, ref=name) if user in signed_up else None),
    }  # fmt: skip
    return makers[chance.choices(list(makers), [weight for weight, _ in makers.values()])[0]][1]()


def _campaign(chance: random.Random) -> Campaign:
    """A notice to buyers, or an opening by those who are new and online; they are paused and go on by chance."""
    runs = chance.random() < 0.8
    if chance.random() < 0.5:
        pace = chance.choice((0.001, 1.0))
        return Campaign("news", "buyers", runs, notice=(NoticeText("en", "Hello", "How are you?"),), pace_per_s=pace)
    return Campaign("greet", "quiet", runs, opening=(OpeningText("en", "hello"),), writers="new", delay_s=30, each=2)


def _outreach(log: Log, erased: set[str]) -> list[str]:
    """Nobody is told twice, or written to twice by the same, or behind a reply."""
    decode, told, over = decoder_of(RECIPIENT.facts), Counts[tuple[str, ...]](), set[tuple[str, str]]()
    broken: list[str] = []
    for _, _, _, value in log.read(RECIPIENT.events):
        fact: Any = decode(value or b"")
        if fact.user in erased or isinstance(fact, OpeningRefused):
            continue
        told[(fact.campaign, fact.user, getattr(fact, "peer", ""), type(fact).__name__)] += 1
        if isinstance(fact, OpeningsEnded):
            over.add((fact.campaign, fact.user))
        elif (fact.campaign, fact.user) in over:
            broken.append(f"{fact} behind the end")
    return broken + [f"{what} {times} times" for what, times in told.items() if times > 1]


def _erase(name: str, at: datetime, user: UserId) -> Iterator[Output]:
    """As the live flow tells it: a fact, and an order to each partition of the outbox. Some are erased twice."""
    yield from records_of(UserErased(id=name, at=at, cause="x", user=user))
    for key in broadcast_keys(DEFAULT_PARTITIONS):
        yield from records_of(ForgetEffects(id=f"{name}/{key}", at=at, effect=key, user=user))


def _push(chance: random.Random, name: str, at: datetime, user: UserId) -> Message:
    kind = chance.choice((TouchKind.INSTALL, TouchKind.INSTALL, TouchKind.RE_ATTRIBUTION))
    touch = Touch(kind, at, chance.choice(("snapchat", "snapchat", "organic")), f"c{chance.randrange(3)}")
    known = user if chance.random() < 0.3 else ""
    return RecordPush(id=name, at=at, install=f"af-{user}", push=name, event_name=kind, user=known, touch=touch, raw="{}")


def _sign_up(name: str, at: datetime, user: UserId, signed_up: set[str]) -> Message | None:
    if user in signed_up:
        return None
    signed_up.add(user)
    role = Role.USER if user in USERS else Role.STREAMER
    return UserSignedUp(id=name, at=at, cause="x", user=user, role=role, country="DE", appsflyer_id=f"af-{user}")


def _tracking(chance: random.Random, name: str, at: datetime, user: UserId) -> Message:
    consents = tuple(consent for consent in (Consent.ADS, Consent.ANALYTICS) if chance.random() < 0.7)
    install = f"af-{user}" if chance.random() < 0.5 else ""
    return PutTracking(id=name, at=at, user=user, consents=consents, appsflyer_id=install, advertising_id="x")


def _bought(name: str, at: datetime, user: UserId) -> Message:
    return EntryRecorded(
        id=name, at=at, cause="x", account=coins_account(user), seq=1, kind=EntryKind.CREDIT, balance_coins=50, held_coins=0,
        coins=50, reason=Reason.PURCHASE, transfer=name,
    )  # fmt: skip


def _called(chance: random.Random, name: str, at: datetime, sides: tuple[UserId, UserId]) -> Message:
    seconds = chance.choice((0.0, 12.5, 300.0))
    return CallEnded(
        id=name, at=at, cause="x", call=name, caller=sides[0], callee=sides[1], kind=CallKind.DIRECT, reason=EndReason.HUNG_UP,
        connected=seconds > 0, duration_s=seconds,
    )  # fmt: skip


# --- laws -------------------------------------------------------------------------------------------------------------------

Records = Callable[[str], Iterator[tuple[int, int, bytes, bytes | None]]]


def unfolded(read: Records, deciders: tuple[Decider, ...] = DECIDERS) -> list[str]:
    """Where the log differs from an undisturbed fold of its inboxes: events record by record, and states."""
    broken: list[str] = []
    for decider in deciders:
        entity, core = decider.entity, Core([decider])
        batch = Batch(core)
        lanes = {partition: core.open(entity.inbox, partition) for partition in range(entity.partitions)}
        for partition, offset, key, value in read(entity.inbox):
            batch.take(lanes[partition], offset, key, value or b"")
        states = {
            key: state
            for topic, _, key, state in batch.seal()
            if topic == entity.changelog and key != POSITION and state is not None
        }
        events: dict[int, list[bytes | None]] = defaultdict(list)
        for topic, partition, _, value in batch.outputs:
            if topic == entity.events:
                events[partition].append(value)
        broken += _differences(entity, read, states, events)
    return broken


def _differences(entity: Entity, read: Records, states: dict[bytes, bytes], events: dict[int, list[bytes | None]]) -> list[str]:
    there: dict[bytes, bytes] = {}
    for _, _, key, value in read(entity.changelog):
        there.pop(key, None)
        if value is not None:
            there[key] = value
    differ = [key for key in there.keys() | states if there.get(key) != states.get(key)]
    found = [f"{entity.name}: {key!r} is {there.get(key)!r}, the fold gives {states.get(key)!r}" for key in differ]
    written: dict[int, list[bytes | None]] = defaultdict(list)
    for partition, _, _, value in read(entity.events):
        written[partition].append(value)
    if written != events:
        found.append(f"{entity.name}: its events are not those of the fold")
    return found


def laws(log: Log) -> list[str]:
    """What is broken."""
    broken = unfolded(log.read)
    decode = decoder_of(OUTBOX.facts)
    due = [fact for _, _, _, value in log.read(OUTBOX.events) if isinstance(fact := decode(value or b""), EffectDue)]
    broken += [f"{effect} was due {times} times" for effect, times in Counts(fact.effect for fact in due).items() if times > 1]
    consented: dict[str, set[str]] = defaultdict(set)
    tracked = decoder_of(topics.hears(ATTRIBUTION))
    waiting = {}
    for _, _, _, value in log.read(ATTRIBUTION.inbox):
        message = tracked(value or b"")
        if isinstance(message, PutTracking):
            consented[message.user] |= set(message.consents)
    for fact in due:
        if fact.postback is None:
            continue
        event = fact.postback.event
        needed = next(rule.consent for rule in RULES if rule.provider == fact.provider and rule.event == event)
        if needed not in consented[fact.subject]:
            broken.append(f"{fact.effect} without {needed}")
    for _, _, key, value in log.read(ATTRIBUTION.changelog):
        waiting[key] = value
    broken += [f"{key!r} waits for ever" for key, value in waiting.items() if value and b'"waits"' in value]
    broken += _left(log, {fact.effect for fact in due})
    heard = decoder_of(topics.hears(OUTBOX))
    inbox = (heard(value or b"") for _, _, _, value in log.read(OUTBOX.inbox))
    broken += _outreach(log, {message.user for message in inbox if isinstance(message, UserErased)})
    dead = sum(1 for _ in log.read("dead_letters"))
    return [*broken, f"{dead} dead letters"] if dead else broken


def _left(log: Log, due: set[str]) -> list[str]:
    """What is left of whoever was erased. Who comes back behind the mark's end is new."""
    read, told = decoder_of(topics.hears(OUTBOX)), defaultdict[int, set[str]](set)
    broken: list[str] = []
    for partition, _, _, value in log.read(OUTBOX.inbox):
        message = read(value or b"")
        if isinstance(message, ForgetEffects):
            told[partition].add(message.user)
        if isinstance(message, UserErased) and delete_account_id(message.user) not in due:
            broken.append(f"{message.user} was erased, and the account where users sign in stays")
        if isinstance(message, OweEffect) and message.subject in told[partition] and message.effect in due:
            broken.append(f"{message.effect} is due, and {message.subject} was erased before")
    gone = set[str]().union(*told.values())
    for decider in DECIDERS:
        entity, decode = decider.entity, state_decoder(decider.entity.state)
        last = {key: value for _, _, key, value in log.read(entity.changelog) if of_entity(key)}
        for key, state in ((key.decode(), decode(value)) for key, value in last.items() if value is not None):
            erased = getattr(state, "erased_at", None) is not None or getattr(state, "subject", "") in gone
            in_panel = isinstance(state, Member) and state.erased_at is not None and (state.cohorts or state.tags)
            if (erased and blank(state) != state) or in_panel:
                broken.append(f"{entity.changelog}: {key} holds something of who was erased: {state}")
    return broken


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
