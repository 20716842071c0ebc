"""Dead letters for staff: what no decider could take, and to have it decided once more.

The list comes from the warehouse, which follows within seconds; a letter itself is read from the log, by its place there. Its
bytes are shown without what is personal, like every record. Whoever lets a letter go on says why.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final

from confluent_kafka import KafkaException
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from infra import dead_letters, migration
from infra.config import Config
from infra.errors import UsageError
from infra.vendors import hasura
from schemas.log.codec import decoder_of
from schemas.log.dead_letters import PARKING, DeadCause, DeadLetter
from schemas.log.outward import outward
from schemas.log.topics import DEAD_LETTERS
from serving.body import RequestBody
from serving.runtime.problems import Problem, responses, unavailable
from serving.runtime.processes import lines_of
from serving.runtime.staff import LogChange, LogLook
from serving.runtime.warehouse import rows_of

router = APIRouter(tags=["log"])

MAX_LETTERS: Final = 1_000
# What a redrive would decide is worked out by a process of its own, and told in so many lines of so many characters.
PREVIEW_S: Final = 60.0
MAX_LINES: Final = 200
MAX_LINE: Final = 1_000

# Of each place its last word: a letter, or that it was settled.
LETTERS: Final = """SELECT key AS place, max(offset) AS letter, argMax(type, offset) AS last, argMax(at, offset) AS at,
    JSONExtractString(argMax(value, offset), 'cause') AS cause, JSONExtractString(argMax(value, offset), 'kind') AS kind
FROM log WHERE topic = 'dead_letters' AND ({place:String} = '' OR key = {place:String})
    AND ({topic:String} = '' OR startsWith(key, concat({topic:String}, '/')))
GROUP BY key HAVING last = 'DeadLetter' ORDER BY letter DESC LIMIT {limit:UInt32} SETTINGS max_execution_time = 10"""

Place = Annotated[
    str,
    Field(
        max_length=128, pattern=r"^[A-Za-z0-9_.-]+/[0-9]{1,5}/[0-9]{1,19}$", description="<topic>/<partition>/<offset>",
        examples=["gift.inbox/0/17"],
    ),
]  # fmt: skip


Topic = Annotated[
    str,
    Query(
        max_length=100, pattern=r"^[A-Za-z0-9_.-]*$", description="only of this topic, or of whom notices come",
        examples=["webhooks.hasura"],
    ),
]  # fmt: skip


class LetterRow(BaseModel):
    """A letter that nobody has settled. `parks`: its entity waits for it, with all that came behind it. `kind`: of its message,
    where that could be read."""

    place: str
    at: datetime
    cause: DeadCause
    kind: str
    parks: bool


class LetterAnswer(LetterRow):
    """A letter with what was wrong, its key, and its bytes without what is personal, as text. `would`: what a redrive would do,
    a line each."""

    error: str
    key: str
    value_text: str
    would: list[str]


class LetterBody(RequestBody):
    """Which letter."""

    place: Place


class SettledLetterAnswer(BaseModel):
    """What was done."""

    told: str


@router.get("/v1/admin/dead-letters", response_model=list[LetterRow], responses=responses(401, 403, 422, 503))
async def list_dead_letters(
    _: LogLook, request: Request, limit: Annotated[int, Query(ge=1, le=MAX_LETTERS)] = 200, topic: Topic = ""
) -> Any:
    """The letters that nobody has settled, the newest first."""
    return [_row(row) for row in await rows_of(request, LETTERS, {"place": "", "topic": topic, "limit": limit})]


def _row(row: dict[str, Any]) -> LetterRow:
    return LetterRow(**{**row, "parks": row["cause"] in PARKING})


@router.get("/v1/admin/dead-letters/letter", response_model=LetterAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_dead_letter(place: Annotated[Place, Query()], _: LogLook, request: Request) -> Any:
    """A letter, and what a redrive would do."""
    row, letter = await _found(request, place)
    seen = outward(letter.topic, letter.value) or b""
    return LetterAnswer(
        **row.model_dump(), error=letter.error, key=letter.key.decode(errors="replace"),
        value_text=seen.decode(errors="replace"), would=await _preview(request.app.state.config, letter),
    )  # fmt: skip


async def _found(request: Request, place: str) -> tuple[LetterRow, DeadLetter]:
    """Errors: Problem 404, 503."""
    rows = await rows_of(request, LETTERS, {"place": place, "topic": "", "limit": 1})
    if not rows:
        raise Problem(404, "letter_unknown", f"nobody waits for {place}; see GET /v1/admin/dead-letters")
    config: Config = request.app.state.config
    at = f"{DEAD_LETTERS.name}/0/{rows[0]['letter']}"
    with _log_answers():
        value = await asyncio.to_thread(dead_letters.value_at, config, at)
    letter = decoder_of((DeadLetter,))(value)
    assert isinstance(letter, DeadLetter)
    return _row(rows[0]), letter


@router.post(
    "/v1/admin/dead-letters/redrive", response_model=SettledLetterAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503)
)
async def redrive_dead_letter(body: LetterBody, caller: LogChange, request: Request) -> Any:
    """Have a parked entity's records decided once more, or another letter's record written to its topic again. The answer says
    that the log has the word; what comes of it the list shows."""
    return await _settled(request, body.place, dead_letters.redrive_found, caller.user)


@router.post(
    "/v1/admin/dead-letters/drop", response_model=SettledLetterAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503)
)
async def drop_dead_letter(body: LetterBody, caller: LogChange, request: Request) -> Any:
    """Leave out all records that wait for a parked entity, which goes on without them; or take another letter off the list."""
    return await _settled(request, body.place, dead_letters.drop_found, caller.user)


async def _settled(request: Request, place: str, settle: Any, by: str) -> SettledLetterAnswer:
    _, letter = await _found(request, place)
    with _log_answers():
        return SettledLetterAnswer(told=await asyncio.to_thread(settle, request.app.state.config, letter, by))


async def _preview(config: Config, letter: DeadLetter) -> list[str]:
    """What a redrive would do, a line each."""
    if letter.topic == hasura.SOURCE:
        with _log_answers():
            return [(await asyncio.to_thread(migration.would_redrive, config, letter.value))[:MAX_LINE]]
    if letter.cause not in PARKING:
        return [f"its record would be written to {letter.topic} once more, behind all others"]
    asked = lines_of(
        config, "pipelines.flows.preview", "--", letter.topic, str(letter.partition), letter.key.decode(), limit_s=PREVIEW_S
    )
    try:
        told = [line.decode(errors="replace").rstrip("\n")[:MAX_LINE] async for line in asked]
    except TimeoutError:
        return [f"this was not worked out within {PREVIEW_S:.0f} s; ask again, or `olo dead-letters show {letter.id}`"]
    return told[:MAX_LINES] or ["this cannot be worked out; see `olo doctor`"]


@contextmanager
def _log_answers() -> Iterator[None]:
    """Errors: Problem 409 `letter_not_settled`, 503 `log_unreachable`."""
    try:
        yield
    except UsageError as error:
        raise Problem(409, "letter_not_settled", str(error)) from None
    except (KafkaException, TimeoutError) as error:
        raise unavailable("log_unreachable", "the log does not answer; ask again soon") from error
