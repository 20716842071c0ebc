"""Stand-ins for Snapchat, AppsFlyer, Amplitude and GA4: they check the contract of every request, remember what they took by
its deduplication id, and misbehave on request. `python -m tests.lab vendors PORT` serves them on the loopback.

`GET /received`: {"taken": {provider: {id: [event, times]}}, "wrong": [...]}. `POST /trouble {"share": 0.3, "kinds": [...]}`:
that share of requests gets one of: 429 and 500 (not taken), lost (taken, answered 500), dropped (no answer), slow (late);
`"away": [provider]` do not answer at all.

With a folder for keys, FCM, OneSignal and Apple (`push_vendors`) are at the same port, and at `/pushes/received`; `/trouble`
is everybody's. So is the market (`market`): stores, a provider of payouts and a bank.
"""

import json
import random
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from schemas.postback import SNAPCHAT_EVENTS
from tests.lab.city import market
from tests.lab.city.apple import speak
from tests.lab.city.json_server import lower
from tests.lab.city.market import Market
from tests.lab.city.push_vendors import Answer as PushAnswer
from tests.lab.city.push_vendors import Keys, PushVendors, settings

KINDS: Final = ("429", "500", "lost", "dropped", "slow")
SLOW_S: Final = 0.3
# How a line of HTTP/2 begins, and where one asks for the pushes.
PREFACE: Final = b"PRI "
PUSHES: Final = "/pushes"
HASH: Final = re.compile(r"[0-9a-f]{64}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
# What the platform is given for them; none of it opens anything.
ENVIRONMENT: Final = {
    "OLO_APP_ID_IOS": "id123456789", "OLO_BUNDLE_IOS": "app.olo", "OLO_APP_ID_ANDROID": "app.olo.android",
    "OLO_APPSFLYER_PUSH_TOKEN": "push-token", "OLO_APPSFLYER_KEY": "s2s-key", "OLO_SNAPCHAT_APP_ID": "snap-app",
    "OLO_SNAPCHAT_TOKEN": "snap-token", "OLO_AMPLITUDE_KEY": "amplitude-key", "OLO_GA4_APP_ID": "1:1:ios:1",
    "OLO_GA4_SECRET": "ga4-secret",
}  # fmt: skip


def environment(url: str, keys: Path | None = None) -> dict[str, str]:
    """Settings of a platform whose vendors are these. `keys`: the folder of those for who pushes, and for the market; None:
    neither is there."""
    with_keys = settings(keys, url, url) | market.settings(keys, url) if keys is not None else {}
    return ENVIRONMENT | with_keys | {
        "OLO_APPSFLYER_URL": url, "OLO_SNAPCHAT_URL": url, "OLO_AMPLITUDE_URL": f"{url}/2/httpapi", "OLO_GA4_URL": url,
    }  # fmt: skip


class Told(NamedTuple):
    """What a request tells: to whom, its deduplication id, the event's name."""

    provider: str
    id: str
    event: str


class Answer(NamedTuple):
    """Status and body; `told`: what is taken with it."""

    status: int
    body: Any
    told: Told | None = None


def _need(fine: Any, what: str) -> None:
    if not fine:
        raise ValueError(what)


def snapchat(path: str, query: Mapping[str, str], _: Mapping[str, str], body: bytes) -> Answer:
    """Conversions API v3."""
    if query.get("access_token") != "snap-token":
        return Answer(401, {"status": "INVALID", "reason": "bad token"})
    try:
        _need(path == "/v3/snap-app/events", "the asset is unknown")
        (event,) = json.loads(body)["data"]
        _need(event["event_name"] in SNAPCHAT_EVENTS, "event_name")
        _need(isinstance(event["event_time"], int) and abs(time.time() - event["event_time"]) < 7 * 86_400, "event_time")
        _need(event["action_source"] == "MOBILE_APP", "action_source")
        user, app = event["user_data"], event["app_data"]
        hashed = [h for name in ("em", "ph", "country", "external_id") for h in user.get(name, [])]
        _need(all(HASH.fullmatch(h) for h in hashed), "not hashed")
        address = user.get("client_ip_address") and user.get("client_user_agent")
        _need(user.get("em") or user.get("ph") or user.get("madid") or address, "nobody is named")
        _need(user.get("madid", "") == user.get("madid", "").lower(), "madid is not in lower case")
        _need(len(app["extinfo"]) == 16 and all(isinstance(part, str) for part in app["extinfo"]), "extinfo")
        _need(app["extinfo"][0] in ("i2", "a2") and app["app_id"], "app_data")
        custom = event.get("custom_data", {})
        _need(event["event_name"] != "PURCHASE" or (custom["currency"] and custom["value"] >= 0), "custom_data")
    except (ValueError, KeyError, TypeError) as error:
        return Answer(200, {"status": "INVALID", "errors": {"codes": ["E1"], "error_msgs": [f"{error!r}"]}})
    return Answer(200, {"status": "VALID", "reason": "ok"}, Told("snapchat", event["event_id"], event["event_name"]))


def appsflyer(path: str, _: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Answer:
    """Server-to-server events, v3."""
    if headers.get("authentication") != "s2s-key":
        return Answer(401, "Failed to Authenticate")
    try:
        _need(path in ("/inappevent/id123456789", "/inappevent/app.olo.android"), "app id")
        _need(len(body) <= 1_024, "more than 1 KB")
        told = json.loads(body)
        _need(told["appsflyer_id"], "appsflyer_id is a mandatory field")
        _need(TIME.fullmatch(told["eventTime"]), "eventTime")
        value = json.loads(told["eventValue"])
        _need("af_revenue" not in value or (value["af_currency"] and float(value["af_revenue"]) >= 0), "af_revenue")
    except (ValueError, KeyError, TypeError) as error:
        return Answer(400, f"{error!r}")
    return Answer(200, "OK", Told("appsflyer", value["olo_event_id"], told["eventName"]))


def amplitude(_: str, __: Mapping[str, str], ___: Mapping[str, str], body: bytes) -> Answer:
    """HTTP API v2, as the SDK uses it: here one event a request is looked at, the SDK sends what came together."""
    told = json.loads(body)
    if told.get("api_key") != "amplitude-key":
        return Answer(400, {"code": 400, "error": "Invalid API key: " + str(told.get("api_key"))})
    least = told.get("options", {}).get("min_id_length", 5)
    short = [n for n, event in enumerate(told["events"]) if len(event.get("user_id", "")) < least or not event.get("insert_id")]
    if short:
        return Answer(400, {"code": 400, "error": "Invalid id length", "events_with_invalid_id_lengths": {"user_id": short}})
    return Answer(200, {"code": 200, "events_ingested": len(told["events"])}, None)


def ga4(_: str, query: Mapping[str, str], __: Mapping[str, str], body: bytes) -> Answer:
    """Measurement Protocol: it answers 204 whatever it is told, so what is wrong is only noted."""
    told = json.loads(body)
    (event,) = told["events"]
    _need(query.get("firebase_app_id") and query.get("api_secret") == "ga4-secret", "ga4: credentials")
    _need(told["app_instance_id"], "ga4: app_instance_id")
    _need(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", event["name"]), "ga4: name")
    _need(len(event["params"]) <= 25 and all(len(str(v)) <= 100 for v in event["params"].values()), "ga4: params")
    _need(abs(time.time() * 1e6 - told["timestamp_micros"]) < 72 * 3_600e6, "ga4: timestamp")
    return Answer(204, "", Told("ga4", event["params"]["event_id"], event["name"]))


ROUTES: Final = (("/v3/", snapchat), ("/inappevent/", appsflyer), ("/2/httpapi", amplitude), ("/mp/collect", ga4))


class AdVendors:
    """All four, and what they have taken: provider -> id -> [event, times]; `wrong`: requests against the contract."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, list[Any]]] = defaultdict(dict)
        self.wrong: list[str] = []
        self.requests = 0
        self.share = 0.0
        self.kinds: tuple[str, ...] = KINDS
        self.away: set[str] = set()
        self._chance = random.Random(1)
        self._lock = threading.Lock()

    def knows(self, path: str) -> bool:
        """Whether a path is one of theirs."""
        return any(path.startswith(prefix) for prefix, _ in ROUTES)

    def answer(self, target: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """What a request is answered with; None: nothing is, the line is cut."""
        url = urlsplit(target)
        vendor = next(act for prefix, act in ROUTES if url.path.startswith(prefix))
        with self._lock:
            self.requests += 1
            trouble = self._chance.choice(self.kinds) if self._chance.random() < self.share else ""
        if trouble == "dropped" or vendor.__name__ in self.away:
            return None
        if trouble in ("429", "500"):
            return Answer(int(trouble), {"code": int(trouble), "error": "trouble"})
        if trouble == "slow":
            time.sleep(SLOW_S)
        try:
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            answer = vendor(url.path, query, headers, body)
        except (ValueError, KeyError, TypeError) as error:
            answer = Answer(204 if vendor is ga4 else 400, f"{error!r}")
        self._note(vendor.__name__, answer, body)
        return Answer(500, {"code": 500, "error": "lost"}) if trouble == "lost" else answer

    def _note(self, name: str, answer: Answer, body: bytes) -> None:
        told = [answer.told] if answer.told else []
        if name == "amplitude" and answer.status == 200:
            told = [Told(name, event["insert_id"], event["event_type"]) for event in json.loads(body)["events"]]
        with self._lock:
            if not told:
                self.wrong.append(f"{name} {answer.status} {answer.body}")
            for one in told:
                known = self.taken[one.provider].setdefault(one.id, [one.event, 0])
                known[1] += 1

    def control(self, path: str, body: bytes) -> Any:
        """`/received`, `/trouble`."""
        if path == "/trouble":
            wanted = json.loads(body)
            self.share, self.kinds = float(wanted.get("share", 0)), tuple(wanted.get("kinds", KINDS))
            self.away = set(wanted.get("away", ()))
        with self._lock:
            return {"taken": self.taken, "wrong": self.wrong[:100], "requests": self.requests}


class _Handler(BaseHTTPRequestHandler):
    vendors: AdVendors
    pushes: PushVendors | None
    market: Market | None

    def handle(self) -> None:
        """Apple speaks HTTP/2, everybody else HTTP/1.1."""
        if self.pushes is not None and self.connection.recv(len(PREFACE), socket.MSG_PEEK) == PREFACE:
            speak(self.connection, self.pushes.answer)
        else:
            super().handle()

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        answer = self._answer(body) if len(body) == length else None  # else whoever asked has died
        if answer is None:
            self.close_connection = True
            return
        content = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        more = answer.headers if isinstance(answer, PushAnswer) else {}
        for name, value in {"content-length": str(len(content)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST  # noqa: N815 - the base class's names

    def _answer(self, body: bytes) -> Answer | PushAnswer | None:
        headers = lower(self.headers)
        if self.market is not None and self.market.knows(self.path):
            status, more, told = self.market.answer(self.command, self.path, headers, body)
            return PushAnswer(status, told, None, more) if status else None
        if self.vendors.knows(self.path):
            return self.vendors.answer(self.path, headers, body)
        if self.pushes is None:
            return Answer(200, self.vendors.control(self.path, body))
        if self.pushes.knows(self.path):
            return self.pushes.answer(self.path, headers, body)
        of_pushes = self.pushes.control(self.path.removeprefix(PUSHES), body)
        return Answer(200, of_pushes if self.path.startswith(PUSHES) else self.vendors.control(self.path, body))

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    # a platform sends dozens of attempts at once; the default backlog of five would refuse some
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A line that was cut."""


def serve(
    vendors: AdVendors, port: int = 0, keys: Path | None = None, known: Market | None = None
) -> ThreadingHTTPServer:  # fmt: skip
    """A server for them on the loopback, not yet serving. `keys`: a folder in which keys are put, for those who push, and for
    the market, unless that is `known`."""
    handler = type("Handler", (_Handler,), {"vendors": vendors, "pushes": None, "market": known})
    server = _Server(("127.0.0.1", port), handler)
    if keys is not None:
        url = f"http://127.0.0.1:{server.server_port}"
        handler.pushes = PushVendors(Keys(keys, url, url))  # type: ignore[attr-defined]
        handler.market = known or market.market(keys, url)  # type: ignore[attr-defined]
    return server
