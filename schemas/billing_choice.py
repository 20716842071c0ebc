"""Which tariff a call has: of those in force, the one whose rule fits the call and says most; and what of it the call pins.

The tariff book decides by this (`pipelines/billing_tariffs.py`), and serving foretells by it what a call would cost.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from schemas.billing import SHIPPED, Tariff, TariffBook
from schemas.billing_rules import Traits

# The book before anything was published.
SHIPPED_BOOK: Final = TariffBook({tariff.tariff: (tariff,) for tariff in SHIPPED})


def in_force(versions: Iterable[Tariff], at: datetime) -> Tariff | None:
    """The version of a tariff that holds at a time; None: it begins later."""
    begun = [tariff for tariff in versions if tariff.effective_from <= at]
    return max(begun, key=lambda tariff: (tariff.effective_from, tariff.version), default=None)


def choose(book: TariffBook, traits: Traits, at: datetime) -> Tariff | None:
    """The tariff of a call that asks at a time; None: there is none."""
    candidates = (in_force(versions, at) for versions in book.versions.values())
    found = [one for one in candidates if one and one.rule.fits(traits, at)]
    return max(found, key=lambda one: one.rule.weight).pinned(traits) if found else None
