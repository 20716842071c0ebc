"""The outbox for operators: what is owed to vendors, what they refused and why, and how to have it tried again."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.client import Client

from infra.config import Config
from infra.entities import states_of, tell
from infra.errors import UsageError
from schemas.log.base import new_id, now
from schemas.log.personal import blank
from schemas.outbox import OUTBOX, Effect, EffectKind, EffectStatus, RedriveEffect

# A person who redrives wants it done today.
REDRIVEN_FOR: Final = timedelta(hours=24)
# What a person has to look at.
ENDED_BADLY: Final = frozenset({EffectStatus.REFUSED, EffectStatus.EXPIRED})


class NoSuchEffectError(UsageError):
    """There is no such effect, or it cannot be redriven."""


def effects(config: Config) -> Iterator[tuple[str, Effect]]:
    """Every effect that is remembered, as it stands."""
    for name, effect in states_of(config, OUTBOX):
        if isinstance(effect, Effect) and not name.startswith("@"):
            yield name, effect


def find(config: Config, name: str) -> Effect:
    """One effect. Errors: NoSuchEffectError."""
    found = dict(effects(config)).get(name)
    if found is None:
        raise NoSuchEffectError(f"there is no effect {name!r}, or it was done more than a day ago; see `olo outbox list --all`")
    return found


def shown(effect: Effect) -> dict[str, Any]:
    """An effect for an operator: with the vendor's last words, which say what to mend, and without what else is personal."""
    told: dict[str, Any] = msgspec.to_builtins(blank(effect)) | {"detail": effect.detail}
    told.get("postback", {}).pop("identity", None)
    return told


def postbacks(config: Config, provider: str, status: str) -> Iterator[tuple[str, Effect]]:
    """The postbacks that are remembered, of one provider and status if these are given."""
    for name, effect in effects(config):
        if effect.kind is EffectKind.POSTBACK and provider in ("", effect.provider) and status in ("", effect.status):
            yield name, effect


def ledger(client: Client) -> Sequence[Sequence[Any]]:
    """The ledger of postbacks summed up, from ClickHouse: provider, event, owed, accepted, refused, under way, tried again."""
    sql = (
        "SELECT provider, event, count(), countIf(state = 'accepted'), countIf(state = 'refused'),"
        " countIf(state IN ('sent', 'retried')), sum(attempts - 1) FROM postbacks GROUP BY provider, event ORDER BY ALL"
    )
    return client.query(sql).result_rows


def redrive(config: Config, name: str, by: str) -> None:
    """Have a refused or expired effect tried again. Errors: NoSuchEffectError, KafkaException."""
    redrive_found(config, name, find(config, name), by)


def redrive_found(config: Config, name: str, effect: Effect, by: str) -> None:
    """The same for an effect that was looked up. Errors: NoSuchEffectError, KafkaException."""
    if wrong := lost(name, effect):
        raise NoSuchEffectError(wrong)
    tell(config, OUTBOX, name, redriven(name, by))


def lost(name: str, effect: Effect) -> str:
    """Why an effect cannot be tried again; empty: it can."""
    if effect.status not in ENDED_BADLY:
        return f"{name} is {effect.status}: only refused and expired effects can be redriven"
    if effect.kind is EffectKind.PUSH:
        return f"{name} is a push: nobody is sent one late, and what it said is gone"
    if effect.kind is EffectKind.POSTBACK and effect.postback is None:
        return f"{name} tells of a user who was erased: what was to be told is gone"
    return ""


def redriven(name: str, by: str) -> RedriveEffect:
    """The command that has an effect tried again."""
    return RedriveEffect(id=new_id(), at=now(), effect=name, expires_at=now() + REDRIVEN_FOR, by=by)
