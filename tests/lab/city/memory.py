"""What memory a platform's processes take while a city lives: their own, without the pages of files that they look at."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psutil

# Before this a process fills what it keeps for good.
WARM_MIN: Final = 3.0


class Memory:
    """Looks at the processes of a platform; times in minutes, memory in MB."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def look(self, children: Sequence[Mapping[str, Any]], minute: float) -> None:
        """`children`: those of a running platform, as its endpoints file has them."""
        for child in children:
            try:
                info = psutil.Process(child["pid"]).memory_info()
            except (psutil.Error, TypeError):  # it has just ended, and the next one has no number yet
                continue
            # Linux tells what of it belongs to files.
            self._seen[child["role"]].append((minute, (info.rss - getattr(info, "shared", 0)) / 1e6))

    def lines(self) -> Iterator[str]:
        """A line a process: five moments behind the first minutes, and the slope of the second half of that time."""
        for role, seen in self._seen.items():
            warm = [(minute, mb) for minute, mb in seen if minute >= WARM_MIN]
            if len(warm) > 1:
                moments = [warm[(len(warm) - 1) * quarter // 4] for quarter in range(5)]
                slope = statistics.linear_regression(*zip(*warm[(len(warm) - 1) // 2 :], strict=True)).slope
                told = ", ".join(f"{mb:.0f}" for _, mb in moments)
                yield (f"memory of {role:<12} {told} MB from minute {moments[0][0]:.0f} to {moments[-1][0]:.0f}, "
                       f"in the second half {slope:+.2f} MB a minute")  # fmt: skip
