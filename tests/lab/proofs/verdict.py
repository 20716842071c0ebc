"""How a proof ends: what is broken, what the platform's processes said last, and one line that says it all."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

SHOWN: Final = 12
LAST_LINES: Final = 12


def verdict(
    broken: Sequence[str], home: Path, proven: str, tell: Callable[[str], None], unfinished: Sequence[str] = ()
) -> int:  # fmt: skip
    """Tell what is broken and keep the folder `home`; or delete it, and tell what is `proven`. How many are broken, or were
    given up: requests that are `unfinished` break no law, but without them nothing is proven."""
    for line in unfinished[:SHOWN]:
        tell(f"  UNFINISHED  {line}")
    if broken or unfinished:
        tell(f"what the processes said last (all of it, with the data, is in {home}):")
        for line in _last_words(home):
            tell(f"  {line}")
        for line in broken[:SHOWN]:
            tell(f"  BROKEN  {line}")
        given_up = f", {len(unfinished)} requests were given up" if unfinished else ""
        tell(f"{'FAILED' if broken else 'UNPROVEN'}: {len(broken)} broken{given_up}")
    else:
        shutil.rmtree(home)
        tell(f"PROVEN: {proven}")
    return len(broken) + len(unfinished)


def _last_words(home: Path) -> list[str]:
    """The end of the platform's log and of each flow's: where to look when a law is broken."""
    logs = [home / "up.log", *sorted((home / "logs").glob("[mlg]*-*.log"))]
    return [f"{log.name}: {line}" for log in logs for line in log.read_text(errors="replace").splitlines()[-LAST_LINES:]]
