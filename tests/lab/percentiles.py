"""Percentiles of sorted values, for benchmarks and the city."""

from collections.abc import Sequence


def percentile(ordered: Sequence[float], p: float) -> float:
    """The value that `p` per cent of the sorted values do not exceed, to a position; 0 without values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] if ordered else 0.0
