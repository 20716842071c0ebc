"""Questions in SQL: `POST /v1/admin/queries` asks the warehouse as a reader with limits; `/v1/admin/questions` has saved ones.

The engine holds the limits: time, rows, bytes, memory, and that nothing is written; a question cannot move them, since whoever
only reads sets nothing. What kills others' queries counts as reading there, so the first word is looked at here. Each run
is a fact before it begins (`QuestionRun`), beside the act in the audit. Few run at once: serving's own reads come first.
"""

import asyncio
import json
import re
import time
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Final

from clickhouse_connect.driver.exceptions import DatabaseError, Error
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from infra.warehouse.statement import COMMENT, READS, TOKEN
from schemas.log.base import new_id, now
from schemas.question import (
    MAX_SQL,
    QUESTION,
    NoteRun,
    PutQuestion,
    Question,
    QuestionPut,
    QuestionRefusal,
    QuestionRemoved,
    RemoveQuestion,
)
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import ID_PATTERN, IdInPath
from serving.runtime.problems import Problem, responses, unavailable
from serving.runtime.refusals import Refusals
from serving.runtime.spreadsheet import harmless
from serving.runtime.staff import WarehouseChange, WarehouseLook
from serving.runtime.warehouse import in_warehouse, no_answer

router = APIRouter(tags=["questions"])

REFUSED: Final[Refusals] = {QuestionRefusal.QUESTION_UNKNOWN: (404, "there is no such question; GET /v1/admin/questions")}
MAX_S: Final = 20
MAX_ROWS: Final = 100_000
MAX_ROWS_SHOWN: Final = 1_000
MAX_BYTES: Final = 32 * 2**20
# `readonly` stands last: behind it nothing can be set, by the question either.
LIMITS: Final = {
    "max_execution_time": MAX_S, "max_memory_usage": 10**9, "max_result_bytes": MAX_BYTES, "max_threads": 1,
    "result_overflow_mode": "throw",
}  # fmt: skip
AT_ONCE: Final = 2
RUNNING: Final = asyncio.Semaphore(AT_ONCE)
# Behind the statement comes the name of the form: a semicolon that people end it with stands in its way.
END: Final = re.compile(r"[\s;]+\Z")
# The engine's codes for what took too much.
TOO_MUCH: Final = ("159", "160", "241", "307", "396")

SqlText = Annotated[
    str, Field(min_length=1, max_length=MAX_SQL, examples=["SELECT kind, count() FROM calls FINAL GROUP BY kind"])
]


class Form(StrEnum):
    """How the answer is wanted: to be shown, or as a file."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


# Of each form: the engine's name, the media type, and how many rows it may have.
FORMS: Final = {
    Form.JSON: ("JSONCompact", "application/json", MAX_ROWS_SHOWN),
    Form.CSV: ("CSVWithNames", "text/csv", MAX_ROWS),
    Form.PARQUET: ("Parquet", "application/vnd.apache.parquet", MAX_ROWS),
}


class QueryBody(RequestBody):
    """One statement that reads, such as SELECT. `question`: the saved question that it is, for the record."""

    sql: SqlText
    form: Form = Form.JSON
    question: Annotated[str, Field(max_length=64, pattern=f"({ID_PATTERN})|^$")] = ""


class QuestionBody(RequestBody):
    """A question to save."""

    sql: SqlText
    title: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$", examples=["calls by kind"])] = ""


class QuestionAnswer(QuestionBody):
    """A saved question."""

    question: str
    by: str
    saved_at: datetime


class QueryColumn(BaseModel):
    """A column, and its type in ClickHouse's words."""

    name: str
    type: str


class QueryAnswer(BaseModel):
    """The rows, each with its values in the order of the columns. A number that JavaScript would round is a text."""

    columns: list[QueryColumn]
    rows: list[list[Any]]
    took_s: float


FILES: Final[dict[int | str, Any]] = {
    200: {
        "model": QueryAnswer,
        "description": "The rows, or a file",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string"}},
        },
    }
}


@router.post("/v1/admin/queries", response_model=QueryAnswer, responses={**FILES, **responses(400, 401, 403, 422, 503)})
async def run_query(body: QueryBody, caller: WarehouseLook, request: Request) -> Any:
    """Ask the warehouse in SQL: at most 20 s, 1,000 rows to be shown or 100,000 in a file, 32 MiB, and nothing is changed."""
    _only_reads(body.sql)
    if RUNNING.locked():
        raise unavailable("queries_busy", f"{AT_ONCE} questions run already; try again in some seconds")
    async with RUNNING:
        name = body.question or f"run-{sha256(body.sql.encode()).hexdigest()[:16]}"
        await commands_of(request).tell(
            NoteRun(id=new_id(), at=now(), question=name, sql=body.sql, form=body.form, by=caller.user)
        )
        began = time.perf_counter()
        found = await in_warehouse(_ask, request, body)
    if body.form is Form.JSON:
        told = await asyncio.to_thread(_read, found)
        return QueryAnswer(columns=told["meta"], rows=told["data"], took_s=round(time.perf_counter() - began, 3))
    file = f'attachment; filename="{name}.{body.form}"'
    if body.form is Form.CSV:
        found = await asyncio.to_thread(harmless, found)
    return Response(found, media_type=FORMS[body.form][1], headers={"Content-Disposition": file})


@router.get("/v1/admin/questions", response_model=list[QuestionAnswer], responses=responses(401, 403, 503))
async def list_questions(_: WarehouseLook, request: Request) -> Any:
    """The saved questions, by name."""
    return [_shown(name, question) for name, question in sorted(views_of(request).of(QUESTION).items())]


@router.put("/v1/admin/questions/{question}", response_model=QuestionAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_question(question: IdInPath, body: QuestionBody, caller: WarehouseChange, request: Request) -> Any:
    """Save a question, for all of staff who may ask."""
    _only_reads(body.sql)
    command = PutQuestion(id=new_id(), at=now(), question=question, by=caller.user, **body.model_dump())
    fact = await commands_of(request).ask(command, QuestionPut)
    return QuestionAnswer(question=question, sql=fact.sql, title=fact.title, by=fact.by, saved_at=fact.at)


@router.delete("/v1/admin/questions/{question}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def remove_question(question: IdInPath, caller: WarehouseChange, request: Request) -> None:
    """Take a saved question away; what was asked stays in the record."""
    command = RemoveQuestion(id=new_id(), at=now(), question=question, by=caller.user)
    await commands_of(request).ask(command, QuestionRemoved)


def _shown(name: str, question: Question) -> QuestionAnswer:
    return QuestionAnswer(
        question=name, sql=question.sql, title=question.title, by=question.by, saved_at=question.saved_at
    )  # fmt: skip


def _only_reads(sql: str) -> None:
    """Errors: Problem 422 `query_not_reading`."""
    first = next((found.group().upper() for found in TOKEN.finditer(sql) if not found.group().startswith(COMMENT)), "")
    if first not in READS:
        raise Problem(422, "query_not_reading", "a question begins with SELECT, WITH, SHOW, DESCRIBE or EXPLAIN")


def _read(answer: bytes) -> Any:
    """The engine's JSON. A number that JavaScript would round, such as a hash or a sum of decimals, is a text."""
    return json.loads(answer, parse_int=_whole, parse_float=_broken)


def _whole(digits: str) -> int | str:
    number = int(digits)
    return number if abs(number) < 2**53 else digits


def _broken(digits: str) -> float | str:
    number = float(digits)
    return number if Decimal(repr(number)) == Decimal(digits) else digits


def _ask(request: Request, body: QueryBody) -> bytes:
    """The answer as the engine writes it. Errors: Problem 422 `query_too_much` and `query_wrong`, 503."""
    name, _, rows = FORMS[body.form]
    settings = {**LIMITS, "max_result_rows": rows, "readonly": 1}
    limit = f"at most {MAX_S} s, {rows:,} rows and {MAX_BYTES // 2**20} MiB"
    try:
        with request.app.state.clickhouse().raw_stream(END.sub("", body.sql), settings=settings, fmt=name) as stream:
            found: bytes = stream.read(MAX_BYTES + 1)
    except DatabaseError as error:
        told = str(error)
        code = re.search(r"Code: (\d+)", told)
        text = re.sub(r"\s+", " ", told.partition("DB::Exception: ")[2] or told).partition(" (for url")[0][:500]
        if code is None:
            raise no_answer() from error
        if code[1] in TOO_MUCH:
            raise Problem(422, "query_too_much", f"{limit}: {text}") from error
        raise Problem(422, "query_wrong", text) from error
    except (Error, OSError) as error:
        raise no_answer() from error
    if len(found) > MAX_BYTES:  # the engine counts a value that all rows share once
        raise Problem(422, "query_too_much", f"{limit}: the answer is longer")
    return found
