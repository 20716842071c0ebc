"""The fields of the ledger's messages: how accounts, parties, holds and transfers are called, and how much moves at once.

An account id is "<owner>/coins" or "<owner>/earnings", or one of the sandbox's ledger (`schemas.balance_ledger`).
A counterparty that starts with "@" ("@promotions") stands outside the ledger: it has no entity, no
balance and no limit, so nothing that everybody pays or is paid by becomes a hot entity.
"""

from typing import Annotated, Final

from msgspec import Meta

from schemas.balance_ledger import BOOKS
from schemas.log.base import MAX_COINS, AccountId, HoldId, TransferId
from schemas.log.personal import PLAIN
from schemas.user import USER_ID

ACCOUNT_ID_PATTERN: Final = f"^{USER_ID}/{BOOKS}$"
OUTSIDE_PATTERN: Final = r"^@[a-z][a-z0-9_.-]{0,63}$"
PARTY_PATTERN: Final = f"^({USER_ID}/{BOOKS}|@[a-z][a-z0-9_.-]{{0,63}})$"

# Serving checks the patterns; on the log only the lengths are checked, since a pattern costs more than the rest of a decode.
Account_ = Annotated[AccountId, Meta(min_length=3, max_length=160, description="<owner>/coins or <owner>/earnings"), PLAIN]
Moved = Annotated[int, Meta(ge=-MAX_COINS, le=MAX_COINS)]
HoldName = Annotated[HoldId, Meta(min_length=1, max_length=160), PLAIN]
TransferName = Annotated[TransferId, Meta(min_length=1, max_length=128), PLAIN]
OptionalHold = Annotated[str, Meta(max_length=160), PLAIN]
ReasonWord = Annotated[str, Meta(max_length=32), PLAIN]
OptionalParty = Annotated[str, Meta(max_length=160), PLAIN]
# A call holds one checkpoint ahead and a gift holds nothing: a few would do.
MAX_HOLDS: Final = 64
FORFEITED: Final = AccountId("@forfeited")
# Where coins go that were not spent in their time, and who bears a debt that was written off.
EXPIRED: Final = AccountId("@expired")
WRITTEN_OFF: Final = AccountId("@written_off")
Party = Annotated[AccountId, Meta(min_length=2, max_length=160, description="an account, or an outsider: @promotions"), PLAIN]
