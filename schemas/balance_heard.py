"""To whom the ledger's facts belong, besides their account: a transfer, an adjustment, a call, a gift."""

from collections.abc import Callable
from typing import Final

from schemas.balance import AccountRefused, EntryKind, EntryRecorded, Freeze, Reason, SetCap, Unfreeze, WriteOff

# What staff or the owner does to an account, and not with its coins.
ADJUSTING: Final = (EntryKind.FREEZE, EntryKind.UNFREEZE, EntryKind.WRITE_OFF, EntryKind.CAP)
ADJUSTERS: Final = (Freeze.__name__, Unfreeze.__name__, WriteOff.__name__, SetCap.__name__)


def of_transfer(fact: EntryRecorded | AccountRefused) -> str:
    """The key of a ledger's fact that belongs to a transfer."""
    return "" if of_adjustment(fact) else fact.transfer


def of_adjustment(fact: EntryRecorded | AccountRefused) -> str:
    """The key of a ledger's fact that belongs to an adjustment. Most facts belong to neither that nor a transfer."""
    if not fact.transfer:
        return ""
    of_staff = fact.kind in ADJUSTING if isinstance(fact, EntryRecorded) else fact.command in ADJUSTERS
    return fact.transfer if of_staff else ""


def paid_for(reason: Reason) -> Callable[[EntryRecorded | AccountRefused], str]:
    """The key of a ledger's fact that belongs to a call or a gift: the fact carries that id as `ref`."""
    return lambda fact: fact.ref if fact.reason == reason else ""
