"""Reports of chats: `chat_report` (who reports whom, for what, and what staff made of it) and `chat_evidence` (one item as it
was when it was reported, apart from the chat, so that no edit and no delete changes it).

Evidence is read by staff only, who says why; each reading is a fact. It is kept for EVIDENCE_KEPT, its words no longer than
until their writer is erased.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.chat import ItemKind, KeptRef
from schemas.chat_message import Picture, Text
from schemas.chat_witness import EVIDENCE_KEPT, OfReport, ReportAdmitted, ReportRefusal, Seq, Seqs
from schemas.erased import ErasedUsers
from schemas.log.base import By, Fact, Fields, Message, MessageName, Refused, State, Time, Wake, in_calendar, later
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.profile import Why
from schemas.user import Code, OptionalUser, User_

# Who reports where a rule does.
RULES: Final = "@rules"

EvidenceName = Annotated[str, Meta(min_length=1, max_length=160, description="<report>/<seq>"), PLAIN]


def evidence_name(report: str, seq: int) -> str:
    """The key of the evidence of one item."""
    return f"{report}/{seq}"


def rule_report(asked: str) -> str:
    """The report that a rule makes of what was asked by this request."""
    return f"rule-{sha256(asked.encode()).hexdigest()[:32]}"


class ReportReason(StrEnum):
    """What a chat is reported for. Members are only ever added."""

    HARASSMENT = "harassment"
    INDECENCY = "indecency"
    SPAM = "spam"
    FRAUD = "fraud"
    UNDERAGE = "underage"
    OTHER = "other"
    RULE = "rule"


class ReportOutcome(StrEnum):
    """What staff made of a report."""

    DISMISSED = "dismissed"
    WARNED = "warned"
    BANNED = "banned"


class ReportChat(Message, OfReport):
    """`user` reports the chat with `peer`: these items, or (none) the newest ones."""

    user: User_
    peer: User_
    reason: ReportReason
    seqs: Seqs = ()


class FileReport(Message, OfReport):
    """`rule` puts a message of `peer` to `user`, the item `seq`, before a person. Its evidence comes by itself."""

    user: User_
    peer: User_
    rule: Code
    seq: Seq


class ReadReport(Message, OfReport):
    """Staff wants to read the evidence, and says why."""

    by: User_
    why: Why


class DecideReport(Message, OfReport):
    """A person decides; a ban lasts until `until` (None: for good)."""

    outcome: ReportOutcome
    by: By
    why: Why
    until: Time | None = None


class _OfReport(Fact, OfReport):
    pass


class _Reported(_OfReport):
    user: User_
    peer: User_
    reason: ReportReason
    rule: Code = ""
    seqs: Seqs = ()


class ChatReported(_Reported):
    """`user` has reported `peer`, or (`rule`) a rule did for `user`; all evidence is kept."""


class ReportRepeated(_OfReport):
    """The same report again. `kept`: whether all evidence is."""

    changes_state: ClassVar[bool] = False
    kept: bool


class ReportRefused(_OfReport, Refused):
    """It was not taken, read or decided."""

    changes_state: ClassVar[bool] = True
    refusal: ReportRefusal


class ReportRead(_OfReport):
    """Staff has read the evidence."""

    by: User_
    why: Why


class ReportDecided(_Reported):
    """A person has decided."""

    outcome: ReportOutcome
    by: By
    why: Why
    until: Time | None = None


class UserWarned(Fact):
    """Staff warns `user`, whose messages were reported for this."""

    user: User_
    reason: ReportReason
    report: Annotated[str, Meta(max_length=128), PLAIN] = ""


class ChatReport(State):
    """A report. `left`: of how many items the evidence is not kept yet (None: the chat has not answered)."""

    user: User_
    peer: User_
    reason: ReportReason
    at: Time
    asked: MessageName
    rule: Code = ""
    seqs: Seqs = ()
    left: int | None = None
    readings: int = 0
    outcome: ReportOutcome | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for a person."""
        return self.left is not None and self.outcome is None

    @property
    def wake_at(self) -> datetime | None:
        """When it is forgotten, as its evidence is."""
        return later(self.at, EVIDENCE_KEPT)


# --- evidence ---------------------------------------------------------------------------------------------------------------


class EvidenceFields(Fields):
    """An item as it was. `deleted`: it had been taken back before, and had no text any more."""

    seq: int
    sender: User_
    kind: ItemKind
    sent_at: Time
    until: Time
    ref: KeptRef = ""
    text: Text = ""
    picture_url: Picture = ""
    edited_at: Time | None = None
    deleted: bool = False


class KeepEvidence(Message, OfReport, EvidenceFields):
    """Keep an item as it is now."""

    evidence: EvidenceName


class ForgetEvidence(Message):
    """To the broadcast key of a partition (`evidence`): `user` was erased, whose words no evidence has any more."""

    evidence: EvidenceName
    user: User_


class EvidenceKept(_OfReport):
    """The evidence of one item is kept."""

    evidence: EvidenceName
    sender: OptionalUser = ""


class ChatEvidence(State, EvidenceFields):
    """The evidence of one item. `forgotten`: its words went with their writer. The state under a broadcast key has only
    `erased`: of whom no evidence has words any more."""

    forgotten: bool = False
    erased: ErasedUsers = ()

    def behind(self, common: State | None) -> bool:
        """Whether it has words of somebody who was erased."""
        words = bool(self.text or self.picture_url)
        return isinstance(common, ChatEvidence) and words and self.sender in common.erased

    @property
    def wake_at(self) -> datetime | None:
        """When it is forgotten; what stands under a broadcast key never is."""
        return None if self.erased else in_calendar(self.until)


ChatReportInbox = ReportChat | FileReport | ReadReport | DecideReport | ReportAdmitted | EvidenceKept | Wake
ChatEvidenceInbox = KeepEvidence | ForgetEvidence | Wake

CHAT_REPORT: Final = Entity(
    "chat_report",
    key="report",
    flow=Flow.LIVE,
    state=ChatReport,
    commands=(ReportChat, FileReport, ReadReport, DecideReport),
    facts=(ChatReported, ReportRepeated, ReportRefused, ReportRead, ReportDecided, UserWarned),
    hears=(
        Hears(ReportAdmitted, "report", "the chat says of which items the evidence is"),
        Hears(EvidenceKept, "report", "a report is taken when all its evidence is kept"),
    ),
    shown=(Shown(UserWarned, ("user",), "the phone is told, and not by whom it was reported", ("report",)),),
)
CHAT_EVIDENCE: Final = Entity(
    "chat_evidence",
    key="evidence",
    flow=Flow.LIVE,
    state=ChatEvidence,
    commands=(KeepEvidence, ForgetEvidence),
    facts=(EvidenceKept,),
    raw="what was reported stands in `chat_reports`, without its words",
    private=True,
    broadcast=True,
)
