"""Rules of chats: what they find, what follows, and that a book is as it was put; new accounts begin a few chats an hour."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.chat_message import decide_chat_message
from pipelines.chat_rules import decide_chat_rules, decide_chat_writer
from schemas.chat import CHAT, Chat, ChatItem, EditAdmitted
from schemas.chat_message import ChatRefusal, MessageEdited, MessageRefused, SendMessage
from schemas.chat_report import FileReport, KeepEvidence, rule_report
from schemas.chat_rules import (
    BOOK,
    CHAT_RULES,
    HOUR,
    MAX_FINDINGS,
    MAX_RULES,
    SHIPPED,
    ChatRule,
    ChatRuleAction,
    ChatRuleKind,
    ChatRules,
    ChatRulesPut,
    CountNewChat,
    Finding,
    NewChatCounted,
    NewChats,
    PutChatRules,
    masked,
)
from schemas.log.base import UserId, Wake
from schemas.pair import pair_of
from schemas.user import USER
from serving.chat_words import examine, limit_of
from serving.runtime.feed import Hub
from serving.runtime.views import Views
from tests.decisions import decisions_of, last_decision
from tests.front import AT, Front, bearer, code
from tests.people import BOB, SUE
from tests.test_chat import PAIR, SECRET, SENT, T, admitted, edit, posted, send

message_of: Any = decisions_of(decide_chat_message)
book_of: Any = decisions_of(decide_chat_rules)
writer_of: Any = decisions_of(decide_chat_writer)

MASK, REFUSE, REVIEW = ChatRuleAction
PHONES = ChatRule("phones", ChatRuleKind.PHONE, MASK, ("DE", "US"))
ADDRESSES = ChatRule("addresses", ChatRuleKind.ADDRESS, MASK)
LINKS = ChatRule("links", ChatRuleKind.LINK, MASK, ("olo.example",))
WORDS = ChatRule("words", ChatRuleKind.WORD, MASK, ("rude", "c++"))
MESSENGERS = next(rule for rule in SHIPPED if rule.kind is ChatRuleKind.MESSENGER)
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in "017612345678")
FOUND = [
    (PHONES, "call 0176 12345678 ok", "call **** ******** ok"), (PHONES, "+44 20 7946 0958", "*** ** **** ****"),
    (PHONES, "0 1 7 6 1 2 3 4 5 6 7 8", "* * * * * * * * * * * *"), (PHONES, WIDE, "************"),
    (PHONES, "(212) 555-0123", "***** ********"), (PHONES, "on 12.11.2026 at 10:30, 250 coins", None),
    (ADDRESSES, "to bob@mail.example.com!", "to ********************!"), (ADDRESSES, "http://x.org", None),
    (LINKS, "see x.org/a or bob@x.org", "see ******* or bob@x.org"), (LINKS, "http://1.2.3.4/x", "****************"),
    (LINKS, "https://a.olo.example/x", None), (LINKS, "http://olo.example.x.org", "************************"),
    (WORDS, "RUDE, crude and c++", "****, crude and ***"), (MESSENGERS, "my Telegram: bob_99", "my ********* ******"),
    (MESSENGERS, "I am @bob.b", "I am ******"), (MESSENGERS, "bob@mail.com", None),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text", "shown"), FOUND)
def test_what_a_rule_finds_is_masked_and_nothing_else(rule: ChatRule, text: str, shown: str | None) -> None:
    assert masked(text, examine(text, (rule,))) == (shown or text)


@given(st.text(st.sampled_from("a1 @.+:/0😀\n"), max_size=200))
def test_findings_lie_within_the_text_and_masking_keeps_its_length(text: str) -> None:
    found = examine(text, (*SHIPPED, LINKS, WORDS))
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    shown = masked(text, found)
    assert len(shown) == len(text)
    assert all(after in (before, "*") for before, after in zip(text, shown, strict=True))


def test_more_than_there_is_room_for_is_masked_to_the_end() -> None:
    text = "a@b.org " * 50
    found = examine(text, (ADDRESSES, LINKS))
    assert len(found) <= MAX_FINDINGS // MAX_RULES
    assert set(masked(text, found)) == {"*", " "}
    assert len(examine(text, (replace(ADDRESSES, then=REVIEW),))) == 1


# --- what follows -----------------------------------------------------------------------------------------------------------


def finding(kind: ChatRuleKind, then: ChatRuleAction, start: int = 0, end: int = 4) -> Finding:
    return Finding(f"no-{kind}", kind, then, start, end)


REFUSALS = {
    ChatRuleKind.PHONE: ChatRefusal.CONTACT_FORBIDDEN, ChatRuleKind.ADDRESS: ChatRefusal.CONTACT_FORBIDDEN,
    ChatRuleKind.MESSENGER: ChatRefusal.CONTACT_FORBIDDEN, ChatRuleKind.LINK: ChatRefusal.LINK_FORBIDDEN,
    ChatRuleKind.WORD: ChatRefusal.WORD_FORBIDDEN,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "refusal"), REFUSALS.items())
def test_a_text_that_a_rule_forbids_is_refused_by_name_and_kept_nowhere(kind: ChatRuleKind, refusal: ChatRefusal) -> None:
    findings = (finding(kind, MASK), finding(kind, REFUSE))
    state, (fact,) = message_of(None, replace(send(), findings=findings))
    assert (type(fact), fact.refusal, fact.rule, state.text) == (MessageRefused, refusal, f"no-{kind}", "")
    state, (fact,) = last_decision(message_of, *SENT, replace(edit(), findings=findings))
    assert (fact.refusal, fact.rule, state.text, state.draft) == (refusal, f"no-{kind}", SECRET, "")


def test_a_text_is_masked_before_it_is_kept() -> None:
    found = (finding(ChatRuleKind.WORD, MASK, 0, 4), finding(ChatRuleKind.PHONE, MASK, 2, 7))
    state, _ = message_of(None, replace(send(), findings=found))
    assert state.text == "**** ** at seven"
    state, _ = last_decision(message_of, *SENT, replace(edit(), findings=found))
    assert state.draft == "** ****t"


def test_a_message_for_a_person_is_sent_and_reported_with_what_it_says() -> None:
    first = replace(send(), findings=(finding(ChatRuleKind.LINK, REVIEW),))
    state, (report, evidence) = last_decision(message_of, first, admitted(SUE), admitted(BOB), posted())
    assert (type(report), report.user, report.peer, report.rule, report.seq) == (FileReport, SUE, BOB, "no-link", 1)
    assert (type(evidence), evidence.text, evidence.sender) == (KeepEvidence, SECRET, BOB)
    assert report.report == evidence.report == rule_report("s")
    assert message_of(state, posted()) == (state, ()), "once"
    let = EditAdmitted(id="l", at=T, cause="e/0", pair=PAIR, user=BOB, peer=SUE, message="m", asked="e")
    again = replace(edit(), findings=(finding(ChatRuleKind.WORD, REVIEW),))
    _, (edited, report, evidence) = last_decision(message_of, *SENT, again, let)
    assert (type(edited), report.rule, evidence.text) == (MessageEdited, "no-word", "at eight")
    assert report.report == rule_report("e")
    _, told = last_decision(message_of, *SENT, edit(), let)
    assert [type(one) for one in told] == [MessageEdited]


# --- new accounts -----------------------------------------------------------------------------------------------------------

LIMIT = NewChats("new-accounts", REFUSE, 2)


def begin(peer: str, at: timedelta = timedelta()) -> CountNewChat:
    return CountNewChat(id=f"b{peer}", at=T + at, user=BOB, peer=UserId(peer), message=f"m{peer}", limit=LIMIT)


def test_within_an_hour_so_many_chats_are_begun_and_the_same_one_counts_once() -> None:
    state, told = last_decision(writer_of, begin("a"), begin("a"), begin("b"), begin("c"))
    assert (len(state.begun), told[0].within) == (2, False)
    assert writer_of(state, begin("a"))[1][0].within, "this chat has begun"
    assert writer_of(state, begin("c", HOUR))[1][0].within, "the hour is over"
    assert writer_of(state, Wake(id="w", at=T + HOUR, key=BOB))[0] is None
    assert state.wake_at == T + HOUR
    assert writer_of(state, Wake(id="w", at=T, key=BOB))[0] == state


def counted(limit: NewChats, *, within: bool) -> NewChatCounted:
    return NewChatCounted(id="n", at=T, cause="s/2", user=BOB, message="m", limit=limit, within=within)


def test_a_message_that_begins_a_chat_waits_for_the_count_too() -> None:
    first = replace(send(), limit=LIMIT)
    state, asks = message_of(None, first)
    assert ([type(one) for one in asks][2], asks[2].peer, state.asks) == (CountNewChat, SUE, 3)
    asked, told = last_decision(message_of, first, admitted(SUE), admitted(BOB))
    assert (asked.asks, told) == (1, [])
    assert [type(one).__name__ for one in message_of(asked, counted(LIMIT, within=True))[1]] == ["PostMessage"]
    refused, (fact,) = message_of(asked, counted(LIMIT, within=False))
    assert (fact.refusal, fact.rule, refused.text) == (ChatRefusal.TOO_MANY_NEW_CHATS, "new-accounts", "")
    assert message_of(refused, counted(LIMIT, within=True)) == (refused, ())
    flagged, (post,) = message_of(asked, counted(replace(LIMIT, then=REVIEW), within=False))
    assert (type(post).__name__, flagged.rule) == ("PostMessage", "new-accounts")


def test_the_limit_is_for_young_accounts_and_new_chats() -> None:
    views = Views(Hub())
    views.of(USER)["bob"] = Front().app.state.views.of(USER).get("bob")
    young, old = AT + timedelta(days=3) - timedelta(seconds=1), AT + timedelta(days=3)
    assert limit_of(views, "bob", "sue", young) == NewChats("new-accounts", REFUSE, 20)
    assert limit_of(views, "bob", "sue", old) is None
    assert limit_of(views, "stranger", "sue", young) is None
    views.of(CHAT)[pair_of("bob", "sue")] = Chat(1, (ChatItem(T, seq=1),))
    assert limit_of(views, "bob", "sue", young) is None
    views.of(CHAT_RULES)[BOOK] = ChatRules((), 1)
    assert limit_of(views, "bob", "eve", young) is None


# --- the book ---------------------------------------------------------------------------------------------------------------


def test_a_book_is_as_it_was_put() -> None:
    put = PutChatRules(id="p", at=T, book=BOOK, rules=(PHONES,), by="root")
    state, (fact,) = last_decision(book_of, put, replace(put, id="p2", rules=(WORDS,)))
    assert (state.rules, state.version, type(fact), fact.version) == ((WORDS,), 2, ChatRulesPut, 2)
    assert book_of(state, Wake(id="w", at=T, key=BOOK)) == (state, ())


WRONG: list[dict[str, Any]] = [
    {"kind": "word"}, {"kind": "messenger"}, {"kind": "phone", "words": ["XX"]}, {"kind": "new_chats", "account_days": 1},
    {"kind": "new_chats", "then": "refuse"},
]  # fmt: skip
ROOT = bearer("root", "admin")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda one: one["kind"])
def test_rules_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    front = Front()
    body = {"rules": [{"rule": "r", "then": "mask"} | wrong]}
    assert code(front.ask("PUT", "/v1/admin/chats/rules", headers=ROOT, json=body)) == (422, "invalid_rules")
    twice = {"rules": [{"rule": "r", "kind": "address", "then": "mask"}] * 2}
    assert code(front.ask("PUT", "/v1/admin/chats/rules", headers=ROOT, json=twice)) == (422, "invalid_rules")


def test_the_rules_in_force_stand_in_what_is_written() -> None:
    front = Front()
    shipped = front.ask("GET", "/v1/admin/chats/rules", headers=ROOT).json()
    assert (shipped["version"], [rule["rule"] for rule in shipped["rules"]]) == (0, [rule.rule for rule in SHIPPED])
    body = {name: value for name, value in shipped.items() if name != "version"}
    assert code(front.ask("PUT", "/v1/admin/chats/rules", headers=ROOT, json=body)) == (503, "not_decided")
    front.app.state.views.of(CHAT_RULES)[BOOK] = ChatRules((WORDS,), 1)
    said = {"headers": bearer() | {"Idempotency-Key": "k"}, "json": {"text": "how rude, 0176 12345678"}}
    front.ask("POST", "/v1/chats/sue/messages", **said)
    front.ask("PUT", "/v1/chats/sue/messages/m", **said)
    put, sent, edited = front.commands.asked
    assert isinstance(put, PutChatRules)
    assert put.rules == SHIPPED
    assert isinstance(sent, SendMessage)
    assert [(one.rule, one.start, one.end) for one in sent.findings] == [("words", 4, 8)]
    assert getattr(edited, "findings", None) == sent.findings
    assert sent.limit is None, "these rules have none"
    assert sent.text == "how rude, 0176 12345678", "what is masked is decided on the log"
