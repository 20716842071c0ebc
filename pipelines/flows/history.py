"""What the log has of one partition of an entity, from its first record on: from Kafka, and from ClickHouse's table `log` what
Kafka has deleted meanwhile.

Kafka keeps inboxes and facts for a month. `log` has both for good, with two exceptions: inboxes of private entities are not
copied into it, and what is personal in a record is left out (`schemas.log.outward`). Where the first records are missing in
both, as they stood, a replay is impossible, and `IncompleteError` says from when on there is history. Coins, calls, bills and
gifts have nothing personal, so that they are replayed from their first record for good.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition

from infra.clickhouse import connect
from infra.config import Config
from infra.errors import UsageError
from infra.kafka import offsets_of, partitions_of, read_to_end, reader
from pipelines.runtime.core import Record
from pipelines.runtime.replay import Recorded
from schemas.log import positions
from schemas.log.codec import decoder_of
from schemas.log.dead_letters import DeadLetter, LetterSettled
from schemas.log.entity import Entity
from schemas.log.outward import keeps_all
from schemas.log.topics import DEAD_LETTERS, hears
from schemas.tables import LOG

# A transaction that stays open is aborted by the broker after ten seconds.
SETTLED_S: Final = 60.0
PORTION: Final = 20_000

Place = tuple[str, int]


class IncompleteError(UsageError):
    """The first records of a partition are gone."""


def ends_settled(config: Config, places: list[Place]) -> dict[Place, int]:
    """Where partitions end now, once no transaction is open before that. Errors: TimeoutError, KafkaException."""
    with closing(reader(config, committed=False)) as plain, closing(reader(config)) as careful:
        ends = offsets_of(plain, places, OFFSET_END)
        deadline = time.monotonic() + SETTLED_S
        while any(offset < ends[place] for place, offset in offsets_of(careful, places, OFFSET_END).items()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a transaction stays open on one of {', '.join(sorted({topic for topic, _ in places}))}")
            time.sleep(0.05)
    return ends


def changelog(config: Config, entity: Entity, partition: int) -> tuple[int, dict[bytes, bytes]]:
    """The position that a changelog tells (-1: it tells none), and all else that it holds, by key."""
    place = (entity.changelog, partition)
    with closing(reader(config, committed=False)) as plain:
        if partition not in partitions_of(plain, entity.changelog):
            return -1, {}
    found: dict[bytes, bytes] = {}
    for _, key, value in _kept(config, place, 0, ends_settled(config, [place])[place]):
        found.pop(key, None)
        if value is not None:
            found[key] = value
    position = found.pop(positions.POSITION, None)
    return -1 if position is None else positions.read(position), found


def recorded(config: Config, entity: Entity, partition: int, position: int, states: dict[bytes, bytes]) -> Recorded:
    """The history of a partition whose changelog was read before. Errors: IncompleteError, KafkaException, those of
    ClickHouse."""
    facts, inbox, letters = ((entity.events, partition), (entity.inbox, partition), (DEAD_LETTERS.name, 0))
    # One behind the other: whatever led to a fact, and was told with it, stands before the ends that are looked up later.
    last_fact = ends_settled(config, [facts])[facts]
    ends = ends_settled(config, [inbox, letters])
    if position > ends[inbox]:
        raise UsageError(f"{inbox[0]}/{partition} ends at {ends[inbox]}, and {position} records of it were decided")
    for place, end in ((inbox, ends[inbox]), (facts, last_fact)):
        _refuse_incomplete(config, entity, place, end)

    def records(start: int, end: int | None) -> Iterable[Record]:
        return _whole(history(config, inbox, start, ends[inbox] if end is None else end))

    written = _whole(history(config, facts, 0, last_fact))
    mine = partial(_is_of, entity.inbox, partition)
    told = [one for one in map(_letter, _whole(history(config, letters, 0, ends[letters]))) if one and mine(one)]
    return Recorded(max(position, 0), records, written, states, told)


def history(config: Config, place: Place, start: int, end: int) -> Iterator[tuple[int, bytes, bytes | None]]:
    """The records from `start` up to `end`: what Kafka has not any more comes from `log`, where there is a ClickHouse."""
    begin = _begin(config, place)
    if start < begin and config.clickhouse_url:
        yield from _stored(config, place, start, min(begin, end))
    yield from _kept(config, place, max(start, begin), end)


def _whole(records: Iterable[tuple[int, bytes, bytes | None]]) -> Iterator[Record]:
    return ((offset, key, value or b"") for offset, key, value in records)


def _kept(config: Config, place: Place, start: int, end: int) -> Iterator[tuple[int, bytes, bytes | None]]:
    for message in read_to_end(config, [TopicPartition(*place, start)], {place: end}):
        if (offset := message.offset()) < end:
            yield offset, message.key() or b"", message.value()


def _stored(config: Config, place: Place, start: int, end: int) -> Iterator[Record]:
    question = f"""SELECT offset, key, value FROM {LOG} FINAL
    WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}}
    AND offset >= {{start:UInt64}} AND offset < {{end:UInt64}} ORDER BY offset LIMIT {PORTION}"""
    with closing(connect(config.clickhouse_url)) as client:
        while start < end:
            given = {"topic": place[0], "partition": place[1], "start": start, "end": end}
            rows = client.query(question, parameters=given, query_formats={"String": "bytes"}).result_rows
            yield from ((offset, key, value) for offset, key, value in rows)
            start = rows[-1][0] + 1 if len(rows) == PORTION else end


def _begin(config: Config, place: Place) -> int:
    with closing(reader(config, committed=False)) as plain:
        return offsets_of(plain, [place], OFFSET_BEGINNING)[place]


def _refuse_incomplete(config: Config, entity: Entity, place: Place, end: int) -> None:
    """Errors: IncompleteError, where the first records are neither in Kafka nor in `log`, as they stood."""
    begin = _begin(config, place)
    if begin == 0:
        return
    if entity.private and place[0] == entity.inbox:
        _refuse(config, place, begin, end, f"and {LOG} has no inbox of a private entity")
    elif not keeps_all(hears(entity) if place[0] == entity.inbox else entity.facts):
        _refuse(config, place, begin, end, f"and {LOG} has them without what is personal")
    elif not config.clickhouse_url:
        _refuse(config, place, begin, end, "and there is no ClickHouse here that could have them")
    first, last = _span(config, place)
    if first != 0:
        _refuse(config, place, begin if first is None else min(first, begin), end, f"and {LOG} does not begin before that")
    # The mark of the last transaction is no record.
    elif last is not None and last + 2 < begin:
        _refuse(config, place, begin, end, f"and {LOG} ends at {last}: the store lagged behind when Kafka deleted them")


def _span(config: Config, place: Place) -> tuple[int | None, int | None]:
    """The first and the last offset that `log` has of a partition."""
    question = f"""SELECT count(), min(offset), max(offset) FROM {LOG}
    WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}}"""
    with closing(connect(config.clickhouse_url)) as client:
        count, first, last = client.query(question, parameters={"topic": place[0], "partition": place[1]}).result_rows[0]
    return (first, last) if count else (None, None)


def _refuse(config: Config, place: Place, first: int, end: int, why: str) -> None:
    since = _time_at(config, place, end)
    kept = f", from {since:%Y-%m-%d %H:%M:%S} UTC on" if since else ""
    raise IncompleteError(
        f"{place[0]}/{place[1]}: the records before offset {first} are gone from Kafka, which keeps what follows{kept}; {why}"
    )


def _time_at(config: Config, place: Place, end: int) -> datetime | None:
    """When the first record that Kafka has was written."""
    begin = _begin(config, place)
    message = next(read_to_end(config, [TopicPartition(*place, begin)], {place: end}), None) if begin < end else None
    return None if message is None else datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


_read_letter = decoder_of((DeadLetter, LetterSettled))


def _letter(record: Record) -> DeadLetter | None:
    letter = _read_letter(record[2])
    return letter if isinstance(letter, DeadLetter) else None


def _is_of(inbox: str, partition: int, letter: DeadLetter) -> bool:
    return (letter.topic, letter.partition) == (inbox, partition)
