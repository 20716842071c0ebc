"""No state grows without a bound: every worst size follows from the types, and the deciders keep what these claim."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, cast, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Raw
from msgspec.structs import replace

from pipelines.flows.deciders import decider_of
from pipelines.runtime.lane import Decision
from schemas.balance import coins_account, earnings_account
from schemas.log.base import FIRST, LAST, Id, Key, State, Wake, later, moment_of
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.entity import MAX_KEY_BYTES, Entity
from schemas.log.sizes import LARGEST, LARGEST_MESSAGE, worst_size
from schemas.log.topics import ENTITIES, hears, inbox_keys
from schemas.pair import pair_of
from schemas.postback import Provider, postback_id
from schemas.user import MAX_USER_ID_BYTES, USER_ID_PATTERN, ListedUser
from tests.worst import message_of

SEEDS = settings().max_examples // 10
NAMES = [entity.name for entity in ENTITIES]


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_state_has_a_worst_size(entity: Entity) -> None:
    size = worst_size(entity.state)
    assert not size.unbounded, "\n".join(size.unbounded)
    assert size.bytes <= LARGEST, f"the state of {entity.name} may have {size.bytes:,} bytes: shorten its lists or its texts"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_message_fits_into_a_record(entity: Entity) -> None:
    for type_ in (*hears(entity), *entity.facts):
        size = worst_size(type_)
        assert not size.unbounded, "\n".join(size.unbounded)
        assert size.bytes <= LARGEST_MESSAGE, f"{type_.__name__} may have {size.bytes:,} bytes, which no broker takes"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_whatever_valid_messages_come_a_decider_keeps_what_its_state_claims(entity: Entity) -> None:
    """Each state stays within its size, reads again, and says when it wants to be woken; no message stops the decider."""
    decide = cast(Callable[..., Decision], decider_of(entity).decide)
    keys, worst = inbox_keys(entity), worst_size(entity.state).bytes
    read_message, read_state = decoder_of(hears(entity)), state_decoder(entity.state)
    for seed in range(SEEDS):
        chance, state, key = random.Random(seed), None, "key"
        for _ in range(80):
            message = message_of(chance.choice(hears(entity)), chance)
            if isinstance(message, Wake):
                message = replace(message, key=key)
            key = keys[type(message)](message) or key
            read_message(encode(message))
            state, _ = decide(state, message, None) if entity.broadcast else decide(state, message)
            if state is not None:
                written = encode(state)
                assert len(written) <= worst
                assert read_state(written) == state or entity.name == "member"  # whose counters are bytes, or tables
                assert state.wake_at is None or FIRST <= state.wake_at <= LAST


# --- what the sizes are made of --------------------------------------------------------------------------------------------


class Nested(State):
    """One more inside."""

    inside: "Nested | None" = None


class Loose(State):
    """Everything that has no bound."""

    text: str
    several: tuple[Id, ...]
    table: dict[Id, int]
    raw: Raw
    nested: Nested


def test_what_has_no_bound_is_named_with_what_to_do() -> None:
    lines = worst_size(Loose).unbounded
    for line, says in zip(
        lines, ("text without max_length", "an entity of its own", "each row", "claim it", "another Nested"), strict=True
    ):
        assert line.startswith("Loose.")
        assert says in line


class Full(State):
    """Bounded."""

    text: Annotated[str, Meta(max_length=3)]
    at: datetime
    numbers: Annotated[tuple[int, ...], Meta(max_length=2)] = ()
    small: Annotated[int, Meta(ge=0, le=99)] = 0
    table: Annotated[dict[int, float], Meta(max_length=2)] = {}
    claimed: Annotated[Raw, Meta(extra={"max_bytes": 7})] = Raw(b"1")
    flag: bool = True


LAW = worst_size(Full)


@given(
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.datetimes(timezones=st.just(UTC)),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2),
    st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), max_size=2),
)
def test_nothing_that_the_types_allow_is_larger_than_the_worst_size(
    text: str, at: datetime, numbers: list[int], table: dict[int, float]
) -> None:
    full = Full(text, at, tuple(numbers), 99, table, Raw(b'"12345"'), False)
    assert not LAW.unbounded
    assert len(encode(full)) <= LAW.bytes


IDS = st.from_regex(USER_ID_PATTERN)
LISTED = msgspec.json.Decoder(ListedUser)


@given(IDS, IDS)
def test_a_user_id_has_so_many_bytes_and_every_key_that_is_made_of_ids_is_a_key(user: str, peer: str) -> None:
    try:
        LISTED.decode(encode(user))
    except msgspec.ValidationError:
        assert "\n" in user  # 128 letters and the newline that `$` lets through
        return
    assert len(encode(user)) <= MAX_USER_ID_BYTES + 4
    longest = postback_id(Provider.APPSFLYER, "\U0001f600" * 40, user)
    for key in (user, pair_of(user, peer), coins_account(user), earnings_account(user), longest, f"{user}/4095"):
        assert len(key.encode()) <= MAX_KEY_BYTES


@pytest.mark.parametrize(
    "user", ["", "@a", "a/b", "a b", 'a"b', "a\\b", "a\x00", "a\x7f", "x" * 129, "\u0436" * 33, "\U0001f600" * 33]
)
def test_what_is_no_user_id(user: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        LISTED.decode(encode(user))


@pytest.mark.parametrize("user", ["a", "x" * 128, "\u0436" * 32, "\U0001f600" * 32, "jo.x.y", "~!#$%&'()*+,-."])
def test_what_is_one(user: str) -> None:
    assert LISTED.decode(encode(user)) == user


def test_the_type_of_a_key_is_as_long_as_a_key() -> None:
    (limit,) = [one.max_length for one in get_args(Key)[1:] if one.max_length]
    assert limit == MAX_KEY_BYTES


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas())
def test_times_end_with_the_calendar_instead_of_failing(at: datetime, span: timedelta) -> None:
    try:
        due: tuple[datetime, ...] = (min(max(at + span, FIRST), LAST),)
    except OverflowError:
        due = (FIRST, LAST)
    assert later(at, span) in due


@pytest.mark.parametrize(("second", "moment"), [(1e18, LAST), (-1e18, FIRST), (0, datetime(1970, 1, 1, tzinfo=UTC))])
def test_seconds_beyond_the_calendar_are_its_ends(second: float, moment: datetime) -> None:
    assert moment_of(second) == moment
