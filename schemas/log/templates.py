"""Commands from templates: what staff may have sent by a rule, such as a job of the timetable.

A template is the JSON of a command's fields. Texts in it may name what is known only when it is sent: `{fire}` and the like. A
command that carries what is personal is none that a template may hold, since templates are shown to all staff and to analysts.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Final

import msgspec

from schemas.balance import Reason
from schemas.log.base import Message
from schemas.log.codec import encode
from schemas.log.personal import personal_of
from schemas.log.topics import ENTITIES
from schemas.transfer import PlaceTransfer

# A job that commanded jobs could fire without an end; roles and approvals are people's to give, and what staff did is
# written by serving only. Coins move by transfers, which are held against the four eyes' limit, and never past them; what a
# store, a payee or a streamer says, and what becomes of a payout, is theirs to say, or people's of staff; an old back end's
# rows come from there. What users' coins go to, calls, clips and gifts, they ask for themselves.
APART: Final = frozenset({
    "timetable", "staff", "staff_act", "approval", "account", "purchase", "intent", "payee", "payout", "payout_batch",
    "agency", "membership", "subscription", "reconciliation", "migration_row", "opening",
    "apphud", "gift", "bill", "call", "clip", "line", "pool", "room",
})  # fmt: skip

# As what staff moves coins. What is earned by calls and gifts has an agency's share in it, and counts as that for analysts.
MOVED_FOR: Final = (Reason.GRANT, Reason.PURCHASE, Reason.TRANSFER)


class TemplateError(ValueError):
    """The template gives no command; the text says why."""


@cache
def commands() -> dict[str, type[Message]]:
    """All commands of all inboxes, by name."""
    return {command.__name__: command for entity in ENTITIES for command in entity.commands}


@cache
def sendable() -> dict[str, type[Message]]:
    """Those that a template may be of."""
    found = [command for entity in ENTITIES if entity.name not in APART for command in entity.commands]
    return {command.__name__: command for command in found if not personal_of(command)}


@cache
def _reader(type_: type[Message]) -> Callable[[bytes], Message]:
    return msgspec.json.Decoder(type_).decode


def fill(command: str, template: str, names: Mapping[str, str], *, id_: str, at: datetime, by: str) -> Message:
    """The command, with each name in the template's texts replaced. Errors: TemplateError."""
    type_ = sendable().get(command)
    if type_ is None:
        raise TemplateError(f"there is no command {command} that a template may be of")
    for name, value in names.items():
        template = template.replace(name, value)
    given = {"type": type_.__name__, "id": id_, "at": at} | ({"by": by} if "by" in type_.__struct_fields__ else {})
    try:
        fields = msgspec.json.decode(template or "{}", type=dict[str, msgspec.Raw])
        if strange := fields.keys() - set(type_.__struct_fields__):
            raise TemplateError(f"{command} has no field {', '.join(sorted(strange))}")
        if own := fields.keys() & given.keys():
            raise TemplateError(f"the field {', '.join(sorted(own))} is filled in when it is sent")
        found = _reader(type_)(encode(fields | {key: msgspec.Raw(encode(one)) for key, one in given.items()}))
    except msgspec.DecodeError as error:
        raise TemplateError(f"{command}: {error}") from error
    except RecursionError as error:
        raise TemplateError(f"{command}: the template is too deep") from error
    if isinstance(found, PlaceTransfer) and found.reason not in MOVED_FOR:
        raise TemplateError(f"{command}: staff moves coins as {', '.join(MOVED_FOR)}, and not as {found.reason}")
    return found
