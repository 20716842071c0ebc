"""Whether the log can be reached, and whether the views follow it: what `/readyz` tells.

A thread asks the log once a second where its partitions end: the leader of each answers for its own, so one that nobody leads
shows, too. A broker that is frozen, gone, or alone of a majority shows within REACH_S. Where the feed goes on and what this
process has read of it does not, the views stand still.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import OFFSET_END, Consumer, KafkaException

from infra.config import Config
from infra.kafka import offsets_of, reader
from infra.topics import short_of_replicas
from schemas.log.entity import log_partitions
from schemas.log.topics import ENTITIES, FEED

log = logging.getLogger("olo.serving")

EVERY_S: Final = 1.0
# One question: a broker that is busy may take so long.
ANSWER_S: Final = 3.0
# The last answer is so old: the log is out of reach.
REACH_S: Final = 5.0
# The feed has gone on for so long, and what was read of it has not: a slow machine reads late, but it reads.
STANDS_S: Final = 20.0

Places = Mapping[int, int]


class Standing:
    """Notices positions that do not move while there is more to read. Partition -> offset; times in seconds."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def stands(self, positions: Places, ends: Places, moment: float) -> bool:
        """Whether a partition with more to read has not moved for STANDS_S. A position below 0: not known yet."""
        behind = {p: position for p, position in positions.items() if 0 <= position < ends.get(p, 0)}
        before = self._since
        self._since = {p: before[p] if before.get(p, (-1,))[0] == at else (at, moment) for p, at in behind.items()}
        return any(moment - since > STANDS_S for _, since in self._since.values())


def problem_of(heard_at: float, short: str, stands: bool, moment: float) -> tuple[str, str] | None:
    """What keeps this process from being ready (code, detail), if anything does."""
    if moment - heard_at > REACH_S:
        return "log_unreachable", "the log does not answer; see `olo doctor`"
    if short:
        return "log_unreachable", f"the log cannot take commands: {short}; see `olo doctor`"
    if stands:
        return "views_stand_still", "the log goes on, and this process does not read it"
    return None


class Reach:
    """The thread. `read_to`: what this process has read of the feed, partition -> offset; `heard_at`: when it last polled."""

    def __init__(self, config: Config, read_to: Callable[[], Places]) -> None:
        self._config = config
        self._read_to = read_to
        self._stop = threading.Event()
        self._standing = Standing()
        self._heard_at = 0.0
        self._short = ""
        self._stands = False
        self._thread = threading.Thread(target=self._run, name="reach", daemon=True)
        self._thread.start()

    def problem(self) -> tuple[str, str] | None:
        """What keeps this process from being ready (code, detail), if anything does."""
        return problem_of(self._heard_at, self._short, self._stands, time.monotonic())

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(ANSWER_S)

    def _run(self) -> None:
        consumer = reader(self._config)
        while not self._stop.is_set():
            try:
                self._ask(consumer)
            except KafkaException as error:
                log.warning("the log does not answer: %s", error.args[0].name())
                # A client may not find a node again that was away from its metadata for a moment; a new one does.
                # Its end may wait for the node, too.
                threading.Thread(target=consumer.close, name="reach-let-go", daemon=True).start()
                consumer = reader(self._config)
            self._stop.wait(EVERY_S)
        consumer.close()

    def _ask(self, consumer: Consumer) -> None:
        inboxes = {entity.inbox for entity in ENTITIES}
        partitions = range(log_partitions())
        # What is read goes first: the end is then behind it, or where it is.
        read_to = self._read_to()
        places = [(topic, p) for topic in (FEED.name, *sorted(inboxes)) for p in partitions]
        ends = offsets_of(consumer, places, OFFSET_END, ANSWER_S)
        short = short_of_replicas(consumer.list_topics(timeout=ANSWER_S), inboxes)
        self._heard_at = time.monotonic()
        self._short = ", ".join(short[:3])
        self._stands = self._standing.stands(read_to, {p: ends[FEED.name, p] for p in partitions}, self._heard_at)
