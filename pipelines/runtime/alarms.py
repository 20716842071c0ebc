"""Facts that somebody of the staff has to look at, found among what a batch has written: a type says so (`Fact.alarm`)."""

from collections.abc import Iterable, Iterator
from functools import cache

from schemas.log.topics import ENTITIES


@cache
def prefixes_of(flow: str) -> dict[str, dict[bytes, str]]:
    """How the records of a flow's alarms begin, by topic; a flow without alarms has none, and nothing is looked at."""
    found: dict[str, dict[bytes, str]] = {}
    for entity in ENTITIES:
        for fact in entity.facts:
            if fact.alarm and entity.flow == flow:
                found.setdefault(entity.events, {})[f'{{"type":"{fact.__name__}",'.encode()] = fact.__name__
    return found


def alarms_in(flow: str, outputs: Iterable[tuple[str, int, bytes, bytes | None]]) -> Iterator[str]:
    """The names of the alarms that were written."""
    prefixes = prefixes_of(flow)
    if not prefixes:
        return
    for topic, _, _, value in outputs:
        if topic in prefixes and value is not None:
            yield from (name for prefix, name in prefixes[topic].items() if value.startswith(prefix))
