"""The tree of causes by table and Hypothesis: each message once, behind what it came of, also among strangers' records."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.log_tree import Placed, roots_of, tree_of
from tests.long_lists import long_lists

T = datetime(2030, 1, 1, tzinfo=UTC)
ROOT = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"


def record(id_: str, cause: str = "", place: str = "", second: int = 0) -> Placed:
    return Placed(place or f"x/0/{id_}", id_, cause, "Type", "key", T + timedelta(seconds=second))


def shape(records: list[Placed], focus: str) -> list[tuple[str, str]]:
    return [(node.id, node.parent) for node in tree_of(records, focus)]


GIFT = [record(ROOT), record(f"{ROOT}/0", ROOT), record(f"{ROOT}/1"), record(f"{ROOT}/1/0", f"{ROOT}/1")]
WHOLE = [(ROOT, ""), (f"{ROOT}/0", ROOT), (f"{ROOT}/1", ROOT), (f"{ROOT}/1/0", f"{ROOT}/1")]
ROWS = [
    ("all that came of a command, from any of it", GIFT, ROOT, WHOLE),
    ("likewise from a leaf", GIFT, f"{ROOT}/1/0", WHOLE),
    ("what is not there has no tree", GIFT, OTHER, []),
    ("a fact that answers an earlier message stands behind what it was derived from",
     [*GIFT, record(OTHER), record(f"{OTHER}/0", ROOT)], f"{OTHER}/0", [(OTHER, ""), (f"{OTHER}/0", OTHER)]),
    ("and behind what it answers, where the other is not known", [record(ROOT), record(f"{OTHER}/0", ROOT)], ROOT,
     [(ROOT, ""), (f"{OTHER}/0", ROOT)]),
    ("a step that is missing is stepped over", [record(ROOT), record(f"{ROOT}/4/0", f"{ROOT}/4")], ROOT,
     [(ROOT, ""), (f"{ROOT}/4/0", ROOT)]),
    ("who says to have come of itself", [record("a", "a")], "a", [("a", "")]),
    ("two who say to have come of each other", [record("a", "b"), record("b", "a", second=1)], "a", [("b", ""), ("a", "b")]),
]  # fmt: skip


@pytest.mark.parametrize(("records", "focus", "nodes"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_tree_of(records: list[Placed], focus: str, nodes: list[tuple[str, str]]) -> None:
    assert shape(records, focus) == nodes
    assert shape(records[::-1], focus) == nodes


def test_a_message_that_others_hear_is_one_node_with_its_places() -> None:
    heard = [record(ROOT, place="gift.events/0/1"), record(ROOT, place="feed/1/7"), record(ROOT, place="feed/1/7")]
    (node,) = tree_of(heard, ROOT)
    assert sorted(node.places) == ["feed/1/7", "gift.events/0/1"]


def test_what_a_tree_has_in_common() -> None:
    assert roots_of(f"{ROOT}/1/0", ROOT) == [ROOT]
    assert roots_of(f"wake/{ROOT}", OTHER) == [ROOT, OTHER]
    assert roots_of("rule/7") == ["rule"]
    assert roots_of("") == []


IDS = st.sampled_from(["a", "b", "a/0", "a/1", "a/0/0", "b/0", "c/9", "", "a/"])


@given(long_lists(st.tuples(IDS, IDS, st.integers(0, 3)), 12))
def test_each_message_stands_once_behind_its_parent(given_: list[tuple[str, str, int]]) -> None:
    records = [record(name, cause, second=second) for name, cause, second in given_]
    for focus in {one.id for one in records}:
        nodes = tree_of(records, focus)
        names = [node.id for node in nodes]
        assert len(set(names)) == len(names)
        assert focus in names
        assert not nodes[0].parent
        assert all(node.parent in names[:number] for number, node in enumerate(nodes) if number)
