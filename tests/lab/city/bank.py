"""A stand-in for our bank: it takes files of payments (pain.001), pays each once, and says on its statements what became of it:
paid, failed, or paid and returned later on."""

import random
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from infra.sepa import NAMESPACE

WORDS: Final = (("paid",), ("paid",), ("failed",), ("paid", "returned"))


class Ordered(NamedTuple):
    """A payment of a file: its id from end to end, how much, and to whom."""

    id: str
    cents: int
    holder: str


@dataclass
class Transferred:
    """What the bank was told to pay, how often, and its last word of it."""

    cents: int
    holder: str
    word: str
    times: int = 1


class Bank:
    """`payments`: by their ids from end to end."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.payments: dict[str, Transferred] = {}

    def take(self, file: bytes) -> dict[str, tuple[str, ...]]:
        """A file's payments by id, and what the statements say of each, in turn."""
        said: dict[str, tuple[str, ...]] = {}
        for ordered in ordered_in(file):
            known = self.payments.get(ordered.id)
            if known is not None:
                known.times += 1
                continue
            said[ordered.id] = words = self._chance.choice(WORDS)
            self.payments[ordered.id] = Transferred(ordered.cents, ordered.holder, words[-1])
        return said


def ordered_in(file: bytes) -> Iterator[Ordered]:
    """What a bank's file orders, which has to be the sum that it says itself. Errors: ValueError."""
    document = ET.fromstring(file)
    found = []
    for one in document.iter(f"{NAMESPACE}CdtTrfTxInf"):
        amount = one.findtext(f".//{NAMESPACE}InstdAmt") or ""
        holder = one.findtext(f"{NAMESPACE}Cdtr/{NAMESPACE}Nm") or ""
        found.append(Ordered(one.findtext(f".//{NAMESPACE}EndToEndId") or "", round(float(amount) * 100), holder))
    said = {(one.text or "") for one in document.iter(f"{NAMESPACE}CtrlSum")}
    if {round(float(text) * 100) for text in said} != {sum(one.cents for one in found)}:
        raise ValueError(f"the file says {said}, and pays {found}")
    yield from found
