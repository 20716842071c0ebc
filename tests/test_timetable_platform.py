"""The timetable on the real platform: staff writes a job, its command is decided, and a kill fires nothing twice."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.kafka import read_topic
from schemas.gift import GIFT_ITEM, PutGiftItem
from schemas.log.codec import decoder_of
from schemas.log.topics import hears
from schemas.timetable import TIMETABLE, FireEnded
from tests.conftest import Api, NewUser, Stack, eventually

GIFT = {"command": "PutGiftItem", "template": {"item": "hourly-rose", "price_coins": 10, "share_coins": 4}}
JOB = "/v1/admin/jobs/roses"


def shown(admin: Api) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(JOB).json()
    return found


def test_a_job_fires_each_instant_once_also_when_its_flow_is_killed(stack: Stack, admin: Api, new_user: NewUser) -> None:
    saved = admin.put(JOB, json=GIFT | {"schedule": {"every_s": 1}, "catch_up": "each"})
    assert saved.status_code == 200, saved.text
    assert (saved.json()["version"], len(saved.json()["next"])) == (1, 10)
    assert saved.json()["command"]["by"] == "timetable/roses"
    eventually(lambda: shown(admin)["history"])
    ann = new_user()
    assert eventually(lambda: [one for one in ann.get("/v1/gifts").json() if one["gift"] == "hourly-rose"])
    stack.kill("live-0")
    before = len(shown(admin)["history"])
    eventually(lambda: len(shown(admin)["history"]) > before)
    listed = stack.olo("jobs", "list")
    assert "every 1 s" in listed.stdout, listed.stderr
    assert stack.olo("jobs", "pause", "roses").returncode == 0
    eventually(lambda: shown(admin)["paused"])
    assert admin.post(f"{JOB}/run").json()["fire"].startswith("roses/1/")
    assert len(stack.olo("jobs", "preview", "roses").stdout.splitlines()) == 11
    assert admin.delete(JOB).status_code == 204
    assert admin.get(JOB).json()["code"] == "job_unknown"
    assert stack.olo("jobs", "show", "roses").returncode == 2
    decode = decoder_of(TIMETABLE.facts)
    facts = [decode(record.value() or b"") for record in read_topic(stack.config, TIMETABLE.events)]
    fires = Counter(one.instant for one in facts if isinstance(one, FireEnded) and one.job == "roses" and not one.manual)
    instants = sorted(fires)
    assert set(fires.values()) == {1}
    assert (instants[-1] - instants[0]).total_seconds() == len(instants) - 1, "no second is left out"
    read = decoder_of(hears(GIFT_ITEM))
    sent = Counter(
        one.id
        for record in read_topic(stack.config, GIFT_ITEM.inbox)
        if isinstance(one := read(record.value() or b""), PutGiftItem) and one.item == "hourly-rose"
    )
    assert set(sent.values()) == {1}
    assert len(sent) == len(instants) + 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"schedule": {"cron": "0 0 30 2 *"}, "chore": "quality"}, "cron_never_fires"),
        ({"schedule": {"cron": "0 3 * *"}, "chore": "quality"}, "cron_invalid"),
        ({"schedule": {"cron": "0 3 * * *", "zone": "Europe/Atlantis"}, "chore": "quality"}, "zone_unknown"),
        ({"schedule": {"every_s": 59}, "chore": "quality"}, "too_frequent"),
        ({"schedule": {"every_s": -1}, **GIFT}, "too_frequent"),
        ({"schedule": {}, **GIFT}, "schedule_invalid"),
        ({"schedule": {"at": "2020-01-01T00:00:00Z"}, **GIFT}, "already_past"),
        ({"schedule": {"every_s": 60}, "chore": "laundry"}, "chore_unknown"),
        ({"schedule": {"every_s": 60}}, "job_invalid"),
        ({"schedule": {"every_s": 60}, "command": "Launch"}, "command_unknown"),
        ({"schedule": {"every_s": 60}, "command": "GiftSent"}, "command_unknown"),
        ({"schedule": {"every_s": 60}, "command": "RunJob", "template": {"job": "roses"}}, "command_forbidden"),
        ({"schedule": {"every_s": 60}, "command": "PutGiftItem", "template": {"item": "x"}}, "template_invalid"),
        ({"schedule": {"every_s": 60}, "command": "PutGiftItem", "template": {"id": "mine"}}, "template_invalid"),
        ({"schedule": {"every_s": 60}, "command": "PutGiftItem", "template": {"colour": 1}}, "template_invalid"),
        ({"schedule": {"every_s": 60}, "command": "PutGiftItem", "template": {"item": "x" * 5_000}}, "template_invalid"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_is_refused_by_name(admin: Api, body: dict[str, Any], code: str) -> None:
    for answer in (admin.put("/v1/admin/jobs/wrong", json=body), admin.post("/v1/admin/jobs/preview", json=body)):
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_a_preview_is_what_the_clock_on_the_wall_says_and_only_staff_may_ask(admin: Api, new_user: NewUser) -> None:
    body = {"schedule": {"cron": "30 12 * * *", "zone": "Europe/Berlin"}, "chore": "quality"}
    found = admin.post("/v1/admin/jobs/preview", json=body).json()
    assert (len(found["next"]), found["command"]) == (10, None)
    assert {datetime.fromisoformat(one).astimezone(UTC).minute for one in found["next"]} == {30}
    ann = new_user()
    for answer in (ann.post("/v1/admin/jobs/preview", json=body), ann.put(JOB, json=body), ann.get("/v1/admin/jobs")):
        assert answer.status_code == 403
