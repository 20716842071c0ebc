"""Global settings: `PUT /v1/admin/settings`, `GET /v1/settings`, and the gate that turns away apps that are too old.

An app names itself on every request by `X-App-Platform` and `X-App-Version`; one below its platform's lowest version gets 426
`app_too_old` with the store's link, on every route but the settings themselves. A request that names nothing passes.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.datastructures import Headers

from schemas.log.base import new_id, now
from schemas.settings import (
    APP,
    MAX_PLATFORMS,
    SETTINGS,
    VERSION_PATTERN,
    AppSettings,
    PlatformSettings,
    PutSettings,
    Settings,
    SettingsPut,
    version_number,
)
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import OptionalWebUrl
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import RulesChange
from serving.runtime.views import Views

router = APIRouter(tags=["settings"])

OPEN: Final = frozenset({"/v1/settings", "/v1/admin/settings"})
Version = Annotated[str, Field(pattern=VERSION_PATTERN, examples=["3.12.0"])]
PlatformName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]


class PlatformBody(RequestBody):
    """One platform's app: below `lowest_version` it is refused, below `recommended_version` it should ask for an update."""

    lowest_version: Version = "0"
    recommended_version: Version = "0"
    store_url: OptionalWebUrl = ""


class SettingsBody(RequestBody):
    """All settings: what is left out gets its default."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"platforms": {"ios": {"lowest_version": "3.2", "store_url": "https://apps.example/olo"}}}
        },
    )
    platforms: Annotated[dict[PlatformName, PlatformBody], Field(max_length=MAX_PLATFORMS)] = {}
    support_url: OptionalWebUrl = ""


class SettingsAnswer(SettingsBody):
    """The settings in force; `version` counts their changes, 0: never changed."""

    version: int


@router.get("/v1/settings", response_model=SettingsAnswer, responses=responses(503), openapi_extra={"security": []})
async def read_settings(request: Request) -> Any:
    """The settings in force: for every app, before it signs in."""
    return _shown(views_of(request).of(SETTINGS).get(APP))


@router.put("/v1/admin/settings", response_model=SettingsAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_settings(body: SettingsBody, caller: RulesChange, request: Request) -> Any:
    """Replace the settings; apps feel it with their next request."""
    wrong = [
        f"{name}: the recommended version {one.recommended_version} is below the lowest one {one.lowest_version}"
        for name, one in body.platforms.items()
        if version_number(one.recommended_version) < version_number(one.lowest_version) and one.recommended_version != "0"
    ]
    if wrong:
        raise Problem(422, "invalid_settings", "; ".join(wrong))
    settings = AppSettings(
        {name: PlatformSettings(**one.model_dump()) for name, one in body.platforms.items()}, body.support_url
    )
    command = PutSettings(id=new_id(), at=now(), name=APP, settings=settings, by=caller.user)
    fact = await commands_of(request).ask(command, SettingsPut)
    return _shown(Settings(fact.settings, fact.version))


def _shown(settings: Settings | None) -> SettingsAnswer:
    if settings is None:
        return SettingsAnswer(version=0)
    return SettingsAnswer(**msgspec.to_builtins(settings.settings), version=settings.version)


def too_old(scope: Any, views: Views) -> Problem | None:
    """Why an app is turned away; None: it may go on."""
    settings = views.of(SETTINGS).get(APP)
    if settings is None or scope["type"] != "http" or not scope["path"].startswith("/v1/") or scope["path"] in OPEN:
        return None
    headers = Headers(scope=scope)
    platform = settings.settings.platforms.get(headers.get("x-app-platform", ""))
    version = headers.get("x-app-version")
    if platform is None or version is None:
        return None
    try:
        fine = version_number(version) >= version_number(platform.lowest_version)
    except ValueError:
        return Problem(400, "app_version_invalid", "X-App-Version is numbers and dots, such as 3.12.0")
    if fine:
        return None
    detail = f"this app is version {version}; the lowest that is served is {platform.lowest_version}, at {platform.store_url}"
    return Problem(426, "app_too_old", detail, store_url=platform.store_url, lowest_version=platform.lowest_version)
