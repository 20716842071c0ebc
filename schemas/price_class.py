"""Price classes: how dear a streamer's calls are. Staff approves some classes for a streamer, who picks one of them; tariffs
have rules for them (`schemas.billing_rules`). A call has the class that is picked when it is placed; none is the empty one.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.erased import mark_ends
from schemas.log.base import By, Fields, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import PLAIN
from schemas.user import Code, UserCommand, UserErased, UserFact

# A streamer picks among a handful.
MAX_CLASSES: Final = 16
ClassInList = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$"), PLAIN]
Classes = Annotated[tuple[ClassInList, ...], Meta(max_length=MAX_CLASSES)]


class PriceClassRefusal(StrEnum):
    """Why a command was refused, in order of precedence."""

    STREAMER_ERASED = "streamer_erased"
    CLASS_NOT_APPROVED = "class_not_approved"


class ApprovePriceClasses(UserCommand):
    """These are the classes from which the streamer may pick, and no others."""

    classes: Classes = ()
    by: By = ""


class PickPriceClass(UserCommand):
    """From now on the streamer's calls are of this class; empty: of none."""

    price_class: Code = ""


class ClassFields(Fields):
    """What is approved, in the order of the alphabet, and what of it is picked."""

    classes: Classes = ()
    price_class: Code = ""


class PriceClassesApproved(UserFact, ClassFields):
    """The streamer may pick from these. What was picked and is not among them any more is not picked any more."""

    by: By = ""


class PriceClassPicked(UserFact, ClassFields):
    """The streamer has picked."""


class PriceClassRefused(UserFact, Refused):
    """Nothing was changed."""

    refusal: PriceClassRefusal


class PriceClasses(State, ClassFields, kw_only=True):
    """A streamer's classes. `erased_at`: the streamer was erased then; for a day, so that what comes late is refused."""

    erased_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When the mark of an erasure is forgotten."""
        return mark_ends(self.erased_at)


PriceClassInbox = ApprovePriceClasses | PickPriceClass | UserErased | Wake

PRICE_CLASS: Final = Entity(
    "price_class",
    key="user",
    flow=Flow.LIVE,
    state=PriceClasses,
    commands=(ApprovePriceClasses, PickPriceClass),
    facts=(PriceClassesApproved, PriceClassPicked, PriceClassRefused),
    hears=(Hears(UserErased, "user", "nothing is kept of who was erased"),),
)
