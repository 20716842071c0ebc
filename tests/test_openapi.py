"""Schemathesis against the OpenAPI document: whatever a client sends, no 5xx, and only what the document promises."""

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
import requests
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from infra import tokens
from serving.parts import parts
from tests.conftest import Stack

# All but the streams, which have no end.
STREAMS = {"/v1/feed", "/v1/gallery/stream", "/v1/admin/now"}
OPERATIONS = sorted({route.path for part in parts() for route in cast(list[APIRoute], part.router.routes)} - STREAMS)
# An operation's, drawn with the role that asks: 5 in the suite, and 12 in `make simulate`, which CI runs. Most of the time is
# the platform's, at its answers. What needs no platform is asked far more: tests/test_fuzz.py.
EXAMPLES = max(5, settings().max_examples // 40)


@pytest.fixture(scope="session")
def api(stack: Stack) -> Any:
    return schemathesis.openapi.from_url(f"{stack.http}/openapi.json")


@pytest.fixture(scope="session")
def line() -> Iterator[requests.Session]:
    """A connection that stays: to make one for each request takes longer than most answers."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("path", OPERATIONS)
def test_no_request_breaks_the_server(api: Any, line: requests.Session, path: str) -> None:
    tokens_of = [tokens.token("demo-olo", "fuzz", role) for role in ("admin", "user")]

    for operation in (one.ok() for one in api.include(path=path).get_all_operations()):

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(), token=st.sampled_from(tokens_of))
        def check(case: Any, token: str) -> None:
            headers = {"Authorization": f"Bearer {token}"}
            answer = case.call(headers=headers, session=line)
            case.validate_response(
                answer, checks=[not_a_server_error, status_code_conformance, content_type_conformance], headers=headers
            )

        check()


def test_the_document_tells_every_route(stack: Stack) -> None:
    paths = httpx.get(f"{stack.http}/openapi.json").json()["paths"]
    assert set(paths) == {*OPERATIONS, *STREAMS}
