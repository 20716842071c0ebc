"""Batches of payouts: `POST /v1/admin/payouts/batches`, `GET .../{batch}`, and the bank's file, `GET .../{batch}/file`."""

import asyncio
import csv
import io
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from infra.config import Config
from infra.sepa import Payment, transfer_file
from schemas.log.base import new_id, now
from schemas.payee import PAYEE, Payee
from schemas.payout import MAX_BATCH, PAYOUT, PAYOUT_BATCH, Batch, BatchClosed, BatchRepeated, BeginBatch, Payout
from schemas.payout_fields import PayoutRefusal, PayoutStatus
from serving.body import RequestBody
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, IdInPath, ItemId
from serving.runtime.lookups import in_view
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import refusal_of
from serving.runtime.spreadsheet import cell
from serving.runtime.staff import MoneyChange

router = APIRouter(tags=["payouts"])
FILES: Final[dict[str, str]] = {"sepa": "application/xml", "csv": "text/csv"}
FILE: Final[dict[int | str, dict[str, Any]]] = {
    **responses(401, 403, 404, 409, 422, 503),
    200: {"content": {kind: {"schema": {"type": "string"}} for kind in FILES.values()}},
}
COLUMNS: Final = ("payout", "user", "holder", "iban", "amount", "currency")


class FileKind(StrEnum):
    """The bank's XML, `pain.001.001.09`, or a table."""

    SEPA = "sepa"
    CSV = "csv"


class BatchBody(RequestBody):
    """Payouts that are approved."""

    payouts: Annotated[list[ItemId], Field(min_length=1, max_length=MAX_BATCH, examples=[["p1"]])]


class BatchAnswer(BaseModel):
    """A batch. `waiting`: payouts that have not answered; only when there are none there is a file. `left`: not taken, since
    they are not approved, or are taken already."""

    batch: str
    at: datetime
    payouts: list[str]
    waiting: list[str]
    left: list[str]


@router.post(
    "/v1/admin/payouts/batches", status_code=201, response_model=BatchAnswer, responses=responses(400, 401, 403, 409, 422, 503)
)  # fmt: skip
async def export_payouts(body: BatchBody, caller: MoneyChange, key: IdempotencyKey, request: Request) -> Any:
    """Take approved payouts to the bank in one file. From then on each of them waits for the bank's word."""
    name = request_id(caller.user, f"batch {key}")
    command = BeginBatch(id=new_id(), at=now(), batch=name, payouts=tuple(body.payouts), by=caller.user)
    await commands_of(request).ask(command, BatchClosed, BatchRepeated)
    return _shown(name, await in_view(lambda: views_of(request).of(PAYOUT_BATCH).get(name)))


@router.get("/v1/admin/payouts/batches/{batch}", response_model=BatchAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_payout_batch(batch: IdInPath, _: MoneyChange, request: Request) -> Any:
    """A batch as it stands."""
    return _shown(batch, _batch(request, batch))


def _batch(request: Request, name: str) -> Batch:
    found: Batch | None = views_of(request).of(PAYOUT_BATCH).get(name)
    if found is None:
        raise Problem(404, "batch_unknown", "there is no such batch")
    return found


def _shown(name: str, batch: Batch) -> BatchAnswer:
    left = [one for one in dict.fromkeys(batch.named) if one not in (*batch.payouts, *batch.waiting)]
    return BatchAnswer(
        batch=name, at=batch.at, payouts=list(batch.payouts), waiting=list(batch.waiting), left=left
    )  # fmt: skip


@router.get(
    "/v1/admin/payouts/batches/{batch}/file", response_class=Response,
    responses=FILE,
)  # fmt: skip
async def export_payout_file(batch: IdInPath, _: MoneyChange, request: Request, kind: FileKind = FileKind.SEPA) -> Response:
    """The batch as the bank's file: the same batch is the same file, byte by byte, but for payouts that have failed meanwhile.
    It names people and their bank accounts."""
    found = _batch(request, batch)
    if found.waiting:
        raise Problem(409, "batch_waiting", "some payouts have not answered yet; ask again in a moment")
    paid = _paid(request, found)
    if kind is FileKind.CSV:
        return Response(_table(paid), media_type=FILES[kind], headers=_saved(batch, "csv"))
    config: Config = request.app.state.config
    if not (config.payer_name and config.payer_iban):
        raise Problem(409, "payer_unknown", "set OLO_PAYER_NAME and OLO_PAYER_IBAN: the bank's file says who pays")
    payer = (config.payer_name, config.payer_iban.replace(" ", ""))
    payments = [
        Payment(name.replace("-", ""), payee.holder, payee.iban, payout.amount_cents, f"Payout {name}")
        for name, payout, payee in paid
    ]
    try:
        file = await asyncio.to_thread(transfer_file, batch.replace("-", ""), found.at, payer, payments)
    except ValueError as error:
        raise Problem(409, "payer_unsuitable", f"look at OLO_PAYER_NAME and OLO_PAYER_IBAN: {str(error)[:200]}") from error
    return Response(file, media_type=FILES[kind], headers=_saved(batch, "xml"))


class Paid(NamedTuple):
    """A payout that the file is to pay, and to whom."""

    name: str
    payout: Payout
    payee: Payee


def _paid(request: Request, batch: Batch) -> list[Paid]:
    payouts, payees = views_of(request).of(PAYOUT), views_of(request).of(PAYEE)
    paid = []
    for name in batch.payouts:
        payout: Payout | None = payouts.get(name)
        payee: Payee | None = payees.get(payout.user) if payout else None
        if payout is None:
            raise refusal_of(request, PayoutRefusal.PAYOUT_UNKNOWN)
        gone = payee is None or payee.destination != payout.destination
        if payout.status is PayoutStatus.FAILED or (gone and payout.status is not PayoutStatus.EXPORTED):
            continue  # its coins may be in another payout already; or it was paid long ago
        if payee is None or gone:
            words = (
                f"where payout {name} was to be paid to is not known any more; settle it as failed: the file is for the others"
            )
            raise Problem(409, "destination_gone", words)
        paid.append(Paid(name, payout, payee))
    if not paid:
        raise Problem(409, "batch_empty", "no payout of this batch is to be paid: none was approved, or all have failed")
    return paid


def _table(paid: list[Paid]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for name, payout, payee in paid:
        amount = f"{payout.amount_cents // 100}.{payout.amount_cents % 100:02}"
        rows.writerow([name, cell(payout.user), cell(payee.holder), payee.iban, amount, payout.currency])
    return text.getvalue()


def _saved(batch: str, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename=payouts-{batch}.{ending}", "Cache-Control": "no-store"}
