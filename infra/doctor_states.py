"""What `olo doctor` sees of states and positions: whether a changelog was lost, fits its inbox, and agrees with its group.

A changelog tells its own position, in the transaction that wrote the states; the group's offset goes along, for onlookers.
Both move together, so a difference that stays was made by somebody, who has set the offsets. It harms no state, but every tool
that shows a lag is wrong until the flow's next record. A broker may report an offset that is one higher.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from infra.asking import answered, broker_answers
from infra.config import Config
from infra.doctor_log import BACKUP, Examined
from infra.kafka import has_records, offsets_of, quiet, read_to_end, reader
from schemas.log import positions
from schemas.log.entity import Entity
from schemas.log.topics import ENTITIES

# The position is the last record of its transaction: so many offsets before a changelog's end hold it as a rule; then all do.
TAIL: Final = 1_000
# What a broker may report too much, behind an aborted transaction.
SLACK: Final = 1
# Between two looks at what is on its way: longer than a transaction takes where the broker answers in time.
MOMENT_S: Final = 1.0

Place = tuple[str, int]


class Share(NamedTuple):
    """One partition of an entity: its inbox from `begin` to `end`, how far its changelog says that was decided (`position`; -1:
    it does not say), what the group says (`offset`; -1: nothing), and whether it has told facts."""

    entity: str
    partition: int
    begin: int
    end: int
    position: int
    offset: int
    facts: bool

    @property
    def lost(self) -> bool:
        """Whether facts were told and nothing says how far the inbox was decided."""
        return self.position < 0 and self.offset <= 0 and self.facts

    @property
    def differs(self) -> bool:
        """Whether the group says something else than the states."""
        return self.position >= 0 and self.offset >= 0 and abs(self.offset - self.position) > SLACK


def examine_states(config: Config) -> Iterator[Examined]:
    """Every finding, as it is made. Errors: KafkaException."""
    look = broker_answers(config)
    with reader(config) as consumer:
        there = consumer.list_topics().topics
    whole = [one for one in ENTITIES if all(topic in there for topic in (one.inbox, one.events, one.changelog))]
    first = answered(lambda _: shares_of(config, whole), look)
    if first is None:
        yield Examined("states", False, "unknown: a transaction hangs, which the broker ends within two minutes", "olo doctor")
        return
    differ = [entity for entity in whole if any(one.differs and one.entity == entity.name for one in first)]
    again: list[Share] = []
    if differ:
        time.sleep(MOMENT_S)
        again = answered(lambda _: shares_of(config, differ), look) or []
    yield of_states(first, again)


def of_states(first: Sequence[Share], again: Sequence[Share]) -> Examined:
    """`again`: those that differed, a moment later; where a flow works, they have moved."""
    for one in first:
        where = f"{one.entity}.state/{one.partition}"
        if one.lost:
            seen = f"{where} was lost: {one.entity}.events/{one.partition} has facts, and no position of the inbox is left"
            return Examined("states", False, seen, f"olo rebuild {one.entity} --dry-run")
        if one.position > one.end:
            seen = f"{where} has decided {one.position} records of an inbox that ends at {one.end}: it is of another log"
            return Examined("states", False, seen, BACKUP)
        if 0 <= one.position < one.begin - SLACK:  # the mark of the last transaction is no record
            gone = f"up to {one.begin - one.position} records of {one.entity}.inbox/{one.partition}"
            seen = f"{gone} were deleted by the broker before anybody decided them"
            return Examined("states", False, seen, "make up: the flow goes on with those that are there")
    moved = set(first)
    if stays := [one for one in again if one.differs and one in moved]:
        one = stays[0]
        seen = f"the group says {one.offset} of {one.entity}.inbox/{one.partition}, the states say {one.position}, which counts"
        return Examined("states", False, seen, "nothing is to be done: the flow's next record there puts the group right")
    return Examined("states", True, f"{len(first)} shares, each with its position")


def shares_of(config: Config, entities: Sequence[Entity]) -> list[Share]:
    """What the log says of each partition of the entities. Errors: KafkaException, TimeoutError."""
    shares = [(entity, partition) for entity in entities for partition in range(config.partitions)]
    found = _positions(config, [(entity.changelog, partition) for entity, partition in shares])
    inboxes = [(entity.inbox, partition) for entity, partition in shares]
    with reader(config) as careful:
        facts = {place: end > 0 for place, end in offsets_of(careful, [(e.events, p) for e, p in shares], OFFSET_END).items()}
        begins, ends = (offsets_of(careful, inboxes, which) for which in (OFFSET_BEGINNING, OFFSET_END))
    offsets = _offsets(config, shares)
    unsure = [(e.events, p) for e, p in shares if facts[e.events, p] and found.get((e.changelog, p), -1) < 0]
    facts |= {place: has_records(config, place) for place in unsure}
    return [
        Share(e.name, p, begins[e.inbox, p], ends[e.inbox, p], found.get((e.changelog, p), -1), offsets[e.inbox, p],
              facts[e.events, p])
        for e, p in shares
    ]  # fmt: skip


def _offsets(config: Config, shares: Sequence[tuple[Entity, int]]) -> dict[Place, int]:
    offsets: dict[Place, int] = {}
    for group in {entity.flow.value for entity, _ in shares}:
        parts = [TopicPartition(entity.inbox, p) for entity, p in shares if entity.flow.value == group]
        with closing(Consumer(quiet(config, **{"group.id": group, "isolation.level": "read_committed"}))) as consumer:
            offsets |= {(part.topic, part.partition): part.offset for part in consumer.committed(parts, 5)}
    return offsets


def _positions(config: Config, changelogs: Sequence[Place]) -> dict[Place, int]:
    """What changelogs say: their last position, looked for at their ends first."""
    with reader(config) as careful:
        begins, ends = (offsets_of(careful, changelogs, which) for which in (OFFSET_BEGINNING, OFFSET_END))
    found: dict[Place, int] = {}
    for tail in (TAIL, max(ends.values(), default=0)):
        left = [place for place in changelogs if place not in found]
        starts = [TopicPartition(*place, max(begins[place], ends[place] - tail)) for place in left]
        for record in read_to_end(config, starts, ends):
            if record.key() == positions.POSITION and (value := record.value()):
                found[record.topic(), record.partition()] = positions.read(value)
    return found
