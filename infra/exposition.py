"""What a process's `/metrics` says: Prometheus' text format, as far as this project's own gauges and counters need it."""


def total(text: str, metric: str) -> float:
    """The sum of a metric over all its labels; 0 where there is none. `metric` may go on into the labels, to narrow them."""
    return sum(_values(text, metric))


def largest(text: str, metric: str) -> float:
    """Likewise its largest value."""
    return max(_values(text, metric), default=0.0)


def _values(text: str, metric: str) -> list[float]:
    lines = (line for line in text.splitlines() if line.startswith((f"{metric}{{", f"{metric} ")))
    return [float(line.rpartition(" ")[2]) for line in lines]
