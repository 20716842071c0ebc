"""Errors as RFC 9457 problem+json. `code` is stable and for programs; `detail` says what to do and is for people."""

import json
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong at one place of a request."""

    where: str
    what: str


class ProblemBody(BaseModel):
    """What an error answer holds (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="the status in words")
    status: int
    code: str = Field(description="stable, for programs; new ones are added now and then", examples=["insufficient_coins"])
    detail: str = Field(description="what to do, for people")
    errors: list[FieldProblem] | None = Field(None, description="what is wrong in the request, of `invalid_request`")
    shortfall_coins: int | None = Field(None, description="how many coins are missing")
    left_coins: int | None = Field(None, description="how many coins the daily cap leaves, of `daily_cap`")
    more_at: datetime | None = Field(None, description="when it will leave more, by itself")


class Problem(Exception):  # noqa: N818 - the RFC's word
    """Raise it anywhere in a route: it becomes the answer."""

    def __init__(self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers, self.more = status, code, detail, headers, more

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def response(self) -> JSONResponse:
        """The answer."""
        body = {"type": "about:blank", "title": self.title, "status": self.status, "code": self.code, "detail": self.detail}
        return _Answer(body | self.more, self.status, self.headers, MEDIA_TYPE)


class _Answer(JSONResponse):
    """A problem may repeat what was sent, which need not be text: halves of surrogate pairs become question marks."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`: which problems it answers with, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def unavailable(code: str, detail: str) -> Problem:
    """503 with Retry-After: something that Olo needs is away for a moment."""
    return Problem(503, code, detail, headers={"Retry-After": "1"})


def install(app: FastAPI) -> None:
    """Turn every error that a route or the framework raises into a problem."""

    async def problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return error.response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
        if any(e["type"] == "json_invalid" for e in error.errors()):
            return Problem(400, "broken_json", "the body is no JSON; " + errors[0]["what"]).response()
        detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors[:5])
        return Problem(422, "invalid_request", detail, errors=errors[:20]).response()

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return Problem(error.status_code, code, str(error.detail), headers=dict(error.headers or {})).response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
