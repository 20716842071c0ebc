"""`python -m tests.branches FILE`: which branches of the pure modules a measured run took, from the JSON report of `coverage`.

Branches, not lines: a line runs in each test that comes by, and the way that no test has taken is what nobody has thought of.
The last case of a `match` that names every type has a way out that the type checker proves to be closed; it counts as missed.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

# Per cent of all branches.
FLOOR: Final = 95


def told(report: dict[str, Any]) -> tuple[list[str], bool]:
    """The report in lines: each module that misses something, then the sum; and whether it reaches the floor."""
    lines = []
    for name, module in sorted(report["files"].items()):
        if missing := module["missing_branches"]:
            ways = ", ".join(f"{start}->{end if end > 0 else 'exit'}" for start, end in missing)
            lines.append(f"{name:36} {module['summary']['percent_branches_covered']:5.1f} %  {ways}")
    totals = report["totals"]
    share = totals["percent_branches_covered"]
    sum_ = f"{totals['covered_branches']} of {totals['num_branches']} branches in {len(report['files'])} pure modules"
    lines.append(f"{sum_}: {share:.1f} %, at least {FLOOR} %")
    return lines, share >= FLOOR


if __name__ == "__main__":
    lines, enough = told(json.loads(Path(sys.argv[1]).read_text()))
    print("\n".join(lines))
    sys.exit(not enough)
