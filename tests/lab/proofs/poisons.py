"""Records that nobody should write: of each kind one, for every entity. Each names what must become of it.

Every key and id of them holds POISON, so that an audit can leave them out. A *victim* is an entity whose first record cannot be
decided (`faulty.py`), and all of whose later ones are good.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any, Final, NamedTuple, cast

from confluent_kafka import Producer
from msgspec.json import decode
from msgspec.structs import replace

from infra.config import Config
from infra.kafka import Record, quiet, record_of
from pipelines.flows.deciders import decider_of
from schemas.ads import ATTRIBUTION
from schemas.balance import ACCOUNT, Credit, Hold, OpenAccount, Reason
from schemas.log.base import AccountId, HoldId, Message, State, Wake, now
from schemas.log.codec import decoder_of, encode
from schemas.log.dead_letters import DeadCause
from schemas.log.entity import Entity, log_partitions, partition_of
from schemas.log.positions import POSITION
from schemas.log.topics import ENTITIES, hears
from schemas.outbox import OUTBOX, EffectDue
from schemas.video_line import LINE
from tests.golden import golden_lines
from tests.lab.proofs.faulty import PREFIX, Fault

POISON: Final = PREFIX.encode()
# A broker takes 1 MiB, with the record's head.
NEAR_LIMIT: Final = 1_047_000
# Large records go to one entity of each flow.
LARGE_FOR: Final = (ACCOUNT, LINE, ATTRIBUTION)
FOLLOWERS: Final = 2
# Whoever the golden examples tell of.
PEOPLE: Final = re.compile(rb'"(ann|bob|sue|tia)\b')
LONG_AGO_MS: Final = 1
HELD_COINS: Final = 5
HELD_FOR: Final = timedelta(seconds=1)
PUSHES: Final = (
    b"\xff\xfe" + POISON,
    b'["%b"]' % POISON,
    b"[" * 5_000 + POISON,
    b'{"event_name":"%b","install_time":"9999-12-31 23:59:59"}' % POISON,
)


class Poison(NamedTuple):
    """A record of a topic. `cause`: what its dead letter must say; None: it is taken, whatever it looks like."""

    kind: str
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    cause: DeadCause | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = 0


class Victim(NamedTuple):
    """An entity that will be parked: its key, what its letter must say, and its records, of which the first has the fault."""

    entity: Entity
    key: str
    cause: DeadCause
    messages: tuple[Message, ...]

    def expected(self, messages: tuple[Message, ...]) -> list[tuple[str, str]]:
        """The facts (type, cause) that a well entity tells of these messages at once. Others may follow, when those have
        answered that it has asked."""
        decide = cast(Callable[..., Any], decider_of(self.entity).decide)
        state, found = None, []
        for message in messages:
            state, told = decide(state, message, None) if self.entity.broadcast else decide(state, message)
            found += [(type(one).__name__, one.cause) for one in told if type(one) in self.entity.facts]
        return found


CAUSES: Final = {
    Fault.RAISES: DeadCause.DECIDER_FAILED,
    Fault.WAKES: DeadCause.NOT_ENCODABLE,
    Fault.UNENCODABLE: DeadCause.NOT_ENCODABLE,
    Fault.TOO_LARGE: DeadCause.TOO_LARGE,
}


# A page is named after its user and its number.
_BEFORE_NUMBER: Final = {"page": "/"}


def victims(number: int, entities: Iterable[Entity] = ENTITIES) -> Iterator[Victim]:
    """Of every entity one for each fault that it can have. `number`: of the round."""
    for entity in entities:
        for fault, cause in CAUSES.items():
            if fault is not Fault.WAKES or entity.state.wake_at is not State.wake_at:
                key = f"{PREFIX}{fault}-{entity.name}{_BEFORE_NUMBER.get(entity.key, '-')}{number}"
                first = Wake(id=f"{key}-first", at=now(), key=key)
                yield Victim(entity, key, cause, (first, *_followers(entity, key)))


def woken(number: int) -> Victim:
    """An account whose own wake fails, which the host sends when a hold expires; its records are good."""
    key, source, at = f"{PREFIX}{Fault.RAISES}-woken-{number}", AccountId("@p"), now()
    account, name = AccountId(key), f"{PREFIX}follows-woken-{number}"
    opened = OpenAccount(id=f"{name}-0", at=at, account=account)
    paid = Credit(id=f"{name}-1", at=at, account=account, counterparty=source, coins=HELD_COINS, reason=Reason.GRANT)
    held = Hold(
        id=f"{name}-2", at=at, account=account, hold=HoldId("h"), to=AccountId("@calls"), coins=HELD_COINS, reason=Reason.CALL,
        expires_at=at + HELD_FOR,
    )  # fmt: skip
    return Victim(ACCOUNT, key, DeadCause.DECIDER_FAILED, (opened, paid, held))


def _followers(entity: Entity, key: str) -> Iterator[Message]:
    """Good commands of the entity; wakes, where it takes none under such a key."""
    own_key, read = entity.key, decoder_of(hears(entity))
    found: list[Any] = []
    for type_ in entity.commands:
        command = replace(cast(Any, _example(type_)), **{own_key: key})
        with suppress(ValueError):
            read(encode(command))
            found.append(command)
    for number, message in enumerate((*found, *[Wake(id="w", at=now(), key=key)] * FOLLOWERS)[:FOLLOWERS]):
        yield replace(message, id=f"{PREFIX}follows-{number}-{key}")


@cache
def _examples() -> dict[str, bytes]:
    return {decode(line)["type"]: line.encode() for line in golden_lines()}


@cache
def _example(type_: type[Message]) -> Message:
    return decoder_of((type_,))(PEOPLE.sub(rb'"' + POISON + rb"\1", _examples()[type_.__name__]))


def strangers(entity: Entity, number: int) -> Iterator[Poison]:
    """Records of an inbox that belong to nobody, and some that only look so."""
    name = f"{PREFIX}well-{entity.name}-{number}"
    key, topic = name.encode(), entity.inbox
    right = partition_of(key, log_partitions())

    def wake(of: str = name) -> bytes:
        return encode(Wake(id=f"{name}-wake", at=now(), key=of))

    def one(kind: str, value: bytes | None, cause: DeadCause | None = None, key: bytes | None = key, **more: Any) -> Poison:
        return Poison(kind, topic, more.pop("partition", right), key, value, cause, **more)

    yield one("no JSON", b"\xff\x00" + POISON, DeadCause.BROKEN_JSON)
    yield one("no value", None, DeadCause.BROKEN_JSON)
    yield one("an unknown type", wake().replace(b'"Wake"', b'"Poison"'), DeadCause.UNKNOWN_TYPE)
    yield one("a wrong field", wake().replace(b'"key":"', b'"key":7,"was":"'), DeadCause.INVALID)
    yield one("no key", wake(), DeadCause.KEY_MISMATCH, None)
    yield one("another one's key", wake(), DeadCause.KEY_MISMATCH, POISON + b"other")
    yield one("a key that is no text", wake(), DeadCause.KEY_MISMATCH, b"\xff\xfe" + POISON)
    long = PREFIX + "ä" * 300
    yield one("a key too long", wake(long), DeadCause.MISROUTED, long.encode())
    yield one("the key of the position", wake(POSITION.decode()), DeadCause.MISROUTED, POSITION)
    yield one("another partition", wake(), DeadCause.MISROUTED, partition=(right + 1) % log_partitions())
    yield one("strange headers", wake(), headers=(("type", b"\xff\x00"), ("", None), ("x" * 300, b"y" * 3_000)))
    yield one("a time long ago", wake(), timestamp_ms=LONG_AGO_MS)
    if entity in LARGE_FOR:
        yield one("large and no JSON", b"\xff" * NEAR_LIMIT, DeadCause.BROKEN_JSON)
        yield one("large and good", _padded(wake()))


def _padded(value: bytes) -> bytes:
    """A message with a field that nobody knows, near the broker's limit."""
    return value[:-1] + b',"more":"%b"}' % (b"x" * (NEAR_LIMIT - len(value) - 10))


def to_dispatch(number: int) -> Iterator[Poison]:
    """Facts of the outbox that its decider never told: what dispatch reads."""
    key = f"{PREFIX}effect-{number}"
    due: Any = replace(cast(Any, _example(EffectDue)), id=f"{key}-due", effect=key, provider="nobody")
    partition = partition_of(key.encode(), log_partitions())
    for kind, name, value, cause in (
        ("no JSON", key.encode(), b"\xff\x00" + POISON, DeadCause.BROKEN_JSON),
        ("no value", key.encode(), None, DeadCause.BROKEN_JSON),
        ("an unknown type", key.encode(), b'{"type":"Poison"}', DeadCause.UNKNOWN_TYPE),
        ("large and no JSON", key.encode(), b"\xff" * NEAR_LIMIT, DeadCause.BROKEN_JSON),
        ("a key that is no text", b"\xff\xfe" + POISON, b"{}", DeadCause.UNKNOWN_TYPE),
        ("no key", None, encode(due), None),
        ("a vendor that nobody knows", key.encode(), encode(due), None),
    ):
        yield Poison(kind, OUTBOX.events, partition, name, value, cause)


def records_of(victim: Victim) -> Iterator[Poison]:
    """A victim's records; the last one of an account is as large as a broker takes."""
    key = victim.key.encode()
    partition = partition_of(key, log_partitions())
    last = len(victim.messages) - 1
    for number, message in enumerate(victim.messages):
        value = encode(message)
        large = victim.entity is ACCOUNT and number == last
        cause = DeadCause.BEHIND if number else victim.cause
        yield Poison("parked", victim.entity.inbox, partition, key, _padded(value) if large else value, cause)


class Poured(NamedTuple):
    """A record that was written, and where it stands."""

    poison: Poison
    place: str


def pour(config: Config, poisons: list[Poison]) -> list[Poured]:
    """Write the records, in order. Errors: KafkaException, RuntimeError."""
    found: list[Poured] = []
    producer = Producer(quiet(config, **{"enable.idempotence": True, "message.max.bytes": 1_100_000, "linger.ms": 5}))

    def placed(poison: Poison) -> Callable[[Any, Any], None]:
        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                raise RuntimeError(f"{poison.kind} for {poison.topic}: {error}")
            record: Record = record_of(message)
            found.append(Poured(poison, f"{record.topic()}/{record.partition()}/{record.offset()}"))

        return delivered

    for one in poisons:
        producer.produce(
            one.topic, one.value, one.key, one.partition, on_delivery=placed(one), headers=list(one.headers) or None,
            timestamp=one.timestamp_ms,
        )  # fmt: skip
    producer.flush(30)
    return found


def is_poison(text: bytes) -> bool:
    """Whether a record, or what came of one, is no business of an audit's. `text`: its key and value."""
    return POISON in text
