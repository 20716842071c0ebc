"""The platform as users grow: how soon it is ready again, what its processes hold in memory, how soon a killed one answers.

One user signs up and does what users do; then the changelogs are filled with copies of all states that this user has, under
other names, for 100,000, 1,000,000 and 3,000,000 users. The broker stays; the rest of the platform is started twice at each
size: the first start fills the stores on disk, the second one is what an operator sees every day.
"""

import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import psutil

from infra import tokens
from infra.config import Config
from infra.kafka import read_topic
from schemas.log.topics import ENTITIES
from tests.lab.bench.ground import fill, ground
from tests.lab.percentiles import percentile
from tests.lab.stage import Stage

SIZES: Final = (100_000, 1_000_000, 3_000_000)
# Below this scale only the fewest and the most users are looked at.
SHORT: Final = 0.1
PROTOTYPE: Final = "u-0000000"
ASKED: Final = 200
PATIENCE_S: Final = 120.0
AIM_BYTES: Final = 2_000_000_000
AIM_BACK_S: Final = 5.0


class Found(NamedTuple):
    """One size: seconds until ready at the first and the second start, bytes of each process, seconds until killed ones answer,
    milliseconds of a grant and of a gallery page."""

    users: int
    first_s: float
    second_s: float
    memory: dict[str, int]
    back_s: dict[str, float]
    grant_ms: list[float]
    page_ms: list[float]


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print all of it for each size, and how it grows."""
    with ground() as config, tempfile.TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder), OLO_BROKERS=config.brokers)
        try:
            states = _prototype(stage, config)
            tell(f"{len(states)} states a user, {sum(len(value) for _, _, value in states):,} bytes")
            users, each = 1, []
            for size in SIZES if scale >= SHORT else (SIZES[0], SIZES[-1]):
                stage.stop()
                wanted = max(10, int(size * scale))
                _copy(config, states, range(users, wanted))
                users = wanted
                each.append(_measured(stage, users))
                _tell(tell, each[-1])
            few, many = each[0], each[-1]
            tell(f"  from {few.users:,} to {many.users:,} users: second start {many.second_s / few.second_s:.2f} times, "
                 f"memory {sum(many.memory.values()) / sum(few.memory.values()):.2f} times")  # fmt: skip
        finally:
            stage.stop()


def _api(stage: Stage, user: str, role: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {tokens.token('demo-olo', user, role)}"}
    return httpx.Client(base_url=stage.http, headers=headers, timeout=30, trust_env=False)


def _prototype(stage: Stage, config: Config) -> list[tuple[str, bytes, bytes]]:
    """Somebody with a history: what stands in the changelogs of it (topic, key, value)."""
    with _api(stage, PROTOTYPE, "user") as user, _api(stage, "star", "streamer") as star, _api(stage, "root", "admin") as admin:
        star.post("/v1/users", json={}).raise_for_status()
        user.post("/v1/users", json={"country": "DE"}).raise_for_status()
        user.put("/v1/profile", json={"name": "Somebody"}).raise_for_status()
        user.put("/v1/favorites/star").raise_for_status()
        _grant(admin, PROTOTYPE).raise_for_status()
    time.sleep(3)  # what the panel and others hear of it
    wanted = PROTOTYPE.encode()
    found: dict[tuple[str, bytes], bytes] = {}
    for entity in ENTITIES:
        for record in read_topic(config, entity.changelog):
            if wanted in (name := record.key() or b"") and (value := record.value()):
                found[entity.changelog, name] = value
    return [(topic, key, value) for (topic, key), value in found.items()]


def _copy(config: Config, states: list[tuple[str, bytes, bytes]], numbers: range) -> None:
    old = PROTOTYPE.encode()

    def copies(key: bytes, value: bytes) -> Iterator[tuple[bytes, bytes]]:
        for number in numbers:
            new = b"u-%07d" % number
            yield key.replace(old, new), value.replace(old, new)

    for topic, key, value in states:
        fill(config, topic, copies(key, value))


def _grant(admin: httpx.Client, user: str) -> httpx.Response:
    body = {"account": f"{user}/coins", "coins": 5, "ref": "bench"}
    return admin.post("/v1/admin/grants", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})


def _measured(stage: Stage, users: int) -> Found:
    began = time.monotonic()
    stage.start()
    first_s = time.monotonic() - began
    stage.stop()
    began = time.monotonic()
    stage.start()
    second_s = time.monotonic() - began
    with _api(stage, PROTOTYPE, "user") as user, _api(stage, "root", "admin") as admin:
        grant_ms = [_ms(lambda n=n: _grant(admin, f"u-{n * 7_919 % users:07d}")) for n in range(ASKED)]  # type: ignore[misc]
        page_ms = [_ms(lambda: user.get("/v1/gallery")) for _ in range(ASKED)]
        memory = {child["role"]: _own_bytes(child["pid"]) for child in stage.endpoints["children"] if child["pid"]}
        back_s = {
            "money-0": _back(stage, "money-0", lambda: _grant(admin, PROTOTYPE)),
            "live-0": _back(stage, "live-0", lambda: user.put("/v1/profile", json={"name": "Somebody"})),
            "serving-0": _back(stage, "serving-0", lambda: user.get("/v1/balance")),
        }
    return Found(users, first_s, second_s, memory, back_s, grant_ms, page_ms)


def _ms(ask: Callable[[], httpx.Response]) -> float:
    began = time.perf_counter()
    ask().raise_for_status()
    return (time.perf_counter() - began) * 1_000


def _own_bytes(pid: int) -> int:
    """Resident memory without what is mapped from files, which is the system's page cache."""
    found = psutil.Process(pid).memory_info()
    return int(found.rss - getattr(found, "shared", 0))


def _back(stage: Stage, role: str, ask: Callable[[], httpx.Response]) -> float:
    """Seconds from a kill -9 until the process's work is answered again."""
    os.kill(stage.child(role)["pid"], signal.SIGKILL)
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE_S:
        try:
            if ask().is_success:
                return time.monotonic() - began
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    return float("inf")


def _tell(tell: Callable[[str], None], found: Found) -> None:
    total, slowest = sum(found.memory.values()), max(found.back_s.values())
    enough = "reached" if total <= AIM_BYTES else "NOT reached"
    soon = "reached" if slowest <= AIM_BACK_S else "NOT reached"
    tell(f"  {found.users:>9,} users   ready after {found.first_s:6.1f} s, the second time {found.second_s:5.1f} s")
    tell("     memory: " + ", ".join(f"{role} {held / 1e6:,.0f} MB" for role, held in sorted(found.memory.items())))
    tell(f"     all together {total / 1e6:,.0f} MB (aim at 1M {AIM_BYTES / 1e6:,.0f} MB: {enough})")
    back = ", ".join(f"{role} {seconds:.1f} s" for role, seconds in found.back_s.items())
    tell(f"     killed, they answer again after {back} (aim {AIM_BACK_S:.0f} s: {soon})")
    for what, values in (("a grant", found.grant_ms), ("a gallery page", found.page_ms)):
        ordered = sorted(values)
        tell(f"     {what}: p50 {percentile(ordered, 50):.1f} ms, p99 {percentile(ordered, 99):.1f} ms")
