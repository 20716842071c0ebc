"""Outreach over HTTP: who may; what cannot be is refused by name; a pause needs nothing but the log."""

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.outreach import BOOK, OUTREACH, CampaignBook, PutCampaign, RemoveCampaign
from schemas.panel import BOOK as COHORT_BOOK
from schemas.panel import COHORTS, Attribute, Cohort, CohortBook, Is
from tests.front import Front, bearer, code
from tests.test_outreach import TOLD

NEWS = "/v1/admin/outreach/news"
WELCOME = {"language": "en", "title": "Welcome", "body": "Say hello."}
NOTICE: dict[str, Any] = {"cohort": "new", "notice": [WELCOME]}
OPENING: dict[str, Any] = {"cohort": "new", "opening": {"writers": "new", "texts": [{"language": "en", "text": "hi"}]}}
ADMIN = bearer("root", "admin")


def front(*, warehouse: bool = True) -> Front:
    """There is one cohort, `new`, whose rule three people fit."""
    found = Front()
    cohort = Cohort("new", "new", Is(Attribute.TAG, ("x",)))
    found.app.state.views.of(COHORTS)[COHORT_BOOK] = CohortBook(1, (cohort,))
    if warehouse:
        rows = SimpleNamespace(result_rows=[(3,)])
        found.app.state.clickhouse = lambda: SimpleNamespace(query=lambda *_, **__: rows)
    return found


@pytest.fixture(scope="module", name="door")
def one_door() -> Front:
    """For all that is refused: nothing of it is written."""
    return front()


def said(kind: str, **change: Any) -> dict[str, Any]:
    """A body with another text."""
    if kind == "notice":
        return NOTICE | {"notice": [WELCOME | change]}
    return OPENING | {"opening": OPENING["opening"] | {"texts": [{"language": "en", "text": "hi"} | change]}}


@pytest.mark.parametrize(
    "body",
    [
        said("notice", title=""), said("notice", title=" "), said("notice", title="\u3000"), said("notice", title="x" * 61),
        said("notice", title="a\nb"), said("notice", body=" \n"), said("notice", body="я" * 201),
        said("notice", language="EN"), said("notice", language="en\n"), said("notice", colour="red"),
        said("opening", text=""), said("opening", text=" \n\t"), said("opening", text="x" * 501), said("opening", text="a\x00"),
        said("opening", language=""), NOTICE | {"notice": [WELCOME, WELCOME]}, NOTICE | {"notice": []},
        NOTICE | {"notice": [WELCOME | {"language": f"a{chr(97 + n)}"} for n in range(9)]},
        NOTICE | {"pace_per_s": 0}, NOTICE | {"pace_per_s": -1}, NOTICE | {"pace_per_s": 1e9},
        OPENING | {"opening": OPENING["opening"] | {"texts": OPENING["opening"]["texts"] * 2}},
        OPENING | {"opening": OPENING["opening"] | {"each": 6}}, OPENING | {"opening": OPENING["opening"] | {"per_day": 0}},
        OPENING | {"opening": OPENING["opening"] | {"delay_s": -1}}, NOTICE | OPENING, {"cohort": "new"},
        NOTICE | {"cohort": "ä"},
    ],
)  # fmt: skip
def test_what_cannot_be_a_campaign_is_422_and_nothing_is_written(door: Front, body: dict[str, Any]) -> None:
    answer = door.ask("PUT", NEWS, headers=ADMIN, json=body)
    assert code(answer) == (422, "invalid_request"), answer.text
    assert door.commands.asked == []


@pytest.mark.parametrize("text", ["héllo 🎉", "日本語", "\u202eoverride", "a" * 500, " x "])
def test_any_words_that_say_something_are_taken_as_they_are(text: str) -> None:
    door = front()
    assert code(door.ask("PUT", NEWS, headers=ADMIN, json=said("opening", text=text))) == (503, "not_decided")
    (command,) = door.commands.asked
    assert isinstance(command, PutCampaign)
    assert (command.campaign.opening[0].text, command.people, command.by) == (text, 3, "root")


@pytest.mark.parametrize("name", ["a" * 65, "a b", "ä", "a%2Fb", "a%0A"])
def test_a_name_that_is_none_is_refused(door: Front, name: str) -> None:
    for method in ("PUT", "DELETE"):
        answer = door.ask(method, f"/v1/admin/outreach/{name}", headers=ADMIN, json=NOTICE if method == "PUT" else None)
        assert answer.status_code in (404, 422), answer.text
    assert door.commands.asked == []


@pytest.mark.parametrize(("user", "role"), [("bob", "user"), ("sue", "streamer"), ("sam", "support")])
def test_only_an_admin_may(door: Front, user: str, role: str) -> None:
    for method, path, body in (("PUT", NEWS, NOTICE), ("DELETE", NEWS, None), ("GET", "/v1/admin/outreach", None)):
        assert door.ask(method, path, headers=bearer(user, role), json=body).status_code == 403
        assert door.ask(method, path, json=body).status_code == 401
    assert door.commands.asked == []


def test_a_preview_says_for_whom_it_would_be_and_writes_nothing(door: Front) -> None:
    """Three people fit the rule; a notice takes as long as its pace; of an opening the writers are counted."""
    preview = "/v1/admin/outreach/preview"
    told = door.ask("POST", preview, headers=ADMIN, json=NOTICE | {"pace_per_s": 2}).json()
    assert told == {"people": 3, "takes_s": 1.5, "writers": 0}
    assert door.ask("POST", preview, headers=ADMIN, json=OPENING).json() == {"people": 3, "takes_s": 0.0, "writers": 0}
    for body, refusal in (
        (NOTICE | {"cohort": "none"}, (404, "cohort_unknown")),
        (OPENING | {"opening": OPENING["opening"] | {"writers": "none"}}, (404, "cohort_unknown")),
        (NOTICE | OPENING, (422, "invalid_request")),
    ):
        assert code(door.ask("POST", preview, headers=ADMIN, json=body)) == refusal
    assert door.ask("POST", preview, headers=bearer("sam", "support"), json=NOTICE).status_code == 403
    assert door.commands.asked == []


@pytest.mark.parametrize("body", [NOTICE, OPENING | {"running": True}])
def test_a_campaign_is_read_as_it_was_written(body: dict[str, Any]) -> None:
    """What is read can be put again, and is the same campaign."""
    door = front()
    door.ask("PUT", NEWS, headers=ADMIN, json=body)
    (command,) = door.commands.asked
    assert isinstance(command, PutCampaign)
    door.app.state.views.of(OUTREACH)[BOOK] = CampaignBook(1, (command.campaign,))
    definition = door.ask("GET", NEWS, headers=ADMIN).json()["definition"]
    assert body.items() <= definition.items() or body["opening"].items() <= definition["opening"].items()
    door.ask("PUT", NEWS, headers=ADMIN, json=definition)
    again = door.commands.asked[-1]
    assert isinstance(again, PutCampaign)
    assert again.campaign == command.campaign
    assert code(door.ask("GET", "/v1/admin/outreach/none", headers=ADMIN)) == (404, "campaign_unknown")


def test_a_pause_needs_neither_the_warehouse_nor_the_cohort_and_a_start_both() -> None:
    door = front(warehouse=False)
    views = door.app.state.views
    assert code(door.ask("PUT", NEWS, headers=ADMIN, json=NOTICE)) == (503, "warehouse_unreachable")
    views.of(OUTREACH)[BOOK] = CampaignBook(1, (replace(TOLD, spread_s=10.0),))
    views.of(COHORTS)[COHORT_BOOK] = CohortBook(2, ())
    assert code(door.ask("PUT", NEWS, headers=ADMIN, json=NOTICE)) == (503, "not_decided")
    (command,) = door.commands.asked
    assert isinstance(command, PutCampaign)
    assert (command.people, command.campaign.running) == (0, False)
    assert code(door.ask("PUT", NEWS, headers=ADMIN, json=NOTICE | {"running": True})) == (404, "cohort_unknown")
    assert code(door.ask("DELETE", NEWS, headers=ADMIN)) == (503, "not_decided")
    assert isinstance(door.commands.asked[-1], RemoveCampaign)
