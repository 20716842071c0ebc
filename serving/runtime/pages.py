"""The pages for browsers: `/phone` for anybody and `/panel` for staff, one application whose files `infra/pages.py` built.

Every path below the two is the same document, which draws in the browser what the path says. The document is asked about
anew each time, the files beside it have their content's hash in their names and are kept for good. What the pages may load
stands in the document itself (its content security policy, made with it); the headers add what a document cannot say. Files are
read when they are asked for: a build may end after this process has started.

`POST /development/tokens` lets a page sign in as anybody: in development, from this machine, where `olo token` does the same.
"""

from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from infra import tokens
from infra.config import Config, Environment, is_loopback
from schemas.user import Role, is_user_id
from serving.runtime.auth import USER_ID_TAKEN
from serving.runtime.problems import Problem, unavailable

FILES: Final = Path(__file__).parent.parent / "pages"
PREFIXES: Final = ("/phone", "/panel")
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
FOR_GOOD: Final = "public, max-age=31536000, immutable"
# As long as a day of trying things out.
TOKEN_S: Final = 86_400


class TokenBody(BaseModel, extra="forbid"):
    """Who the page wants to be."""

    user: Annotated[str, Field(max_length=128)]
    role: Role = Role.USER


class TokenAnswer(BaseModel):
    """An unsigned Firebase ID token, as the Firebase emulator makes them."""

    token: str


class _Hashed(StaticFiles):
    """Files with their content's hash in their names."""

    async def check_config(self) -> None:
        """Nothing: a folder that is not there yet has no files, which is 404 and no fault."""

    def file_response(self, *given: Any, **named: Any) -> Response:
        answer = super().file_response(*given, **named)
        answer.headers["Cache-Control"] = FOR_GOOD
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def install(app: FastAPI, config: Config, files: Path = FILES) -> None:
    """Add the pages' routes, and in development that of their tokens."""
    hashed = _Hashed(directory=files / "_app" / "immutable", check_dir=False)
    app.mount("/_app/immutable", GZipMiddleware(hashed, minimum_size=500))

    async def page(_: Request) -> Response:
        """The document of every page."""
        document = files / "index.html"
        if not document.is_file():
            raise unavailable("pages_missing", "the pages are not built yet; `make web` builds them, and says what is wrong")
        return FileResponse(document, headers=HEADERS)

    for prefix in PREFIXES:
        app.add_route(prefix, page, include_in_schema=False)
        app.add_route(prefix + "/{path:path}", page, include_in_schema=False)
    if config.env is Environment.DEVELOPMENT:
        _add_tokens(app, config)


def _add_tokens(app: FastAPI, config: Config) -> None:
    @app.post("/development/tokens", response_model=TokenAnswer, include_in_schema=False)
    async def make_token(body: TokenBody, request: Request) -> Any:
        """A token for whoever the page wants to be."""
        if not is_loopback(request.client.host if request.client else ""):
            raise Problem(403, "forbidden", "tokens are made for pages on Olo's own machine; elsewhere use `olo token`")
        if not is_user_id(body.user):
            raise Problem(422, "invalid_request", USER_ID_TAKEN)
        return TokenAnswer(token=tokens.token(config.firebase_project, body.user, body.role, lives_s=TOKEN_S))
