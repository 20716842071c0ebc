"""The golden examples: `<stem>.jsonl` has a line for each message that a domain has ever written. Lines are only ever added."""

from pathlib import Path


def golden_lines() -> list[str]:
    """Every line of every domain."""
    return [line for file in sorted(Path(__file__).parent.glob("*.jsonl")) for line in file.read_text().splitlines()]
