"""One who asks until there is a final answer: phones, stores and staff of the money proof."""

import asyncio
import time
from collections import Counter
from typing import Any, Final

import httpx

PATIENCE_S: Final = 300.0
# It is not decided yet, whatever the status.
UNDER_WAY: Final = ("purchase_in_progress", "payout_in_progress", "in_progress")


class Asker:
    """`told`: answers, by status and code; `given_up`: what was never answered."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.given_up: list[str] = []

    async def final(  # noqa: PLR0917 - a request's parts
        self, client: httpx.AsyncClient, method: str, path: str, token: str, body: Any = None, key: str = ""
    ) -> httpx.Response | None:
        """The final answer to a request that is sent again until there is one; None: there was none in time."""
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "X-Reason": "a proof"} if token else {}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = await client.request(method, path, json=body, headers=headers)
            except httpx.HTTPError as error:
                self.told[type(error).__name__] += 1
            else:
                self.told[f"{answer.status_code} {code_of(answer)}".strip()] += 1
                if answer.status_code not in (202, 502, 503) and code_of(answer) not in UNDER_WAY:
                    return answer
            await asyncio.sleep(0.2)
        self.given_up.append(f"{method} {path} had no answer in {PATIENCE_S:.0f} s")
        return None


def code_of(answer: httpx.Response) -> str:
    """The stable code of a problem; empty where there is none."""
    if answer.status_code < 400:
        return ""
    try:
        return str(answer.json().get("code", ""))
    except ValueError:
        return ""
