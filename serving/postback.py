"""Postback rules, for admins: which conversion is told to whom, as what; `GET` and `PUT /v1/admin/postbacks/rules`.

As shipped there are none. Rules are checked at save, also that the provider's keys are set. `olo postbacks` shows what is owed.
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from msgspec.structs import replace
from pydantic import Field

from infra.config import missing_for
from schemas.ads import network_of
from schemas.log.base import new_id, now
from schemas.postback import (
    BOOK,
    MAX_RULES,
    POSTBACK_RULES,
    Consent,
    ConversionKind,
    PostbackBook,
    PostbackRule,
    PostbackRuleError,
    PostbackRulesPut,
    Provider,
    PutPostbackRules,
    check_rules,
)
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import Word
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import RulesChange, RulesLook

router = APIRouter(tags=["postbacks"])


class PostbackValueBody(RequestBody):
    """What a conversion is worth, in millionths of the currency: a fixed part, and a part for each coin."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
    fixed_micros: Annotated[int, Field(strict=True, ge=0, le=10**12)] = 0
    per_coin_micros: Annotated[int, Field(strict=True, ge=0, le=10**9)] = 0


class PostbackRuleBody(RequestBody):
    """Tell `provider` of `conversion` as `event`; `network`: only of users whom that network brought."""

    conversion: ConversionKind
    provider: Provider
    event: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f{}]+$", examples=["SIGN_UP"])]
    consent: Consent
    network: Word = ""
    value: PostbackValueBody | None = None


class PostbackRulesBody(RequestBody):
    """All rules; `version` grows with each change."""

    rules: Annotated[list[PostbackRuleBody], Field(max_length=MAX_RULES)]


class PostbackRulesAnswer(PostbackRulesBody):
    """The rules that are in force."""

    version: int


@router.get("/v1/admin/postbacks/rules", response_model=PostbackRulesAnswer, responses=responses(401, 403, 503))
async def read_postback_rules(_: RulesLook, request: Request) -> Any:
    """What is told to whom."""
    book: PostbackBook = views_of(request).of(POSTBACK_RULES).get(BOOK) or PostbackBook()
    return _answer(book.version, book.rules)


@router.put("/v1/admin/postbacks/rules", response_model=PostbackRulesAnswer, responses=responses(400, 401, 403, 409, 422, 503))
async def put_postback_rules(body: PostbackRulesBody, caller: RulesChange, request: Request) -> Any:
    """Replace all rules; they hold for what happens from now on."""
    try:
        wanted = tuple(_rule(rule) for rule in body.rules)
        check_rules(wanted)
    except (msgspec.ValidationError, PostbackRuleError) as error:
        raise Problem(422, "rule_invalid", f"the rules cannot be: {error}") from None
    for provider in sorted({rule.provider for rule in wanted}):
        if missing := missing_for(provider, request.app.state.config):
            raise Problem(409, "provider_not_configured", f"{provider} needs {', '.join(missing)}; set them and start again")
    command = PutPostbackRules(id=new_id(), at=now(), book=BOOK, rules=wanted, by=caller.user)
    fact = await commands_of(request).ask(command, PostbackRulesPut)
    return _answer(fact.version, fact.rules)


def _rule(body: PostbackRuleBody) -> PostbackRule:
    """The rule, which names a network as touches do. Errors: ValidationError."""
    rule: PostbackRule = msgspec.convert(body.model_dump(), PostbackRule)
    return replace(rule, network=network_of(rule.network)) if rule.network else rule


def _answer(version: int, known: tuple[PostbackRule, ...]) -> PostbackRulesAnswer:
    return PostbackRulesAnswer(version=version, rules=[PostbackRuleBody(**msgspec.to_builtins(rule)) for rule in known])
