"""Global settings of the apps, changed live: one entity, `settings`, keyed by "app"; the log keeps every version."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.log.base import By, Fact, Id, Message, State, Wake
from schemas.log.entity import Entity, Flow
from schemas.log.personal import PLAIN
from schemas.user import Code

APP: Final = "app"
VERSION_PATTERN: Final = r"^[0-9]{1,5}(\.[0-9]{1,5}){0,3}$"
# A platform is a word such as "ios"; there are a handful.
MAX_PLATFORMS: Final = 20

Version = Annotated[str, Meta(max_length=23, pattern=VERSION_PATTERN, description="numbers and dots, such as 3.12.0"), PLAIN]
Link = Annotated[str, Meta(max_length=1024), PLAIN]


def version_number(version: str) -> tuple[int, ...]:
    """A version as numbers that compare; 3.12 and 3.12.0 are the same one. Errors: ValueError."""
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


class PlatformSettings(Struct, frozen=True, omit_defaults=True):
    """What the app of one platform must know: older than `lowest_version` it is refused, older than `recommended_version` it
    should ask its user to update at `store_url`."""

    lowest_version: Version = "0"
    recommended_version: Version = "0"
    store_url: Link = ""


class AppSettings(Struct, frozen=True, omit_defaults=True):
    """All settings; what is not there has its default."""

    platforms: Annotated[dict[Code, PlatformSettings], Meta(max_length=MAX_PLATFORMS)] = {}
    support_url: Link = ""


class PutSettings(Message):
    """The settings are these from now on."""

    name: Id
    settings: AppSettings
    by: By = ""


class SettingsPut(Fact):
    """The settings are these; `version` counts from 1."""

    name: Id
    settings: AppSettings
    version: int
    by: By = ""


class Settings(State):
    """The settings in force."""

    settings: AppSettings
    version: int


SettingsInbox = PutSettings | Wake

SETTINGS: Final = Entity(
    "settings",
    key="name",
    flow=Flow.LIVE,
    state=Settings,
    commands=(PutSettings,),
    facts=(SettingsPut,),
    raw="settings change a few times a year",
)
