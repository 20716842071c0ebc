"""Pages of other origins (CORS): which may ask, what they may send, and which headers of an answer they may read.

Starlette's middleware, in front of the door: a browser sends a preflight without a token, so it is answered before anybody asks
who sends it, and an answer of the door's own, such as 401 or 429, is one that the page may read. Tokens travel in a header that
a page sets itself, never in cookies, so no credentials are allowed.
"""

from typing import Any, Final

from starlette.middleware.cors import CORSMiddleware

METHODS: Final = ("GET", "POST", "PUT", "DELETE")
SENT: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Olo-Device", "X-Reason")
READ: Final = ("Allow", "Content-Disposition", "Location", "Retry-After", "WWW-Authenticate")
# How long a browser remembers a preflight's answer; Chromium's own limit.
REMEMBERED_S: Final = 7200


def open_to(origins: str, app: Any) -> Any:
    """The application, open to pages of these origins, such as "https://app.example,http://localhost:5173" or "*"."""
    allowed = [origin for origin in origins.split(",") if origin]
    if not allowed:
        return app
    return CORSMiddleware(
        app, allow_origins=allowed, allow_methods=METHODS, allow_headers=SENT, expose_headers=READ, max_age=REMEMBERED_S
    )
