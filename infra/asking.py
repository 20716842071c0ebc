"""Questions to the broker that a person waits for, and looks at whether it answers at all.

A limit in seconds cannot tell a broker that leaves a question open from one that has no processor. So the limit counts what the
broker answers meanwhile: a question that stands open while LOOKS others were answered, one behind the other, stays open. Where
the broker is slow its answers are, too, and both the limit and each try grow with them.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from infra.config import Config
from infra.kafka import TIMEOUT_S, late, quiet
from schemas.log.topics import DEAD_LETTERS

log = logging.getLogger("olo.asking")

T = TypeVar("T")

# A look is so many requests, one behind the other: what is watched is some ten of them, and waits for disks.
REQUESTS: Final = 3
# A broker that has a processor answers a look within some milliseconds. One that took ten times as long as this is a tenth.
QUICK_S: Final = 0.05
# A question is put so often while the broker answers others.
LOOKS: Final = 5
# The broker is away when it leaves so many looks without an answer, TIMEOUT_S each: a person is told so.
SILENT: Final = 6
# The shortest try; one takes SLOWER times as long as the last look did, where that is longer.
TRY_S: Final = 2.0
SLOWER: Final = 3.0


def broker_answers(config: Config) -> Callable[[], float | None]:
    """A look: REQUESTS cheap requests, one behind the other, each answered. It gives how much the answer counts: 1, a late one
    less, none in time 0; None, when there is no broker. Its client is made when it is needed first."""
    clients: list[AdminClient] = []

    def look() -> float | None:
        clients.extend([] if clients else [AdminClient(quiet(config))])
        began = time.monotonic()
        try:
            for _ in range(REQUESTS):
                clients[0].list_topics(DEAD_LETTERS.name, timeout=TIMEOUT_S)
        except KafkaException as error:
            log.warning("waiting for the broker, which does not answer: %s", error.args[0].name())
            return 0.0 if error.args[0].code() == KafkaError._TIMED_OUT else None
        return QUICK_S / max(QUICK_S, time.monotonic() - began)

    return look


def answered(ask: Callable[[float], T], look: Callable[[], float | None]) -> T | None:
    """What the broker answers to `ask`, which gets the seconds that it may take; None when the broker leaves it open. `look`:
    above 0 where the broker answers another question. Errors: KafkaException, for anything that waiting does not mend."""
    wait_s, looks, silent = TRY_S, 0, 0
    while looks < LOOKS and silent < SILENT:
        try:
            return ask(wait_s)
        except (TimeoutError, KafkaException) as error:
            if not late(error):
                raise
        began = time.monotonic()
        if look():
            looks, silent = looks + 1, 0
        else:
            silent += 1
        wait_s = max(TRY_S, SLOWER * (time.monotonic() - began))
    return None
