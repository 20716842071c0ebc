"""The pages for browsers: `/phone` for anybody and `/panel` for staff, one application whose files `infra/pages.py` built.

Every path below the two is the same document, which draws in the browser what the path says. The document is asked about
anew each time, the files beside it have their content's hash in their names and are kept for good. What the pages may load
stands in the document itself (its content security policy, made with it); the headers add what a document cannot say. Files are
read when they are asked for: a build may end after this process has started.

How people sign in stands in the document, too (`<meta name="olo-sign-in">`): by Firebase, whose addresses the policy then lets
pages ask, in development by picking a person, or not at all. What pages need beside the public API for trying things out is in
`development.py`.
"""

import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from infra.config import Config, Environment
from serving.runtime import development
from serving.runtime.problems import unavailable

FILES: Final = Path(__file__).parent.parent / "pages"
PREFIXES: Final = ("/phone", "/panel")
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Whom pages may ask, as the build has it.
CONNECT: Final = "connect-src 'self'"
FOR_GOOD: Final = "public, max-age=31536000, immutable"


class _Hashed(StaticFiles):
    """Files with their content's hash in their names."""

    async def check_config(self) -> None:
        """Nothing: a folder that is not there yet has no files, which is 404 and no fault."""

    def file_response(self, *given: Any, **named: Any) -> Response:
        answer = super().file_response(*given, **named)
        answer.headers["Cache-Control"] = FOR_GOOD
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def document_of(built: str, config: Config) -> str:
    """The built document, with how people sign in here."""
    told = escape(json.dumps(sign_in_of(config)))
    page = built.replace("</title>", f'</title>\n    <meta name="olo-sign-in" content="{told}" />', 1)
    if not config.firebase_api_key:
        return page
    asked = {f"{url.scheme}://{url.netloc}" for url in map(urlsplit, (config.firebase_url, config.firebase_token_url))}
    return page.replace(CONNECT, " ".join([CONNECT, *sorted(asked)]), 1)


def sign_in_of(config: Config) -> dict[str, str]:
    """How people sign in, for the pages: its kind, and what it takes."""
    if config.firebase_api_key:
        asked = {"url": config.firebase_url, "token_url": config.firebase_token_url}
        return {"kind": "firebase", "key": config.firebase_api_key, **asked}
    return {"kind": "development" if config.env is Environment.DEVELOPMENT else "none"}


def install(app: FastAPI, config: Config, files: Path = FILES) -> None:
    """Add the pages' routes, and those of development."""
    hashed = _Hashed(directory=files / "_app" / "immutable", check_dir=False)
    app.mount("/_app/immutable", GZipMiddleware(hashed, minimum_size=500))

    async def page(request: Request) -> Response:
        """The document of every page."""
        file = files / "index.html"
        if not file.is_file():
            raise unavailable("pages_missing", "the pages are not built yet; `make web` builds them, and says what is wrong")
        content = document_of(file.read_text(), config).encode()
        mark = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": mark}
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="text/html", headers=headers)

    for prefix in PREFIXES:
        app.add_route(prefix, page, include_in_schema=False)
        app.add_route(prefix + "/{path:path}", page, include_in_schema=False)
    development.install(app, config)
