"""Erasure: of whoever was erased no state holds what is personal; the books close; the second erasure is a no-op."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import convert
from msgspec.structs import replace

from infra import dead_letters, erasure
from infra.acts import who
from infra.config import load
from infra.erasure import OTHERS
from pipelines import balance, blocklist, favorites, outbox, user, video_clip, video_line
from pipelines.flows.deciders import decider_of
from schemas.balance import (
    Account,
    CloseAccount,
    Credit,
    EntryKind,
    EntryRecorded,
    Hold,
    OpenAccount,
    Post,
    Reason,
    Refusal,
    Transfer,
    Unfreeze,
    Void,
)
from schemas.balance_fields import FORFEITED
from schemas.balance_ledger import accounts_of
from schemas.blocklist import BlockReason, BlockRefusal, BlockUser
from schemas.chat_message import ForgetMessages
from schemas.chat_report import ForgetEvidence
from schemas.favorites import (
    AddFavorite,
    AskFavorite,
    DropFavorite,
    FavoriteRefusal,
    Favorites,
    FollowerPage,
    Followers,
    TellFollowers,
    Unfollow,
    page_key,
)
from schemas.log.base import MAX_BALANCE_COINS, MAX_COINS, AccountId, Message, State, UserId, Wake
from schemas.log.entity import Entity
from schemas.log.personal import blank, personal_of
from schemas.log.topics import ENTITIES, hears
from schemas.outbox import (
    AttemptOutcome,
    EffectExpired,
    EffectKind,
    EffectStatus,
    ForgetEffects,
    OweEffect,
    RedriveEffect,
    ReportAttempt,
)
from schemas.postback import ConversionKind, Identity, Postback
from schemas.user import (
    CloseReason,
    EraseUser,
    ErasureRepeated,
    OpenSession,
    Role,
    SignUp,
    User,
    UserErased,
    UserInbox,
    UserRefusal,
    WentOffline,
)
from schemas.video import EndCall, EndReason
from schemas.video_clip import Clip, ForgetClips, OfferClip
from schemas.video_line import JoinRoulette, Line, LineRefusal, QuitPool, ReleaseLine, SeizeLine
from tests.conftest import Api, NewUser, Phones, Stack, eventually
from tests.decisions import all_decisions, decisions_of
from tests.worst import _struct, kind_of

T = datetime(2030, 1, 1, tzinfo=UTC)
ANN, BOB = UserId("ann"), UserId("bob")
ERASED = UserErased(id="e/0", at=T, cause="e", user=ANN, by=ANN)
# What is personal of others' keys is forgotten by a broadcast; all else by the fact.
BROADCAST = OTHERS.keys()
FORGET_MESSAGES = ForgetMessages(id="f", at=T, message="@0", user=ANN)
FORGET_EVIDENCE = ForgetEvidence(id="f", at=T, evidence="@0", user=ANN)
FORGET_CLIPS = ForgetClips(id="f", at=T, clip="@0", user=ANN)
FILM = {"title": "hello", "url": "https://example.com/v.mp4", "duration_s": 60}
PERSONAL = [entity for entity in ENTITIES if personal_of(entity.state)]


def state_of(entity: Entity, seed: int) -> State:
    """A state of the entity with what is personal in it, as its type allows."""
    state = convert(_struct(kind_of(entity.state), random.Random(seed), 0), entity.state)
    return replace(state, online_since=T if state.sessions else None) if isinstance(state, User) else state


def is_blank(state: State | None) -> bool:
    return state is None or blank(state) == state


@given(entity=st.sampled_from([one for one in PERSONAL if one.name not in BROADCAST]), seed=st.integers(0, 10_000))
def test_whatever_an_entity_knew_nothing_personal_is_left(entity: Entity, seed: int) -> None:
    """Law: every entity with a personal text in its state hears of the erasure, and forgets it, whatever its state was."""
    before = state_of(entity, seed)
    assume(getattr(before, "erased_at", None) is None)
    message: Message = EraseUser(id="e", at=T, user=ANN, by=ANN) if entity.name == "user" else ERASED
    assert type(message) in hears(entity), f"{entity.name} keeps what is personal, and does not hear of erasures"
    decide = cast(Callable[..., Any], decider_of(entity).decide)
    after, _ = decide(before, message, None) if entity.broadcast else decide(before, message)
    assert is_blank(after)
    assert after is None or after.wake_at is not None or entity.name == "user", "a mark is forgotten one day"


@pytest.mark.parametrize("entity", PERSONAL, ids=lambda one: one.name)
def test_an_operator_sees_each_place_where_something_personal_stands(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    made = (state_of(entity, seed) for seed in range(300))
    state = next(one for one in made if not is_blank(one) and getattr(one, "erased_at", None) is None)
    theirs = {"their": replace(state, **{OTHERS[entity.name]: ANN}), "another's": state} if entity.name in OTHERS else {}
    states = theirs or {ANN: state}
    monkeypatch.setattr(erasure, "states_of", lambda _, one: states.items() if one is entity else ())
    monkeypatch.setattr(erasure, "state_of", lambda _, one, key: states.get(key) if one is entity else None)
    monkeypatch.setattr(dead_letters, "letters", lambda _: ())
    expected = [] if entity.name == "user" else [(entity.name, next(iter(states)))]
    assert [(known.place, known.key) for known in erasure.known_of(load(), ANN)] == expected


@pytest.mark.parametrize("entity", [entity for entity in PERSONAL if entity.name in BROADCAST], ids=lambda one: one.name)
def test_whatever_stands_under_others_keys_is_woken_by_the_broadcast_and_forgets(entity: Entity) -> None:
    decide = cast(Callable[..., Any], decider_of(entity).decide)
    effects = ForgetEffects(id="f", at=T, effect="@0", user=ANN)
    forget: Message = {
        "outbox": effects, "clip": FORGET_CLIPS, "chat_message": FORGET_MESSAGES, "chat_evidence": FORGET_EVIDENCE,
    }[entity.name]  # fmt: skip
    more: dict[str, dict[str, Any]] = {
        "outbox": {"kind": EffectKind.POSTBACK},
        "chat_evidence": {"until": T + timedelta(days=1)},
    }
    owner: dict[str, Any] = {OTHERS[entity.name]: ANN} | more.get(entity.name, {})
    common, told = decide(None, forget, None)
    assert (common.erased, told, common.behind(common)) == (("ann",), (), False)
    assert decide(common, forget, common)[0].erased == ("ann",), "once is enough"
    for seed in range(300):
        before: Any = state_of(entity, seed)
        before = replace(before, erased=(), **owner)
        if entity.name == "chat_message" and (before.deleted_at or before.refusal):
            continue  # has no text
        if is_blank(before) and entity.name != "clip":
            continue
        assert before.behind(common)
        after, _ = decide(before, Wake(id="w", at=T, key="x"), common)
        assert is_blank(after)
        assert after is None or not after.behind(common)


def test_a_user_who_is_erased_ends_everything_once_and_is_nobody_any_more() -> None:
    decide = decisions_of(user.decide_user)
    phone = OpenSession(id="o", at=T, user=ANN, session="s", device="d", push_token="secret")
    begins: list[UserInbox] = [SignUp(id="s", at=T, user=ANN, role=Role.USER, country="DE"), phone]
    known, _ = all_decisions(decide, *begins)
    erase = EraseUser(id="e", at=T, user=ANN, by=UserId("root"), reason="asked by letter")
    after, told = decide(known, erase)
    assert after == User(Role.USER, T, erased_at=T)
    assert [type(one).__name__ for one in told[:3]] == ["UserErased", "SessionClosed", "WentOffline"]
    assert (told[0].by, told[0].reason, told[1].reason) == ("root", "asked by letter", CloseReason.ERASED)
    assert {one.account for one in told if isinstance(one, CloseAccount)} == {*accounts_of("ann")}
    assert len({one.id for one in told}) == len(told)
    again, (repeated,) = decide(after, replace(erase, id="e2"))
    assert (again, type(repeated), repeated.erased_at) == (after, ErasureRepeated, T)
    for late in (SignUp(id="s", at=T, user=ANN, role=Role.USER), phone):
        same, (refused,) = decide(after, late)
        assert (same, refused.refusal) == (after, UserRefusal.USER_ERASED)


# --- coins ------------------------------------------------------------------------------------------------------------------

COINS = AccountId("ann/coins")
SALE = AccountId("sue/earnings")
orders = st.lists(
    st.one_of(
        st.builds(Credit, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS), counterparty=st.just("@store"),
                  coins=st.integers(1, MAX_COINS), reason=st.just(Reason.PURCHASE)),
        st.builds(Transfer, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS), to=st.just(SALE),
                  coins=st.integers(1, 1_000), reason=st.just(Reason.TRANSFER)),
        st.builds(Hold, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS), hold=st.sampled_from(["h", "i"]),
                  to=st.just(SALE), coins=st.integers(1, 1_000), reason=st.just(Reason.CALL),
                  expires_at=st.just(T + timedelta(hours=1))),
        st.builds(Post, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS), hold=st.sampled_from(["h", "i"]),
                  coins=st.integers(1, 1_000)),
        st.builds(Void, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS), hold=st.sampled_from(["h", "i"])),
        st.builds(Unfreeze, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS)),
        st.builds(CloseAccount, id=st.uuids().map(str), at=st.just(T), account=st.just(COINS)),
    ),
    max_size=30,
)  # fmt: skip


@given(before=orders, behind=orders)
def test_a_closed_account_keeps_what_is_held_and_forfeits_the_rest(before: list[Any], behind: list[Any]) -> None:
    """Law: once all messages are decided, a closed account has nothing but its holds, and the books close: what came in is what
    went out and what is left."""
    decide = decisions_of(balance.decide_account)
    account, _ = decide(None, OpenAccount(id="o", at=T, account=COINS))
    moved = {"in": 0, "out": 0, "forfeited": 0}
    inbox = [*before, CloseAccount(id="close", at=T, account=COINS), *behind]
    inbox.append(Wake(id="w", at=T + timedelta(hours=2), key=COINS))
    while inbox:
        account, told = decide(account, inbox.pop(0))
        assert 0 <= account.held_coins <= account.balance_coins
        for one in told:
            if isinstance(one, Transfer):
                assert (one.account, one.to) == (COINS, FORFEITED)
                inbox.append(one)
            elif isinstance(one, EntryRecorded) and one.coins:
                way = "in" if one.coins > 0 else "forfeited" if one.counterparty == FORFEITED else "out"
                moved[way] += abs(one.coins)
    assert (account.closed, account.frozen, account.balance_coins, account.holds) == (True, True, 0, ())
    assert moved["in"] == moved["out"] + moved["forfeited"]


def test_nothing_goes_out_of_a_closed_account_but_what_was_held() -> None:
    decide = decisions_of(balance.decide_account)
    account = Account(1, T, 100, closed=True, frozen=True)
    for order in (
        Transfer(id="t", at=T, account=COINS, to=SALE, coins=1, reason=Reason.GIFT), Unfreeze(id="u", at=T, account=COINS),
    ):  # fmt: skip
        same, (refused,) = decide(account, order)
        assert (same, refused.refusal) == (account, Refusal.ACCOUNT_FROZEN)
    closed, (entry, forfeit) = decide(Account(1, T, 100), CloseAccount(id="c", at=T, account=COINS))
    assert (entry.kind, entry.coins, forfeit.coins, forfeit.reason) == (EntryKind.CLOSE, 0, 100, Reason.FORFEIT)
    assert decide(closed, CloseAccount(id="c2", at=T, account=COINS)) == (closed, ())
    assert decide(None, CloseAccount(id="c2", at=T, account=COINS)) == (None, ())
    most = MAX_BALANCE_COINS
    _, told = decide(Account(1, T, most), CloseAccount(id="c", at=T, account=COINS))
    assert sum(one.coins for one in told[1:]) == most
    assert max(one.coins for one in told[1:]) == MAX_COINS


# --- others -----------------------------------------------------------------------------------------------------------------


def test_a_line_ends_its_call_and_is_gone_with_it() -> None:
    decide = decisions_of(video_line.decide_line)
    there = Line(Role.USER, online=True, barred=("eve",), device="d")
    seized, _ = decide(there, SeizeLine(id="s", at=T, user=ANN, call="c", peer="bob"))
    talking, (end,) = decide(seized, ERASED)
    assert (type(end), end.call, end.reason, talking) == (EndCall, "c", EndReason.ERASED, Line(call="c", peer="bob"))
    offline = WentOffline(id="w", at=T, cause="e", user=ANN, online_s=1.0)
    assert decide(talking, offline) == (talking, ())
    assert decide(talking, SeizeLine(id="t", at=T, user=ANN, call="d", peer="sue"))[1][0].refusal is LineRefusal.UNKNOWN
    assert decide(talking, ReleaseLine(id="r", at=T, user=ANN, call="c", again=True, met=True))[0] is None
    waiting, _ = decide(there, JoinRoulette(id="j", at=T, user=ANN))
    after, told = decide(waiting, ERASED)
    assert (after, [type(one) for one in told][1]) == (None, QuitPool)
    assert decide(None, offline) == (None, ())


def test_favourites_go_both_ways() -> None:
    decide = decisions_of(favorites.decide_favorites)
    after, told = decide(Favorites({"bob": T, "sue": T}, ("eve",)), ERASED)
    assert after == Favorites({}, erased_at=T)
    for late in (AddFavorite(id="l", at=T, user=ANN, peer=BOB), AskFavorite(id="l", at=T, user=ANN, peer=BOB, asked="m")):
        assert decide(after, late)[1][0].refusal is FavoriteRefusal.USER_UNKNOWN
    assert decide(after, Wake(id="w", at=T + timedelta(days=1), key=ANN)) == (None, ())
    assert {(one.user, one.follower) for one in told if isinstance(one, Unfollow)} == {("bob", "ann"), ("sue", "ann")}
    followers = decisions_of(favorites.decide_followers)
    gone, tells = followers(Followers(2, "3", told_at=T), ERASED)
    assert gone.gone
    assert [(one.page, one.gone) for one in tells] == [("ann/0", True), ("ann/1", True)]
    page = decisions_of(favorites.decide_follower_page)
    _, drops = page(FollowerPage(("bob",)), TellFollowers(id="t", at=T, page=page_key(ANN, 0), gone=True))
    assert [(type(one), one.user, one.peer) for one in drops] == [(DropFavorite, "bob", "ann")]
    assert followers(None, ERASED) == (None, ())


def test_whoever_was_erased_blocks_nobody() -> None:
    decide = decisions_of(blocklist.decide_blocks)
    block = BlockUser(id="b", at=T, user=ANN, peer=BOB, reason=BlockReason.SPAM)
    blocks, _ = decide(None, block)
    after, told = decide(blocks, ERASED)
    assert (after.peers, told) == ({}, ())
    assert decide(after, block)[1][0].refusal is BlockRefusal.USER_ERASED
    assert decide(after, Wake(id="w", at=T + timedelta(days=1), key=ANN)) == (None, ())


def test_nobody_is_told_of_a_user_who_was_erased() -> None:
    decide = decisions_of(outbox.decide_outbox)
    common, _ = decide(None, ForgetEffects(id="f", at=T, effect="@0", user=ANN))
    told = Postback(ANN, ConversionKind.CALL, "CALL", T, "c", identity=Identity(email_sha256="a" * 64))
    owe = OweEffect(
        id="o", at=T, effect="p/CALL/c", kind=EffectKind.POSTBACK, provider="p", subject=ANN, expires_at=T + timedelta(1),
        postback=told,
    )  # fmt: skip
    due, _ = decide(None, owe, None)
    for effect, (fact,) in (decide(due, Wake(id="w", at=T, key=owe.effect), common), decide(None, owe, common)):
        assert (effect.status, effect.postback, effect.wake_at) == (EffectStatus.EXPIRED, None, T + timedelta(days=7))
        assert type(fact) is EffectExpired
        report = ReportAttempt(id="r", at=T, effect=owe.effect, attempt=1, outcome=AttemptOutcome.FAILED, detail="ann@x.org")
        assert decide(effect, report, common) == (effect, ())
        assert decide(effect, RedriveEffect(id="d", at=T, effect=owe.effect, expires_at=T, by="root"), common) == (effect, ())
    taken, _ = decide(due, ReportAttempt(id="r", at=T, effect=owe.effect, attempt=1, outcome=AttemptOutcome.ACCEPTED))
    after, facts = decide(taken, Wake(id="w", at=T, key=owe.effect), common)
    assert (after.postback, after.status, facts) == (None, EffectStatus.ACCEPTED, ())


def test_a_clip_of_a_streamer_who_was_erased_is_gone_and_does_not_come_back() -> None:
    decide = decisions_of(video_clip.decide_clip)
    common, _ = decide(None, FORGET_CLIPS)
    clip = Clip(ANN, "title", "https://example.com/v.mp4", 60)
    assert decide(clip, Wake(id="w", at=T, key="c"), common) == (None, ())
    assert decide(replace(clip, streamer=BOB), Wake(id="w", at=T, key="c"), common)[0] is not None
    offer = OfferClip(id="o", at=T, clip="c", streamer=ANN, title="t", url="u", duration_s=9)
    assert decide(None, offer, common)[0] is None
    assert decide(None, replace(offer, streamer=BOB), common)[0] is not None


# --- a platform -------------------------------------------------------------------------------------------------------------


def test_staff_erases_at_the_command_line_and_sees_names_of_fields_only(new_user: NewUser, stack: Stack) -> None:
    ann = new_user()
    assert ann.put("/v1/profile/private", json={"email": "ann@example.com"}).status_code == 200
    seen = stack.olo("erase", ann.user, "--dry-run")
    assert (seen.returncode, "private_profile" in seen.stdout, "email" in seen.stdout) == (0, True, True)
    assert "ann@example.com" not in seen.stdout
    for wrong in ((ann.user,), (ann.user, "--reason", "x"), ("nobody-of-this-id", "--reason", "asked by letter")):
        refused = stack.olo("erase", *wrong)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused
    assert ann.get("/v1/users/me").status_code == 200
    done = stack.olo("erase", ann.user, "--reason", "asked by letter")
    assert (done.returncode, "is erased" in done.stdout) == (0, True), done
    again = stack.olo("erase", ann.user, "--reason", "asked by letter")
    assert (again.returncode, "nothing is done" in again.stdout) == (0, True)
    root = Api(stack, f"root-{ann.user}", "admin")
    mine = {"subject": ann.user}

    def acts() -> list[tuple[str, str, str, int]]:
        found = root.get("/v1/admin/audit", params=mine).json()["acts"]
        return [(one["staff"], one["operation"], one["why"], one["status"]) for one in found if one["answered"]]

    due = (who(), "olo erase", "asked by letter", 200)
    assert eventually(lambda: due in acts()), "who, what, why and what came of it is in the audit"


def test_a_person_is_erased_while_others_live_on(phones: Phones, admin: Api, new_user: NewUser) -> None:
    bob, sue = phones(coins=1_000)
    eve = new_user()
    assert sue.api.put("/v1/profile", json={"name": "Sue", "about": "hello"}).status_code == 200
    assert sue.api.put("/v1/profile/private", json={"email": "sue@example.com"}).status_code == 200
    assert sue.api.put(f"/v1/clips/of-{sue.user}", json=FILM).status_code == 200
    assert eve.put(f"/v1/favorites/{sue.user}").status_code == 200
    assert bob.call(sue).status_code == 201
    call = sue.wait_for("CallRinging")["call"]
    assert admin.delete(f"/v1/admin/users/{sue.user}").status_code == 422, "staff says why"
    assert sue.api.delete("/v1/users/me").status_code == 204
    assert bob.wait_for("CallEnded")["call"] == call
    eventually(lambda: sue.api.get("/v1/users/me").json().get("code") == "user_erased")
    assert sue.api.delete("/v1/users/me").status_code == 204, "once more changes nothing"
    assert sue.api.post("/v1/users").json()["code"] == "user_erased"
    assert sue.api.put("/v1/profile", json={"name": "Sue"}).json()["code"] == "user_erased"
    assert sue.api.get("/v1/profile/private").status_code == 404
    assert eve.get(f"/v1/profiles/{sue.user}").status_code == 404
    assert eve.get("/v1/favorites").json() == []
    assert eve.put(f"/v1/favorites/{sue.user}").json()["code"] == "user_unknown"
    assert not [one for one in eve.get("/v1/clips").json() if one["streamer"] == sue.user]
    assert admin.delete(f"/v1/admin/users/{bob.user}", params={"reason": "asked by letter"}).status_code == 204
    eventually(lambda: bob.api.balance().json()["balance_coins"] == 0)
    assert eve.delete("/v1/admin/users/x", params={"reason": "why not"}).status_code == 403
    assert bob.wait_for("UserErased").keys() == {"type", "id", "at", "cause", "user"}
