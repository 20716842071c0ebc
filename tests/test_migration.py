"""Migration: what rules make of a delivery, each fault by name and place; and one command an event, in any order."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from infra.config import load
from infra.migration import NotMendedError, redrive
from infra.migration_mapping import DeliveryError, move_of, read_delivery
from pipelines import migration
from schemas.balance import Refusal
from schemas.blocklist import BlockUser
from schemas.favorites import AddFavorite, RemoveFavorite
from schemas.log.base import Wake
from schemas.migration import (
    DELIVERED_WITHIN,
    MAX_TRIES,
    REMEMBERED,
    MigrationFeed,
    MoveRow,
    OpenBalance,
    Opening,
    OpeningAnswered,
    OpeningStep,
    PutMigrationFeed,
    RowOutcome,
    RowRepeated,
    SpendOpening,
    opening_transfer,
)
from schemas.migration_rules import (
    Conversion,
    FieldSource,
    MigrationAction,
    MigrationRule,
    RowCondition,
    RowOperation,
    RowSide,
    RowTest,
    faults_of,
)
from schemas.profile import PutPrivateProfile, PutProfile
from schemas.transfer import PlaceTransfer, TransferOutcome, TransferSettled, TransferStatus
from schemas.user import SignUp
from serving.profile import PrivateProfileBody, ProfileBody
from tests.decisions import decisions_of
from tests.long_lists import long_lists
from tests.people import BOB, SUE

T: Final = datetime(2030, 1, 1, tzinfo=UTC)
decide_row = decisions_of(migration.decide_migration_row)
decide_opening = decisions_of(migration.decide_opening)
decide_feed = decisions_of(migration.decide_migration_feed)
USER: Final = FieldSource("user", "id")
PROFILE: Final = MigrationRule(
    "profile", tuple(RowOperation), MigrationAction.PUT_PROFILE,
    (USER, FieldSource("name", "display_name", "somebody"), FieldSource("age", "born", convert=Conversion.AGE)),
)  # fmt: skip
FEED: Final = MigrationFeed(table="public.users", key=("id",), rules=(PROFILE,), version=3)


def delivered(op: str = "INSERT", event: str = "e1", at: datetime = T, table: str = "users", **row: Any) -> dict[str, Any]:
    """What Hasura posts; of an update `old` is what the row was."""
    old = row.pop("old", None)
    new = {"id": "bob", "display_name": "Bob", "born": "2000-06-01", **row}
    data = {"old": new, "new": None} if op == "DELETE" else {"old": old, "new": new}
    return {
        "id": event, "created_at": at.isoformat(), "trigger": {"name": "users_profile"},
        "table": {"schema": "public", "name": table}, "delivery_info": {"current_retry": 0, "max_retries": 3},
        "event": {"op": op, "data": data, "session_variables": {"x-hasura-role": "admin"}},
    }  # fmt: skip


def moved(body: dict[str, Any], feed: MigrationFeed | None = FEED, erased: str = "") -> MoveRow:
    return move_of(read_delivery(body, T), feed, id_="m", at=T, erased=lambda user: user == erased)


def by(*rules: MigrationRule, **more: Any) -> MigrationFeed:
    return replace(FEED, rules=rules, **more)


def filled(source: FieldSource) -> MigrationRule:
    return replace(PROFILE, fields=(*PROFILE.fields[:2], source))


def wrong(body: Any, feed: MigrationFeed | None = FEED) -> set[tuple[str, str]]:
    with pytest.raises(DeliveryError) as raised:
        moved(body, feed)
    return {(one.where, one.code) for one in raised.value.wrongs}


# --- by the rules -----------------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_command_by_the_first_rule_that_fits() -> None:
    found = moved(delivered(display_name=" Jürgen ☎ "))
    assert isinstance(found.move, PutProfile)
    assert (found.move.user, found.move.name, found.move.age, found.move.id) == ("bob", "Jürgen ☎", 29, "e1/move")
    assert (found.outcome, found.rule, found.user, found.feed_version) == (RowOutcome.MOVED, "profile", "bob", 3)
    assert moved(delivered(display_name=None)).move == replace(found.move, name="somebody")
    likes = [FieldSource("user", "id"), FieldSource("peer", "friend")]
    added = MigrationRule("add", (RowOperation.INSERT,), MigrationAction.ADD_FAVORITE, tuple(likes))
    gone = replace(added, rule="gone", operations=(RowOperation.DELETE,), then=MigrationAction.REMOVE_FAVORITE)
    feed = by(added, gone, key=("id", "friend"))
    there, away = moved(delivered(friend=17), feed), moved(delivered("DELETE", friend=17), feed)
    assert isinstance(there.move, AddFavorite)
    assert isinstance(away.move, RemoveFavorite)
    assert there.row == away.row != moved(delivered(friend=18), feed).row
    assert there.move.peer == "17"
    block = MigrationRule(
        "block", (RowOperation.UPDATE,), MigrationAction.BLOCK_USER,
        (*likes, FieldSource("reason", "why", "other", words={"3": "spam"})),
    )  # fmt: skip
    for why, reason in ((3, "spam"), (None, "other")):
        move = moved(delivered("UPDATE", old={"id": "bob"}, friend="sue", why=why), by(block)).move
        assert isinstance(move, BlockUser)
        assert (move.reason, move.rules) == (reason, ())


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (RowCondition("banned", RowTest.EQUALS, value="true"), True),
        (RowCondition("banned", RowTest.DIFFERS, value="true"), False),
        (RowCondition("gone", RowTest.NULL), True),
        (RowCondition("banned", RowTest.NOT_NULL), True),
        (RowCondition("banned", RowTest.CHANGED), True),
        (RowCondition("id", RowTest.CHANGED), False),
        (RowCondition("banned", RowTest.EQUALS, RowSide.OLD, "false"), True),
        (RowCondition("tags", RowTest.EQUALS, value="[1, 2]"), True),
    ],
)
def test_a_condition_looks_at_either_side_of_a_change(condition: RowCondition, holds: bool) -> None:
    body = delivered("UPDATE", old={"id": "bob", "banned": False}, banned=True, gone=None, tags=[1, 2])
    found = moved(body, by(replace(PROFILE, when=(condition,))))
    assert (found.outcome is RowOutcome.MOVED) is holds
    assert (found.move is not None) is holds


def test_what_makes_no_command_says_why() -> None:
    assert moved(delivered(), None).outcome is RowOutcome.FEED_UNKNOWN
    assert moved(delivered(), by(PROFILE, active=False)).outcome is RowOutcome.FEED_INACTIVE
    assert moved(delivered(), by()).outcome is RowOutcome.NO_RULE
    erased = moved(delivered(), erased="bob")
    assert (erased.outcome, erased.move, erased.user) == (RowOutcome.USER_ERASED, None, "bob")


OPENS: Final = MigrationRule(
    "opening", (RowOperation.MANUAL,), MigrationAction.OPEN_BALANCE,
    (USER, FieldSource("coins", "balance", convert=Conversion.FLOOR)), max_coins=500,
)  # fmt: skip
SIGNS_UP: Final = MigrationRule(
    "sign-up", tuple(RowOperation), MigrationAction.SIGN_UP, (USER, FieldSource("role", "role", "user", Conversion.LOWER))
)


@pytest.mark.parametrize(
    ("body", "feed", "due"),
    [
        ([], FEED, ("id", "delivery_invalid")),
        (delivered() | {"trigger": {}}, FEED, ("trigger.name", "delivery_invalid")),
        (delivered() | {"created_at": "yesterday"}, FEED, ("created_at", "delivery_invalid")),
        (delivered(at=T + timedelta(days=1)), FEED, ("created_at", "delivery_ahead")),
        (delivered(at=T - timedelta(days=31)), FEED, ("created_at", "delivery_late")),
        (delivered("TRUNCATE"), FEED, ("event.op", "delivery_invalid")),
        (delivered() | {"event": {"op": "INSERT", "data": {"new": None}}}, FEED, ("event.data", "delivery_invalid")),
        (delivered() | {"event": {"op": "INSERT", "data": {"new": [1]}}}, FEED, ("event.data.new", "delivery_invalid")),
        (delivered(table="pets"), FEED, ("table", "table_differs")),
        (delivered(id=None), FEED, ("event.data.new.id", "key_missing")),
        (delivered("UPDATE", old={"id": "eve"}), FEED, ("key", "key_changed")),
        (delivered(), by(PROFILE, version_column="v"), ("event.data.new.v", "version_unreadable")),
        (delivered(id="bob@example.com"), FEED, ("rules[0].fields.user", "user_invalid")),
        (delivered(born="soon"), FEED, ("rules[0].fields.age", "value_unfit")),
        (delivered(born="1880-01-01"), FEED, ("rules[0].fields.age", "value_unfit")),
        (delivered(display_name="x" * 65), FEED, ("rules[0].fields.name", "value_unfit")),
        (delivered(display_name={"a": 1}), FEED, ("rules[0].fields.name", "value_unfit")),
        (delivered(role="ADMIN"), by(SIGNS_UP), ("rules[0].fields.role", "role_forbidden")),
        (delivered(), by(SIGNS_UP), ("rules[0].fields.role", "value_unfit")),
        (delivered("MANUAL", balance="500.9"), by(OPENS, total_coins=9), None),
        (delivered("MANUAL", balance="501"), by(OPENS, total_coins=9), ("rules[0].fields.coins", "coins_above_limit")),
        (delivered("MANUAL", balance=-1), by(OPENS, total_coins=9), ("rules[0].fields.coins", "value_unfit")),
        (delivered("MANUAL", balance="NaN"), by(OPENS, total_coins=9), ("rules[0].fields.coins", "value_unfit")),
        (delivered("MANUAL", balance="1e400"), by(OPENS, total_coins=9), ("rules[0].fields.coins", "value_unfit")),
    ],
)  # fmt: skip
def test_each_fault_of_a_delivery_has_a_name_and_a_place(body: Any, feed: MigrationFeed, due: tuple[str, str] | None) -> None:
    if due is None:
        assert moved(body, feed).outcome is RowOutcome.MOVED
    else:
        assert due in wrong(body, feed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a\0b"), ("name", "two\nlines"), ("about", "a\0b"), ("age", 12), ("photos", ["javascript:alert(1)"]),
        ("photos", ["https://a.example/b c"]), ("languages", ["e\x1b"]), ("country", "D\nE"), ("birth_date", "hello"),
        ("birth_date", "0000-00-00"), ("email", "none"), ("phone", "call me"), ("legal_name", "a\0b"),
    ],
)  # fmt: skip
def test_a_row_says_nothing_that_nobody_could_write_by_the_api(field: str, value: Any) -> None:
    private = field in PutPrivateProfile.__struct_fields__
    then = MigrationAction.PUT_PRIVATE_PROFILE if private else MigrationAction.PUT_PROFILE
    named = (FieldSource("user", "id"), *(() if private or field == "name" else (FieldSource("name", "display_name"),)))
    convert = {"age": Conversion.INTEGER, "photos": Conversion.LIST, "languages": Conversion.LIST}.get(field, Conversion.TEXT)
    rule = MigrationRule("r", (RowOperation.INSERT,), then, (*named, FieldSource(field, "told", convert=convert)))
    assert not faults_of(by(rule))
    assert wrong(delivered(told=value), by(rule)) == {(f"rules[0].fields.{field}", "value_unfit")}
    with pytest.raises(ValidationError):
        (PrivateProfileBody if private else ProfileBody)(**({"name": "n"} | {field: value}))


def test_what_the_log_cannot_say_again_is_not_redriven() -> None:
    for text in (b'{"id": "\\ud800"}', b'{"id": NaN}', b"[" * 99_999):
        with pytest.raises(NotMendedError, match="is no JSON"):
            redrive(load(), text)


def test_roles_and_limits_are_held() -> None:
    move = moved(delivered(role="STREAMER"), by(SIGNS_UP)).move
    assert isinstance(move, SignUp)
    assert (move.role, move.request) == ("streamer", "")
    opened = moved(delivered("MANUAL", balance=499.99), by(OPENS)).move
    assert isinstance(opened, OpenBalance)
    assert (opened.coins, opened.feed) == (499, "users_profile")


@pytest.mark.parametrize(
    ("rules", "where", "code"),
    [
        ((PROFILE, PROFILE), "rules", "rule_twice"),
        ((replace(PROFILE, fields=(USER,)),), "rules[0].fields", "field_missing"),
        ((replace(PROFILE, fields=(*PROFILE.fields, FieldSource("rules", "x"))),), "rules[0].fields.rules", "field_unknown"),
        ((replace(PROFILE, fields=(*PROFILE.fields, USER)),), "rules[0].fields.user", "field_twice"),
        ((replace(PROFILE, fields=(USER, FieldSource("name"))),), "rules[0].fields.name", "source_missing"),
        ((replace(PROFILE, when=(RowCondition("a", RowTest.NULL, value="x"),)),), "rules[0].when[0]", "value_unused"),
        ((replace(PROFILE, max_coins=1),), "rules[0].max_coins", "limit_unused"),
        ((replace(OPENS, max_coins=0),), "rules[0].max_coins", "limit_missing"),
        ((OPENS,), "total_coins", "limit_missing"),
        ((replace(OPENS, fields=(USER, FieldSource("coins", "balance"))),), "rules[0].fields.coins", "conversion_unfit"),
        ((filled(FieldSource("age", "age")),), "rules[0].fields.age", "conversion_unfit"),
        ((filled(FieldSource("photos", "photos")),), "rules[0].fields.photos", "conversion_unfit"),
        ((filled(FieldSource("about", "x", convert=Conversion.INTEGER)),), "rules[0].fields.about", "conversion_unfit"),
        ((replace(SIGNS_UP, fields=(USER, FieldSource("role", value="admin"))),), "rules[0].fields.role", "role_forbidden"),
    ],
)
def test_each_fault_of_rules_has_a_name_and_a_place(rules: tuple[MigrationRule, ...], where: str, code: str) -> None:
    assert (where, code) in {(one.where, one.code) for one in faults_of(by(*rules))}
    assert faults_of(by(PROFILE)) == faults_of(by(OPENS, total_coins=1)) == []


# --- one command an event, in its order -------------------------------------------------------------------------------------


def change(number: int, *, versioned: bool) -> MoveRow:
    """The row's change of this number; two share a moment, and one in three makes no command."""
    at = T + timedelta(seconds=number // 2)
    body = delivered("INSERT", f"e{number}", at, v=number)
    rules = (PROFILE,) if number % 3 else ()
    delivery = read_delivery(body, T + timedelta(hours=1))
    feed = by(*rules, version_column="v" if versioned else "")
    return move_of(delivery, feed, id_=f"m{number}", at=T, erased=lambda _: False)


@settings(max_examples=60)
@given(long_lists(st.integers(0, 7), 24), st.booleans())
def test_an_event_makes_one_command_and_no_older_one_follows_a_newer(numbers: list[int], versioned: bool) -> None:
    """Law: in any order and repetition each event makes one command at most, none behind a newer change; and the newest that
    came is what stands."""
    row, made, came = None, list[str](), list[MoveRow]()
    for time, number in enumerate(numbers):
        message = replace(change(number, versioned=versioned), id=f"m{time}")
        row, told = decide_row(row, message)
        made += [one.id for one in told if isinstance(one, PutProfile)]
        came.append(message)
        newest = max(came, key=lambda one: (one.row_version, one.told_at, one.event))
        assert row.event == newest.event
    assert len(made) == len(set(made))
    ages = [next((one.row_version, one.told_at, one.event) for one in came if f"{one.event}/move" == id_) for id_ in made]
    assert ages == sorted(ages)


def test_a_row_is_told_again_only_where_nothing_was_made_of_it() -> None:
    nothing, something = moved(delivered(), by()), moved(delivered())
    row, (noted,) = decide_row(None, nothing)
    assert (noted.outcome, noted.sent) == (RowOutcome.NO_RULE, "")
    row, (noted, sent) = decide_row(row, something)
    assert (noted.outcome, noted.sent, sent.id) == (RowOutcome.MOVED, "e1/move", "e1/move")
    row, (repeated,) = decide_row(row, something)
    assert (type(repeated), repeated.outcome) == (RowRepeated, RowOutcome.REPEATED)
    old = moved(delivered(event="e0", at=T - timedelta(hours=1)))
    assert decide_row(row, old)[1][0].outcome is RowOutcome.SUPERSEDED
    assert decide_row(row, Wake(id="w", at=T + DELIVERED_WITHIN, key="r")) == (row, ())
    assert decide_row(row, Wake(id="w", at=T + REMEMBERED, key="r")) == (None, ())


def test_a_deletion_comes_behind_the_version_that_it_deletes() -> None:
    feed = by(PROFILE, version_column="v")
    first, second = moved(delivered(v=5), feed), moved(delivered("DELETE", "a", v=5), feed)
    row, _ = decide_row(None, second)
    assert decide_row(row, first)[1][0].outcome is RowOutcome.SUPERSEDED


# --- opening balances -------------------------------------------------------------------------------------------------------

OPEN: Final = OpenBalance(id="e/move", at=T, user=BOB, feed="wallets", coins=60)
PUT: Final = PutMigrationFeed(
    id="p", at=T, feed="wallets", by="root", table="public.users", key=("id",), rules=(OPENS,), total_coins=100
)  # fmt: skip


def settled(place: PlaceTransfer, refusal: Refusal | None = None) -> TransferSettled:
    status = TransferStatus.REFUSED if refusal else TransferStatus.COMPLETED
    return TransferSettled(
        id="s", at=place.at, cause=place.id, transfer=place.transfer, payer=place.payer, payee=place.payee, coins=place.coins,
        outcome=TransferOutcome(status, refusal),
    )  # fmt: skip


def test_a_feed_opens_balances_up_to_its_limit_and_its_versions_rise() -> None:
    feed, (put,) = decide_feed(None, PUT)
    assert (put.version, feed.left_coins) == (1, 100)
    spend = SpendOpening(id="s", at=T, feed="wallets", user=BOB, coins=60)
    feed, (answer,) = decide_feed(feed, spend)
    assert (answer.allowed, answer.left_coins) == (True, 40)
    feed, (answer,) = decide_feed(feed, replace(spend, user=SUE))
    assert (answer.allowed, answer.left_coins) == (False, 40)
    feed, (put,) = decide_feed(feed, replace(PUT, id="q", active=False))
    assert (put.version, feed.left_coins) == (2, 40)
    assert not decide_feed(feed, replace(spend, coins=1))[1][0].allowed
    assert not decide_feed(None, spend)[1][0].allowed


def test_a_person_has_one_opening_balance_whatever_comes_again() -> None:
    opening, (asked, spend) = decide_opening(None, OPEN)
    assert (asked.step, spend.coins) == (OpeningStep.ASKED, 60)
    assert decide_opening(opening, OPEN)[1][0].step is OpeningStep.REPEATED
    answer = OpeningAnswered(id="a", at=T, cause="s", feed="wallets", user=BOB, coins=60, allowed=True)
    assert decide_opening(opening, replace(answer, allowed=False))[0] is None
    opening, (_, place) = decide_opening(opening, answer)
    assert (place.payer, place.payee, place.coins, place.by) == ("@openings", "bob/coins", 60, "migration/wallets")
    assert decide_opening(opening, answer) == (opening, ())
    waits, (told,) = decide_opening(opening, settled(place, Refusal.ACCOUNT_UNKNOWN))
    assert (told.step, told.code) == (OpeningStep.WAITS, "account_unknown")
    assert decide_opening(waits, settled(place)) == (waits, ())
    opening, (_, again) = decide_opening(waits, Wake(id="w", at=T + timedelta(hours=1), key="bob"))
    assert again.transfer != place.transfer
    booked, (told,) = decide_opening(opening, settled(again))
    assert (booked.step, told.step, booked.wake_at) == (OpeningStep.BOOKED, OpeningStep.BOOKED, None)
    assert [one.step for one in decide_opening(booked, replace(OPEN, coins=9))[1]] == [OpeningStep.REPEATED]
    last = Opening(feed="wallets", coins=60, step=OpeningStep.SENT, at=T, tries=MAX_TRIES)
    tried = replace(again, transfer=opening_transfer("bob", MAX_TRIES))
    given_up, (told,) = decide_opening(last, settled(tried, Refusal.ACCOUNT_FROZEN))
    assert (told.step, given_up.wake_at) == (OpeningStep.GIVEN_UP, None)
