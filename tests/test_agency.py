"""Agencies: each refusal by name, the laws of memberships, the split to the coin, and all of it by HTTP."""

import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.agency import decide_agency, decide_membership
from pipelines.balance import decide_account
from schemas.agency import (
    INVITED_FOR,
    MAX_INVITATIONS,
    AcceptInvitation,
    Agency,
    AgencyRefusal,
    AskToJoin,
    EndInvitation,
    EndMembership,
    Invite,
    Membership,
    MembershipInbox,
    MembershipStep,
    MembershipStepped,
    OfferShare,
    PutAgency,
    of_share,
)
from schemas.balance import (
    AccountInbox,
    AccountRefused,
    Credit,
    EntryKind,
    EntryRecorded,
    OpenAccount,
    Reason,
    SetShare,
    Transfer,
)
from schemas.balance_share import WHOLE_BPS
from schemas.log.base import MAX_COINS, AccountId, UserId, Wake
from schemas.user import UserErased
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of, last_decision
from tests.long_lists import long_lists

decide = decisions_of(decide_membership)
T = datetime(2030, 1, 1, tzinfo=UTC)
SUE, STARS, MOON = UserId("sue"), UserId("stars"), UserId("moon")
EARNINGS = AccountId("sue/earnings")
OPEN = Agency(agency_name="Stars", most_share_bps=3_000)


def offer(agency: UserId = STARS, share_bps: int = 2_000, at: datetime = T) -> OfferShare:
    return OfferShare(id="i/offer", at=at, user=SUE, agency=agency, share_bps=share_bps, asked="i")


def accept(agency: UserId = STARS, share_bps: int = 2_000, at: datetime = T) -> AcceptInvitation:
    return AcceptInvitation(id="a", at=at, user=SUE, agency=agency, share_bps=share_bps)


def end(agency: UserId = STARS, *, refused: bool = False) -> EndInvitation:
    return EndInvitation(id="e", at=T, user=SUE, agency=agency, refused=refused)


def part(agency: str = STARS) -> EndMembership:
    return EndMembership(id="p", at=T, user=SUE, agency=agency, by="stars")


def came_back(agency: str = STARS) -> EntryRecorded:
    return EntryRecorded(
        id="x", at=T, cause="c", account=EARNINGS, seq=9, kind=EntryKind.RETURN, balance_coins=9, held_coins=0, coins=9,
        counterparty=f"{agency}/earnings", reason=Reason.SHARE,
    )  # fmt: skip


def after(*messages: MembershipInbox) -> tuple[Membership | None, list[Any]]:
    return last_decision(decide, *messages)


def test_whoever_may_invite_asks_the_streamer() -> None:
    put = PutAgency(id="p", at=T, agency=STARS, agency_name="Stars", most_share_bps=3_000, by="fin")
    agency, (fact,) = decisions_of(decide_agency)(None, put)
    assert (agency, fact.version, fact.by) == (replace(OPEN, version=1), 1, "fin")
    invite = Invite(id="i", at=T, agency=STARS, user=SUE, share_bps=3_000)
    state, (asked,) = decisions_of(decide_agency)(agency, invite)
    assert (state, asked.share_bps, asked.asked) == (agency, 3_000, "i")


@pytest.mark.parametrize(
    ("agency", "user", "share_bps", "refusal"),
    [
        (None, SUE, 1, AgencyRefusal.AGENCY_UNKNOWN),
        (replace(OPEN, is_open=False), SUE, 1, AgencyRefusal.AGENCY_CLOSED),
        (OPEN, SUE, 3_001, AgencyRefusal.SHARE_ABOVE_MOST),
        (OPEN, STARS, 1, AgencyRefusal.OWN_AGENCY),
    ],
)
def test_who_may_not_invite(agency: Agency | None, user: UserId, share_bps: int, refusal: AgencyRefusal) -> None:
    invite = Invite(id="i", at=T, agency=STARS, user=user, share_bps=share_bps)
    state, (fact,) = decisions_of(decide_agency)(agency, invite)
    assert (state, fact.refusal) == (agency, refusal)


def test_nobody_joins_an_agency_that_was_closed_behind_its_invitation() -> None:
    ask = AskToJoin(id="j", at=T, agency=STARS, user=SUE, share_bps=2_000)
    admit = decisions_of(decide_agency)
    state, (let_in,) = admit(OPEN, ask)
    assert (state, type(let_in), let_in.asked, let_in.share_bps) == (OPEN, AcceptInvitation, "j", 2_000)
    invited, _ = after(offer())
    _, (joined, _) = decide(invited, let_in)
    assert (joined.cause, joined.step) == ("j", MembershipStep.JOINED)
    _, (refused,) = decide(None, let_in)
    assert (refused.cause, refused.refusal) == ("j", AgencyRefusal.INVITATION_UNKNOWN)
    for agency, refusal in ((replace(OPEN, is_open=False), AgencyRefusal.AGENCY_CLOSED), (None, AgencyRefusal.AGENCY_UNKNOWN)):
        same, (fact,) = admit(agency, ask)
        assert (same, fact.refusal, fact.cause) == (agency, refusal, "j")


MANY = tuple(offer(UserId(f"a{number}")) for number in range(MAX_INVITATIONS))


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((UserErased(id="u", at=T, cause="c", user=SUE), offer()), AgencyRefusal.STREAMER_ERASED),
        ((*MANY, offer()), AgencyRefusal.INVITATIONS_FULL),
        ((offer(), accept(), offer()), AgencyRefusal.SHARE_STANDS),
        ((accept(),), AgencyRefusal.INVITATION_UNKNOWN),
        ((offer(MOON), accept()), AgencyRefusal.INVITATION_UNKNOWN),
        ((offer(), end(), accept()), AgencyRefusal.INVITATION_UNKNOWN),
        ((offer(), accept(at=T + INVITED_FOR)), AgencyRefusal.INVITATION_UNKNOWN),
        ((offer(), offer(share_bps=2_500), accept()), AgencyRefusal.SHARE_DIFFERS),
        ((offer(), accept(), offer(MOON), accept(MOON)), AgencyRefusal.OTHER_AGENCY),
        ((offer(), part()), AgencyRefusal.NO_MEMBER),
        ((offer(), part("")), AgencyRefusal.NO_MEMBER),
        ((offer(), accept(), part(MOON)), AgencyRefusal.NO_MEMBER),
    ],
)
def test_each_refusal_by_name(messages: tuple[Any, ...], refusal: AgencyRefusal) -> None:
    before, _ = after(*messages[:-1])
    state, (fact,) = decide(before, messages[-1])
    assert (state, fact.refusal) == (before, refusal)
    assert not isinstance(messages[-1], OfferShare) or fact.cause == "i"


def test_a_streamer_joins_agrees_to_another_share_and_leaves() -> None:
    state, (invited,) = after(offer())
    assert (invited.step, invited.cause, invited.until) == (MembershipStep.INVITED, "i", T + INVITED_FOR)
    state, (joined, share) = decide(state, accept())
    assert (joined.step, joined.version, state.agency, state.invitations) == (MembershipStep.JOINED, 1, STARS, ())
    assert (share.account, share.agency, share.share_bps, share.version) == (EARNINGS, STARS, 2_000, 1)
    state, _ = decide(state, offer(share_bps=1_000))
    assert state.share_bps == 2_000, "what the streamer has not agreed to is not in force"
    state, (joined, share) = decide(state, accept(share_bps=1_000))
    assert (joined.version, share.share_bps, share.version) == (2, 1_000, 2)
    state, (left, share) = decide(state, part(""))
    assert (left.step, left.agency, left.version, left.by, share.agency, share.version) == (
        MembershipStep.LEFT,
        STARS,
        3,
        "stars",
        "",
        3,
    )
    assert state == Membership(version=3)


def test_an_invitation_ends_once_and_an_agency_that_cannot_be_paid_has_no_members() -> None:
    for refused, step in ((True, MembershipStep.REFUSED), (False, MembershipStep.TAKEN_BACK)):
        state, (fact,) = after(offer(), end(refused=refused))
        assert (fact.step, state) == (step, Membership())
    state, _ = after(offer(), offer(MOON, at=T + timedelta(days=1)))
    state, (over,) = decide(state, Wake(id="w", at=T + INVITED_FOR, key=SUE))
    assert (over.step, over.agency, [one.agency for one in state.invitations]) == (MembershipStep.EXPIRED, STARS, [MOON])
    state, _ = after(offer(), accept())
    assert of_share(came_back()) == SUE
    assert decide(state, came_back(MOON)) == (state, ())
    state, (left, share) = decide(state, came_back())
    assert (left.step, left.agency, share.agency, state.agency) == (MembershipStep.LEFT, STARS, "", "")


def test_who_is_erased_belongs_to_nobody() -> None:
    state, told = after(offer(), accept(), offer(MOON), UserErased(id="u", at=T, cause="c", user=SUE))
    assert [(one.agency, one.step) for one in told] == [(MOON, MembershipStep.TAKEN_BACK), (STARS, MembershipStep.LEFT)]
    assert decide(state, Wake(id="w", at=T + timedelta(days=1), key=SUE)) == (None, ())


AGENCIES = st.sampled_from((STARS, MOON))
SHARES = st.integers(0, 3)
MESSAGES = st.one_of(
    st.builds(offer, AGENCIES, SHARES), st.builds(accept, AGENCIES, SHARES), st.builds(end, AGENCIES, refused=st.booleans()),
    st.builds(part, AGENCIES), st.builds(came_back, AGENCIES), st.just(Wake(id="w", at=T + INVITED_FOR, key=SUE)),
)  # fmt: skip


@given(long_lists(MESSAGES, 30))
def test_a_share_is_one_that_was_offered_and_accepted_and_each_change_is_a_version(messages: list[MembershipInbox]) -> None:
    state: Any = None
    open_invitations: dict[str, int] = {}
    for message in messages:
        before = state or Membership()
        state, told = decide(state, message)
        for fact in told:
            if isinstance(fact, MembershipStepped):
                if fact.step is MembershipStep.INVITED:
                    open_invitations[fact.agency] = fact.share_bps
                elif fact.step is MembershipStep.LEFT:
                    assert before.agency == fact.agency
                else:
                    invited = open_invitations.pop(fact.agency)
                    assert fact.step is not MembershipStep.JOINED or (
                        invited == fact.share_bps and before.agency in ("", fact.agency)
                    )
        shares = [one for one in told if isinstance(one, SetShare)]
        now = state or Membership()
        assert now.version == before.version + len(shares)
        assert [(one.agency, one.share_bps, one.version) for one in shares] in ([], [(now.agency, now.share_bps, now.version)])
        assert {one.agency: one.share_bps for one in now.invitations} == open_invitations


# --- the split --------------------------------------------------------------------------------------------------------------

EARNED = st.tuples(st.sampled_from((Reason.CALL, Reason.GIFT, Reason.GRANT)), st.integers(1, 200) | st.just(MAX_COINS))
# Less than nothing: a call was shorter than it was billed.
RECLAIMED = st.tuples(st.just(Reason.CALL), st.integers(-200, -1) | st.just(-MAX_COINS))
CHANGES = st.sampled_from((0, 1, 3_333, WHOLE_BPS)) | st.integers(0, WHOLE_BPS)


@given(long_lists(EARNED | RECLAIMED | CHANGES, 40))
def test_of_each_version_the_agency_has_its_basis_points_rounded_down_and_nothing_is_lost(
    history: list[tuple[Reason, int] | int],
) -> None:
    """The rule of rounding, and gross = streamer + agency, behind each message; where earnings are taken back the agency keeps
    what it had, and gets no more until that is its part again."""
    account, _ = decide_account(None, OpenAccount(id="o", at=T, account=EARNINGS))
    version, gross = 0, 0
    share_bps: dict[int, int] = {0: 0}
    earned, had, of, due, back = (defaultdict[int, int](int) for _ in range(5))
    for number, one in enumerate(history):
        if isinstance(one, int):
            version += 1
            share_bps[version] = one
            message: AccountInbox = SetShare(
                id=f"m{number}", at=T, account=EARNINGS, agency=STARS, share_bps=one, version=version
            )  # fmt: skip
        else:
            reason, coins = one
            assert account is not None
            if coins < -account.available_coins:
                continue
            if coins > 0:
                message = Credit(
                    id=f"m{number}", at=T, account=EARNINGS, counterparty=AccountId("@v"), coins=coins, reason=reason
                )  # fmt: skip
            else:
                message = Transfer(id=f"m{number}", at=T, account=EARNINGS, to=AccountId("@v"), coins=-coins, reason=reason)
                back[version] -= coins if version else 0
            gross += coins
            earned[version] += coins if reason is not Reason.GRANT and version else 0
        account, told = decide_account(account, message)
        for leg in told:
            if isinstance(leg, Credit) and leg.account != "@v":
                assert (leg.account, leg.reason) == ("stars/earnings", Reason.SHARE)
                had[version] += leg.coins
            elif isinstance(leg, EntryRecorded) and leg.coins < 0 and leg.reason is Reason.SHARE:
                assert leg.share_version == version
                of[version] += leg.shared_coins
        assert account is not None
        assert account.balance_coins + sum(had.values()) == gross
        due[version] = max(due[version], earned[version] * share_bps[version] // WHOLE_BPS)
        assert had[version] == due[version]
        waits = account.share.waiting_coins if account.share else 0
        assert of[version] + waits == earned[version] + back[version]


def test_where_all_went_to_the_agency_nothing_can_be_taken_back() -> None:
    """Who has given all of it away has nothing from which a call's earnings could be taken back: the platform bears that, as it
    does of earnings that were paid out, and no share is less for what was not taken."""
    account, _ = decide_account(None, OpenAccount(id="o", at=T, account=EARNINGS))
    share = SetShare(id="s", at=T, account=EARNINGS, agency=STARS, share_bps=WHOLE_BPS, version=1)
    earn = Credit(id="c", at=T, account=EARNINGS, counterparty=AccountId("@calls"), coins=90, reason=Reason.CALL)
    back = Transfer(id="b", at=T, account=EARNINGS, to=AccountId("@calls"), coins=30, reason=Reason.CALL)
    for message in (share, earn):
        account, _ = decide_account(account, message)
    after_it, (refused,) = decide_account(account, back)
    assert (after_it, type(refused)) == (account, AccountRefused)
    assert account is not None
    assert account.share is not None
    assert (account.balance_coins, account.share.carried) == (0, 0)
    grant = Credit(id="g", at=T, account=EARNINGS, counterparty=AccountId("@v"), coins=30, reason=Reason.GRANT)
    account, _ = decide_account(account, grant)
    account, _ = decide_account(account, back)
    assert account is not None
    assert account.share is not None
    assert (account.balance_coins, account.share.carried) == (0, -30 * WHOLE_BPS), "what could be taken makes the next less"
    account, told = decide_account(account, replace(earn, id="c2", coins=30))
    assert account is not None
    assert (account.balance_coins, len(told)) == (30, 1)


def test_a_share_that_is_not_taken_comes_back_to_the_streamer() -> None:
    closed, _ = decide_account(None, OpenAccount(id="o", at=T, account=AccountId("stars/earnings")))
    assert closed is not None
    leg = Credit(
        id="m/credit", at=T, account=AccountId("stars/earnings"), counterparty=EARNINGS, coins=20, reason=Reason.SHARE, ref="g"
    )  # fmt: skip
    state, (_, back) = decide_account(replace(closed, closed=True, frozen=True), leg)
    assert state is not None
    assert isinstance(back, Credit)
    assert (state.balance_coins, back.account, back.coins, back.returned, back.ref) == (0, EARNINGS, 20, True, "g")


# --- by HTTP ----------------------------------------------------------------------------------------------------------------


def test_an_agency_by_http(stack: Stack, admin: Api, new_user: NewUser) -> None:
    key = uuid.uuid4().hex[:8]
    sue, bob, stars, moon = new_user("streamer"), new_user(), new_user("agency"), new_user("agency")
    assert stars.get("/v1/agency").json()["code"] == "agency_unknown"
    for agency in (stars, moon):
        body = {"agency_name": f"Agency {agency.user}", "most_share_bps": 3_000}
        assert admin.put(f"/v1/admin/agencies/{agency.user}", json=body).status_code == 200
    invitation = {"user": sue.user, "share_bps": 3_001}
    assert sue.post("/v1/agency/invitations", json=invitation).json()["code"] == "forbidden"
    assert stars.post("/v1/agency/invitations", json=invitation).json()["code"] == "share_above_most"
    assert stars.post("/v1/agency/invitations", json={"user": bob.user, "share_bps": 1}).json()["code"] == "streamer_erased"
    sent = stars.post("/v1/agency/invitations", json={"user": sue.user, "share_bps": 2_000})
    assert (sent.status_code, sent.json()["invited_bps"]) == (201, 2_000), sent.text
    assert moon.post("/v1/agency/invitations", json={"user": sue.user, "share_bps": 100}).status_code == 201
    mine = eventually(lambda: (m := sue.get("/v1/users/me/agency").json()) and len(m["invitations"]) == 2 and m)
    assert (mine["agency"], mine["invitations"][0]["agency_name"]) == ("", f"Agency {stars.user}")
    accepting = f"/v1/users/me/agency/invitations/{stars.user}/accept"
    assert sue.post(accepting, json={"share_bps": 1}).json()["code"] == "share_differs"
    closed = {"agency_name": "Stars", "most_share_bps": 3_000}
    assert admin.put(f"/v1/admin/agencies/{stars.user}", json=closed | {"is_open": False}).status_code == 200
    assert sue.post(accepting, json={"share_bps": 2_000}).json()["code"] == "agency_closed"
    assert admin.put(f"/v1/admin/agencies/{stars.user}", json=closed).status_code == 200
    assert sue.post(accepting, json={"share_bps": 2_000}).status_code == 204
    assert eventually(lambda: sue.get("/v1/users/me/agency").json()["agency"] == stars.user)
    give(admin, bob, sue, key)
    assert eventually(lambda: stars.balance(book="earnings").json()["balance_coins"] == 20)
    assert sue.balance(book="earnings").json()["balance_coins"] == 80
    month = datetime.now(UTC).strftime("%Y-%m")
    path = f"/v1/agency/statements/{month}"
    rows = eventually(lambda: stars.get(path).json()["rows"])
    assert rows == [{"user": sue.user, "version": 1, "earned_coins": 100, "share_coins": 20}]
    assert admin.get(f"/v1/admin/agencies/{stars.user}/statements/{month}").json()["rows"] == rows
    assert (moon.get(path).json()["rows"], stars.get("/v1/agency/statements/2026-13").status_code) == ([], 422)
    (person,) = moon.get("/v1/agency/people").json()["people"]
    assert (person["is_member"], person["share_bps"], person["invited_bps"]) == (False, 0, 100), (
        "another agency's share is seen"
    )
    assert moon.delete(f"/v1/agency/people/{sue.user}").json()["code"] == "no_member"
    assert sue.post(f"/v1/users/me/agency/invitations/{moon.user}/decline").status_code == 204
    assert eventually(lambda: moon.get("/v1/agency/people").json()["people"] == [])
    shown = admin.get(f"/v1/admin/agencies/{stars.user}").json()
    assert (shown["members"], shown["invited"]) == (1, 0)
    assert sue.delete("/v1/users/me/agency").status_code == 204
    assert eventually(lambda: stars.get("/v1/agency/people").json()["people"] == [])
    # the account has heard of it
    assert eventually(lambda: shares(sue)[:1] == [""])
    give(admin, bob, sue, f"{key}-2")
    assert eventually(lambda: sue.balance(book="earnings").json()["balance_coins"] == 180)
    assert stars.balance(book="earnings").json()["balance_coins"] == 20


def give(admin: Api, bob: Api, sue: Api, key: str) -> None:
    """A gift of which the receiver earns 100 coins."""
    assert admin.put("/v1/admin/gifts/shared", json={"price_coins": 150, "share_coins": 100}).status_code == 200
    assert admin.place("/v1/admin/grants", account=f"{bob.user}/coins", coins=150).status_code == 201
    assert bob.place("/v1/gifts", key, to=sue.user, gift="shared").status_code == 201


def shares(sue: Api) -> list[str]:
    """To whom a share was set in the streamer's book, the last first."""
    entries = sue.get("/v1/balance/entries", params={"book": "earnings"}).json()["entries"]
    return [entry["counterparty"] for entry in entries if entry["kind"] == "share"]
