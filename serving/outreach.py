"""Outreach, for admins: campaigns of notices and openings to the members of a cohort, `/v1/admin/outreach`.

A campaign that is put with `running: false` is a draft. A preview says before for how many people it would be, and how long.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from clickhouse_connect.driver.exceptions import Error
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field

from schemas.log.base import new_id, now
from schemas.notification_state import NoticeText
from schemas.outreach import (
    BOOK,
    MAX_LANGUAGES,
    MAX_OPENINGS,
    OUTREACH,
    Campaign,
    CampaignBook,
    CampaignPut,
    CampaignRemoved,
    OpeningText,
    OutreachRefusal,
    PutCampaign,
    RemoveCampaign,
)
from schemas.panel import BOOK as COHORT_BOOK
from schemas.panel import COHORTS, CohortBook, CohortRefusal, Rule
from schemas.panel_sql import members_sql
from serving.body import RequestBody
from serving.notice_words import WORDS, NoticeTextBody, each_language_once
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import IdInPath, ItemId
from serving.runtime.problems import Problem, responses, unavailable
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import GrowthChange, GrowthLook
from serving.runtime.warehouse import counted
from serving.view_store.indexes import COHORT_MEMBERS

router = APIRouter(tags=["outreach"])

REFUSED: Final[Refusals] = {
    OutreachRefusal.CAMPAIGN_UNKNOWN: (404, "there is no such campaign; see GET /v1/admin/outreach"),
    OutreachRefusal.TOO_MANY_CAMPAIGNS: (409, "there are as many campaigns as there can be; remove one first"),
    OutreachRefusal.CAMPAIGNS_TOO_LONG: (409, "the words of all campaigns together are too long; shorten or remove some"),
}


class OpeningTextBody(RequestBody):
    """What a streamer's first message says, in one language."""

    language: Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[a-z]+$")]
    text: Annotated[str, Field(min_length=1, max_length=500, pattern=WORDS)]


class OpeningBody(RequestBody):
    """Streamers write: the online members of the cohort `writers`, `each` so many to a person who enters the campaign's cohort,
    the first one `delay_s` behind the entering, each next one as much later, at most `per_day` within a day. The first text is
    for all other languages."""

    writers: ItemId
    texts: Annotated[list[OpeningTextBody], Field(min_length=1, max_length=MAX_LANGUAGES), AfterValidator(each_language_once)]
    delay_s: Annotated[int, Field(strict=True, ge=0, le=7 * 86_400)] = 60
    each: Annotated[int, Field(strict=True, ge=1, le=MAX_OPENINGS)] = 3
    per_day: Annotated[int, Field(strict=True, ge=1, le=MAX_OPENINGS)] = 3


class CampaignBody(RequestBody):
    """A campaign to a cohort: either a `notice`, told to `pace_per_s` people a second, or an `opening`."""

    cohort: ItemId
    running: bool = False
    notice: (
        Annotated[list[NoticeTextBody], Field(min_length=1, max_length=MAX_LANGUAGES), AfterValidator(each_language_once)]
        | None
    ) = None
    pace_per_s: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    opening: OpeningBody | None = None


class CampaignAnswer(BaseModel):
    """A campaign: how many `people` it is for now; of a notice for how many seconds its pace takes, and which share of
    the people it has come to."""

    campaign: str
    cohort: str
    kind: str
    running: bool
    people: int
    takes_s: float
    done: float
    since: datetime | None


class CampaignDefinitionAnswer(CampaignAnswer):
    """A campaign with its words, as staff wrote it."""

    definition: CampaignBody


class CampaignPreviewAnswer(BaseModel):
    """Whom a campaign that is not saved would be for: `people` now, of a notice for how many seconds its pace takes; of an
    opening how many `writers` there are, of whom those who are online write."""

    people: int
    takes_s: float = 0.0
    writers: int = 0


@router.post(
    "/v1/admin/outreach/preview", response_model=CampaignPreviewAnswer, responses=responses(400, 401, 403, 404, 422, 503)
)
async def preview_campaign(body: CampaignBody, _: GrowthLook, request: Request) -> Any:
    """How many people a campaign would be for, before it is saved."""
    _one_kind(body)
    people = await _people(body, request)
    if body.opening is None:
        return CampaignPreviewAnswer(people=people, takes_s=people / body.pace_per_s)
    return CampaignPreviewAnswer(people=people, writers=views_of(request).count(COHORT_MEMBERS, body.opening.writers))


def _one_kind(body: CampaignBody) -> None:
    if (body.notice is None) == (body.opening is None):
        raise Problem(422, "invalid_request", "a campaign has either a `notice` or an `opening`")


async def _people(body: CampaignBody, request: Request) -> int:
    """Members of the cohort now, or as many as fit its rule. Errors: Problem 404, 503."""
    rule = _rule_of(body, request)
    return max(views_of(request).count(COHORT_MEMBERS, body.cohort), await _fitting(rule, request))


@router.put(
    "/v1/admin/outreach/{campaign}", response_model=CampaignAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503)
)
async def put_campaign(campaign: IdInPath, body: CampaignBody, caller: GrowthChange, request: Request) -> Any:
    """Save a campaign, start it (`running`), pause it, or go on with it. A person is told a campaign's notice once, whatever
    becomes of it; openings are for who enters the cohort from now on."""
    if len(campaign) > 64:
        raise Problem(422, "invalid_request", "a campaign's name has at most 64 letters")
    _one_kind(body)
    pauses = _pauses(campaign, body, request)
    people = views_of(request).count(COHORT_MEMBERS, body.cohort) if pauses else await _people(body, request)
    put = Campaign(campaign, body.cohort, body.running, **_words(body))
    command = PutCampaign(id=new_id(), at=now(), book=BOOK, campaign=put, people=people, by=caller.user)
    fact = await commands_of(request).ask(command, CampaignPut)
    return _answer(fact.campaign, people)


def _pauses(campaign: str, body: CampaignBody, request: Request) -> bool:
    """Whether it only stops what runs, which needs neither ClickHouse nor a cohort that is still there."""
    book: CampaignBook = views_of(request).of(OUTREACH).get(BOOK) or CampaignBook()
    return not body.running and any(one.campaign == campaign and one.running for one in book.campaigns)


def _rule_of(body: CampaignBody, request: Request) -> Rule:
    """The rule of the campaign's cohort. Errors: Problem 404."""
    cohorts: CohortBook = views_of(request).of(COHORTS).get(COHORT_BOOK) or CohortBook()
    known = {one.cohort: one.rule for one in cohorts.cohorts}
    if not {body.cohort, *([body.opening.writers] if body.opening else [])} <= known.keys():
        raise refusal_of(request, CohortRefusal.COHORT_UNKNOWN)
    return known[body.cohort]


async def _fitting(rule: Rule, request: Request) -> int:
    """How many people fit a cohort's rule by history: a cohort that was just saved is still being filled, and a pace by its
    first members would be none. Errors: Problem 503."""
    ask = f"SELECT count() FROM ({members_sql(rule)})"
    try:
        (people,) = await counted(request, ask)
    except (Error, OSError) as error:
        raise unavailable("warehouse_unreachable", "ClickHouse cannot be asked how many people the campaign is for") from error
    return int(people)


def _words(body: CampaignBody) -> dict[str, Any]:
    if body.opening is None:
        texts = tuple(NoticeText(one.language, one.title, one.body) for one in body.notice or ())
        return {"notice": texts, "pace_per_s": body.pace_per_s}
    opening = tuple(OpeningText(one.language, one.text) for one in body.opening.texts)
    return {"opening": opening, **body.opening.model_dump(exclude={"texts"})}


def _answer(one: Campaign, people: int) -> CampaignAnswer:
    return CampaignAnswer(
        campaign=one.campaign, cohort=one.cohort, kind="notice" if one.notice else "opening", running=one.running,
        people=people, takes_s=one.spread_s if one.notice else 0.0,
        done=round(one.done_at(now()), 4) if one.notice else 0.0, since=one.since,
    )  # fmt: skip


@router.get("/v1/admin/outreach", response_model=list[CampaignAnswer], responses=responses(401, 403, 503))
async def list_campaigns(_: GrowthLook, request: Request) -> Any:
    """All campaigns. What came of them: the view `outreach_conversion` in ClickHouse."""
    views = views_of(request)
    book: CampaignBook = views.of(OUTREACH).get(BOOK) or CampaignBook()
    return [_answer(one, views.count(COHORT_MEMBERS, one.cohort)) for one in book.campaigns]


@router.get(
    "/v1/admin/outreach/{campaign}", response_model=CampaignDefinitionAnswer, responses=responses(401, 403, 404, 422, 503)
)
async def read_campaign(campaign: IdInPath, _: GrowthLook, request: Request) -> Any:
    """A campaign with its words."""
    views = views_of(request)
    book: CampaignBook = views.of(OUTREACH).get(BOOK) or CampaignBook()
    found = next((one for one in book.campaigns if one.campaign == campaign), None)
    if found is None:
        raise refusal_of(request, OutreachRefusal.CAMPAIGN_UNKNOWN)
    known = _answer(found, views.count(COHORT_MEMBERS, found.cohort))
    return CampaignDefinitionAnswer(**known.model_dump(), definition=_definition(found))


def _definition(one: Campaign) -> CampaignBody:
    """What staff wrote."""
    common: dict[str, Any] = {"cohort": one.cohort, "running": one.running, "pace_per_s": one.pace_per_s}
    if one.notice:
        return CampaignBody(**common, notice=[NoticeTextBody(**msgspec.structs.asdict(text)) for text in one.notice])
    texts = [OpeningTextBody(**msgspec.structs.asdict(text)) for text in one.opening]
    opening = OpeningBody(writers=one.writers, texts=texts, delay_s=one.delay_s, each=one.each, per_day=one.per_day)
    return CampaignBody(**common, opening=opening)


@router.delete("/v1/admin/outreach/{campaign}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def remove_campaign(campaign: IdInPath, caller: GrowthChange, request: Request) -> None:
    """End a campaign: nobody is told any more."""
    command = RemoveCampaign(id=new_id(), at=now(), book=BOOK, campaign=campaign, by=caller.user)
    await commands_of(request).ask(command, CampaignRemoved)
