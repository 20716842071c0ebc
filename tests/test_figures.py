"""The figures of every view against another engine's over the raw log (`tests/counterparts.py`), on histories by chance."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.tables import VIEWS
from tests.counterparts import COUNTERPARTS, HELPERS
from tests.histories import History
from tests.tables import Tables

ROOT = Path(__file__).parent.parent
USERS = 180
Rows = list[list[Any]]
Ask = Callable[[str], Rows]


@pytest.fixture(scope="module")
def history() -> History:
    """What becomes of a user does not depend on others, so these are as many histories."""
    return History(7, datetime.now(UTC).replace(microsecond=0), USERS)


@pytest.fixture(scope="module")
def warehouse(history: History, tables: Tables) -> Ask:
    """Our engine, its tables filled as the store fills them."""
    database = tables.database("figures")
    database.fill(history)
    return database.run


@pytest.fixture(scope="module")
def other(history: History, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """DuckDB over the same log."""
    file: Path = tmp_path_factory.mktemp("duckdb") / "log.jsonl"
    rows = (json.dumps({"seq": n, "topic": row[0], "v": json.loads(row[3])}) for n, row in enumerate(history.rows))
    file.write_text("\n".join(rows))
    client = duckdb.connect()
    columns = "columns = {seq: 'BIGINT', topic: 'VARCHAR', v: 'JSON'}"
    client.execute(f"CREATE TABLE log AS SELECT * FROM read_json('{file}', format = 'newline_delimited', {columns})")
    now = f"TIMESTAMP '{history.now:%Y-%m-%d %H:%M:%S}'"
    client.execute(f"CREATE MACRO today() AS ({now}::DATE); CREATE MACRO now_() AS ({now})")
    client.execute(HELPERS)
    return lambda statement: [list(row) for row in client.execute(statement).fetchall()]


def plain(value: Any) -> Any:
    """A value as both engines have it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return sorted(value)
    return value if value is None or isinstance(value, str) else round(float(value), 6)


def in_order(rows: Rows) -> list[list[Any]]:
    return sorted(([plain(value) for value in row] for row in rows), key=str)


@pytest.mark.parametrize("name", VIEWS)
def test_a_views_figures_are_those_of_another_engine(name: str, warehouse: Ask, other: Ask) -> None:
    assert name in COUNTERPARTS, f"the view {name} needs a counterpart in tests/counterparts.py"
    found, due = in_order(warehouse(f"SELECT * FROM {name}")), in_order(other(COUNTERPARTS[name]))
    assert len(found) > 3
    assert ([row for row in found if row not in due], [row for row in due if row not in found]) == ([], [])
    assert found == due


def test_no_counterpart_is_of_a_view_that_is_none() -> None:
    assert set(COUNTERPARTS) == set(VIEWS)


# What Grafana's data source puts in the place of its macros, in a span that has everything.
MACROS = {
    r"\$__(?:date|time)Filter\((\w+)\)": r"\1 >= toDate('2020-01-01')",
    r"\$__timeInterval\((\w+)\)": r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)",
}


@pytest.mark.parametrize("file", sorted((ROOT / "dashboards").glob("*.json")), ids=lambda file: file.stem)
def test_every_query_of_a_dashboard_has_figures(file: Path, warehouse: Ask) -> None:
    board = json.loads(file.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    known = {f"${{{variable['name']}}}": variable["query"] for variable in board["templating"]["list"]}
    for panel in board["panels"]:
        assert known[panel["datasource"]["uid"]] == panel["datasource"]["type"], panel["title"]
        for statement in (target["rawSql"] for target in panel["targets"] if "rawSql" in target):
            for macro, sql in MACROS.items():
                statement = re.sub(macro, sql, statement)  # noqa: PLW2901 - one behind the other
            assert "$__" not in statement, f"{panel['title']} has a macro that this test does not know"
            assert warehouse(statement), f"{panel['title']} of {file.name} shows nothing"


# --- by table ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(tables: Tables) -> Ask:
    """Some rows of each kind that was told wrongly once."""
    database = tables.database("cases")
    for rows in (
        "attributions (user, at, signed_up_at, counts, kind, touch_at, network, offset) VALUES"
        " ('ann', '2026-11-20 10:00:00', '2026-11-20 10:00:00', 1, 'install', '2026-11-20 09:59:00', 'Facebook', 1),"
        " ('ann', '2026-11-20 09:00:00', '2026-11-20 10:00:00', 1, 'install', '2026-11-20 09:00:00', 'snapchat', 2)",
        "cohort_changes (user, cohort, at, entered, offset) VALUES ('ann', 'c', '2026-11-20 10:00:00', 1, 1),"
        " ('ann', 'c', '2026-11-20 10:00:00', 0, 2), ('bob', 'c', '2026-11-20 10:00:00', 1, 3)",
        "cohort_changes (user, cohort, at, entered, offset) SELECT 'old', 'd', now('UTC') - 3 * 86400, 1, 4",
        "cohort_changes (user, cohort, at, entered, offset) SELECT 'new' || toString(number), 'd', now('UTC'), 1, 5 + number"
        " FROM numbers(9)",
        "sightings (user, at, kind, offset) SELECT 'old', now('UTC') - number * 86400, 'SessionOpened', number FROM numbers(4)",
        "sightings (user, at, kind, offset) SELECT 'new' || toString(number), now('UTC'), 'SessionOpened', number"
        " FROM numbers(9)",
        "users (user, at) VALUES ('owl', '2026-01-16 22:00:00')",
        "presence (user, since, until, online_s) VALUES ('owl', '2026-01-16 23:00:00', '2026-01-18 01:00:00', 93600)",
    ):
        database.run(f"INSERT INTO {rows}")
    return database.run


def test_the_funnel_credits_whom_http_names(cases: Ask) -> None:
    assert cases("SELECT network, signed_up FROM campaign_funnel") == [["snapchat", 1]]
    assert cases("SELECT network FROM user_attributes WHERE user = 'ann'") == [["snapchat"]]


def test_who_left_at_the_moment_of_entering_is_no_member(cases: Ask) -> None:
    assert cases("SELECT user FROM cohort_membership WHERE cohort = 'c' AND left_at IS NULL") == [["bob"]]


def test_retention_counts_only_who_can_have_been_seen(cases: Ask) -> None:
    rows = cases("SELECT day, members, active, retention FROM retention_by_cohort WHERE cohort = 'd'")
    assert rows == [[0, 10, 10, 1], [1, 1, 1, 1], [2, 1, 1, 1], [3, 1, 1, 1]]


def test_online_over_midnight_counts_on_each_day_and_a_day_with_nobody_is_zero(cases: Ask) -> None:
    rows = cases("SELECT day, members, active, retention FROM retention_by_cohort WHERE cohort = 'week of 2026-01-12'")
    assert rows == [[day, 1, int(day < 3), int(day < 3)] for day in range(31)]
