"""Blocks: `PUT`, `DELETE /v1/blocks/{user}`, `GET /v1/blocks`; what follows: rules as data, and reviews by a person."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from schemas.blocklist import (
    BLOCKS,
    BOOK,
    MAX_COUNTED,
    MAX_RULES,
    RECORD,
    RULEBOOK,
    SHIPPED_RULES,
    BlockReason,
    BlockRefusal,
    BlockRule,
    BlockUser,
    Consequence,
    ConsequenceReviewed,
    PublishRules,
    Review,
    RulesPublished,
    UnblockUser,
    UserBlocked,
    UserUnblocked,
)
from schemas.log.base import UserId, new_id, now
from schemas.user import Role
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import UserInPath
from serving.runtime.gate import Acting
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import USER_ERASED, Refusals
from serving.runtime.staff import ReportsChange, ReportsLook, RulesChange, RulesLook
from serving.runtime.views import Views
from serving.view_store.indexes import OPEN_CASES

router = APIRouter(tags=["blocks"])

REFUSED: Final[Refusals] = {
    BlockRefusal.SAME_USER: (409, "you cannot block yourself"),
    BlockRefusal.TOO_MANY_BLOCKS: (409, "you have blocked as many people as one can; take some back first"),
    BlockRefusal.NOT_BLOCKED: (404, "you have not blocked this user"),
    BlockRefusal.USER_ERASED: USER_ERASED,
    BlockRefusal.REVIEW_UNKNOWN: (404, "there is no such case that waits for a review; see GET /v1/admin/reviews"),
}


class BlockBody(RequestBody):
    """Why."""

    reason: BlockReason


class BlockAnswer(BaseModel):
    """A standing block."""

    user: str
    reason: BlockReason


class BlockRuleBody(RequestBody):
    """`blocks` different people who met somebody of `role` blocked them for `reason` within `window_s`: a penalty (`coins`), or
    a ban (`ban_s`; 0: for good). Only accounts count that were `min_age_s` old when they blocked, and only if those who blocked
    are at least `percent` of all people that the blocked one has met."""

    rule: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    reason: BlockReason
    blocks: Annotated[int, Field(strict=True, ge=1, le=MAX_COUNTED)]
    window_s: Annotated[int, Field(strict=True, ge=60, le=366 * 86_400)]
    then: Consequence
    role: Role | None = None
    coins: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0
    ban_s: Annotated[int, Field(strict=True, ge=0, le=10 * 366 * 86_400)] = 0
    min_age_s: Annotated[int, Field(strict=True, ge=0, le=10 * 366 * 86_400)] = 0
    percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 0


class BlockRulesBody(RequestBody):
    """All rules, from now on."""

    rules: Annotated[list[BlockRuleBody], Field(max_length=MAX_RULES)]


class CaseAnswer(BaseModel):
    """What followed from blocks; `upheld` null: it waits for a review."""

    user: str
    case: str
    rule: BlockRuleBody
    at: datetime
    by: list[str]
    upheld: bool | None
    taken_coins: int


class ReviewBody(RequestBody):
    """Whether the consequence stands; if not, coins are given back, a ban is lifted."""

    upheld: bool


@router.put("/v1/blocks/{user}", response_model=BlockAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def block_user(user: UserInPath, body: BlockBody, caller: Acting, request: Request) -> Any:
    """Block somebody: a call between you ends, and neither meets the other in calls, roulette or gifts any more. It counts
    against them if you have met, in a call or by a gift."""
    rules = _rules(views_of(request))
    command = BlockUser(
        id=new_id(), at=now(), user=UserId(caller.user), peer=UserId(user), reason=body.reason, rules=rules
    )  # fmt: skip
    await commands_of(request).ask(command, UserBlocked, urgent=True)
    return BlockAnswer(user=user, reason=body.reason)


@router.delete("/v1/blocks/{user}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def unblock_user(user: UserInPath, caller: Acting, request: Request) -> None:
    """Take a block back."""
    command = UnblockUser(id=new_id(), at=now(), user=UserId(caller.user), peer=UserId(user))
    await commands_of(request).ask(command, UserUnblocked)


@router.get("/v1/blocks", response_model=list[BlockAnswer], responses=responses(401, 403, 503))
async def list_blocks(caller: SignedIn, request: Request) -> Any:
    """Whom you have blocked."""
    known = views_of(request).of(BLOCKS).get(caller.user)
    return [BlockAnswer(user=user, reason=reason) for user, reason in (known.peers if known else {}).items()]


def _rules(views: Views) -> tuple[BlockRule, ...]:
    book = views.of(RULEBOOK).get(BOOK)
    return book.rules if book else SHIPPED_RULES


@router.get("/v1/admin/block-rules", response_model=BlockRulesBody, responses=responses(401, 403, 503))
async def read_block_rules(_: RulesLook, request: Request) -> Any:
    """The rules in force."""
    return BlockRulesBody(rules=[BlockRuleBody(**msgspec.structs.asdict(rule)) for rule in _rules(views_of(request))])


@router.put("/v1/admin/block-rules", response_model=BlockRulesBody, responses=responses(400, 401, 403, 422, 503))
async def publish_block_rules(body: BlockRulesBody, caller: RulesChange, request: Request) -> Any:
    """Replace all rules; blocks that were counted before count on."""
    problems = [_wrong(rule) for rule in body.rules if _wrong(rule)]
    if len({rule.rule for rule in body.rules}) < len(body.rules):
        problems.append("two rules have the same name")
    if problems:
        raise Problem(422, "invalid_rules", "; ".join(problems))
    rules = tuple(BlockRule(**rule.model_dump()) for rule in body.rules)
    command = PublishRules(id=new_id(), at=now(), rulebook=BOOK, rules=rules, by=caller.user)
    await commands_of(request).ask(command, RulesPublished)
    return body


def _wrong(rule: BlockRuleBody) -> str:
    if rule.then is Consequence.PENALTY and not rule.coins:
        return f"{rule.rule}: a penalty needs coins"
    if rule.then is Consequence.BAN and rule.coins:
        return f"{rule.rule}: a ban takes no coins"
    return ""


@router.get("/v1/admin/reviews", response_model=list[CaseAnswer], responses=responses(401, 403, 503))
async def list_reviews(_: ReportsLook, request: Request) -> Any:
    """What followed from blocks and waits for a person, oldest first."""
    views = views_of(request)
    records = ((user, views.of(RECORD).get(user)) for user in views.rows(OPEN_CASES, ""))
    open_cases = [(user, case) for user, record in records for case in record.cases if case.upheld is None]
    return [
        CaseAnswer(
            user=user, case=case.case, rule=BlockRuleBody(**msgspec.structs.asdict(case.rule)), at=case.at, by=list(case.by),
            upheld=case.upheld, taken_coins=case.taken_coins,
        )
        for user, case in sorted(open_cases, key=lambda found: found[1].at)
    ]  # fmt: skip


@router.post("/v1/admin/reviews/{user}/{case_id}", status_code=204, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def review_case(
    user: UserInPath,
    case: Annotated[str, Path(alias="case_id", min_length=1, max_length=128)],
    body: ReviewBody,
    caller: ReportsChange,
    request: Request,
) -> None:
    """Uphold a consequence, or take it back."""
    command = Review(id=new_id(), at=now(), user=UserId(user), case=case, upheld=body.upheld, by=caller.user)
    await commands_of(request).ask(command, ConsequenceReviewed)
