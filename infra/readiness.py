"""Whether a process that was started is ready: by its answer, or by a metric of it."""

import time
from collections.abc import Callable
from typing import Final

import httpx

from infra.exposition import total
from infra.supervisor import Child

TELL_S: Final = 10.0


def _get(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, timeout=2)
    except httpx.HTTPError:
        return None


def answers_well(url: str) -> bool:
    """Whether a URL is answered with 200 within two seconds."""
    found = _get(url)
    return found is not None and found.status_code == 200


class Ready:
    """Asks whether a process's metric `ready` is above zero; until then it tells now and then how many records are to be read
    (the metric `left`)."""

    def __init__(self, ready: str, left: str, tell: Callable[[str], None]) -> None:
        self._ready = ready
        self._left = left
        self._tell = tell
        self._tell_at = time.monotonic() + TELL_S

    def __call__(self, child: Child) -> bool:
        found = _get(child.url)
        text = found.text if found else ""
        if total(text, self._ready):
            return True
        if time.monotonic() > self._tell_at:
            self._tell_at = time.monotonic() + TELL_S
            left = total(text, self._left)
            more = f" (about {left:,.0f} records of its states are still to be read)" if left else ""
            self._tell(f"still waiting for {child.role} ...{more}")
        return False
