"""The ledger job: Olo's host against a bare loop (the limit), stock Bytewax connectors and Quix Streams exactly-once."""

from collections.abc import Callable

from infra.config import Config
from tests.lab.bench.ground import committed, fill, ground, make_topics, rate, written
from tests.lab.bench.jobs import Fill

ACCOUNTS = 100_000
COMMANDS = 1_000_000
# The slow peers get fewer commands of the same kind: a rate needs seconds, not minutes.
FEWER = 200_000

AIMS = {"bare": 0.6, "bytewax": 5.0, "quix": 3.5}


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print each peer's rate and the host's ratio to it."""
    many, few = int(COMMANDS * scale), int(FEWER * scale)
    with ground() as config:
        make_topics(config, "big.inbox", "big.events", "small.inbox", "small.bytewax", "small.quix", "big.bare")
        make_topics(config, "big.state", "big.bare.state", "small.bytewax.state", compacted=True)
        fill(config, "big.inbox", Fill(many, ACCOUNTS).records())
        fill(config, "small.inbox", Fill(few, ACCOUNTS).records())
        tell(f"ledger job: {many:,} commands over {ACCOUNTS:,} accounts ({few:,} for Bytewax and Quix), one process each")
        rates: dict[str, float] = {}
        for name in ("bare", "host", "bytewax", "quix"):
            rates[name] = _measure(name, config, many, few)
            tell(f"  {name:<8} {rates[name]:>9,.0f} commands/s")
    for name, aim in AIMS.items():
        ratio = rates["host"] / rates[name]
        tell(f"  host / {name:<8} {ratio:5.2f}   (aim {aim}: {'reached' if ratio >= aim else 'NOT reached'})")


def _measure(name: str, config: Config, many: int, few: int) -> float:
    topic, total = ("big.inbox", many) if name in ("bare", "host") else ("small.inbox", few)
    output = topic.replace("inbox", name)
    count = written(config, output) if name in ("bare", "bytewax") else committed(config, name, topic)
    return rate(count, total, ["-m", "tests.lab.bench.jobs", name, topic, name], config)
