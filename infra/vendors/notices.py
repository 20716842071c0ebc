"""What every video provider's webhook comes to: somebody came to a call's room, or went."""

from typing import NamedTuple

from schemas.video_room import LeaveReason


class Notice(NamedTuple):
    """Somebody came or went: `seq` orders the notices of one `connection` of a participant."""

    notice: str
    channel: str
    member: str
    joined: bool
    seq: int
    at_s: float
    reason: LeaveReason
    connection: str = ""
