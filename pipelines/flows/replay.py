"""All that an entity has decided, decided again and compared: any number of partitions side by side, each in a process.

`check` is what `olo prove replay` runs; it only reads, also while the flows go on."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import NamedTuple

from infra.config import Config
from pipelines.flows.deciders import decider_of
from pipelines.flows.history import IncompleteError, changelog, recorded
from pipelines.runtime.core import Decider
from pipelines.runtime.lane import Routes
from pipelines.runtime.replay import Replay, first_difference
from schemas.log.entity import Entity, set_log_partitions
from schemas.log.topics import ENTITIES


class Replayed(NamedTuple):
    """What became of one partition's replay: how many states it made and up to where its inbox was decided; `difference`: the
    first one; `incomplete`: why there is nothing to replay."""

    entity: str
    partition: int
    position: int = 0
    states: int = 0
    difference: str = ""
    incomplete: str = ""


def replayed(config: Config, decider: Decider, partition: int, table: Routes | None = None) -> Replayed:
    """Replay one partition and compare. Errors: UsageError, KafkaException, those of ClickHouse."""
    entity = decider.entity
    try:
        there = recorded(config, entity, partition, *changelog(config, entity, partition))
    except IncompleteError as error:
        return Replayed(entity.name, partition, incomplete=str(error))
    replay = Replay(decider, partition, there.letters, table)
    found = first_difference(replay, there)
    return Replayed(entity.name, partition, there.position, len(there.states), str(found) if found else "")


def _by_name(config: Config, name: str, partition: int) -> Replayed:
    """In a process of its own."""
    set_log_partitions(config.partitions)
    return replayed(config, decider_of(next(entity for entity in ENTITIES if entity.name == name)), partition)


def check(config: Config, processes: int, entities: Sequence[Entity] = ENTITIES) -> Iterator[Replayed]:
    """Replay all partitions of entities, as they are done. Errors: as `replayed`."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        todo = [pool.submit(_by_name, config, one.name, partition) for one in entities for partition in range(one.partitions)]
        for done in as_completed(todo):
            yield done.result()
