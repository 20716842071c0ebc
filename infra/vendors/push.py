"""Pushes, whoever carries them: who is asked, how long there is, what fits, and what is the same in all vendors' answers.

Nobody is asked by an attempt at `ANY_PROVIDER`: it says who will be, and the outbox keeps that. Behind a provider that says no
for good comes the second one, if the phone has an address there and the token was not the reason; the outbox asks it only where
no attempt is in doubt. An attempt is in doubt if the vendor may have taken the push and nobody has heard so.
"""

import time
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpx

from infra.config import Config, PushProvider, missing_push_settings
from infra.vendors import answers
from infra.vendors.answers import DETAIL, Attempt
from schemas.log.base import now
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.push import ANY_PROVIDER, TOKEN_FAILURES, Push, PushChannel, PushFailure

TIMEOUT_S: Final = 10.0
# Vendors answer in a line; whoever says more is none.
MAX_ANSWER: Final = 64 * 1024
# Of Apple and of OneSignal.
MAX_COLLAPSE_ID: Final = 64
# Ids of pushes at vendors are made of ours, so that a retry has the same one.
NAMESPACE: Final = uuid.UUID("5d0c8a0e-6a5e-5c39-9a57-0c2c6b0f7d1e")
TOO_LATE: Final = Attempt(AttemptOutcome.FAILED, 0, "too late")
ELLIPSIS: Final = "…"
JOINER: Final = "\u200d"


def push_of(due: EffectDue) -> Push:
    """What is to be pushed."""
    assert due.push is not None
    return due.push


def request_id(due: EffectDue) -> str:
    """The push's id at a vendor, the same for each attempt: a UUID."""
    return str(uuid.uuid5(NAMESPACE, due.effect))


def left_s(due: EffectDue) -> float:
    """How long the push is of use."""
    return (due.expires_at - now()).total_seconds()


def timeout_s(due: EffectDue) -> float:
    """How long an answer is waited for: not beyond the push's end."""
    return min(TIMEOUT_S, max(left_s(due), 0.1))


def kept_s(due: EffectDue) -> int:
    """For how long a vendor may keep it for a phone that is off; a call rings now, or never."""
    return 0 if push_of(due).channel is PushChannel.VOIP else max(int(left_s(due)), 0)


# --- who is asked -----------------------------------------------------------------------------------------------------------


def providers(push: Push, config: Config) -> list[PushProvider]:
    """Who may be asked, in order."""
    chosen = dict.fromkeys((config.push, config.push_second))
    return [one for one in chosen if one is not PushProvider.NONE and push.address(one)]


def route(due: EffectDue, config: Config, _: httpx.Client) -> Attempt:
    """Say who will be asked."""
    found = providers(push_of(due), config)
    if found:
        return Attempt(AttemptOutcome.ROUTED, provider=found[0])
    nobody = "OLO_PUSH names nobody" if config.push is PushProvider.NONE else "the phone has no address at the provider"
    return Attempt(AttemptOutcome.REFUSED, 0, nobody, failure=PushFailure.NOT_CONFIGURED)


def refusal_of(due: EffectDue, config: Config) -> Attempt | None:
    """Why nobody is asked any more, or at all: it is too late, or the provider has no keys here. None: it may be asked."""
    if left_s(due) <= 0:
        return TOO_LATE
    missing = [] if due.provider == ANY_PROVIDER else missing_push_settings(due.provider, config)
    if not missing:
        return None
    return Attempt(AttemptOutcome.REFUSED, 0, f"not set: {', '.join(missing)}", failure=PushFailure.NOT_CONFIGURED)


def onward(due: EffectDue, config: Config, made: Attempt) -> Attempt:
    """A refused attempt, or that the second provider is to be asked, where there is one that was not."""
    if made.outcome is not AttemptOutcome.REFUSED or made.doubtful or made.failure in TOKEN_FAILURES:
        return made
    found = providers(push_of(due), config)
    behind = found[found.index(PushProvider(due.provider)) + 1 :] if due.provider in found else []
    return made._replace(outcome=AttemptOutcome.ROUTED, provider=behind[0]) if behind else made


# --- what fits --------------------------------------------------------------------------------------------------------------


def cut(text: str, max_bytes: int) -> str:
    """The text's beginning, of so many bytes of UTF-8 at most, with an ellipsis where something is missing; letters stay whole,
    with their marks, and so do emojis that are joined of several."""
    if len(text.encode()) <= max_bytes:
        return text
    size = len(text.encode()[: max(max_bytes - len(ELLIPSIS.encode()), 0)].decode(errors="ignore"))
    while size and _belongs(text, size):
        size -= 1
    return text[:size].rstrip() + ELLIPSIS if size else ""


def _belongs(text: str, at: int) -> bool:
    """Whether the character at this place is one letter with what stands in front of it."""
    before, here = text[at - 1], text[at]
    if JOINER in {here, before} or "\U0001f3fb" <= here <= "\U0001f3ff":
        return True
    if _is_flag(here) and _is_flag(before):
        flags = len(text[:at]) - len(text[:at].rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
        return bool(flags % 2)
    return unicodedata.category(here) in ("Mn", "Mc", "Me")


def _is_flag(letter: str) -> bool:
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def fit(pack: Callable[[str, str], bytes], push: Push, max_bytes: int) -> bytes:
    """The request of a push, packed with its title and body, of which as much is cut as is too much. Errors: ValueError, if it
    is too large without both."""
    title, body = push.title, push.body
    packed = pack(title, body)
    if (excess := len(packed) - max_bytes) > 0:
        body = cut(body, len(body.encode()) - excess)
        packed = pack(title, body)
    if (excess := len(packed) - max_bytes) > 0:
        title = cut(title, len(title.encode()) - excess)
        packed = pack(title, body)
    if len(packed) > max_bytes:
        raise ValueError(f"{len(packed)} bytes without title and body, of {max_bytes} at most")
    return packed


def collapse_id(push: Push) -> str:
    """What a later push takes the place of, on the phone; a key that is no header of 64 bytes, by its digest. Without a key of
    its own a push replaces nothing but its repeats."""
    key = push.collapse_key or push.occurrence
    fits = len(key) <= MAX_COLLAPSE_ID and key.isascii() and key.isprintable()
    return key if fits else uuid.uuid5(NAMESPACE, key).hex


# --- what was answered ------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """What is sent to a vendor, and until when an answer is waited for."""

    url: str
    headers: dict[str, str]
    content: bytes
    timeout_s: float = TIMEOUT_S


def post(client: httpx.Client, request: Request) -> httpx.Response:
    """Ask a vendor; of a huge answer its beginning. Errors: httpx.HTTPError, also if it comes by drops and is not all there in
    time."""
    until = time.monotonic() + request.timeout_s
    headers = {"content-type": "application/json", "accept-encoding": "identity", **request.headers}
    content = bytearray()
    with client.stream(
        "POST", request.url, headers=headers, content=request.content, timeout=request.timeout_s
    ) as answer:  # fmt: skip
        for part in answer.iter_bytes():
            content += part[: MAX_ANSWER - len(content)]
            if len(content) >= MAX_ANSWER:
                break
            if time.monotonic() > until:
                raise httpx.ReadTimeout("the answer came by drops")
    kept = {name: value for name, value in answer.headers.items() if name == "retry-after"}
    return httpx.Response(answer.status_code, headers=kept, content=bytes(content))


def said(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object that a vendor answered; empty: it was none."""
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read(answer: httpx.Response) -> Attempt:
    """The usual reading. What is neither taken nor to be tried again is invalid, until the vendor says something else."""
    found = answers.read(answer)
    return found._replace(failure=PushFailure.INVALID) if found.outcome is AttemptOutcome.REFUSED else found


def refused(answer: httpx.Response, failure: PushFailure, **more: Any) -> Attempt:
    """A no for good."""
    return Attempt(AttemptOutcome.REFUSED, answer.status_code, answer.text[:DETAIL], failure=failure, **more)


def strange(answer: httpx.Response, vendor: str) -> Attempt:
    """A success that the vendor would not answer so: somebody in between did, and nobody knows whether it came there."""
    detail = f"not {vendor}'s answer: {answer.text}"[:DETAIL]
    return Attempt(AttemptOutcome.FAILED, answer.status_code, detail, doubtful=True)
