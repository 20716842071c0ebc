"""What `olo doctor` sees of the flows: how far each is behind, and whether it stands still though its processes live.

A flow stands still when a record of its inboxes waits and none is taken while the broker answers LOOKS looks. Offsets alone do
not say that a record waits: behind the last one lie marks of transactions, and what was aborted, so the record itself is read.
Every cure is safe: a flow that is ended or thawed goes on where its last transaction left it; one that was replaced is fenced.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final, NamedTuple

import httpx
import psutil
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from infra.asking import answered, broker_answers
from infra.config import Config
from infra.doctor_log import Examined
from infra.exposition import total
from infra.kafka import Record, committed, offsets_of, quiet, read_to_end
from schemas.log.entity import Flow
from schemas.log.topics import ENTITIES
from schemas.outbox import OUTBOX

# A flow that decides and is this far behind answers nobody in time; a store that is so far behind shows analysts the past.
LAG_RECORDS: Final = {"money": 5_000, "live": 5_000, "growth": 50_000, "dispatch": 5_000, "store": 200_000}
READS: Final[dict[str, list[str]]] = {
    **{flow: [entity.inbox for entity in ENTITIES if entity.flow is flow] for flow in Flow},
    "dispatch": [OUTBOX.events],
    "store": [entity.inbox for entity in ENTITIES if not entity.private],
}
# Dispatch waits for outside services, and its position with it, for as long as an attempt takes.
STEADY: Final = frozenset(LAG_RECORDS) - {"dispatch"}
# Some five seconds where the broker answers at once; the positions are asked for every EACH looks.
LOOKS: Final = 50
EACH: Final = 10
EVERY_S: Final = 0.1
# The store tells its position behind a batch, and fills dozens of tables in one: on a machine with much to do for a while. So
# many looks more before it is said to stand still.
LONG: Final = frozenset({"store"})
LONG_LOOKS: Final = 150

Place = tuple[str, int]


class Stand(NamedTuple):
    """Where a group is: its position and the end of each partition."""

    taken: dict[Place, int]
    ends: dict[Place, int]

    @property
    def behind(self) -> int:
        """How many offsets it has not taken yet."""
        return sum(max(0, end - self.taken[place]) for place, end in self.ends.items())


class Process(NamedTuple):
    """One of a flow's processes here: `left`: how many records of its states it has yet to read."""

    role: str
    pid: int
    log: str
    frozen: bool
    left: float


def stand_of(config: Config, group: str, look: Callable[[], float | None]) -> Stand | None:
    """Where a group is; None when the broker does not say while it answers other questions. Errors: KafkaException."""
    places = [(topic, p) for topic in READS[group] for p in range(config.partitions)]
    with closing(Consumer(quiet(config, **{"group.id": group, "isolation.level": "read_committed"}))) as consumer:

        def ask(wait_s: float) -> Stand:
            ends = offsets_of(consumer, places, OFFSET_END, wait_s)
            found = committed(consumer, [TopicPartition(*place) for place in places], wait_s)
            return Stand({(part.topic, part.partition): part.offset for part in found}, ends)

        return answered(ask, look)


def examine_flows(config: Config, children: Sequence[Mapping[str, Any]]) -> Iterator[Examined]:
    """Every finding, as it is made. `children`: those of a running platform, as its endpoints file has them."""
    look = broker_answers(config)
    stands = {group: stand_of(config, group, look) for group in LAG_RECORDS}
    waiting = {group: stand for group, stand in stands.items() if stand and stand.behind and group in STEADY}
    again = partial(stand_of, config, look=look)
    still = still_standing(waiting, again, look)
    long = {group: waiting[group] for group in still & LONG}
    still = still - LONG | still_standing(long, again, look, looks=LONG_LOOKS)
    for group, stand in stands.items():
        first = _first_waiting(config, stand) if stand and group in still else None
        processes = [found for child in children if child["role"].rpartition("-")[0] == group and (found := process_of(child))]
        yield of_flow(config, group, stand, first, processes)


def still_standing(
    waiting: Mapping[str, Stand],
    again: Callable[[str], Stand | None],
    look: Callable[[], float | None],
    every_s: float = EVERY_S,
    looks: int = LOOKS,
) -> set[str]:
    """Those of the groups that are behind and take nothing while the broker answers so many looks."""
    still = dict(waiting)
    for number in range(1, looks + 1):
        if not still or not look():  # a broker that does not answer says nothing about its flows
            return set()
        time.sleep(every_s)
        if number % EACH == 0:
            still = {group: stand for group, stand in still.items() if (now := again(group)) and now.taken == stand.taken}
    return set(still)


def _first_waiting(config: Config, stand: Stand) -> Record | None:
    """A record that the group has not taken yet, if there is one behind its positions."""
    starts = [TopicPartition(*place, offset) for place, offset in stand.taken.items()]
    return next(read_to_end(config, starts, stand.ends), None)


def process_of(child: Mapping[str, Any]) -> Process | None:
    """A child of the platform's, if it lives, with what it tells of itself."""
    try:
        status = psutil.Process(child["pid"]).status() if child["pid"] else ""
    except psutil.Error:
        return None
    frozen = status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    try:
        told = "" if frozen or not child["url"] else httpx.get(child["url"], timeout=5).text
    except httpx.HTTPError:
        told = ""
    left = total(told, "olo_restoring_records")
    return Process(child["role"], child["pid"], child["log"], frozen, left) if status else None


def of_flow(config: Config, group: str, stand: Stand | None, first: Record | None, processes: Sequence[Process]) -> Examined:
    """How a flow is. `first`: a record that it stands still before."""
    what = f"{group} lag"
    if frozen := frozen_of(what, processes):
        return frozen
    if stand is None:
        return Examined(what, False, "unknown: a transaction hangs, which the broker ends within two minutes", "olo doctor")
    if first is not None and not any(one.left for one in processes):
        place = f"{first.topic()}/{first.partition()}/{first.offset()}"
        seen = f"stands still before {place}, while the broker has answered {LOOKS} looks"
        return Examined(what, False, f"{seen}; {stand.behind:,} records behind", start_again(group, processes))
    left = sum(one.left for one in processes)
    reading = f"; it reads its states, {left:,.0f} records to go" if left else ""
    return Examined(what, stand.behind <= LAG_RECORDS[group], f"{stand.behind:,} records{reading}", _more(config, group))


def frozen_of(what: str, processes: Sequence[Process]) -> Examined | None:
    """The finding that one of a flow's processes is frozen, if one is."""
    frozen = next((one for one in processes if one.frozen), None)
    if frozen is None:
        return None
    seen = f"{frozen.role} (pid {frozen.pid}) is frozen: somebody has sent it SIGSTOP"
    return Examined(what, False, seen, f"kill -CONT {frozen.pid}")


def start_again(group: str, processes: Sequence[Process]) -> str:
    """How the processes of a flow that stands still are started again."""
    if not processes:
        return f"make up, or start the processes of {group} where they run: they go on where they stood"
    pids = " ".join(str(one.pid) for one in processes)
    return f"kill {pids}    (they are started again and go on where they stood; see {processes[0].log})"


def _more(config: Config, group: str) -> str:
    processes = {"money": config.money_processes, "live": config.live_processes, "growth": config.growth_processes}
    room = processes.get(group, config.partitions) < config.partitions  # of more, the settings would complain
    return f"OLO_{group.upper()}_PROCESSES={processes[group] + 1} make up" if room else "make up"
