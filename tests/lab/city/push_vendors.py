"""Stand-ins for Google's tokens, FCM and OneSignal (HTTP/1.1) and for Apple's push service (HTTP/2, see `apple`): they check
the contract of every request, remember what they took, and misbehave on request. `python -m tests.lab pushes` serves them.

`GET /received`: {"taken": [...], "wrong": [...], "refused": {token: times}}. `POST /trouble {"share": 0.3, "kinds": [...],
"dead": [token]}`: that share of requests gets one of: 429 and 500 (not taken), lost (taken, answered 500), dropped (no answer),
slow (late); these tokens are none any more.
"""

import json
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, rsa

KINDS: Final = ("429", "500", "lost", "dropped", "slow")
SLOW_S: Final = 0.3
PROJECT, ACCOUNT, BUNDLE, TEAM, KEY_ID = "olo-push", "push@olo-push.example", "app.olo", "TEAM123456", "KEY1234567"
APP_ID, REST_KEY = "11111111-2222-3333-4444-555555555555", "rest-key"
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
# Whoever is asked for a token: this is for Google, and no other use of the key is taken for it.
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RESERVED: Final = re.compile(r"from|message_type|google.*|gcm.*")
HEX: Final = re.compile(r"[0-9a-f]{64}")
# What tokens of another app begin with.
FOREIGN: Final = "foreign"
APPLE_TOKEN_S: Final = 3_600


class Pushed(NamedTuple):
    """A push that was taken: where, for which phone's token, under which id, and what it said. `heard`: whether the answer went
    out that says so; `at`: Unix seconds."""

    provider: str
    token: str
    id: str
    occurrence: str
    title: str
    body: str
    badge: int | None
    kept_s: int
    heard: bool = True
    at: float = 0.0


class Answer(NamedTuple):
    """Status, body and headers; `pushed`: what is taken with it."""

    status: int
    body: Any
    pushed: Pushed | None = None
    headers: Mapping[str, str] = {}


def need(fine: Any, what: str) -> None:
    """Refuse what is against the contract. Errors: ValueError."""
    if not fine:
        raise ValueError(what)


def settings(folder: Path, url: str, apple_url: str) -> dict[str, str]:
    """What leads a platform to these stand-ins, by the keys in a folder."""
    return {
        "OLO_PUSH": "fcm", "OLO_PUSH_SECOND": "onesignal", "OLO_FCM_URL": url, "OLO_FCM_KEY_FILE": f"{folder}/google.json",
        "OLO_ONESIGNAL_URL": url, "OLO_ONESIGNAL_APP_ID": APP_ID, "OLO_ONESIGNAL_KEY": REST_KEY,
        "OLO_APNS_URL": apple_url, "OLO_APNS_KEY_FILE": f"{folder}/apple.p8", "OLO_APNS_KEY_ID": KEY_ID,
        "OLO_APNS_TEAM_ID": TEAM, "OLO_BUNDLE_IOS": BUNDLE,
    }  # fmt: skip


class Keys:
    """The credentials that a platform is given for these stand-ins, as files; they open nothing."""

    def __init__(self, folder: Path, url: str, apple_url: str) -> None:
        self.google = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.apple = ec.generate_private_key(ec.SECP256R1())
        pem = (forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        account = {
            "type": "service_account", "project_id": PROJECT, "client_email": ACCOUNT, "private_key_id": "k1",
            "private_key": self.google.private_bytes(*pem).decode(), "token_uri": f"{url}/token",
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "google.json").write_text(json.dumps(account))
        (folder / "apple.p8").write_bytes(self.apple.private_bytes(*pem))
        self.environment = settings(folder, url, apple_url)


class PushVendors:
    """All of them, and what they have taken; `wrong`: requests against the contract; `on_push` is told of each push."""

    def __init__(self, keys: Keys, on_push: Callable[[Pushed], None] = lambda _: None) -> None:
        self.keys = keys
        self.taken: list[Pushed] = []
        self.wrong: list[str] = []
        self.requests: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.dead: set[str] = set()
        self.share = 0.0
        self.kinds: tuple[str, ...] = KINDS
        self._bearers: set[str] = set()
        self._repeats: dict[str, Answer] = {}
        self._issued: dict[int, float] = {}
        self._chance = random.Random(1)
        self._lock = threading.Lock()
        self._on_push = on_push
        self._routes = {
            "/token": self._token, "/v1/projects/": self._fcm, "/notifications": self._onesignal, "/3/": self._apple,
        }  # fmt: skip

    def knows(self, path: str) -> bool:
        """Whether a path is one of theirs."""
        return path.startswith(tuple(self._routes))

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """What a request is answered with; None: nothing is, the line is cut."""
        with self._lock:
            trouble = self._chance.choice(self.kinds) if self._chance.random() < self.share else ""
        if trouble == "dropped":
            return None
        if trouble in ("429", "500"):
            return Answer(
                int(trouble), {"error": {"code": int(trouble)}}, None, {"retry-after": "1"} if trouble == "429" else {}
            )
        if trouble == "slow":
            time.sleep(SLOW_S)
        act = next((act for prefix, act in self._routes.items() if path.startswith(prefix)), None)
        if act is None:
            return Answer(404, {"error": "nobody is here"})
        with self._lock:
            self.requests[act.__name__] += 1
            try:
                answer = act(path, headers, body)
            except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
                self.wrong.append(f"{act.__name__} {path}: {error!r}")
                answer = Answer(
                    400, {"error": {"code": 400, "message": f"{error!r}"}, "errors": [f"{error!r}"], "reason": "Bad"}
                )
            if answer.pushed:
                self.taken.append(answer.pushed._replace(heard=trouble != "lost", at=time.time()))
        if answer.pushed:
            self._on_push(answer.pushed)
        return Answer(500, {"error": {"code": 500, "message": "lost"}}) if trouble == "lost" else answer

    def control(self, path: str, body: bytes) -> Any:
        """`/received`, `/trouble`."""
        with self._lock:
            if path == "/trouble":
                wanted = json.loads(body)
                self.share, self.kinds = float(wanted.get("share", 0)), tuple(wanted.get("kinds", KINDS))
                self.dead |= set(wanted.get("dead", ()))
            taken = [one._asdict() for one in self.taken]
            return {"taken": taken, "wrong": self.wrong[:100], "requests": self.requests, "refused": self.refused}

    def _is_dead(self, token: str) -> bool:
        self.refused[token] += token in self.dead
        return token in self.dead

    # --- Google ---------------------------------------------------------------------------------------------------------------

    def _token(self, _: str, headers: Mapping[str, str], body: bytes) -> Answer:
        need(headers["content-type"] == "application/x-www-form-urlencoded", "content-type")
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        need(form["grant_type"] == GRANT, "grant_type")
        told = jwt.decode(form["assertion"], self.keys.google.public_key(), ["RS256"], audience=AUDIENCE)
        need((told["iss"], told["scope"]) == (ACCOUNT, SCOPE), "iss or scope")
        need(0 < told["exp"] - told["iat"] <= 3_600, "exp")
        bearer = f"bearer-{len(self._bearers)}"
        self._bearers.add(bearer)
        return Answer(200, {"access_token": bearer, "expires_in": 3_599, "token_type": "Bearer"})

    def forget_bearers(self) -> None:
        """No token that was given so far is taken any more."""
        self._bearers = {f"gone-{one}" for one in self._bearers}

    def _fcm(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("authorization", "").removeprefix("Bearer ") not in self._bearers:
            return _google_error(401, "UNAUTHENTICATED")
        need(path == f"/v1/projects/{PROJECT}/messages:send" and headers["content-type"] == "application/json", "path")
        told = json.loads(body)
        need(set(told) <= {"message", "validate_only"}, "fields")
        message = told["message"]
        need(set(message) <= {"token", "notification", "data", "android", "apns"}, "fields of the message")
        data, shown, android, apns = (message.get(name, {}) for name in ("data", "notification", "android", "apns"))
        need(all(isinstance(value, str) and not RESERVED.fullmatch(name) for name, value in data.items()), "data")
        need(set(shown) <= {"title", "body"} and len(json.dumps([shown, data], ensure_ascii=False).encode()) <= 4_096, "size")
        need(re.fullmatch(r"\d+s", android["ttl"]) and android["priority"] in ("NORMAL", "HIGH"), "android")
        need(0 <= int(android["ttl"][:-1]) <= 28 * 86_400, "ttl")
        extra, aps = apns["headers"], apns["payload"]["aps"]
        need(all(isinstance(value, str) for value in extra.values()), "apns headers")
        need(len(extra.get("apns-collapse-id", "").encode()) <= 64, "apns-collapse-id")
        need(
            shown or (extra["apns-push-type"], extra["apns-priority"], aps["content-available"]) == ("background", "5", 1),
            "silent",
        )
        token = message["token"]
        if re.fullmatch(r"[0-9a-f-]{36}", token):
            violation = {"field": "message.token", "description": "not a valid FCM registration token"}
            return _google_error(400, "INVALID_ARGUMENT", {"@type": "BadRequest", "fieldViolations": [violation]})
        if token.startswith(FOREIGN):
            return _google_error(403, "SENDER_ID_MISMATCH")
        if self._is_dead(token):
            return _google_error(404, "UNREGISTERED")
        name = f"projects/{PROJECT}/messages/{len(self.taken)}"
        texts = shown or data
        badge = aps.get("badge")
        pushed = Pushed(
            "fcm",
            token,
            name,
            data["occurrence"],
            texts.get("title", ""),
            texts.get("body", ""),
            badge,
            int(android["ttl"][:-1]),
        )
        return Answer(200, {"name": name}, pushed)

    # --- OneSignal ------------------------------------------------------------------------------------------------------------

    def _onesignal(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != f"Key {REST_KEY}":
            return Answer(
                403, {"errors": ["Access denied.  Please include an 'Authorization: ...' header with a valid API key"]}
            )
        need(path == "/notifications" and headers["content-type"] == "application/json", "path")
        told = json.loads(body)
        need(told["app_id"] == APP_ID and told["target_channel"] == "push", "app_id")
        need(not {"include_aliases", "included_segments", "filters", "external_id"} & set(told), "targeting")
        (subscription,) = told["include_subscription_ids"]
        need(str(uuid.UUID(subscription)) == subscription.lower(), "subscription id")
        key = told["idempotency_key"]
        need(str(uuid.UUID(key)) == key, "idempotency_key")
        need(told.get("contents", {}).get("en") or told.get("content_available") is True, "contents")
        need(len(json.dumps(told["data"], ensure_ascii=False).encode()) <= 2_048 and len(body) <= 5_000, "size")
        need(isinstance(told["ttl"], int) and told["ttl"] >= 0 and told["priority"] in (5, 10), "ttl or priority")
        need(len(told.get("collapse_id", "").encode()) <= 64, "collapse_id")
        if key in self._repeats:
            return self._repeats[key]._replace(headers={"Idempotent-Replayed": "true"}, pushed=None)
        if self._is_dead(subscription):
            return Answer(200, {"id": "", "errors": ["All included players are not subscribed"]})
        title, text = told.get("headings", {}).get("en", ""), told.get("contents", {}).get("en", "")
        pushed = Pushed(
            "onesignal", subscription, key, told["data"]["occurrence"], title, text, told.get("ios_badgeCount"), told["ttl"]
        )
        self._repeats[key] = Answer(200, {"id": str(uuid.uuid4()), "external_id": None}, pushed)
        return self._repeats[key]

    # --- Apple ----------------------------------------------------------------------------------------------------------------

    def _apple(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        given = headers["authorization"]
        need(given.startswith("bearer ") and jwt.get_unverified_header(given[7:])["kid"] == KEY_ID, "authorization")
        try:
            told = jwt.decode(given[7:], self.keys.apple.public_key(), ["ES256"], options={"verify_iat": False})
        except jwt.PyJWTError:
            return Answer(403, {"reason": "InvalidProviderToken"})
        if told["iss"] != TEAM or set(told) != {"iss", "iat"}:
            return Answer(403, {"reason": "InvalidProviderToken"})
        if not -60 <= time.time() - told["iat"] <= APPLE_TOKEN_S:
            return Answer(403, {"reason": "ExpiredProviderToken"})
        self._issued.setdefault(told["iat"], time.time())
        last = sorted(self._issued)[-2:]
        if len(last) == 2 and last[1] - last[0] < 1_200:
            return Answer(429, {"reason": "TooManyProviderTokenUpdates"})
        need(str(uuid.UUID(headers["apns-id"])) == headers["apns-id"], "apns-id")
        need((headers["apns-push-type"], headers["apns-topic"]) == ("voip", f"{BUNDLE}.voip"), "push type or topic")
        need((headers["apns-priority"], headers["apns-expiration"]) == ("10", "0"), "priority or expiration")
        need(len(headers.get("apns-collapse-id", "").encode()) <= 64, "apns-collapse-id")
        if len(body) > 5_120:
            return Answer(413, {"reason": "PayloadTooLarge"})
        payload = json.loads(body)
        need(isinstance(payload["aps"], dict), "aps")
        token = path.removeprefix("/3/device/")
        if not HEX.fullmatch(token):
            return Answer(400, {"reason": "BadDeviceToken"})
        if token.startswith("f0"):
            return Answer(400, {"reason": "DeviceTokenNotForTopic"})
        if self._is_dead(token):
            return Answer(410, {"reason": "Unregistered", "timestamp": int(time.time() * 1_000) - 60_000})
        texts = payload.get("title", ""), payload.get("body", "")
        return Answer(200, "", Pushed("apns", token, headers["apns-id"], payload["occurrence"], *texts, None, 0))


def _google_error(status: int, code: str, detail: dict[str, Any] | None = None) -> Answer:
    details = [detail or {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]
    return Answer(status, {"error": {"code": status, "message": code, "status": code, "details": details}})


class _Handler(BaseHTTPRequestHandler):
    vendors: PushVendors

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path in ("/received", "/trouble"):
            answer: Answer | None = Answer(200, self.vendors.control(self.path, body))
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = self.vendors.answer(self.path, headers, body)
        if answer is None:
            self.close_connection = True
            return
        content = content_of(answer)
        self.send_response(answer.status)
        for name, value in {"content-length": str(len(content)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - the base class's names

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


def content_of(answer: Answer) -> bytes:
    """An answer's body."""
    return answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()


class Server(ThreadingHTTPServer):
    """Serves many at once; `vendors` are set when their keys know its port."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.handler = type("Handler", (_Handler,), {})
        super().__init__(("127.0.0.1", port), self.handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
