"""Notifications over HTTP: pages, the badge, why there was a push; preferences that cannot be are refused by name."""

from typing import Any

import pytest

from schemas.notification import NOTIFICATION, PutNotificationPreferences
from schemas.notification_kinds import NotificationKind
from tests.decisions import last_decision
from tests.front import Front, bearer, code
from tests.test_notification import ack, decide, item, name_of, phone, taken

NIGHT = {"begins": "22:00", "ends": "07:00", "zone": "Europe/Berlin"}
PREFERENCES = "/v1/users/me/notification-preferences"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"silent": ["nonsense"]}, (422, "kind_unknown")),
        ({"quiet": NIGHT | {"zone": "Mars/Olympus"}}, (422, "zone_unknown")),
        ({"quiet": NIGHT | {"ends": "22:00"}}, (422, "quiet_hours_empty")),
        ({"quiet": NIGHT | {"begins": "24:00"}}, (422, "invalid_request")),
        ({"silent": ["favorite_online"], "quiet": NIGHT}, (503, "not_decided")),
    ],
    ids=["kind", "zone", "empty", "hour", "good"],
)  # fmt: skip
def test_preferences_that_cannot_be_are_refused_by_name(body: dict[str, Any], answer: tuple[int, str]) -> None:
    front = Front()
    found = front.ask("PUT", PREFERENCES, headers=bearer(), json=body)
    assert code(found) == answer
    if answer[0] == 503:
        (command,) = front.commands.asked
        assert isinstance(command, PutNotificationPreferences)
        assert command.quiet is not None
        assert (command.silent, command.quiet.begins, len(command.quiet.offsets) > 4) == (
            (NotificationKind.FAVORITE_ONLINE,),
            1_320,
            True,
        )


def test_a_page_the_badge_and_a_timeline_are_what_the_state_says() -> None:
    front = Front()
    state, _ = last_decision(decide, phone(), item(1), item(2, 1), taken("i1"), ack("i2", 2))
    front.app.state.views.of(NOTIFICATION)["sue"] = state
    page = front.ask("GET", "/v1/notifications?limit=1&locale=de", headers=bearer("sue", "streamer")).json()
    assert (page["unread"], [one["title"] for one in page["notifications"]]) == (2, ["Neue Nachricht"])
    older = front.ask("GET", "/v1/notifications", params={"before": page["next_before"]}, headers=bearer("sue", "streamer"))
    assert [one["ref"] for one in older.json()["notifications"]] == ["m1"]
    assert front.ask("GET", "/v1/notifications", headers=bearer()).json()["notifications"] == []
    timeline = front.ask("GET", f"/v1/admin/notifications/sue/{name_of('i1')}", headers=bearer("root", "admin")).json()
    assert (timeline["reason"], timeline["no_push"]) == ("offline", None)
    assert [one["step"] for one in timeline["steps"]] == ["told on the feed", "pushed: no phone was there"]
    unknown = front.ask("GET", "/v1/admin/notifications/sue/nonsense", headers=bearer("root", "admin"))
    assert code(unknown) == (404, "notification_unknown")
    assert front.ask("GET", f"/v1/admin/notifications/sue/{name_of('i1')}", headers=bearer()).status_code == 403
    nobody = {"texts": [{"language": "en", "title": "Hi", "body": "Hello."}]}
    headers = bearer("root", "admin") | {"Idempotency-Key": "n1"}
    assert code(front.ask("POST", "/v1/admin/notifications/nobody", headers=headers, json=nobody)) == (404, "user_unknown")
