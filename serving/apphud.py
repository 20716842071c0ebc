"""`POST /v1/webhooks/apphud`: what Apphud tells of purchases, which is compared with ours, and credits nothing."""

from fastapi import APIRouter, Request

from infra.config import Config
from infra.vendors.apphud import SOURCE, ApphudError, genuine, read_event
from schemas.apphud import ApphudEventRecorded, ApphudEventRepeated
from schemas.log.base import new_id, now
from serving.runtime.commands import commands_of
from serving.runtime.kept import refused_and_kept
from serving.runtime.problems import Problem, responses
from serving.runtime.shape import read_json

router = APIRouter(tags=["payments"])


@router.post("/v1/webhooks/apphud", responses=responses(400, 401, 422, 503), openapi_extra={"security": []})
async def receive_apphud_event(request: Request) -> dict[str, str]:
    """Apphud's events. A token proves where they come from. An event is recorded once, and no coins move by it: the reconcile
    holds it against our purchases. One that cannot be read is kept as a dead letter, for it does not come again."""
    config: Config = request.app.state.config
    if not genuine(config.apphud_token, request.headers):
        raise Problem(401, "token_invalid", "X-Apphud-Token is not the token; if it should be, look at OLO_APPHUD_TOKEN")
    body = await request.body()
    try:
        command = read_event(read_json(body), new_id(), now())
    except ApphudError as error:
        raise await refused_and_kept(request, SOURCE, body, Problem(422, error.code, str(error))) from error
    except Problem as problem:
        raise await refused_and_kept(request, SOURCE, body, problem) from problem
    except ValueError as error:
        broken = Problem(400, "broken_json", f"the event is no JSON: {error}")
        raise await refused_and_kept(request, SOURCE, body, broken) from error
    fact = await commands_of(request).ask(command, ApphudEventRecorded, ApphudEventRepeated)
    return {"status": "repeated" if isinstance(fact, ApphudEventRepeated) else "recorded"}
