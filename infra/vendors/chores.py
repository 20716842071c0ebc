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
    "reconcile": ("payments", "reconcile"),
    "payouts": ("payouts", "ask"),
}
# Chores start processes: a job may not ask for one more often than this.
LEAST_S: Final = 60.0
_running: Final[set["subprocess.Popen[str]"]] = set()


def run(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Run a chore to its end, within its limit; what it said last is kept."""
    del config, client
    left_s = (due.expires_at - now()).total_seconds()
    command = [sys.executable, "-m", "infra.cli", *CHORES[due.provider]]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        _running.add(process)
        try:
            said, _ = process.communicate(timeout=max(left_s, 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            return Attempt(AttemptOutcome.FAILED, 0, "it took longer than the job's limit")
        finally:
            _running.discard(process)
    return Attempt(AttemptOutcome.REFUSED if process.returncode else AttemptOutcome.ACCEPTED, 0, said.strip()[-DETAIL:])


def close() -> None:
    """End the chores of this process, which is about to end; they are run once more."""
    for process in list(_running):
        process.kill()
