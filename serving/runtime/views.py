"""The views: what this process knows of accounts and all other entities, as of the log's end.

States lie in the views' store on disk (`serving/view_store`), which another process writes; in memory is an overlay of what
this process has heard since (`overlay.py`), and the states that were asked for last, decoded. The snapshot of the store that is
looked at is never ahead of what this process has heard of the log: so a view is exactly what the log told up to here, it never
goes back, and balances fit the feed's cursor.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Any, Final

from prometheus_client import Gauge

from infra.kafka import Record, key_of
from schemas.log import topics
from schemas.log.base import State
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.entity import Entity, log_partitions, partition_of
from schemas.log.positions import of_entity
from serving.runtime.feed import Hub
from serving.runtime.outcomes import Outcomes
from serving.runtime.overlay import Overlay
from serving.view_store.changes import CHANGELOGS, HEARD, Balance, decode_balance, entry_of, leave_out
from serving.view_store.indexes import Index, memberships
from serving.view_store.store import BALANCES, Snapshot

ENTRY_BYTES: Final = 100
CHANGELOG_OF: Final = {entity.events: entity.changelog for entity in HEARD}
UNKNOWN: Final = object()
# Every message of ours begins so.
MESSAGE: Final = b'{"type":"'
ACCOUNTS = Gauge("olo_view_accounts", "Accounts in this process's view")
OVERLAY = Gauge("olo_view_overlay", "States and balances in memory that the store on disk did not have yet")


class View:
    """The states of one entity, by key; what was forgotten is not there any more. For the event loop only."""

    def __init__(self, views: "Views", topic: str) -> None:
        self._views = views
        self._topic = topic

    def get(self, key: str, otherwise: Any = None) -> Any:
        """The state of a key."""
        state = self._views.state(self._topic, key)
        return otherwise if state is None else state

    def __contains__(self, key: str) -> bool:
        return self._views.state(self._topic, key) is not None

    def __setitem__(self, key: str, state: State) -> None:
        """As a record of the log would: for tests and benchmarks, which have no log."""
        self._views.keep(self._topic, key.encode(), encode(state), 0)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every key and its state. For small entities, such as catalogues: it reads all of them."""
        for key in list(self._views.keys(self._topic)):
            yield key, self.get(key)


class Remembered:
    """The states that were asked for last, decoded; those that are not there, too. `room`: bytes of their JSON; as
    objects they take four times as much. Large ones push out many."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._states: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, place: tuple[str, str]) -> Any:
        """A state, None for one that is not there, or UNKNOWN."""
        found = self._states.get(place)
        if found is None:
            return UNKNOWN
        self._states.move_to_end(place)
        return found[0]

    def put(self, place: tuple[str, str], state: Any, json_bytes: int) -> None:
        """Remember a state that is not remembered."""
        self._states[place] = (state, json_bytes + ENTRY_BYTES)
        self._bytes += json_bytes + ENTRY_BYTES
        while self._bytes > self._room:
            self._bytes -= self._states.popitem(last=False)[1][1]

    def forget(self, place: tuple[str, str]) -> None:
        """The state has changed."""
        if found := self._states.pop(place, None):
            self._bytes -= found[1]


class Views:
    """For the event loop only: balances, states of entities, and who waits for which outcome (`outcomes`). `remembered_bytes`:
    the JSON of the states that are remembered as objects: cards, and the phones of the moment."""

    def __init__(self, hub: Hub, remembered_bytes: int = 8_000_000) -> None:
        self.hub = hub
        self.outcomes = Outcomes()
        self.ready = False
        self._snapshot: Snapshot | None = None
        self._overlay = Overlay((topics.FEED.name, *CHANGELOGS))
        self._remembered = Remembered(remembered_bytes)
        self._begins: list[Callable[[], None]] = []
        self._watchers: dict[str, list[Callable[[str, Any], None]]] = {}
        self._partitions = log_partitions()
        self._facts: dict[str, Callable[[bytes], Any]] = {entity.events: decoder_of(entity.facts) for entity in HEARD}
        self._states: dict[str, Callable[[bytes], State]] = {e.changelog: state_decoder(e.state) for e in HEARD}
        self._of = {entity.changelog: View(self, entity.changelog) for entity in HEARD}

    # --- what is known -----------------------------------------------------------------------------------------------------

    def of(self, entity: Entity) -> View:
        """The states of an entity."""
        return self._of[entity.changelog]

    def state(self, topic: str, key: str) -> Any:
        """A state of a changelog; None: there is none."""
        place = (topic, key)
        state = self._remembered.get(place)
        if state is UNKNOWN:
            found = key.encode(errors="surrogatepass")
            value = self._value(topic, topic, partition_of(found, self._partitions), found)
            state = None if value is None else self._states[topic](value)
            self._remembered.put(place, state, len(value or b""))
        return state

    def balance(self, account: str) -> Balance | None:
        """An account's balance, as of the hub's cursor."""
        key, owner = account.encode(errors="surrogatepass"), account.rpartition("/")[0].encode(errors="surrogatepass")
        value = self._value(topics.FEED.name, BALANCES, partition_of(owner, self._partitions), key)
        return None if value is None else decode_balance(value)

    def _value(self, topic: str, table: str, partition: int, key: bytes) -> bytes | None:
        entry = self._overlay.get(topic, partition, key)
        if entry is not None:
            return entry[1]
        return self._snapshot.get(table, key) if self._snapshot else None

    def keys(self, topic: str) -> Iterator[str]:
        """The keys of a changelog, in no order."""
        changed = dict(self._overlay.changed(topic))
        yield from (key.decode() for key, value in changed.items() if value is not None)
        if self._snapshot:
            yield from (key.decode() for key, _ in self._snapshot.items(topic) if key not in changed)

    def rows(self, index: Index, group: str, limit: int | None = None) -> list[str]:
        """The keys that are in a group, by key, or the first so many."""
        ours = sorted(self._overlay.members(index, group))
        return [key.decode() for key in islice(merge(self._stored(index, group), ours), limit)]

    def _stored(self, index: Index, group: str) -> Iterator[bytes]:
        topic = index.entity.changelog
        for key in self._snapshot.rows(index, group) if self._snapshot else ():
            if self._overlay.get(topic, partition_of(key, self._partitions), key) is None:
                yield key

    def count(self, index: Index, group: str) -> int:
        """How many keys are in a group."""
        ours = len(self._overlay.members(index, group))
        if self._snapshot is None:
            return ours
        topic = index.entity.changelog
        old = (memberships(topic, key, self._snapshot.get(topic, key)) for key, _ in self._overlay.changed(topic))
        return self._snapshot.count(index, group) + ours - sum((index.name, group) in one for one in old)

    def accounts(self) -> int:
        """How many accounts there are."""
        changed = (account for account, _ in self._overlay.changed(topics.FEED.name))
        if self._snapshot is None:
            return sum(1 for _ in changed)
        return self._snapshot.size(BALANCES) + sum(self._snapshot.get(BALANCES, account) is None for account in changed)

    # --- who follows -------------------------------------------------------------------------------------------------------

    def watch(self, entity: Entity, watcher: Callable[[str, Any], None]) -> None:
        """Call `watcher(key, state)` whenever a state of the entity has changed; state None: it was forgotten."""
        self._watchers.setdefault(entity.changelog, []).append(watcher)

    def at_start(self, begin: Callable[[], None]) -> None:
        """Call `begin()` once, when what the store knows is in view and before anything newer is."""
        self._begins.append(begin)

    # --- what comes --------------------------------------------------------------------------------------------------------

    def start(self, snapshot: Snapshot) -> None:
        """The store's snapshot from whose positions on the log is read."""
        self.move(snapshot)
        for begin in self._begins:
            begin()

    def move(self, snapshot: Snapshot) -> None:
        """A newer snapshot, which holds nothing that has not come yet."""
        if self._snapshot is not None:
            self._snapshot.close()
        self._snapshot = snapshot
        self._overlay.forget(snapshot.positions)
        OVERLAY.set(len(self._overlay))
        ACCOUNTS.set(self.accounts())

    def take(self, records: Iterable[Record]) -> None:
        """A batch of records, in order. Those that cannot be read are left out."""
        for record in records:
            try:
                self._take(record)
            except Exception as error:  # of a watcher, too: what one record does must not take the others with it
                leave_out(record, error)
        OVERLAY.set(len(self._overlay))

    def _take(self, record: Record) -> None:
        topic, key, value = record.topic(), record.key() or b"", record.value()
        if topic == topics.FEED.name:
            self._show(record)
        elif topic in self._facts:
            if self.outcomes:
                self.outcomes.fact((CHANGELOG_OF[topic], key), record.timestamp()[1], self._facts[topic](value or b""))
        elif of_entity(key):
            self.keep(topic, key, value, record.offset())
            if self.outcomes:
                self.outcomes.state((topic, key), record.timestamp()[1])

    def keep(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        """A state has changed."""
        self._overlay.put(topic, partition_of(key, self._partitions), key, (offset, value))
        name = key.decode()
        self._remembered.forget((topic, name))
        if watchers := self._watchers.get(topic):
            state = self.state(topic, name)
            for watcher in watchers:
                watcher(name, state)

    def _show(self, record: Record) -> None:
        partition, offset, value = record.partition(), record.offset(), record.value() or b""
        if not value.startswith(MESSAGE) or b"\n" in value:
            raise ValueError("it is no message, and would break the streams that it is shown on")
        if offset >= self._reached(partition) and (entry := entry_of(value)):
            self._overlay.put(topics.FEED.name, partition, entry[0].encode(), (offset, encode(entry[1])))
        self.hub.publish(partition, offset, key_of(record), value)

    def _reached(self, partition: int) -> int:
        """Where the snapshot's balances reach to: of the past that is read for phones it has the entries."""
        return self._snapshot.positions[topics.FEED.name, partition] if self._snapshot else 0
