"""The auditor of subscriptions finds each planted bug in a log that is right without it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab.proofs.auditor import Row
from tests.lab.proofs.subscriptions import broken_subscriptions

NAME = "subscription:apple:7"
T = datetime(2030, 1, 1, tzinfo=UTC)
Topics = dict[str, list[dict[str, Any]]]


def day(number: int) -> str:
    return (T + timedelta(days=number)).isoformat()


def topics() -> Topics:
    """Begun, renewed, cancelled by a later word, and over."""
    word: dict[str, Any] = {
        "type": "ClaimSubscription",
        "name": NAME,
        "transaction": "71",
        "paid_until": day(30),
        "purchased_at": day(0),
    }
    words = [
        word | {"id": "a", "signed_at": day(0)},
        word | {"id": "b", "transaction": "72", "paid_until": day(60), "signed_at": day(30), "told_at": day(30),
                "until": day(60)},
        word | {"id": "c", "transaction": "72", "paid_until": day(60), "signed_at": day(40), "told_at": day(40),
                "until": day(60), "renews": False},
    ]  # fmt: skip
    fact: dict[str, Any] = {"type": "SubscriptionChanged", "name": NAME, "status": "active", "transaction": "72", "at": day(40)}
    facts = [
        fact | {"cause": "a", "transaction": "71"}, fact | {"cause": "b"}, fact | {"cause": "c", "renews": False},
        fact | {"cause": "w", "renews": False, "status": "expired", "at": day(61)},
    ]  # fmt: skip
    return {
        "subscription.inbox": words, "subscription.events": facts, "subscription.state": [{"name": NAME, "tag": "vip"}],
        "purchase.inbox": [{"type": "ClaimPurchase", "id": f"{word['id']}/period", "name": ""} for word in words],
        "member.inbox": [{"type": kind, "by": NAME, "name": "", "tag": "vip"} for kind in ("PutTag", "RemoveTag")],
    }  # fmt: skip


def found(of: Topics) -> list[str]:
    def read(topic: str) -> Iterator[Row]:
        yield from (Row(0, row["name"], row) for row in of[topic])

    return list(broken_subscriptions(read))


def test_a_log_that_is_right_breaks_nothing() -> None:
    assert found(topics()) == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda of: of["subscription.events"].pop(1), "nobody answered ['b']"),
        (lambda of: of["purchase.inbox"].pop(1), "were told to no purchase"),
        (lambda of: of["subscription.events"][-1].update(status="hold"), "by the store's words"),
        (lambda of: of["subscription.events"][-1].update(at=day(60)), "by the store's words"),
        (lambda of: of["subscription.events"][-1].update(transaction="71"), "by the store's words"),
        (lambda of: of["subscription.inbox"][-1].update(renews=True), "by the store's words"),
        (lambda of: of["subscription.inbox"][-1].update(next_store_product="vip.year"), "by the store's words"),
        (lambda of: of["subscription.inbox"][0].update(purchased_at=day(50)), "by the store's words"),
        (lambda of: of["member.inbox"].append({"type": "PutTag", "by": NAME, "name": "", "tag": "x"}), "tags were told"),
        (lambda of: of["member.inbox"].pop(), "its tags were told"),
        (lambda of: of["member.inbox"].reverse(), "was given and taken in the order"),
    ],
)
def test_each_planted_bug_is_found(spoil: Callable[[Topics], Any], told: str) -> None:
    of = topics()
    spoil(of)
    assert any(told in line for line in found(of)), found(of)
