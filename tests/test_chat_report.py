"""Reports of chats: each refusal by name; evidence is what was said then, and goes only with its time or its writer."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.chat import decide_chat, decide_chat_page
from pipelines.chat_message import decide_chat_message
from pipelines.chat_report import decide_chat_evidence, decide_chat_report
from schemas.chat import KEPT, ItemKind, ItemPosted
from schemas.chat_report import (
    CHAT_EVIDENCE,
    CHAT_REPORT,
    ChatEvidence,
    ChatReport,
    DecideReport,
    EvidenceKept,
    FileReport,
    ForgetEvidence,
    KeepEvidence,
    ReadReport,
    ReportChat,
    ReportDecided,
    ReportOutcome,
    ReportRead,
    ReportReason,
    ReportRefused,
    ReportRepeated,
    UserWarned,
)
from schemas.chat_witness import (
    EVIDENCE_KEPT,
    REPORT_EVERY,
    AskEvidence,
    ReportAdmitted,
    ReportRefusal,
    WitnessItems,
    WitnessMessage,
)
from schemas.log.base import Wake
from schemas.log.entity import without
from schemas.log.topics import SUBSCRIPTIONS
from schemas.user import Ban
from tests.decisions import decisions_of, last_decision
from tests.front import Front, bearer, code
from tests.people import ANN, BOB, SUE
from tests.test_chat import PAIR, POST, SECRET, SENT, T, delete, edit

report_of: Any = decisions_of(decide_chat_report)
evidence_of: Any = decisions_of(decide_chat_evidence)
chat_of: Any = decisions_of(decide_chat)
page_of: Any = decisions_of(decide_chat_page)
message_of: Any = decisions_of(decide_chat_message)

REPORT = ReportChat(id="r", at=T, report="rep", user=SUE, peer=BOB, reason=ReportReason.HARASSMENT, seqs=(1, 2))
ADMITTED = ReportAdmitted(id="r/0/0", at=T, cause="r/0", report="rep", pair=PAIR, seqs=(1, 2))
READ = ReadReport(id="q", at=T, report="rep", by=ANN, why="a complaint")
DECIDE = DecideReport(id="d", at=T, report="rep", outcome=ReportOutcome.BANNED, by=ANN, why="insults")
ASK = AskEvidence(id="r/0", at=T, report="rep", pair=PAIR, user=SUE, peer=BOB)
UNTIL = T + EVIDENCE_KEPT
KEEP = KeepEvidence(
    id="k", at=T, report="rep", evidence="rep/1", seq=1, sender=BOB, kind=ItemKind.MESSAGE, sent_at=T, until=UNTIL, ref="m",
    text=SECRET,
)  # fmt: skip


def kept(seq: int) -> EvidenceKept:
    return EvidenceKept(id=f"k{seq}", at=T, cause="x", report="rep", evidence=f"rep/{seq}", sender=BOB)


TAKEN = (REPORT, ADMITTED, kept(1), kept(2))
REFUSED = [
    ((*TAKEN, replace(REPORT, id="r2", peer=ANN)), ReportRefusal.IDEMPOTENCY_KEY_REUSED),
    ((READ,), ReportRefusal.REPORT_UNKNOWN),
    ((REPORT, DECIDE), ReportRefusal.REPORT_UNKNOWN),
    ((*TAKEN, DECIDE, replace(DECIDE, id="d2")), ReportRefusal.REPORT_DECIDED),
    ((REPORT, replace(ADMITTED, seqs=(), refusal=ReportRefusal.ITEM_UNKNOWN)), ReportRefusal.ITEM_UNKNOWN),
]


@pytest.mark.parametrize(("messages", "refusal"), REFUSED)
def test_each_refusal_of_a_report_by_name(messages: tuple[Any, ...], refusal: ReportRefusal) -> None:
    _, (fact,) = last_decision(report_of, *messages)
    assert (type(fact), fact.refusal) == (ReportRefused, refusal)


OF_A_CHAT = [
    ((ASK,), ReportRefusal.CHAT_UNKNOWN),
    ((POST, ASK, replace(ASK, at=T + REPORT_EVERY / 2)), ReportRefusal.REPORTED_LATELY),
    ((POST, replace(ASK, seqs=(2,))), ReportRefusal.ITEM_UNKNOWN),
]


@pytest.mark.parametrize(("messages", "refusal"), OF_A_CHAT)
def test_a_chat_says_why_there_is_no_evidence(messages: tuple[Any, ...], refusal: ReportRefusal) -> None:
    _, (fact,) = last_decision(chat_of, *messages)
    assert (fact.refusal, fact.seqs) == (refusal, ())
    assert {refusal for _, refusal in REFUSED + OF_A_CHAT} == set(ReportRefusal)


def test_a_report_of_a_whole_chat_asks_the_pages_of_its_newest_items() -> None:
    posts = [replace(POST, id=f"p{n}", message=f"m{n}") for n in range(KEPT + 10)]
    state, told = last_decision(chat_of, *posts, ASK)
    admitted, *asks = told
    assert admitted.seqs == tuple(range(11, KEPT + 11))
    assert [(ask.page, len(ask.seqs)) for ask in asks] == [(f"{PAIR}/0", 22), (f"{PAIR}/1", 28)]
    assert last_decision(chat_of, *posts, ASK, replace(ASK, id="later", at=T + REPORT_EVERY))[1][0].refusal is None
    other = replace(ASK, user=BOB, peer=SUE)
    assert chat_of(state, other)[1][0].refusal is None, "the other side may report as well"


def test_a_page_asks_messages_and_tells_of_calls_itself() -> None:
    names: Any = {"at": T, "cause": "s", "pair": PAIR, "user": BOB, "peer": SUE}
    said = ItemPosted(**names, id="i", seq=1, ref="m")
    call = ItemPosted(**names, id="c", seq=2, kind=ItemKind.CALL, ref="call")
    ask = WitnessItems(id="w", at=T, report="rep", page=f"{PAIR}/0", pair=PAIR, seqs=(1, 2, 3), until=UNTIL)
    _, (message, item, nothing) = last_decision(page_of, said, call, ask)
    assert (type(message), message.message, message.sender, message.until) == (WitnessMessage, "m", BOB, UNTIL)
    assert (type(item), item.kind, item.ref, item.deleted) == (KeepEvidence, ItemKind.CALL, "call", False)
    assert (type(nothing), nothing.deleted) == (KeepEvidence, True)


WITNESS = WitnessMessage(id="w", at=T, report="rep", message="m", seq=1, sender=BOB, sent_at=T, until=UNTIL)


def test_evidence_is_what_a_message_says_then_whatever_becomes_of_it() -> None:
    _, (now,) = last_decision(message_of, *SENT, WITNESS)
    assert (now.text, now.evidence, now.deleted) == (SECRET, "rep/1", False)
    _, (draft,) = last_decision(message_of, *SENT, edit(), WITNESS)
    assert draft.text == SECRET, "an edit that the chat has not let through is not said"
    _, (gone,) = last_decision(message_of, *SENT, delete(), WITNESS)
    assert (gone.text, gone.deleted) == ("", True)
    assert message_of(None, WITNESS)[1][0].deleted
    state, (fact,) = evidence_of(None, now)
    assert (state.text, state.until, fact.evidence) == (SECRET, UNTIL, "rep/1")
    assert evidence_of(state, replace(now, text="something else")) == (state, ()), "what is kept stays as it is"


def test_evidence_goes_with_its_time_and_its_words_with_their_writer() -> None:
    state, _ = evidence_of(None, KEEP)
    assert state.wake_at == UNTIL
    assert evidence_of(state, Wake(id="w", at=UNTIL - timedelta(seconds=1), key="rep/1"))[0] == state
    assert evidence_of(state, Wake(id="w", at=UNTIL, key="rep/1"))[0] is None
    common, _ = decide_chat_evidence(None, ForgetEvidence(id="f", at=T, evidence="@0", user=BOB))
    assert state.behind(common)
    assert common is not None
    assert common.wake_at is None, "who was erased is never forgotten"
    for before, message in ((state, Wake(id="w", at=T, key="rep/1")), (None, KEEP)):
        after, _ = decide_chat_evidence(before, message, common)
        assert isinstance(after, ChatEvidence)
        assert (after.text, after.forgotten, after.behind(common)) == ("", True, False)
    others, _ = decide_chat_evidence(replace(state, sender=SUE), Wake(id="w", at=T, key="rep/1"), common)
    assert others is not None
    assert others.text == SECRET, "what the other wrote stays"


def test_a_report_is_taken_once_when_all_its_evidence_is_kept() -> None:
    state, told = last_decision(report_of, *TAKEN[:-1])
    assert (told, state.is_open, state.left) == ([], True, 1)
    state, (fact,) = report_of(state, kept(2))
    assert (fact.cause, fact.user, fact.peer, fact.seqs) == ("r", SUE, BOB, (1, 2))
    assert report_of(state, kept(2)) == (state, ())
    _, (again,) = report_of(state, replace(REPORT, id="r2"))
    assert (type(again), again.kept) == (ReportRepeated, True)
    under_way, _ = last_decision(report_of, REPORT)
    assert not report_of(under_way, replace(REPORT, id="r2"))[1][0].kept
    assert report_of(state, Wake(id="w", at=state.wake_at, key="rep"))[0] is None
    assert report_of(None, kept(1)) == (None, ())


def test_a_reading_is_a_fact_and_a_decision_follows_once() -> None:
    state, (read,) = last_decision(report_of, *TAKEN, READ)
    assert (type(read), read.by, read.why, state.readings) == (ReportRead, ANN, "a complaint", 1)
    after, (decided, ban) = report_of(state, replace(DECIDE, until=UNTIL))
    assert (type(decided), decided.user, decided.peer, after.is_open) == (ReportDecided, SUE, BOB, False)
    assert (type(ban), ban.user, ban.reason, ban.by, ban.until) == (Ban, BOB, "harassment", ANN, UNTIL)
    assert len(report_of(state, replace(DECIDE, outcome=ReportOutcome.DISMISSED))[1]) == 1
    assert report_of(after, READ)[0].readings == 2, "what was decided can still be read"
    _, (_, warned) = report_of(state, replace(DECIDE, outcome=ReportOutcome.WARNED))
    (shown,) = [one for one in SUBSCRIPTIONS if one.fact is UserWarned]
    assert shown.key(warned) == BOB
    assert not {"rep", SUE, ANN} & set(
        map(str, without(warned, shown.hides).__struct_fields__ and vars_of(warned, shown.hides))
    )


def vars_of(fact: UserWarned, hides: tuple[str, ...]) -> list[Any]:
    """What a phone is shown of a fact, its ids aside."""
    shown = without(fact, hides)
    return [getattr(shown, name) for name in shown.__struct_fields__ if name not in ("id", "cause")]


def test_a_rule_files_a_report_that_its_one_piece_of_evidence_completes() -> None:
    file = FileReport(id="f", at=T, report="rule-1", user=SUE, peer=BOB, rule="phones", seq=7)
    state, told = report_of(None, file)
    assert (state.reason, state.rule, state.seqs, state.is_open, told) == (ReportReason.RULE, "phones", (7,), True, ())
    assert report_of(state, file) == (state, ())
    _, (fact,) = report_of(state, replace(kept(7), report="rule-1"))
    assert (fact.rule, fact.cause) == ("phones", "f")
    _, (refused,) = report_of(state, replace(REPORT, report="rule-1"))
    assert refused.refusal is ReportRefusal.IDEMPOTENCY_KEY_REUSED


# --- the routes, without a broker -------------------------------------------------------------------------------------------

ROOT = bearer("root", "admin")
HELP = bearer("help", "support")
AUDITOR = bearer("audrey", "auditor")


def test_who_reports_is_taken_and_rules_are_not_people() -> None:
    front = Front()
    said = front.ask(
        "POST", "/v1/chats/sue/report", headers=bearer() | {"Idempotency-Key": "k"}, json={"reason": "spam", "seqs": [3]}
    )  # fmt: skip
    assert code(said) == (503, "not_decided")
    (command,) = front.commands.asked
    assert isinstance(command, ReportChat)
    assert (command.user, command.peer, command.reason, command.seqs) == ("bob", "sue", "spam", (3,))
    for body in ({"reason": "rule"}, {"reason": "spam", "seqs": [0]}, {"reason": "spam", "seqs": [1] * 51}, {}):
        answer = front.ask("POST", "/v1/chats/sue/report", headers=bearer() | {"Idempotency-Key": "k"}, json=body)
        assert answer.status_code == 422
    assert front.ask("POST", "/v1/chats/sue/report", headers=bearer(), json={"reason": "spam"}).status_code == 422


def test_staff_lists_what_waits_and_nobody_else_does() -> None:
    front = Front()
    known = ChatReport(SUE, BOB, ReportReason.SPAM, T, "r", seqs=(1,), left=0)
    reports: dict[str, ChatReport] = {
        "new": replace(known, at=T + timedelta(1)), "old": known, "under-way": replace(known, left=None),
        "decided": replace(known, outcome=ReportOutcome.DISMISSED),
    }  # fmt: skip
    for name, state in reports.items():
        front.app.state.views.of(CHAT_REPORT)[name] = state
    front.app.state.views.of(CHAT_EVIDENCE)["old/1"] = ChatEvidence(
        seq=1, sender=BOB, kind=ItemKind.MESSAGE, sent_at=T, until=UNTIL, text=SECRET
    )  # fmt: skip
    for who in (ROOT, HELP):
        answer = front.ask("GET", "/v1/admin/chats/reports", headers=who)
        assert [one["report"] for one in answer.json()] == ["old", "new"]
        assert SECRET not in answer.text
    path = "/v1/admin/chats/reports/old"
    refused = [
        front.ask("GET", "/v1/admin/chats/reports", headers=bearer()),
        front.ask("POST", f"{path}/read", headers=bearer("sue", "streamer"), json={"reason": "curious"}),
        front.ask("POST", f"{path}/review", headers=AUDITOR, json={"reason": "curious", "outcome": "dismissed"}),
    ]
    assert [code(one) for one in refused] == [(403, "forbidden")] * 3
    assert front.ask("POST", f"{path}/read", headers=HELP, json={"reason": ""}).status_code == 422
    answer = front.ask("POST", f"{path}/read", headers=HELP, json={"reason": "a complaint"})
    assert code(answer) == (503, "not_decided"), "nothing is shown before the reading is a fact"
    assert [type(one) for one in front.commands.asked] == [ReadReport]
