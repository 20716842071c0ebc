"""What `olo doctor` sees of the flow `pulse`, which is in no group: how old the newest of its windows is."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import TopicPartition

from infra.config import Config
from infra.doctor_flows import Process, frozen_of, process_of, start_again
from infra.doctor_log import Examined
from infra.kafka import ends_of, read_to_end, reader
from schemas.log.topics import PULSE_SECONDS
from schemas.pulse import Pulse, window_of

ROLE: Final = "pulse"
# Windows close some seconds behind their end; a flow that starts again is back within this.
LATE_S: Final = 60
# Seconds of all metrics, and samples between them.
BACK_RECORDS: Final = 40 * len(Pulse)


def examine_pulse(config: Config, children: Sequence[Mapping[str, Any]]) -> Examined:
    """The finding. `children`: those of a running platform, as its endpoints file has them. Errors: KafkaException."""
    processes = [found for child in children if child["role"].rpartition("-")[0] == ROLE and (found := process_of(child))]
    return of_pulse(newest(config), time.time(), processes)


def newest(config: Config) -> float | None:
    """Up to when the flow has counted, as Unix seconds; None: it has written nothing. Samples are no windows: another thread
    writes them. Errors: KafkaException."""
    place = (PULSE_SECONDS.name, 0)
    with reader(config) as plain:
        end = ends_of(plain, [place])[place]
    records = read_to_end(config, [TopicPartition(*place, max(0, end - BACK_RECORDS))], {place: end})
    windows = (window_of(record.value() or b"") for record in records)
    return max((window.as_of.timestamp() for window in windows if window and window.metric in set(Pulse)), default=None)


def of_pulse(counted: float | None, now: float, processes: Sequence[Process]) -> Examined:
    """How the flow is, that has counted up to a moment."""
    what = f"{ROLE} lag"
    if frozen := frozen_of(what, processes):
        return frozen
    if counted is None:
        return Examined(what, True, "it has counted nothing yet")
    late_s = max(0.0, now - counted)
    seen = f"its newest second is {late_s:,.0f} s old; the panel's page Now and its alerts are as old"
    return Examined(what, late_s <= LATE_S, f"{late_s:,.0f} s" if late_s <= LATE_S else seen, start_again(ROLE, processes))
