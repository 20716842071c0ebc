"""Price classes: what is picked is approved; a streamer's call has the class that is picked, and its tariff."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.price_class import decide_price_class
from schemas.log.base import By, Wake
from schemas.price_class import (
    ApprovePriceClasses,
    PickPriceClass,
    PriceClasses,
    PriceClassesApproved,
    PriceClassPicked,
    PriceClassRefusal,
)
from schemas.user import UserErased
from tests.conftest import Api, NewUser, eventually
from tests.decisions import decisions_of
from tests.people import SUE

decide = decisions_of(decide_price_class)
T = datetime(2030, 1, 1, tzinfo=UTC)
KNOWN = PriceClasses(classes=("gold", "silver"), price_class="gold")


def approve(*classes: str) -> ApprovePriceClasses:
    return ApprovePriceClasses(id="a", at=T, user=SUE, classes=classes, by=By("root"))


def pick(price_class: str) -> PickPriceClass:
    return PickPriceClass(id="p", at=T, user=SUE, price_class=price_class)


@pytest.mark.parametrize(
    ("state", "message", "kind", "classes", "picked"),
    [
        (None, approve("silver", "gold", "gold"), PriceClassesApproved, ("gold", "silver"), ""),
        (KNOWN, approve("gold"), PriceClassesApproved, ("gold",), "gold"),
        (KNOWN, approve("silver"), PriceClassesApproved, ("silver",), ""),
        (KNOWN, approve(), PriceClassesApproved, (), ""),
        (KNOWN, pick("silver"), PriceClassPicked, ("gold", "silver"), "silver"),
        (KNOWN, pick(""), PriceClassPicked, ("gold", "silver"), ""),
        (None, pick(""), PriceClassPicked, (), ""),
    ],
)
def test_what_is_approved_and_picked(
    state: PriceClasses | None, message: ApprovePriceClasses | PickPriceClass, kind: type, classes: tuple[str, ...], picked: str
) -> None:
    after, (fact,) = decide(state, message)
    assert (type(fact), fact.classes, fact.price_class) == (kind, classes, picked)
    assert (after.classes, after.price_class) == (classes, picked)


def test_refusals_in_their_order() -> None:
    for state in (None, KNOWN):
        after, (fact,) = decide(state, pick("diamond"))
        assert (after, fact.refusal) == (state, PriceClassRefusal.CLASS_NOT_APPROVED)
    erased, told = decide(KNOWN, UserErased(id="e", at=T, cause="c", user=SUE, by=SUE))
    assert (told, erased) == ((), PriceClasses(erased_at=T))
    for late in (pick("diamond"), approve("gold")):
        assert decide(erased, late)[1][0].refusal is PriceClassRefusal.STREAMER_ERASED
    assert decide(erased, Wake(id="w", at=T, key=SUE))[0] == erased
    assert decide(erased, Wake(id="w", at=erased.wake_at, key=SUE))[0] is None


@given(st.lists(st.one_of(st.sampled_from("abc").map(pick), st.lists(st.sampled_from("abc")).map(lambda c: approve(*c)))))
def test_what_is_picked_is_approved(messages: list[ApprovePriceClasses | PickPriceClass]) -> None:
    """Law, over any history."""
    state = None
    for message in messages:
        state, _ = decide(state, message)
        assert state is None or state.price_class in ("", *state.classes)


def test_a_call_has_the_price_that_its_streamer_picked(admin: Api, new_user: NewUser) -> None:
    """Staff approves, the streamer picks, and a call is billed by the class's tariff; without approval: 409."""
    sue, bob = new_user("streamer"), new_user()
    assert sue.put("/v1/price-class", json={"price_class": "gold"}).json()["code"] == "class_not_approved"
    approved = admin.put(f"/v1/admin/price-classes/{sue.user}", json={"classes": ["gold", "silver"]})
    assert approved.json() == {"user": sue.user, "classes": ["gold", "silver"], "price_class": ""}
    assert sue.put("/v1/price-class", json={"price_class": "gold"}).json()["price_class"] == "gold"
    assert bob.put("/v1/price-class", json={"price_class": ""}).status_code == 403
    side = {"checkpoints": [{"after_s": 0, "coins": 99}], "step_s": 60, "step_coins": 99, "most_coins": 500}
    rule = {"kind": "direct", "price_class": "gold"}
    body = {"rule": rule, "payer": side, "earner": {"checkpoints": []}, "free": [{"tag": "guest", "free_s": 60}]}
    assert admin.put("/v1/admin/tariffs/gold", json=body).status_code == 200
    assert admin.place("/v1/admin/grants", account=f"{bob.user}/coins", coins=200).status_code == 201
    for one in (sue, bob):
        assert one.post("/v1/sessions", json={"device": "phone"}).status_code == 201
    eventually(lambda: admin.get(f"/v1/admin/price-classes/{sue.user}").json()["price_class"] == "gold")
    call = bob.post("/v1/calls", json={"to": sue.user}).json()["call"]
    assert sue.post(f"/v1/calls/{call}/accept").status_code == 200
    receipt = eventually(lambda: (found := bob.get(f"/v1/calls/{call}/receipt").json())["paid_coins"] and found)
    assert (receipt["tariff"], receipt["paid_coins"], receipt["pays"]["most_coins"]) == ("gold", 99, 500)
    assert bob.post(f"/v1/calls/{call}/hang-up").status_code == 200
    assert admin.put(f"/v1/admin/tags/{bob.user}/guest").status_code in (200, 201, 204)
    eventually(lambda: "guest" in admin.get(f"/v1/admin/people/{bob.user}").json()["tags"])
    call = bob.post("/v1/calls", json={"to": sue.user}).json()["call"]
    assert sue.post(f"/v1/calls/{call}/accept").status_code == 200
    receipt = bob.get(f"/v1/calls/{call}/receipt").json()
    assert (receipt["tariff"], receipt["paid_coins"], receipt["pays"]["free_s"]) == ("gold", 0, 60)
    assert sue.post(f"/v1/calls/{call}/hang-up").status_code == 200
