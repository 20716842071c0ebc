"""Addresses of films that expire: what the one who paid is given, and nobody else.

The film's host, or the CDN in front of it, holds the same secret and lets in who brings `expires` (Unix seconds, not past) and
`signature`: the hexadecimal HMAC-SHA256, by OLO_CLIP_SECRET, of path and query up to the signature, such as
`/films/7.mp4?expires=1893456000`.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from infra.config import Config, ConfigError, Environment

# Known to everybody: good for trying, refused in production.
DEVELOPMENT_SECRET: Final = "development"  # noqa: S105 - no secret


def secret_of(config: Config) -> str:
    """The secret that signs addresses. Errors: ConfigError, in production without one of its own."""
    if config.env is Environment.PRODUCTION and config.clip_secret in ("", DEVELOPMENT_SECRET):
        raise ConfigError("OLO_CLIP_SECRET: paid films need a secret of your own in production, the same as at their host")
    return config.clip_secret or DEVELOPMENT_SECRET


def signature(secret: str, path_and_query: str) -> str:
    """The signature of a path and its query."""
    return hmac.new(secret.encode(), path_and_query.encode(), hashlib.sha256).hexdigest()


def signed(secret: str, url: str, expires_at: datetime) -> str:
    """The address, good until `expires_at`."""
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    query += f"expires={int(expires_at.timestamp())}"
    given = signature(secret, f"{parts.path or '/'}?{query}")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", f"{query}&signature={given}", ""))
