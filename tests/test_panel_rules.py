"""The short ways of the panel (only what was touched, only windows that moved, what nobody fits) against one that has none:
every rule of the book, asked as a tree of the member's whole state after every message."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.panel import decide_member
from schemas.ads import Touch, TouchKind, UserAttributed
from schemas.log.base import Wake
from schemas.log.codec import encode, state_decoder
from schemas.panel import (
    All,
    Attribute,
    Cohort,
    CohortBook,
    Count,
    CountAction,
    Is,
    Member,
    MemberInbox,
    Not,
    PutTag,
    Rule,
    Some,
    Within,
)
from schemas.panel_counters import LONG_TABLE, UNITS, Buckets, Counter, buckets_of, count, parse_window
from schemas.user import Role, SessionOpened, UserSignedUp
from tests.decisions import decisions_of
from tests.long_lists import long_lists
from tests.people import BOB
from tests.test_panel import rules

decide = decisions_of(decide_member)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
read = state_decoder(Member)


def holds(rule: Rule, member: Member, at: datetime) -> bool:
    """The rule, asked the long way."""
    match rule:
        case All():
            return all(holds(part, member, at) for part in rule.of)
        case Some():
            return any(holds(part, member, at) for part in rule.of)
        case Not():
            return not holds(rule.of, member, at)
        case Is() if rule.field is Attribute.TAG:
            return bool({*rule.values} & {*member.tags})
        case Is():
            return member.attributes.get(rule.field, "") in rule.values
        case Within():
            moment = getattr(member, f"{rule.field}_at")
            return moment is not None and moment > at - timedelta(seconds=rule.seconds)
        case Count():
            unit, kept = parse_window(rule.window)
            last = int(at.timestamp()) // 60 // UNITS[unit][0]
            held = buckets_of(member.counts.get(rule.field))
            total = sum(held.get(number, 0) for number in range(last - kept + 1, last + 1))
            return rule.at_least <= total and (rule.at_most is None or total <= rule.at_most)


# --- a member's life --------------------------------------------------------------------------------------------------------

gaps = st.sampled_from((0, 1, 30, 60, 300, 3_600, 7_200, 86_400, 3 * 86_400))
lates = st.sampled_from((0, 0, 0, 45, 600, 5_000, 200_000))
messages = st.one_of(
    st.builds(
        lambda counts: CountAction(id="a", at=T, user=BOB, counts=counts),
        st.dictionaries(st.sampled_from(Counter), st.sampled_from((-20, 1, 60, 120)), min_size=1, max_size=2),
    ),
    st.builds(
        lambda country: UserSignedUp(id="u", at=T, cause="x", user=BOB, role=Role.USER, country=country, platform="ios"),
        st.sampled_from(("DE", "FR")),
    ),
    st.just(SessionOpened(id="s", at=T, cause="x", user=BOB, session="s", device="d", platform="android")),
    st.just(PutTag(id="t", at=T, user=BOB, tag="vip", by="root")),
    st.just(
        UserAttributed(
            id="w", at=T, cause="x", user=BOB, signed_up_at=T, touch=Touch(TouchKind.INSTALL, T, "snapchat", "DE")
        )
    ),
)  # fmt: skip
deeds = long_lists(st.tuples(messages, gaps, lates), 25)
books = st.lists(rules, min_size=1, max_size=10).map(tuple)


def shared(number: int, wanted: tuple[Rule, ...]) -> Member:
    """What a partition knows: the book in its n-th version."""
    return Member(shared=CohortBook(number, tuple(Cohort(f"c{n}", f"tag{n}", rule) for n, rule in enumerate(wanted))))


def told(member: Member | None) -> Any:
    """A member as another decision finds it: read from what was written."""
    return None if member is None else read(encode(member))


def fits(member: Member, common: Member, at: datetime) -> dict[str, str]:
    """Whose rules hold."""
    assert common.shared is not None
    return {cohort.cohort: cohort.tag for cohort in common.shared.cohorts if holds(cohort.rule, member, at)}


@given(books, books, deeds, st.integers(0, 25))
@settings(max_examples=settings().max_examples * 3)
def test_after_each_message_a_member_is_where_the_rules_say(
    first: tuple[Rule, ...], second: tuple[Rule, ...], life: list[tuple[MemberInbox, int, int]], turn: int
) -> None:
    """Also just before a window moves, and when it has moved; and behind another book."""
    member: Any = None
    now = T
    for number, (message, gap, late) in enumerate(life):
        common = shared(1, first) if number < turn else shared(2, second)
        now += timedelta(seconds=gap)
        while member is not None and member.due_at is not None and member.due_at <= now and gap > 1_000:
            member = told(decide(member, Wake(id="w", at=member.due_at, key="bob"), common)[0])
            assert member.cohorts == fits(member, common, member.seen_at)
        member = told(decide(member, replace(message, at=now - timedelta(seconds=late)), common)[0])
        assert member.cohorts == fits(member, common, member.seen_at)
        assert member.due_at is None or member.due_at > member.seen_at
        for later in (timedelta(minutes=1), timedelta(hours=30), timedelta(days=40)):
            moment = member.seen_at + later if member.due_at is None else min(member.seen_at + later, member.due_at)
            if moment - timedelta(seconds=1) > member.seen_at:
                assert member.cohorts == fits(member, common, moment - timedelta(seconds=1)), "nothing changes before it is due"


@pytest.mark.parametrize("actions", [1, 40, 400])
def test_a_long_table_keeps_what_a_window_can_still_see(actions: int) -> None:
    minutes = [int(T.timestamp()) // 60 + 117 * number for number in range(actions)]
    held: Buckets = {}
    everything: dict[tuple[int, int], int] = {}
    for minute in minutes:
        held = count(held, minute, 1)
        for size, _ in UNITS.values():
            everything[size, minute // size] = everything.get((size, minute // size), 0) + 1
    for size, kept in UNITS.values():
        last = minutes[-1] // size
        for number in range(last - kept + 1, last + 1):
            assert held.get(number, 0) == everything.get((size, number), 0)
    assert len(held) <= max(LONG_TABLE, sum(kept for _, kept in UNITS.values()))
