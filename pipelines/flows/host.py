"""The flows that decide: `python -m pipelines.flows.host FLOW --slot N --metrics-port P`, FLOW being money, live or growth.

What a flow hosts follows from the map of the log. Start more slots of a flow to share its partitions.
"""

from typing import Final

from infra.config import Config
from pipelines.flows.deciders import deciders
from pipelines.flows.process import arguments, start
from pipelines.runtime.core import Core
from pipelines.runtime.worker import Worker
from schemas.log.entity import Flow

# A cohort is entered within two seconds, a push answered within two: a tenth of that is free, and saves most transactions.
GATHER_S: Final = {Flow.GROWTH: 0.1}


def build(flow: Flow, slot: int, config: Config) -> Worker:
    """A worker of this flow, connected."""
    return Worker(flow.value, slot, Core(deciders(flow)), config, gather_s=GATHER_S.get(flow, 0.0))


if __name__ == "__main__":
    given = arguments(*Flow)
    hosted = Flow(given.flow)
    start(hosted.value, lambda slot, config: build(hosted, slot, config), given)
