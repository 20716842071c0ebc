"""The warehouse's tables: they fit the Structs, make themselves, and grow forward only."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from msgspec import Struct
from msgspec.structs import fields

from infra import clickhouse
from infra.clickhouse import connect, migrate
from schemas.balance import EntryRecorded, owner_of
from schemas.billing import BillClosed, ReceiptStep
from schemas.billing_rules import Traits
from schemas.log.codec import decoder_of, encode
from schemas.log.topics import ENTITIES, PULSE_MINUTES
from schemas.pulse import PulseWindow
from schemas.tables import PROJECTIONS, TABLES, VIEWS, Projection, ddl
from schemas.tables import columns as file_columns
from tests.conftest import Stack
from tests.golden import golden_lines


def fields_of(struct: type[Struct]) -> set[str]:
    return {field.name for field in fields(struct)}


def columns(client: Client, table: str) -> list[str]:
    return [row[0] for row in client.query(f"DESCRIBE TABLE {table}").result_rows]


TYPES = {type_.__name__: type_ for entity in ENTITIES for type_ in entity.facts} | {PulseWindow.__name__: PulseWindow}
EXAMPLES = [json.loads(line) for line in golden_lines()]
PLACE = {"partition", "offset"}
TOUCH = ("network", "campaign", "campaign_id", "adset", "adset_id", "ad", "ad_id", "channel", "platform", "country")


def _told(fact: Any) -> Any:
    return getattr(fact, "postback", None)


# Columns that are not a field of that name: how the Struct tells them.
TOLD: dict[str, dict[str, Callable[..., Any]]] = {
    "agency_shares": {
        "agency": lambda f: owner_of(f.counterparty), "user": lambda f: owner_of(f.account),
        "version": lambda f: f.share_version, "earned_coins": lambda f: f.shared_coins, "share_coins": lambda f: -f.coins,
    },
    "audit": {"step": lambda f: type(f).__name__, "acted_at": lambda f: getattr(f, "acted_at", f.at)},
    "approvals": {"step": lambda f: type(f).__name__},
    "presence": {"until": lambda f: f.at, "since": lambda f: f.at - timedelta(seconds=f.online_s)},
    "refunds": {"kind": lambda f: type(f).__name__.removeprefix("Purchase").lower()},
    "purchase_consumptions": {"step": lambda f: type(f).__name__.removeprefix("Purchase").lower()},
    "favorites": {"liked": lambda f: type(f).__name__ == "FavoriteAdded"},
    "blocks": {"blocked": lambda f: type(f).__name__ == "UserBlocked"},
    "bills": {name: lambda f, name=name: getattr(f.traits, name) for name in fields_of(Traits)},
    "tariffs": {
        "tariff": lambda f: f.tariff.tariff, "version": lambda f: f.tariff.version,
        "effective_from": lambda f: f.tariff.effective_from, "definition": lambda f: encode(f.tariff).decode(),
    },
    "sightings": {"kind": lambda f: type(f).__name__},
    "chat_reports": {"step": lambda f: type(f).__name__},
    "cohort_changes": {"entered": lambda f: type(f).__name__ == "CohortEntered"},
    "pushes": {
        "kind": lambda f: f.touch.kind, "touch_at": lambda f: f.touch.at,
        "details": lambda f: encode(f.details).decode().removeprefix("{}"),
    } | {
        name: lambda f, name=name: getattr(f.touch, name) for name in TOUCH
    },
    "attributions": {
        "counts": lambda f: type(f).__name__ == "UserAttributed", "kind": lambda f: f.touch.kind,
        "touch_at": lambda f: f.touch.at,
    } | {name: lambda f, name=name: getattr(f.touch, name) for name in TOUCH},
    "postback_attempts": {"step": lambda f: type(f).__name__, "happened_at": lambda f: getattr(_told(f), "at", None)} | {
        name: lambda f, name=name: getattr(_told(f), name, None)
        for name in ("conversion", "event", "ref", "network", "campaign", "value_micros", "currency")
    },
    "push_outcomes": {"outcome": lambda f: type(f).__name__},
    "notification_steps": {"step": lambda f: type(f).__name__},
    "outreach_steps": {
        "step": lambda f: type(f).__name__,
        "number": lambda f: getattr(f, "number", 0) if type(f).__name__ == "OpeningSent" else 0,
    },
    "price_classes": {"step": lambda f: type(f).__name__},
    "question_runs": {"step": lambda f: type(f).__name__},
    "phones": {"kept": lambda f: type(f).__name__ == "PhoneKept"},
    "gallery_impressions": {"line": lambda _: 1, "card": lambda f: f.cards[0]},
    "bill_steps": {"line": lambda _: 1} | {
        name: lambda f, name=name: getattr(f.steps[0], name) for name in fields_of(ReceiptStep)
    },
}  # fmt: skip
LEFT_OUT = {
    "balance_entries": {"frozen", "cap"},
    "calls": {"cap_room"},
    "gifts": {"cap_room"},
    "bills": {"traits", "steps"},
    "question_runs": {"title"},
    "bill_steps": fields_of(BillClosed),
    "blocks": {"rules"},
    "presence": {"at"},
    "users": {"appsflyer_id"},
    "tariffs": {"book"},
    "sightings": {"session", "device", "online_s", "appsflyer_id"},
    "gallery_impressions": {"cards"},
    "chat_items": {"quiet", "muted"},
    "notification_steps": {"peer", "ref", "seq", "ends_at", "due_at", "title", "body", "by", "until"},
    "agency_shares": fields_of(EntryRecorded) - {"at", "seq", "ref"},
    "phones": {"locale"},
    "pulse": {"width_s"},
    "pushes": {"touch"},
    "attributions": {"touch"},
    "postback_attempts": {
        "kind",
        "expires_at",
        "postback",
        "next_at",
        "plan",
        "wanted",
        "push",
        "claims",
        "store_act",
        "paying",
    },
    "role_changes": {"book", "signed_up"},
    "push_outcomes": {"effect", "token", "dead_at"},
}


@pytest.fixture(scope="module")
def examples(stack: Stack) -> Client:
    """A database of its own whose log holds each golden fact once, as the store would have written it."""
    client = connect(stack.database("examples"))
    topics = {fact.__name__: entity.events for entity in ENTITIES for fact in entity.facts}
    topics[PulseWindow.__name__] = PULSE_MINUTES.name
    rows = [[topics[e["type"]], 0, n, b"k", json.dumps(e)] for n, e in enumerate(EXAMPLES) if e["type"] in topics]
    client.insert("log", rows, ["topic", "partition", "offset", "key", "value"])
    return client


# Of one topic each; what is made of many has a test of its own.
OF_ONE_TOPIC = [one for one in PROJECTIONS if len(one.topics) == 1]


@pytest.mark.parametrize("projection", OF_ONE_TOPIC, ids=lambda p: p.table)
def test_a_typed_table_says_what_the_facts_say(examples: Client, projection: Projection) -> None:
    names = columns(examples, projection.table)
    found = examples.query(projection.select)
    assert list(found.column_names) == names
    assert found.result_rows, "there is a golden example of it"
    told = TOLD.get(projection.table, {})
    for row in found.result_rows:
        got = dict(zip(names, row, strict=True))
        example = EXAMPLES[got["offset"]]
        fact = decoder_of((TYPES[example["type"]],))(json.dumps(example).encode())
        if got.get("line", 1) == 1:
            for name in names:
                if name not in PLACE:
                    assert got[name] == plain(told[name](fact) if name in told else getattr(fact, name, None), got[name]), name
        left_out = fields_of(type(fact)) - set(names) - set(told)
        assert left_out <= {"id", "cause"} | LEFT_OUT.get(projection.table, set()), f"{projection.table} leaves out {left_out}"


def test_a_table_of_old_whose_later_columns_stand_last_is_filled_by_their_names(examples: Client) -> None:
    blocks, old = next(one for one in PROJECTIONS if one.table == "blocks"), "blocks_of_old"
    names = columns(examples, "blocks")
    last_first = ", ".join((*reversed(names[2:]), *names[:2]))
    examples.command(f"CREATE TABLE {old} ENGINE = MergeTree ORDER BY () AS SELECT {last_first} FROM blocks LIMIT 0")
    assert columns(examples, old) != names
    examples.command(blocks.insert("offset >= 0").replace("INTO blocks", f"INTO {old}"))
    rows = [
        examples.query(f"SELECT {', '.join(names)} FROM {table} ORDER BY ALL").result_rows
        for table in (f"({blocks.select})", old)
    ]
    assert rows[0] == rows[1] != []
    examples.command(f"DROP TABLE {old}")


@pytest.mark.parametrize("table", TABLES)
def test_a_tables_columns_are_read_from_its_file(examples: Client, table: str) -> None:
    assert [*file_columns(table)] == columns(examples, table)


def plain(value: Any, like: Any) -> Any:
    """A Struct's value as the column shows it: what is absent there is the type's zero, times are UTC."""
    if value is None:
        value = datetime(1970, 1, 1, tzinfo=UTC) if isinstance(like, datetime) else type(like)()
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_answers(examples: Client, name: str) -> None:
    examples.query(f"SELECT * FROM {name}")


def test_presence_over_midnight_counts_for_both_days(examples: Client) -> None:
    examples.command(
        "INSERT INTO presence (user, since, until, online_s) VALUES"
        " ('owl', '2030-05-01 22:00:00', '2030-05-02 03:30:00', 19800)"
    )
    rows = examples.query("SELECT toString(day), hours FROM presence_hours WHERE user = 'owl' ORDER BY day").result_rows
    assert rows == [("2030-05-01", 2.0), ("2030-05-02", 3.5)]


def test_revenue_is_calls_and_gifts_less_what_streamers_get(examples: Client) -> None:
    examples.command(
        "INSERT INTO bills (call, at, earner, connected_at, duration_s, paid_coins, earned_coins) VALUES"
        " ('c1', '2031-01-01 10:00:00', 'sue', '2031-01-01 09:59:00', 60, 69, 30),"
        " ('c2', '2031-01-01 11:00:00', 'sue', '1970-01-01 00:00:00', 0, 0, 0)"
    )
    examples.command(
        "INSERT INTO gifts (gift, at, receiver, price_coins, share_coins, refusal) VALUES"
        " ('g1', '2031-01-01 10:00:30', 'sue', 10, 4, ''), ('g2', '2031-01-01 10:00:40', 'sue', 0, 0, 'blocked')"
    )
    assert examples.query("SELECT * EXCEPT day FROM revenue_per_day WHERE day = '2031-01-01'").result_rows == [
        (1, 69, 1, 10, 34, 45)
    ]
    assert examples.query("SELECT * EXCEPT day FROM streamer_pay_per_day WHERE day = '2031-01-01'").result_rows == [
        ("sue", 1, 60.0, 30, 1, 4, 34)
    ]


def test_migrating_twice_changes_nothing(stack: Stack) -> None:
    assert migrate(stack.clickhouse) == []


def test_a_new_column_and_a_new_index_are_added_and_a_foreign_column_is_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(stack.clickhouse)
    table = "migration_check"
    old = re.sub(r"EXISTS log\b", f"EXISTS {table}", ddl("log"))
    client.command(re.sub(r",\s+INDEX .*", "", old))
    monkeypatch.setattr(clickhouse, "TABLES", (table,))
    wider = old.replace("key       String,", "key       String,\n    origin    String DEFAULT 'phone',")
    monkeypatch.setattr(clickhouse, "ddl", lambda _: wider)
    assert migrate(stack.clickhouse) == [f"column {table}.origin added", f"index {table}.logged added"]
    assert migrate(stack.clickhouse) == []
    client.command(f"INSERT INTO {table} (topic, partition, offset, key) VALUES ('t', 0, 0, 'k')")
    assert client.command(f"SELECT origin FROM {table}") == "phone"
    monkeypatch.setattr(clickhouse, "ddl", lambda _: old)
    with pytest.raises(ValueError, match=r"columns that .* lacks: .'origin'."):
        migrate(stack.clickhouse)
    monkeypatch.setattr(clickhouse, "ddl", lambda _: wider.replace("key       String", "key       UInt8"))
    with pytest.raises(ValueError, match=f"column {table}.key is String, UInt8 is wanted"):
        migrate(stack.clickhouse)
    client.command(f"DROP TABLE {table}")


def test_every_table_says_why_it_is_ordered_so() -> None:
    for table in TABLES:
        assert "-- ORDER BY:" in ddl(table), f"add a comment `-- ORDER BY: why` to schemas/tables/{table}.sql"
