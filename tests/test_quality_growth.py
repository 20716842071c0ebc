"""`olo quality` about growth: content with histories by chance, and loud about each fault that there was once."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client

from infra.attribution import ExportFormat, columns
from infra.quality import Outcome, check
from infra.quality_growth import GROWTH
from infra.quality_suites import Suite
from schemas.tables import view
from tests.histories import History
from tests.tables import Database, Tables

pytestmark = pytest.mark.platform  # it needs none, but Great Expectations takes too long for `make quick`

SINCE = (datetime.now(UTC) - timedelta(days=4_000)).replace(tzinfo=None, microsecond=0)
SUITES = {suite.name: suite for suite in GROWTH}
PUSH = "pushes (install, event_name, at, touch_at, kind, network, campaign, details) VALUES ('af', 'install', now(),"


@pytest.fixture(scope="module")
def healthy(tables: Tables) -> Database:
    """Histories by chance."""
    database = tables.database("healthy")
    database.fill(History(11, datetime.now(UTC).replace(microsecond=0), 60))
    for rows in (
        "attributions (user, at, signed_up_at, counts, kind, touch_at, network, campaign, offset) VALUES"
        " ('zoe', '2026-01-20 10:00:00', '2026-01-20 10:00:00', 1, 'install', '2026-01-20 09:59:00', 'Facebook', 'F', 1),"
        " ('zoe', '2026-01-20 09:00:00', '2026-01-20 10:00:00', 1, 'install', '2026-01-20 09:00:00', 'snapchat', 'S', 2)",
        "users (user, at, role) VALUES ('owl', '2026-01-16 22:00:00', 'user')",
        "presence (user, since, until, online_s) VALUES ('owl', '2026-01-16 23:00:00', '2026-01-18 01:00:00', 93600)",
    ):
        database.run(f"INSERT INTO {rows}")
    return database


@pytest.fixture(scope="module")
def broken(tables: Tables) -> Database:
    """Tables for bad rows."""
    return tables.database("broken")


def not_held(database: Database, *suites: Suite, column: str = "") -> set[tuple[str, str]]:
    """What does not hold: suite and column; of one suite perhaps only what it asks of one column."""
    if column:
        asked = tuple(one for one in suites[0].expectations if one[1].get("column") == column)
        suites = (suites[0]._replace(expectations=asked),)
    found: list[Outcome] = list(check(cast(Client, database), SINCE, suites))
    return {(one.suite, one.what.partition("(")[2].rstrip(")")) for one in found if not one.holds}


@pytest.mark.parametrize("suite", GROWTH, ids=lambda suite: suite.name)
def test_histories_by_chance_are_fine(healthy: Database, suite: Suite) -> None:
    """What must lie between two values does; asked without Great Expectations, which takes half a second each time."""
    frame = healthy.query_df(suite.sql, {"since": SINCE})
    for kind, given in suite.expectations:
        if kind == "ExpectColumnValuesToBeBetween":
            found = frame[given["column"]].astype(float)
            wrong = (found < given.get("min_value", -math.inf)) | (found > given.get("max_value", math.inf))
            assert list(found[wrong]) == [], given["column"]


ROWS: list[tuple[str, str, str]] = [
    ("pushes", "agency_taken_for_organic", f"{PUSH} now(), 'install', 'organic', 'C', '{{\"af_prt\":\"agencyx\"}}')"),
    ("pushes", "lower_network", f"{PUSH} now(), 'install', 'None', '', '')"),
    ("pushes", "campaign", f"{PUSH} now(), 'install', 'tiktok', 'Black\u00a0Friday', '')"),
    ("touches", "before_s", f"{PUSH} toDateTime64('2200-01-01', 6, 'UTC'), 'install', 'tiktok', '', '')"),
    ("funnel_days", "days_ago", f"{PUSH} toDateTime64('1974-01-01', 6, 'UTC'), 'install', 'tiktok', '', '')"),
    ("lost_pushes", "lost", "log (topic, key, offset, logged_at) VALUES ('dead_letters', 'install.inbox/0/1', 1, now())"),
    ("attributions", "after_s", "attributions (user, at, signed_up_at, counts, kind, touch_at, network) VALUES"
     " ('a', now(), now(), 1, 'install', now() - 90 * 86400, 'x')"),
    ("returns", "after_s", "attributions (user, at, signed_up_at, counts, kind, touch_at, network) VALUES"
     " ('b', now(), now(), 1, 're-engagement', now() - 80 * 86400, 'x')"),
    ("returns", "network", "attributions (user, at, signed_up_at, counts, kind, touch_at, network) VALUES"
     " ('c', now(), now(), 1, 'reinstall', now(), 'organic')"),
    ("postbacks", "dropped", "postback_attempts (effect, at, step, provider, subject, attempt, event) VALUES"
     " ('e', now(), 'EffectAccepted', 'ga4', 'ann', 1, 'first_open')"),
    ("conversions", "conversion", "conversions (user, at, conversion, ref, coins) VALUES ('ann', now(), 'smile', 'x', 1)"),
]  # fmt: skip


@pytest.mark.parametrize(("suite", "column", "rows"), ROWS, ids=[f"{suite}-{column}" for suite, column, _ in ROWS])
def test_a_bad_row_is_told(broken: Database, suite: str, column: str, rows: str) -> None:
    broken.run(f"INSERT INTO {rows}")
    assert (suite, column) in not_held(broken, SUITES[suite], column=column)


def test_a_formula_in_an_export_is_told(broken: Database) -> None:
    broken.run(f"INSERT INTO {PUSH} now(), 'install', 'tiktok', '=HYPERLINK(\"x\")', '')")
    assert not_held(broken, SUITES["export"], column="campaign") == set()
    plain: Any = SUITES["export"].sql.replace(columns(ExportFormat.CSV), "*")
    assert not_held(broken, SUITES["export"]._replace(sql=plain), column="campaign") == {("export", "campaign")}


VIEWS = [
    ("last_words", "another", "user_attributes", "argMax(network, (partition, offset))", "argMax(network, at)"),
    ("campaigns", "difference", "campaign_performance", "argMaxIf(t, (partition, offset), kind = 'install')",
     "argMaxIf(t, (touch_at, partition, offset), kind = 'install')"),
    ("members", "another", "cohort_membership", "ORDER BY partition, offset, entered", "ORDER BY at, entered"),
    ("cohort_membership", "backwards", "cohort_membership", "greatest(at, next_at)", "next_at"),
    ("retention_by_cohort", "not_there_yet", "retention_by_cohort", "least(30, toInt32(toDate(now('UTC')) - since))", "30"),
    ("retention_days", "missing", "retention_by_cohort", "GROUP BY cohort, day\n", "GROUP BY cohort, day HAVING active > 0\n"),
    ("retention_online", "overlooked", "retention_by_cohort", "toUInt32(greatest(0, toDate(until) - toDate(since))) + 1", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("suite", "column", "name", "right", "wrong"), VIEWS, ids=[row[0] for row in VIEWS])
def test_a_view_that_says_something_else_is_told(  # noqa: PLR0917
    healthy: Database, suite: str, column: str, name: str, right: str, wrong: str
) -> None:
    assert right in view(name)
    healthy.run(view(name).replace(right, wrong))
    try:
        assert (suite, column) in not_held(healthy, SUITES[suite], column=column)
    finally:
        healthy.run(view(name))


def test_each_suite_has_a_fault_that_it_tells() -> None:
    assert {row[0] for row in (*ROWS, *VIEWS)} | {"export"} == set(SUITES)
