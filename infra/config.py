"""Settings: typed, from the environment (`OLO_...`) and one TOML file (`olo.toml`, or the one that `OLO_CONFIG` names).

The environment wins over the file. `load` raises `ConfigError`, one line a problem, each naming the variable to mend.
"""

import os
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.log.entity import DEFAULT_PARTITIONS, set_log_partitions

EMULATOR_VARIABLE = "FIREBASE_AUTH_EMULATOR_HOST"


class Environment(StrEnum):
    """Where this runs; production refuses everything that is only meant for development."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class VideoProvider(StrEnum):
    """Who carries the picture and the sound of calls."""

    NONE = "none"
    AGORA = "agora"
    TWILIO = "twilio"


class ConfigError(Exception):
    """The settings are wrong; the text says which and how to mend it."""


class Config(BaseSettings):
    """All settings. An empty `brokers` or `clickhouse_url` means: embed it."""

    model_config = SettingsConfigDict(env_prefix="OLO_", extra="forbid", frozen=True)

    env: Environment = Environment.DEVELOPMENT
    home: Path = Path(".olo")
    http_host: str = "127.0.0.1"
    http_port: int = Field(8080, ge=0, le=65535, description="0: any free one")
    partitions: int = Field(DEFAULT_PARTITIONS, ge=1, le=1_000, description="of each topic of the log, for good")
    money_processes: int = Field(1, ge=1, le=64)
    live_processes: int = Field(1, ge=1, le=64)
    growth_processes: int = Field(1, ge=1, le=64)
    serving_processes: int = Field(1, ge=1, le=64)

    states_mb: int = Field(64, ge=1, le=100_000, description="memory of a flow's process for the states decided last")

    brokers: str = Field("", description="host:port,host:port of a Kafka-protocol broker")
    kafka_security_protocol: str = Field("PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    kafka_sasl_mechanism: str = Field("SCRAM-SHA-256", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")
    kafka_username: str = ""
    kafka_password: str = Field("", repr=False)
    kafka_ca: str = Field("", description="a PEM file with the broker's certificate authority")
    replication_factor: int = Field(1, ge=1, le=5, description="copies of each record; odd on Redpanda")
    redpanda_admin: str = Field("", description="http(s)://host:9644, Redpanda's admin API, for `olo doctor`")

    clickhouse_url: str = Field("", description="http(s)://user:password@host:port/database")
    firebase_project: str = "demo-olo"

    public_url: str = Field("http://127.0.0.1:8080", description="where the outside world reaches this: webhooks sign it")
    clip_secret: str = Field("", repr=False, description="signs the addresses of paid clips: their host has it, too")
    video_provider: VideoProvider = VideoProvider.NONE
    agora_url: str = "https://api.agora.io"
    agora_app_id: str = Field("", pattern="^([0-9a-f]{32})?$")
    agora_certificate: str = Field("", pattern="^([0-9a-f]{32})?$", repr=False)
    agora_token: int = Field(7, ge=6, le=7, description="the token format: 6 (006) or 7 (007)")
    agora_customer_id: str = ""
    agora_customer_secret: str = Field("", repr=False)
    agora_webhook_secret: str = Field("", repr=False)
    twilio_url: str = "https://video.twilio.com"
    twilio_account_sid: str = ""
    twilio_key_sid: str = ""
    twilio_key_secret: str = Field("", repr=False)
    twilio_auth_token: str = Field("", repr=False, description="signs Twilio's callbacks")

    app_id_ios: str = Field("", pattern="^(id[0-9]+)?$", description="the App Store's id of the app: id123456789")
    bundle_ios: str = ""
    app_id_android: str = Field("", description="the app's package name")
    appsflyer_push_token: str = Field("", repr=False, description="what AppsFlyer's pushes carry")
    appsflyer_url: str = "https://api3.appsflyer.com"
    appsflyer_key: str = Field("", repr=False, description="the server-to-server key")
    snapchat_url: str = "https://tr.snapchat.com"
    snapchat_app_id: str = ""
    snapchat_token: str = Field("", repr=False)
    amplitude_url: str = "https://api2.amplitude.com/2/httpapi"
    amplitude_key: str = Field("", repr=False)
    ga4_url: str = "https://www.google-analytics.com"
    ga4_app_id: str = Field("", description="the Firebase app id")
    ga4_secret: str = Field("", repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the file."""
        file = TomlConfigSettingsSource(settings_cls, os.environ.get("OLO_CONFIG", "olo.toml"))
        return init_settings, env_settings, file

    @cached_property
    def kafka(self) -> dict[str, Any]:
        """librdkafka's connection properties."""
        conf: dict[str, Any] = {"bootstrap.servers": self.brokers, "security.protocol": self.kafka_security_protocol}
        if self.kafka_security_protocol.startswith("SASL"):
            conf |= {
                "sasl.mechanism": self.kafka_sasl_mechanism,
                "sasl.username": self.kafka_username,
                "sasl.password": self.kafka_password,
            }
        return conf | ({"ssl.ca.location": self.kafka_ca} if self.kafka_ca else {})


def load(**given: Any) -> Config:
    """The settings of this process; from now on the map of the log has its partitions. Errors: ConfigError."""
    file = os.environ.get("OLO_CONFIG")
    if file and not Path(file).is_file():
        raise ConfigError(f"OLO_CONFIG: there is no file {file!r}")
    try:
        config = Config(**given)
    except ValidationError as error:
        problems = [f"OLO_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise ConfigError("; ".join(problems)) from None
    except ValueError as error:  # the file is no TOML
        raise ConfigError(f"{file or 'olo.toml'}: {error}") from None
    _whole(config)
    set_log_partitions(config.partitions)
    if config.env is Environment.PRODUCTION and os.environ.get(EMULATOR_VARIABLE):
        raise ConfigError(f"{EMULATOR_VARIABLE}: with it anybody can forge a token; production refuses to start; unset it")
    return config


# What each provider cannot do without: credentials and the right to put people out.
NEEDED: Final = {
    VideoProvider.AGORA: ("agora_app_id", "agora_certificate", "agora_customer_id", "agora_customer_secret"),
    VideoProvider.TWILIO: ("twilio_account_sid", "twilio_key_sid", "twilio_key_secret"),
}

POSTBACKS_NEED: Final = {
    "snapchat": ("snapchat_app_id", "snapchat_token"),
    "appsflyer": ("appsflyer_key",),
    "amplitude": ("amplitude_key",),
    "ga4": ("ga4_app_id", "ga4_secret"),
}


def missing_for(provider: str, config: Config) -> list[str]:
    """The variables that postbacks to a provider cannot do without, and that are not set."""
    needed = POSTBACKS_NEED.get(provider, ())
    missing = [f"OLO_{name.upper()}" for name in needed if not getattr(config, name)]
    if provider in ("snapchat", "appsflyer") and not (config.app_id_ios or config.app_id_android):
        missing.append("OLO_APP_ID_IOS or OLO_APP_ID_ANDROID")
    return missing


def _whole(config: Config) -> None:
    for name in ("money_processes", "live_processes", "growth_processes"):
        if (processes := getattr(config, name)) > config.partitions:
            less = f"of {processes} processes only {config.partitions} would have work, one a partition"
            raise ConfigError(f"OLO_{name.upper()}: {less}; on a new log OLO_PARTITIONS makes more")
    missing = [f"OLO_{name.upper()}" for name in NEEDED.get(config.video_provider, ()) if not getattr(config, name)]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: needed by OLO_VIDEO_PROVIDER={config.video_provider}")
