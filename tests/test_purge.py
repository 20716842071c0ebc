"""What an earlier Olo has stored of people is taken out of the warehouse: of `log`, of the tables, and once only."""

import json
from datetime import UTC, datetime

from infra.clickhouse import connect
from infra.purge import COLUMNS, purge
from schemas.gift import GIFT
from schemas.log.outward import outward
from schemas.tables import LOG, PROJECTIONS
from tests.conftest import Stack
from tests.golden import golden_lines
from tests.lab.proofs.traces import in_warehouse

T = datetime(2030, 1, 1, tzinfo=UTC)
GIFTS = {fact.__name__ for fact in GIFT.facts}
STORED = f"SELECT topic, offset, value FROM {LOG}"
PUT = (
    b'{"type":"ProfilePut","id":"%d","at":"2030-01-01T00:00:00Z","cause":"c","user":"ann","name":"%s","age":30,"country":"DE"}'
)


def test_old_rows_lose_what_is_personal_and_all_others_stay(stack: Stack) -> None:
    client = connect(stack.database("purged"))
    told = {"gift.events": [line.encode() for line in golden_lines() if json.loads(line)["type"] in GIFTS]}
    told["profile.events"] = [PUT % (n, b"Zaphod" if n % 2 else b"") for n in range(10)]
    told["profile.inbox"] = [b'{"name":"Zaphod"']
    told["no.such.topic"] = [b"Zaphod"]
    rows = [(topic, 0, n, b"ann", T, value) for topic, values in told.items() for n, value in enumerate(values)]
    client.insert(LOG, rows, column_names=COLUMNS)
    for one in PROJECTIONS:
        client.command(one.insert())
    assert in_warehouse(client, ["Zaphod"]).keys() == {"log.value", "profiles.name"}
    found = purge(client)
    assert (found["profile.events"], found["profile.inbox"], found["no.such.topic"]) == (5, 1, 1)
    assert in_warehouse(client, ["Zaphod"]) == {}
    stored = {(topic, offset): value.encode() for topic, offset, value in client.query(STORED).result_rows}
    assert stored == {(topic, offset): outward(topic, value) for topic, _, offset, _, _, value in rows}
    assert client.query("SELECT count(), any(age) FROM profiles").result_rows == [(10, 30)]
    assert purge(client) == {}
