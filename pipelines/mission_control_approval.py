"""Approvals, keyed by approval. State: `schemas.mission_control_approval.Approval`, from the question to a day behind its end.

Laws: a command is sent once, and only behind the word of a second person, who has seen exactly it, within a day; who has asked
for it neither approves it nor gains by it, and who gains by it does not approve it. An approval ends once: approved, rejected
or expired. The same word again is answered as before.
Refusals, in order of precedence: `schemas.mission_control_approval.ApprovalRefusal`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from schemas.log.base import Message, UserId, Wake, later, reply, same_fields
from schemas.log.templates import TemplateError, fill
from schemas.mission_control_approval import (
    APPROVAL_LIVES,
    FOUR_EYES,
    MAX_BENEFICIARIES,
    Approval,
    ApprovalAsked,
    ApprovalExpired,
    ApprovalGiven,
    ApprovalInbox,
    ApprovalRefusal,
    ApprovalRefused,
    ApprovalRejected,
    ApprovalRepeated,
    ApprovalStatus,
    AskApproval,
    GiveApproval,
    RejectApproval,
)

Decision = tuple[Approval | None, Sequence[Message]]
ENDS: Final[dict[type[Message], ApprovalStatus]] = {
    GiveApproval: ApprovalStatus.APPROVED,
    RejectApproval: ApprovalStatus.REJECTED,
}


def decide_approval(approval: Approval | None, message: ApprovalInbox) -> Decision:
    """Decide one message of an approval's inbox."""
    match message:
        case Wake():
            return _wake(approval, message)
        case AskApproval():
            return _ask(approval, message)
    if approval is not None and approval.status is ENDS[type(message)] and approval.by == message.by:
        return approval, (ApprovalRepeated(**reply(message), approval=message.approval, status=approval.status),)
    refusal = refusal_of(approval, message)
    if refusal is not None:
        return approval, (_refused(message, message.by, refusal),)
    assert approval is not None
    if isinstance(message, RejectApproval):
        after = replace(approval, status=ApprovalStatus.REJECTED, by=message.by, over_at=message.at)
        told = same_fields(approval, ApprovalRejected) | {"by": message.by, "because": message.why}
        return after, (ApprovalRejected(**reply(message), **told, approval=message.approval),)
    return _give(approval, message)


def refusal_of(approval: Approval | None, message: GiveApproval | RejectApproval) -> ApprovalRefusal | None:
    """The first guard that the message fails, or None."""
    if approval is None:
        return ApprovalRefusal.APPROVAL_UNKNOWN
    if approval.status is not ApprovalStatus.OPEN or message.at >= approval.until:
        return ApprovalRefusal.APPROVAL_OVER
    if isinstance(message, RejectApproval):
        return None
    if message.by == approval.maker:
        return ApprovalRefusal.OWN_APPROVAL
    if message.by in approval.beneficiaries:
        return ApprovalRefusal.BENEFICIARY
    return None if message.seen == approval.seen else ApprovalRefusal.APPROVAL_CHANGED


def command_of(command: str, template: str, *, approval: str, cause: str, at: datetime) -> Message:
    """What is sent when it is approved. Errors: TemplateError, also for a command that takes no second person."""
    found = fill(command, template, {}, id_=f"{cause}/send", at=at, by=f"approval/{approval}")
    if type(found) not in FOUR_EYES:
        raise TemplateError(f"{command} takes no second person")
    return found


def _ask(approval: Approval | None, message: AskApproval) -> Decision:
    if approval is not None:
        same = (approval.maker, approval.command, approval.template) == (message.maker, message.command, message.template)
        if not same:
            return approval, (_refused(message, message.maker, ApprovalRefusal.IDEMPOTENCY_KEY_REUSED),)
        return approval, (ApprovalRepeated(**reply(message), approval=message.approval, status=approval.status),)
    try:
        wanted = command_of(message.command, message.template, approval=message.approval, cause=message.id, at=message.at)
    except TemplateError:
        return None, (_refused(message, message.maker, ApprovalRefusal.TEMPLATE_INVALID),)
    rule = FOUR_EYES[type(wanted)]
    beneficiaries = tuple(map(UserId, rule.beneficiaries(wanted)[:MAX_BENEFICIARIES]))
    if message.maker in beneficiaries:
        return None, (_refused(message, message.maker, ApprovalRefusal.OWN_BENEFIT),)
    found = Approval(
        maker=message.maker, command=message.command, template=message.template, why=message.why, coins=rule.coins(wanted),
        until=later(message.at, APPROVAL_LIVES), beneficiaries=beneficiaries,
    )  # fmt: skip
    asked = ApprovalAsked(**reply(message), **same_fields(found, ApprovalAsked), approval=message.approval)
    return found, (asked,)


def _give(approval: Approval, message: GiveApproval) -> Decision:
    try:
        wanted = command_of(
            approval.command, approval.template, approval=message.approval, cause=message.id, at=message.at
        )  # fmt: skip
    except TemplateError:  # of a command that has changed since
        return approval, (_refused(message, message.by, ApprovalRefusal.TEMPLATE_INVALID),)
    told = same_fields(approval, ApprovalGiven) | {"by": message.by, "sent": wanted.id}
    given = ApprovalGiven(**reply(message), **told, approval=message.approval)
    after = replace(approval, status=ApprovalStatus.APPROVED, by=message.by, over_at=message.at)
    return after, (given, wanted)


def _wake(approval: Approval | None, message: Wake) -> Decision:
    if approval is None or not approval.is_due(message.at):
        return approval, ()
    if approval.over_at is not None:
        return None, ()
    expired = ApprovalExpired(**reply(message), **same_fields(approval, ApprovalExpired), approval=message.key)
    return replace(approval, status=ApprovalStatus.EXPIRED, over_at=message.at), (expired,)


def _refused(message: Message, by: str, refusal: ApprovalRefusal) -> ApprovalRefused:
    approval: str = getattr(message, "approval", "")
    return ApprovalRefused(**reply(message), approval=approval, by=UserId(by), refusal=refusal)
