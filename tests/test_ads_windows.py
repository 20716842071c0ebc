"""The windows of attribution, by table and Hypothesis: which touch counts for a user, for what, and until when."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines import ads as domain
from schemas.ads import (
    EARLY,
    LOOKBACK,
    RETURN_WINDOW,
    Attribution,
    AttributionMissed,
    Touch,
    TouchKind,
    UserAttributed,
    UserTouched,
)
from schemas.log.base import UserId, Wake
from schemas.user import Role, UserSignedUp
from tests.decisions import decisions_of

decide = decisions_of(domain.decide_attribution)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
SIGN_UP = UserSignedUp(id="s", at=T, cause="x", user=UserId("ann"), role=Role.USER)
INSTALL, REINSTALL, ENGAGED = TouchKind.INSTALL, TouchKind.REINSTALL, TouchKind.RE_ENGAGEMENT


def touch(kind: TouchKind, behind: timedelta, network: str, campaign: str = "") -> UserTouched:
    """A touch so long behind the sign-up (before it: less than nothing)."""
    one = Touch(kind, T + behind, network, campaign)
    return UserTouched(id=f"u/{kind}/{behind}/{network}", at=T + behind, cause="x", install="af", user=UserId("ann"), touch=one)


def lived(messages: Sequence[Any], until: datetime | None = None) -> tuple[Attribution, list[Any]]:
    """The state behind the messages, and behind all wakes up to the moment; and what was told."""
    user: Any = None
    told: list[Any] = []
    for message in messages:
        user, facts = decide(user, message, None)
        told += facts
    while until is not None and user is not None and user.wake_at is not None and user.wake_at <= until:
        user, facts = decide(user, Wake(id="w", at=user.wake_at, key="ann"), None)
        told += facts
    return user, told


def network(user: Attribution) -> str:
    return user.touch.network if user.touch else ""


PAID = touch(INSTALL, -DAY, "snapchat")


@pytest.mark.parametrize(
    ("messages", "counts"),
    [
        ([PAID, SIGN_UP, touch(REINSTALL, 2 * DAY, "organic")], "snapchat"),
        ([PAID, touch(REINSTALL, -SECOND, "organic"), SIGN_UP], "snapchat"),
        ([PAID, SIGN_UP, touch(ENGAGED, 2 * DAY, "organic"), touch(ENGAGED, DAY, "tiktok")], "tiktok"),
        ([PAID, SIGN_UP, touch(ENGAGED, 2 * DAY, "tiktok"), touch(REINSTALL, 3 * DAY, "organic")], "tiktok"),
        ([touch(REINSTALL, -DAY, "organic"), SIGN_UP], ""),
        ([touch(INSTALL, -DAY, "organic"), SIGN_UP], "organic"),
        ([touch(INSTALL, -DAY, "organic"), SIGN_UP, touch(ENGAGED, DAY, "tiktok")], "tiktok"),
        ([touch(ENGAGED, -80 * DAY, "tiktok"), SIGN_UP], ""),
        ([PAID, touch(ENGAGED, -80 * DAY, "tiktok"), SIGN_UP], "snapchat"),
        ([SIGN_UP, PAID, touch(ENGAGED, -80 * DAY, "tiktok")], "snapchat"),
        ([touch(ENGAGED, -RETURN_WINDOW, "tiktok"), SIGN_UP], "tiktok"),
        ([touch(ENGAGED, -RETURN_WINDOW - SECOND, "tiktok"), SIGN_UP], ""),
        ([touch(INSTALL, -LOOKBACK, "snapchat"), SIGN_UP], "snapchat"),
        ([touch(INSTALL, -LOOKBACK - SECOND, "snapchat"), SIGN_UP], ""),
        ([SIGN_UP, touch(INSTALL, EARLY, "snapchat")], "snapchat"),
        ([SIGN_UP, touch(INSTALL, EARLY + SECOND, "snapchat")], ""),
        # an install that lies outside its window hides none that lies inside
        ([touch(INSTALL, -80 * DAY, "old"), PAID, SIGN_UP], "snapchat"),
        ([SIGN_UP, touch(INSTALL, -80 * DAY, "old"), PAID], "snapchat"),
        ([PAID, SIGN_UP, touch(INSTALL, -80 * DAY, "old")], "snapchat"),
    ],
)  # fmt: skip
def test_what_counts(messages: list[Any], counts: str) -> None:
    user, told = lived(messages)
    assert network(user) == counts
    attributed = [fact.touch for fact in told if isinstance(fact, UserAttributed)]
    assert (attributed[-1] if attributed else None) == user.touch, "the last word is what counts"
    names = [fact.id for fact in told]
    assert len(set(names)) == len(names)


def test_when_a_returns_window_is_over_the_install_counts_again() -> None:
    back = touch(ENGAGED, DAY, "tiktok")
    end = T + DAY + RETURN_WINDOW
    user, told = lived([PAID, SIGN_UP, back])
    assert (network(user), user.wake_at) == ("tiktok", end)
    assert decide(user, Wake(id="w", at=end - SECOND, key="ann"), None) == (user, ())
    user, told = lived([PAID, SIGN_UP, back], end)
    assert (network(user), user.wake_at) == ("snapchat", None)
    assert [fact.touch.network for fact in told if isinstance(fact, UserAttributed)] == ["snapchat", "tiktok", "snapchat"]
    again, _ = decide(user, touch(ENGAGED, 60 * DAY, "tiktok"), None)
    assert network(again) == "tiktok"
    assert [(user.touch_at(at) or PAID.touch).network for at in (T, T + DAY, end, end + SECOND)] == [
        "snapchat", "tiktok", "tiktok", "snapchat",
    ]  # fmt: skip


def test_a_return_that_no_install_stands_behind_goes_on_to_count() -> None:
    user, _ = lived([SIGN_UP, touch(ENGAGED, DAY, "tiktok")], T + 400 * DAY)
    assert (network(user), user.wake_at) == ("tiktok", None)


def test_a_touch_that_counts_for_nothing_is_told_as_missed() -> None:
    for one in (touch(ENGAGED, -80 * DAY, "tiktok"), touch(REINSTALL, DAY, "organic"), touch(INSTALL, 2 * DAY, "x")):
        _, told = lived([SIGN_UP, one])
        assert [fact.touch for fact in told if isinstance(fact, AttributionMissed)] == [one.touch]


def test_an_organic_return_that_an_earlier_version_let_count_does_not_any_more() -> None:
    user, _ = lived([PAID, SIGN_UP])
    kept = replace(user, last=Touch(REINSTALL, T, "organic"))
    assert network(kept) == "snapchat"
    assert network(decide(kept, touch(ENGAGED, -SECOND, "tiktok"), None)[0]) == "tiktok"


touches = st.builds(
    touch,
    st.sampled_from(TouchKind),
    st.integers(-80, 80).map(lambda half: half * DAY / 2),
    st.sampled_from(("organic", "snapchat", "tiktok")),
    st.sampled_from("ab"),
)


def due(touches: list[UserTouched], at: datetime) -> Touch | None:
    """The rule as README and docs have it, over all touches at once."""
    installs = [t.touch for t in touches if t.touch.kind is INSTALL and -EARLY <= T - t.touch.at <= LOOKBACK]
    back = [t.touch for t in touches if t.touch.kind is not INSTALL and t.touch.network != "organic"]
    back = [one for one in back if T - one.at <= RETURN_WINDOW]
    install, last = min(installs, key=domain._order, default=None), max(back, key=domain._order, default=None)
    if last is None or install is None:
        return last or install
    return last if at < last.at + RETURN_WINDOW else install


@given(st.lists(touches, max_size=6), st.integers(0, 6), st.integers(0, 200), st.randoms(use_true_random=False))
def test_what_counts_does_not_depend_on_the_order(life: list[UserTouched], place: int, days: int, chance: Any) -> None:
    """Whatever comes in whatever order: what counts in the end is the rule's, and the last word."""
    chance.shuffle(life)
    if sum(one.touch.kind is INSTALL for one in life[:place]) > 2:
        place = 0  # of installs before the sign-up the first and the last one are kept
    until = T + days * DAY
    user, told = lived([*life[:place], SIGN_UP, *life[place:]], until)
    assert user.touch == due(life, until)
    attributed = [fact.touch for fact in told if isinstance(fact, UserAttributed)]
    assert (attributed[-1] if attributed else None) == user.touch
