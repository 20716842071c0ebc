"""What needs no platform of `olo prove door`: how answers to an attack are judged."""

import pytest

from tests.lab.proofs.attacker import ATTACKS, CUT
from tests.lab.proofs.door import RATE, Plan, _p99, _unlike


@pytest.mark.parametrize(
    ("name", "came", "broken"),
    [
        ("bodies", {"401": 7, "413": 2, CUT: 9, "429": 1, "408": 1}, 0), ("bodies", {"200": 1}, 1), ("bodies", {"503": 1}, 1),
        ("flood", {"200": RATE * 3, "429": 10_000}, 0), ("flood", {"200": RATE * 3 + 1}, 1), ("slow", {}, 0),
        ("nonsense", {"500": 1}, 1),
    ],
)  # fmt: skip
def test_what_comes_back_of_an_attack(name: str, came: dict[str, int], broken: int) -> None:
    assert len(_unlike(name, ATTACKS[name], came, 1.0)) == broken


def test_no_attack_may_be_answered_with_an_error_of_ours() -> None:
    assert not [name for name, attack in ATTACKS.items() for status in attack.may if status >= "5" and status != CUT]
    assert Plan().attacks == tuple(ATTACKS)


def test_the_slower_question_counts() -> None:
    assert _p99({"/healthz": [0.1] * 99 + [0.2], "beat": [0.3]}) == 0.3
    assert _p99({}) == float("inf")
