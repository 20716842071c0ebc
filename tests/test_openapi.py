"""Schemathesis against the OpenAPI document: whatever a client sends, no 5xx, and only what the document promises."""

from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from infra import tokens
from serving.parts import parts
from tests.conftest import Stack

# All but the streams, which have no end.
STREAMS = {"/v1/feed", "/v1/gallery/stream", "/v1/admin/now"}
OPERATIONS = sorted({route.path for part in parts() for route in cast(list[APIRoute], part.router.routes)} - STREAMS)


@pytest.fixture(scope="session")
def api(stack: Stack) -> Any:
    return schemathesis.openapi.from_url(f"{stack.http}/openapi.json")


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("role", ["admin", "user"])
def test_no_request_breaks_the_server(api: Any, stack: Stack, path: str, role: str) -> None:
    headers = {"Authorization": f"Bearer {tokens.token('demo-olo', 'fuzz', role)}"}

    for operation in api.include(path=path).get_all_operations():

        @settings(max_examples=12, suppress_health_check=list(HealthCheck), database=None)
        @schemathesis_given(operation.ok())
        def check(case: Any) -> None:
            answer = case.call(headers=headers)
            case.validate_response(
                answer, checks=[not_a_server_error, status_code_conformance, content_type_conformance], headers=headers
            )

        check()


def schemathesis_given(operation: Any) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    from hypothesis import given

    return given(case=operation.as_strategy())


def test_the_document_tells_every_route(stack: Stack) -> None:
    paths = httpx.get(f"{stack.http}/openapi.json").json()["paths"]
    assert set(paths) == {*OPERATIONS, *STREAMS}
