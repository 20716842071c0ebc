"""The flow `pulse`: what happens on the platform, a second and a minute at a time (`pipelines.pulse`), for whoever looks now
(`pulse.seconds`) and for analysts (`pulse.minutes`).

It reads topics by hand, in no group, and keeps nothing but what it wrote: at a start it reads back its last minutes and counts
again from a few of them before. Windows are written at least once, each under its own key and with the same value, so a reader
who takes the last of a key counts nothing twice. It is one process, and the last to get the processor: it may lag.

Beside the windows it looks every few seconds at what the platform's processes tell of themselves (`samples`), where it finds
them by the endpoints file.

`python -m pipelines.flows.pulse --slot 0 --metrics-port P`.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import httpx
from bytewax.run import cli_main

from infra.config import Config
from infra.endpoints import endpoints_of
from infra.exposition import largest, total
from pipelines.flows.process import arguments, start
from pipelines.runtime.flow import stopping
from pipelines.runtime.pulse import NAME, Input, InputSource, Output, OutputSink, resume_from
from pipelines.runtime.windows import dataflow
from schemas.log.base import EPOCH
from schemas.pulse import SAMPLE_S, PulseWindow, shown, window_key

log = logging.getLogger("olo.pulse")

# Phones come first.
NICE: Final = 5
SAMPLES: Final[Mapping[str, str]] = {
    "lag_records": "olo_lag_records",
    "lag_seconds": "olo_lag_seconds",
    "partitions": "olo_assigned_partitions",
    "parked": "olo_parked_entities",
    "dead_letters": "olo_dead_letters_total",
}


class Pulse:
    """The flow's parts."""

    def __init__(self, slot: int, config: Config) -> None:
        if slot:
            raise ValueError("the pulse is one process: --slot 0")
        os.nice(NICE)
        self.resume = resume_from(config)
        self.stopped = stopping()
        self.input = Input(config, self.resume, self.stopped)
        self.output = Output(config)
        self.output.open = lambda: not self.input.closed
        self._config = config
        begins = "what it wrote" if self.resume.levels is not None else "nothing: all facts are heard"
        log.info("goes on from %s; the first minute is %s", begins, EPOCH + timedelta(seconds=self.resume.minute))

    def run(self, name: str) -> None:
        """Until SIGTERM or SIGINT."""
        threading.Thread(target=self._sample, name="samples", daemon=True).start()
        cli_main(dataflow(name, InputSource(self.input), OutputSink(self.output), self.resume), epoch_interval=timedelta(0))

    def _sample(self) -> None:
        with httpx.Client(trust_env=False, timeout=2) as client:
            while not self.stopped():
                try:
                    self.output.write(samples(endpoints_of(self._config.home).get("children", []), client, int(time.time())))
                except Exception as error:  # the windows go on; the panel shows how old the samples are
                    log.warning("the processes were not looked at: %s", type(error).__name__)
                time.sleep(SAMPLE_S)


def samples(children: list[dict[str, Any]], client: httpx.Client, now_s: int) -> Iterator[PulseWindow]:
    """What each flow tells of itself now, as windows "<sample>/<flow>"; a flow whose processes do not answer has none."""
    start = now_s // SAMPLE_S * SAMPLE_S
    found: dict[str, float] = {}
    for child in children:
        flow, _, slot = child["role"].rpartition("-")
        if not slot.isdigit():
            continue
        found[f"restarts/{flow}"] = found.get(f"restarts/{flow}", 0) + len(child.get("died", []))
        if not child["url"].endswith("/metrics"):
            continue
        try:
            text = client.get(child["url"]).text
        except httpx.HTTPError:
            continue
        for name, metric in SAMPLES.items():
            key, value = f"{name}/{flow}", (largest if name == "lag_seconds" else total)(text, metric)
            found[key] = max(found.get(key, 0.0), value) if name == "lag_seconds" else found.get(key, 0.0) + value
    at = EPOCH + timedelta(seconds=start)
    for name, value in found.items():
        yield PulseWindow(
            id=window_key(name, SAMPLE_S, start), at=at, metric=name, width_s=SAMPLE_S, value=shown(round(value)),
            as_of=EPOCH + timedelta(seconds=now_s),
        )  # fmt: skip


if __name__ == "__main__":
    start(NAME, Pulse, arguments(), lambda name, pulse: pulse.run(name))
