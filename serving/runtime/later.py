"""Not decided yet: the one place where a command without a decision becomes an answer.

A command that the log has taken will be decided, however late, so "it failed" would be as wrong as "it is done". A route whose
result has an address says where to look (`Later`): 202 with that `Location`. Every other route answers 503 `not_decided`, and
the client sends the request again, which does no harm: under its Idempotency-Key, or because a repeat changes nothing more.
"""

from typing import Any, Final, Literal, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from serving.runtime.problems import unavailable

LOCATION: Final = {"description": "where the outcome will be", "schema": {"type": "string"}}


class Later(NamedTuple):
    """Where a client finds the outcome, and what it is told meanwhile."""

    location: str
    body: BaseModel


class Pending(BaseModel):
    """What is told of a result that does not exist yet."""

    status: Literal["pending"] = "pending"


class NotDecided(Exception):  # noqa: N818 - it is no error: the decision is still to come
    """The log has the command, and nobody has decided it yet."""

    def __init__(self, later: Later | None = None) -> None:
        super().__init__("not decided yet")
        self.later = later

    def response(self) -> JSONResponse:
        """The answer."""
        if self.later is None:
            return unavailable(
                "not_decided", "the log has the request, but it is not decided yet and may still come to be; send it again soon"
            ).response()
        return JSONResponse(self.later.body.model_dump(mode="json"), 202, {"Location": self.later.location})


def accepted(body: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """A route's `responses` for `Later`: 202, with its body and its `Location`, for the OpenAPI document."""
    return {202: {"description": "Not decided yet; look at Location", "model": body, "headers": {"Location": LOCATION}}}


def install(app: FastAPI) -> None:
    """Turn NotDecided, wherever a route raises it, into its answer."""

    async def not_decided(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, NotDecided)
        return error.response()

    app.add_exception_handler(NotDecided, not_decided)
