"""The growth flow: interaction, engagement, cohorts, attribution and postbacks, decided exactly once.

`python -m pipelines.flows.growth --slot N --metrics-port P`; start more slots to share the partitions.
"""

from infra.config import Config
from pipelines import ads, gallery, interaction, panel, postback
from pipelines.flows.process import arguments, start
from pipelines.runtime.core import Core, Decider
from pipelines.runtime.worker import Worker
from schemas.log import topics

NAME = "growth"
# A cohort is entered within two seconds, a push answered within two: a tenth of that is free, and saves most transactions.
GATHER_S = 0.1

DECIDERS = (
    Decider(topics.PAIR, interaction.decide),
    Decider(topics.RANK, gallery.decide_rank),
    Decider(topics.GALLERY_RULES, gallery.decide_rules),
    Decider(topics.VIEWER, gallery.decide_shown),
    Decider(topics.COHORTS, panel.decide_book),
    Decider(topics.MEMBER, panel.decide),
    Decider(topics.INSTALL, ads.decide_install),
    Decider(topics.ATTRIBUTION, ads.decide),
    Decider(topics.POSTBACK_RULES, postback.decide),
)


def build(slot: int, config: Config) -> Worker:
    """A worker of this flow, connected."""
    return Worker(NAME, slot, Core(DECIDERS), config, gather_s=GATHER_S)


if __name__ == "__main__":
    start(NAME, build, arguments())
