"""Rules of chats: `GET`, `PUT /v1/admin/chats/rules`."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from phonenumbers import SUPPORTED_REGIONS
from pydantic import Field

from schemas.chat_rules import (
    BOOK,
    MAX_PER_HOUR,
    MAX_RULES,
    MAX_WORDS,
    ChatRule,
    ChatRuleAction,
    ChatRuleKind,
    ChatRules,
    ChatRulesPut,
    PutChatRules,
)
from schemas.log.base import new_id, now
from serving.body import RequestBody
from serving.chat_words import book_of
from serving.runtime.commands import commands_of, views_of
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import RulesChange, RulesLook

router = APIRouter(tags=["chats"])

Word = Annotated[str, Field(min_length=1, max_length=48, pattern=r'^[^"\\\x00-\x1f\x7f]+$')]


class ChatRuleBody(RequestBody):
    """What a rule looks for, and what then. `words`: of `word` and `messenger`, what is looked for; of `phone`, the countries
    in which numbers without a country are dialled (ISO 3166); of `link`, the hosts that are let through. `new_chats` (refuse or
    review): an account younger than `account_days` begins more than `per_hour` chats within an hour."""

    rule: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    kind: ChatRuleKind
    then: ChatRuleAction
    words: Annotated[list[Word], Field(max_length=MAX_WORDS)] = []
    account_days: Annotated[int, Field(strict=True, ge=0, le=3_650)] = 0
    per_hour: Annotated[int, Field(strict=True, ge=0, le=MAX_PER_HOUR)] = 0


class ChatRulesBody(RequestBody):
    """All rules, from now on."""

    rules: Annotated[list[ChatRuleBody], Field(max_length=MAX_RULES)]


class ChatRulesAnswer(ChatRulesBody):
    """The rules in force; `version` counts their changes, 0: as shipped."""

    version: int


@router.get("/v1/admin/chats/rules", response_model=ChatRulesAnswer, responses=responses(401, 403, 503))
async def read_chat_rules(_: RulesLook, request: Request) -> Any:
    """The rules in force."""
    return _told(book_of(views_of(request)))


@router.put("/v1/admin/chats/rules", response_model=ChatRulesAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_chat_rules(body: ChatRulesBody, caller: RulesChange, request: Request) -> Any:
    """Replace all rules; they hold for what is written and edited from now on."""
    problems = [wrong for rule in body.rules if (wrong := _wrong(rule))]
    if len({rule.rule for rule in body.rules}) < len(body.rules):
        problems.append("two rules have the same name")
    if problems:
        raise Problem(422, "invalid_rules", "; ".join(problems))
    rules = tuple(ChatRule(**rule.model_dump() | {"words": tuple(rule.words)}) for rule in body.rules)
    fact = await commands_of(request).ask(
        PutChatRules(id=new_id(), at=now(), book=BOOK, rules=rules, by=caller.user), ChatRulesPut
    )
    return _told(ChatRules(fact.rules, fact.version))


def _wrong(rule: ChatRuleBody) -> str:
    match rule.kind:
        case ChatRuleKind.WORD | ChatRuleKind.MESSENGER if not rule.words:
            return f"{rule.rule}: which words?"
        case ChatRuleKind.PHONE if unknown := sorted({word for word in rule.words if word not in SUPPORTED_REGIONS}):
            return f"{rule.rule}: {', '.join(unknown)} is no country of ISO 3166, in capitals"
        case ChatRuleKind.NEW_CHATS if rule.then is ChatRuleAction.MASK:
            return f"{rule.rule}: there is nothing to mask in a chat that is begun"
        case ChatRuleKind.NEW_CHATS if not rule.account_days:
            return f"{rule.rule}: how old is an account to which it does not apply (account_days)?"
    return ""


def _told(book: ChatRules) -> ChatRulesAnswer:
    return ChatRulesAnswer(rules=[ChatRuleBody(**msgspec.to_builtins(rule)) for rule in book.rules], version=book.version)
