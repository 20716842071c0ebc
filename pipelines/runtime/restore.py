"""Bringing lanes up to the end of their changelogs, a slice at a time, so that the process stays a member of its group.

What a lane's store contains is not read again. The states come first; the position of the inbox comes with them, and nothing
else says where the inbox goes on: the group's offset is for onlookers. What cannot be is refused (`UsageError`): an inbox that
ends before its position, or a changelog without a position whose entity has told facts.
"""

import logging
import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition

from infra.config import Config
from infra.errors import UsageError
from infra.kafka import BoundedRead, ask_patiently, ends_of, has_records, offsets_of
from infra.topics import bring_back
from pipelines.runtime import metrics
from pipelines.runtime.lane import Lane

log = logging.getLogger("olo.restore")

Place = tuple[str, int]

TELL_S: Final = 5.0


class Restore:
    """One restore of several lanes: call `advance` until it says True. Errors: UsageError, StandstillError, KafkaException."""

    def __init__(self, flow: str, lanes: Iterable[Lane], config: Config, memory_bytes: int, offsets: dict[Place, int]) -> None:
        self._offsets = offsets
        self.flow = flow
        self.lanes = {(lane.entity.changelog, lane.partition): lane for lane in lanes}
        self._memory_bytes = memory_bytes
        self._config = config
        self._began = time.monotonic()
        self._tell_at = self._began + TELL_S
        ends = ask_patiently("the changelogs' ends", config, lambda plain: ends_of(plain, list(self.lanes)), committed=False)
        for place, lane in self.lanes.items():
            self._begin(lane, ends[place])
        # Behind a transaction's last record lies its mark: one offset more is no record.
        starts = [
            TopicPartition(*place, lane.states.contains)
            for place, lane in self.lanes.items()
            if ends[place] > lane.states.contains + 1
        ]
        self._empty_changelogs = {place for place, end in ends.items() if not end}
        self._read = BoundedRead(config, starts, ends)
        self._records = 0

    def _begin(self, lane: Lane, end: int) -> None:
        had = lane.states.contains
        lane.states.begin(end)
        lane.position = lane.states.position
        if had and lane.states.why:
            log.warning("%s/%d: the states on disk are made anew: %s", lane.entity.changelog, lane.partition, lane.states.why)

    def advance(self, seconds: float) -> bool:
        """Read on for about so long; whether the lanes are complete."""
        until = time.monotonic() + seconds
        while not self._read.done and time.monotonic() < until:
            self._take()
        metrics.RESTORING.labels(self.flow).set(self._read.left)
        if time.monotonic() > self._tell_at:
            self._tell_at += TELL_S
            log.info("%s: %d records of the changelog are read, about %d are left", self.flow, self._records, self._read.left)
        if not self._read.done:
            return False
        self._read.close()
        self._check()
        for lane in self.lanes.values():
            lane.begin()
        metrics.RESTORE.labels(self.flow).observe(time.monotonic() - self._began)
        return True

    def _take(self) -> None:
        found: dict[Place, dict[bytes, bytes | None]] = {}
        for record in self._read.next():
            found.setdefault((record.topic(), record.partition()), {})[record.key() or b""] = record.value()
            self._records += 1
        for place, records in found.items():
            lane = self.lanes[place]
            lane.restore(records)
            lane.states.reached(self._read.at(place), lane.position)
        if sum(lane.states.recent_bytes for lane in self.lanes.values()) > self._memory_bytes:
            for lane in self.lanes.values():
                lane.states.tend(pressed=True)

    def _check(self) -> None:
        """Where each inbox goes on. Errors: UsageError."""
        inboxes = [(lane.entity.inbox, lane.partition) for lane in self.lanes.values()]
        begins, ends = ask_patiently(
            "the inboxes' beginnings and ends",
            self._config,
            lambda plain: [offsets_of(plain, inboxes, which) for which in (OFFSET_BEGINNING, OFFSET_END)],
            committed=False,
        )
        for place, lane in self.lanes.items():
            inbox = (lane.entity.inbox, lane.partition)
            if lane.position < 0:
                lane.position = self._first(lane, empty=place in self._empty_changelogs)
            if lane.position > ends[inbox]:
                raise UsageError(
                    f"{inbox[0]}/{inbox[1]} ends at {ends[inbox]}, and {lane.position} records of it have been decided: this "
                    f"is not the log that these states come from, or it has lost its end; {bring_back()}"
                )
            if lane.position < begins[inbox]:
                lost = begins[inbox] - lane.position
                log.error("%s/%d: %d records were deleted by the broker before anybody decided them", *inbox, lost)
                lane.position = begins[inbox]

    def _first(self, lane: Lane, *, empty: bool) -> int:
        """Where an inbox begins whose changelog tells no position: nothing was decided yet, or the changelog is not the one
        that was written. Errors: UsageError."""
        offset = self._offsets.get((lane.entity.inbox, lane.partition), 0)
        if not empty and offset:
            return offset  # written by a version that left the position to the group
        if has_records(self._config, (lane.entity.events, lane.partition)):
            seen = "is empty" if empty else "does not say how far its inbox was decided"
            raise UsageError(
                f"{lane.entity.changelog}/{lane.partition} {seen}, and {lane.entity.events}/{lane.partition} has facts: the "
                f"changelog was lost, and deciding the inbox again would do everything twice; "
                f"{bring_back(lane.entity.name)}"
            )
        return 0

    def close(self) -> None:
        """Give it up."""
        self._read.close()
