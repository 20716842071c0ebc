"""Erasure for operators: where something of somebody's stands, never what, and how to have it forgotten (docs/erasure.md)."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from infra import dead_letters
from infra.config import Config
from infra.entities import state_of, states_of, tell
from infra.errors import UsageError
from schemas.balance import ACCOUNT, Account
from schemas.balance_ledger import accounts_of
from schemas.chat import CHAT_MESSAGE
from schemas.chat_report import CHAT_EVIDENCE
from schemas.log.base import State, UserId, new_id, now
from schemas.log.entity import Entity
from schemas.log.personal import blank
from schemas.log.topics import ENTITIES
from schemas.outbox import OUTBOX
from schemas.user import USER, EraseUser, User, is_user_id
from schemas.video_clip import CLIP

# A decision takes milliseconds; a flow that is starting takes seconds.
DECIDED_S: Final = 20.0
MAX_REASON: Final = 64
# What stands under other keys than the user's, and by which field it is found.
OTHERS: Final = {
    CHAT_MESSAGE.name: "sender", CHAT_EVIDENCE.name: "sender", CLIP.name: "streamer", OUTBOX.name: "subject",
}  # fmt: skip


class Known(NamedTuple):
    """Something of the user's: where it stands, and what of it is personal, by name; or, of an account, how much."""

    place: str
    key: str
    what: str


def known_of(config: Config, user: str) -> list[Known]:
    """All states of the user's that say something, what is on the accounts, and dead letters. Errors: UsageError."""
    found = [Known(entity.name, key, _personal(state)) for entity, key, state in _states(config, user)]
    for account in accounts_of(user):
        state = state_of(config, ACCOUNT, account)
        if isinstance(state, Account) and not state.closed:
            found.append(Known(ACCOUNT.name, account, f"{state.balance_coins} coins, which are forfeited"))
    letters = [letter for letter in dead_letters.letters(config) if letter.key == user.encode()]
    return [*found, *(Known("dead letter", letter.id, "`olo dead-letters drop` it") for letter in letters)]


def erased_at(config: Config, user: str) -> datetime | None:
    """When the user was erased, or None. Errors: UsageError, where there is no such user."""
    state = state_of(config, USER, user) if is_user_id(user) else None
    if not isinstance(state, User):
        raise UsageError(f"there is no user {user!r}; nobody of this id has signed up")
    return state.erased_at


def erase(config: Config, user: str, by: str, reason: str) -> None:
    """Have the user erased, and wait until that is decided. Errors: UsageError, KafkaException, TimeoutError."""
    if not 3 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise UsageError(f"--reason: say why in 3 to {MAX_REASON} printable characters; it is kept with your name")
    command = EraseUser(id=new_id(), at=now(), user=UserId(user), by=by, reason=reason)
    tell(config, USER, user, command)
    deadline = time.monotonic() + DECIDED_S
    while erased_at(config, user) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the log has the order to erase {user}, and the flow live has not decided it yet")
        time.sleep(0.2)


def _states(config: Config, user: str) -> Iterator[tuple[Entity, str, State]]:
    for entity in ENTITIES:
        if entity.key == "user" and entity is not USER:
            known = state_of(config, entity, user)
            if known is not None and getattr(known, "erased_at", None) is None:
                yield entity, user, known
        elif entity.name in OTHERS:
            yield from (
                (entity, key, state)
                for key, state in states_of(config, entity)
                if getattr(state, OTHERS[entity.name]) == user and blank(state) != state
            )


def _personal(state: State) -> str:
    """The fields in which something personal stands."""
    without = blank(state)
    return ", ".join(name for name in state.__struct_fields__ if getattr(state, name) != getattr(without, name))
