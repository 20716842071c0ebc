"""Dead letters: list, show, redrive into the topic they came from, or skip a record that a worker stops at.

A letter's place is "<topic>/<partition>/<offset>". Redriving writes the original key and bytes to the original partition again.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from infra.config import Config
from infra.errors import UsageError
from infra.kafka import BOUNDED, TIMEOUT_S, produce_one, read_topic, reader
from schemas.log.codec import decoder_of
from schemas.log.dead_letters import DeadLetter
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


def letters(config: Config) -> Iterator[DeadLetter]:
    """All dead letters, oldest first."""
    decode = decoder_of((DeadLetter,))
    for message in read_topic(config, DEAD_LETTERS.name):
        letter: Any = decode(message.value())
        yield letter


def find(config: Config, place: str) -> DeadLetter:
    """The last letter of a place. Errors: NoSuchPlaceError."""
    wanted = RecordPosition.parse(place)
    found = [letter for letter in letters(config) if (letter.topic, letter.partition, letter.offset) == wanted]
    if not found:
        raise NoSuchPlaceError(f"there is no dead letter of {place}; `olo dead-letters list` shows all")
    return found[-1]


def redrive(config: Config, place: str) -> RecordPosition:
    """Put a letter's record into its topic once more; where it stands now. Errors: NoSuchPlaceError, KafkaException."""
    letter = find(config, place)
    if letter.topic not in {topic.name for topic in topics()}:
        raise NoSuchPlaceError(f"{place} came over HTTP; mend what `olo dead-letters show {place}` shows, and POST it again")
    at = produce_one(config, letter.topic, letter.key, letter.value, letter.partition)
    return RecordPosition(letter.topic, letter.partition, at.offset())


def skip(config: Config, place: str) -> bytes:
    """Have the flows put a record aside at their next start; its bytes. Errors: NoSuchPlaceError."""
    wanted = RecordPosition.parse(place)
    if wanted.topic not in {topic.name for topic in topics() if topic.name.endswith(".inbox")}:
        raise NoSuchPlaceError(f"{wanted.topic!r} is no inbox; only records of an inbox can be skipped")
    consumer = reader(config, BOUNDED)
    try:
        value = _value_at(consumer, wanted)
    finally:
        consumer.close()
    produce_one(config, SKIPS.name, place.encode(), datetime.now().astimezone().isoformat().encode(), 0)
    return value


def _value_at(consumer: Consumer, place: RecordPosition) -> bytes:
    low, end = consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), TIMEOUT_S)
    if low <= place.offset < end:
        consumer.assign([TopicPartition(place.topic, place.partition, place.offset)])
        message = consumer.poll(TIMEOUT_S)
        if message is not None and message.error() is None and message.offset() == place.offset:
            return message.value() or b""
    raise NoSuchPlaceError(f"there is no record at {'/'.join(map(str, place))}; the partition has {low} to {end - 1}")
