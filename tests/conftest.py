"""One real platform for the whole run: broker, ClickHouse engine, flows and HTTP, started by `olo up` on free ports."""

import json
import os
import signal
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Literal, Protocol, TypeVar

import httpx
import hypothesis
import pytest

from infra import tokens
from infra import vendors as outside
from infra.broker import BRIEF
from infra.clickhouse import connect, migrate
from infra.config import Config, load
from infra.vendors import apns
from infra.vendors.answers import Attempt
from schemas.outbox import EffectDue
from tests.alone import keep_alone
from tests.chromium import browser as browser
from tests.chromium import context as context
from tests.chromium import home as home
from tests.chromium import panel as panel
from tests.chromium import wire as wire
from tests.command_line import Done, olo
from tests.groups import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler
from tests.lab.city.app_store import AppStore
from tests.lab.city.app_store_api import AppStoreApi
from tests.lab.city.market import Market
from tests.lab.city.payout_provider import ProviderServer
from tests.lab.city.play_store import PlayStore
from tests.lab.city.push_vendors import Keys, PushVendors
from tests.lab.stage import Stage
from tests.living import living_city as living_city
from tests.living import small_city as small_city
from tests.pushes import Handler
from tests.tables import Tables
from tests.vendor_stub import AdStub, VendorStub

T = TypeVar("T")
Shown = dict[str, Any]

# For so long a test asks again for what was not decided in time.
PATIENCE_S = 60.0

os.environ.setdefault(*BRIEF)
# No test fails for the time that Hypothesis takes: on a busy machine it takes any.
hypothesis.settings.register_profile("unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("unhurried")
UNHURRIED = hypothesis.settings.get_profile("unhurried")
# The profile of `make quick`: a tenth of Hypothesis's examples, of the simulations' schedules too, and the same ones each time,
# so that the branches which they reach are the same.
hypothesis.settings.register_profile("quick", parent=UNHURRIED, max_examples=10, derandomize=True)
# That of `make simulate`, for requests from outside.
hypothesis.settings.register_profile("long", parent=UNHURRIED, max_examples=500)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Whatever uses the platform, directly or through another fixture, has the mark; a test that starts its own says so. Files
    with such tests go first: of two processes none is to begin with a long file when the other has nothing left."""
    for item in items:
        if "stack" in item.fixturenames:
            item.add_marker("platform")
    long = {item.path for item in items if item.get_closest_marker("platform")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Whatever has no mark is kept away from brokers and the network, in every run."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("platform") is None:
            keep_alone(patch)
        return (yield)


class Stack(Stage):
    """The platform under test."""

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        """Signal a child; wait until the supervisor has started the next one."""
        pid = self.child(role)["pid"]
        os.kill(pid, number)
        return int(eventually(lambda: self.child(role)["pid"] not in (pid, None) and self.child(role)["pid"]))

    def olo(self, *arguments: str, **settings: str) -> Done:
        """Run the command line against this platform; `settings` are variables on top of the platform's."""
        return olo(*arguments, environment=self.environment | settings)

    def database(self, name: str) -> str:
        """The URL of a database of its own beside the platform's, with all tables."""
        connect(self.clickhouse).command(f"CREATE DATABASE IF NOT EXISTS {name}")
        url = f"{self.clickhouse}/{name}"
        migrate(url)
        return url


def eventually(found: Callable[..., T | Literal[False] | None], limit_s: float = 30.0) -> T:
    """Wait until `found()` gives something true, and give it. In a loop it may take what it looks at as its default."""
    deadline = time.monotonic() + limit_s
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)


def undecided(answer: httpx.Response) -> bool:
    """Whether the same request again, under its key, may tell more."""
    if answer.status_code != 503:
        return answer.status_code == 202 and "location" in answer.headers
    return answer.is_stream_consumed and answer.json().get("code") in ("not_decided", "overloaded")


class Api(httpx.Client):
    """An HTTP client with a token; `user` signs up on first use. What was not decided in time on a busy machine it asks again
    under the same key, as a phone does."""

    def __init__(self, stack: Stack, user: str, role: str = "user") -> None:
        self.user = user
        self.token = tokens.token("demo-olo", user, role)
        super().__init__(base_url=stack.http, headers={"Authorization": f"Bearer {self.token}"}, timeout=30, trust_env=False)

    def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_S
        while undecided(answer := super().send(request, **how)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return answer

    def place(self, path: str, key: str | None = None, **body: Any) -> httpx.Response:
        """POST a money command under an idempotency key; staff that moves coins says why."""
        why = {} if body.get("ref") else {"X-Reason": "a test"}
        return self.post(path, json=body, headers={"Idempotency-Key": key or str(uuid.uuid4()), **why})

    def balance(self, **parameters: str) -> httpx.Response:
        return self.get("/v1/balance", params=parameters)


class Phone:
    """A user with an open feed: everything it was shown, with the time."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.user = api.user
        self.shown: list[tuple[float, Shown]] = []
        self.ready = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()
        assert self.ready.wait(10)
        eventually(lambda: api.get("/v1/users/me").json().get("online"))

    def _watch(self) -> None:
        try:
            with self.api.stream("GET", "/v1/feed", timeout=120) as answer:
                for line in answer.iter_lines():
                    self.ready.set()
                    if line.startswith('data: {"type"'):
                        self.shown.append((time.time(), json.loads(line[6:])))
        except Exception:
            pass

    def of(self, type_: str) -> list[Shown]:
        return [event for _, event in self.shown if event["type"] == type_]

    def wait_for(self, type_: str, count: int = 1) -> Shown:
        return eventually(lambda: len(self.of(type_)) >= count and self.of(type_)[count - 1])

    def call(self, other: "Phone", key: str = "") -> httpx.Response:
        return self.api.post("/v1/calls", json={"to": other.user}, headers={"Idempotency-Key": key})


class NewUser(Protocol):
    """Makes a user that is signed up, as the fixture `new_user` does."""

    def __call__(self, role: str = "user", **known: Any) -> Api: ...


class Phones(Protocol):
    """Makes a user and a streamer with their phones, as the fixture `phones` does."""

    def __call__(self, coins: int = 1_000, country: str = "", role: str = "user") -> tuple[Phone, Phone]: ...


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The warehouse's engine in this process, without a platform."""
    return Tables(tmp_path_factory.mktemp("chdb"))


@pytest.fixture(scope="session")
def trusted() -> ssl.SSLContext:
    """The certificates that HTTP clients trust: to read them takes longer than most tests."""
    return httpx.create_ssl_context(trust_env=False)


@pytest.fixture
def client(trusted: ssl.SSLContext) -> Iterator[httpx.Client]:
    """An HTTP client without connections."""
    with httpx.Client(trust_env=False, verify=trusted) as client:
        yield client


@pytest.fixture(scope="session")
def vendors() -> Iterator[VendorStub]:
    """Stand-ins for the outside services, with the platform's credentials for them."""
    stub = VendorStub()
    stub.environment = {
        "OLO_VIDEO_PROVIDER": "agora",
        "OLO_AGORA_URL": stub.url,
        "OLO_AGORA_APP_ID": "a" * 32,
        "OLO_AGORA_CERTIFICATE": "b" * 32,
        "OLO_AGORA_CUSTOMER_ID": "customer",
        "OLO_AGORA_CUSTOMER_SECRET": "secret",
        "OLO_AGORA_WEBHOOK_SECRET": "hook",
        "OLO_APPHUD_TOKEN": "apphud-token",
        "OLO_HASURA_WEBHOOK_SECRET": "hasura-secret-of-tests",
        "OLO_TWILIO_URL": stub.url,
        "OLO_TWILIO_ACCOUNT_SID": "AC1",
        "OLO_TWILIO_KEY_SID": "SK1",
        "OLO_TWILIO_KEY_SECRET": "keysecret" * 4,
        "OLO_TWILIO_AUTH_TOKEN": "authtoken",
        "OLO_PUBLIC_URL": "https://olo.example",
    }
    yield stub
    stub.close()


@pytest.fixture(scope="session")
def networks(
    tmp_path_factory: pytest.TempPathFactory, app_store: AppStore, play_store: PlayStore, payout_provider: ProviderServer
) -> Iterator[AdStub]:
    """Stand-ins for the ad networks, analytics, who pushes, and the market of the stores and the provider."""
    market = Market(app_store, play_store, payout_provider.provider)
    stub = AdStub(tmp_path_factory.mktemp("networks"), market)
    yield stub
    stub.close()


@pytest.fixture(scope="session")
def app_store(tmp_path_factory: pytest.TempPathFactory) -> AppStore:
    """A stand-in for the App Store, whose root the platform trusts."""
    return AppStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def app_store_api(app_store: AppStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppStoreApi]:
    """What the App Store is asked at, with a key of its own."""
    api = AppStoreApi(app_store, tmp_path_factory.mktemp("store-api"))
    yield api
    api.close()


@pytest.fixture(scope="session")
def push_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Credentials for stand-ins of those who push, which are asked in memory."""
    return Keys(tmp_path_factory.mktemp("keys"), "http://vendors", "http://apple")


@pytest.fixture
def push_vendors(push_keys: Keys) -> PushVendors:
    """Stand-ins of those who push, which have taken nothing yet."""
    return PushVendors(push_keys)


@pytest.fixture
def push_config(push_keys: Keys) -> Config:
    """Settings that lead to them."""
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in push_keys.environment.items()})


@pytest.fixture
def attempt(push_config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Attempt]:
    """Attempts a push by a client that this handler answers."""

    def made(due: EffectDue, handler: Handler, settings: Config = push_config) -> Attempt:
        with httpx.Client(transport=httpx.MockTransport(handler)) as client:
            monkeypatch.setattr(apns, "_lines", SimpleNamespace(line=lambda: nullcontext(client)))
            return outside.attempt(due, settings, client)

    return made


@pytest.fixture(scope="session")
def play_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayStore]:
    """Google Play, which signs for real."""
    store = PlayStore(tmp_path_factory.mktemp("play-store"))
    yield store
    store.close()


# Who pays payouts.
PAYER = {"OLO_PAYER_NAME": "Olo GmbH", "OLO_PAYER_IBAN": "DE89370400440532013000"}


@pytest.fixture(scope="session")
def payout_provider() -> Iterator[ProviderServer]:
    server = ProviderServer(7)
    yield server
    server.close()


@pytest.fixture(scope="session")
def stack(  # noqa: PLR0917 - the vendors around it
    tmp_path_factory: pytest.TempPathFactory,
    vendors: VendorStub,
    networks: AdStub,
    app_store_api: AppStoreApi,
    play_store: PlayStore,
    payout_provider: ProviderServer,
) -> Iterator[Stack]:
    stores = app_store_api.settings | play_store.settings
    settings = vendors.environment | networks.environment | stores | PAYER | payout_provider.settings
    settings |= {"OLO_SANDBOX_PURCHASES": "own_ledger"}  # at Google; for Apple this platform is a sandbox altogether
    stack = Stack(tmp_path_factory.mktemp("olo") / "home", **settings)
    yield stack
    assert stack.stop() == 0


@pytest.fixture(scope="session")
def admin(stack: Stack) -> Api:
    return Api(stack, "root", "admin")


@pytest.fixture
def new_user(stack: Stack) -> NewUser:
    """Makes users that are signed up."""

    def make(role: str = "user", **known: Any) -> Api:
        api = Api(stack, f"u-{uuid.uuid4().hex[:10]}", role)
        assert api.post("/v1/users", json=known).status_code == 201
        return api

    return make


@pytest.fixture
def phones(new_user: NewUser, admin: Api) -> Phones:
    """A user with some coins, and a streamer; their calls have a tariff of their own country."""

    def make(coins: int = 1_000, country: str = "", role: str = "user") -> tuple[Phone, Phone]:
        bob = new_user(role, country=country)
        if coins:
            assert admin.place("/v1/admin/grants", account=f"{bob.user}/coins", coins=coins).status_code == 201
        return Phone(bob), Phone(new_user("streamer"))

    return make
