"""Video: `clip`, a streamer's recorded film, messages and states. Playing it is a priced call without a callee."""

from typing import Annotated, Final

from msgspec import Meta

from schemas.billing import CallId
from schemas.billing_rules import CallTags
from schemas.erased import ErasedUsers
from schemas.log.base import Fact, Id, Message, Refused, State, Wake
from schemas.log.entity import Entity, Flow
from schemas.log.personal import WORDS
from schemas.user import Code, Role, Short, User_
from schemas.video import MAX_CLIP_S, CallRefusal

Url = Annotated[str, Meta(max_length=1024), WORDS]


class OfferClip(Message):
    """A streamer offers a recorded video, or changes the offer; `active` False withdraws it."""

    clip: Id
    streamer: User_
    title: Annotated[Short, WORDS]
    url: Url
    duration_s: Annotated[int, Meta(ge=1, le=MAX_CLIP_S)]
    active: bool = True


class PlayClip(Message):
    """A user wants to watch a clip: a priced call without a callee."""

    clip: Id
    call: CallId
    viewer: User_
    viewer_role: Role
    country: Code = ""
    tags: CallTags = ()
    price_class: Code = ""
    caller_device: Code = ""


class ForgetClips(Message):
    """To the broadcast key of a partition (`clip`): `user` was erased, whose clips are forgotten."""

    clip: Id
    user: User_


class ClipOffered(Fact):
    """The clip is there like this."""

    clip: Id
    streamer: User_
    title: Annotated[Short, WORDS]
    url: Url
    duration_s: int
    active: bool


class ClipRefused(Refused):
    """The clip is another streamer's, unknown, or withdrawn."""

    clip: Id
    refusal: CallRefusal


class Clip(State):
    """A streamer's recorded video. The state under a broadcast key has only `erased`: whose clips are forgotten."""

    streamer: User_
    title: Annotated[Short, WORDS]
    url: Url
    duration_s: int
    active: bool = True
    erased: ErasedUsers = ()

    def behind(self, common: State | None) -> bool:
        """Whether its streamer was erased."""
        return isinstance(common, Clip) and self.streamer in common.erased


ClipInbox = OfferClip | PlayClip | ForgetClips | Wake

CLIP: Final = Entity(
    "clip",
    key="clip",
    flow=Flow.LIVE,
    state=Clip,
    commands=(OfferClip, PlayClip, ForgetClips),
    facts=(ClipOffered, ClipRefused),
    raw="a play of a clip is a call, and stands in `calls`",
    broadcast=True,
)
