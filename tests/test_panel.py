"""Cohorts: refusals by table, windows that move, rules that change; and the same rule in SQL over the same events."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.clickhouse import connect
from pipelines import panel as domain
from pipelines.runtime.core import Batch, Core, Decider
from schemas.ads import Touch, TouchKind, UserAttributed
from schemas.balance import EntryKind, EntryRecorded, Reason
from schemas.billing_rules import CallKind
from schemas.chat import ItemPosted
from schemas.gift import GiftSent
from schemas.log.base import AccountId, Message, UserId, Wake
from schemas.log.codec import encode
from schemas.log.entity import broadcast_keys, partition_of
from schemas.pair import pair_of
from schemas.panel import (
    BOOK,
    MEMBER,
    All,
    Attribute,
    BookInbox,
    Cohort,
    CohortBook,
    CohortEntered,
    CohortLeft,
    CohortRefusal,
    Count,
    CountAction,
    Is,
    Member,
    MemberInbox,
    Moment,
    Not,
    PutCohort,
    PutTag,
    RemoveCohort,
    RemoveTag,
    Rule,
    ShareCohorts,
    Some,
    TagRefusal,
    Within,
    check,
)
from schemas.panel_counters import Counter, RuleError
from schemas.panel_sql import members_sql
from schemas.tables import PROJECTIONS
from schemas.user import CameOnline, Role, SessionOpened, UserSignedUp, WentOffline
from schemas.video import CallEnded, EndReason
from tests.conftest import Stack
from tests.decisions import decisions_of
from tests.people import BOB

decide_cohorts = decisions_of(domain.decide_cohorts)
decide = decisions_of(domain.decide_member)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
CALLER = Count(Counter.CALLS, "10m", at_least=2)


def book(*rules: Rule, version: int = 1) -> Member:
    return Member(shared=CohortBook(version, tuple(Cohort(f"c{n}", f"tag{n}", rule) for n, rule in enumerate(rules))))


def called(minutes: int, n: int = 0) -> CountAction:
    return CountAction(id=f"a{minutes}-{n}", at=T + timedelta(minutes=minutes), user=BOB, counts={Counter.CALLS: 1})


def play(
    common: Member | None, *messages: MemberInbox, member: Member | None = None
) -> tuple[Any, list[tuple[type[Message], str]]]:
    told: list[Any] = []
    for message in messages:
        member, more = decide(member, message, common)
        told += more
    return member, [(type(one), one.cohort) for one in told if isinstance(one, CohortEntered | CohortLeft)]


# --- the book ---------------------------------------------------------------------------------------------------------------


def test_each_refusal_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_COHORTS", 1)
    monkeypatch.setattr(domain, "MAX_TAGS", 1)
    put = PutCohort(id="p", at=T, book=BOOK, cohort=Cohort("a", "t", CALLER))
    known, told = decide_cohorts(None, put)
    assert [type(one).__name__ for one in told] == ["CohortPut"] + ["ShareCohorts"] * MEMBER.partitions
    rows: list[tuple[BookInbox, CohortRefusal]] = [
        (RemoveCohort(id="r", at=T, book=BOOK, cohort="b"), CohortRefusal.COHORT_UNKNOWN),
        (PutCohort(id="q", at=T, book=BOOK, cohort=Cohort("b", "t", CALLER)), CohortRefusal.TOO_MANY_COHORTS),
    ]
    for message, refusal in rows:
        assert decide_cohorts(known, message)[1][0].refusal is refusal
    monkeypatch.setattr(domain, "MAX_COHORTS", 9)
    monkeypatch.setattr(domain, "MAX_BOOK_BYTES", 400)
    long = Cohort("b", "t", Is(Attribute.COUNTRY, tuple(f"c{n}" for n in range(100))))
    rows.append((PutCohort(id="q", at=T, book=BOOK, cohort=long), CohortRefusal.BOOK_FULL))
    assert decide_cohorts(known, rows[-1][0])[1][0].refusal is CohortRefusal.BOOK_FULL
    assert {refusal for _, refusal in rows} == set(CohortRefusal)
    again, _ = decide_cohorts(known, put)
    assert (again.version, len(again.cohorts)) == (2, 1)
    gone, _ = decide_cohorts(again, RemoveCohort(id="r", at=T, book=BOOK, cohort="a"))
    assert (gone.version, gone.cohorts) == (3, ())
    tag: dict[str, Any] = {"at": T, "user": "bob", "by": "root"}
    member, _ = decide(None, PutTag(id="t", tag="one", **tag), None)
    of_tags: list[tuple[MemberInbox, TagRefusal]] = [
        (PutTag(id="t", tag="two", **tag), TagRefusal.TOO_MANY_TAGS),
        (RemoveTag(id="t", tag="two", **tag), TagRefusal.TAG_UNKNOWN),
    ]
    for asked_for, why in of_tags:
        assert decide(member, asked_for, None)[1][0].refusal is why
    erased = Member(erased_at=T, due_at=T)
    assert decide(erased, of_tags[0][0], None)[1][0].refusal is TagRefusal.USER_ERASED
    assert {refusal for _, refusal in of_tags} == set(TagRefusal) - {TagRefusal.USER_ERASED}


def test_rules_that_cannot_be() -> None:
    impossible: list[tuple[Rule, str]] = [
        (All(()), "at least one part"),
        (Count(Counter.CALLS, "121m", 1), "at most 120m"),
        (Count(Counter.CALLS, "7d", 5, 4), "at least 5 and at most 4"),
        (Not(Not(Not(Not(Not(Not(Not(Not(CALLER)))))))), "nested deeper"),
        (Some(tuple([CALLER] * 51)), "more than 50"),
    ]
    for rule, why in impossible:
        with pytest.raises(RuleError, match=why):
            check(rule)
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'shoe_size'"):
        msgspec.convert({"rule": "is", "field": "shoe_size", "values": ["44"]}, Rule)


# --- members ----------------------------------------------------------------------------------------------------------------


def test_a_member_enters_by_an_action_and_leaves_when_the_window_moves() -> None:
    member, told = play(book(CALLER), called(0), called(3))
    assert told == [(CohortEntered, "c0")]
    assert member.all_tags == {"tag0"}
    assert member.due_at == T + timedelta(minutes=10)
    assert play(book(CALLER), Wake(id="w", at=T + timedelta(minutes=9), key="bob"), member=member) == (member, [])
    member, told = play(book(CALLER), Wake(id="w", at=member.due_at, key="bob"), member=member)
    assert told == [(CohortLeft, "c0")]
    assert member.due_at == T + timedelta(minutes=13)


def test_late_actions_count_in_their_own_bucket() -> None:
    _, told = play(book(CALLER), called(20), called(13), called(11))
    assert told == [(CohortEntered, "c0")]
    _, told = play(book(CALLER), called(20), called(10), called(5))
    assert told == []


def test_a_new_book_is_decided_by_a_wake_and_a_removed_cohort_is_left() -> None:
    member, told = play(None, called(0), called(1))
    assert told == []
    common = book(CALLER, Is(Attribute.COUNTRY, ("DE",)), version=2)
    assert member.behind(common)
    member, told = play(common, Wake(id="w", at=T + timedelta(minutes=2), key="bob"), member=member)
    assert (told, member.behind(common)) == ([(CohortEntered, "c0")], False)
    member, told = play(book(version=3), Wake(id="w", at=T + timedelta(minutes=3), key="bob"), member=member)
    assert told == [(CohortLeft, "c0")]


def test_coins_that_come_back_are_not_spent() -> None:
    def entry(coins: int, reason: Reason) -> EntryRecorded:
        return EntryRecorded(
            id="e", at=T, cause="x", account=AccountId("bob/coins"), seq=1, kind=EntryKind.DEBIT, coins=coins, reason=reason,
            balance_coins=0, held_coins=0, counterparty="@p",
        )  # fmt: skip

    rules = book(Count(Counter.COINS_SPENT, "30d", 50), Count(Counter.COINS_BOUGHT, "30d", 100))
    _, told = play(rules, entry(-60, Reason.CALL), entry(100, Reason.PURCHASE), entry(20, Reason.CALL))
    assert told == [(CohortEntered, "c0"), (CohortEntered, "c1"), (CohortLeft, "c0")]


def test_the_host_brings_a_new_book_to_every_member_of_a_partition() -> None:
    core = Core([Decider(MEMBER, decide)])
    users = [user for n in range(5_000) if partition_of((user := f"u{n}").encode(), MEMBER.partitions) == 1]
    lane = core.open(MEMBER.inbox, 1)
    offset = 0

    def take(batch: Batch, message: MemberInbox, key: str) -> None:
        nonlocal offset
        batch.take(lane, offset, key.encode(), encode(message))
        offset += 1

    batch = Batch(core)
    for user in users:
        take(batch, CountAction(id="a", at=T, user=UserId(user), counts={Counter.CALLS: 2}), user)
    batch.merge()
    shared = CohortBook(1, (Cohort("c", "t", CALLER),))
    key = broadcast_keys(MEMBER.partitions)[1]
    batch = Batch(core)
    take(batch, ShareCohorts(id="s", at=T, user=UserId(key), shared=shared), key)
    batch.merge()
    woken: list[tuple[bytes, bytes]] = []
    while core.sweeping():
        batch = Batch(core)
        batch.wake(T)
        woken += [(key, value or b"") for topic, _, key, value in batch.outputs if topic == MEMBER.inbox]
        batch.merge()
    assert sorted(key.decode() for key, _ in woken) == sorted(users)
    batch = Batch(core)
    for woken_key, value in woken:
        batch.take(lane, offset, woken_key, value)
        offset += 1
    assert sum(topic == MEMBER.events for topic, *_ in batch.outputs) == len(users)
    batch.merge()
    lane.sweep = lane.states.walk()
    batch = Batch(core)
    batch.wake(T)
    assert not batch.outputs


# --- the same in SQL --------------------------------------------------------------------------------------------------------

USERS = tuple(map(UserId, ("ann", "bob", "cat", "dan", "eva", "fay")))
leaves = st.one_of(
    st.builds(Is, st.just(Attribute.COUNTRY), st.sampled_from((("DE",), ("DE", "FR"), ("it's \\",)))),
    st.builds(Is, st.just(Attribute.PLATFORM), st.sampled_from((("ios",), ("android", "ios")))),
    st.builds(Is, st.just(Attribute.NETWORK), st.sampled_from((("snapchat",), ("organic", "tiktok")))),
    st.builds(Is, st.just(Attribute.CAMPAIGN), st.sampled_from((("DE",), ("FR", "it's \\")))),
    st.builds(Is, st.just(Attribute.TAG), st.sampled_from((("vip",), ("vip", "new")))),
    st.builds(Within, st.sampled_from(Moment), st.sampled_from((60, 3_600, 86_400, 5 * 86_400))),
    st.builds(
        Count, st.sampled_from(Counter), st.sampled_from(("5m", "90m", "2h", "48h", "1d", "30d")),
        st.sampled_from((0, 1, 2, 100)), st.one_of(st.none(), st.sampled_from((100, 150))),
    ),
)  # fmt: skip
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(All, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=5,
)
deeds = st.tuples(
    st.sampled_from((
        "sign_up", "came", "session", "online", "offline", "call", "gift", "message", "spend", "return", "buy", "tag", "untag",
    )),
    st.sampled_from(USERS), st.sampled_from((0, 1, 59, 60, 299, 3_599, 3_600, 50_000, 86_400, 200_000)),
    st.sampled_from(("DE", "FR", "it's \\")),
)  # fmt: skip

# A topic, its fact, and what the panel hears of it, by user.
Deed = tuple[str, Message | None, list[tuple[UserId, MemberInbox]]]


def entry_of(user: UserId, at: datetime, coins: int, reason: Reason, n: int) -> EntryRecorded:
    return EntryRecorded(
        id=f"e{n}", at=at, cause="x", account=AccountId(f"{user}/coins"), seq=n + 1, kind=EntryKind.DEBIT, coins=coins,
        reason=reason, balance_coins=0, held_coins=0, counterparty="@p",
    )  # fmt: skip


def facts_of(history: list[tuple[str, UserId, int, str]]) -> Iterator[Deed]:  # noqa: PLR0912 - a row a deed
    """Each deed as (topic, fact, what the panel hears of it, by user); times only go on, by the deed's gap."""
    at = T
    for n, (deed, user, gap, country) in enumerate(history):
        at += timedelta(seconds=gap, microseconds=7)
        peer = USERS[(USERS.index(user) + 1) % len(USERS)]
        fact: Message
        of: dict[str, Any] = {"id": f"f{n}", "at": at, "cause": "x", "user": user}
        match deed:
            case "sign_up":
                fact = UserSignedUp(role=Role.USER, country=country, platform="ios", **of)
            case "session":
                fact = SessionOpened(session="s", device="d", platform="android", **of)
            case "came":
                campaign = "" if country == "FR" else country
                touch = Touch(TouchKind.INSTALL, at, "organic" if country == "FR" else "snapchat", campaign)
                fact = UserAttributed(signed_up_at=at, touch=touch, **of)
                yield "attribution.events", fact, [(user, fact)]
                continue
            case "online":
                fact = CameOnline(**of)
            case "offline":
                fact = WentOffline(online_s=1.5, **of)
            case "spend":
                fact = entry_of(user, at, -60, Reason.CALL, n)
            case "return":
                fact = entry_of(user, at, 20, Reason.GIFT, n)
            case "buy":
                fact = entry_of(user, at, 120, Reason.PURCHASE, n)
            case "call":
                fact = CallEnded(
                    id=f"f{n}", at=at, cause="x", call=f"c{n}", caller=user, callee=peer, kind=CallKind.DIRECT,
                    reason=EndReason.HUNG_UP, connected=True, duration_s=61.5,
                )  # fmt: skip
                both = {Counter.CALLS: 1, Counter.TALKED_S: 61}
                yield "call.events", fact, [(one, CountAction(id="k", at=at, user=one, counts=both)) for one in (user, peer)]
                continue
            case "gift":
                fact = GiftSent(
                    id=f"f{n}", at=at, cause="x", gift=f"g{n}", sender=user, receiver=peer, item="rose", price_coins=5,
                    share_coins=2,
                )  # fmt: skip
                sides = ((user, Counter.GIFTS_SENT), (peer, Counter.GIFTS_RECEIVED))
                yield "gift.events", fact, [(u, CountAction(id="k", at=at, user=u, counts={c: 1})) for u, c in sides]
                continue
            case "message":
                fact = ItemPosted(
                    id=f"f{n}", at=at, cause="x", pair=pair_of(user, peer), user=user, peer=peer, seq=n + 1, ref="m"
                )
                sides = ((user, Counter.MESSAGES_SENT), (peer, Counter.MESSAGES_RECEIVED))
                yield "chat.events", fact, [(u, CountAction(id="k", at=at, user=u, counts={c: 1})) for u, c in sides]
                continue
            case _:
                type_ = PutTag if deed == "tag" else RemoveTag
                yield "member.events", None, [(user, type_(id=f"f{n}", at=at, user=user, tag="vip", by="root"))]
                continue
        yield ("account.events" if deed in ("spend", "return", "buy") else "user.events"), fact, [(user, fact)]


@pytest.fixture(scope="module")
def history_base(stack: Stack) -> Client:
    """A database of its own for histories."""
    return connect(stack.database("histories"))


FED = ("sightings", "calls", "gifts", "chat_items", "balance_entries", "tags", "attributions")
VIEWED = ("user_attributes", "user_actions")


@given(st.lists(deeds, max_size=60), st.lists(rules, min_size=8, max_size=12), st.sampled_from((0, 61, 4_000, 90_000)))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_stream_and_clickhouse_agree(
    history_base: Client, history: list[tuple[str, UserId, int, str]], wanted: list[Rule], later: int
) -> None:
    common = book(*wanted)
    members: dict[UserId, Any] = {}
    rows: list[list[Any]] = []
    at = T
    for topic, fact, heard in facts_of(history):
        for user, message in heard:
            at = message.at
            members[user], told = decide(members.get(user), message, common)
            written = told[0] if topic == "member.events" else fact
        rows.append([topic, 0, len(rows), b"k", encode(written).decode()])
    at += timedelta(seconds=later)
    for user in members:
        while (member := members[user]) is not None and member.due_at is not None and member.due_at <= at:
            members[user], _ = decide(member, Wake(id="w", at=member.due_at, key=user), common)
    store(history_base, rows)
    found = asked(history_base, wanted, at)
    for n, rule in enumerate(wanted):
        streamed = sorted(user for user, member in members.items() if member is not None and f"c{n}" in member.cohorts)
        assert sorted(found[n]) == streamed, json.dumps(msgspec.to_builtins(rule))


def store(base: Client, rows: list[list[Any]]) -> None:
    """These records, and nothing else, in the log and in the tables that are made of it."""
    base.command("TRUNCATE ALL TABLES FROM histories")
    if rows:
        base.insert("log", rows, ["topic", "partition", "offset", "key", "value"])
    topics = {row[0] for row in rows}
    for projection in PROJECTIONS:
        if projection.table in FED and topics & set(projection.topics):
            base.command(projection.insert())


def asked(base: Client, wanted: list[Rule], at: datetime) -> dict[int, list[str]]:
    """Who fits each rule, as SQL finds it. All rules ask the same two views, which are worked out once for all of them."""
    for name in VIEWED:
        base.command(f"CREATE OR REPLACE TABLE {name}_once ENGINE = Memory AS SELECT * FROM {name}")
    found: dict[int, list[str]] = {n: [] for n in range(len(wanted))}
    statements = [f"SELECT {n} AS n, user FROM ({members_sql(rule)})" for n, rule in enumerate(wanted)]
    sql = re.sub(rf"\b({'|'.join(VIEWED)})\b", r"\1_once", " UNION ALL ".join(statements))
    for n, user in base.query(sql, parameters={"now": at}).result_rows:
        found[n].append(user)
    return found
