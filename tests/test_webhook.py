"""What webhooks of several vendors have in common: who may tell, what stands where, and when it was."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from starlette.datastructures import Headers

from infra.vendors.webhook import carries, found_in, moment, token_in

NINE: Final = datetime(2026, 11, 28, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"X-Olo-Secret": "s"}, "s"), ({"x-olo-secret": "s", "authorization": "Bearer t"}, "s"),
        ({"authorization": "Bearer t"}, "t"), ({"authorization": "bearer t"}, "t"), ({"Authorization": "BEARER  t"}, "t"),
        ({"authorization": "t"}, "t"), ({"x-olo-secret": "", "authorization": "t"}, "t"), ({"authorization": "Bearer "}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_token_is_read_from_its_header_or_as_a_bearer(headers: dict[str, str], token: str) -> None:
    assert token_in(Headers(headers), "x-olo-secret") == token


@pytest.mark.parametrize("given", ["", "s", "secret ", "Secret", "secret\x00", "\u0436", "\ud800", "secret" * 10_000])
def test_only_the_secret_opens_and_none_opens_nothing(given: str) -> None:
    assert not carries("secret", given)
    assert carries("secret", "secret")
    assert not carries("", given)
    assert not carries("", "")


@pytest.mark.parametrize(
    "body", [None, [], "a", 5, {}, {"a": []}, {"a": None}, {"a": "b"}, {"a": {"c": 1}}, {"a": {"b": None}}]
)
def test_a_path_leads_to_nothing_through_whatever_is_no_object(body: Any) -> None:
    assert found_in(body, "a", "b") is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-28T09:00:00Z", NINE), ("2026-11-28T09:00:00", NINE), ("2026-11-28T11:00:00+02:00", NINE),
        ("2026-11-28", NINE - timedelta(hours=9)),
        ("0001-01-01T00:00:00+14:00", None), ("9999-12-31T23:00:00-14:00", None), ("2026-13-01", None), ("", None), (5, None),
        (None, None), (["2026-11-28"], None), ("2026-02-29", None),
    ],
)  # fmt: skip
def test_a_time_is_utc_or_none(text: Any, at: datetime | None) -> None:
    assert moment(text) == at
