"""The money flow: transfers and accounts, decided exactly once.

`python -m pipelines.flows.money --slot N --metrics-port P`; start more slots to share the partitions.
"""

from infra.config import Config
from pipelines import balance, transfer
from pipelines.flows.process import arguments, start
from pipelines.runtime.core import Core, Decider
from pipelines.runtime.worker import Worker
from schemas.log import topics

NAME = "money"

DECIDERS = (
    Decider(topics.TRANSFER, transfer.decide),
    Decider(topics.ACCOUNT, balance.decide),
)


def build(slot: int, config: Config) -> Worker:
    """A worker of this flow, connected."""
    return Worker(NAME, slot, Core(DECIDERS), config)


if __name__ == "__main__":
    start(NAME, build, arguments())
