"""The store flow: rows a second from the log into ClickHouse, raw and projected, against bare inserts of the same rows."""

import time
from collections.abc import Callable, Iterator

import pyarrow as pa

from infra.clickhouse import connect
from infra.config import Config
from schemas.balance import ACCOUNT, EntryKind, EntryRecorded
from schemas.log.base import AccountId, now
from schemas.log.codec import encode
from tests.lab.bench.ground import fill, ground, rate

ROWS = 1_000_000
AIM = 150_000


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print the store's rate and its ratio to inserting ready Arrow batches, without a log to read or JSON to parse."""
    total = int(ROWS * scale)
    with ground(warehouse=True) as config:
        fill(config, ACCOUNT.events, _entries(total))
        limit = _bare(config, total)
        client = connect(config.clickhouse_url)

        def stored() -> int:
            return int(client.query("SELECT count() FROM balance_entries").result_rows[0][0])

        found = rate(stored, total, ["-m", "pipelines.flows.store"], config, every_s=0.25)
    tell(f"store: {total:,} entries from Kafka into log and balance_entries, one process")
    tell(f"  bare Arrow inserts {limit:>9,.0f} rows/s (the limit: no Kafka, no JSON, one table)")
    tell(f"  store flow         {found:>9,.0f} rows/s (aim {AIM:,}: {'reached' if found >= AIM else 'NOT reached'})")
    tell(f"  store / bare       {found / limit:.2f}")


def _entries(total: int) -> Iterator[tuple[bytes, bytes]]:
    at = now()
    for number in range(total):
        account = f"s{number % 50_000}/coins"
        entry = EntryRecorded(
            id=f"{number:032x}/0",
            at=at,
            cause=f"{number:032x}",
            account=AccountId(account),
            seq=number // 50_000 + 1,
            kind=EntryKind.CREDIT,
            balance_coins=number,
            held_coins=0,
            coins=5,
            counterparty="@promotions",
            reason="grant",
        )
        yield account.encode(), encode(entry)


def _bare(config: Config, total: int) -> float:
    """Rows a second of inserts into a table like `log`, in batches of the store's size."""
    client = connect(config.clickhouse_url)
    client.command("CREATE TABLE bare (offset UInt64, value String CODEC(ZSTD(1))) ENGINE = MergeTree ORDER BY offset")
    values = [value for _, value in _entries(50_000)]
    batch = pa.table({"offset": pa.array(range(50_000), pa.uint64()), "value": pa.array(values, pa.binary())})
    times = max(1, total // 50_000)
    began = time.monotonic()
    for _ in range(times):
        client.insert_arrow("bare", batch)
    took = time.monotonic() - began
    client.command("DROP TABLE bare")
    return times * 50_000 / took
