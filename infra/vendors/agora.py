"""Agora: tokens for a channel (006 and 007), putting everybody out of one, and notices of who came and went.

Contract: Agora's RTC token formats, `POST /dev/v1/kicking-rule`, and the notification service of its RTC product. A channel is
a call; uid 1 is the caller, 2 the callee. 006 has absolute expiries, 007 expiries in seconds behind its issue time.
"""

import base64
import hashlib
import hmac
import secrets
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final

import httpx
from agora_token_builder import RtcTokenBuilder

from infra.config import Config
from infra.vendors import answers
from infra.vendors.notices import Notice
from schemas.outbox import EffectDue
from schemas.video_room import LeaveReason

# The documented limit of the kicking API.
CALLS_PER_S: Final = 10.0
# A request may take so long; behind a time-out the same rule is asked for again, which does no harm.
TIMEOUT_S: Final = 20.0
# The channel's name is the call's id, which is never used again: it stays shut for a day, the longest a rule can.
SHUT_MINUTES: Final = 1440
ROLE_PUBLISHER: Final = 1
SERVICE_RTC: Final = 1
# join the channel, publish sound, picture, data
PRIVILEGES: Final = (1, 2, 3, 4)
JOINS: Final = frozenset({103, 105, 107})
LEAVES: Final = frozenset({104, 106, 108})
REASONS: Final = {1: LeaveReason.QUIT, 2: LeaveReason.LOST, 3: LeaveReason.KICKED, 10: LeaveReason.LOST}
HEALTH_CHECK: Final = "test_webhook"


def token_006(app_id: str, certificate: str, channel: str, uid: int, expires_at_s: int) -> str:
    """A 006 token that may join and publish; `expires_at_s`: Unix seconds, at most a day from now."""
    made: str = RtcTokenBuilder.buildTokenWithUid(app_id, certificate, channel, uid, ROLE_PUBLISHER, expires_at_s)
    return made


def token_007(
    app_id: str, certificate: str, channel: str, uid: int, lives_s: int, *, issued_at_s: int = 0, salt: int = 0
) -> str:
    """A 007 token that may join and publish for `lives_s` seconds (at most a day) behind its issue."""
    issued_at_s, salt = issued_at_s or int(time.time()), salt or secrets.randbelow(99_999_999) + 1
    privileges = struct.pack("<H", len(PRIVILEGES)) + b"".join(struct.pack("<HI", p, lives_s) for p in PRIVILEGES)
    service = struct.pack("<H", SERVICE_RTC) + privileges + _text(channel) + _text(str(uid) if uid else "")
    info = _text(app_id) + struct.pack("<IIIH", issued_at_s, lives_s, salt, 1) + service
    key = _hmac(struct.pack("<I", salt), _hmac(struct.pack("<I", issued_at_s), certificate.encode()))
    signature = _hmac(key, info)
    return "007" + base64.b64encode(zlib.compress(_bytes(signature) + info)).decode()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _bytes(content: bytes) -> bytes:
    return struct.pack("<H", len(content)) + content


def _text(content: str) -> bytes:
    return _bytes(content.encode())


def close_room(due: EffectDue, config: Config, client: httpx.Client) -> answers.Attempt:
    """Put everybody out of a call's channel, and let nobody in again."""
    body = {
        "appid": config.agora_app_id, "cname": due.subject, "ip": "", "time": SHUT_MINUTES, "privileges": ["join_channel"],
    }  # fmt: skip
    answer = client.post(
        f"{config.agora_url}/dev/v1/kicking-rule",
        json=body,
        auth=(config.agora_customer_id, config.agora_customer_secret),
        timeout=TIMEOUT_S,
    )
    return answers.read(answer)


# --- notices ----------------------------------------------------------------------------------------------------------------


def genuine(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a notice is Agora's: its HMAC over the raw body (SHA-256; SHA-1 where only the old header came)."""
    for name, digest in (("agora-signature-v2", hashlib.sha256), ("agora-signature", hashlib.sha1)):
        given = headers.get(name)
        if given is not None:
            due = hmac.new(secret.encode(), body, digest).hexdigest()
            return hmac.compare_digest(due.encode(), given.strip().lower().encode(errors="replace"))
    return False


def read_notice(body: Mapping[str, Any]) -> Notice | None:
    """A join or leave; None: a notice about something else, or the console's health check. Errors: KeyError, TypeError,
    ValueError for a body that is none."""
    payload, kind = body["payload"], int(body["eventType"])
    if kind not in JOINS | LEAVES or payload["channelName"] == HEALTH_CHECK:
        return None
    return Notice(
        notice=str(body["noticeId"]),
        channel=str(payload["channelName"]),
        member=str(payload["uid"]),
        joined=kind in JOINS,
        seq=int(payload["clientSeq"]),
        at_s=float(payload["ts"]),
        reason=REASONS.get(int(payload.get("reason", 0)), LeaveReason.OTHER),
        connection=str(payload.get("platform", "")),  # what is told of the phone, when it comes and when it goes
    )
