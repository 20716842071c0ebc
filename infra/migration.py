"""A delivery of Hasura's that was put aside, once more: read by the rules that are in force now, and told to the log."""

import json
from typing import Any

from infra.config import Config
from infra.entities import state_of, tell
from infra.errors import UsageError
from infra.migration_mapping import Delivery, DeliveryError, move_of, read_delivery
from schemas.log.base import new_id, now
from schemas.migration import MIGRATION_FEED, MIGRATION_ROW, MigrationFeed, MoveRow
from schemas.user import USER, User


class NotMendedError(UsageError):
    """By the rules in force no command can be made of the delivery either."""


def redrive(config: Config, body: bytes) -> str:
    """Tell the log of a delivery; what was told, for a person to read. Errors: NotMendedError, KafkaException."""
    delivery, command = _command(config, body)
    tell(config, MIGRATION_ROW, command.row, command)
    return f"told anew: the event {delivery.event} of {delivery.feed} is {command.outcome}, which makes {_made(command)}"


def would_redrive(config: Config, body: bytes) -> str:
    """What that would do, for a person to read; nothing is told. Errors: KafkaException."""
    try:
        delivery, command = _command(config, body)
    except NotMendedError as error:
        return str(error)
    by = f" by the rule {command.rule}" if command.rule else ""
    return f"the event {delivery.event} of {delivery.feed} would be {command.outcome}, which makes {_made(command)}{by}"


def _made(command: MoveRow) -> str:
    return command.action if command.move is not None and command.action is not None else "no command"


def _command(config: Config, body: bytes) -> tuple[Delivery, MoveRow]:
    """A delivery, and what it is by the rules in force. Errors: NotMendedError, KafkaException."""

    def erased(user: str) -> bool:
        known = state_of(config, USER, user)
        return isinstance(known, User) and known.erased_at is not None

    try:
        delivery = read_delivery(_read(body), now())
        feed = state_of(config, MIGRATION_FEED, delivery.feed)
        command = move_of(
            delivery, feed if isinstance(feed, MigrationFeed) else None, id_=new_id(), at=now(), erased=erased
        )  # fmt: skip
    except DeliveryError as error:
        raise NotMendedError(f"it is as it was: {error}; mend the rules of the feed, and redrive it then") from None
    except (ValueError, RecursionError) as error:
        raise NotMendedError(f"it is no JSON, and cannot be mended here: {error}") from None
    return delivery, command


def _read(body: bytes) -> Any:
    """A body as JSON, where the log can say it again: halves of surrogate pairs and numbers without an end it cannot. Errors:
    ValueError, RecursionError."""
    found = json.loads(body)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    return found
