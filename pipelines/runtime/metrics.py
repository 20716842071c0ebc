"""Every metric of the flows, in one place; each process serves its own under `/metrics`."""

import time
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, start_http_server

# From one transaction of a lone command (5 ms) to one that waits for a broker on its knees.
SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
RECORDS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)

DECIDED = Counter("olo_decided", "Messages decided and committed", ["flow"])
DEAD = Counter("olo_dead_letters", "Records put aside as dead letters", ["flow"])
ALARMS = Counter("olo_alarms", "Facts that somebody of the staff has to look at, by type", ["fact"])
PUSHES = Counter("olo_push_attempts", "Attempts to push to a phone, by what came of them", ["provider", "outcome"])
WRITTEN = Counter("olo_written", "Records written to the log, or rows to the warehouse", ["flow"])
BATCH = Histogram("olo_batch_records", "Records in a batch", ["flow"], buckets=RECORDS)
COMMIT = Histogram("olo_commit_seconds", "Sending the last part of a batch, and committing it", ["flow"], buckets=SECONDS)
LAG_RECORDS = Gauge("olo_lag_records", "Records of the topic that wait for this process", ["flow", "topic"])
LAG_SECONDS = Gauge("olo_lag_seconds", "Age of the record last taken while others wait; 0 when none waits", ["flow", "topic"])
PARTITIONS = Gauge("olo_assigned_partitions", "Partitions that this process works on", ["flow"])
RESTORED = Gauge("olo_restored_entities", "Entities whose states this process holds", ["flow"])
RESTORE = Histogram("olo_restore_seconds", "Restoring states at an assignment", ["flow"], buckets=SECONDS)
PARKED = Gauge("olo_parked_entities", "Entities that wait for an operator, see `olo dead-letters list`", ["flow"])
RESTORING = Gauge("olo_restoring_records", "Records of the changelogs that are still to be read, about", ["flow"])
VENDORS = Counter("olo_vendor_attempts", "Attempts at outside services, by what came of them", ["provider", "kind", "outcome"])
PULSE_LEVEL = Gauge("olo_pulse_level", "A level of the pulse, such as who is online, at the end of the last second", ["metric"])
PULSE_LATE = Counter("olo_pulse_late", "What was heard when the minute in which it happened had closed", ["metric"])
WORKING_SINCE = Gauge("olo_working_since_seconds", "Unix time of this process's first commit; 0 before", ["flow"])


def mark_working(flow: str) -> None:
    """Note the time of this process's first commit."""
    since = WORKING_SINCE.labels(flow)
    if not since._value.get():
        since.set(time.time())


def serve(port: int) -> None:
    """Serve this process's metrics on the loopback."""
    start_http_server(port, addr="127.0.0.1")
