"""How a proof ends: what is broken, what the platform's processes said last, and one line that says it all."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

SHOWN: Final = 12
LAST_LINES: Final = 12


def verdict(broken: Sequence[str], home: Path, proven: str, tell: Callable[[str], None]) -> int:
    """Tell what is broken and keep the folder `home`; or delete it, and tell what is `proven`. How many are broken."""
    if broken:
        tell(f"what the processes said last (all of it, with the data, is in {home}):")
        for line in _last_words(home):
            tell(f"  {line}")
        for line in broken[:SHOWN]:
            tell(f"  BROKEN  {line}")
        tell(f"FAILED: {len(broken)} broken")
    else:
        shutil.rmtree(home)
        tell(f"PROVEN: {proven}")
    return len(broken)


def _last_words(home: Path) -> list[str]:
    """The end of the platform's log and of each flow's: where to look when a law is broken."""
    logs = [home / "up.log", *sorted((home / "logs").glob("[mlg]*-*.log"))]
    return [f"{log.name}: {line}" for log in logs for line in log.read_text(errors="replace").splitlines()[-LAST_LINES:]]
