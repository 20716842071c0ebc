"""Postbacks to stand-ins that check the contract: what a request holds, each conversion once whatever fails, the ledger."""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from infra.clickhouse import connect
from infra.config import Config, load
from infra.kafka import end_offsets, reader
from infra.vendors import amplitude, appsflyer, attempt, ga4, snapchat
from infra.vendors.answers import Attempt
from pipelines.flows import dispatch
from pipelines.flows.dispatch import Breaker, Past
from schemas.ads_hashes import hashed_email, hashed_phone
from schemas.outbox import OUTBOX, AttemptOutcome, EffectDue, EffectKind
from schemas.postback import ConversionKind, Identity, Postback, Provider
from tests.conftest import Api, NewUser, Stack, eventually
from tests.people import ANN
from tests.test_ads_pushes import post, pushed
from tests.vendor_stub import AdStub

NOW = datetime.now(UTC).replace(microsecond=120_000)
IDENTITY = Identity(
    hashed_email("Ann@Example.com"), hashed_phone("+49 151 1234567"), "6D92078A-8246-4BA4-AE5B-76104861E7DC", "IDFV",
    "app-instance", "click", True, "203.0.113.5", "Olo/1.2 (iPhone)",
)  # fmt: skip
TOLD = Postback(
    ANN, ConversionKind.PURCHASE, "PURCHASE", NOW, "t1", "snapchat", "Autumn", 400, 4_990_000, "EUR", "DE", "ios", "de_DE",
    "1.2", "1415211453000-6513894", IDENTITY,
)  # fmt: skip


def due(provider: Provider, told: Postback = TOLD, effect: str = "snapchat/PURCHASE/t1") -> EffectDue:
    return EffectDue(
        id="d", at=NOW, cause="x", effect=effect, kind=EffectKind.POSTBACK, provider=provider, subject="ann", attempt=1,
        expires_at=NOW, postback=told,
    )  # fmt: skip


# --- what a request holds ---------------------------------------------------------------------------------------------------


def test_snapchat_gets_hashes_where_it_wants_them_and_plain_names_where_not(config: Config) -> None:
    event = snapchat.event_of("snapchat/PURCHASE/t1", TOLD, config)
    assert (event["event_name"], event["event_id"], event["event_time"]) == (
        "PURCHASE",
        "snapchat/PURCHASE/t1",
        int(NOW.timestamp()),
    )
    user = event["user_data"]
    assert user["em"] == [hashlib.sha256(b"ann@example.com").hexdigest()]
    assert user["ph"] == [hashlib.sha256(b"491511234567").hexdigest()]
    assert user["madid"] == "6d92078a-8246-4ba4-ae5b-76104861e7dc"
    assert (user["client_ip_address"], user["sc_click_id"]) == ("203.0.113.5", "click")
    assert event["custom_data"] == {"currency": "EUR", "value": 4.99, "order_id": "t1", "num_items": 1}
    assert event["app_data"]["extinfo"] == ["i2", "app.olo", "1.2", "1.2", "", "", "de_DE", *[""] * 9]
    bare = snapchat.event_of("x", replace(TOLD, identity=Identity(), value_micros=None, country=""), config)
    assert set(bare["user_data"]) == {"external_id"}
    assert "custom_data" not in bare


def of_stub(stub: AdStub, **more: Any) -> Config:
    """Config that lead to stand-ins."""
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in stub.environment.items()}, **more)


@pytest.mark.parametrize(("provider", "event"), [(Provider.GA4, "first_open"), (Provider.AMPLITUDE, "$identify")])
def test_an_event_whose_name_the_vendor_drops_is_not_sent(provider: Provider, event: str, networks: AdStub) -> None:
    with httpx.Client() as client:
        tried = attempt(due(provider, replace(TOLD, event=event)), of_stub(networks), client)
    assert tried.outcome is AttemptOutcome.REFUSED
    assert "keeps the name" in tried.detail


def test_appsflyers_body_fits_a_kilobyte_and_keeps_what_it_must() -> None:
    body = json.loads(appsflyer.body_of("appsflyer/purchase/t1", TOLD))
    assert body["eventTime"] == f"{NOW:%Y-%m-%d %H:%M:%S}.120"
    assert json.loads(body["eventValue"]) == {
        "olo_event_id": "appsflyer/purchase/t1", "af_revenue": "4.99", "af_currency": "EUR", "af_quantity": 1,
        "af_content_id": "t1",
    }  # fmt: skip
    assert body["idfa"] == IDENTITY.advertising_id
    long = replace(TOLD, user="u" * 128, ref="r" * 250, app_version="v" * 64)
    packed = appsflyer.body_of("e" * 256, long)
    assert len(packed) <= 1_024
    assert {"appsflyer_id", "eventName", "eventValue"} <= set(json.loads(packed))


def test_ga4s_and_amplitudes_events() -> None:
    body = ga4.body_of("ga4/purchase/t1", TOLD)
    assert (body["app_instance_id"], body["events"][0]["params"]["value"]) == ("app-instance", 4.99)
    event = amplitude.event_of("amplitude/Bought/t1", TOLD).get_event_body()
    assert (event["insert_id"], event["revenue"], event["time"]) == ("amplitude/Bought/t1", 4.99, int(NOW.timestamp() * 1000))


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdStub]:
    stub = AdStub(tmp_path_factory.mktemp("stub"))
    yield stub
    amplitude.close()
    stub.close()


@pytest.fixture
def config(stub: AdStub) -> Config:
    stub.share, stub.away = 0.0, set()
    return of_stub(stub)


@pytest.mark.parametrize("provider", list(Provider))
def test_a_vendor_takes_it_and_troubles_are_tried_again(
    stub: AdStub, config: Config, client: httpx.Client, provider: Provider
) -> None:
    told = replace(TOLD, event="purchase") if provider is Provider.GA4 else TOLD
    taken = attempt(due(provider, told, f"{provider}/x/1"), config, client)
    assert taken.outcome is AttemptOutcome.ACCEPTED, taken
    for kind in ("429", "500", "dropped", "lost"):
        stub.share, stub.kinds = 1.0, (kind,)
        failed = attempt(due(provider, told, f"{provider}/x/2"), config, client)
        assert failed.outcome is AttemptOutcome.FAILED, (kind, failed)
    assert list(stub.of(provider, "/x/")) == [f"{provider}/x/1", f"{provider}/x/2"], "the lost one was taken all the same"


@pytest.mark.parametrize(
    ("provider", "wrong"),
    [
        (Provider.SNAPCHAT, {"snapchat_token": "x"}),
        (Provider.APPSFLYER, {"appsflyer_key": "x"}),
        (Provider.AMPLITUDE, {"amplitude_key": "x"}),
        (Provider.SNAPCHAT, {"snapchat_token": ""}),
    ],
)
def test_a_no_for_good_is_refused_with_its_reason(
    config: Config, client: httpx.Client, provider: Provider, wrong: dict[str, str]
) -> None:
    found = attempt(due(provider), config.model_copy(update=wrong), client)
    assert found.outcome is AttemptOutcome.REFUSED
    assert found.detail


def test_what_snapchat_calls_invalid_is_refused(config: Config, client: httpx.Client) -> None:
    found = attempt(due(Provider.SNAPCHAT, replace(TOLD, identity=Identity())), config, client)
    assert (found.outcome, found.status) == (AttemptOutcome.REFUSED, 200)
    assert "nobody is named" in found.detail


def test_a_silent_vendor_is_probed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    silent = Attempt(AttemptOutcome.FAILED, 0, "no answer")
    breaker = Breaker()
    for _ in range(Breaker.IN_A_ROW):
        assert breaker.lets("snapchat")
        breaker.heard("snapchat", silent)
    assert not breaker.lets("snapchat")
    assert breaker.lets("ga4")
    clock[0] += Breaker.PROBE_S
    assert breaker.lets("snapchat")
    assert not breaker.lets("snapchat"), "one probe at a time"
    breaker.heard("snapchat", Attempt(AttemptOutcome.FAILED, 503))
    assert breaker.lets("snapchat"), "an error is an answer"


def test_of_a_replay_only_what_the_outbox_waits_for_is_attempted() -> None:
    past = Past(10, {"a": 2})
    fact = replace(due(Provider.SNAPCHAT), effect="a")
    assert past.is_over(5, replace(fact, attempt=1))
    assert not past.is_over(5, replace(fact, attempt=2))
    assert past.is_over(5, replace(fact, effect="b"))
    assert not past.is_over(10, replace(fact, effect="b")), "what is new is not past"


# --- on the real platform ---------------------------------------------------------------------------------------------------

RULES: list[dict[str, Any]] = [
    {"conversion": "sign_up", "provider": "snapchat", "event": "SIGN_UP", "consent": "ads", "network": "snapchat"},
    {"conversion": "purchase", "provider": "snapchat", "event": "PURCHASE", "consent": "ads", "network": "snapchat",
     "value": {"currency": "EUR", "per_coin_micros": 10_000}},
    {"conversion": "sign_up", "provider": "appsflyer", "event": "af_complete_registration", "consent": "ads"},
    {"conversion": "first_purchase", "provider": "appsflyer", "event": "first_purchase", "consent": "ads"},
    {"conversion": "sign_up", "provider": "amplitude", "event": "Signed up", "consent": "analytics"},
    {"conversion": "purchase", "provider": "ga4", "event": "purchase", "consent": "analytics",
     "value": {"currency": "EUR", "per_coin_micros": 10_000}},
]  # fmt: skip


@pytest.fixture(scope="module")
def rules(admin: Api) -> Iterator[None]:
    answer = admin.put("/v1/admin/postbacks/rules", json={"rules": RULES})
    assert answer.status_code == 200, answer.text
    eventually(lambda: admin.get("/v1/admin/postbacks/rules").json() == answer.json())
    yield
    assert admin.put("/v1/admin/postbacks/rules", json={"rules": []}).status_code == 200


@pytest.fixture
def buyer(stack: Stack, admin: Api, new_user: NewUser) -> Callable[[], Api]:
    """Somebody whom Snapchat brought, who consents to everything, and has bought coins twice."""

    def make() -> Api:
        install = f"af-{uuid.uuid4().hex[:8]}"
        post(stack, pushed(install))
        ann = new_user(appsflyer_id=install, country="DE", platform="ios")
        told = {"consents": ["ads", "analytics"], "advertising_id": "ABC", "app_instance_id": "i1", "appsflyer_id": install}
        assert ann.put("/v1/tracking", json=told).json() == {"consents": ["ads", "analytics"]}
        assert ann.put("/v1/profile/private", json={"email": f"{ann.user}@example.com"}).status_code == 200
        for _ in range(2):
            answer = admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=400, reason="purchase")
            assert answer.status_code == 201
        return ann

    return make


def ledger(stack: Stack, users: list[str]) -> Sequence[Sequence[Any]]:
    sql = "SELECT provider, effect, event, state, attempts, why FROM postbacks WHERE user IN {u:Array(String)} ORDER BY effect"
    return connect(stack.clickhouse).query(sql, parameters={"u": users}).result_rows


# What a buyer is owed, by these rules.
OWED = {"snapchat": 3, "appsflyer": 2, "amplitude": 1, "ga4": 2}


def test_each_conversion_is_told_once_although_a_third_fails_and_dispatch_is_killed(
    stack: Stack, rules: None, buyer: Callable[[], Api], networks: AdStub
) -> None:
    networks.share, networks.kinds = 1 / 3, ("429", "500", "lost", "dropped", "slow")
    before = len(networks.wrong)
    users = []

    def kill() -> None:
        for _ in range(5):
            stack.kill("dispatch-0")
            time.sleep(1.5)

    killing = threading.Thread(target=kill)
    killing.start()
    for _ in range(6):
        users.append(buyer().user)
    killing.join()
    try:
        rows = eventually(
            lambda: (r := ledger(stack, users)) and len(r) == 8 * 6 and all(x[3] == "accepted" for x in r) and r, 90
        )
    finally:
        networks.share = 0.0
    assert sum(row[4] for row in rows) > len(rows), "some were tried again"
    assert networks.wrong[before:] == [], "every request kept the contract"
    for provider in Provider:
        owed = {row[1]: row[2] for row in rows if row[0] == provider}
        taken = {id_: event for id_, (event, _) in networks.taken[provider].items() if id_ in owed}
        assert taken == owed, f"the ledger and {provider} say the same"
        assert len(owed) == 6 * OWED[provider]


def test_a_replay_of_the_whole_outbox_tells_nobody(stack: Stack, networks: AdStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that has no position reads everything from its beginning."""
    ends = end_offsets(reader(stack.config, committed=False), OUTBOX.events, range(OUTBOX.partitions))
    seen, end = networks.requests, sum(ends.values())
    assert end, "there is something to replay"
    monkeypatch.setattr(dispatch, "NAME", "dispatch-replay")
    replaying = dispatch.Dispatch(0, of_stub(networks, brokers=stack.brokers))
    deadline = time.monotonic() + 30
    while sum(lane.next for lane in replaying._lanes.values()) < end - 8 and time.monotonic() < deadline:
        if (found := replaying.poll()) is not None:
            replaying.commit(replaying.decide(found))
    lanes = list(replaying._lanes.values())
    replaying.close()
    assert sum(lane.next for lane in lanes) >= end - 8, "it did read them all (a partition may end with transactions' marks)"
    assert not any(lane.running for lane in lanes), "nothing is under way"
    assert networks.requests == seen, "and nobody was told"


def test_what_only_vendors_may_see_reaches_no_analyst(stack: Stack, rules: None, buyer: Callable[[], Api]) -> None:
    ann = buyer()
    client = connect(stack.clickhouse)
    eventually(lambda: len(ledger(stack, [ann.user])) == 8)
    secret = hashed_email(f"{ann.user}@example.com")
    found = client.query("SELECT topic, count() FROM log WHERE position(value, {s:String}) > 0 GROUP BY topic", {"s": secret})
    assert found.result_rows == []
    assert client.query("SELECT count() FROM log WHERE topic = 'outbox.events' AND position(value, {u:String}) > 0",
                        {"u": f'"subject":"{ann.user}"'}).result_rows[0][0] > 0  # fmt: skip


def test_what_is_refused_waits_for_a_person_and_a_vendor_that_is_away_loses_nothing(
    stack: Stack, rules: None, buyer: Callable[[], Api], networks: AdStub
) -> None:
    networks.away = {"snapchat"}
    ann = buyer()
    waiting = eventually(lambda: (r := [x for x in ledger(stack, [ann.user]) if x[0] == "snapchat" and x[3] == "retried"])
                         and len(r) == 3 and r, 60)  # fmt: skip
    assert {row[5] for row in waiting} == {"no answer"}
    eventually(lambda: all(x[3] == "accepted" for x in ledger(stack, [ann.user]) if x[0] != "snapchat"))
    networks.away = set()
    eventually(lambda: all(x[3] == "accepted" for x in ledger(stack, [ann.user])), 90)
    shown = stack.olo("postbacks", "show", f"snapchat/SIGN_UP/{ann.user}")
    assert '"accepted"' in shown.stdout
    assert "identity" not in shown.stdout
    assert "accepted" in stack.olo("postbacks", "list", "--provider", "snapchat").stdout
    assert "PURCHASE" in stack.olo("postbacks", "ledger").stdout
    again = stack.olo("postbacks", "redrive", f"snapchat/SIGN_UP/{ann.user}")
    assert (again.returncode, "only refused and expired" in again.stderr) == (2, True)
    assert stack.olo("postbacks", "redrive").returncode == 2
    assert "0 postbacks" in stack.olo("postbacks", "redrive", "--provider", "ga4").stdout


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"event": "SIGNUP"}, 422, "rule_invalid"),
        ({"event": "PURCHASE"}, 422, "rule_invalid"),
        ({"provider": "tiktok"}, 422, "invalid_request"),
        ({"conversion": "smile"}, 422, "invalid_request"),
        ({"consent": "none"}, 422, "rule_invalid"),
    ],
)
def test_rules_that_cannot_be_are_refused(admin: Api, change: dict[str, Any], status: int, code: str) -> None:
    answer = admin.put("/v1/admin/postbacks/rules", json={"rules": [RULES[0] | change]})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
