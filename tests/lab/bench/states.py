"""States on disk against states in memory: the ledger job with few accounts, and with an account for each command; in turn."""

from collections.abc import Callable
from statistics import median

from infra.config import Config
from tests.lab.bench.ground import committed, fill, ground, make_topics, rate
from tests.lab.bench.jobs import Fill

COMMANDS = 700_000
ACCOUNTS = 100_000
TIMES = 3
AIMS = {"few accounts": 0.85, "each its own": 0.7}


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print the medians of both forms for both jobs, and what the disk keeps of the rate."""
    commands = int(COMMANDS * scale)
    accounts = {"few accounts": min(ACCOUNTS, commands), "each its own": commands}
    with ground() as config:
        tell(f"ledger job, {commands:,} commands, one process; states in memory and on disk in turn, medians of {TIMES}")
        for number, (job, of) in enumerate(accounts.items()):
            found: dict[str, list[float]] = {"memory": [], "host": []}
            for turn in range(TIMES):
                for form, rates in found.items():
                    rates.append(_measure(form, f"{form}-{number}-{turn}", Fill(commands, of), config))
            memory, disk = (median(rates) for rates in found.values())
            reached = "reached" if disk / memory >= AIMS[job] else "NOT reached"
            tell(
                f"  {of:>9,} accounts   memory {memory:>9,.0f}/s   disk {disk:>9,.0f}/s   "
                f"disk / memory {disk / memory:.2f}   (aim {AIMS[job]}: {reached})"
            )


def _measure(form: str, name: str, job: Fill, config: Config) -> float:
    """A run on topics of its own: positions stand in the changelog, and a second run on the same ones would find no work."""
    make_topics(config, f"{name}.inbox", f"{name}.events")
    make_topics(config, f"{name}.state", compacted=True)
    total = fill(config, f"{name}.inbox", job.records())
    command = ["-m", "tests.lab.bench.jobs", form, f"{name}.inbox", name]
    return rate(committed(config, name, f"{name}.inbox"), total, command, config)
