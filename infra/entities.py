"""Entities for operators: their last states, from their changelogs, and a command to one of them."""

from collections.abc import Callable, Iterator

from infra.config import Config
from infra.kafka import key_of, produce_one, read_topic
from schemas.log.base import Message, State
from schemas.log.codec import encode, state_decoder
from schemas.log.entity import Entity, partition_of

Keep = Callable[[str, State], bool]


def states_of(config: Config, entity: Entity, keep: Keep | None = None) -> Iterator[tuple[str, State]]:
    """The last state of every key, those of broadcast keys, too, or only those that are to be kept: of others nothing stays in
    memory. It reads the whole changelog."""
    decode, last = state_decoder(entity.state), dict[str, bytes]()
    for record in read_topic(config, entity.changelog):
        key, value = key_of(record), record.value()
        if value is not None and (keep is None or keep(key, decode(value))):
            last[key] = value
        else:
            last.pop(key, None)
    return ((key, decode(value)) for key, value in last.items())


def state_of(config: Config, entity: Entity, key: str) -> State | None:
    """The last state of a key, or None. It reads the key's partition of the changelog."""
    name, last = key.encode(), None
    for record in read_topic(config, entity.changelog, partition=partition_of(name, entity.partitions)):
        last = record.value() if record.key() == name else last
    return None if last is None else state_decoder(entity.state)(last)


def tell(config: Config, entity: Entity, key: str, command: Message) -> None:
    """Put a command into the key's inbox. Errors: KafkaException, TimeoutError."""
    name = key.encode()
    produce_one(config, entity.inbox, name, encode(command), partition_of(name, entity.partitions))
