"""What came of what on the log: the tree of a message's causes and consequences, from the ids that messages have.

A decision derives its messages' ids from the id of what was decided ("<cause's id>/<ordinal>"), and a fact names its `cause`.
So everything that came of one message of outside has that message's id in it. A fact that others hear is one message with a
place in several topics.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Placed(NamedTuple):
    """A record of the log: its place ("<topic>/<partition>/<offset>"), and what its message says of itself."""

    place: str
    id: str
    cause: str
    type: str
    key: str
    at: datetime


class Node(NamedTuple):
    """A message: what it came of (empty: nothing that is known here), and where it stands."""

    id: str
    parent: str
    type: str
    key: str
    at: datetime
    places: tuple[str, ...]


def roots_of(id_: str, cause: str = "") -> list[str]:
    """The ids from which a message's and its cause's are derived: what all of its tree has in its ids."""
    return sorted({_root(one) for one in (id_, cause) if one})


def _root(id_: str) -> str:
    found = UUID.search(id_)
    return found[0] if found else id_.partition("/")[0]


def tree_of(records: Iterable[Placed], focus: str) -> list[Node]:
    """The tree in which the message `focus` stands, from its first cause on: each node behind its parent, older children first.
    Whatever else is among the records is left out; so is all, where the focus is not among them."""
    known: dict[str, Placed] = {}
    places: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda one: (one.at, len(one.id), one.id)):
        known.setdefault(record.id, record)
        if record.place not in places.setdefault(record.id, []):
            places[record.id].append(record.place)
    if focus not in known:
        return []
    parents = {name: _parent(record, known) for name, record in known.items()}
    children: dict[str, list[str]] = {}
    for name, parent in parents.items():
        children.setdefault(parent, []).append(name)
    found, left = list[Node](), [_first(focus, parents)]
    seen = set(left)
    while left:
        name = left.pop()
        record = known[name]
        parent = parents[name] if found else ""
        found.append(Node(name, parent, record.type, record.key, record.at, tuple(places[name])))
        new = [child for child in children.get(name, ()) if child not in seen]
        seen.update(new)
        left += reversed(new)
    return found


def _parent(record: Placed, known: dict[str, Placed]) -> str:
    """What a message was derived from, or else what it answers. Records of strangers may say anything, also that they came of
    themselves."""
    name = record.id
    while name := name.rpartition("/")[0]:
        if name in known:
            return name
    return record.cause if record.cause in known and record.cause != record.id else ""


def _first(focus: str, parents: dict[str, str]) -> str:
    seen: Sequence[str] = [focus]
    while (parent := parents[seen[-1]]) and parent not in seen:
        seen = [*seen, parent]
    return seen[-1]
