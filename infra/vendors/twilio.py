"""Twilio Video: access tokens, closing a room, and status callbacks of who came and went.

Contract: Twilio's access tokens (a JWT with a video grant), `POST /v1/Rooms/{name}` with Status=completed, and status callbacks
signed with X-Twilio-Signature. A room's unique name is the call's id, a participant's identity the user's id.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import httpx
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import VideoGrant
from twilio.request_validator import RequestValidator

from infra.config import Config
from infra.vendors import answers
from infra.vendors.notices import Notice
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.video_room import LeaveReason

CALLS_PER_S: Final = 10.0
TIMEOUT_S: Final = 10.0
EVENTS: Final = {"participant-connected": True, "participant-disconnected": False}


def token(config: Config, room: str, identity: str, lives_s: int) -> str:
    """A token for one user in one room, for `lives_s` seconds (at most a day)."""
    made = AccessToken(
        config.twilio_account_sid, config.twilio_key_sid, config.twilio_key_secret,
        identity=identity, ttl=lives_s, grants=[VideoGrant(room=room)],
    )  # fmt: skip
    text: str = made.to_jwt()
    return text


def close_room(due: EffectDue, config: Config, client: httpx.Client) -> answers.Attempt:
    """End a call's room: everybody in it is put out. There is none under the name any more: done."""
    answer = client.post(
        f"{config.twilio_url}/v1/Rooms/{due.subject}",
        data={"Status": "completed"},
        auth=(config.twilio_key_sid, config.twilio_key_secret),
        timeout=TIMEOUT_S,
    )
    if answer.status_code == 404:
        return answers.Attempt(AttemptOutcome.ACCEPTED, 404, "there is no such room any more")
    return answers.read(answer)


def genuine(config: Config, path: str, form: Mapping[str, str], signature: str) -> bool:
    """Whether a callback is Twilio's: its signature over the public URL and the sorted form."""
    validator = RequestValidator(config.twilio_auth_token)
    return bool(validator.validate(config.public_url.rstrip("/") + path, dict(form), signature))


def read_callback(form: Mapping[str, str]) -> Notice | None:
    """A join or leave; None: a callback about something else. SequenceNumber is not an order, the time is. A disconnect does
    not say why, so it hangs nobody up. Errors: KeyError, ValueError for a form that is none."""
    event = form["StatusCallbackEvent"]
    if event not in EVENTS:
        return None
    at = datetime.fromisoformat(form["Timestamp"])
    at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return Notice(
        notice=f"{form['RoomSid']}/{form['ParticipantSid']}/{event}",
        channel=form["RoomName"],
        member=form["ParticipantIdentity"],
        joined=EVENTS[event],
        seq=round(at_s * 1000),
        at_s=at_s,
        reason=LeaveReason.OTHER,
        connection=form["ParticipantSid"],
    )
