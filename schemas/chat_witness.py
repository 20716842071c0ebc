"""How evidence of a report is gathered: the report asks the chat, the chat its pages, a page its messages, and each of these
puts what it says now with the evidence. The entities: `schemas.chat`, `schemas.chat_message`, `schemas.chat_report`."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import Fact, Fields, Id, Message, Time
from schemas.log.personal import PLAIN
from schemas.pair import PairKey
from schemas.user import User_

# So many items one report names at most; of a whole chat the newest.
MAX_WITNESSED: Final = 50
# One side of a chat reports it so often at most, and evidence is kept so long.
REPORT_EVERY: Final = timedelta(minutes=10)
EVIDENCE_KEPT: Final = timedelta(days=180)

Seq = Annotated[int, Meta(ge=1, le=2**53)]
Seqs = Annotated[tuple[Seq, ...], Meta(max_length=MAX_WITNESSED)]


class ReportRefusal(StrEnum):
    """Why a report was not taken, read or decided, in order of precedence."""

    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    CHAT_UNKNOWN = "chat_unknown"
    REPORTED_LATELY = "reported_lately"
    ITEM_UNKNOWN = "item_unknown"
    REPORT_UNKNOWN = "report_unknown"
    REPORT_DECIDED = "report_decided"


class OfReport(Fields):
    """Which report."""

    report: Id


class AskEvidence(Message, OfReport):
    """`user` reports these items of the chat with `peer`, or (none) the newest ones. Answered by ReportAdmitted."""

    pair: PairKey
    user: User_
    peer: User_
    seqs: Seqs = ()


class ReportAdmitted(Fact, OfReport):
    """The answer to AskEvidence: which items the evidence is of, or why not."""

    pair: PairKey
    seqs: Seqs = ()
    refusal: ReportRefusal | None = None


class WitnessItems(Message, OfReport):
    """A page puts these items with the evidence, until `until`."""

    page: Annotated[str, Meta(max_length=300), PLAIN]
    pair: PairKey
    seqs: Seqs
    until: Time


class WitnessMessage(Message, OfReport):
    """A message, the item `seq` of a chat, puts what it says now with the evidence, until `until`."""

    message: Id
    seq: int
    sender: User_
    sent_at: Time
    until: Time
