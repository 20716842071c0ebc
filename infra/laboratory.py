"""The seam to the laboratory, `tests/lab`: cities, proofs and benchmarks, which try the platform and are no part of the wheel.

The laboratory imports the platform. The platform never imports the laboratory: it starts `python -m tests.lab ...` as a child
where a checkout has one, and says so in one line where there is none.
"""

import importlib.util
import sys
from typing import Final

from infra.errors import UsageError

LABORATORY: Final = "tests.lab"


def laboratory(*arguments: object) -> list[str]:
    """The command line that runs a command of the laboratory. Errors: UsageError, where only the wheel is installed."""
    try:
        found = importlib.util.find_spec(LABORATORY)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UsageError("cities and proofs stand in Olo's source tree, not in the installed package: run this in a checkout")
    return [sys.executable, "-m", LABORATORY, *map(str, arguments)]
