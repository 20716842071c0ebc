"""What a vendor's HTTP answer means for an effect."""

from datetime import datetime
from typing import Final, NamedTuple

import httpx

from schemas.outbox import AttemptOutcome
from schemas.push import PushFailure
from schemas.timetable_plan import Plan

# Enough of an answer to see what was wrong, little enough to keep.
DETAIL: Final = 500
MAX_RETRY_AFTER_S: Final = 3_600.0


class Attempt(NamedTuple):
    """One attempt: its outcome, the HTTP status (0: no answer), what the vendor said, how long it wants to be left alone;
    of a job's plan, the plan. `doubtful`: it failed, and may have been taken all the same. Of a push: who is to be asked, why
    it was refused, and when the phone's token died."""

    outcome: AttemptOutcome
    status: int = 0
    detail: str = ""
    retry_after_s: float = 0.0
    plan: Plan | None = None
    doubtful: bool = False
    provider: str = ""
    failure: PushFailure | None = None
    dead_at: datetime | None = None


def read(answer: httpx.Response) -> Attempt:
    """The usual reading: 2xx is taken, 408, 429 and 5xx are tried again, every other answer is a no for good."""
    detail = answer.text[:DETAIL]
    if answer.is_success:
        return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, detail)
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        doubtful = answer.status_code != 429
        return Attempt(AttemptOutcome.FAILED, answer.status_code, detail, _retry_after_s(answer), doubtful=doubtful)
    return Attempt(AttemptOutcome.REFUSED, answer.status_code, detail)


def network_failure(error: httpx.HTTPError) -> Attempt:
    """No answer came: it may or may not have been done, unless nobody was reached."""
    unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return Attempt(AttemptOutcome.FAILED, 0, f"{type(error).__name__}: {error}"[:DETAIL], doubtful=not unreached)


def _retry_after_s(answer: httpx.Response) -> float:
    """Seconds of a Retry-After header; its other form, a date, counts as none: our own pauses grow anyway."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isdecimal() else 0.0
