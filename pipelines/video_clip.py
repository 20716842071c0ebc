"""A clip, keyed by clip id: a streamer's recorded video; playing it is a priced call without a callee.

State: whose it is, where it lies, how long it is, whether it is offered (`schemas.video.Clip`).
Laws: of a streamer who was erased there is no clip: a broadcast names the streamer to every partition.
Refusals: `clip_unknown` (there is none, it was withdrawn, or it is another streamer's, or one's who was erased).
"""

from collections.abc import Sequence

from schemas.billing_rules import CallKind
from schemas.erased import with_erased
from schemas.log.base import Message, UserId, Wake, derive, reply, same_fields
from schemas.user import Role
from schemas.video import CallRefusal, PlaceCall
from schemas.video_clip import Clip, ClipInbox, ClipOffered, ClipRefused, ForgetClips, OfferClip, PlayClip

Decision = tuple[Clip | None, Sequence[Message]]


def decide_clip(clip: Clip | None, message: ClipInbox, common: Clip | None = None) -> Decision:
    """Decide one message of a clip's inbox, under the streamers that its partition was told were erased."""
    erased = common.erased if common is not None else ()
    match message:
        case ForgetClips():
            users = with_erased(clip.erased if clip else (), message.user)
            return Clip(UserId("@"), "", "", 0, active=False, erased=users), ()
        case Wake():
            return (None if clip is not None and clip.streamer in erased else clip), ()
        case OfferClip() if message.streamer not in erased and (clip is None or clip.streamer == message.streamer):
            return _offer(message)
        case _ if clip is None or isinstance(message, OfferClip) or not clip.active:
            return clip, (ClipRefused(**reply(message), clip=message.clip, refusal=CallRefusal.CLIP_UNKNOWN),)
        case _:
            return clip, (_place(clip, message),)


def _place(clip: Clip, message: PlayClip) -> PlaceCall:
    return PlaceCall(
        **derive(message, 0), **same_fields(message, PlaceCall), caller=message.viewer, callee=clip.streamer,
        kind=CallKind.CLIP, caller_role=message.viewer_role, callee_role=Role.STREAMER, clip_s=clip.duration_s,
    )  # fmt: skip


def _offer(message: OfferClip) -> Decision:
    return Clip(**same_fields(message, Clip)), (ClipOffered(**reply(message), **same_fields(message, ClipOffered)),)
