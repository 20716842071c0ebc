"""`olo quality`: content with what a platform writes, and loud about planted bad rows."""

from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from infra.clickhouse import connect
from infra.quality import check
from infra.quality_growth import GROWTH
from infra.quality_suites import CORE
from tests.conftest import Phones, Stack

PLANTED = (*CORE, *(suite for suite in GROWTH if suite.name in ("attributions", "conversions", "postbacks")))
SINCE = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=30)


@pytest.fixture(scope="module")
def planted(stack: Stack) -> Client:
    """A warehouse of its own with one bad row, or two, in each table that can have one."""
    client = connect(stack.database("planted"))
    for sql in (
        "users (user, at, role) VALUES ('', now(), 'user'), ('ann', now(), 'emperor'), ('old', '1970-01-01', 'user')",
        "balance_entries (account, seq, at, kind, coins, balance_coins, held_coins, reason) VALUES"
        " ('ann/coins', 1, now(), 'credit', 5, -5, 0, 'grant'), ('ann/coins', 3, now(), 'hold', 0, 5, 9, 'theft')",
        "calls (call, at, kind, caller, callee, duration_s) VALUES ('c1', now() + 86400, 'direct', 'ann', 'sue', -3)",
        "bills (call, at, earner, paid_coins, earned_coins) VALUES ('c1', now(), '', -1, 30)",
        "gifts (gift, at, sender, receiver, price_coins, share_coins) VALUES ('g', now(), 'ann', 'sue', 5, 50)",
        "interactions (pair, at, user, peer, kind, amount, affinity) VALUES ('a/b', now(), 'a', 'b', 'wave', 1, -1)",
        "attributions (user, at, signed_up_at, counts, kind, touch_at, network) VALUES"
        " ('ann', now(), now(), 1, 'install', now() - 90 * 86400, 'snapchat')",
        "conversions (user, at, conversion, ref, coins) VALUES ('ann', now(), 'smile', '', 1)",
        "postback_attempts (effect, at, step, provider, subject, attempt) VALUES"
        " ('x', now(), 'EffectRefused', 'myspace', 'ann', 1)",
    ):
        client.command(f"INSERT INTO {sql}")
    return client


def test_what_the_platform_writes_is_fine(stack: Stack, phones: Phones) -> None:
    phones()
    findings = list(check(connect(stack.clickhouse), SINCE))
    assert [one for one in findings if not one.holds] == []
    assert {"users", "balance_entries", "accounts"} <= {one.suite for one in findings}


def test_planted_bad_rows_are_told_with_their_values(planted: Client) -> None:
    bad = {(one.suite, one.what): one for one in check(planted, SINCE, PLANTED) if not one.holds}
    assert {suite for suite, _ in bad} == {suite.name for suite in PLANTED}
    assert bad["users", "expect_column_values_to_be_in_set(role)"].examples == ["emperor"]
    assert bad["gifts", "expect_column_pair_values_a_to_be_greater_than_b(share_coins <= price_coins)"].bad == 1
    assert ("accounts", "expect_column_values_to_be_between(missing)") in bad
    assert ("postbacks", "expect_column_values_to_be_in_set(provider)") in bad
    assert ("users", "expect_column_values_to_be_between(age_s)") in bad


def test_the_command_says_so_and_ends_with_1(stack: Stack, planted: Client) -> None:
    del planted
    loud = stack.olo("quality", OLO_CLICKHOUSE_URL=f"{stack.clickhouse}/planted")
    assert loud.returncode == 1
    assert "NOT HELD  users: expect_column_values_to_be_in_set(role): 1 of" in loud.stdout
