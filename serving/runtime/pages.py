"""The pages for browsers: `/phone` for anybody and `/panel` for staff, one application whose files `infra/pages.py` built.

Every path below the two is the same document, which draws in the browser what the path says. The document is asked about
anew each time, the files beside it have their content's hash in their names and are kept for good. What the pages may load
stands in the document itself (its content security policy, made with it); the headers add what a document cannot say. Files are
read when they are asked for: a build may end after this process has started.

What pages need beside the public API for trying things out is in `development.py`.
"""

from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from infra.config import Config
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


def install(app: FastAPI, config: Config, files: Path = FILES) -> None:
    """Add the pages' routes, and those of development."""
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
    development.install(app, config)
