"""The watcher of `olo prove door`: a process of its own asks all along what people ask, and a bystander in the same moments.

`python -m tests.lab.proofs.watcher` reads what to ask as a line of JSON: `url`, `bystander` (an URL, too), `beats` (pairs of
token and session). For each further line it tells what it has seen since the last one: `waits` in seconds, by question, and
what was `wrong`. A question is asked when its time has come, whether the one before was answered or not.
"""

import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import httpx

HEALTHZ, BEAT, BYSTANDER = "/healthz", "beat", "bystander"
QUESTIONS: Final = (HEALTHZ, BEAT, BYSTANDER)
# Between two of a kind; one user's beats stay below the rate of writes.
ASK_S, BEAT_S = 0.02, 0.25
PATIENCE_S: Final = 30.0
MAX_WRONG: Final = 5


class Watcher:
    """What was seen since the last `tell`."""

    def __init__(self) -> None:
        self._waits: dict[str, list[float]] = defaultdict(list)
        self._wrong: list[str] = []

    def tell(self) -> str:
        """What was seen, as JSON; from now on anew."""
        told = json.dumps({"waits": self._waits, "wrong": self._wrong[:MAX_WRONG]})
        self._waits, self._wrong = defaultdict(list), []
        return told

    async def every(self, pause_s: float, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ask so often."""
        asked: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            task = asyncio.create_task(one())
            asked.add(task)
            task.add_done_callback(asked.discard)
            due = max(due + pause_s, time.monotonic())  # what this process has missed itself it does not catch up
            await asyncio.sleep(due - time.monotonic())

    async def anew(self, name: str, url: str) -> None:
        """Ask on a new connection."""
        host, _, port = url.rpartition("/")[2].rpartition(":")
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: olo\r\nConnection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
        except (OSError, TimeoutError) as error:
            answer = repr(error).encode()
        self._took(name, began, answer[9:12] == b"200", answer[:80])

    async def beat(self, client: httpx.AsyncClient, token: str, session: str) -> None:
        """A user's session beats."""
        began = time.monotonic()
        try:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.post(f"/v1/sessions/{session}/beat", headers=headers)
        except httpx.HTTPError as error:
            self._took(BEAT, began, False, repr(error))
        else:
            self._took(BEAT, began, answer.is_success, answer.text[:80])

    def _took(self, name: str, began: float, good: bool, answer: object) -> None:
        self._waits[name].append(time.monotonic() - began)
        if not good:
            self._wrong.append(f"{name} was answered {answer!r}")


async def watch(what: dict[str, Any]) -> None:
    """Ask until standard input ends."""
    watcher = Watcher()
    async with httpx.AsyncClient(base_url=what["url"], timeout=PATIENCE_S, trust_env=False) as client:
        asking = [
            asyncio.create_task(watcher.every(ASK_S, partial(watcher.anew, name, url)))
            for name, url in ((HEALTHZ, what["url"]), (BYSTANDER, what["bystander"]))
        ]
        for token, session in what["beats"]:
            asking.append(asyncio.create_task(watcher.every(BEAT_S, partial(watcher.beat, client, token, session))))
            await asyncio.sleep(BEAT_S / len(what["beats"]))  # not all of them at the same moment
        while await asyncio.to_thread(sys.stdin.readline):
            print(watcher.tell(), flush=True)
        for task in asking:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(watch(json.loads(sys.stdin.readline())))
