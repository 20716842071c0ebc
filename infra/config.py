"""Settings: typed, from the environment (`OLO_...`) and one TOML file (`olo.toml`, or the one that `OLO_CONFIG` names).

The environment wins over the file. `load` raises `ConfigError`, one line a problem, each naming the variable to mend.
"""

import os
import re
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from infra.hasura_jwt import read_setting
from schemas.log.entity import DEFAULT_PARTITIONS, set_log_partitions

EMULATOR_VARIABLE = "FIREBASE_AUTH_EMULATOR_HOST"
# Nobody's project: it is there so that development needs none.
DEMO_PROJECT: Final = "demo-olo"
# What the certificates of a stand-in for a store are called (`infra/vendors/stand_in_store.py`).
STAND_IN: Final = "Stand-in"
# As browsers write it: a scheme, a host in small letters (or an address), and a port where it is not the scheme's own.
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
# An address that stands in a page's policy as it is.
PLAIN_URL: Final = r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*[A-Za-z0-9._-])?$"
# The password of the ClickHouse that `infra/deploy/compose.yaml` starts.
DEMO_PASSWORD: Final = "olo-development"  # noqa: S105 - it is refused in production


class Environment(StrEnum):
    """Where this runs; production refuses everything that is only meant for development."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class VideoProvider(StrEnum):
    """Who carries the picture and the sound of calls."""

    NONE = "none"
    AGORA = "agora"
    TWILIO = "twilio"


class PushProvider(StrEnum):
    """Who wakes phones; Apple's are woken for calls by Apple."""

    NONE = "none"
    FCM = "fcm"
    ONESIGNAL = "onesignal"


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

    four_eyes_coins: int = Field(0, ge=0, description="staff moves more coins than this at once only as two; 0: no limit")
    head_bytes: int = Field(32_768, ge=1_024, le=1_048_576, description="of a request's line and headers, at most")
    body_bytes: int = Field(65_536, ge=1_024, le=16_777_216, description="of a request's body, at most")
    staff_body_bytes: int = Field(1_048_576, ge=1_024, le=16_777_216, description="of an admin's or a supporter's request")
    webhook_body_bytes: int = Field(65_536, ge=1_024, le=16_777_216, description="of a vendor's request")
    head_s: float = Field(10.0, gt=0, le=600, description="a request's head has come after so many seconds, or never")
    body_s: float = Field(10.0, gt=0, le=600, description="likewise its body")
    connections: int = Field(20_000, ge=1, le=1_000_000, description="of one serving process, at most")
    address_connections: int = Field(2_000, ge=1, le=1_000_000, description="of one address, at most")
    streams: int = Field(8, ge=1, le=1_000, description="feeds that a user has open in a process; the oldest end")
    open_requests: int = Field(64, ge=1, le=10_000, description="that a user has open in a process, feeds among them")
    rate_address: str = Field("500/second;12000/minute", description="how often one address may ask a process")
    rate_user: str = Field("50/second;1200/minute", description="likewise one user")
    rate_write: str = Field("20/second;300/minute", description="likewise one user who writes, of a kind")
    rate_staff: str = Field("500/second;20000/minute", description="likewise one admin or supporter")
    unlimited_networks: str = Field("127.0.0.0/8,::1", description="whose addresses are not counted, such as 10.0.0.0/8,::1")
    trusted_proxies: str = Field("", description="whose X-Forwarded-For and -Proto are believed, such as 127.0.0.1,10.0.0.0/8")
    metrics_token: str = Field(
        "",
        repr=False,
        pattern=r"^([!-~]{16,})?$",
        description="whoever reads serving's /metrics sends it: Authorization: Bearer",
    )
    metrics_for_everybody: bool = Field(False, description="true: serving tells its metrics to whoever asks")
    web_origins: str = Field("", description="whose pages may ask: https://app.example,http://localhost:5173; *: everybody's")

    states_mb: int = Field(64, ge=1, le=100_000, description="memory of a flow's process for the states decided last")
    feed_mb: int = Field(16, ge=1, le=100_000, description="memory of a serving process for the feed's recent past")
    views_mb: int = Field(
        32, ge=1, le=100_000, description="memory of a serving process for the states that were asked for last"
    )

    brokers: str = Field("", description="host:port,host:port of a Kafka-protocol broker")
    kafka_security_protocol: str = Field("PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    kafka_sasl_mechanism: str = Field("SCRAM-SHA-256", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")
    kafka_username: str = ""
    kafka_password: str = Field("", repr=False)
    kafka_ca: str = Field("", description="a PEM file with the broker's certificate authority")
    replication_factor: int = Field(1, ge=1, le=5, description="copies of each record; odd on Redpanda")
    redpanda_admin: str = Field("", description="http(s)://host:9644, Redpanda's admin API, for `olo doctor`")

    clickhouse_url: str = Field("", repr=False, description="http(s)://user:password@host:port/database")
    clickhouse_origins: str = Field("", description="whose pages may ask the embedded ClickHouse: https://a.example,...")
    firebase_project: str = DEMO_PROJECT
    firebase_url: str = Field("https://identitytoolkit.googleapis.com", pattern=PLAIN_URL)
    firebase_token_url: str = Field("https://securetoken.googleapis.com", pattern=PLAIN_URL, description="who renews tokens")
    firebase_api_key: str = Field(
        "", pattern="^[A-Za-z0-9_-]*$", description="the web API key, no secret: with it people sign in to the pages"
    )
    firebase_key_file: str = Field("", description="a service account's key, a JSON file: deletes accounts of erased users")
    forgeable_tokens_beyond_loopback: bool = Field(
        False, description="true: take development tokens, which anybody can forge, on an address that others reach"
    )

    public_url: str = Field("http://127.0.0.1:8080", description="where the outside world reaches this: webhooks sign it")
    clip_secret: str = Field("", repr=False, description="signs the addresses of paid clips: their host has it, too")
    picture_hosts: str = Field("", description="hosts of pictures in chats, separated by commas; empty: no pictures")
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

    push: PushProvider = Field(PushProvider.NONE, description="who wakes phones whose app does not listen; none: nobody does")
    push_second: PushProvider = Field(PushProvider.NONE, description="who is asked where the first one says no for good")
    fcm_url: str = "https://fcm.googleapis.com"
    fcm_key_file: str = Field("", description="the service account's key, a JSON file of Google Cloud's")
    onesignal_url: str = "https://api.onesignal.com"
    onesignal_app_id: str = ""
    onesignal_key: str = Field("", repr=False, description="the REST API key")
    apns_url: str = Field("https://api.push.apple.com", description="for apps of Xcode: https://api.sandbox.push.apple.com")
    apns_key_file: str = Field("", description="the key for calls on Apple's phones, a .p8 file; needs OLO_BUNDLE_IOS, too")
    apns_key_id: str = ""
    apns_team_id: str = ""

    app_id_ios: str = Field("", pattern="^(id[0-9]+)?$", description="the App Store's id of the app: id123456789")
    bundle_ios: str = ""
    apple_environment: str = Field("production", pattern="^(production|sandbox)$", description="whose purchases are taken")
    sandbox_purchases: str = Field("refused", pattern="^(refused|own_ledger)$", description="testers' purchases beside others")
    apple_root_files: str = Field("", description="Apple's root certificates, files (DER) separated by commas")
    apple_api_url: str = Field("", description="the App Store Server API; empty: Apple's, of the environment")
    apple_key_file: str = Field("", description="the key for the App Store Server API, a .p8 file of App Store Connect's")
    apple_key_id: str = ""
    apple_issuer_id: str = ""
    payer_name: str = Field("", max_length=70, description="who pays payouts: the name of our bank account's holder")
    payer_iban: str = Field("", description="our bank account, from which payouts are paid")
    payout_url: str = Field("", description="the payouts' provider: where it is asked to pay (see infra/vendors/payouts.py)")
    payout_webhook_secret: str = Field(
        "", repr=False, pattern=r"^([!-~]{16,})?$", description="what the payouts' provider signs its notices with"
    )  # fmt: skip
    payout_key: str = Field("", repr=False, description="the provider's API key")
    play_url: str = "https://androidpublisher.googleapis.com"
    play_key_file: str = Field("", description="the key of the service account that may see Google Play's orders")
    play_test_purchases: bool = Field(False, description="credit what Google Play's testers buy, which costs them nothing")
    play_push_audience: str = Field("", description="the audience of the subscription to Google Play's notifications")
    play_push_account: str = Field("", description="the service account that pushes Google Play's notifications to us")
    google_certs_url: str = Field("https://www.googleapis.com/oauth2/v1/certs", description="with what Google signs them")
    apple_online_checks: bool = Field(True, description="ask Apple whether a certificate was revoked")
    app_id_android: str = Field("", description="the app's package name")
    apphud_token: str = Field("", repr=False, description="what Apphud's webhook carries: X-Apphud-Token")
    appsflyer_push_token: str = Field("", repr=False, description="what AppsFlyer's pushes carry")
    appsflyer_url: str = "https://api3.appsflyer.com"
    appsflyer_key: str = Field("", repr=False, description="the server-to-server key")
    hasura_jwt_secret: str = Field(
        "", repr=False, description="written as HASURA_GRAPHQL_JWT_SECRET: its tokens are taken, too"
    )
    hasura_streamer_role: str = Field("streamer", description="Hasura's role of those who are streamers here")
    hasura_webhook_secret: str = Field(
        "", repr=False, pattern=r"^([!-~]{16,})?$", description="what Hasura's event triggers send: X-Olo-Secret"
    )  # fmt: skip
    snapchat_url: str = "https://tr.snapchat.com"
    snapchat_app_id: str = ""
    snapchat_token: str = Field("", repr=False)
    amplitude_url: str = "https://api2.amplitude.com/2/httpapi"
    amplitude_key: str = Field("", repr=False)
    ga4_url: str = "https://www.google-analytics.com"
    ga4_app_id: str = Field("", description="the Firebase app id")
    ga4_secret: str = Field("", repr=False)

    @field_validator("rate_address", "rate_user", "rate_write", "rate_staff")
    @classmethod
    def _rates(cls, rates: str) -> str:
        import limits  # takes as long as all of this module, and only who changes a rate needs it here

        try:
            limits.parse_many(rates)
        except ValueError:
            raise ValueError("rates are written as 50/second;1200/minute") from None
        return rates

    @field_validator("*")
    @classmethod
    def _addresses(cls, value: Any, info: ValidationInfo) -> Any:
        if value and (info.field_name or "").endswith("_url") and not is_url(value):
            raise ValueError("an address is written as https://host:port/path, without spaces")
        return value

    @field_validator("hasura_jwt_secret")
    @classmethod
    def _hasura(cls, secret: str) -> str:
        read_setting(secret)
        return secret

    @field_validator("web_origins")
    @classmethod
    def _origins(cls, origins: str) -> str:
        wrong = [origin for origin in filter(None, origins.split(",")) if origin != "*" and not ORIGIN.fullmatch(origin)]
        if wrong:
            raise ValueError(
                f"an origin is written as https://app.example, without a path or a slash behind it; {wrong[0]!r} is none"
            )
        return origins

    @field_validator("unlimited_networks", "trusted_proxies")
    @classmethod
    def _networks(cls, networks: str) -> str:
        for network in filter(None, networks.split(",")):
            ip_network(network)
        return networks

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


def _told(location: tuple[int | str, ...]) -> bool:
    """Whether a setting may be repeated: it is one, and no secret."""
    field = Config.model_fields.get(str(location[0])) if location else None
    return field is not None and field.repr


def load(**given: Any) -> Config:
    """The settings of this process; from now on the map of the log has its partitions. Errors: ConfigError."""
    file = os.environ.get("OLO_CONFIG")
    if file and not Path(file).is_file():
        raise ConfigError(f"OLO_CONFIG: there is no file {file!r}")
    try:
        config = Config(**given)
    except ValidationError as error:
        problems = [
            f"OLO_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" + (f", found {e['input']!r}" if _told(e["loc"]) else "")
            for e in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from None
    except ValueError as error:  # the file is no TOML
        raise ConfigError(f"{file or 'olo.toml'}: {error}") from None
    _whole(config)
    _safe(config)
    set_log_partitions(config.partitions)
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


PUSHES_NEED: Final = {
    "fcm": ("fcm_key_file",),
    "onesignal": ("onesignal_app_id", "onesignal_key"),
    "apns": ("apns_key_file", "apns_key_id", "apns_team_id", "bundle_ios"),
}


def missing_push_settings(provider: str, config: Config) -> list[str]:
    """The variables that pushes by a provider cannot do without, and that are not set."""
    return [f"OLO_{name.upper()}" for name in PUSHES_NEED.get(provider, ()) if not getattr(config, name)]


def missing_for_payouts(config: Config) -> list[str]:
    """The variables without which no provider pays payouts, and that are not set."""
    return [f"OLO_{name.upper()}" for name in ("payout_url", "payout_key") if not getattr(config, name)]


def missing_for(provider: str, config: Config) -> list[str]:
    """The variables that postbacks to a provider cannot do without, and that are not set."""
    needed = POSTBACKS_NEED.get(provider, ())
    missing = [f"OLO_{name.upper()}" for name in needed if not getattr(config, name)]
    if provider in ("snapchat", "appsflyer") and not (config.app_id_ios or config.app_id_android):
        missing.append("OLO_APP_ID_IOS or OLO_APP_ID_ANDROID")
    return missing


def _safe(config: Config) -> None:
    """Development's tokens, project and passwords stay where only this machine reaches them. Errors: ConfigError."""
    if config.env is Environment.PRODUCTION:
        if os.environ.get(EMULATOR_VARIABLE):
            raise ConfigError(f"{EMULATOR_VARIABLE}: with it anybody can forge a token; production refuses to start; unset it")
        if config.firebase_project == DEMO_PROJECT:
            raise ConfigError(
                "OLO_FIREBASE_PROJECT: production refuses the demo project; name the project that signs the tokens"
            )
        if DEMO_PASSWORD in config.clickhouse_url:
            raise ConfigError("OLO_CLICKHOUSE_URL: production refuses the development password; give the user another one")
        if stand_in := next(filter(_is_stand_in, config.apple_root_files.split(",")), None):
            raise ConfigError(f"OLO_APPLE_ROOT_FILES: production refuses {stand_in}, with which anybody can sign purchases")
        return
    if not config.forgeable_tokens_beyond_loopback and not is_loopback(config.http_host):
        raise ConfigError(
            f"OLO_HTTP_HOST: in development anybody can forge an admin's token, and {config.http_host} is reached by others; "
            "set OLO_ENV=production, or say OLO_FORGEABLE_TOKENS_BEYOND_LOOPBACK=true"
        )


def _is_stand_in(file: str) -> bool:
    """Whether a file is the root of a stand-in for a store."""
    return Path(file).is_file() and STAND_IN.encode() in Path(file).read_bytes()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host or comes from there."""
    try:
        return ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return host == "localhost"


def is_url(text: str) -> bool:
    """Whether this is an address that a client can ask."""
    try:
        told = urlsplit(text)
        return (
            told.scheme in ("http", "https")
            and bool(told.hostname)
            and told.port != 0
            and not re.search(r"[\s\x00-\x1f]", text)
        )
    except ValueError:  # of a port or an address that is none
        return False


def _whole(config: Config) -> None:
    for name in ("money_processes", "live_processes", "growth_processes"):
        if (processes := getattr(config, name)) > config.partitions:
            less = f"of {processes} processes only {config.partitions} would have work, one a partition"
            raise ConfigError(f"OLO_{name.upper()}: {less}; on a new log OLO_PARTITIONS makes more")
    missing = [f"OLO_{name.upper()}" for name in NEEDED.get(config.video_provider, ()) if not getattr(config, name)]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: needed by OLO_VIDEO_PROVIDER={config.video_provider}")
    for name in ("push", "push_second"):
        if missing := missing_push_settings(getattr(config, name), config):
            raise ConfigError(f"{', '.join(missing)}: needed by OLO_{name.upper()}={getattr(config, name)}")
    if config.push_second is not PushProvider.NONE and config.push in (PushProvider.NONE, config.push_second):
        raise ConfigError("OLO_PUSH_SECOND: the second provider needs another one in OLO_PUSH")
    if config.apns_key_file and (missing := missing_push_settings("apns", config)):
        raise ConfigError(f"{', '.join(missing)}: needed by OLO_APNS_KEY_FILE")
