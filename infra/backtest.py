"""`olo tariff backtest`: real past calls, rated with a draft of a tariff by the very function that bills them.

ClickHouse gives the bills of some days as Arrow, `schemas.billing_rating` rates each, DuckDB sums up. Lengths are as they were:
what people would have done at other prices, a backtest cannot know. Each call is also rated with the version that it ran under:
that must give what was billed, to the coin, or the comparison is worth nothing (`Backtest.unequal`).

Errors: DraftError, one line, for a file that is no draft.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import msgspec
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from msgspec.structs import replace

from infra.errors import UsageError
from schemas.billing import SHIPPED, FreeTime, Tariff
from schemas.billing_rating import Side, problems_of
from schemas.billing_rules import Rule, Traits

# Of calls that did not tell yet when they were placed: when they connected.
BILLS: Final = """SELECT kind, payer_role, earner_role, country, arrayStringConcat(tags, '\\n') AS tags, price_class, tariff,
    version, if(placed_at > 0, placed_at, connected_at) AS placed_at, payer, earner,
    toInt64(round(duration_s * 1000000)) AS length_us, paid_coins, earned_coins
FROM bills FINAL
WHERE connected_at > 0 AND at >= now() - toIntervalDay({days:UInt32})"""
KEY: Final = ("kind", "payer_role", "earner_role", "country", "tags", "price_class", "tariff", "version")
SUMS: Final = """SELECT count(*) AS calls, sum(paid_coins)::BIGINT AS paid, sum(earned_coins)::BIGINT AS earned,
    sum(new_paid)::BIGINT AS new_paid, sum(new_earned)::BIGINT AS new_earned,
    quantile_disc(paid_coins, [0.5, 0.95]) AS paid_q, quantile_disc(new_paid, [0.5, 0.95]) AS new_paid_q,
    quantile_disc(earned_coins, [0.5, 0.95]) AS earned_q, quantile_disc(new_earned, [0.5, 0.95]) AS new_earned_q
FROM rated WHERE under"""
CHANGES: Final = """SELECT {who} AS who, count(*) AS calls, sum({old})::BIGINT AS old, sum({new})::BIGINT AS new
FROM rated WHERE under GROUP BY who HAVING sum({new}) <> sum({old})
ORDER BY sum({new}) - sum({old}) {order}, who LIMIT {limit}"""
# The chart: how many calls become so much dearer or cheaper for the payer.
BUCKETS: Final = """SELECT bucket, count(*) AS calls FROM (
    SELECT CASE WHEN paid_coins = 0 THEN (CASE WHEN new_paid = 0 THEN 0 ELSE 100 END)
        ELSE least(100, greatest(-100, round(10.0 * (new_paid - paid_coins) / paid_coins) * 10)) END::INTEGER AS bucket
    FROM rated WHERE under) GROUP BY bucket ORDER BY bucket"""
SHOWN: Final = 5
# Of so many calls that are rated a word is given.
TOLD_EVERY: Final = 10_000


class DraftError(UsageError):
    """The file is no draft of a tariff; the text says what is wrong with it."""


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `PUT /v1/admin/tariffs/{id}` takes, and which tariff it is a draft of (a new name: a new tariff)."""

    tariff: str
    payer: Side
    earner: Side
    rule: Rule = Rule()
    name: str = ""
    free: tuple[FreeTime, ...] = ()


class Change(NamedTuple):
    """What one person paid or earned, and would have."""

    who: str
    calls: int
    old: int
    new: int


class Backtest(NamedTuple):
    """`sums`: of the calls that would run under the draft, as billed and as drafted; `unequal`: how many calls of all were not
    billed as their own tariff rates them (an account that refused a step); `left`: calls of that tariff which the draft's rule
    does not fit any more."""

    calls: int
    unequal: int
    left: int
    sums: dict[str, Any]
    changes: dict[str, list[Change]]
    buckets: list[tuple[int, int]]


def read_draft(file: Path) -> Draft:
    """A draft from a JSON file. Errors: DraftError."""
    try:
        draft = msgspec.json.decode(file.read_bytes(), type=Draft)
    except OSError as error:
        raise DraftError(f"{file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise DraftError(
            f"{file}: {error}; it takes tariff, rule, payer, earner as PUT /v1/admin/tariffs/{{id}} does"
        ) from None
    problems = [*problems_of(draft.payer, "payer"), *problems_of(draft.earner, "earner")]
    if problems:
        raise DraftError(f"{file}: {'; '.join(problems)}")
    return draft


def versions(client: Client) -> dict[tuple[str, int], Tariff]:
    """Every version of every tariff: those that were shipped, and those that the log has."""
    known = {(tariff.tariff, tariff.version): tariff for tariff in SHIPPED}
    decode = msgspec.json.Decoder(Tariff).decode
    for (definition,) in client.query("SELECT definition FROM tariffs FINAL").result_rows:
        tariff = decode(definition)
        known[tariff.tariff, tariff.version] = tariff
    return known


def bills(client: Client, days: int) -> pa.Table:
    """The bills of connected calls that closed within the last `days`."""
    return client.query_arrow(BILLS, parameters={"days": days}, use_strings=True)


class _Way(NamedTuple):
    """How the calls of one key are rated: under their own version, and, if they would run under it, under the draft."""

    payer: Side
    earner: Side
    drafted: Side
    under: bool
    left: bool


def _way(key: tuple[Any, ...], holds: bool, known: dict[tuple[str, int], Tariff], draft: Draft) -> _Way:
    """`holds`: whether the call was placed in the draft's hours."""
    kind, payer_role, earner_role, country, tags, price_class, name, version = key
    own = known.get((name, version))
    if own is None:
        raise DraftError(f"ClickHouse has calls under version {version} of {name}, but not that version: is the store behind?")
    traits = Traits(kind, payer_role, earner_role, country, tuple(tags.split("\n")) if tags else (), price_class)
    fits = holds and draft.rule.suits(traits)
    under = fits and (name == draft.tariff or draft.rule.weight > own.rule.weight)
    drafted = replace(own, payer=draft.payer, free=draft.free).pinned(traits)
    return _Way(own.pinned(traits).payer, own.earner, drafted.payer, under, name == draft.tariff and not fits)


def rate(
    found: pa.Table, known: dict[tuple[str, int], Tariff], draft: Draft, tell: Callable[[int], None] = lambda _: None
) -> pa.Table:
    """The bills with what their own version and the draft come to: own_paid, own_earned, new_paid, new_earned, under, left.
    `tell`: is told now and then how many of them are rated."""
    keys = list(zip(*(found[name].to_pylist() for name in KEY), strict=True))
    lengths_us: list[Any] = found["length_us"].to_pylist()
    hours = draft.rule.hours
    times: list[Any] = found["placed_at"].to_pylist() if hours else []
    held = [hours.holds(at) for at in times] if hours else [True] * len(keys)
    ways = {way: _way(*way, known, draft) for way in set(zip(keys, held, strict=True))}
    columns: list[list[Any]] = [[] for _ in range(6)]
    own_paid, own_earned, new_paid, new_earned, under, left = columns
    earns = draft.earner.total
    for number, (key, holds, length_us) in enumerate(zip(keys, held, lengths_us, strict=True)):
        if number % TOLD_EVERY == 0:
            tell(number)
        way, length = ways[key, holds], timedelta(microseconds=length_us)
        paid, earned = way.payer.total(length), way.earner.total(length)
        own_paid.append(paid)
        own_earned.append(earned)
        new_paid.append(way.drafted.total(length) if way.under else paid)
        new_earned.append(earns(length) if way.under else earned)
        under.append(way.under)
        left.append(way.left)
    for name, column in zip(("own_paid", "own_earned", "new_paid", "new_earned", "under", "left"), columns, strict=True):
        found = found.append_column(name, pa.array(column, pa.bool_() if name in ("under", "left") else pa.int64()))
    return found


def backtest(client: Client, draft: Draft, days: int, tell: Callable[[int, int], None] = lambda *_: None) -> Backtest:
    """Rate the calls of the last `days` with the draft. `tell`: is told now and then how many of how many are rated."""
    found = bills(client, days)
    rated = rate(found, versions(client), draft, lambda number: tell(number, found.num_rows))
    with duckdb.connect() as db:
        db.register("rated", rated)
        unequal, left = db.execute(
            'SELECT count(*) FILTER (paid_coins <> own_paid OR earned_coins <> own_earned), count(*) FILTER ("left") FROM rated'
        ).fetchall()[0]
        summed = db.execute(SUMS)
        sums = dict(zip([column[0] for column in summed.description], summed.fetchall()[0], strict=True))
        changes = {
            f"{who}s who {verb}": [
                Change(*row)
                for row in db.execute(CHANGES.format(who=who, old=old, new=new, order=order, limit=SHOWN)).fetchall()
                if (row[3] > row[2]) == (order == "DESC")
            ]
            for who, old, new, verb, order in (
                ("earner", "earned_coins", "new_earned", "gain most", "DESC"),
                ("earner", "earned_coins", "new_earned", "lose most", "ASC"),
                ("payer", "paid_coins", "new_paid", "pay most more", "DESC"),
                ("payer", "paid_coins", "new_paid", "save most", "ASC"),
            )
        }
        buckets = db.execute(BUCKETS).fetchall()
    return Backtest(rated.num_rows, unequal, left, sums, changes, buckets)
