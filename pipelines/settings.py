"""Global settings: the last ones put are in force. State: `schemas.settings.Settings`; its version counts every change."""

from collections.abc import Sequence

from schemas.log.base import Message, Wake, reply
from schemas.settings import PutSettings, Settings, SettingsInbox, SettingsPut


def decide_settings(settings: Settings | None, message: SettingsInbox) -> tuple[Settings | None, Sequence[Message]]:
    """Decide one message of the settings' inbox."""
    match message:
        case Wake():
            return settings, ()
        case PutSettings():
            version = settings.version + 1 if settings else 1
            put = SettingsPut(
                **reply(message), name=message.name, settings=message.settings, version=version, by=message.by
            )  # fmt: skip
            return Settings(message.settings, version), (put,)
