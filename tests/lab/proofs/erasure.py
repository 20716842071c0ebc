"""`olo prove erasure`: a person tells everything that can be told, and is erased while a city lives on.

Laws: before, the export has all of it, and so has the disk; behind it the export is refused, a second erasure writes nothing,
the city's books and the audit of `olo prove money` close. Then retention is made short, others go on, and the processes are
started again, as happens in a month: no file below OLO_HOME and no column of the warehouse has anything of the person, nor the
message that somebody else, who stays, had written to them and taken back.
"""

import asyncio
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import msgspec
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from rich.console import Console

from infra import renewal, tokens
from infra.clickhouse import connect
from infra.kafka import key_of, produce_one, quiet, read_topic
from schemas.ads_hashes import hashed_email, hashed_phone
from schemas.log.entity import partition_of
from schemas.log.topics import topics
from schemas.profile import PROFILE
from tests.lab.city.town import City
from tests.lab.city.town import Plan as People
from tests.lab.city.vendors import AdVendors, environment, serve
from tests.lab.proofs.auditor import Audit, Row
from tests.lab.proofs.calls import CallAudit
from tests.lab.proofs.traces import in_warehouse, on_disk
from tests.lab.proofs.verdict import verdict
from tests.lab.stage import Stage

Tell = Callable[[str], None]
PATIENCE_S: Final = 60.0
LOOK_S: Final = 1.0
# The broker looks every ten seconds at what is over, and the cleaner every second; the views write their store anew behind ten.
GONE_S: Final = 120.0
OTHERS: Final = 6
# Not decided yet: the same request again.
PUT_OFF: Final = (202, 503)
SHORT: Final = {"retention.ms": "1000", "segment.ms": "1000", "file.delete.delay.ms": "0"}
SHORT_COMPACTED: Final = {
    "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "1000", "delete.retention.ms": "0",
    "file.delete.delay.ms": "0",
}  # fmt: skip
# Nobody is told, so that what is owed stays with the outbox.
AWAY: Final = {"away": ["snapchat", "appsflyer", "amplitude", "ga4"]}
RULE: Final = {"conversion": "sign_up", "provider": "snapchat", "event": "SIGN_UP", "consent": "ads"}


WORDS: Final = (
    "name", "about", "photo", "legal-name", "device", "push-token", "voip-token", "title", "film", "advertising-id",
    "vendor-id", "app-instance", "click", "agent", "message", "edited",
)  # fmt: skip


class Plan(NamedTuple):
    """How many people live beside it, and for how long."""

    people: int = 20
    seconds: float = 30.0
    seed: int = 1


class Person(NamedTuple):
    """Somebody who tells everything: an id, and a word that stands in all of it."""

    user: str
    word: str
    phone: str

    @property
    def told(self) -> dict[str, str]:
        """What is told, by name."""
        words = {name: f"{self.word}-{name}" for name in WORDS}
        subscription = str(uuid.uuid5(uuid.NAMESPACE_OID, self.word))
        return words | {"email": f"{self.word}@example.org", "phone": self.phone, "onesignal": subscription}

    @property
    def taken_back(self) -> str:
        """What somebody else, who stays, has written to the person and taken back."""
        return f"{self.word}-taken-back"

    @property
    def marks(self) -> list[str]:
        """What must be nowhere: all of it, the hashes by which ad networks know it, and what was taken back."""
        return [*self.told.values(), self.taken_back, hashed_email(self.told["email"]), hashed_phone(self.phone)]


class Api(httpx.Client):
    """An HTTP client with a token; it insists on an answer."""

    def __init__(self, stage: Stage, user: str, role: str, agent: str = "olo") -> None:
        headers = {"Authorization": f"Bearer {tokens.token('demo-olo', user, role)}", "User-Agent": agent}
        super().__init__(base_url=stage.http, headers=headers, timeout=30, trust_env=False)

    def request(self, *what: Any, **how: Any) -> httpx.Response:
        """As a phone does: on a line that was cut the same request goes out again. Errors: httpx.TransportError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return super().request(*what, **how)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, headers: Any = None) -> httpx.Response:
        """The answer, once it is decided: an edit that was not, and is asked for again, is told that it is under way. Errors:
        AssertionError for another status than the one that is due."""
        deadline = time.monotonic() + PATIENCE_S
        answer = self.request(method, path, json=body, headers=headers)
        while (answer.status_code in PUT_OFF and status not in PUT_OFF) or "edit_pending" in answer.text:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_S)
            answer = self.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer


def tell_all(api: Api, person: Person) -> None:
    """Sign up, and tell whatever a phone can tell."""
    told = person.told
    api.ask("POST", "/v1/users", {"country": "DE", "appsflyer_id": f"af-{person.user}"}, status=201,
            headers={"Idempotency-Key": "sign-up"})  # fmt: skip
    api.ask("PUT", "/v1/profile", {
        "name": told["name"], "about": told["about"], "photos": [f"https://example.org/{told['photo']}.jpg"],
    })  # fmt: skip
    api.ask("PUT", "/v1/profile/private", {"email": told["email"], "phone": told["phone"], "legal_name": told["legal-name"]})
    api.ask("PUT", "/v1/tracking", {
        "consents": ["ads"], "appsflyer_id": f"af-{person.user}", "advertising_id": told["advertising-id"],
        "vendor_id": told["vendor-id"], "app_instance_id": told["app-instance"], "click_id": told["click"],
        "tracking_allowed": True,
    })  # fmt: skip
    phone = {"device": told["device"], "push_token": told["push-token"], "voip_token": told["voip-token"],
             "onesignal_id": told["onesignal"]}  # fmt: skip
    api.ask("POST", "/v1/sessions", phone, status=201)
    film = {"title": told["title"], "url": f"https://example.org/{told['film']}.mp4", "duration_s": 60}
    api.ask("PUT", f"/v1/clips/clip-{person.user}", film)
    push = {"appsflyer_id": f"af-{person.user}", "event_name": "install", "idfa": told["advertising-id"],
            "user_agent": told["agent"], "ip": "203.0.113.7", "customer_user_id": told["email"],
            "install_time": "2026-11-27 00:00:00.000", "event_time": "2026-11-27 00:00:00.000", "platform": "ios",
            "media_source": "snapchat_int"}  # fmt: skip
    api.ask("POST", "/v1/webhooks/appsflyer", push, headers={"X-AppsFlyer-Token": "push-token"})


def write_all(api: Api, person: Person, peer: Api, peer_user: str) -> None:
    """Write to somebody, put another text in its place, and be reported for it: then the text is evidence."""
    path, told = f"/v1/chats/{peer_user}/messages", person.told
    sent = api.ask("POST", path, {"text": told["message"]}, status=201, headers={"Idempotency-Key": "m"}).json()
    api.ask("PUT", f"{path}/{sent['message']}", {"text": told["edited"]})
    peer.ask("POST", f"/v1/chats/{person.user}/report", {"reason": "spam"}, status=201, headers={"Idempotency-Key": "r"})


def wait_for(found: Callable[[], Any], limit_s: float = PATIENCE_S) -> Any:
    """What it gives once that is true; its last answer where it never is."""
    deadline = time.monotonic() + limit_s
    while not (result := found()) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return result


def _erase(stage: Stage, admin: Api, person: Person) -> list[str]:
    """The person tells everything, is in a call, and is erased: what is broken."""
    broken: list[str] = []
    api, bob = Api(stage, person.user, "streamer", person.told["agent"]), Api(stage, f"bob-{person.word}", "user")
    tell_all(api, person)
    bob.ask("POST", "/v1/users", status=201, headers={"Idempotency-Key": "sign-up"})
    bob.ask("POST", "/v1/sessions", {"device": "phone"}, status=201)
    for account in (f"bob-{person.word}/coins", f"{person.user}/coins"):
        admin.ask("POST", "/v1/admin/grants", {"account": account, "coins": 500, "ref": "a proof"}, status=201,
                  headers={"Idempotency-Key": uuid.uuid4().hex})  # fmt: skip
    # What cannot be read becomes a dead letter, with all of its bytes.
    key = person.user.encode()
    produce_one(stage.config, PROFILE.inbox, key, f'{{"name":"{person.told["name"]}'.encode(),
                partition_of(key, PROFILE.partitions))  # fmt: skip
    written = {"text": person.taken_back}
    sent = bob.ask("POST", f"/v1/chats/{person.user}/messages", written, status=201, headers={"Idempotency-Key": "t"}).json()
    bob.ask("DELETE", f"/v1/chats/{person.user}/messages/{sent['message']}", status=204)
    write_all(api, person, bob, f"bob-{person.word}")
    wait_for(lambda: api.get("/v1/users/me").json().get("online") and bob.get("/v1/users/me").json().get("online"))
    call = bob.ask("POST", "/v1/calls", {"to": person.user}, status=201, headers={"Idempotency-Key": "c"}).json()
    export = wait_for(lambda: (a := api.get("/v1/users/me/export")).status_code == 200 and a.text)
    hidden = {person.told[name] for name in ("agent", "message", "edited")}
    broken += [f"the export lacks {mark}" for mark in person.told.values() if mark not in export and mark not in hidden]
    on = on_disk(stage.home, person.marks)
    seen = {mark for marks in on.values() for mark in marks}
    broken += [f"the search does not find {mark}, which was told: it proves nothing" for mark in set(person.marks) - seen]
    api.ask("DELETE", "/v1/users/me", status=204)
    wait_for(lambda: api.get("/v1/users/me").status_code == 403)
    api.ask("DELETE", "/v1/users/me", status=204)
    if api.get("/v1/users/me/export").json().get("code") != "user_erased":
        broken.append("the export still says something")
    ended = wait_for(lambda: bob.get(f"/v1/calls/{call['call']}").json().get("status") == "ended")
    if not ended:
        broken.append(f"the call goes on without whoever was erased: {bob.get('/v1/calls/' + call['call']).text}")
    return broken


async def _live(stage: Stage, plan: Plan, admin: Api, person: Person) -> list[str]:
    evening = asyncio.Event()
    city = City(stage.http, stage.config, People(plan.people, 0, plan.seed, PATIENCE_S), Console(quiet=True))
    living = asyncio.create_task(city.run(evening))
    await city.moved_in.wait()
    erased = asyncio.create_task(asyncio.to_thread(_erase, stage, admin, person))
    await asyncio.sleep(plan.seconds)
    broken = await erased
    evening.set()
    books = await living
    return [*broken, *books.broken, *city.sights.errors]


def _audit(stage: Stage, person: Person) -> list[str]:
    config = stage.config

    def read(topic: str) -> Iterator[Row]:
        for record in read_topic(config, topic):
            value = record.value()
            yield Row(record.partition(), key_of(record), None if value is None else msgspec.json.decode(value))

    broken = [*Audit(read).broken, *CallAudit(read).broken]
    facts = [row.value for row in read("user.events") if row.value and row.value["user"] == person.user]
    if (times := sum(fact["type"] == "UserErased" for fact in facts)) != 1:
        broken.append(f"{person.user} was erased {times} times")
    return broken


def _shorten(stage: Stage) -> None:
    """As if a month had passed: what is over goes at once."""
    admin = AdminClient(quiet(stage.config))

    def entry(name: str, value: str) -> ConfigEntry:
        return ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)

    resources = [
        ConfigResource(ResourceType.TOPIC, topic.name,
                       incremental_configs=[entry(*one) for one in (SHORT_COMPACTED if topic.compacted else SHORT).items()])
        for topic in topics()
    ]  # fmt: skip
    resources.append(ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry("log.cleaner.backoff.ms", "1000")]))
    for future in admin.incremental_alter_configs(resources).values():
        future.result(30)


def _others(stage: Stage, seed: int) -> list[Person]:
    """Some who do what the person did: where nothing is written any more a broker has no reason to look."""
    people = [Person(f"other-{seed}-{n}", f"plain{n}", f"+49150000{seed}{n:03}") for n in range(OTHERS)]
    phones = [Api(stage, person.user, "streamer") for person in people]
    for person, api in zip(people, phones, strict=True):
        tell_all(api, person)
    for number, (person, api) in enumerate(zip(people, phones, strict=True)):
        write_all(api, person, phones[number - 1], people[number - 1].user)
    return people


def _age(home: Path) -> None:
    """As if all stores on disk had been written anew a week ago."""
    long_ago = time.time() - renewal.RENEW_S - 60
    for mark in home.rglob(renewal.MARK):
        os.utime(mark, (long_ago, long_ago))


def _left(stage: Stage, person: Person) -> list[str]:
    """What is still there of the person behind retention, when nobody waits any longer."""
    _shorten(stage)
    for seed in range(2):
        _others(stage, seed)
        time.sleep(2)
    stage.stop()
    _age(stage.home)
    stage.start()
    _others(stage, 2)
    deadline = time.monotonic() + GONE_S
    while (found := on_disk(stage.home, person.marks)) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    found |= in_warehouse(connect(stage.clickhouse), person.marks)
    return [f"{place} still has {', '.join(marks)}" for place, marks in sorted(found.items())]


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-proof-"))
    vendors = serve(AdVendors())
    threading.Thread(target=vendors.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{vendors.server_address[1]}"
    tell("starting a platform of its own ...")
    stage = Stage(folder, **environment(url))
    person = Person(f"p{uuid.uuid4().hex[:12]}", f"zq{uuid.uuid4().hex[:12]}", f"+4917{uuid.uuid4().int % 10**10:010}")
    try:
        httpx.post(f"{url}/trouble", json=AWAY)
        admin = Api(stage, "root", "admin")
        admin.ask("PUT", "/v1/admin/postbacks/rules", {"rules": [RULE]})
        tell(f"a city of {plan.people} lives; somebody tells everything, is erased in a call, and the city lives on")
        broken = asyncio.run(_live(stage, plan, admin, person))
        tell("auditing the log and the books ...")
        broken += _audit(stage, person)
        tell("retention passes, others go on, processes are started again; then each byte on disk is looked at ...")
        broken += _left(stage, person)
    finally:
        stage.stop()
        vendors.shutdown()
    return verdict(
        broken,
        folder,
        "somebody was erased, and nothing of them is left but a name that means nothing, nor of what was taken back",
        tell,
    )
