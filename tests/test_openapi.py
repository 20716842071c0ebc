"""Schemathesis against the OpenAPI document: whatever a client sends, no 5xx, and only what the document promises."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from infra import tokens

OPERATIONS = [
    "/v1/users", "/v1/users/me", "/v1/sessions", "/v1/sessions/{session}", "/v1/sessions/{session}/beat",
    "/v1/balance", "/v1/balance/entries", "/v1/admin/grants", "/v1/admin/transfers", "/v1/transfers/{transfer}",
    "/v1/calls", "/v1/calls/{call}", "/v1/calls/{call}/accept", "/v1/calls/{call}/decline", "/v1/calls/{call}/hang-up",
    "/v1/calls/{call}/receipt", "/v1/roulette", "/v1/clips", "/v1/clips/{clip}", "/v1/clips/{clip}/plays",
    "/v1/admin/tariffs", "/v1/admin/tariffs/{tariff}", "/v1/admin/tariffs/preview", "/v1/gifts", "/v1/admin/gifts/{item}",
    "/v1/blocks", "/v1/blocks/{user}", "/v1/admin/bans/{user}", "/v1/admin/block-rules", "/v1/admin/reviews",
    "/v1/admin/reviews/{user}/{case}", "/v1/calls/{call}/credentials", "/v1/webhooks/agora", "/v1/webhooks/twilio",
    "/v1/favorites", "/v1/favorites/{user}", "/v1/followers", "/v1/settings", "/v1/admin/settings",
    "/v1/profile", "/v1/profiles/{user}", "/v1/profile/private", "/v1/admin/profiles/{user}/private",
    "/v1/gallery", "/v1/admin/gallery", "/v1/admin/gallery/{role}",
    "/v1/admin/cohorts", "/v1/admin/cohorts/{cohort}", "/v1/admin/cohorts/preview", "/v1/admin/cohorts/{cohort}/members",
    "/v1/admin/tags/{user}", "/v1/admin/tags/{user}/{tag}", "/v1/admin/groups/{group}",
    "/v1/webhooks/appsflyer", "/v1/tracking", "/v1/admin/attribution/{user}", "/v1/admin/attribution/export",
    "/v1/admin/postbacks/rules",
]  # fmt: skip


@pytest.fixture(scope="session")
def api(stack):
    return schemathesis.openapi.from_url(f"{stack.http}/openapi.json")


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("role", ["admin", "user"])
def test_no_request_breaks_the_server(api, stack, path, role):
    headers = {"Authorization": f"Bearer {tokens.token('demo-olo', 'fuzz', role)}"}

    for operation in api.include(path=path).get_all_operations():

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @schemathesis_given(operation.ok())
        def check(case):
            answer = case.call(headers=headers)
            case.validate_response(
                answer, checks=[not_a_server_error, status_code_conformance, content_type_conformance], headers=headers
            )

        check()


def schemathesis_given(operation):
    from hypothesis import given

    return given(case=operation.as_strategy())


def test_the_document_tells_every_route(stack):
    paths = httpx.get(f"{stack.http}/openapi.json").json()["paths"]
    assert set(paths) == {*OPERATIONS, "/v1/feed", "/v1/gallery/stream"}
