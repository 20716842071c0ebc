"""What needs no platform of `olo prove door`: how answers to an attack are judged."""

import pytest

from tests.lab.proofs.attacker import ATTACKS, CUT
from tests.lab.proofs.door import RATE, Plan, Waits, _late, _unlike
from tests.lab.proofs.watcher import BEAT, BYSTANDER, HEALTHZ


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


def waits(healthz_s: float, beat_s: float, bystander_s: float) -> Waits:
    return {HEALTHZ: [0.001] * 99 + [healthz_s] * 2, BEAT: [beat_s], BYSTANDER: [bystander_s]}


@pytest.mark.parametrize(
    ("attacked", "calm", "late"),
    [
        (waits(0.1, 0.1, 0.0), waits(0.01, 0.01, 0.0), []),
        (waits(0.11, 0.1, 0.0), waits(0.01, 0.01, 0.0), [HEALTHZ]),
        (waits(0.1, 0.11, 0.0), waits(0.01, 0.01, 0.0), [BEAT]),
        (waits(0.14, 0.14, 0.05), waits(0.01, 0.01, 0.0), []),
        (waits(0.4, 0.6, 0.05), waits(0.1, 0.1, 0.0), [BEAT]),
        ({HEALTHZ: [], BEAT: [], BYSTANDER: []}, waits(0.1, 0.1, 0.0), [HEALTHZ, BEAT]),
        (waits(0.01, 0.01, 0.01), {HEALTHZ: [], BEAT: [], BYSTANDER: []}, []),
    ],
)
def test_an_answer_is_late_by_what_the_machine_takes_or_by_what_is_usual(attacked: Waits, calm: Waits, late: list[str]) -> None:
    assert [found.partition(": ")[0] for found in _late(attacked, calm)] == late
