"""A person's page where a million people have left ten million records, and one of them every hundredth of these.

The records stand in `log` as the store writes them and go through the real projection; the page is the question that
`GET /v1/admin/people/{user}` asks. Its peers of the same run are `SELECT 1`, which is the way there and back, and the same page
out of `log` alone.
"""

import time
from collections.abc import Callable
from typing import Final

from clickhouse_connect.driver.client import Client

from infra.clickhouse import connect, migrate
from schemas.tables import PROJECTIONS
from serving.mission_control_person import MOMENTS, MomentKind
from tests.lab.bench.ground import ground
from tests.lab.percentiles import percentile

RECORDS: Final = 10_000_000
RECORDS_EACH: Final = 10
AT_A_TIME: Final = 500_000
PAGES: Final = 200
AIM_MS: Final = 300.0
BUSY: Final = "busy"
# A tenth of the records is each of: a call, a message; the rest are entries of accounts.
FILL: Final = """
INSERT INTO log (topic, partition, offset, key, logged_at, value)
WITH
    if(number % 100 = 50, 'busy', concat('u', toString(cityHash64(number) % {users:UInt64}))) AS user,
    concat('u', toString(cityHash64(number, 'peer') % {users:UInt64})) AS peer,
    formatDateTime(toDateTime('2026-01-01 00:00:00', 'UTC') + number, '%Y-%m-%dT%H:%i:%S.000000Z') AS at,
    concat('"id":"', hex(number), '","at":"', at, '","cause":"', hex(number), '"') AS head
SELECT
    multiIf(number % 10 = 1, 'call.events', number % 10 = 2, 'chat.events', 'account.events'), number % 8, number, user,
    now64(3),
    multiIf(
        number % 10 = 1, concat('{"type":"CallEnded",', head, ',"call":"', hex(number), '","caller":"', user,
            '","callee":"', peer, '","kind":"direct","reason":"hung_up","connected":true,"duration_s":61.5}'),
        number % 10 = 2, concat('{"type":"ItemPosted",', head, ',"pair":"', user, '/', peer, '","user":"', user,
            '","peer":"', peer, '","seq":7,"ref":"', hex(number), '","length":20}'),
        concat('{"type":"EntryRecorded",', head, ',"account":"', user, '/coins","seq":', toString(number),
            ',"kind":"capture","balance_coins":5000,"held_coins":300,"coins":-5,"held_change_coins":-5,"counterparty":"@calls",',
            '"reason":"call","ref":"', hex(number), '"}'))
FROM numbers({first:UInt64}, {count:UInt64})
"""
FROM_LOG: Final = """
SELECT count() FROM (SELECT value FROM log WHERE position(value, concat('"', {user:String}, '"')) > 0
    OR position(value, concat('"', {user:String}, '/coins"')) > 0 ORDER BY at DESC LIMIT 50)
"""


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print the page's time for an ordinary person and for a busy one, against the aim, the way there and back, and the log."""
    records = int(RECORDS * scale)
    users = records // RECORDS_EACH
    with ground(warehouse=True) as config:
        migrate(config.clickhouse_url)
        client = connect(config.clickhouse_url, 600)
        moments = _fill(client, records, users)
        way = _timed(client, "SELECT 1", ["" for _ in range(PAGES)])
        people = [f"u{number * 7919 % users}" for number in range(PAGES)]
        ordinary = _timed(client, MOMENTS, people)
        busy = _timed(client, MOMENTS, [BUSY] * PAGES)
        scan = _timed(client, FROM_LOG, people[:3])
    tell(f"{records:,} records of {users:,} people, {moments:,} moments; a page of 50, ms: p50, p99")
    tell(f"  SELECT 1, the way there and back     {_p(way, 50):8.1f} {_p(way, 99):8.1f}")
    for name, times in (("an ordinary person's page", ordinary), (f"of whom {records // 100:,} records tell", busy)):
        ratio = _p(times, 99) / AIM_MS
        tell(f"  {name:<36} {_p(times, 50):8.1f} {_p(times, 99):8.1f}   p99 is {ratio:.2f} of the aim of {AIM_MS:.0f} ms")
    tell(f"  the same out of the log alone        {_p(scan, 50):8.1f}   {_p(scan, 50) / _p(ordinary, 50):.0f} times as long")


def _fill(client: Client, records: int, users: int) -> int:
    """The records into the log and the projection; how many moments came of them."""
    projection = next(one for one in PROJECTIONS if one.table == "person_moments")
    for first in range(0, records, AT_A_TIME):
        count = min(AT_A_TIME, records - first)
        client.command(FILL, parameters={"users": users, "first": first, "count": count})
        client.command(f"INSERT INTO person_moments {projection.select} AND offset >= {first} AND offset < {first + count}")
    return int(client.query("SELECT count() FROM person_moments").result_rows[0][0])


def _timed(client: Client, question: str, users: list[str]) -> list[float]:
    """How long each answer takes, in milliseconds."""
    times = []
    for user in users:
        asked = {"user": user, "before": 2**52, "kinds": list(MomentKind), "limit": 50}
        began = time.perf_counter()
        client.query(question, parameters=asked)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _p(times: list[float], share: float) -> float:
    return percentile(sorted(times), share)
