"""Tariffs and receipts: `PUT /v1/admin/tariffs/{id}`, `GET /v1/admin/tariffs`, a preview, `GET /v1/calls/{id}/receipt`."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from infra import cron
from infra.config import Config
from schemas.billing import (
    BILL,
    BOOK,
    MAX_FREE,
    SHIPPED,
    TARIFFS,
    FreeTime,
    PublishTariff,
    StepKind,
    Tariff,
    TariffPublished,
    TariffRefusal,
)
from schemas.billing import receipt as billed
from schemas.billing_rating import MAX_CALL_S, MAX_CHECKPOINTS, MAX_STEP_COINS, Checkpoint, Side, problems_of
from schemas.billing_rules import MAX_WINDOWS, CallKind, Hours, Rule, Window
from schemas.log.base import MAX_COINS, new_id, now
from schemas.user import Role
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import IdInPath, KeptMoment, Word
from serving.runtime.lookups import call_of
from serving.runtime.problems import Problem, responses
from serving.runtime.processes import lines_of
from serving.runtime.refusals import Refusals
from serving.runtime.staff import MoneyChange, MoneyLook
from serving.runtime.wall import WallClock, ZoneName, clock_of, minute_of, offsets_of
from serving.runtime.warehouse import rows_of

router = APIRouter(tags=["billing"])

REFUSED: Final[Refusals] = {
    TariffRefusal.INVALID_TARIFF: (422, "{detail}"),
    TariffRefusal.PAYS_MORE_THAN_IT_TAKES: (422, "{detail}"),
    TariffRefusal.EFFECTIVE_IN_PAST: (422, "{detail}"),
    TariffRefusal.TOO_MANY_TARIFFS: (409, "{detail}"),
    TariffRefusal.OVERLAPPING_RULES: (409, "{detail}"),
}

# A preview's table: so many rows show an hour's call without drowning its reader.
MAX_PREVIEW_ROWS: Final = 200

# A backtest rates the calls of so many days at most, and takes so long at most.
MAX_BACKTEST_DAYS: Final = 366
BACKTEST_S: Final = 600.0
# Versions of a tariff that are shown, the newest first.
MAX_VERSIONS: Final = 100
VERSIONS: Final = """SELECT definition FROM tariffs FINAL WHERE tariff = {tariff:String}
ORDER BY version DESC LIMIT {limit:UInt32}"""

TARIFF_PATTERN: Final = r"^[A-Za-z0-9_.-]+$"
TariffInPath = Annotated[str, Path(min_length=1, max_length=64, pattern=TARIFF_PATTERN)]
StepCoins = Annotated[int, Field(strict=True, ge=0, le=MAX_STEP_COINS)]
StepSeconds = Annotated[int, Field(strict=True, ge=0, le=MAX_CALL_S)]


class TariffCheckpointBody(RequestBody):
    """`coins` are due once the call is longer than `after_s`; at 0: as soon as it connects."""

    after_s: StepSeconds
    coins: StepCoins


class TariffSideBody(RequestBody):
    """What one side pays or earns: checkpoints, then `step_coins` every `step_s` behind the last one, and `most_coins` at most
    (0: no limit)."""

    checkpoints: Annotated[list[TariffCheckpointBody], Field(max_length=MAX_CHECKPOINTS)] = []
    step_s: StepSeconds = 0
    step_coins: StepCoins = 0
    most_coins: Annotated[int, Field(strict=True, ge=0, le=MAX_COINS)] = 0

    def side(self) -> Side:
        """As the log has it."""
        listed = tuple(Checkpoint(c.after_s, c.coins) for c in self.checkpoints)
        return Side(listed, self.step_s, self.step_coins, self.most_coins)


class TariffSideAnswer(TariffSideBody):
    """A side as a call keeps it; `free_s`: this payer pays nothing that is due before."""

    free_s: StepSeconds = 0


class TariffWindowBody(RequestBody):
    """On these days (1 is Monday) from when to when, on the wall; `ends` not later than `begins` is on the next day."""

    days: Annotated[list[Annotated[int, Field(strict=True, ge=1, le=7)]], Field(min_length=1, max_length=7)]
    begins: WallClock
    ends: WallClock


class TariffHoursBody(RequestBody):
    """Windows that come back each week. The time at which a call is placed counts, for the whole call."""

    windows: Annotated[list[TariffWindowBody], Field(min_length=1, max_length=MAX_WINDOWS)]
    zone: ZoneName

    def hours(self) -> Hours:
        """With what the zone's clocks will show. Errors: Problem 422 `zone_unknown`."""
        windows = tuple(Window(tuple(w.days), minute_of(w.begins), minute_of(w.ends)) for w in self.windows)
        return Hours(windows, self.zone, offsets_of(self.zone), cron.ZONES)


class TariffRuleBody(RequestBody):
    """Which calls a tariff is for; what is left out fits every call. The rule that says most wins. `tag`, `country`: the
    payer's; `price_class`: what the streamer has picked."""

    kind: CallKind | None = None
    payer_role: Role | None = None
    earner_role: Role | None = None
    country: Word = ""
    tag: Word = ""
    price_class: Word = ""
    hours: Annotated[
        TariffHoursBody | None,
        Field(examples=[{"windows": [{"days": [5, 6], "begins": "20:00", "ends": "02:00"}], "zone": "Europe/Berlin"}]),
    ] = None

    def rule(self) -> Rule:
        """As the log has it. Errors: Problem 422 `zone_unknown`."""
        return Rule(**self.model_dump(exclude={"hours"}), hours=self.hours.hours() if self.hours else None)


class FreeTimeBody(RequestBody):
    """A payer with this tag, of a cohort, a subscription or staff's, pays nothing that is due before `free_s`."""

    tag: Annotated[Word, Field(min_length=1)]
    free_s: Annotated[int, Field(strict=True, ge=1, le=MAX_CALL_S)]


FreeTimes = Annotated[list[FreeTimeBody], Field(max_length=MAX_FREE)]


class TariffBody(RequestBody):
    """A new version of a tariff, in force at once or from a time on. One by which the earner at any second has got more than
    the payer has paid is refused, unless it says `subsidy`; so is one by which somebody's first seconds are `free`, of which
    the earner has a part."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "rule": {"kind": "roulette", "payer_role": "user", "earner_role": "streamer"},
                "payer": {
                    "checkpoints": [{"after_s": 0, "coins": 9}, {"after_s": 20, "coins": 60}, {"after_s": 60, "coins": 60}],
                    "step_s": 60, "step_coins": 60,
                },
                "earner": {
                    "checkpoints": [{"after_s": 20, "coins": 30}, {"after_s": 60, "coins": 30}], "step_s": 60, "step_coins": 30,
                },
            }
        },
    )  # fmt: skip
    rule: TariffRuleBody
    payer: TariffSideBody
    earner: TariffSideBody
    effective_from: KeptMoment | None = None
    name: Word = ""
    subsidy: Annotated[bool, Field(strict=True)] = False
    free: FreeTimes = []


class TariffAnswer(TariffBody):
    """A version of a tariff."""

    tariff: str
    version: int


class TariffPreviewBody(RequestBody):
    """What to preview: both sides, up to a length; `free_s`: for a payer whose first seconds are free."""

    payer: TariffSideBody
    earner: TariffSideBody
    free_s: StepSeconds = 0
    up_to_s: Annotated[int, Field(strict=True, ge=1, le=MAX_CALL_S)] = 600


class TariffPreviewRow(BaseModel):
    """From this second on (0: from the connection), the totals are these."""

    after_s: int
    payer_coins: int
    earner_coins: int
    margin_coins: int


class TariffPreviewAnswer(BaseModel):
    """The rows where something changes; and the curve, as points (seconds, payer, earner) of a step function."""

    rows: list[TariffPreviewRow]
    curve: list[tuple[int, int, int]]


class ReceiptStepAnswer(BaseModel):
    """One movement of coins, and the ledger's entry."""

    kind: StepKind
    number: int
    after_s: int
    coins: int
    entry: str
    refusal: str = ""


class ReceiptAnswer(BaseModel):
    """A call's receipt: what each side paid or earned, step by step. While the call runs: so far, as of `as_of`. `pays`,
    `earns`: what the call's tariff takes of the payer and gives to the earner."""

    call: str
    kind: str
    tariff: str
    version: int
    payer: str
    earner: str
    connected_at: datetime | None
    ended_at: datetime | None
    closed: bool
    paid_coins: int
    earned_coins: int
    steps: list[ReceiptStepAnswer]
    as_of: datetime
    pays: TariffSideAnswer
    earns: TariffSideAnswer


class BacktestBody(RequestBody):
    """A draft of a tariff (a new name: of a new one), and over the calls of how many days it is rated."""

    tariff: Annotated[str, Field(min_length=1, max_length=64, pattern=TARIFF_PATTERN)]
    rule: TariffRuleBody
    payer: TariffSideBody
    earner: TariffSideBody
    free: FreeTimes = []
    days: Annotated[int, Field(strict=True, ge=1, le=MAX_BACKTEST_DAYS)] = 30


TARIFF_PROBLEMS: Final = responses(400, 401, 403, 409, 422, 503)


@router.put("/v1/admin/tariffs/{tariff}", response_model=TariffAnswer, responses=TARIFF_PROBLEMS)
async def publish_tariff(
    tariff: TariffInPath,
    body: TariffBody,
    caller: MoneyChange,
    request: Request,
) -> Any:
    """Publish a new version. Calls that run keep theirs; calls that begin from `effective_from` on have the new one."""
    command = PublishTariff(
        id=new_id(),
        at=now(),
        book=BOOK,
        tariff=tariff,
        rule=body.rule.rule(),
        payer=body.payer.side(),
        earner=body.earner.side(),
        effective_from=body.effective_from,
        name=body.name,
        subsidy=body.subsidy,
        free=_free(body.free),
        by=caller.user,
    )
    fact = await commands_of(request).ask(command, TariffPublished)
    return _shown(fact.tariff)


@router.get("/v1/admin/tariffs", response_model=list[TariffAnswer], responses=responses(401, 403, 503))
async def list_tariffs(_: MoneyLook, request: Request) -> Any:
    """The versions in force and scheduled."""
    book = views_of(request).of(TARIFFS).get(BOOK)
    versions = [tariff for versions in book.versions.values() for tariff in versions] if book else SHIPPED
    return [_shown(tariff) for tariff in versions]


@router.get("/v1/admin/tariffs/{tariff}/versions", response_model=list[TariffAnswer], responses=responses(401, 403, 422, 503))
async def list_tariff_versions(tariff: TariffInPath, _: MoneyLook, request: Request) -> Any:
    """The versions that a tariff ever had, the newest first, from the warehouse; the one that was shipped is the last."""
    rows = await rows_of(request, VERSIONS, {"tariff": tariff, "limit": MAX_VERSIONS})
    published = [msgspec.json.decode(row["definition"], type=Tariff) for row in rows]
    return [_shown(one) for one in (*published, *(shipped for shipped in SHIPPED if shipped.tariff == tariff))]


@router.post(
    "/v1/admin/tariffs/backtest",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "A stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **responses(400, 401, 403, 422, 503),
    },
)
async def backtest_tariff(body: BacktestBody, _: MoneyLook, request: Request) -> EventSourceResponse:
    """Rate past calls with a draft, as `olo tariff backtest` does: the events `progress` (`rated`, `calls`), and at the end
    `result`, or `wrong`."""
    payer, earner = _sides(body)
    draft = {"tariff": body.tariff, "rule": body.rule.rule(), "payer": payer, "earner": earner, "free": _free(body.free)}
    return EventSourceResponse(_backtest(request.app.state.config, msgspec.json.encode(draft), body.days), ping=15)


async def _backtest(config: Config, given: bytes, days: int) -> AsyncIterator[ServerSentEvent]:
    asked = lines_of(config, "infra.backtest_lines", str(days), given=given, limit_s=BACKTEST_S)
    last = b""
    try:
        async with aclosing(asked):
            async for last in asked:
                if last.startswith(b'{"rated"'):
                    yield ServerSentEvent(data=last.decode().strip(), event="progress")
    except TimeoutError:
        last = b'{"wrong":"it took too long; ask for fewer days"}'
    name = "result" if last.startswith(b'{"result"') else "wrong"
    data = last.decode().strip() if last.startswith((b'{"result"', b'{"wrong"')) else '{"wrong":"it ended without a word"}'
    yield ServerSentEvent(data=data, event=name)


def _shown(tariff: Tariff) -> TariffAnswer:
    told, hours = msgspec.to_builtins(tariff), tariff.rule.hours
    if hours:
        windows = [
            {"days": list(window.days), "begins": clock_of(window.begins), "ends": clock_of(window.ends)}
            for window in hours.windows
        ]
        told["rule"]["hours"] = {"windows": windows, "zone": hours.zone}
    return TariffAnswer(**told)


@router.post("/v1/admin/tariffs/preview", response_model=TariffPreviewAnswer, responses=responses(400, 401, 403, 422))
async def preview_tariff(body: TariffPreviewBody, _: MoneyLook) -> Any:
    """What a tariff would cost and pay, by length, before it is published."""
    payer, earner = _sides(body)
    payer = msgspec.structs.replace(payer, free_s=body.free_s)
    changes = sorted({0, *_times(payer, body.up_to_s), *_times(earner, body.up_to_s)})[:MAX_PREVIEW_ROWS]
    rows = []
    for second in changes:
        length = timedelta(seconds=second, microseconds=1)
        pays, earns = payer.total(length), earner.total(length)
        rows.append(TariffPreviewRow(after_s=second, payer_coins=pays, earner_coins=earns, margin_coins=pays - earns))
    return TariffPreviewAnswer(rows=rows, curve=[(row.after_s, row.payer_coins, row.earner_coins) for row in rows])


def _sides(body: TariffPreviewBody | BacktestBody) -> tuple[Side, Side]:
    """What the payer pays and the earner earns. Errors: Problem 422 `invalid_tariff`."""
    payer, earner = body.payer.side(), body.earner.side()
    if problems := [*problems_of(payer, "payer"), *problems_of(earner, "earner")]:
        raise Problem(422, "invalid_tariff", "; ".join(problems))
    return payer, earner


def _free(given: list[FreeTimeBody]) -> tuple[FreeTime, ...]:
    return tuple(FreeTime(one.tag, one.free_s) for one in given)


def _times(side: Side, up_to_s: int) -> list[int]:
    found: list[int] = []
    while (checkpoint := side.at(len(found))) is not None and checkpoint.after_s <= up_to_s and len(found) < MAX_PREVIEW_ROWS:
        found.append(checkpoint.after_s)
    return found


@router.get("/v1/calls/{call}/receipt", response_model=ReceiptAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_receipt(call: IdInPath, caller: SignedIn, request: Request) -> Any:
    """Both sides of a call's bill, to those who were in it, until a day after its end."""
    await call_of(request, call, caller)
    bill = views_of(request).of(BILL).get(call)
    if bill is None:
        raise Problem(404, "no_bill", "the call has no bill: it never came to ring")
    sums = {kind: sum(step.coins for step in bill.steps if step.kind is kind) for kind in StepKind}
    return ReceiptAnswer(
        call=call,
        kind=bill.traits.kind,
        tariff=bill.tariff.tariff,
        version=bill.tariff.version,
        payer=bill.payer,
        earner=bill.earner,
        connected_at=bill.connected_at,
        ended_at=bill.ended_at,
        closed=bill.closed,
        paid_coins=sums[StepKind.PAID] - sums[StepKind.REFUNDED],
        earned_coins=sums[StepKind.EARNED] - sums[StepKind.RECLAIMED],
        steps=[ReceiptStepAnswer(**msgspec.structs.asdict(step)) for step in billed(call, bill)],
        as_of=now(),
        pays=msgspec.to_builtins(bill.tariff.payer),
        earns=msgspec.to_builtins(bill.tariff.earner),
    )
