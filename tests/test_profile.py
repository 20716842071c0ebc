"""Profiles: the public part for everybody, the private one for its owner and for staff with a reason; nothing of it leaks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from infra.clickhouse import connect
from pipelines import profile as domain
from schemas.ads_hashes import hashed_email
from schemas.log.base import UserId, Wake
from schemas.log.codec import encode
from schemas.log.entity import DEFAULT_PARTITIONS, partition_of
from schemas.log.personal import blank
from schemas.profile import (
    PrivateProfilePut,
    PrivateProfileRead,
    ProfileRefusal,
    PutPrivateProfile,
    PutProfile,
    ReadPrivateProfile,
)
from schemas.user import UserErased
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of
from tests.people import SUE

decide_private_profile = decisions_of(domain.decide_private_profile)
decide = decisions_of(domain.decide_profile)
T = datetime(2030, 1, 1, tzinfo=UTC)


def test_the_last_public_profile_is_in_force() -> None:
    first, _ = decide(None, PutProfile(id="a", at=T, user=SUE, name="Sue", age=30))
    second, (fact,) = decide(first, PutProfile(id="b", at=T, user=SUE, name="Susan"))
    assert (second.name, second.age, fact.name) == ("Susan", 0, "Susan")


def test_facts_about_the_private_part_name_fields_never_contents() -> None:
    put = PutPrivateProfile(id="a", at=T, user=SUE, email="sue@example.com", phone="+4912345678")
    profile, (fact, hashes) = decide_private_profile(None, put)
    assert hashes.email_sha256 == hashed_email("sue@example.com")
    assert (type(fact), fact.told) == (PrivateProfilePut, ("email", "phone"))
    assert b"example.com" not in encode(fact)
    read = ReadPrivateProfile(id="r", at=T, user=SUE, by=UserId("root"), reason="ticket 5")
    after, (fact,) = decide_private_profile(profile, read)
    assert (after, type(fact), fact.by, fact.reason) == (profile, PrivateProfileRead, "root", "ticket 5")
    assert decide_private_profile(None, read)[1][0].refusal is ProfileRefusal.PROFILE_UNKNOWN


def test_of_somebody_who_was_erased_nothing_is_kept_and_what_comes_late_is_refused() -> None:
    erased = UserErased(id="e", at=T, cause="x", user=SUE, by=SUE)
    public, private = PutProfile(id="a", at=T, user=SUE, name="Sue"), PutPrivateProfile(id="b", at=T, user=SUE, email="s@x.org")
    both: list[tuple[Any, Any]] = [(decide, public), (decide_private_profile, private)]
    for decided, put in both:
        state, _ = decided(None, put)
        after, told = decided(state, erased)
        assert (told, blank(after)) == ((), after)
        late, (refused,) = decided(after, put)
        assert (late, refused.refusal) == (after, ProfileRefusal.PROFILE_ERASED)
        assert decided(after, Wake(id="w", at=T + timedelta(hours=23), key=SUE)) == (after, ())
        assert decided(after, Wake(id="w", at=T + timedelta(hours=24), key=SUE)) == (None, ())


def test_everybody_sees_the_public_part_but_not_those_whom_one_has_blocked(new_user: NewUser) -> None:
    sue, bob, eve = new_user("streamer"), new_user(), new_user()
    body = {"name": "Sue", "age": 30, "languages": ["en", "de"], "photos": ["https://example.com/1.jpg"], "about": "hello"}
    assert sue.put("/v1/profile", json=body).status_code == 200
    shown = eventually(lambda: (a := bob.get(f"/v1/profiles/{sue.user}")).status_code == 200 and a.json())
    assert shown == {**body, "user": sue.user, "country": ""}
    sue.put(f"/v1/blocks/{eve.user}", json={"reason": "spam"})
    eventually(lambda: eve.get(f"/v1/profiles/{sue.user}").status_code == 404)
    assert bob.get(f"/v1/profiles/{bob.user}").json()["code"] == "profile_unknown"


def test_the_private_part_is_its_owners_and_each_reading_is_kept(new_user: NewUser, admin: Api, stack: Stack) -> None:
    sue, bob = new_user("streamer"), new_user()
    secret = f"{sue.user}@secret.example"
    body = {"birth_date": "1995-05-05", "email": secret, "phone": "+4915112345678", "legal_name": "Susan S."}
    assert sue.put("/v1/profile/private", json=body).status_code == 200
    assert eventually(lambda: (a := sue.get("/v1/profile/private")).status_code == 200 and a.json()) == {
        **body,
        "user": sue.user,
    }
    path = f"/v1/admin/profiles/{sue.user}/private"
    assert bob.get(path, params={"reason": "curious"}).status_code == 403
    assert admin.get(path).json()["code"] == "invalid_request"
    support = Api(stack, "helper", "support")
    assert support.get(path, params={"reason": "ticket 5"}).json()["email"] == secret
    assert admin.get("/v1/admin/profiles/nobody/private", params={"reason": "ticket 6"}).json()["code"] == "profile_unknown"
    client = connect(stack.clickhouse)
    question = "SELECT by, reason FROM private_reads WHERE user = {user:String}"
    rows = eventually(lambda: client.query(question, parameters={"user": sue.user}).result_rows)
    assert rows == [("helper", "ticket 5")]
    assert client.command("SELECT count() FROM log WHERE value LIKE {like:String}", parameters={"like": f"%{secret}%"}) == 0


def test_a_private_record_that_cannot_be_read_reaches_no_analyst(new_user: NewUser, stack: Stack) -> None:
    sue = new_user()
    secret = f"{sue.user}@broken.example"
    producer = Producer(stack.config.kafka)
    key = sue.user.encode()
    producer.produce("private_profile.inbox", secret.encode(), key, partition_of(key, DEFAULT_PARTITIONS))
    producer.flush()
    eventually(lambda: "private_profile.inbox/" in stack.olo("dead-letters", "list").stdout)
    assert sue.put("/v1/profile", json={"name": "Sue"}).status_code == 200
    client = connect(stack.clickhouse)
    later = "SELECT count() FROM profiles WHERE user = {user:String}"
    eventually(lambda: client.query(later, parameters={"user": sue.user}).result_rows[0][0])
    kept = "SELECT countIf(position(value, {s:String}) > 0), countIf(key LIKE 'private_profile.inbox/%') > 0 FROM log"
    assert client.query(kept, parameters={"s": secret}).result_rows == [(0, 1)]


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "x", "age": 17}, {"name": "x", "photos": ["ftp://x"]}, {"name": "x", "email": "a@b"}],
)
def test_profiles_that_cannot_be_are_refused(new_user: NewUser, body: dict[str, Any]) -> None:
    assert new_user().put("/v1/profile", json=body).status_code == 422
