"""The auditor of calls' lengths: who pays and earns until when, worked out a second time from what stands in the calls' inbox.

The rule (docs/calls.md): a side is there while the phone beats with which it is in the call. Who pays and falls silent pays
until the cut, or until the provider's word that he left; who earns and falls silent earns until her last beat; a side that
never beat makes the call void. It shares no code with the deciders.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.lab.proofs.auditor import Read
from tests.lab.proofs.ledger import Json

LOST = timedelta(seconds=20)
SILENT = timedelta(seconds=10)


class Talk:
    """One call, as its messages tell: which phone each side is at, and when that beat last."""

    def __init__(self, placed: Json) -> None:
        self.sides: tuple[str, str] = (placed["caller"], placed["callee"])
        self.clip_s: int = placed.get("clip_s", 0)
        self.phone = {placed["caller"]: placed.get("caller_device", ""), placed["callee"]: placed.get("callee_device", "")}
        user_is_called = placed["callee_role"] == "user" and placed["caller_role"] != "user"
        self.payer, self.earner = self.sides[::-1] if user_is_called else self.sides
        self.rings = False
        self.connected: datetime | None = None
        self.beat: dict[str, datetime] = {}
        self.payer_left: datetime | None = None

    def connect(self, message: Json, at: datetime) -> None:
        """They talk since `at`; who took the call did so on a phone."""
        self.connected, self.beat = at, dict.fromkeys(self.sides, at)
        if message["type"] == "AcceptCall":
            self.phone[self.sides[1]] = message.get("device", "")

    def hear(self, message: Json) -> None:
        """One message before the end."""
        kind, by, device = message["type"], message.get("by", ""), message.get("device", "")
        if by not in self.sides or kind not in ("BeatCall", "OpenRoom", "LeaveCall"):
            return
        if kind == "OpenRoom" and device and (self.rings or self.connected):
            self.phone[by] = device
        if self.connected is None:
            return
        if kind == "LeaveCall":
            self.payer_left = _at(message) if by == self.payer else self.payer_left
        elif self.phone[by] in ("", device):
            self.beat[by] = max(self.beat[by], _at(message))

    def length(self, ended: Json, cause: Json) -> tuple[timedelta, bool] | None:
        """How long it is by the rule, and whether it is void; None: the rule for the longest call."""
        began, reason = self.connected, ended["reason"]
        assert began is not None
        if reason in ("clip_over", "too_long"):
            return (timedelta(seconds=self.clip_s), False) if reason == "clip_over" else None
        beating = self.sides[:1] if self.clip_s else self.sides
        end = max(began, datetime.fromisoformat(cause.get("since") or cause["at"]))
        if reason == "peer_lost":
            end = min(self.beat[side] for side in beating) + LOST
        if self.clip_s:
            return end - began, reason in ("banned", "erased") and end <= began
        hangs_up = ended.get("by", "") if reason == "hung_up" else ""
        silent = [side for side in self.sides if side != hangs_up and end - self.beat[side] >= SILENT]
        if any(self.beat[side] == began for side in silent):
            return timedelta(), True
        if self.earner in silent:
            return self.beat[self.earner] - began, False
        left = self.payer_left
        if reason == "peer_lost" and left and self.payer in silent and self.beat[self.payer] <= left:
            end = min(left, end)
        return end - began, False


def wrong_lengths(read: Read) -> Iterator[str]:
    """The calls whose length is not that of the rule."""
    facts = {
        (fact["call"], fact["type"]): fact
        for row in read("call.events")
        if (fact := row.value) and fact["type"] in ("CallRinging", "CallConnected", "CallEnded")
    }
    inbox: dict[str, list[Json]] = defaultdict(list)
    for row in read("call.inbox"):
        if row.value:
            inbox[row.key].append(row.value)
    for call, messages in inbox.items():
        ended = facts.get((call, "CallEnded"))
        if ended and ended.get("connected"):
            yield from _wrong(call, messages, ended, facts)


def _wrong(call: str, messages: list[Json], ended: Json, facts: dict[tuple[str, str], Json]) -> Iterator[str]:
    rings, connected = facts.get((call, "CallRinging")), facts[call, "CallConnected"]
    talk = Talk(next(message for message in messages if message["type"] == "PlaceCall"))
    end: Json | None = None  # what ended it; a play is billed behind that, when its streamer's line has told of a ban
    for message in messages:
        if rings and message["id"] == _decided_by(rings):
            talk.rings = True
        if message["id"] == _decided_by(connected) and talk.connected is None:
            talk.connect(message, _at(connected))
        end = end or (message if message["id"] == ended["cause"] else None)
        if message["id"] == _decided_by(ended):
            by_ban = ended["reason"] == "banned" and "since" in message
            due = talk.length(ended, message if by_ban else end or message)
            said = timedelta(seconds=ended.get("duration_s", 0.0)), ended.get("void", False)
            if due is not None and due != said:
                yield f"call {call}: {said} was billed, the rule says {due}; ended {ended}, {vars(talk)}"
            return
        if end is None:
            talk.hear(message)
    yield f"call {call}: what ended it is not in its inbox: {ended}"


def _decided_by(fact: Json) -> str:
    """The message with which a fact was decided; its cause is the command that it answers."""
    message: str = fact["id"].rpartition("/")[0]
    return message


def _at(message: Json) -> datetime:
    return datetime.fromisoformat(message["at"])
