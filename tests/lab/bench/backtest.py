"""`olo tariff backtest` over a million calls: read from ClickHouse, rated twice (their own version, the draft), summed up."""

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from infra.backtest import Draft, backtest, bills
from infra.clickhouse import connect
from schemas.billing import SHIPPED
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind, Rule
from schemas.log.base import now
from tests.lab.bench.ground import ground

CALLS: Final = 1_000_000
AIM_S: Final = 60.0
DRAFT: Final = Draft(
    "roulette",
    Side((Checkpoint(0, 9), Checkpoint(15, 60)), 45, 60),
    Side((Checkpoint(15, 30),), 45, 30),
    Rule(CallKind.ROULETTE),
)


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print how long a backtest takes, and reading the bills alone (the limit)."""
    total = int(CALLS * scale)
    with ground(warehouse=True) as config:
        client = connect(config.clickhouse_url)
        _fill(client, total)
        began = time.monotonic()
        bills(client, 30)
        limit = time.monotonic() - began
        began = time.monotonic()
        result = backtest(client, DRAFT, 30)
        took = time.monotonic() - began
    if result.calls != total or result.unequal:
        raise RuntimeError(f"{result.calls} of {total} calls were read, {result.unequal} unequal")
    tell(f"backtest: {total:,} calls, rated with their own version and, {result.sums['calls']:,}, with the draft; all equal")
    tell(f"  reading the bills  {limit:6.1f} s (the limit)")
    verdict = "reached" if took < AIM_S * scale else "NOT reached"
    tell(f"  backtest           {took:6.1f} s (aim {AIM_S * scale:.0f} s: {verdict})")


def _fill(client: Client, total: int) -> None:
    """Bills as the flows would have closed them, under the shipped tariffs."""
    chance, at = random.Random(1), now()
    for begin in range(0, total, 100_000):
        rows = []
        for number in range(begin, min(total, begin + 100_000)):
            tariff = chance.choice(SHIPPED)
            length = timedelta(microseconds=round(chance.expovariate(1 / 90) * 1e6))
            rows.append(
                {
                    "call": f"c{number}", "at": at, "connected_at": at - length, "kind": tariff.rule.kind or "direct",
                    "payer": f"u{chance.randrange(50_000)}", "earner": f"s{chance.randrange(5_000)}", "payer_role": "user",
                    "earner_role": "streamer", "country": chance.choice(("GB", "DE", "FR")), "tariff": tariff.tariff,
                    "version": 1, "duration_s": length.total_seconds(), "paid_coins": tariff.payer.total(length),
                    "earned_coins": tariff.earner.total(length),
                }
            )  # fmt: skip
        client.insert_arrow("bills", pa.Table.from_pylist(rows))
