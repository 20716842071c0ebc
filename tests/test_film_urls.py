"""Addresses of paid films: signed, with an end, and production has a secret of its own."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.config import Config, ConfigError, Environment
from infra.film_urls import DEVELOPMENT_SECRET, secret_of, signature, signed


def config_of(**given: Any) -> Config:
    return Config(**given)


ENDS = datetime(2030, 1, 1, tzinfo=UTC)
WORDS = st.text("abz09-_.~", max_size=8)


@given(WORDS, WORDS, st.booleans())
def test_whoever_has_the_secret_can_check_an_address_and_nobody_else(path: str, value: str, fragment: bool) -> None:
    url = f"https://films.example/{path}" + (f"?v={value}" if value else "") + ("#t=5" if fragment else "")
    given_url = signed("s", url, ENDS)
    parts = urlsplit(given_url)
    before, _, given_signature = f"{parts.path}?{parts.query}".partition("&signature=")
    assert given_signature == signature("s", before) != signature("t", before)
    assert signature("s", before.replace("expires=1", "expires=2")) != given_signature
    assert dict(parse_qsl(parts.query))["expires"] == str(int(ENDS.timestamp()))
    assert (parts.netloc, parts.path) == ("films.example", f"/{path}")


def test_an_address_without_a_path_has_one() -> None:
    assert signed("s", "http://films.example", ENDS).startswith("http://films.example/?expires=1893456000&signature=")


@pytest.mark.parametrize("secret", ["", DEVELOPMENT_SECRET])
def test_production_refuses_the_secret_that_everybody_knows(secret: str) -> None:
    assert secret_of(config_of(clip_secret=secret)) == DEVELOPMENT_SECRET
    with pytest.raises(ConfigError, match="OLO_CLIP_SECRET"):
        secret_of(config_of(env=Environment.PRODUCTION, clip_secret=secret))
    assert secret_of(config_of(env=Environment.PRODUCTION, clip_secret="own")) == "own"
