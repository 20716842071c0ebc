"""Replay = live: all recorded inboxes are decided again, and lead to the facts and states that were written, byte for byte.

It only reads: on the platform that runs here (or that `OLO_BROKERS` names), also while it works; where none runs, the broker of
the last one is started for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console

from infra.config import Config
from infra.endpoints import config_here
from infra.platform import Platform
from pipelines.flows.replay import Replayed, check

SHOWN: Final = 20

Tell = Callable[[str], None]


@contextmanager
def _standing(config: Config) -> Iterator[Config]:
    here = config_here()
    if here.brokers:
        yield here
        return
    with Platform(config, Console(quiet=True)).foundation() as found:
        yield config.model_copy(update={"brokers": found["OLO_BROKERS"], "clickhouse_url": found["OLO_CLICKHOUSE_URL"]})


def prove(config: Config, processes: int, tell: Tell) -> int:
    """Replay everything; the number of partitions that differ, and one where nothing could be replayed at all."""
    with _standing(config) as standing:
        began = time.monotonic()
        results = sorted(check(standing, processes))
    return judge(results, time.monotonic() - began, tell)


def judge(results: list[Replayed], took: float, tell: Tell) -> int:
    """Tell what came of it; as `prove`."""
    differ = [one for one in results if one.difference]
    missing = [one for one in results if one.incomplete]
    whole = [one for one in results if not one.incomplete]
    for one in differ[:SHOWN]:
        tell(f"  DIFFERS  {one.entity}/{one.partition}: {one.difference}")
    for one in missing[:SHOWN]:
        tell(f"  cannot be replayed: {one.incomplete}")
    records, states = sum(one.position for one in whole), sum(one.states for one in whole)
    tell(f"{len(whole)} partitions, offsets up to {records:,} in all, {states:,} states, replayed in {took:.1f} s")
    decided = any(one.position for one in whole)
    verdict = "FAILED" if differ else "PROVEN: replay is live" if decided else "FAILED: nothing was ever decided here"
    tell(f"{verdict}, {len(differ)} differ, {len(missing)} cannot be replayed")
    return len(differ) or int(not decided)
