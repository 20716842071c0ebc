"""Cohorts, tags and groups, for admins: `/v1/admin/cohorts`, `/v1/admin/tags`, `/v1/admin/groups`.

A rule is checked at save: its fields and windows, how many members it would have (asked of ClickHouse), and that it does not
take in everybody unless that is meant. A saved cohort is filled member by member; `evaluated` of `users` says how far that is.
"""

from typing import Annotated, Any, Final

import msgspec
from clickhouse_connect.driver.exceptions import Error
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from schemas.log.base import UserId, new_id, now
from schemas.panel import (
    BOOK,
    COHORTS,
    MEMBER,
    Attribute,
    Cohort,
    CohortBook,
    CohortPut,
    CohortRefusal,
    CohortRemoved,
    Moment,
    PutCohort,
    PutTag,
    RemoveCohort,
    RemoveTag,
    Rule,
    TagChanged,
    TagRefusal,
    check,
    in_form,
)
from schemas.panel_counters import UNITS, Counter, RuleError
from schemas.panel_sql import members_sql
from schemas.user import USER, USER_ID_PATTERN
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import IdInPath, ItemId, UserInPath, Word
from serving.runtime.problems import Problem, responses, unavailable
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import GrowthChange, GrowthLook, PeopleChange, PeopleLook
from serving.runtime.warehouse import counted
from serving.view_store.indexes import COHORT_MEMBERS, EVERYBODY, MEMBER_VERSIONS

router = APIRouter(tags=["cohorts"])

MAX_GROUP: Final = 1_000
MEMBERS_SHOWN: Final = 1_000
REFUSED: Final[Refusals] = {
    CohortRefusal.COHORT_UNKNOWN: (404, "there is no such cohort; see GET /v1/admin/cohorts"),
    CohortRefusal.BOOK_FULL: (409, "the rules of all cohorts together are too long; shorten or remove some first"),
    CohortRefusal.TOO_MANY_COHORTS: (409, "there are as many cohorts as there can be; remove one first"),
    TagRefusal.TAG_UNKNOWN: (404, "the user does not have this tag by hand; a cohort's tag goes when its rule does"),
    TagRefusal.USER_ERASED: (409, "{user} was erased: nothing is known of them any more"),
    TagRefusal.TOO_MANY_TAGS: (409, "{user} has as many tags as one can have"),
}

CohortRule = Annotated[
    dict[str, Any],
    Field(
        description="all, any, not of: is (field, values), within (field, seconds), count (field, window, at_least, at_most)",
        examples=[{"rule": "count", "field": "calls", "window": "7d", "at_least": 3}],
    ),
]


class CohortBody(RequestBody):
    """A cohort: its rule, and the tag that members have. `everybody`: yes, the rule is meant to take in all users."""

    rule: CohortRule
    tag: ItemId
    name: Word = ""
    everybody: bool = False


class CohortPreviewBody(RequestBody):
    """A rule that is not saved yet."""

    rule: CohortRule


class CohortPreviewAnswer(BaseModel):
    """How many members the rule would have now, of how many users, and the SQL that tells."""

    members: int
    users: int
    sql: str


class CohortAnswer(BaseModel):
    """A cohort and how far it is filled: `evaluated` of `users` have been looked at under the newest rules."""

    cohort: str
    name: str
    tag: str
    rule: dict[str, Any]
    members: int
    evaluated: int
    users: int


class CohortFieldsAnswer(BaseModel):
    """What rules may look at: `attributes` by `is`, `moments` by `within`, `counters` by `count`, over windows of at most so
    many minutes (m), hours (h) or days (d)."""

    attributes: list[Attribute]
    moments: list[Moment]
    counters: list[Counter]
    windows: dict[str, int]


class CohortMembersAnswer(BaseModel):
    """A cohort's members, at most a thousand of `count`."""

    count: int
    members: list[str]


class GroupBody(RequestBody):
    """Who is in a group: each gets its tag."""

    users: Annotated[list[Annotated[str, Field(pattern=USER_ID_PATTERN)]], Field(min_length=1, max_length=MAX_GROUP)]


class TagsAnswer(BaseModel):
    """A user's tags: given by hand, and those of the cohorts that the user is in."""

    tags: list[str]
    cohorts: dict[str, str]


def _rule(given: dict[str, Any]) -> Rule:
    try:
        rule: Rule = msgspec.convert(given, Rule)
        check(rule)
        rule = in_form(rule)
    except (msgspec.ValidationError, RuleError, RecursionError) as error:
        raise Problem(422, "rule_invalid", f"the rule cannot be: {error}") from None
    return rule


async def _preview(rule: Rule, request: Request) -> CohortPreviewAnswer:
    sql = members_sql(rule)
    ask = f"SELECT (SELECT count() FROM ({sql})), (SELECT count() FROM user_attributes)"
    try:
        members, users = await counted(request, ask)
    except (Error, OSError) as error:
        raise unavailable("warehouse_unreachable", "ClickHouse cannot be asked how many members there would be") from error
    return CohortPreviewAnswer(members=members, users=users, sql=sql)


@router.post("/v1/admin/cohorts/preview", response_model=CohortPreviewAnswer, responses=responses(400, 401, 403, 422, 503))
async def preview_cohort(body: CohortPreviewBody, _: GrowthLook, request: Request) -> Any:
    """How many members a rule would have, from history."""
    views_of(request)
    return await _preview(_rule(body.rule), request)


@router.put("/v1/admin/cohorts/{cohort}", response_model=CohortPreviewAnswer, responses=responses(400, 401, 403, 409, 422, 503))
async def put_cohort(cohort: IdInPath, body: CohortBody, caller: GrowthChange, request: Request) -> Any:
    """Save a cohort; the answer says how many members it will have. It is filled at once."""
    commands = commands_of(request)
    rule = _rule(body.rule)
    found = await _preview(rule, request)
    if found.users and found.members == found.users and not body.everybody:
        raise Problem(409, "matches_everybody", f"all {found.users} users fit the rule; say `everybody: true` if that is meant")
    saved = Cohort(cohort, body.tag, rule, body.name)
    await commands.ask(PutCohort(id=new_id(), at=now(), book=BOOK, cohort=saved, by=caller.user), CohortPut)
    return found


@router.delete("/v1/admin/cohorts/{cohort}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def remove_cohort(cohort: IdInPath, caller: GrowthChange, request: Request) -> None:
    """Remove a cohort: everybody leaves it."""
    command = RemoveCohort(id=new_id(), at=now(), book=BOOK, cohort=cohort, by=caller.user)
    await commands_of(request).ask(command, CohortRemoved)


@router.get("/v1/admin/cohorts/fields", response_model=CohortFieldsAnswer, responses=responses(401, 403, 503))
async def list_cohort_fields(_: GrowthLook) -> Any:
    """What a cohort's rule may be made of."""
    windows = {unit: kept for unit, (_, kept) in UNITS.items()}
    return CohortFieldsAnswer(attributes=[*Attribute], moments=[*Moment], counters=[*Counter], windows=windows)


@router.get("/v1/admin/cohorts", response_model=list[CohortAnswer], responses=responses(401, 403, 503))
async def list_cohorts(_: GrowthLook, request: Request) -> Any:
    """All cohorts, how many members each has, and how far a new one is filled."""
    views = views_of(request)
    book: CohortBook = views.of(COHORTS).get(BOOK) or CohortBook()
    evaluated, users = (views.count(MEMBER_VERSIONS, group) for group in (str(book.version), EVERYBODY))
    return [
        CohortAnswer(
            cohort=one.cohort, name=one.name, tag=one.tag, rule=msgspec.to_builtins(one.rule), evaluated=evaluated,
            members=views.count(COHORT_MEMBERS, one.cohort), users=users,
        )
        for one in book.cohorts
    ]  # fmt: skip


@router.get(
    "/v1/admin/cohorts/{cohort}/members", response_model=CohortMembersAnswer, responses=responses(401, 403, 404, 422, 503)
)
async def list_cohort_members(
    cohort: IdInPath, _: GrowthLook, request: Request, limit: Annotated[int, Query(ge=1, le=MEMBERS_SHOWN)] = 100
) -> Any:
    """Who is in a cohort now."""
    views = views_of(request)
    book: CohortBook = views.of(COHORTS).get(BOOK) or CohortBook()
    if all(one.cohort != cohort for one in book.cohorts):
        raise refusal_of(request, CohortRefusal.COHORT_UNKNOWN)
    return CohortMembersAnswer(count=views.count(COHORT_MEMBERS, cohort), members=views.rows(COHORT_MEMBERS, cohort, limit))


@router.get("/v1/admin/tags/{user}", response_model=TagsAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_tags(user: UserInPath, _: PeopleLook, request: Request) -> Any:
    """A user's tags."""
    return _tags(request, user)


def _tags(request: Request, user: str) -> TagsAnswer:
    member = views_of(request).of(MEMBER).get(user)
    if member is None:
        raise Problem(404, "user_unknown", "there is no such user")
    return TagsAnswer(tags=list(member.tags), cohorts=member.cohorts)


@router.put("/v1/admin/tags/{user}/{tag}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def put_tag(user: UserInPath, tag: IdInPath, caller: PeopleChange, request: Request) -> None:
    """Give a user a tag."""
    _known(request, [user])
    command = PutTag(id=new_id(), at=now(), user=UserId(user), tag=tag, by=caller.user)
    await commands_of(request).ask(command, TagChanged)


@router.delete("/v1/admin/tags/{user}/{tag}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def remove_tag(user: UserInPath, tag: IdInPath, caller: PeopleChange, request: Request) -> None:
    """Take a tag away."""
    command = RemoveTag(id=new_id(), at=now(), user=UserId(user), tag=tag, by=caller.user)
    await commands_of(request).ask(command, TagChanged)


def _known(request: Request, users: list[str]) -> None:
    known = views_of(request).of(USER)
    unknown = [user for user in users if user not in known]
    if unknown:
        raise Problem(404, "user_unknown", f"there is no user {', '.join(unknown[:5])}")


@router.post("/v1/admin/groups/{group}", status_code=204, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def add_to_group(group: IdInPath, body: GroupBody, caller: GrowthChange, request: Request) -> None:
    """Put users into a group by hand: each gets the group's name as a tag. An error is about one of them, and the others may be
    in the group already; the same request again is about those who are not."""
    _known(request, body.users)
    puts = [PutTag(id=new_id(), at=now(), user=UserId(user), tag=group, by=caller.user) for user in dict.fromkeys(body.users)]
    await commands_of(request).ask_all(puts, TagChanged)
