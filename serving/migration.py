"""Moving over from a back end on Hasura: `POST /v1/webhooks/hasura`, and the rules by which its rows become commands:
`GET`, `PUT /v1/admin/migration/feeds/{feed}`, `GET /v1/admin/migration/feeds`, `POST .../{feed}/preview`; what came of them:
`GET /v1/admin/migration/figures`.

Hasura sends again whatever is not answered with 2xx, so all that sending again would not change is answered with 200, with what
was done: a delivery that no rule takes is recorded, and one of which no command can be made is kept as a dead letter, which
`olo dead-letters redrive` tries again by the rules of then.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from infra.config import Config
from infra.migration_mapping import Delivery, DeliveryError, feed_in, move_of, read_delivery
from infra.vendors.hasura import SOURCE, genuine
from schemas.log.base import MAX_COINS, new_id, now, same_fields
from schemas.migration import MIGRATION_FEED, MigrationFeed, MigrationFeedPut, PutMigrationFeed, RowNoted, RowRepeated
from schemas.migration_rules import (
    MAX_CONDITIONS,
    MAX_KEY_COLUMNS,
    MAX_RULES,
    MAX_SOURCES,
    MAX_WORDS,
    Conversion,
    FieldSource,
    MigrationAction,
    MigrationRule,
    RowCondition,
    RowOperation,
    RowSide,
    RowTest,
    Wrong,
    faults_of,
    gives_coins,
)
from schemas.mission_control_roles import Permission
from schemas.user import USER
from serving.body import RequestBody
from serving.runtime.auth import Caller
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import IdInPath
from serving.runtime.kept import keep_notice
from serving.runtime.problems import FieldProblem, Problem, responses
from serving.runtime.shape import read_json
from serving.runtime.staff import RulesChange, RulesLook
from serving.runtime.warehouse import rows_of

router = APIRouter(tags=["migration"])
MAX_FEEDS: Final = 200
# A letter's last word is the newest record of its place.
FIGURES: Final = """SELECT feed, sumIf(n, outcome = 'moved') AS moved, sumIf(n, outcome = 'repeated') AS repeated,
    sumIf(n, outcome = 'superseded') AS superseded,
    sumIf(n, outcome NOT IN ('moved', 'repeated', 'superseded', 'kept')) AS passed,
    sumIf(n, outcome = 'kept') AS letters, max(last) AS last_at
FROM (
    SELECT JSONExtract(value, 'Tuple(feed String, outcome String)') AS f, f.feed AS feed, f.outcome AS outcome,
        count() AS n, max(logged_at) AS last
    FROM log WHERE topic = 'migration_row.events' AND logged_at > now64(3) - toIntervalDay({days:UInt32}) GROUP BY f
    UNION ALL
    SELECT ('', '') AS f, JSONExtractString(letter, 'kind') AS feed, 'kept' AS outcome, count() AS n, max(noted) AS last
    FROM (
        SELECT key, argMax(type, offset) AS word, argMax(value, offset) AS letter, max(logged_at) AS noted
        FROM log WHERE topic = 'dead_letters' AND startsWith(key, concat({source:String}, '/'))
        GROUP BY key HAVING word = 'DeadLetter'
    ) GROUP BY feed
) GROUP BY feed ORDER BY feed LIMIT 1000 SETTINGS max_execution_time = 10"""

Column = Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9_$-]+$", examples=["id"])]
OptionalColumn = Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9_$-]*$")]
Value = Annotated[str, Field(max_length=64, pattern=r'^[^"\\\x00-\x1f\x7f]*$')]
Days = Annotated[int, Query(ge=1, le=366)]
Limit = Annotated[int, Field(strict=True, ge=0, le=MAX_COINS)]


class RowConditionBody(RequestBody):
    """What has to be so of a column. `value`: of `equals` and `differs`, the column's value as text, such as `12`."""

    column: Column
    test: RowTest
    side: RowSide = RowSide.NEW
    value: Value = ""


class FieldSourceBody(RequestBody):
    """Where a field of the command comes from: a column, or else a constant, which also stands in for a column that is null."""

    field: Annotated[str, Field(max_length=24, pattern="^[a-z_]+$", examples=["user"])]
    column: OptionalColumn = ""
    value: Value = ""
    convert: Conversion = Conversion.TEXT
    words: Annotated[dict[Value, Value], Field(max_length=MAX_WORDS, description="what becomes of which value")] = {}


class MigrationRuleBody(RequestBody):
    """Of which operations, under which conditions, what is made. `max_coins`: of an opening balance, for one person."""

    rule: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    operations: Annotated[list[RowOperation], Field(min_length=1, max_length=len(RowOperation))]
    then: MigrationAction
    fields: Annotated[list[FieldSourceBody], Field(max_length=MAX_SOURCES)]
    when: Annotated[list[RowConditionBody], Field(max_length=MAX_CONDITIONS)] = []
    max_coins: Limit = 0


class MigrationFeedBody(RequestBody):
    """What a feed is of, and its rules: the first one that fits makes the command. `key`: the columns that name a thing for
    good; `version_column`: one that rises with each change, empty: the time at which Hasura noted it counts; `total_coins`:
    what all opening balances of the feed are together, at most."""

    table: Annotated[
        str, Field(max_length=130, pattern=r"^[A-Za-z0-9_$-]+\.[A-Za-z0-9_$-]+$", examples=["public.users"])
    ]  # fmt: skip
    key: Annotated[list[Column], Field(min_length=1, max_length=MAX_KEY_COLUMNS, examples=[["id"]])]
    rules: Annotated[list[MigrationRuleBody], Field(max_length=MAX_RULES)] = []
    version_column: OptionalColumn = ""
    active: bool = True
    total_coins: Limit = 0


class MigrationFeedAnswer(MigrationFeedBody):
    """A feed; `version` counts its changes, `opened_coins` are those of opening balances so far."""

    feed: str
    version: int
    opened_coins: int = 0


class MigrationPreviewBody(RequestBody):
    """A delivery, pasted as Hasura shows it, and rules that need not be in force; without rules: by those in force."""

    delivery: Annotated[str, Field(max_length=65_536, examples=['{"id": "e1"}'])]
    rules: MigrationFeedBody | None = None


class MigrationPreviewAnswer(BaseModel):
    """What would become of it: its `outcome`, or `kept`, with what is wrong and where; `command`: what would be made."""

    outcome: str
    row: str = ""
    rule: str = ""
    command: dict[str, Any] | None = None
    problems: list[FieldProblem] = []


class MigrationFiguresRow(BaseModel):
    """Of a feed: `moved` are deliveries that made a command, `repeated` those that came before, `superseded` those that are
    older than what came, `passed` those that no rule took; `letters` are dead letters that wait, whenever they came."""

    feed: str
    moved: int
    repeated: int
    superseded: int
    passed: int
    letters: int
    last_at: datetime


class MigrationNotedAnswer(BaseModel):
    """What was done. `status`: an outcome, or `kept`: as the dead letter `letter`, for the reasons in `why`."""

    status: str
    rule: str = ""
    sent: str = ""
    letter: str = ""
    why: str = ""


@router.post(
    "/v1/webhooks/hasura", response_model=MigrationNotedAnswer, responses=responses(401, 503), openapi_extra={"security": []}
)
async def receive_hasura_event(request: Request) -> Any:
    """Hasura's event triggers: a row of an old back end was changed. A secret proves where a delivery comes from. An event
    makes one command at most, however often it comes; what is older than a change that came already makes none.

    503: it is not recorded yet, so it should be sent again."""
    config: Config = request.app.state.config
    if not genuine(config.hasura_webhook_secret, request.headers):
        raise Problem(
            401, "token_invalid", "X-Olo-Secret is not the secret; if it should be, look at OLO_HASURA_WEBHOOK_SECRET"
        )
    body, told = await request.body(), None
    try:
        told = read_json(body)
        delivery = read_delivery(told, now())
        feed = views_of(request).of(MIGRATION_FEED).get(delivery.feed)
        command = move_of(delivery, feed, id_=new_id(), at=now(), erased=lambda user: _erased(request, user))
    except DeliveryError as error:
        return await _kept(request, body, str(error), feed_in(told))
    except Problem as problem:
        if problem.status >= 500:
            raise
        return await _kept(request, body, f"{problem.code}: {problem.detail}")
    except ValueError as error:
        return await _kept(request, body, f"broken_json: the body is no JSON: {error}")
    fact = await commands_of(request).ask(command, RowNoted, RowRepeated)
    sent = fact.sent if isinstance(fact, RowNoted) else ""
    return MigrationNotedAnswer(status=fact.outcome, rule=fact.rule, sent=sent)


def _erased(request: Request, user: str) -> bool:
    known = views_of(request).of(USER).get(user)
    return known is not None and known.erased_at is not None


async def _kept(request: Request, body: bytes, why: str, feed: str = "") -> MigrationNotedAnswer:
    letter = await keep_notice(request, SOURCE, body, why, feed)
    return MigrationNotedAnswer(status="kept", letter=letter, why=why[:500])


# --- staff ------------------------------------------------------------------------------------------------------------------


@router.get("/v1/admin/migration/feeds", response_model=list[MigrationFeedAnswer], responses=responses(401, 403, 503))
async def list_migration_feeds(_: RulesLook, request: Request) -> Any:
    """All feeds and their rules, by name."""
    found = sorted(views_of(request).of(MIGRATION_FEED).items(), key=lambda one: one[0])
    return [_shown(name, feed) for name, feed in found[:MAX_FEEDS]]


@router.get(
    "/v1/admin/migration/figures", response_model=list[MigrationFiguresRow], responses=responses(401, 403, 422, 503)
)  # fmt: skip
async def list_migration_figures(_: RulesLook, request: Request, days: Days = 30) -> Any:
    """What came of deliveries in so many days, by feed; with those that no rules were published for, and, without a name, of
    which no feed could be read. The warehouse follows within seconds."""
    return await rows_of(request, FIGURES, {"days": days, "source": SOURCE})


@router.get(
    "/v1/admin/migration/feeds/{feed}", response_model=MigrationFeedAnswer, responses=responses(401, 403, 404, 422, 503)
)  # fmt: skip
async def read_migration_feed(feed: IdInPath, _: RulesLook, request: Request) -> Any:
    """A feed's rules."""
    return _shown(feed, _in_force(request, feed))


@router.put(
    "/v1/admin/migration/feeds/{feed}", response_model=MigrationFeedAnswer, responses=responses(400, 401, 403, 409, 422, 503)
)
async def publish_migration_feed(feed: IdInPath, body: MigrationFeedBody, caller: RulesChange, request: Request) -> Any:
    """Publish a feed's rules, which hold for what is delivered from now on. Its name is the event trigger's. Rules that open
    balances take `money.change`, too, and above the limit of four eyes a second person."""
    rules = _rules(body)
    if wrongs := faults_of(rules):
        raise _invalid(wrongs)
    views = views_of(request).of(MIGRATION_FEED)
    known: MigrationFeed | None = views.get(feed)
    if gives_coins(rules) and not _may_give(caller):
        raise Problem(403, "forbidden", f"rules that open balances take the permission {Permission.MONEY_CHANGE}, too")
    if known is None and sum(1 for _ in views.items()) >= MAX_FEEDS:
        raise Problem(409, "feeds_full", f"there are {MAX_FEEDS} feeds; put the rules of one that is over anew")
    command = PutMigrationFeed(id=new_id(), at=now(), feed=feed, by=caller.user, **same_fields(rules, PutMigrationFeed))
    fact = await commands_of(request).ask(command, MigrationFeedPut)
    opened = known.opened_coins if known else 0
    return MigrationFeedAnswer(feed=feed, version=fact.version, opened_coins=opened, **body.model_dump())


@router.post(
    "/v1/admin/migration/feeds/{feed}/preview", response_model=MigrationPreviewAnswer,
    responses=responses(400, 401, 403, 404, 422, 503),
)  # fmt: skip
async def preview_migration(feed: IdInPath, body: MigrationPreviewBody, _: RulesLook, request: Request) -> Any:
    """What would become of a delivery; nothing is recorded."""
    rules = _in_force(request, feed) if body.rules is None else _draft(body.rules)
    try:
        delivery = read_delivery(read_json(body.delivery.encode(errors="replace")), now())
        _unless_of_another(delivery, feed)
        move = move_of(delivery, rules, id_="preview", at=now(), erased=lambda user: _erased(request, user))
    except DeliveryError as error:
        return MigrationPreviewAnswer(outcome="kept", problems=_problems(error.wrongs))
    except ValueError as error:
        return MigrationPreviewAnswer(outcome="kept", problems=[FieldProblem(where="delivery", what=f"broken_json: {error}")])
    command = msgspec.to_builtins(move.move) if move.move is not None else None
    return MigrationPreviewAnswer(outcome=move.outcome, row=move.row, rule=move.rule, command=command)


def _unless_of_another(delivery: Delivery, feed: str) -> None:
    if delivery.feed != feed:
        raise DeliveryError(Wrong("trigger.name", "feed_differs", f"the delivery is of {delivery.feed}"))


def _problems(wrongs: Any) -> list[FieldProblem]:
    return [FieldProblem(where=one.where, what=f"{one.code}: {one.what}") for one in wrongs]


def _invalid(wrongs: list[Wrong]) -> Problem:
    detail = "; ".join(f"{one.where}: {one.what}" for one in wrongs[:5])
    return Problem(422, "invalid_rules", detail, errors=[one.model_dump() for one in _problems(wrongs[:20])])


def _may_give(caller: Caller) -> bool:
    return Permission.MONEY_CHANGE in caller.permissions


def _in_force(request: Request, feed: str) -> MigrationFeed:
    found: MigrationFeed | None = views_of(request).of(MIGRATION_FEED).get(feed)
    if found is None:
        raise Problem(404, "feed_unknown", "there is no such feed; see GET /v1/admin/migration/feeds")
    return found


def _draft(body: MigrationFeedBody) -> MigrationFeed:
    rules = _rules(body)
    if wrongs := faults_of(rules):
        raise _invalid(wrongs)
    return rules


def _rules(body: MigrationFeedBody) -> MigrationFeed:
    rules = tuple(
        MigrationRule(
            rule=one.rule, operations=tuple(one.operations), then=one.then, max_coins=one.max_coins,
            fields=tuple(FieldSource(**source.model_dump()) for source in one.fields),
            when=tuple(RowCondition(**condition.model_dump()) for condition in one.when),
        )
        for one in body.rules
    )  # fmt: skip
    return MigrationFeed(
        table=body.table, key=tuple(body.key), rules=rules, version_column=body.version_column, active=body.active,
        total_coins=body.total_coins, version=0,
    )  # fmt: skip


def _shown(name: str, feed: MigrationFeed) -> MigrationFeedAnswer:
    fields = msgspec.to_builtins(feed)
    return MigrationFeedAnswer(feed=name, **{key: fields[key] for key in fields if key in MigrationFeedAnswer.model_fields})
