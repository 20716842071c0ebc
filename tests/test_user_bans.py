"""Bans of several causes stand side by side: by example, and by Hypothesis against a naive model."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocklist import decide_record
from pipelines.user import decide_user
from schemas.blocklist import BlockReason, BlockRule, Consequence, CountBlock, Review
from schemas.log.base import UserId, Wake
from schemas.user import (
    MAX_CASE_BANS,
    Ban,
    BanEnded,
    OpenSession,
    Role,
    SignUp,
    Unban,
    User,
    UserBanned,
    UserInbox,
    UserRefused,
    UserUnbanned,
)
from tests.decisions import decisions_of
from tests.long_lists import long_lists
from tests.people import ANN

decide = decisions_of(decide_user)
decide_blocked = decisions_of(decide_record)
T: Final = datetime(2030, 1, 1, tzinfo=UTC)
FOR_GOOD: Final = 10**9


def at(seconds: int) -> datetime:
    return T + timedelta(seconds=seconds)


def known() -> Any:
    return decide(None, SignUp(id="s", at=T, user=ANN, role=Role.USER))[0]


def ban(case: str, until: int | None, seconds: int = 0) -> Ban:
    end = None if until is None else at(until)
    return Ban(id=f"b-{case}-{seconds}", at=at(seconds), user=ANN, reason="r", by="root", until=end, case=case)


def unban(case: str = "", seconds: int = 0) -> Unban:
    return Unban(id=f"u-{case}-{seconds}", at=at(seconds), user=ANN, by="root", case=case)


def after(*messages: UserInbox) -> tuple[Any, list[Any]]:
    user, told = known(), list[Any]()
    for message in messages:
        user, more = decide(user, message)
        told += more
    return user, told


def wake(seconds: int) -> Wake:
    return Wake(id=f"w{seconds}", at=at(seconds), key="ann")


def test_who_is_banned_for_good_stays_so_whatever_a_rule_says() -> None:
    user, told = after(ban("", None), ban("spam-1", 5), wake(5))
    assert user.banned
    assert user.wake_at is None
    assert [type(one) for one in told] == [UserBanned, UserBanned, BanEnded]
    assert [one.until for one in told[:2]] == [None, None], "the phone is told when it may come back: never"


def test_a_review_lifts_its_own_ban_and_no_admins() -> None:
    rule = BlockRule("rude", BlockReason.HARASSMENT, 1, 3600, Consequence.BAN)
    block = CountBlock(id="c", at=T, user=ANN, by=UserId("bob"), reason=BlockReason.HARASSMENT, rules=(rule,))
    record, (_, of_rule) = decide_blocked(None, block)
    review = Review(id="r", at=at(9), user=ANN, case=record.cases[0].case, upheld=False, by="root")
    _, (_, lift) = decide_blocked(record, review)
    user, told = after(of_rule, ban("", 60, 1), lift)
    assert (user.banned, type(told[-1]), user.banned_until) == (True, BanEnded, at(60))
    user, told = after(ban("", 60), of_rule, unban(), lift)
    assert (user.banned, type(told[-2]), type(told[-1])) == (False, UserUnbanned, UserRefused)


def test_a_shorter_ban_of_the_same_cause_changes_nothing_and_a_longer_one_does() -> None:
    assert after(ban("", 60), ban("", 5, 1))[0].banned_until == at(60)
    assert after(ban("", 5), ban("", 60, 1))[0].banned_until == at(60)
    assert after(ban("", None), ban("", 60, 1))[0].ban.until is None


def test_of_too_many_bans_the_one_that_is_over_first_gives_way() -> None:
    user, _ = after(*(ban(f"c{n}", 100 + n) for n in range(MAX_CASE_BANS + 1)))
    assert len(user.case_bans) == MAX_CASE_BANS
    assert (user.banned_until, "c0" in user.case_bans) == (at(100 + MAX_CASE_BANS), False)


causes = st.sampled_from(("", "rude-1", "spam-1", "spam-2"))
steps = st.one_of(
    st.tuples(st.just("ban"), causes, st.one_of(st.none(), st.integers(-5, 40))),
    st.tuples(st.just("lift"), causes, st.none()),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 30)),
)


@given(long_lists(steps, 25))
def test_bans_are_those_of_a_naive_model(script: list[tuple[str, str, int | None]]) -> None:
    """The model knows one number for each cause: when its ban is over."""
    user: User = known()
    model: dict[str, int] = {}
    now, open_ = 0, True
    for number, (what, cause, value) in enumerate(script):
        message: UserInbox
        if what == "wait":
            now += value or 0
            message = wake(now)
            model = {one: end for one, end in model.items() if end > now}
        elif what == "ban":
            message = ban(cause, None if value is None else now + value, now)
            model[cause] = max(model.get(cause, -FOR_GOOD), FOR_GOOD if value is None else now + value)
        else:
            message = unban(cause, now)
            model = {one: end for one, end in model.items() if cause and one != cause}
        user, told = decide(user, message)
        assert user.bans.keys() == model.keys(), number
        assert user.banned is bool(model)
        ends = [at(end) for end in model.values() if end != FOR_GOOD]
        assert user.banned_until == (max(ends) if ends and len(ends) == len(model) else None)
        # Whoever hears of bans keeps one flag: it must agree, whatever came.
        open_ = open_ and not any(isinstance(one, UserBanned) for one in told)
        open_ = open_ or any(isinstance(one, UserUnbanned) for one in told)
        assert open_ is not user.banned
        session = OpenSession(id=f"o{number}", at=at(now), user=ANN, session="s", device="d")
        assert isinstance(decide(user, session)[1][0], UserRefused) is user.banned
