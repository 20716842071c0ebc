"""Vendors' contracts: token layouts read by independent code, webhook signatures, and what an answer means."""

import base64
import hashlib
import hmac
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from infra import vendors as outside
from infra.config import Config, ConfigError, load
from infra.vendors import agora, appsflyer, twilio
from schemas.log.base import now
from schemas.outbox import AttemptOutcome, EffectDue, EffectKind
from schemas.video_room import LeaveReason
from tests.vendor_stub import VendorStub

APP, CERTIFICATE = "970ca35de60c44645bbae8a215061b33", "5cfd2fd1755d40ecb72977518be15d3b"


@pytest.fixture
def config(vendors: VendorStub) -> Config:
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in vendors.environment.items()})


# --- AppsFlyer's times and ids ---------------------------------------------------------------------------------------------

AT = "2026-11-24 04:00:00.000"
BEFORE_THERE_WERE_PHONES = ("9999-12-31 23:59:59", "2200-01-01 00:00:00", "0001-01-01 00:00:00", "1999-01-01")


def pushed(**more: str) -> appsflyer.Push:
    body = {"appsflyer_id": "1415211453000-6513894", "event_name": "install", "event_time": AT}
    return appsflyer.read_push(body | more, datetime(2026, 11, 24, 5, tzinfo=UTC))


@pytest.mark.parametrize("name", ["install_time", "attributed_touch_time"])
@pytest.mark.parametrize("text", BEFORE_THERE_WERE_PHONES)
def test_a_time_that_cannot_be_counts_as_not_told(name: str, text: str) -> None:
    touch = pushed(**{name: text}).touch
    assert touch is not None
    assert (touch.at.isoformat(), touch.touched_at) == ("2026-11-24T04:00:00+00:00", None)


@pytest.mark.parametrize(("name", "text"), [
    ("event_time", "0001-01-01T00:00:00+14:00"), ("event_time", "9999-12-31"),
    ("appsflyer_id", "x" * 129), ("appsflyer_id", "ж" * 65),
])  # fmt: skip
def test_a_push_whose_time_or_id_is_none_is_an_error_with_a_code(name: str, text: str) -> None:
    with pytest.raises(appsflyer.PushError):
        pushed(**{name: text})


# --- tokens -----------------------------------------------------------------------------------------------------------------


class Reader:
    """Agora's packed little-endian values, read from the layout's description."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def take(self, form: str) -> int:
        found, self.content = struct.unpack_from(form, self.content), self.content[struct.calcsize(form) :]
        return int(found[0])

    def bytes(self) -> bytes:
        size = self.take("<H")
        found, self.content = self.content[:size], self.content[size:]
        return found


def test_007_is_laid_out_and_signed_as_described() -> None:
    token = agora.token_007(APP, CERTIFICATE, "call-1", 2, 3_600, issued_at_s=1_700_000_000, salt=77)
    assert token.startswith("007")
    found = Reader(zlib.decompress(base64.b64decode(token[3:])))
    signature, info = found.bytes(), found.content
    head = Reader(info)
    assert head.bytes().decode() == APP
    assert [head.take("<I") for _ in range(3)] == [1_700_000_000, 3_600, 77]
    assert (head.take("<H"), head.take("<H")) == (1, 1)
    assert {head.take("<H"): head.take("<I") for _ in range(head.take("<H"))} == dict.fromkeys((1, 2, 3, 4), 3_600)
    assert (head.bytes(), head.bytes(), head.content) == (b"call-1", b"2", b"")
    key = CERTIFICATE.encode()
    for part in (1_700_000_000, 77):
        key = hmac.digest(struct.pack("<I", part), key, "sha256")
    assert hmac.digest(key, info, "sha256") == signature


def test_006_is_laid_out_and_signed_as_described() -> None:
    token = agora.token_006(APP, CERTIFICATE, "call-1", 1, 1_900_000_000)
    assert token[:3] == "006"
    assert token[3:35] == APP
    found = Reader(base64.b64decode(token[35:]))
    signature, channel, uid, message = found.bytes(), found.take("<I"), found.take("<I"), found.bytes()
    assert (channel, uid) == (zlib.crc32(b"call-1"), zlib.crc32(b"1"))
    inner = Reader(message)
    inner.take("<I")
    inner.take("<I")
    assert {inner.take("<H"): inner.take("<I") for _ in range(inner.take("<H"))} == dict.fromkeys((1, 2, 3, 4), 1_900_000_000)
    assert hmac.digest(CERTIFICATE.encode(), f"{APP}call-11".encode() + message, "sha256") == signature


@pytest.fixture(scope="session")
def agora_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Agora's own token package for Node, where there is one and a registry to get it from."""
    if not shutil.which("npm"):
        pytest.skip("npm is not here: Agora's own verifier cannot be asked")
    folder = tmp_path_factory.mktemp("agora")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "agora-token@2.0.6"], cwd=folder, capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("npm could not fetch agora-token: Agora's own verifier cannot be asked")
    return folder


READ_BY_AGORA = """
const { AccessToken2 } = require('agora-token/src/AccessToken2');
const { AccessToken } = require('agora-token/src/AccessToken');
const [seven, six, app, certificate] = process.argv.slice(1);
const token = new AccessToken2('', '', 0, 0);
const read = token.from_string(seven);
const [rtc] = token.getServices(1);
const old = new AccessToken(app, certificate, 'call-1', 1);
const oldRead = old.fromString(six);
const again = new AccessToken(app, certificate, 'call-1', 1);
Object.assign(again, { salt: old.salt, ts: old.ts, messages: old.messages });
console.log(JSON.stringify({
    read, genuine: token.verifySignature(certificate), forged: token.verifySignature(app),
    app: token.appId.toString(), expire: token.expire, privileges: rtc.__privileges,
    channel: rtc.__channel_name.toString(), uid: rtc.__uid.toString(),
    oldRead, oldPrivileges: old.messages, oldAgain: again.build() === six,
}));
"""


@pytest.mark.platform
def test_both_tokens_are_what_agoras_own_package_reads(agora_node: Path) -> None:
    seven = agora.token_007(APP, CERTIFICATE, "call-1", 2, 3_600)
    six = agora.token_006(APP, CERTIFICATE, "call-1", 1, 1_900_000_000)
    command = ["node", "-e", READ_BY_AGORA, seven, six, APP, CERTIFICATE]
    done = subprocess.run(command, cwd=agora_node, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "read": True, "genuine": True, "forged": False, "app": APP, "expire": 3_600, "channel": "call-1", "uid": "2",
        "privileges": dict.fromkeys("1234", 3_600),
        "oldRead": True, "oldPrivileges": dict.fromkeys("1234", 1_900_000_000), "oldAgain": True,
    }  # fmt: skip


def test_twilios_token_says_who_may_enter_which_room(config: Config) -> None:
    found = jwt.decode(
        twilio.token(config, "call-1", "sue", 600), "keysecret" * 4, algorithms=["HS256"], options={"verify_aud": False}
    )
    assert (found["iss"], found["sub"]) == ("SK1", "AC1")
    assert found["grants"] == {"identity": "sue", "video": {"room": "call-1"}}
    assert found["exp"] - found["nbf"] == 600 if "nbf" in found else found["exp"] > now().timestamp()
    header = jwt.get_unverified_header(twilio.token(config, "call-1", "sue", 600))
    assert (header["alg"], header["cty"]) == ("HS256", "twilio-fpa;v=1")


def test_a_provider_without_its_keys_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLO_VIDEO_PROVIDER", "agora")
    with pytest.raises(ConfigError, match=r"OLO_AGORA_APP_ID.*needed by OLO_VIDEO_PROVIDER=agora"):
        load()


# --- webhooks ---------------------------------------------------------------------------------------------------------------

NOTICE: dict[str, Any] = {
    "noticeId": "n1", "productId": 1, "eventType": 104, "notifyMs": 1_700_000_000_123, "sid": "s",
    "payload": {"channelName": "call-1", "uid": 2, "platform": 1, "clientSeq": 9, "ts": 1_700_000_000, "reason": 1},
}  # fmt: skip
BODY = json.dumps(NOTICE).encode()


def signed(digest: Callable[..., Any], secret: bytes = b"hook") -> str:
    return hmac.new(secret, BODY, digest).hexdigest()


@pytest.mark.parametrize(
    ("headers", "genuine"),
    [
        ({"agora-signature-v2": signed(hashlib.sha256)}, True),
        ({"agora-signature": signed(hashlib.sha1)}, True),
        ({"agora-signature-v2": signed(hashlib.sha256).upper()}, True),
        ({"agora-signature-v2": signed(hashlib.sha256, b"other")}, False),
        ({"agora-signature-v2": "0" * 64, "agora-signature": signed(hashlib.sha1)}, False),
        ({"agora-signature-v2": ""}, False),
        ({}, False),
    ],
)
def test_agoras_signature(headers: dict[str, str], genuine: bool) -> None:
    assert agora.genuine("hook", BODY, headers) is genuine


@pytest.mark.parametrize(
    ("kind", "reason", "joined", "why"),
    [
        (103, 0, True, LeaveReason.OTHER),
        (107, 0, True, LeaveReason.OTHER),
        (104, 1, False, LeaveReason.QUIT),
        (104, 2, False, LeaveReason.LOST),
        (106, 3, False, LeaveReason.KICKED),
        (108, 10, False, LeaveReason.LOST),
        (108, 999, False, LeaveReason.OTHER),
    ],
)
def test_agoras_notices(kind: int, reason: int, joined: bool, why: LeaveReason) -> None:
    found = agora.read_notice(NOTICE | {"eventType": kind, "payload": NOTICE["payload"] | {"reason": reason}})
    assert found is not None
    assert (found.channel, found.member, found.joined, found.seq, found.reason) == ("call-1", "2", joined, 9, why)


def test_other_notices_and_the_health_check_are_nobodys_coming_or_going() -> None:
    assert agora.read_notice(NOTICE | {"eventType": 101}) is None
    assert agora.read_notice(NOTICE | {"payload": NOTICE["payload"] | {"channelName": "test_webhook"}}) is None
    with pytest.raises(KeyError):
        agora.read_notice({"eventType": 104})


FORM = {
    "StatusCallbackEvent": "participant-disconnected", "RoomSid": "RM1", "RoomName": "call-1", "ParticipantSid": "PA1",
    "ParticipantIdentity": "sue", "Timestamp": "2026-11-24T04:00:00.123Z", "SequenceNumber": "3",
}  # fmt: skip


def twilio_signature(
    form: dict[str, str], url: str = "https://olo.example/v1/webhooks/twilio", token: bytes = b"authtoken"
) -> str:
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(token, text.encode(), "sha1")).decode()


def test_twilios_signature_and_callback(config: Config) -> None:
    path = "/v1/webhooks/twilio"
    assert twilio.genuine(config, path, FORM, twilio_signature(FORM))
    assert not twilio.genuine(config, path, FORM | {"RoomName": "call-2"}, twilio_signature(FORM))
    assert not twilio.genuine(config, path, FORM, twilio_signature(FORM, token=b"other"))
    assert not twilio.genuine(config, path, FORM, "")
    found = twilio.read_callback(FORM)
    assert found is not None
    assert (found.channel, found.member, found.joined, found.reason) == ("call-1", "sue", False, LeaveReason.OTHER)
    assert twilio.read_callback(FORM | {"StatusCallbackEvent": "track-added"}) is None


# --- doing it ---------------------------------------------------------------------------------------------------------------


def due(provider: str, subject: str = "call-1") -> EffectDue:
    return EffectDue(
        id="d", at=now(), cause="c", effect="e", kind=EffectKind.CLOSE_ROOM, provider=provider, subject=subject, attempt=1,
        expires_at=now(),
    )  # fmt: skip


@pytest.mark.parametrize("provider", ["agora", "twilio"])
@pytest.mark.parametrize(
    "case",
    [
        ((None, {}), (AttemptOutcome.ACCEPTED, 0.0)),
        ((429, {"retry-after": "7"}), (AttemptOutcome.FAILED, 7.0)),
        ((500, {}), (AttemptOutcome.FAILED, 0.0)),
        ((503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), (AttemptOutcome.FAILED, 0.0)),
        ((401, {}), (AttemptOutcome.REFUSED, 0.0)),
        ((400, {}), (AttemptOutcome.REFUSED, 0.0)),
    ],
)
def test_closing_a_room_fits_the_contract_and_its_answer_is_understood(
    config: Config,
    vendors: VendorStub,
    client: httpx.Client,
    provider: str,
    case: tuple[tuple[int | None, dict[str, str]], tuple[AttemptOutcome, float]],
) -> None:
    (status, headers), (outcome, retry_after_s) = case
    vendors.trouble["call-1"] = [(status, headers)] if status else []
    found = outside.attempt(due(provider), config, client)
    assert (found.outcome, found.status, found.retry_after_s) == (outcome, status or 200, retry_after_s)


def test_no_answer_an_unknown_room_and_an_unknown_vendor(config: Config, vendors: VendorStub, client: httpx.Client) -> None:
    attempt = outside.attempt
    nowhere = config.model_copy(update={"agora_url": "http://127.0.0.1:1"})
    assert attempt(due("agora"), nowhere, client).outcome is AttemptOutcome.FAILED
    vendors.trouble["call-1"] = [(404, {})]
    assert attempt(due("twilio"), config, client).outcome is AttemptOutcome.ACCEPTED
    assert attempt(due("zoom"), config, client).outcome is AttemptOutcome.REFUSED


def test_every_vendor_says_how_often_it_may_be_asked() -> None:
    assert all(way.per_s > 0 for way in outside.VENDOR_CALLS.values())
