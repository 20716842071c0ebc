"""The platform's own chores, which a job of the timetable may name: commands of `olo`, each in a process of its own.

A chore is tried once more when `dispatch` died while it ran, so each does no harm when it runs twice. A new one is a row here.
"""

import subprocess
import sys
from typing import Final

import httpx

from infra.config import Config
from infra.vendors.answers import DETAIL, Attempt
from schemas.log.base import now
from schemas.outbox import AttemptOutcome, EffectDue

# By name: what `olo` is told.
CHORES: Final[dict[str, tuple[str, ...]]] = {
    "quality": ("quality",),
    "doctor": ("doctor",),
}
# Chores start processes: a job may not ask for one more often than this.
LEAST_S: Final = 60.0


def run(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Run a chore to its end, within its limit; what it said last is kept."""
    del config, client
    left_s = (due.expires_at - now()).total_seconds()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *CHORES[due.provider]],
            capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False, timeout=max(left_s, 0.0),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Attempt(AttemptOutcome.FAILED, 0, "it took longer than the job's limit")
    said = f"{done.stdout}\n{done.stderr}".strip()[-DETAIL:]
    return Attempt(AttemptOutcome.REFUSED if done.returncode else AttemptOutcome.ACCEPTED, 0, said)
