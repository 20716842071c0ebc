"""The sandbox's ledger: names that nobody can take, coins that never leave it, a tester's purchase whose refund is a debt of
the sandbox's account only, and no payout that includes any of it."""

import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.config import load
from infra.vendors.app_store import ForgedError, ledger_for, read_notification, read_transaction
from pipelines.pulse import counts_of
from schemas.balance import (
    Account,
    AccountRefused,
    Clawback,
    Credit,
    EntryRecorded,
    Hold,
    OpenAccount,
    Reason,
    Refusal,
    Transfer,
    owner_of,
)
from schemas.balance_ledger import COINS, EARNINGS, Ledger, account_in, accounts_of, crosses, ledger_of, party_in
from schemas.log.base import AccountId, HoldId
from schemas.payee import PAYEE
from schemas.payment import PaymentRefusal
from schemas.payout import PAYOUTS
from schemas.purchase import WHOLE, ClaimPurchase, PurchaseCredited, PurchaseRefunded, Store
from schemas.user import USER_ID_PATTERN, is_user_id
from tests.conftest import Api, Phones, eventually
from tests.lab.city.app_store import AppStore
from tests.lab.city.play_store import PlayStore
from tests.lab.proofs.ledgers import is_sandbox
from tests.long_lists import long_lists
from tests.test_app_store import INTENT, config_of
from tests.test_purchase import READ, T, after, claim, decide_account, decide_purchase

SANDBOX = account_in(Ledger.SANDBOX, "bob")
PARTIES = ("@promotions", "@shop_sandbox", "@apple_sandbox", "@apple", "@gifts", "@gifts_sandbox")


@given(st.from_regex(USER_ID_PATTERN, fullmatch=True), st.sampled_from(Ledger), st.sampled_from((COINS, EARNINGS)))
def test_an_accounts_name_says_whose_it_is_and_in_which_ledger(owner: str, ledger: Ledger, book: str) -> None:
    name = account_in(ledger, owner, book)
    assert (ledger_of(name), owner_of(name), is_sandbox(name)) == (ledger, owner, ledger is Ledger.SANDBOX)
    assert name.endswith(f"/{book}") == (ledger is Ledger.ORDINARY)
    assert not is_user_id(name)
    assert len({*accounts_of(owner)}) == 4
    assert len(name) <= 160


@given(st.sampled_from(Ledger), st.sampled_from(["@gifts", "@expired", "@a"]))
def test_a_partys_name_says_in_which_ledger(ledger: Ledger, party: str) -> None:
    name = party_in(ledger, AccountId(party))
    assert (ledger_of(name), is_sandbox(name)) == (ledger, ledger is Ledger.SANDBOX)


NAMES = (*accounts_of("bob"), *accounts_of("sandbox_coins"))
MOVES = st.tuples(
    st.sampled_from((Credit, Transfer, Hold)), st.sampled_from(NAMES), st.sampled_from((*NAMES, *PARTIES)), st.integers(1, 9)
)


@given(long_lists(MOVES, 60))
def test_no_coins_cross_and_each_ledger_closes_behind_every_message(moves: list[Any]) -> None:
    accounts: dict[str, Account] = {name: Account(1, T, 20) for name in NAMES}
    books = Counter(dict.fromkeys(Ledger, 80))
    for number, (kind, name, party, coins) in enumerate(moves):
        if kind is Credit and not party.startswith("@"):
            continue  # the second leg of a transfer
        fields: dict[str, Any] = {"id": f"m{number}", "at": T, "account": name, "coins": coins, "reason": Reason.CALL}
        more = {"hold": HoldId(f"h{number}"), "expires_at": T + timedelta(hours=1)} if kind is Hold else {}
        message = kind(**fields, **{"counterparty" if kind is Credit else "to": party}, **more)
        waiting = [message]
        while waiting:
            told = waiting.pop(0)
            accounts[told.account], facts = decide_account(accounts[told.account], told)
            waiting += [one for one in facts if isinstance(one, Credit)]
            for entry in (one for one in facts if isinstance(one, EntryRecorded)):
                assert not crosses(entry.account, entry.counterparty)
                store = entry.counterparty == "@apple_sandbox"
                assert store or is_sandbox(entry.account) == is_sandbox(entry.counterparty)
                if entry.counterparty.startswith("@"):
                    books[ledger_of(entry.account)] += entry.coins
            refusals = {one.refusal for one in facts if isinstance(one, AccountRefused)}
            assert (Refusal.OTHER_LEDGER in refusals) <= crosses(told.account, party)
        for ledger in Ledger:
            there = sum(one.balance_coins for held, one in accounts.items() if ledger_of(held) is ledger)
            assert there == books[ledger]


def bought_by_tester(**more: Any) -> ClaimPurchase:
    return replace(claim(**more), store=Store.APPLE_SANDBOX, ledger=Ledger.SANDBOX, purchase="apple_sandbox:7")


def test_what_a_tester_buys_is_credited_to_an_account_of_the_sandbox_which_it_opens() -> None:
    read = replace(READ, purchase="apple_sandbox:7")
    state, (opened, credit) = after(bought_by_tester(), read)
    assert (type(opened), opened.account, type(credit), credit.account) == (OpenAccount, SANDBOX, Credit, SANDBOX)
    assert (credit.counterparty, credit.coins) == ("@apple_sandbox", 110)
    account, _ = decide_account(None, opened)
    account, (entry,) = decide_account(account, credit)
    state, (fact,) = decide_purchase(state, entry)
    assert (type(fact), fact.ledger, fact.coins) == (PurchaseCredited, Ledger.SANDBOX, 110)
    spent, _ = decide_account(account, transfer("@shop_sandbox", 100))
    state, (back,) = decide_purchase(state, bought_by_tester(user="", id_="m2", signed_s=1, revoked=WHOLE))
    assert (type(back), back.account, back.counterparty) == (Clawback, SANDBOX, "@apple_sandbox")
    owing, facts = decide_account(spent, back)
    assert (owing.debt_coins, owing.balance_coins) == (100, 0)
    _, (refunded, *_) = decide_purchase(state, facts[0])
    assert (type(refunded), refunded.ledger, refunded.owed_coins) == (PurchaseRefunded, Ledger.SANDBOX, 100)


def transfer(to: str, coins: int = 1) -> Transfer:
    return Transfer(id="t", at=T, account=SANDBOX, to=AccountId(to), coins=coins, reason=Reason.TRANSFER)


def test_the_ledger_of_the_first_word_stays_and_a_sandboxs_id_is_another_purchase() -> None:
    """Told once more under another setting it goes back to where it was credited."""
    state, _ = after(bought_by_tester(), READ)
    again, _ = decide_purchase(state, replace(bought_by_tester(id_="m2", signed_s=3), ledger=Ledger.ORDINARY))
    assert (again.ledger, state.ledger) == (Ledger.SANDBOX, Ledger.SANDBOX)
    assert claim().purchase != bought_by_tester().purchase
    assert after(replace(bought_by_tester(), intent=""))[1][0].refusal is PaymentRefusal.INTENT_UNKNOWN


@pytest.mark.parametrize("to", ["bob/coins", "sue/earnings", "@shop", PAYOUTS, "@apple"])
def test_nothing_of_the_sandbox_goes_out_of_it(to: str) -> None:
    rich = Account(1, T, 100)
    hold = Hold(
        id="t", at=T, account=account_in(Ledger.SANDBOX, "bob", EARNINGS), hold=HoldId("h"), to=AccountId(to), coins=1,
        reason=Reason.PAYOUT, expires_at=T + timedelta(days=1),
    )  # fmt: skip
    for message in (transfer(to), hold):
        state, (refused,) = decide_account(rich, message)
        assert (refused.refusal, state) == (Refusal.OTHER_LEDGER, rich)


def test_earnings_of_the_sandbox_are_none_of_a_payees_and_count_for_no_figure() -> None:
    keys = [heard.key for heard in PAYEE.hears if heard.fact is EntryRecorded]
    earned = Credit(
        id="c", at=T, account=account_in(Ledger.SANDBOX, "sue", EARNINGS), counterparty=AccountId("@gifts_sandbox"), coins=5,
        reason=Reason.GIFT, ref="g",
    )  # fmt: skip
    _, (entry,) = decide_account(Account(1, T), earned)
    real = replace(entry, account=AccountId("sue/earnings"))
    assert [(key(entry), key(real)) for key in keys if callable(key)] == [("", "sue")]
    assert (counts_of(entry), len([*counts_of(real)])) == ((), 1)


def test_the_setting_says_whether_and_where_a_sandboxs_purchases_count(tmp_path: Any) -> None:
    store = AppStore(tmp_path)
    production = {"apple_environment": "production", "app_id_ios": "id77"}
    own = config_of(store, **production, sandbox_purchases="own_ledger")
    told = read_transaction(own, store.sell("p1", INTENT, transactionId="77"), "bob", "m")
    assert (told.store, told.ledger) == (Store.APPLE_SANDBOX, Ledger.SANDBOX)
    real = read_transaction(own, store.sell("p1", INTENT, transactionId="77", environment="Production"), "bob", "m")
    assert (real.store, real.ledger, isinstance(real, ClaimPurchase)) == (Store.APPLE, Ledger.ORDINARY, True)
    notice = store.notify("ONE_TIME_CHARGE", store.sell("p1", INTENT))["signedPayload"]
    heard = read_notification(own, notice, "m")
    assert isinstance(heard, ClaimPurchase)
    assert heard.ledger is Ledger.SANDBOX
    for refused in (config_of(store, **production), config_of(store, **production, sandbox_purchases="refused")):
        with pytest.raises(ForgedError) as caught:
            read_transaction(refused, store.sell("p1", INTENT), "bob", "m")
        assert caught.value.code == "transaction_of_another_environment"
    for changes in ({"environment": "Xcode"}, {"bundleId": "com.example.other"}):
        with pytest.raises(ForgedError):
            read_transaction(own, store.sell("p1", INTENT, **changes), "bob", "m")
    altogether = read_transaction(config_of(store, sandbox_purchases="own_ledger"), store.sell("p1", INTENT), "bob", "m")
    assert (altogether.store, altogether.ledger) == (Store.APPLE_SANDBOX, Ledger.ORDINARY)
    at_google = [load(play_test_purchases="true"), load(sandbox_purchases="own_ledger", play_test_purchases="true")]
    assert [ledger_for(config, Store.GOOGLE_SANDBOX) for config in at_google] == [Ledger.ORDINARY, Ledger.SANDBOX]


def test_a_testers_coins_on_the_platform(admin: Api, phones: Phones, play_store: PlayStore) -> None:
    bob, sue = phones(coins=0)
    name = bob.api.user
    none = bob.api.get("/v1/balance", params={"ledger": "sandbox"})
    assert (none.status_code, none.json()["code"]) == (404, "account_unknown")
    product, token, order = f"coins{uuid.uuid4().hex[:8]}", uuid.uuid4().hex, f"GPA.{uuid.uuid4().hex[:12]}"
    admin.put(f"/v1/admin/products/{product}", json={"coins": 100, "google_id": product})
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
    play_store.sell(token, product, intent, order, purchaseType=0)
    body = {"product": product, "purchase_token": token}
    for _ in range(2):
        bought = bob.api.post("/v1/payments/google", json=body)
        assert (bought.status_code, bought.json()) == (
            200, {"purchase": f"google_sandbox:{order}", "product": product, "coins": 100, "ledger": "sandbox", "until": None},
        )  # fmt: skip
    held = bob.api.get("/v1/balance", params={"ledger": "sandbox"}).json()
    assert (held["account"], held["balance_coins"]) == (f"{name}/sandbox_coins", 100)
    assert bob.api.get("/v1/balance").json()["balance_coins"] == 0
    book = eventually(lambda: bob.api.get("/v1/balance/entries", params={"ledger": "sandbox"}).json()["entries"])
    assert [(line["kind"], line["coins"], line["counterparty"]) for line in book][:1] == [("credit", 100, "@google_sandbox")]
    for payee in (f"{name}/coins", f"{sue.api.user}/earnings", "@shop"):
        crossing = admin.place("/v1/admin/transfers", payer=f"{name}/sandbox_coins", payee=payee, coins=1)
        assert (crossing.status_code, crossing.json()["code"]) == (409, "other_ledger")
    granted = admin.place("/v1/admin/grants", account=f"{name}/sandbox_coins", coins=1)
    assert (granted.status_code, granted.json()["code"]) == (409, "other_ledger")
    told = bob.api.place("/v1/calls", to=sue.api.user, ledger="sandbox")
    assert (told.status_code, told.json()["code"]) == (409, "sandbox_not_taken")
    assert admin.put(f"/v1/admin/gifts/{product}", json={"price_coins": 30, "share_coins": 10}).status_code == 200
    given = bob.api.place("/v1/gifts", to=sue.api.user, gift=product, ledger="sandbox")
    assert (given.status_code, given.json()["ledger"], given.json()["price_coins"]) == (201, "sandbox", 30)
    earned = {"book": "earnings", "ledger": "sandbox"}
    assert eventually(lambda: sue.api.get("/v1/balance", params=earned).json().get("balance_coins")) == 10
    assert sue.api.get("/v1/balance", params={"book": "earnings"}).json()["balance_coins"] == 0
    assert bob.api.get("/v1/balance", params={"ledger": "sandbox"}).json()["balance_coins"] == 70
