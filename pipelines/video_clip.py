"""A clip, keyed by clip id: a streamer's recorded video; playing it is a priced call without a callee.

State: whose it is, where it lies, how long it is, whether it is offered (`schemas.video.Clip`).
Refusals: `clip_unknown` (there is none, it was withdrawn, or it is another streamer's).
"""

from collections.abc import Sequence

from schemas.billing import CallKind
from schemas.log.base import Message, UserId, Wake, derived_id
from schemas.user import Role
from schemas.video import CallRefusal, Clip, ClipInbox, ClipOffered, ClipRefused, OfferClip, PlaceCall

Decision = tuple[Clip | None, Sequence[Message]]


def decide_clip(clip: Clip | None, message: ClipInbox) -> Decision:
    """Decide one message of a clip's inbox."""
    match message:
        case Wake():
            return clip, ()
        case OfferClip() if clip is None or clip.streamer == message.streamer:
            return _offer(message)
        case _ if clip is None or isinstance(message, OfferClip) or not clip.active:
            refused = ClipRefused(
                id=derived_id(message.id, 0),
                at=message.at,
                cause=message.id,
                clip=message.clip,
                refusal=CallRefusal.CLIP_UNKNOWN,
            )
            return clip, (refused,)
        case _:
            place = PlaceCall(
                id=derived_id(message.id, 0),
                at=message.at,
                call=message.call,
                caller=message.viewer,
                callee=clip.streamer,
                kind=CallKind.CLIP,
                caller_role=message.viewer_role,
                callee_role=Role.STREAMER,
                country=message.country,
                tags=message.tags,
                clip=message.clip,
                clip_s=clip.duration_s,
            )
            return clip, (place,)


def _offer(message: OfferClip) -> Decision:
    offered = ClipOffered(
        id=derived_id(message.id, 0),
        at=message.at,
        cause=message.id,
        clip=message.clip,
        streamer=message.streamer,
        title=message.title,
        url=message.url,
        duration_s=message.duration_s,
        active=message.active,
    )
    clip = Clip(UserId(message.streamer), message.title, message.url, message.duration_s, message.active)
    return clip, (offered,)
