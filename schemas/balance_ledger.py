"""The two ledgers, and the names by which they are told apart.

What testers buy at a store costs them nothing, so its coins have a ledger of their own: the sandbox. An account of it is
"<owner>/sandbox_coins" or "<owner>/sandbox_earnings" (no user's id has a slash), an outside party of it ends with "_sandbox"
("@gifts_sandbox"). All others are of the ordinary ledger.

Law: no coins go from a name of one ledger to a name of the other; the account refuses what would (`other_ledger`). Whoever
derives a payee's name asks `account_in` or `party_in` with the payer's ledger, and nothing else makes such names.
One exception: an ordinary account may be paid by a store's sandbox, on a platform that is a sandbox altogether.
"""

from enum import StrEnum
from typing import Final

from schemas.log.base import AccountId

COINS: Final = "coins"
EARNINGS: Final = "earnings"
SANDBOX_BOOK: Final = "sandbox_"
SANDBOX_PARTY: Final = "_sandbox"
# In what follows the owner of an account; and how an outsider of the sandbox's ledger is called.
BOOKS: Final = f"({SANDBOX_BOOK})?({COINS}|{EARNINGS})"
SANDBOX_STORES: Final = frozenset({"@apple_sandbox", "@google_sandbox"})


class Ledger(StrEnum):
    """In which of the two ledgers coins move: those that were paid for, or those that testers bought for nothing."""

    ORDINARY = "ordinary"
    SANDBOX = "sandbox"


def ledger_of(party: str) -> Ledger:
    """The ledger of an account or an outside party."""
    if party.startswith("@"):
        return Ledger.SANDBOX if party.endswith(SANDBOX_PARTY) else Ledger.ORDINARY
    return Ledger.SANDBOX if party.startswith(SANDBOX_BOOK, party.rfind("/") + 1) else Ledger.ORDINARY


def account_in(ledger: Ledger, owner: str, book: str = COINS) -> AccountId:
    """The owner's account of a ledger: of what was bought (COINS), or of what was earned (EARNINGS)."""
    return AccountId(f"{owner}/{SANDBOX_BOOK if ledger is Ledger.SANDBOX else ''}{book}")


def accounts_of(owner: str) -> tuple[AccountId, ...]:
    """All accounts that the owner may have, in both ledgers; those of the sandbox's are opened by a first test purchase."""
    return tuple(account_in(ledger, owner, book) for ledger in Ledger for book in (COINS, EARNINGS))


def party_in(ledger: Ledger, party: AccountId) -> AccountId:
    """The outside party that stands in a ledger for the ordinary one's `party`."""
    return AccountId(f"{party}{SANDBOX_PARTY}") if ledger is Ledger.SANDBOX else party


def crosses(account: str, party: str) -> bool:
    """Whether coins between the account and the party would go from one ledger to the other."""
    if "sandbox" not in account and "sandbox" not in party:  # each entry asks this
        return False
    ours, theirs = ledger_of(account), ledger_of(party)
    return ours is not theirs and not (ours is Ledger.ORDINARY and party in SANDBOX_STORES)
