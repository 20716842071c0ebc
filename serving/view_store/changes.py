"""What the views hear of the log, and how its records become what the views' store holds.

All changelogs but the accounts', whose states are kept as they are; and the feed, of which each entry of an account becomes its
balance. Balances follow the feed, not the changelog: so the hub's cursor and the view always tell the same story, and a
snapshot plus the events behind its cursor misses nothing and repeats nothing. Entries are applied by seq, so that a store that
was begun with the accounts' changelog does not take twice what that held already.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from prometheus_client import Counter

from infra.config import Config
from infra.kafka import Record
from infra.topics import identity
from schemas.balance import ACCOUNT, Account, EntryRecorded
from schemas.balance_cap import Cap
from schemas.log import topics
from schemas.log.base import Time
from schemas.log.codec import decoder_of, encode, state_decoder, wording
from schemas.log.entity import log_partitions
from schemas.log.positions import of_entity
from serving.view_store.folder import Log
from serving.view_store.store import BALANCES, Changes

log = logging.getLogger("olo.views")

HEARD: Final = tuple(entity for entity in topics.ENTITIES if entity is not ACCOUNT)
CHANGELOGS: Final = tuple(entity.changelog for entity in HEARD)
TABLES: Final = (BALANCES, *CHANGELOGS)
SOURCES: Final = (topics.FEED.name, *CHANGELOGS)
ENTRY: Final = b'{"type":"EntryRecorded"'


class Balance(msgspec.Struct, gc=False):
    """One account as of its entry `seq`. Available: balance less held. `cap`: what limits its day, where anything does."""

    seq: int
    balance_coins: int
    held_coins: int
    at: Time
    debt_coins: int = 0
    frozen: bool = False
    cap: Cap | None = None


decode_balance: Final[Callable[[bytes], Balance]] = msgspec.json.Decoder(Balance).decode
_decode_account: Final = state_decoder(Account)
_decode_entry: Final = decoder_of((EntryRecorded,))
UNREADABLE = Counter("olo_view_unreadable", "Records of the log that the views left out, because nobody could read them")


def places() -> list[tuple[str, int]]:
    """Every partition that the views follow."""
    return [(topic, partition) for topic in SOURCES for partition in range(log_partitions())]


def leave_out(record: Record, error: Exception) -> None:
    """One record that cannot be read, such as a stranger's, is counted and named; all others are taken."""
    UNREADABLE.inc()
    place = f"{record.topic()}/{record.partition()}/{record.offset()}"
    log.error("%s cannot be read, and is left out: %s", place, wording(error))


def entry_of(value: bytes) -> tuple[str, Balance] | None:
    """The account and the balance that a record of the feed tells; None for any other record. Errors: ValueError."""
    if not value.startswith(ENTRY):
        return None
    entry: Any = _decode_entry(value)
    return entry.account, _balance(entry)


def _balance(of: EntryRecorded | Account) -> Balance:
    return Balance(of.seq, of.balance_coins, of.held_coins, of.at, of.debt_coins, of.frozen, of.cap)


class Batch:
    """Records that are not in the store yet: the last state of each key, the last entry of each account."""

    def __init__(self) -> None:
        self.records = 0
        self._tables: dict[str, dict[bytes, bytes | None]] = {}
        self._entries: dict[bytes, Balance] = {}

    def take(self, records: Iterable[Record]) -> None:
        """Records of the sources, in order, or of the accounts' changelog. Those that cannot be read are left out."""
        for record in records:
            self.records += 1
            try:
                self._take(record)
            except ValueError as error:
                leave_out(record, error)

    def _take(self, record: Record) -> None:
        topic, key, value = record.topic(), record.key() or b"", record.value()
        if topic == topics.FEED.name:
            if found := entry_of(value or b""):
                self._enter(found[0].encode(), found[1])
        elif topic == ACCOUNT.changelog:
            if value is not None and of_entity(key):
                state: Any = _decode_account(value)
                self._enter(key, _balance(state))
        elif of_entity(key):
            self._tables.setdefault(topic, {})[key] = value

    def _enter(self, account: bytes, entry: Balance) -> None:
        known = self._entries.get(account)
        if known is None or known.seq < entry.seq:
            self._entries[account] = entry

    def changes(self, known: Callable[[str, Iterable[bytes]], dict[bytes, bytes]]) -> Changes:
        """What to write. `known`: asks the store for the values of some keys of a table."""
        before = known(BALANCES, self._entries)
        newer = {
            account: encode(entry)
            for account, entry in self._entries.items()
            if account not in before or decode_balance(before[account]).seq < entry.seq
        }
        return {**self._tables, BALANCES: newer}


def log_of(config: Config) -> Log:
    """Which log this is. Errors: KafkaException."""
    cluster, found = identity(config, SOURCES)
    # A broker without ids gives each topic the same.
    return Log(cluster, log_partitions(), found if len(set(found.values())) == len(found) else {})
