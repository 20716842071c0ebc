"""What a process's `/metrics` says: Prometheus' text format, as far as this project's own gauges and counters need it."""


def total(text: str, metric: str) -> float:
    """The sum of a metric over all its labels; 0 where there is none. `metric` may go on into the labels, to narrow them."""
    lines = (line for line in text.splitlines() if line.startswith((f"{metric}{{", f"{metric} ")))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
