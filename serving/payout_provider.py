"""`POST /v1/webhooks/payouts`: what the provider of payouts tells by itself, such as that a payment came back."""

from fastapi import APIRouter, Request

from infra.config import Config
from infra.vendors.payouts import RETURNED, genuine, read_notice
from schemas.log.base import new_id, now
from schemas.payout import PAYOUT, ReturnPayout
from schemas.payout_fields import PAYOUT_PROVIDER
from serving.runtime.commands import commands_of, views_of
from serving.runtime.kept import keep_notice, refused_and_kept
from serving.runtime.problems import Problem, responses
from serving.runtime.shape import read_json

router = APIRouter(tags=["payouts"])
SOURCE = "webhooks.payouts"


@router.post("/v1/webhooks/payouts", responses=responses(400, 401, 503), openapi_extra={"security": []})
async def receive_payout_notice(request: Request) -> dict[str, str]:
    """The provider's notices. Signed; a payment that came back is returned once, however often and however early it is told.
    Of any other status the provider is asked by us. A notice of no payout of the provider's is kept as a dead letter."""
    config: Config = request.app.state.config
    body = await request.body()
    if not genuine(config.payout_webhook_secret, body, request.headers):
        raise Problem(
            401, "signature_invalid", "X-Payout-Signature does not fit; if it should, look at OLO_PAYOUT_WEBHOOK_SECRET"
        )  # fmt: skip
    try:
        told = read_notice(read_json(body))
    except Problem as problem:
        raise await refused_and_kept(request, SOURCE, body, problem) from problem
    except ValueError as error:
        unreadable = Problem(400, "notice_unreadable", f"the body is no notice: {error}")
        raise await refused_and_kept(request, SOURCE, body, unreadable) from error
    known = views_of(request).of(PAYOUT).get(told.payout)
    if known is None or not known.provider:
        await keep_notice(request, SOURCE, body, f"payment_unknown: the provider was never asked to pay {told.payout}")
        return {"status": "kept"}
    if told.status == RETURNED:
        command = ReturnPayout(id=new_id(), at=now(), payout=told.payout, by=PAYOUT_PROVIDER)
        await commands_of(request).tell(command)
    return {"status": "noted"}
