"""The backtest: who falls under a draft, what it comes to, and that a re-rate with the version in force is the bill."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from clickhouse_connect.driver.client import Client
from msgspec import to_builtins

from infra.backtest import Change, DraftError, backtest, read_draft
from infra.clickhouse import connect
from schemas.billing import SHIPPED
from schemas.log.base import now
from tests.conftest import Stack

ROULETTE = next(tariff for tariff in SHIPPED if tariff.tariff == "roulette")
STANDARD = next(tariff for tariff in SHIPPED if tariff.tariff == "standard")
DRAFT = {
    "tariff": "roulette",
    "rule": {"kind": "roulette", "payer_role": "user", "earner_role": "streamer"},
    "payer": {"checkpoints": [{"after_s": 0, "coins": 10}], "step_s": 30, "step_coins": 40},
    "earner": {"checkpoints": [{"after_s": 30, "coins": 20}], "step_s": 60, "step_coins": 20},
}
CALLS = (
    (ROULETTE, 10.5, "bob", "sue"),
    (ROULETTE, 60.0, "bob", "tia"),
    (ROULETTE, 61.0, "ann", "sue"),
    (STANDARD, 90.0, "ann", "sue"),
)


class NewDraft(Protocol):
    """Writes a draft with these changes into a file."""

    def __call__(self, **changes: Any) -> Path: ...


@pytest.fixture(scope="module")
def warehouse(stack: Stack) -> Client:
    """Three roulette calls and a direct one, in a database of their own."""
    client = connect(stack.database("backtest"))
    rows = []
    for number, (tariff, seconds, payer, earner) in enumerate(CALLS):
        length = timedelta(seconds=seconds)
        totals = [tariff.payer.total(length), tariff.earner.total(length)]
        who = [tariff.rule.kind or "direct", payer, earner, "user", "streamer"]
        rows.append([f"c{number}", now(), now() - length, *who, tariff.tariff, 1, seconds, *totals])
    columns = ["call", "at", "connected_at", "kind", "payer", "earner", "payer_role", "earner_role", "tariff", "version",
               "duration_s", "paid_coins", "earned_coins"]  # fmt: skip
    client.insert("bills", rows, columns)
    return client


@pytest.fixture
def draft(tmp_path: Path) -> NewDraft:
    def make(**changes: Any) -> Path:
        file = tmp_path / "draft.json"
        file.write_text(json.dumps(DRAFT | changes))
        return file

    return make


def test_a_draft_is_rated_over_the_calls_that_would_run_under_it(warehouse: Client, draft: NewDraft) -> None:
    result = backtest(warehouse, read_draft(draft()), 30)
    assert (result.calls, result.unequal, result.left, result.sums["calls"]) == (4, 0, 0, 3)
    # billed: 9, 69, 129 and 0, 30, 60; drafted: 10, 10 + 40, 10 + 80 and 0, 20, 20
    assert (result.sums["paid"], result.sums["new_paid"]) == (207, 150)
    assert (result.sums["earned"], result.sums["new_earned"]) == (90, 40)
    assert result.changes["earners who lose most"] == [Change("sue", 2, 60, 20), Change("tia", 1, 30, 20)]
    assert result.changes["earners who gain most"] == []
    assert result.changes["payers who save most"] == [Change("ann", 1, 129, 90), Change("bob", 2, 78, 60)]
    assert sum(calls for _, calls in result.buckets) == 3


def test_a_rule_that_says_more_takes_calls_from_another_tariff_and_one_that_says_less_does_not(
    warehouse: Client, draft: NewDraft
) -> None:
    assert backtest(warehouse, read_draft(draft(tariff="new", rule={"kind": "direct"})), 30).sums["calls"] == 1
    assert backtest(warehouse, read_draft(draft(tariff="new", rule={"kind": "roulette"})), 30).sums["calls"] == 0
    moved = backtest(warehouse, read_draft(draft(rule={"kind": "roulette", "country": "GB"})), 30)
    assert (moved.sums["calls"], moved.left) == (0, 3)


def test_the_tariff_in_force_as_a_draft_changes_nothing(warehouse: Client, draft: NewDraft) -> None:
    shipped = {"payer": to_builtins(ROULETTE.payer), "earner": to_builtins(ROULETTE.earner)}
    result = backtest(warehouse, read_draft(draft(**shipped)), 30)
    assert (result.sums["new_paid"], result.sums["new_earned"]) == (result.sums["paid"], result.sums["earned"]) == (207, 90)
    assert result.buckets == [(0, 3)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "truncated"),
        ('{"tariff": "x"}', "missing required field `payer`"),
        (json.dumps(DRAFT | {"pay": 1}), "unknown field `pay`"),
        (json.dumps(DRAFT | {"payer": {"checkpoints": [{"after_s": 5, "coins": -1}]}}), ">= 0"),
        (json.dumps(DRAFT | {"payer": {"step_coins": 5}}), "needs step_s"),
    ],
)
def test_a_file_that_is_no_draft_is_one_line(stack: Stack, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "draft.json"
    file.write_text(text)
    done = stack.olo("tariff", "backtest", str(file))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_the_report_says_what_would_change(stack: Stack, draft: NewDraft) -> None:
    done = stack.olo("tariff", "backtest", str(draft()), "--days", "1")
    assert done.returncode == 0, done.stderr
    assert "calls of the last 1 days" in done.stdout
    with pytest.raises(DraftError, match="No such file"):
        read_draft(draft().parent / "missing.json")
