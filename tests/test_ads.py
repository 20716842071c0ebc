"""Attribution by table and Hypothesis: joined whichever comes first; a push counts once; told once, and with consent only."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines import ads as domain
from pipelines.postback import decide_postback_rules
from schemas.ads import (
    ATTRIBUTION,
    FORGOTTEN_AFTER,
    LOOKBACK,
    Attribution,
    AttributionMissed,
    ClaimInstall,
    ConversionRecorded,
    PostbackForgone,
    PushRecorded,
    PushRepeated,
    PutTracking,
    RecordPush,
    ShareHashes,
    ShareRules,
    Touch,
    TouchKind,
    UserAttributed,
    UserTouched,
    network_of,
)
from schemas.ads_hashes import hashed_email, hashed_phone
from schemas.balance import EntryKind, EntryRecorded, Reason
from schemas.billing_rules import CallKind
from schemas.chat import ItemKind, ItemPosted
from schemas.gift import GiftSent
from schemas.log.base import AccountId, Message, UserId, Wake
from schemas.outbox import OweEffect
from schemas.postback import (
    PENDING_FOR,
    Consent,
    ConversionKind,
    Forgone,
    PostbackBook,
    PostbackRule,
    PostbackRuleError,
    Provider,
    PutPostbackRules,
    Value,
    check_rules,
)
from schemas.user import Role, UserSignedUp
from schemas.video import CallEnded, EndReason
from tests.decisions import decisions_of
from tests.people import ANN, SUE

M = TypeVar("M", bound=Message)
decide = decisions_of(domain.decide_attribution)
decide_install = decisions_of(domain.decide_install)
decide_rules = decisions_of(decide_postback_rules)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
AF = "1415211453000-6513894"
VALUE = Value("EUR", per_coin_micros=10_000)
RULES = (
    PostbackRule(ConversionKind.SIGN_UP, Provider.SNAPCHAT, "SIGN_UP", Consent.ADS, "snapchat"),
    PostbackRule(ConversionKind.PURCHASE, Provider.SNAPCHAT, "PURCHASE", Consent.ADS, "snapchat", VALUE),
    PostbackRule(ConversionKind.FIRST_PURCHASE, Provider.SNAPCHAT, "PURCHASE", Consent.ADS, "snapchat", VALUE),
    PostbackRule(ConversionKind.FIRST_CALL, Provider.APPSFLYER, "first_call", Consent.ADS),
    PostbackRule(ConversionKind.SIGN_UP, Provider.AMPLITUDE, "Signed up", Consent.ANALYTICS),
)
BOOK = Attribution(shared=PostbackBook(1, RULES))


def minutes(count: int) -> datetime:
    return T + timedelta(minutes=count)


def touch(kind: TouchKind = TouchKind.INSTALL, at: datetime = T, network: str = "snapchat", campaign: str = "Autumn") -> Touch:
    return Touch(kind, at, network, campaign)


def push(name: str = "p1", kind: TouchKind = TouchKind.INSTALL, at: datetime = T, user: str = "", **more: str) -> RecordPush:
    return RecordPush(id=f"r/{name}", at=at, install=AF, push=name, event_name=kind, user=user, touch=touch(kind, at, **more))


def sign_up(at: datetime = T, appsflyer_id: str = AF, user: str = "ann") -> UserSignedUp:
    return UserSignedUp(
        id=f"s/{user}", at=at, cause="x", user=UserId(user), role=Role.USER, country="DE", appsflyer_id=appsflyer_id
    )


def bought(name: str = "t1", at: datetime = T, coins: int = 400) -> EntryRecorded:
    return EntryRecorded(
        id=f"e/{name}", at=at, cause="x", account=AccountId("ann/coins"), seq=1, kind=EntryKind.CREDIT, balance_coins=coins,
        held_coins=0, coins=coins, reason=Reason.PURCHASE, transfer=name,
    )  # fmt: skip


def called(name: str = "c1", at: datetime = T) -> CallEnded:
    return CallEnded(
        id=f"k/{name}", at=at, cause="x", call=name, caller=ANN, callee=SUE, kind=CallKind.DIRECT, reason=EndReason.HUNG_UP,
        connected=True, duration_s=30.0,
    )  # fmt: skip


def tracking(*consents: Consent, at: datetime = T, **more: Any) -> PutTracking:
    return PutTracking(id=f"c/{at}", at=at, user=ANN, consents=consents, **{"advertising_id": "ABC-1", **more})


def run(messages: Sequence[Any], common: Attribution | None = BOOK) -> tuple[Any, list[Any]]:
    """Both entities, as the log joins them; the user's state and all that was told."""
    install, user = None, None
    told: list[Any] = []
    for message in messages:
        queue = [message]
        while queue:
            one = queue.pop(0)
            out: Sequence[Any] = ()
            if isinstance(one, RecordPush | ClaimInstall) or (isinstance(one, UserSignedUp) and one.appsflyer_id):
                install, out = decide_install(install, one)
            if not isinstance(one, RecordPush | ClaimInstall):
                user, more = decide(user, one, common)
                out = [*out, *more]
            told += out
            queue += [more for more in out if isinstance(more, UserTouched | ClaimInstall)]
    return user, told


def of(told: Sequence[Any], type_: type[M]) -> list[M]:
    return [one for one in told if isinstance(one, type_)]


def owed(told: Sequence[Any]) -> list[str]:
    return sorted(one.effect for one in of(told, OweEffect))


# --- joining ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_push_and_a_sign_up_are_joined_whichever_comes_first(order: tuple[int, int]) -> None:
    steps = push(), sign_up(minutes(3))
    user, told = run([steps[n] for n in order])
    (fact,) = of(told, UserAttributed)
    assert (fact.user, fact.touch.network, fact.touch.campaign) == ("ann", "snapchat", "Autumn")
    assert user.touch == touch()


def test_a_push_that_names_the_user_or_a_phone_that_names_its_install_is_joined_too() -> None:
    _, by_push = run([push(user="ann"), sign_up(appsflyer_id="")])
    _, by_phone = run([push(), sign_up(appsflyer_id=""), tracking(at=minutes(1), appsflyer_id=AF)])
    assert len(of(by_push, UserAttributed)) == len(of(by_phone, UserAttributed)) == 1


def test_the_same_push_again_changes_nothing() -> None:
    install, told = decide_install(None, push())
    assert isinstance(told[0], PushRecorded)
    again, (fact,) = decide_install(install, replace(push(), id="r/again"))
    assert isinstance(fact, PushRepeated)
    assert again == install


def test_an_install_outside_the_window_is_no_reason() -> None:
    for at in (T - LOOKBACK - timedelta(seconds=1), T + timedelta(days=2)):
        user, told = run([push(at=at), sign_up(T)])
        assert (user.touch, of(told, UserAttributed)) == (None, [])
        assert len(of(told, AttributionMissed)) == 1
    _, told = run([push(at=T - LOOKBACK), sign_up(T)])
    assert len(of(told, UserAttributed)) == 1


def test_a_return_takes_over_and_an_older_one_does_not() -> None:
    back = push("p2", TouchKind.RE_ATTRIBUTION, minutes(90), network="tiktok", campaign="Back")
    older = push("p3", TouchKind.RE_ENGAGEMENT, minutes(30), network="tiktok", campaign="Old")
    user, told = run([push(), sign_up(), back, older])
    assert [fact.touch.campaign for fact in of(told, UserAttributed)] == ["Autumn", "Back", "Old", "Back"]
    assert user.touch.campaign == "Back"


def test_organic_is_a_network_and_snapchats_names_are_one() -> None:
    assert [network_of(name) for name in ("snapchat_int", "Snapchat", "organic", "", "Facebook Ads")] == [
        "snapchat", "snapchat", "organic", "organic", "Facebook Ads",
    ]  # fmt: skip


def test_who_never_signs_up_and_an_install_that_is_silent_are_forgotten() -> None:
    user, _ = decide(None, UserTouched(id="u", at=T, cause="x", install=AF, user=UserId("ghost"), touch=touch()), None)
    assert decide(user, Wake(id="w", at=user.wake_at, key="ghost"), None) == (None, ())
    install, _ = decide_install(None, push())
    assert install.wake_at == T + FORGOTTEN_AFTER
    assert decide_install(install, Wake(id="w", at=T, key=AF)) == (install, ())
    assert decide_install(install, Wake(id="w", at=install.wake_at, key=AF)) == (None, ())


# --- postbacks --------------------------------------------------------------------------------------------------------------


def test_what_is_owed_to_whom() -> None:
    consents = tracking(Consent.ADS, Consent.ANALYTICS)
    user, told = run([push(), consents, sign_up(), bought(), bought("t2"), called(), called("c2")])
    assert owed(told) == [
        "amplitude/Signed up/ann", "appsflyer/first_call/c1", "snapchat/PURCHASE/t1", "snapchat/PURCHASE/t2",
        "snapchat/SIGN_UP/ann",
    ]  # fmt: skip
    kinds = [fact.conversion for fact in of(told, ConversionRecorded)]
    assert kinds == ["sign_up", "purchase", "first_purchase", "purchase", "call", "first_call", "call"]
    (first,) = [one.postback for one in of(told, OweEffect) if one.effect == "snapchat/PURCHASE/t1"]
    assert first is not None
    assert (first.value_micros, first.currency, first.campaign) == (4_000_000, "EUR", "Autumn")
    assert user.pending == ()


def test_a_gift_is_a_conversion_as_well() -> None:
    rules = (PostbackRule(ConversionKind.FIRST_GIFT, Provider.SNAPCHAT, "SPENT_CREDITS", Consent.ADS),)
    gift = GiftSent(id="g", at=T, cause="x", gift="g1", sender=ANN, receiver=SUE, item="r", price_coins=5, share_coins=2)
    _, told = run([sign_up(), tracking(Consent.ADS), gift], Attribution(shared=PostbackBook(1, rules)))
    assert owed(told) == ["snapchat/SPENT_CREDITS/g1"]


def test_the_first_message_is_a_conversion_and_no_other_item_of_a_chat_is() -> None:
    rules = (PostbackRule(ConversionKind.FIRST_MESSAGE, Provider.SNAPCHAT, "MESSAGE", Consent.ADS),)
    first = ItemPosted(id="i", at=T, cause="x", pair="ann/sue", user=ANN, peer=SUE, seq=1, ref="m1")
    second = replace(first, id="i2", seq=2, ref="m2")
    user, told = run([sign_up(), tracking(Consent.ADS), first, second], Attribution(shared=PostbackBook(1, rules)))
    assert owed(told) == ["snapchat/MESSAGE/m1"]
    assert [fact.conversion for fact in of(told, ConversionRecorded)] == ["sign_up", "first_message"]
    assert user.wrote
    heard = next(one for one in ATTRIBUTION.hears if one.fact is ItemPosted)
    assert callable(heard.key)
    assert (heard.key(first), heard.key(replace(first, kind=ItemKind.GIFT))) == (ANN, "")


def test_nothing_is_owed_without_consent_and_the_reason_is_told_in_the_end() -> None:
    user, told = run([push(), sign_up(), ShareHashes(id="h", at=T, user=ANN, email_sha256=hashed_email("a@b.de"))])
    assert owed(told) == []
    due = user.wake_at
    assert due == T + PENDING_FOR
    user, after = decide(user, Wake(id="w", at=due, key="ann"), BOOK)
    assert {(fact.provider, fact.why) for fact in of(after, PostbackForgone)} == {
        (Provider.SNAPCHAT, Forgone.NO_CONSENT), (Provider.AMPLITUDE, Forgone.NO_CONSENT),
    }  # fmt: skip
    assert user.pending == ()


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([sign_up(appsflyer_id=""), tracking(Consent.ADS)], Forgone.NOT_ATTRIBUTED),
        ([push(network="tiktok"), sign_up(), tracking(Consent.ADS)], Forgone.NOT_ATTRIBUTED),
        ([push(), sign_up()], Forgone.NO_CONSENT),
        ([push(), sign_up(), tracking(Consent.ADS, advertising_id="")], Forgone.NO_IDENTIFIER),
        ([push(), sign_up(), tracking(Consent.ADS, advertising_id="", at=T + PENDING_FOR)], Forgone.NO_IDENTIFIER),
    ],
)
def test_why_a_postback_is_forgone(steps: list[Message], why: Forgone) -> None:
    user, told = run(steps)
    if user.wake_at:
        _, more = decide(user, Wake(id="w", at=user.wake_at, key="ann"), BOOK)
        told += more
    assert why in [fact.why for fact in of(told, PostbackForgone) if fact.provider is Provider.SNAPCHAT]


def test_what_comes_too_late_for_a_vendor_is_not_owed() -> None:
    user, _ = run([sign_up(appsflyer_id=""), tracking(Consent.ADS), called()])
    late = tracking(Consent.ADS, at=T + timedelta(days=3), appsflyer_id=AF)
    _, told = decide(user, late, BOOK)
    assert [(fact.provider, fact.why) for fact in of(told, PostbackForgone)] == [(Provider.APPSFLYER, Forgone.TOO_LATE)]


def test_a_conversion_is_told_by_the_rules_of_its_time() -> None:
    user, told = run([push(), sign_up(), tracking(Consent.ADS)], None)
    assert (user.pending, owed(told)) == ((), [])


steps = st.permutations([push(user="ann"), sign_up(minutes(1)), tracking(Consent.ADS, Consent.ANALYTICS)])


@given(steps, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_the_order_of_push_sign_up_and_consent_does_not_matter(
    order: list[Message], first: int, second: int, twice: bool
) -> None:
    doings = [bought("t1", minutes(2)), called("c1", minutes(3))]
    signed_up = next(n for n, one in enumerate(order) if isinstance(one, UserSignedUp))
    order = list(order)
    for doing, wish in zip(doings, (first, second), strict=True):  # nobody buys or calls before signing up
        order.insert(max(wish, signed_up + 1), doing)
    if twice:
        order.append(replace(push(user="ann"), id="again"))
    user, told = run(order)
    expected, expected_told = run([push(user="ann"), tracking(Consent.ADS, Consent.ANALYTICS), sign_up(minutes(1)), *doings])
    assert owed(told) == owed(expected_told)
    assert len(set(owed(told))) == len(owed(told)), "each is owed once"
    assert (user.touch, user.pending) == (expected.touch, expected.pending)


# --- rules and hashes -------------------------------------------------------------------------------------------------------


def test_the_book_of_rules_tells_every_partition() -> None:
    book, told = decide_rules(None, PutPostbackRules(id="p", at=T, book="postbacks", rules=RULES, by="root"))
    assert (book.version, len(of(told, ShareRules))) == (1, ATTRIBUTION.partitions)
    shared, _ = decide(None, of(told, ShareRules)[0], None)
    assert shared.shared == book
    older = replace(of(told, ShareRules)[0], shared=PostbackBook(0))
    assert decide(shared, older, shared) == (shared, ())
    assert decide_rules(book, Wake(id="w", at=T, key="postbacks")) == (book, ())


def rule(
    provider: Provider,
    event: str,
    consent: Consent = Consent.ADS,
    conversion: ConversionKind = ConversionKind.SIGN_UP,
    value: Value | None = None,
) -> PostbackRule:
    return PostbackRule(conversion, provider, event, consent, value=value)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ((rule(Provider.SNAPCHAT, "SIGNUP"),), "Snapchat knows no event"),
        ((rule(Provider.SNAPCHAT, "PURCHASE"),), "needs a value"),
        ((rule(Provider.SNAPCHAT, "SIGN_UP"),) * 2, "twice"),
        ((rule(Provider.GA4, "sign up"),), "no event name"),
        ((rule(Provider.APPSFLYER, "a", Consent.ANALYTICS),), "need the consent ads"),
    ],
)
def test_rules_that_cannot_be(rules: tuple[PostbackRule, ...], says: str) -> None:
    with pytest.raises(PostbackRuleError, match=says):
        check_rules(rules)
    check_rules(RULES)


KEPT = {
    Provider.GA4: ("first_open", "session_start", "user_engagement", "app_remove", "error", "First_Open", "firebase_x", "ga_x"),
    Provider.AMPLITUDE: ("$identify", "$groupidentify", "$x", "[Amplitude] Revenue", "session_end", "revenue_amount"),
    Provider.APPSFLYER: ("install", "reinstall", "re-engagement", "re_attribution"),
}


@pytest.mark.parametrize(("provider", "event"), [(provider, event) for provider, events in KEPT.items() for event in events])
def test_names_that_vendors_keep_for_themselves(provider: Provider, event: str) -> None:
    with pytest.raises(PostbackRuleError, match="keeps the name"):
        check_rules((rule(provider, event),))
    check_rules((rule(provider, "x_" + event.translate(str.maketrans("", "", "$[]- "))),))


def test_hashes_are_those_of_the_contract() -> None:
    email = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"  # of test@example.com
    assert hashed_email("  Test@Example.COM ") == email
    assert hashed_email(email) == email, "a hash is not hashed again"
    assert hashed_phone("+49 (0)151 123-45") == hashed_phone("490151 12345")
    assert hashed_phone("0049151") == hashed_phone("+49 151")
    assert (hashed_email(""), hashed_phone("")) == ("", "")
    assert hashed_phone("+1 (555) 123-4567") == hashlib.sha256(b"15551234567").hexdigest()
