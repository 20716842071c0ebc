"""Sliding windows inside an entity's state: sums in buckets of time, by the time of the event.

A bucket's number is the event's Unix seconds // its size. A window of `count` buckets at a moment holds the moment's own bucket
and the count - 1 before it; so it moves a bucket at a time, and a replay, or SQL over the same events, gives the same sums.
"""

from datetime import datetime

from schemas.log.base import moment_of, unix_second

Buckets = dict[int, float]


def bucket_of(at: datetime, size_s: int) -> int:
    """The bucket that a moment falls into."""
    return unix_second(at) // size_s


def add(buckets: Buckets, bucket: int, amount: float, count: int) -> Buckets:
    """The buckets with `amount` more in `bucket`, without those that have left a window of `count` buckets."""
    newest = max(bucket, *buckets) if buckets else bucket
    kept = {number: held for number, held in buckets.items() if number > newest - count}
    if bucket > newest - count:
        kept[bucket] = kept.get(bucket, 0) + amount
    return kept


def within(buckets: Buckets, now: int, count: int) -> float:
    """The sum over the window of `count` buckets that ends with the bucket `now`."""
    return sum([held for number, held in buckets.items() if now - count < number <= now])


def expires_at(buckets: Buckets, size_s: int, count: int) -> datetime | None:
    """When the oldest bucket leaves a window of `count` buckets; None: there is none."""
    return moment_of((min(buckets) + count) * size_s) if buckets else None
