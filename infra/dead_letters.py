"""Dead letters: list, show, redrive, skip and drop.

A letter's place is "<topic>/<partition>/<offset>". Of a parked entity all records wait, in order; an operator's word
(`Release`) goes into its inbox, and the flow decides them there. Any other letter's record is written to its partition once
more."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition

from infra import migration
from infra.config import Config
from infra.errors import UsageError
from infra.kafka import offsets_of, produce_all, produce_one, read_to_end, read_topic, reader
from infra.machine import user_here
from infra.vendors import hasura
from schemas.log.base import new_id, now
from schemas.log.codec import decoder_of, encode
from schemas.log.dead_letters import MAX_VALUE_BYTES, PARKING, DeadLetter, LetterSettled
from schemas.log.outward import line_of
from schemas.log.parking import Release, Way
from schemas.log.topics import DEAD_LETTERS, SKIPS, topics


class NoSuchPlaceError(UsageError):
    """There is no letter or record at that place."""


class RecordPosition(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> "RecordPosition":
        """Read "<topic>/<partition>/<offset>". Errors: NoSuchPlaceError."""
        parts = text.rsplit("/", 2)
        if len(parts) != 3 or not parts[1].isdecimal() or not parts[2].isdecimal():
            raise NoSuchPlaceError(f"{text!r} is no place; a place is <topic>/<partition>/<offset>, such as account.inbox/3/17")
        return cls(parts[0], int(parts[1]), int(parts[2]))


def letters(config: Config) -> list[DeadLetter]:
    """All dead letters that nobody has settled, oldest first. What is no letter, a stranger's record, is left out."""
    decode = decoder_of((DeadLetter, LetterSettled))
    found: dict[str, DeadLetter] = {}
    for record in read_topic(config, DEAD_LETTERS.name):
        try:
            letter: Any = decode(record.value() or b"")
        except ValueError:
            continue
        found.pop(letter.id, None)
        if isinstance(letter, DeadLetter):
            found[letter.id] = letter
    return list(found.values())


def find(config: Config, place: str) -> DeadLetter:
    """The last letter of a place. Errors: NoSuchPlaceError."""
    wanted = RecordPosition.parse(place)
    found = [letter for letter in letters(config) if (letter.topic, letter.partition, letter.offset) == wanted]
    if not found:
        raise NoSuchPlaceError(f"there is no dead letter of {place}; `olo dead-letters list` shows all")
    return found[-1]


def parked(config: Config) -> dict[tuple[str, int, bytes], list[DeadLetter]]:
    """The letters of parked entities, in order: (inbox, partition, key) -> what waits."""
    found: dict[tuple[str, int, bytes], list[DeadLetter]] = {}
    for letter in sorted(letters(config), key=lambda letter: letter.offset):
        if letter.cause in PARKING:
            found.setdefault((letter.topic, letter.partition, letter.key), []).append(letter)
    return found


def redrive(config: Config, place: str) -> str:
    """Have a parked entity's records decided once more, or put another letter's record into its topic again; what was done, for
    a person to read. Errors: NoSuchPlaceError, KafkaException."""
    return redrive_found(config, find(config, place), user_here())


def redrive_found(config: Config, letter: DeadLetter, by: str) -> str:
    """The same for a letter that was looked up. Errors: NoSuchPlaceError, KafkaException."""
    place = letter.id
    if letter.cause in PARKING:
        return _release(config, [letter], Way.REDRIVE, by)[0]
    if letter.topic == hasura.SOURCE:
        told = migration.redrive(config, letter.value)
        _settle(config, letter, Way.REDRIVE, by)
        return told
    if letter.topic not in {topic.name for topic in topics()}:
        raise NoSuchPlaceError(f"{place} came over HTTP; mend what `olo dead-letters show {place}` shows, and POST it again")
    value = letter.value if len(letter.value) < MAX_VALUE_BYTES else value_at(config, place)
    at = produce_one(config, letter.topic, letter.key, value, letter.partition)
    _settle(config, letter, Way.REDRIVE, by)
    return f"written again as {letter.topic}/{letter.partition}/{at.offset()}"


def redrive_all(config: Config) -> list[str]:
    """Have the records of all parked entities decided once more."""
    found = [waiting[0] for waiting in parked(config).values()]
    return _release(config, found, Way.REDRIVE, user_here())


def skip(config: Config, place: str) -> str:
    """Leave out the record that a parked entity waits for, and go on with those behind it; or have the flows put a record aside
    at their next start. Errors: NoSuchPlaceError."""
    wanted = RecordPosition.parse(place)
    for waiting in parked(config).values():
        if place in {letter.id for letter in waiting}:
            if place != waiting[0].id:
                raise NoSuchPlaceError(f"{place} waits behind {waiting[0].id}: redrive or skip that one first")
            return _release(config, waiting[:1], Way.SKIP, user_here())[0]
    if wanted.topic not in {topic.name for topic in topics() if topic.name.endswith(".inbox")}:
        raise NoSuchPlaceError(f"{wanted.topic!r} is no inbox; only records of an inbox can be skipped")
    value = value_at(config, place)
    produce_one(config, SKIPS.name, place.encode(), datetime.now().astimezone().isoformat().encode(), 0)
    return f"will be skipped at the flow's next start: {line_of(wanted.topic, value)}"


def drop(config: Config, place: str) -> str:
    """Leave out all records that wait for the parked entity, which goes on without them; or take another letter off the list.
    Errors: NoSuchPlaceError."""
    return drop_found(config, find(config, place), user_here())


def drop_found(config: Config, letter: DeadLetter, by: str) -> str:
    """The same for a letter that was looked up. Errors: KafkaException."""
    place = letter.id
    if letter.cause in PARKING:
        return _release(config, [letter], Way.DROP, by)[0]
    _settle(config, letter, Way.DROP, by)
    return f"{place} is off the list; its record stands in the topic for as long as that is kept"


def _release(config: Config, letters: Sequence[DeadLetter], way: Way, by: str) -> list[str]:
    keys = [letter.key.decode() for letter in letters]
    messages = [Release(id=new_id(), at=now(), key=key, way=way, by=by) for key in keys]
    records = [(one.topic, one.partition, one.key, encode(message)) for one, message in zip(letters, messages, strict=True)]
    produce_all(config, records)
    return [f"{way}: the flow takes it from here; `olo dead-letters list` shows whether {key!r} waits on" for key in keys]


def _settle(config: Config, letter: DeadLetter, way: Way, by: str) -> None:
    settled = LetterSettled(id=letter.id, at=now(), way=way, by=by)
    produce_one(config, DEAD_LETTERS.name, letter.id.encode(), encode(settled), 0)


def value_at(config: Config, place: str) -> bytes:
    """The bytes of the record at a place. Errors: NoSuchPlaceError."""
    wanted = RecordPosition.parse(place)
    where = (wanted.topic, wanted.partition)
    with reader(config) as consumer:
        low, end = (offsets_of(consumer, [where], which)[where] for which in (OFFSET_BEGINNING, OFFSET_END))
    if low <= wanted.offset < end:
        for record in read_to_end(config, [TopicPartition(*wanted)], {where: wanted.offset + 1}):
            if record.offset() == wanted.offset:
                return record.value() or b""
    raise NoSuchPlaceError(f"there is no record at {place}; the partition has {low} to {end - 1}")
