"""The overlay: what a process has heard of the log and the store on disk does not have yet, by the record's place.

An entry leaves when the store's snapshot has passed its offset. While nobody writes the store the overlay grows, by one entry
for each key that changes.
"""

from collections.abc import Iterable, Iterator
from itertools import takewhile

from serving.view_store.indexes import OVER, Index, Membership, memberships
from serving.view_store.store import Positions

# The offset of the record, and its value; None: the key was forgotten.
Entry = tuple[int, bytes | None]


class Overlay:
    """Keys by topic and partition, in the order of their last records."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._entries: dict[str, dict[int, dict[bytes, Entry]]] = {topic: {} for topic in topics}
        self._memberships: dict[tuple[str, bytes], frozenset[Membership]] = {}
        self._members: dict[Membership, set[bytes]] = {}

    def __len__(self) -> int:
        return sum(len(entries) for by_partition in self._entries.values() for entries in by_partition.values())

    def put(self, topic: str, partition: int, key: bytes, entry: Entry) -> None:
        """A record has come, behind all others of its partition."""
        entries = self._entries[topic].setdefault(partition, {})
        entries.pop(key, None)
        entries[key] = entry
        if topic in OVER:
            self._join(topic, key, memberships(topic, key, entry[1]))

    def get(self, topic: str, partition: int, key: bytes) -> Entry | None:
        """A key's last record; None: the store on disk has it, if anybody has."""
        entries = self._entries[topic].get(partition)
        return entries.get(key) if entries else None

    def changed(self, topic: str) -> Iterator[tuple[bytes, bytes | None]]:
        """Every key of a topic, with its value."""
        for entries in self._entries[topic].values():
            for key, (_, value) in entries.items():
                yield key, value

    def members(self, index: Index, group: str) -> set[bytes]:
        """The keys here that are in a group."""
        return self._members.get((index.name, group), set())

    def forget(self, positions: Positions) -> None:
        """The store has everything before these positions."""
        for (topic, partition), position in positions.items():
            entries = self._entries.get(topic, {}).get(partition, {})
            for key in _before(entries, position):
                del entries[key]
                self._join(topic, key, frozenset())

    def _join(self, topic: str, key: bytes, after: frozenset[Membership]) -> None:
        before = self._memberships.pop((topic, key), frozenset())
        if after:
            self._memberships[topic, key] = after
        for one in before - after:
            self._members[one].discard(key)
            if not self._members[one]:
                del self._members[one]
        for one in after - before:
            self._members.setdefault(one, set()).add(key)


def _before(entries: dict[bytes, Entry], position: int) -> list[bytes]:
    """The keys whose records stand before an offset."""
    return [key for key, _ in takewhile(lambda item: item[1][0] < position, entries.items())]
