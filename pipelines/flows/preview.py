"""What a redrive of a parked entity would decide: `python -m pipelines.flows.preview INBOX PARTITION KEY`."""

import argparse
import sys

from confluent_kafka import TopicPartition

from infra.config import Config, load
from infra.kafka import ends_of, read_to_end, reader
from pipelines.flows.deciders import decider_of
from pipelines.runtime.core import Batch, Core
from schemas.log.base import now
from schemas.log.codec import encode
from schemas.log.entity import Entity
from schemas.log.outward import outward
from schemas.log.parking import Release, Way, held_prefix, parked_key
from schemas.log.topics import DEAD_LETTERS, ENTITIES


def preview(config: Config, entity: Entity, partition: int, key: bytes) -> list[str]:
    """A line for each message that would be told, and one for what would go wrong again. Errors: KafkaException."""
    core = Core([decider_of(entity)])
    lane = core.open(entity.inbox, partition)
    wanted = {key, lane.common, parked_key(key)}
    place = (entity.changelog, partition)
    with reader(config, committed=False) as plain:
        ends = ends_of(plain, [place])
    for record in read_to_end(config, [TopicPartition(*place, 0)], ends):
        name = record.key() or b""
        if name in wanted or name.startswith(held_prefix(key)):
            lane.restore({name: record.value()})
    lane.begin()
    if key not in lane.parked:
        return [f"{key.decode()!r} is not parked any more"]
    waiting = len(lane.waiting(key))
    batch = Batch(core)
    release = Release(id="preview", at=now(), key=key.decode(), way=Way.REDRIVE)
    batch.decide(lambda take: take(lane, 0, key, encode(release)))
    outputs = [(topic, outward(topic, value) or b"") for topic, _, _, value in batch.outputs if topic != DEAD_LETTERS.name]
    told = [f"{topic}: {value.decode()}" for topic, value in outputs]
    left = len(lane.waiting(key))
    found = [f"a redrive would decide {waiting - left} of {waiting} records:", *told]
    return [*found, f"then it fails at {lane.parked[key].place}: {lane.parked[key].error}"] if key in lane.parked else found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("inbox")
    parser.add_argument("partition", type=int)
    parser.add_argument("key")
    given = parser.parse_args()
    of = next((entity for entity in ENTITIES if entity.inbox == given.inbox), None)
    if of is None:
        sys.exit(f"{given.inbox} is no entity's inbox")
    print("\n".join(preview(load(), of, given.partition, given.key.encode())))
