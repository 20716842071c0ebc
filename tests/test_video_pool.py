"""The roulette pool: who is paired with whom, against a naive pool without a limit, and what its limits do."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines import video_pool as domain
from pipelines.video_pool import fits
from schemas.log.base import UserId, Wake
from schemas.log.codec import encode
from schemas.log.sizes import LARGEST
from schemas.user import MAX_BLOCKS, Role
from schemas.video import PlaceCall
from schemas.video_line import (
    MAX_SIDE_BYTES,
    MAX_WAITING,
    ROULETTE,
    EnterPool,
    Matched,
    Pool,
    PoolInbox,
    QuitPool,
    Waiting,
    mark_of,
)
from tests.decisions import decisions_of
from tests.long_lists import long_lists

decide_pool = decisions_of(domain.decide_pool)
T = datetime(2030, 1, 1, tzinfo=UTC)


def enter(user: str, since: float = 0.0, role: Role | None = None, blocks: Iterable[str] = (), **more: Any) -> EnterPool:
    role = role or (Role.STREAMER if user.startswith("s") else Role.USER)
    return EnterPool(
        id=f"e-{user}-{since}", at=T + timedelta(seconds=since), pool=ROULETTE, user=UserId(user), role=role,
        since=T + timedelta(seconds=since), bars=tuple(map(mark_of, blocks)), **more,
    )  # fmt: skip


def met(user: str, partner: str, asks: float = 0.0) -> EnterPool:
    """Who waits since T, when both had talked to each other."""
    return replace(enter(user, last_partner=partner, met_at=T), at=T + timedelta(seconds=asks))


def leave(user: str) -> QuitPool:
    return QuitPool(id=f"q-{user}", at=T, pool=ROULETTE, user=UserId(user))


def play(*messages: PoolInbox, pool: Pool | None = None) -> tuple[Pool, list[tuple[str, str]]]:
    pairs: list[tuple[str, str]] = []
    for message in messages:
        pool, told = decide_pool(pool, message)
        pairs += [(one.user, one.streamer) for one in told if isinstance(one, Matched)]
    return pool or Pool(), pairs


def names(pool: Pool) -> tuple[list[str], list[str]]:
    return [one.user for one in pool.users], [one.user for one in pool.streamers]


@pytest.mark.parametrize(("messages", "pairs", "left"), [
    ((enter("u1"), enter("u2", 1), enter("s1", 2)), [("u1", "s1")], (["u2"], [])),
    ((enter("u2", 1), enter("u1"), enter("s1", 2)), [("u1", "s1")], (["u2"], [])),
    ((enter("u1", blocks=["s1"]), enter("s1"), enter("u2")), [("u2", "s1")], (["u1"], [])),
    ((enter("u1"), enter("s1", blocks=["u1"]), enter("s2")), [("u1", "s2")], ([], ["s1"])),
    ((met("u1", "s1"), met("s1", "u1")), [], (["u1"], ["s1"])),
    ((met("s1", "u1"), met("u1", "s1")), [], (["u1"], ["s1"])),
    ((met("s1", "u1"), met("u1", "s1"), met("u1", "s1", 179.9)), [], (["u1"], ["s1"])),
    ((met("s1", "u1"), met("u1", "s1"), met("u1", "s1", 180)), [("u1", "s1")], ([], [])),
    ((met("s1", "u1"), met("u1", "s1"), met("s1", "u1", 180)), [("u1", "s1")], ([], [])),
    ((enter("u1"), enter("s1", last_partner="u1")), [("u1", "s1")], ([], [])),
    ((met("u1", "s2"), met("s1", "u1")), [("u1", "s1")], ([], [])),
    ((met("u1", "s1"), met("s1", "u2")), [("u1", "s1")], ([], [])),
    ((enter("u1"), enter("u1", 5), enter("s1"), enter("s2")), [("u1", "s1")], ([], ["s2"])),
    ((enter("u1"), leave("u1"), enter("s1")), [], ([], ["s1"])),
    ((enter("u1", barred=("s1",)), enter("s1")), [], (["u1"], ["s1"])),
])  # fmt: skip
def test_who_is_paired(
    messages: tuple[PoolInbox, ...], pairs: list[tuple[str, str]], left: tuple[list[str], list[str]]
) -> None:
    pool, found = play(*messages)
    assert (found, names(pool)) == (pairs, left)


def test_what_changes_nothing_is_the_same_state() -> None:
    pool, _ = play(enter("u1"), enter("u2"))
    for message in (enter("u1"), leave("u9"), Wake(id="w", at=T, key=ROULETTE)):
        assert decide_pool(pool, message)[0] is pool
    assert decide_pool(None, leave("u1")) == (None, ())


def test_who_has_waited_longer_takes_the_room_of_the_newest_and_who_is_turned_away_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain, "MAX_WAITING", 2)
    pool, _ = play(enter("u2", 2), enter("u3", 3), enter("u1", 1))
    assert names(pool) == (["u1", "u2"], [])
    assert decide_pool(pool, enter("u3", 3))[0] is pool
    pool, pairs = play(enter("s1", 9), enter("u3", 3), pool=pool)
    assert (pairs, names(pool)) == ([("u1", "s1")], (["u2", "u3"], []))


def test_who_finds_no_room_is_paired_with_whoever_waits_on_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_WAITING", 1)
    pool, _ = play(enter("u1", blocks=["s1"]), enter("s1"))
    assert play(enter("u2", 5), pool=pool)[1] == [("u2", "s1")]


def test_a_state_stays_within_its_claim_whoever_waits() -> None:
    """People who have blocked a thousand others, with the longest ids, countries and tags."""
    blocks = [f"b{number}" for number in range(MAX_BLOCKS)]
    pool = Pool()
    for number in range(40):
        for side in "us":
            user = f"{side}{number:02}".ljust(128, "x")
            lots: dict[str, Any] = {"country": "\x00" * 64, "tags": ("\x00" * 64,) * 32, "last_partner": "\x00" * 128}
            everybody = [f"{other}{n:02}".ljust(128, "x") for other in "us" for n in range(40)]
            pool, _ = play(enter(user, number, blocks=[*blocks[:900], *everybody], **lots), pool=pool)
    assert min(map(len, names(pool))) >= 3
    for waiting in (pool.users, pool.streamers):
        assert len(encode(waiting)) <= MAX_SIDE_BYTES
    assert len(encode(pool)) <= LARGEST
    usual, _ = play(*(enter(f"u{number:027}", number) for number in range(MAX_WAITING + 9)))
    assert len(usual.users) == MAX_WAITING, "of usual people there is room for all"


USERS, BLOCKED = st.sampled_from(["u1", "u2", "u3", "s1", "s2", "s3"]), st.sets(st.sampled_from(["u1", "s1", "s2"]))
MOVES = long_lists(st.tuples(USERS, st.integers(0, 9), BLOCKED), 30)


@given(MOVES, st.integers(1, 3))
def test_the_laws_hold_whatever_the_room(moves: list[tuple[str, int, set[str]]], room: int) -> None:
    pool, inside = Pool(), dict[str, Waiting]()
    for number, (user, since, blocks) in enumerate(moves):
        message: EnterPool | QuitPool = leave(user)
        if since != 9:
            message = replace(enter(user, since, blocks=sorted(blocks)), id=f"m{number}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(domain, "MAX_WAITING", room)
            pool, told = decide_pool(pool, message)
        naive = {name: entry for name, entry in inside.items() if name != user}
        mine = [
            one
            for one in naive.values()
            if isinstance(message, EnterPool) and one.role is not message.role and fits(one, message, message.at)
        ]
        partner = min(mine, key=lambda entry: entry.since, default=None)
        matched = [one for one in told if isinstance(one, Matched)]
        assert bool(matched) == (partner is not None)
        if partner is not None:
            pair = {matched[0].user, matched[0].streamer}
            assert user in pair
            assert inside[(pair - {user}).pop()].since == partner.since
            assert [type(one) for one in told] == [Matched, PlaceCall]
        inside = {one.user: one for one in (*pool.users, *pool.streamers)}
        assert len(inside) == len(pool.users) + len(pool.streamers)
        assert max(len(pool.users), len(pool.streamers)) <= room
        assert not any(fits(one, other, message.at) for one in pool.users for other in pool.streamers)
        if partner is None and isinstance(message, EnterPool) and user not in inside:
            side = pool.users if message.role is Role.USER else pool.streamers
            assert all(one.since <= message.since for one in side)
