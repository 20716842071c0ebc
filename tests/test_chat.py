"""Chats: each refusal by name; in a small world of the real deciders, in any order of what is under way, the laws hold."""

import random
from collections import defaultdict, deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.chat import decide_chat, unread_of
from pipelines.chat_message import decide_chat_message
from pipelines.flows.deciders import decider_of
from schemas.billing_rules import CallKind
from schemas.blocklist import BLOCKS, BlockReason, BlockUser, UnblockUser, UserBlocked, UserUnblocked
from schemas.chat import (
    CHAT,
    CHAT_BADGE,
    CHAT_MESSAGE,
    CHAT_PAGE,
    KEPT,
    AskEdit,
    ChatRead,
    CountUnread,
    EditAdmitted,
    HideChat,
    HideItem,
    ItemHidden,
    ItemKind,
    ItemPosted,
    MessageBarred,
    MuteChat,
    PostMessage,
    ReadChat,
    page_key,
)
from schemas.chat_message import (
    DELETE_FOR,
    EDIT_FOR,
    ChatRefusal,
    DeleteMessage,
    EditMessage,
    ForgetMessages,
    MessageDeleted,
    MessageEdited,
    MessageRefused,
    MessageRepeated,
    SendMessage,
)
from schemas.gift import GiftSent
from schemas.log.base import Message, UserId, Wake
from schemas.log.codec import encode
from schemas.log.entity import Entity
from schemas.log.topics import FEED, routes
from schemas.pair import pair_of
from schemas.user import Role, UserBanned, UserSignedUp
from schemas.video import CallEnded, EndReason
from schemas.video_line import LINE, LineRefusal, MessageAdmitted
from serving.view_store.indexes import CHATS
from tests.decisions import decisions_of, last_decision
from tests.long_lists import long_lists
from tests.people import ANN, BOB, EVE, SUE

T = datetime(2030, 1, 1, tzinfo=UTC)
PAIR = pair_of(BOB, SUE)
chat_of: Any = decisions_of(decide_chat)
message_of: Any = decisions_of(decide_chat_message)
SECRET = "meet me at seven"


def send(receiver: UserId = SUE, id_: str = "s", at: datetime = T) -> SendMessage:
    return SendMessage(id=id_, at=at, message="m", sender=BOB, receiver=receiver, text=SECRET)


def admitted(user: UserId, refusal: LineRefusal | None = None) -> MessageAdmitted:
    return MessageAdmitted(id=f"a/{user}", at=T, cause="s/0", user=user, message="m", refusal=refusal)


def posted(seq: int = 1) -> ItemPosted:
    return ItemPosted(id="i", at=T, cause="s", pair=PAIR, user=BOB, peer=SUE, seq=seq, ref="m", length=len(SECRET))


def barred(asked: str) -> MessageBarred:
    return MessageBarred(
        id="b", at=T, cause="p", pair=PAIR, user=BOB, peer=SUE, message="m", asked=asked, refusal=ChatRefusal.RECEIVER_BLOCKS
    )  # fmt: skip


def edit(user: UserId = BOB, at: datetime = T, id_: str = "e") -> EditMessage:
    return EditMessage(id=id_, at=at, message="m", user=user, peer=SUE if user == BOB else BOB, text="at eight")


def delete(user: UserId = BOB, at: datetime = T) -> DeleteMessage:
    return DeleteMessage(id="d", at=at, message="m", user=user, peer=SUE if user == BOB else BOB)


SENT = (send(), admitted(SUE), admitted(BOB), posted())
LATER = timedelta(seconds=1)
OF_A_MESSAGE = [
    ((send(receiver=BOB),), ChatRefusal.SAME_USER),
    ((*SENT, send(receiver=ANN)), ChatRefusal.CLIENT_ID_REUSED),
    ((edit(),), ChatRefusal.MESSAGE_UNKNOWN),
    ((send(), delete()), ChatRefusal.MESSAGE_UNKNOWN),
    ((*SENT, edit(EVE)), ChatRefusal.MESSAGE_UNKNOWN),
    ((*SENT, edit(SUE)), ChatRefusal.NOT_SENDER),
    ((*SENT, delete(SUE)), ChatRefusal.NOT_SENDER),
    ((*SENT, delete(), edit()), ChatRefusal.MESSAGE_DELETED),
    ((*SENT, edit(at=T + EDIT_FOR + LATER)), ChatRefusal.TOO_LATE),
    ((*SENT, delete(at=T + DELETE_FOR + LATER)), ChatRefusal.TOO_LATE),
    ((*SENT, edit(), edit(id_="e2")), ChatRefusal.EDIT_PENDING),
    ((send(), admitted(BOB, LineRefusal.UNKNOWN)), ChatRefusal.SENDER_UNKNOWN),
    ((send(), admitted(BOB, LineRefusal.BANNED)), ChatRefusal.SENDER_BANNED),
    ((send(), admitted(SUE, LineRefusal.NO_TALKER)), ChatRefusal.RECEIVER_UNKNOWN),
    ((send(), admitted(SUE, LineRefusal.BANNED)), ChatRefusal.RECEIVER_BANNED),
    ((send(), admitted(BOB, LineRefusal.BLOCKED)), ChatRefusal.BLOCKED),
    ((send(), admitted(SUE, LineRefusal.BLOCKED)), ChatRefusal.RECEIVER_BLOCKS),
    ((send(), admitted(SUE), admitted(BOB), barred("s")), ChatRefusal.RECEIVER_BLOCKS),
    ((*SENT, edit(), barred("e")), ChatRefusal.RECEIVER_BLOCKS),
]


@pytest.mark.parametrize(("messages", "refusal"), OF_A_MESSAGE)
def test_each_refusal_of_a_message_by_name(messages: tuple[Any, ...], refusal: ChatRefusal) -> None:
    _, (fact,) = last_decision(message_of, *messages)
    assert (type(fact), fact.refusal) == (MessageRefused, refusal)


POST = PostMessage(id="p", at=T, pair=PAIR, user=BOB, peer=SUE, message="m", asked="s", length=3)
HIDE_CHAT = HideChat(id="g", at=T, pair=PAIR, user=SUE, peer=BOB)
READ = ReadChat(id="r", at=T, pair=PAIR, user=SUE, peer=BOB, seq=1)
HIDE = HideItem(id="h", at=T, pair=PAIR, user=SUE, peer=BOB, seq=2)
BLOCK = UserBlocked(id="k", at=T, cause="c", user=SUE, peer=BOB, reason=BlockReason.SPAM)
OF_A_CHAT = [
    ((READ,), ChatRefusal.CHAT_UNKNOWN),
    ((HIDE_CHAT,), ChatRefusal.CHAT_UNKNOWN),
    ((POST, HIDE), ChatRefusal.ITEM_UNKNOWN),
    ((BLOCK, POST), ChatRefusal.RECEIVER_BLOCKS),
    ((BLOCK, AskEdit(id="q", at=T, pair=PAIR, user=SUE, peer=BOB, message="m", asked="e")), ChatRefusal.BLOCKED),
]


@pytest.mark.parametrize(("messages", "refusal"), OF_A_CHAT)
def test_each_refusal_of_a_chat_by_name(messages: tuple[Any, ...], refusal: ChatRefusal) -> None:
    _, (fact,) = last_decision(chat_of, *messages)
    assert fact.refusal is refusal


def test_nobody_is_told_who_of_the_two_blocks_or_is_banned() -> None:
    facts = [last_decision(message_of, send(), admitted(*row))[1][0] for row in (
        (BOB, LineRefusal.BLOCKED), (SUE, LineRefusal.BLOCKED), (SUE, LineRefusal.BANNED),
    )]  # fmt: skip
    assert {fact.refused for fact in facts} == {ChatRefusal.NOT_REACHABLE}
    named = {refusal for _, refusal in OF_A_MESSAGE + OF_A_CHAT}
    by_rules = {refusal for refusal in ChatRefusal if refusal.endswith("_forbidden")} | {ChatRefusal.TOO_MANY_NEW_CHATS}
    assert named | by_rules | {ChatRefusal.NOT_REACHABLE} == set(ChatRefusal)


def test_what_was_refused_has_no_text_and_is_forgotten_after_a_day() -> None:
    state, _ = last_decision(message_of, send(), admitted(SUE, LineRefusal.BANNED))
    assert (state.text, state.refusal) == ("", ChatRefusal.RECEIVER_BANNED)
    _, (again,) = message_of(state, send(id_="s2"))
    assert (type(again), again.refused) == (MessageRepeated, ChatRefusal.NOT_REACHABLE)
    assert message_of(state, Wake(id="w", at=T, key="m"))[0] is state
    assert message_of(state, Wake(id="w", at=state.wake_at, key="m"))[0] is None


def test_a_message_that_gets_its_place_behind_its_senders_erasure_is_taken_back() -> None:
    common, _ = message_of(None, ForgetMessages(id="f", at=T, message="@0", user=BOB))
    state, _ = last_decision(message_of, *SENT[:-1])
    refused, (fact,) = message_of(state, Wake(id="w", at=T, key="m"), common)
    assert (fact.refusal, refused.text) == (ChatRefusal.SENDER_UNKNOWN, "")
    after, (deleted,) = message_of(refused, posted(), common)
    assert (type(deleted), deleted.seq, after.deleted_at) == (MessageDeleted, 1, T)


def test_an_edit_that_a_delete_overtakes_is_refused_and_brings_no_text_back() -> None:
    let = EditAdmitted(id="l", at=T, cause="e/0", pair=PAIR, user=BOB, peer=SUE, message="m", asked="e")
    state, (fact,) = last_decision(message_of, *SENT, edit(), let)
    assert (type(fact), fact.cause, state.text) == (MessageEdited, "e", "at eight")
    state, (fact,) = last_decision(message_of, *SENT, edit(), delete(), let)
    assert (fact.refusal, state.text, state.draft) == (ChatRefusal.MESSAGE_DELETED, "", "")


# --- the laws ---------------------------------------------------------------------------------------------------------------

PEOPLE = (BOB, SUE, EVE)
HOSTED: tuple[Entity, ...] = (CHAT, CHAT_MESSAGE, CHAT_PAGE, CHAT_BADGE, LINE, BLOCKS)
INBOXES = {entity.inbox: entity for entity in HOSTED}


class World:
    """The deciders of chats, lines and blocks. What is under way to one entity stays in order; of all others any is next."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.states: dict[tuple[str, str], Any] = {}
        self.ways: dict[tuple[str, str], deque[Message]] = defaultdict(deque)
        self.told: list[Message] = []
        self.shown: dict[str, list[Any]] = defaultdict(list)
        self.blocked: set[tuple[str, str]] = set()
        self.number = 0
        for user in PEOPLE:
            self.tell(UserSignedUp(id=f"up/{user}", at=T, cause="c", user=user, role=Role.USER))
        self.settle()

    def tell(self, message: Message) -> None:
        for route in routes()[type(message)]:
            key = route.key(message)
            if key and route.topic in INBOXES:
                self.ways[INBOXES[route.topic].name, key].append(message)
            elif key and route.topic == FEED.name:
                self.shown[key].append(message)

    def step(self) -> bool:
        """Decide one message; False: nothing is under way."""
        ready = [place for place, way in self.ways.items() if way]
        if not ready:
            return False
        entity, key = self.chance.choice(ready)
        message = self.ways[entity, key].popleft()
        decide: Any = decider_of(next(one for one in HOSTED if one.name == entity)).decide
        after, told = decide(self.states.get((entity, key)), message)
        self.states[entity, key] = after
        if entity == CHAT.name:
            self._hold(message, told)
        for one in told:
            self.told.append(one)
            self.tell(one)
        return True

    def _hold(self, message: Message, told: Any) -> None:
        """Behind a block nothing of the blocked is taken by the pair."""
        if isinstance(message, UserBlocked | UserUnblocked):
            (set.add if isinstance(message, UserBlocked) else set.discard)(self.blocked, (message.user, message.peer))
        for one in told:
            if isinstance(one, EditAdmitted) or (isinstance(one, ItemPosted) and one.kind is ItemKind.MESSAGE):
                assert not {(one.peer, one.user), (one.user, one.peer)} & self.blocked

    def settle(self) -> None:
        while self.step():
            pass

    def act(self, kind: str) -> None:
        """Somebody does something."""
        self.number += 1
        user, peer = self.chance.sample(PEOPLE, 2)
        names: Any = {"id": f"c{self.number}", "at": T + timedelta(seconds=self.number)}
        pair: Any = {"pair": pair_of(user, peer), "user": user, "peer": peer}
        fact: Any = {"cause": "c"}
        written = f"{user}-{peer}-{self.chance.randrange(4)}"
        some = self.chance.randrange(1, 9)
        made: dict[str, Any] = {
            "send": lambda: SendMessage(**names, message=written, sender=user, receiver=peer, text=SECRET),
            "edit": lambda: EditMessage(**names, message=written, user=user, peer=peer, text=f"{SECRET} or later"),
            "delete": lambda: DeleteMessage(**names, message=written, user=user, peer=peer),
            "read": lambda: ReadChat(**names, **pair, seq=some),
            "hide": lambda: HideItem(**names, **pair, seq=some),
            "mute": lambda: MuteChat(**names, **pair),
            "block": lambda: BlockUser(**names, user=user, peer=peer, reason=BlockReason.SPAM),
            "unblock": lambda: UnblockUser(**names, user=user, peer=peer),
            "call": lambda: CallEnded(
                **names, **fact, call=f"call{some}{pair['pair']}", caller=user, callee=peer, kind=CallKind.DIRECT,
                connected=some % 2 == 0, reason=EndReason.HUNG_UP, duration_s=float(some),
            ),
            "gift": lambda: GiftSent(
                **names, **fact, gift=f"g{self.number}", sender=user, receiver=peer, item="rose", price_coins=25, share_coins=10
            ),
        }  # fmt: skip
        self.tell(made[kind]())

    def of(self, type_: type[Any]) -> list[Any]:
        return [one for one in self.told if type(one) is type_]


ACTS = ("send",) * 4 + ("edit", "delete", "read", "read", "hide", "mute", "block", "unblock", "call", "gift")


def recount(world: World, pair: str, user: str) -> int:
    """How much a user has not read, counted from all facts."""
    items = [one for one in world.of(ItemPosted) if one.pair == pair][-KEPT:]
    mark = max((one.seq for one in world.of(ChatRead) if (one.pair, one.user) == (pair, user)), default=0)
    gone = {one.seq for one in world.of(ItemHidden) if (one.pair, one.user) == (pair, user)}
    gone |= {one.seq for one in world.of(MessageDeleted) if pair_of(one.sender, one.receiver) == pair}
    quiet = {item.seq for item in world.states[CHAT.name, pair].items if item.quiet}
    return sum(one.seq > mark and one.user != user and one.seq not in gone | quiet for one in items)


@given(st.integers(0, 2**32), long_lists(st.sampled_from(ACTS), 60))
def test_the_laws_of_chats_hold_whatever_is_under_way(seed: int, acts: list[str]) -> None:
    world = World(seed)
    for kind in acts:
        world.act(kind)
        for _ in range(world.chance.randrange(6)):
            world.step()
    world.settle()
    pairs = sorted({pair_of(one, other) for one in PEOPLE for other in PEOPLE if one != other})
    items = {pair: [one for one in world.of(ItemPosted) if one.pair == pair] for pair in pairs}
    for pair, told in items.items():
        assert [one.seq for one in told] == list(range(1, len(told) + 1)), "gapless, in the order of the facts"
        pages = [
            item for seq in range(1, len(told) + 1, 32) for item in world.states[CHAT_PAGE.name, page_key(pair, seq)].items
        ]
        assert [(item.seq, item.ref) for item in pages] == [(one.seq, one.ref) for one in told], "a page has what was shown"
        for user in pair.split("/"):
            seqs = [one.seq for one in world.shown[user] if type(one) is ItemPosted and one.pair == pair]
            assert seqs == [one.seq for one in told], "a phone is shown the same order"
            marks = [one.seq for one in world.of(ChatRead) if (one.pair, one.user) == (pair, user)]
            assert marks == sorted(marks), "marks only rise"
    refs = [one.ref for one in world.of(ItemPosted)]
    assert len(refs) == len(set(refs)), "one message a client id, one item a call"
    for user in PEOPLE:
        unread = {pair: recount(world, pair, user) for pair in pairs if user in pair.split("/") and items[pair]}
        sides = {pair: world.states[CHAT.name, pair].sides[pair.split("/").index(user)].unread for pair in unread}
        badge = world.states.get((CHAT_BADGE.name, user))
        assert sides == unread, "the counter is a recount"
        assert (badge.unread if badge else 0) == sum(unread.values()), "the badge is the sum"
    assert not any(SECRET.encode() in encode(one) for one in world.told if not isinstance(one, SendMessage | EditMessage))
    deleted = {one.message for one in world.of(MessageDeleted)}
    for (entity, key), state in world.states.items():
        if entity == CHAT_MESSAGE.name and state and (key in deleted or state.refusal):
            assert (state.text, state.draft) == ("", ""), "what was deleted, or refused, has no text"


def test_a_chat_that_is_hidden_is_not_unread_and_comes_back_with_its_next_item() -> None:
    again = replace(POST, id="p2", message="m2")
    state, (hidden, count) = last_decision(chat_of, POST, HIDE_CHAT)
    assert (hidden.seq, hidden.user, count.change, state.sides[1].unread) == (1, SUE, -1, 0)
    assert state.sides[1].read == 0, "hidden is not read"
    assert [group.split("/")[0] for group in CHATS.of(PAIR, state)] == [BOB, BOB]
    state, _ = chat_of(state, again)
    assert (state.sides[1].unread, len(CHATS.of(PAIR, state))) == (1, 4)


def test_a_chat_remembers_the_newest_and_counts_among_these() -> None:
    posts = [replace(POST, id=f"p{number}", message=f"m{number}") for number in range(KEPT + 5)]
    state, told = last_decision(chat_of, *posts)
    assert (state.seq, len(state.items), state.sides[1].unread) == (KEPT + 5, KEPT, KEPT)
    assert [type(one) for one in told] == [ItemPosted], "more than fifty are fifty: the badge stands"
    state, told = chat_of(state, ReadChat(id="r", at=T, pair=PAIR, user=SUE, peer=BOB, seq=10**9))
    assert (told[0].seq, told[0].unread, unread_of(state, 1)) == (KEPT + 5, 0, 0)
    assert told[1] == CountUnread(id="r/unread/1", at=T, user=SUE, change=-KEPT)


def test_a_read_mark_is_not_shown_across_a_block() -> None:
    _, told = last_decision(chat_of, POST, BLOCK, READ)
    assert (told[0].peer, told[0].user) == ("", SUE)


def test_who_is_banned_writes_nothing() -> None:
    world = World(7)
    world.tell(UserBanned(id="ban", at=T, cause="c", user=BOB, reason="spam"))
    world.settle()
    world.tell(send())
    world.settle()
    assert [one.refusal for one in world.of(MessageRefused)] == [ChatRefusal.SENDER_BANNED]
    assert not world.of(ItemPosted)
