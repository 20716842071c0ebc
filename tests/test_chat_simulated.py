"""Chats in simulated schedules: all laws hold, and planted bugs are found."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines.chat import decide_chat
from pipelines.chat_message import decide_chat_message
from pipelines.chat_report import decide_chat_evidence
from pipelines.runtime.core import Decider
from pipelines.runtime.simulator import run, schedule_of, search, tell
from schemas.blocklist import UserBlocked
from schemas.chat import CHAT, CHAT_MESSAGE, Chat, ChatInbox, ChatMessageInbox, ReadChat
from schemas.chat_message import ChatMessage, DeleteMessage, SendMessage
from schemas.chat_report import CHAT_EVIDENCE, ChatEvidence, ChatEvidenceInbox, KeepEvidence
from schemas.log.base import Message
from schemas.log.entity import Entity
from tests.lab.simulated_chats import SETUP

SEEDS = settings().max_examples

Told = Sequence[Message]


def test_all_laws_hold_over_many_schedules() -> None:
    failure = search(SETUP, range(SEEDS))
    assert failure is None, tell(failure)


def writes_again(state: ChatMessage | None, message: ChatMessageInbox, common: ChatMessage | None = None) -> Any:
    """Another phone of the sender's, or the same one after a while, writes the same message anew."""
    again = isinstance(message, SendMessage) and state is not None and state.seq > 0
    return decide_chat_message(None if again else state, message, common)


def keeps_the_text(state: ChatMessage | None, message: ChatMessageInbox, common: ChatMessage | None = None) -> Any:
    """What was taken back is there all the same."""
    after, told = decide_chat_message(state, message, common)
    if isinstance(message, DeleteMessage) and state and after and after.deleted_at:
        after = replace(after, text=state.text)
    return after, told


def deaf_to_blocks(chat: Chat | None, message: ChatInbox) -> tuple[Chat | None, Told]:
    """Lines know of a block, and the pair does not."""
    return (chat, ()) if isinstance(message, UserBlocked) else decide_chat(chat, message)


def sinking_mark(chat: Chat | None, message: ChatInbox) -> tuple[Chat | None, Told]:
    """The last phone that reads says how far."""
    if isinstance(message, ReadChat) and chat is not None:
        chat = replace(chat, sides=tuple(replace(side, read=0) for side in chat.sides))
    return decide_chat(chat, message)


def lasting_words(kept: ChatEvidence | None, message: ChatEvidenceInbox, _: ChatEvidence | None = None) -> Any:
    """Evidence outlives its writer's erasure."""
    return decide_chat_evidence(kept, message, None)


def late_evidence(kept: ChatEvidence | None, message: ChatEvidenceInbox, common: ChatEvidence | None = None) -> Any:
    """Evidence whose first piece is lost."""
    lost = isinstance(message, KeepEvidence) and message.seq == 1
    after, told = decide_chat_evidence(kept, message, common)
    return (None if lost else after), told


BUGS: list[tuple[Entity, Callable[..., Any]]] = [
    (CHAT_MESSAGE, writes_again),
    (CHAT_MESSAGE, keeps_the_text),
    (CHAT, deaf_to_blocks),
    (CHAT, sinking_mark),
]
BUGS += [(CHAT_EVIDENCE, lasting_words), (CHAT_EVIDENCE, late_evidence)]


@pytest.mark.parametrize(("entity", "bug"), BUGS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_bug_is_found(entity: Entity, bug: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    deciders = [Decider(entity, bug) if one.entity is entity else one for one in SETUP.deciders]
    monkeypatch.setattr("tests.lab.simulated_chats.DECIDERS", tuple(deciders))  # so that the fold has the bug, too
    setup = SETUP._replace(deciders=deciders)
    assert any(run(setup, schedule_of(seed, setup.workload, setup.drift_s)) for seed in range(60))
