"""`make bench`: all benchmarks, or those named: `python -m tests.lab.bench ledger sse`.

`--scale 0.1` does a tenth of the work.
"""

import argparse
import time

from infra.machine import allow_open_files
from tests.lab.bench import (
    analysts,
    backtest,
    calls,
    chat,
    crowds,
    gallery,
    growth,
    latency,
    ledger,
    lots,
    now,
    outreach,
    paint,
    panel,
    person,
    restore,
    rows,
    scale,
    sse,
    states,
    store,
)

ALL = {
    "ledger": ledger.main,
    "lots": lots.main,
    "states": states.main,
    "latency": latency.main,
    "store": store.main,
    "restore": restore.main,
    "scale": scale.main,
    "sse": sse.main,
    "backtest": backtest.main,
    "calls": calls.main,
    "gallery": gallery.main,
    "crowds": crowds.main,
    "growth": growth.main,
    "analysts": analysts.main,
    "chat": chat.main,
    "outreach": outreach.main,
    "person": person.main,
    "rows": rows.main,
    "now": now.main,
    "paint": paint.main,
    "panel": panel.main,
}


def main() -> None:
    """Run them one after another."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; none: all")
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    unknown = set(given.names) - ALL.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
    allow_open_files()
    if given.scale < 1:
        print(f"scale {given.scale}: shows that the benchmarks run; rates and verdicts count at full scale only\n", flush=True)
    for name in given.names or ALL:
        began = time.monotonic()
        ALL[name](lambda line: print(line, flush=True), given.scale)
        print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
