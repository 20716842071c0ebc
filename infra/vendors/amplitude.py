"""Amplitude, by its own SDK: events with our `insert_id`, by which Amplitude deduplicates for seven days.

The SDK keeps its queue in memory and answers by callback; here it sends at once and never retries by itself: what is owed, and
when it is tried again, is the outbox's. Attempts that come together share a request. A wrong key is only logged by the SDK, so
its log is listened to.
"""

import logging
import threading
from concurrent.futures import Future
from typing import Any, Final

import httpx
from amplitude import Amplitude, BaseEvent
from amplitude import Config as ClientConfig
from amplitude.constants import EventLogLevel

from infra.config import Config
from infra.vendors.answers import DETAIL, Attempt
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.postback import MICROS, Postback

CALLS_PER_S: Final = 200.0
# The SDK's own time-out is 10 s.
ANSWER_S: Final = 15.0
THROTTLED_S: Final = 30.0
log = logging.getLogger("olo.amplitude")


class _Waiter:
    """One attempt that waits for its callback."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._answer = (0, "no answer in time")

    def tell(self, code: int, text: str) -> None:
        if not self._told.is_set():
            self._answer = (code, text)
            self._told.set()

    def answer(self) -> tuple[int, str]:
        self._told.wait(ANSWER_S)
        return self._answer


class Sender(logging.Handler):
    """The SDK's client of one process, and who waits for what. As a log handler it hears of a wrong key."""

    def __init__(self, config: Config) -> None:
        super().__init__(logging.ERROR)
        self._waiting: set[_Waiter] = set()
        logger = logging.getLogger(f"olo.amplitude.sdk.{id(self)}")
        logger.addHandler(self)
        options = ClientConfig(
            server_url=config.amplitude_url, min_id_length=1, flush_max_retries=1, flush_interval_millis=1_000, logger=logger,
            event_log_level=EventLogLevel.NONE,
        )  # fmt: skip
        self._client = Amplitude(config.amplitude_key, options)

    def emit(self, record: logging.LogRecord) -> None:
        """The SDK logs an error: a wrong key concerns everybody who waits."""
        if "Invalid API Key" in record.getMessage():
            for waiter in list(self._waiting):
                waiter.tell(400, "Invalid API key")

    def send(self, event: BaseEvent) -> tuple[int, str]:
        """Send one event; the HTTP status (0: no answer) and what was said."""
        waiter = _Waiter()
        event.event_callback = lambda _, code, text="": waiter.tell(int(code or 0), str(text or ""))
        self._waiting.add(waiter)
        try:
            self._client.track(event)
            for under_way in self._client.flush():
                if under_way is not None:
                    under_way.add_done_callback(lambda done: _failed(done, waiter))
            return waiter.answer()
        finally:
            self._waiting.discard(waiter)

    def shutdown(self) -> None:
        """End the SDK's threads."""
        self._client.shutdown()


def _failed(done: "Future[Any]", waiter: _Waiter) -> None:
    if error := done.exception():
        waiter.tell(0, f"{type(error).__name__}: {error}")


def event_of(effect: str, told: Postback) -> BaseEvent:
    """The SDK's event."""
    properties: dict[str, Any] = {"ref": told.ref, "coins": told.coins, "network": told.network, "campaign": told.campaign}
    revenue = None
    if told.value_micros is not None:
        properties["currency"] = told.currency
        revenue = told.value_micros / MICROS
    return BaseEvent(
        told.event, user_id=told.user, time=int(told.at.timestamp() * 1_000), insert_id=effect, event_properties=properties,
        platform=told.platform or None, app_version=told.app_version or None, country=told.country or None,
        language=told.locale or None, revenue=revenue,
    )  # fmt: skip


_lock = threading.Lock()
_senders: dict[tuple[str, str], Sender] = {}


def _sender(config: Config) -> Sender:
    with _lock:
        place = config.amplitude_url, config.amplitude_key
        if place not in _senders:
            _senders[place] = Sender(config)
        return _senders[place]


def close() -> None:
    """End the SDK's threads of this process."""
    with _lock:
        for sender in _senders.values():
            sender.shutdown()
        _senders.clear()


def tell(due: EffectDue, config: Config, _: httpx.Client) -> Attempt:
    """Tell Amplitude of one event."""
    assert due.postback is not None
    return read(*_sender(config).send(event_of(due.effect, due.postback)))


def read(code: int, text: str) -> Attempt:
    """What the SDK's callback means: 2xx is taken; 408, 413 and 429, 5xx and no answer are tried again; else a no for good."""
    detail = text[:DETAIL]
    if 200 <= code < 300:
        return Attempt(AttemptOutcome.ACCEPTED, code, detail)
    if code <= 0:
        return Attempt(AttemptOutcome.FAILED, 0, detail)
    if code in (408, 413, 429) or code >= 500:
        return Attempt(AttemptOutcome.FAILED, code, detail, THROTTLED_S if code == 429 else 0.0)
    return Attempt(AttemptOutcome.REFUSED, code, detail)
