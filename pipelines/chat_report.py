"""Reports of chats, keyed by report, and their evidence, keyed by report and item.

States: `schemas.chat_report`. Laws: a report is told once, when the evidence of all its items is kept; evidence never changes
but by going, after its time or with the words of whoever was erased; each reading by staff is a fact; a person decides once,
and nobody reads or decides what is not there. Refusals: `schemas.chat_witness.ReportRefusal`.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from schemas.chat import ItemKind
from schemas.chat_report import (
    RULES,
    ChatEvidence,
    ChatEvidenceInbox,
    ChatReport,
    ChatReported,
    ChatReportInbox,
    DecideReport,
    EvidenceKept,
    FileReport,
    ForgetEvidence,
    KeepEvidence,
    ReadReport,
    ReportChat,
    ReportDecided,
    ReportOutcome,
    ReportRead,
    ReportReason,
    ReportRefused,
    ReportRepeated,
    UserWarned,
)
from schemas.chat_witness import AskEvidence, ReportAdmitted, ReportRefusal
from schemas.erased import with_erased
from schemas.log.base import EPOCH, Message, UserId, Wake, derive, reply, same_fields
from schemas.pair import pair_of
from schemas.user import Ban

Decision = tuple[ChatReport | None, Sequence[Message]]


def decide_chat_report(report: ChatReport | None, message: ChatReportInbox) -> Decision:
    """Decide one message of a report's inbox."""
    match message:
        case Wake():
            return (None if report is not None and report.is_due(message.at) else report), ()
        case ReportChat():
            return _begin(message) if report is None else (report, (_again(report, message),))
        case FileReport():
            return _file(message) if report is None else (report, ())
        case ReportAdmitted():
            return _admitted(report, message) if report is not None and report.left is None else (report, ())
        case EvidenceKept():
            return _kept(report, message) if report is not None and report.left else (report, ())
        case ReadReport() | DecideReport():
            refusal = refusal_of(report, message)
            if refusal is not None or report is None:
                return report, (_refused(message, message.report, refusal or ReportRefusal.REPORT_UNKNOWN),)
            return _by_staff(report, message)


def refusal_of(report: ChatReport | None, message: ReadReport | DecideReport) -> ReportRefusal | None:
    """The first guard that the message fails, or None."""
    if report is None or report.left is None:
        return ReportRefusal.REPORT_UNKNOWN
    decided = report.outcome is not None and isinstance(message, DecideReport)
    return ReportRefusal.REPORT_DECIDED if decided else None


def _refused(message: Message, report: str, refusal: ReportRefusal, to: str = "") -> ReportRefused:
    return ReportRefused(**reply(message, to=to), report=report, refusal=refusal)


def _begin(message: ReportChat) -> Decision:
    state = ChatReport(message.user, message.peer, message.reason, message.at, message.id)
    ask = AskEvidence(
        **derive(message, 0), report=message.report, pair=pair_of(message.user, message.peer), user=message.user,
        peer=message.peer, seqs=message.seqs,
    )  # fmt: skip
    return state, (ask,)


def _again(report: ChatReport, message: ReportChat) -> Message:
    if (report.user, report.peer, report.rule) != (message.user, message.peer, ""):
        return _refused(message, message.report, ReportRefusal.IDEMPOTENCY_KEY_REUSED)
    return ReportRepeated(**reply(message), report=message.report, kept=report.left == 0)


def _file(message: FileReport) -> Decision:
    """A rule's report: its one piece of evidence is under way, from the message itself."""
    state = ChatReport(
        message.user, message.peer, ReportReason.RULE, message.at, message.id, message.rule, (message.seq,), left=1
    )  # fmt: skip
    return state, ()


def _admitted(report: ChatReport, message: ReportAdmitted) -> Decision:
    if message.refusal is not None:
        return None, (_refused(message, message.report, message.refusal, report.asked),)
    return replace(report, seqs=message.seqs, left=len(message.seqs)), ()


def _kept(report: ChatReport, message: EvidenceKept) -> Decision:
    after = replace(report, left=(report.left or 0) - 1)
    if after.left:
        return after, ()
    reported = ChatReported(
        **reply(message, to=report.asked), report=message.report, **same_fields(report, ChatReported)
    )  # fmt: skip
    return after, (reported,)


def _by_staff(report: ChatReport, message: ReadReport | DecideReport) -> Decision:
    if isinstance(message, ReadReport):
        read = ReportRead(**reply(message), **same_fields(message, ReportRead))
        return replace(report, readings=report.readings + 1), (read,)
    told = same_fields(report, ReportDecided) | same_fields(message, ReportDecided)
    decided = ReportDecided(**reply(message), **told)
    after = replace(report, outcome=message.outcome)
    peer = UserId(report.peer)
    match message.outcome:
        case ReportOutcome.DISMISSED:
            return after, (decided,)
        case ReportOutcome.WARNED:
            warned = UserWarned(**reply(message, 1), user=peer, reason=report.reason, report=message.report)
            return after, (decided, warned)
        case ReportOutcome.BANNED:
            ban = Ban(**derive(message, "ban"), user=peer, reason=report.reason, by=message.by, until=message.until)
            return after, (decided, ban)


# --- evidence ---------------------------------------------------------------------------------------------------------------

NOTHING: Final = ChatEvidence(seq=0, sender=UserId(RULES), kind=ItemKind.MESSAGE, sent_at=EPOCH, until=EPOCH)


def decide_chat_evidence(
    evidence: ChatEvidence | None, message: ChatEvidenceInbox, common: ChatEvidence | None = None
) -> tuple[ChatEvidence | None, Sequence[Message]]:
    """Decide one message of the evidence of one item, under the users that its partition was told were erased."""
    erased = common.erased if common is not None else ()
    match message:
        case ForgetEvidence():
            return replace(NOTHING, erased=with_erased(evidence.erased if evidence else (), message.user)), ()
        case KeepEvidence() if evidence is not None:
            return evidence, ()
        case KeepEvidence():
            kept = EvidenceKept(**reply(message), **same_fields(message, EvidenceKept))
            return _without_words_of(ChatEvidence(**same_fields(message, ChatEvidence)), erased), (kept,)
        case Wake() if evidence is not None:
            return (None if evidence.is_due(message.at) else _without_words_of(evidence, erased)), ()
        case Wake():
            return None, ()


def _without_words_of(evidence: ChatEvidence, erased: Sequence[str]) -> ChatEvidence:
    if evidence.sender not in erased or not (evidence.text or evidence.picture_url):
        return evidence
    return replace(evidence, text="", picture_url="", forgotten=True)
