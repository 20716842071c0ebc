"""The pulse on the platform: what it counted is what SQL says of the same facts, though it was killed meanwhile."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from infra.clickhouse import connect
from infra.kafka import read_topic
from schemas.log.topics import PULSE_SECONDS
from schemas.pulse import LEVELS
from serving.pulse_board import COUNTS
from tests.conftest import Api, NewUser, Stack, eventually

WALLET = "endsWith(e.account, '/coins')"
# Each metric's facts in the table `log`: their topic, type, and what they count for.
SQL = {
    "sign_ups": ("user.events", "UserSignedUp", "1"),
    "coins_in": ("account.events", "EntryRecorded", f"greatest(e.coins, 0) * {WALLET} * startsWith(e.counterparty, '@')"),
    "coins_out": ("account.events", "EntryRecorded", "greatest(-e.coins, 0) * endsWith(e.account, '/earnings')"),
    "coins_earned": ("account.events", "EntryRecorded", "greatest(e.coins, 0) * endsWith(e.account, '/earnings')"),
    "coins_spent": ("account.events", "EntryRecorded", "greatest(-e.coins, 0) * endsWith(e.account, '/coins')"),
}
FLOWS = {"money", "live", "growth", "dispatch", "store", "pulse"}
Told = dict[str, dict[int, int]]


def in_sql(stack: Stack, begin: int, end: int) -> Told:
    """By metric and second, from `log`; what says that it is from the future counts when it came."""
    found: Told = {}
    for metric, (topic, kind, by) in SQL.items():
        rows = connect(stack.clickhouse).query(
            "WITH JSONExtract(value, 'Tuple(account String, coins Int64, counterparty String)') AS e"
            f" SELECT toUnixTimestamp(toDateTime(least(at, logged_at))) AS second, sum({by}) AS n FROM log FINAL"
            f" WHERE topic = '{topic}' AND type = '{kind}' AND second >= {begin} AND second < {end}"
            " GROUP BY second HAVING n > 0"
        )
        found[metric] = {int(second): int(n) for second, n in rows.result_rows}
    return found


def in_pulse(stack: Stack, begin: int, end: int) -> tuple[Told, dict[str, set[int]], int]:
    """By metric and second; every value that any window was ever written with; and how many seconds there are."""
    told: defaultdict[str, dict[int, int]] = defaultdict(dict)
    values: defaultdict[str, set[int]] = defaultdict(set)
    windows: dict[str, Any] = {}
    for record in read_topic(stack.config, PULSE_SECONDS.name):
        window = msgspec.json.decode(record.value() or b"")
        if window["width_s"] == 1:
            windows[window["id"]] = window
            values[window["id"]].add(window["value"])
    for key, window in windows.items():
        metric, _, second = key.split("/")
        if begin <= int(second) < end:
            told[metric][int(second)] = window["value"] + window.get("late", 0)
    return told, values, len(told["online"])


def test_the_pulse_is_what_sql_says_though_it_is_killed(stack: Stack, admin: Api, new_user: NewUser) -> None:
    begin = int(time.time())
    for number in range(3):
        users = [new_user() for _ in range(2)]
        for user in users:
            assert admin.place("/v1/admin/grants", account=f"{user.user}/coins", coins=100).status_code == 201
        ann, bob = (user.user for user in users)
        moved = admin.place("/v1/admin/transfers", payer=f"{ann}/coins", payee=f"{bob}/earnings", coins=30 + number)
        assert moved.status_code == 201
        if number < 2:
            stack.kill("pulse-0")
    end = int(time.time()) + 1

    def agree() -> bool:
        told, _, seconds = in_pulse(stack, begin, end)
        return seconds == end - begin and in_sql(stack, begin, end) == {
            metric: {second: value for second, value in told[metric].items() if value} for metric in SQL
        }

    eventually(agree, 60)
    told, values, _ = in_pulse(stack, begin, end)
    assert sum(told["sign_ups"].values()) >= 6
    assert {key for key, found in values.items() if len(found) > 1} == set(), "counted again, a window is what it was"


def test_the_panel_is_told_all_numbers_over_one_stream(stack: Stack, admin: Api, new_user: NewUser) -> None:
    needed = {*LEVELS, *COUNTS, "accept_percent", "answer_s", *(f"lag_records/{flow}" for flow in FLOWS)}

    def events() -> Iterator[tuple[str, dict[str, Any]]]:
        with admin.stream("GET", "/v1/admin/now") as answer:
            assert answer.status_code == 200
            name = ""
            for line in answer.iter_lines():
                name = line.removeprefix("event: ") if line.startswith("event: ") else name
                if line.startswith("data: "):
                    yield name, {one["name"]: one for one in json.loads(line.removeprefix("data: "))["numbers"]}

    known: dict[str, Any] = {}
    for number, (name, numbers) in enumerate(events()):
        assert (number == 0) == (name == "snapshot")
        known |= numbers
        if number == 1:
            assert admin.place("/v1/admin/grants", account=f"{new_user().user}/coins", coins=77).status_code == 201
        if needed <= known.keys() and known["coins_in"]["value"] >= 77:
            break
    assert all(one["as_of"] for one in known.values())
    assert new_user().get("/v1/admin/now").status_code == 403


def test_prometheus_finds_every_process(stack: Stack) -> None:
    targets = httpx.get(f"{stack.http}/metrics/targets", trust_env=False).json()
    assert {one["labels"]["process"] for one in targets} >= {*FLOWS, "views", "serving"}
    texts = {one["labels"]["role"]: httpx.get(f"http://{one['targets'][0]}/metrics", trust_env=False).text for one in targets}
    for role, text in texts.items():
        assert "process_start_time_seconds" in text, role
    assert 'olo_pulse_level{metric="coins_under_way"}' in texts["pulse-0"]
