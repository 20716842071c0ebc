"""A campaign to 100,000, and 100,000 occurrences whose phones are to acknowledge them in time, at once.

The host's core decides all of it in this process, with states in memory and no broker. The peer: as many messages of the same
inboxes that change nothing, which is what the host itself takes.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from schemas.log.base import Message, UserId
from schemas.log.entity import Flow
from schemas.notification import AckNotification, SendNotice
from schemas.notification_state import NoticeText
from schemas.outreach import BOOK, Campaign, PutCampaign, TellWriter
from schemas.panel import CohortEntered
from schemas.user import CameOnline
from tests.lab.bench.crowds import BATCH, Host, T, name_of

PEOPLE: Final = 100_000
TEXTS: Final = (NoticeText("en", "Welcome", "Say hello."),)
# A notice waits so long for an acknowledgement.
ACK_S: Final = 61


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print both."""
    people = max(BATCH, int(PEOPLE * scale))
    _campaign(tell, people)
    _occurrences(tell, people)


def _took(host: Host, messages: Iterable[Message]) -> float:
    """Seconds of processor until these, and what they bring about now, are decided."""
    host.send(messages)
    began = time.process_time()
    host.work()
    return time.process_time() - began


def _campaign(tell: Callable[[str], None], people: int) -> None:
    host, names = Host(Flow.GROWTH), [name_of(n) for n in range(people)]
    _took(host, (CohortEntered(id=f"e{n}", at=T, cause="x", user=user, cohort="all", tag="t") for n, user in enumerate(names)))
    idle_s = _took(host, (TellWriter(id=f"i{n}", at=T, user=user, campaign="none") for n, user in enumerate(names)))
    news = Campaign("news", "all", running=True, notice=TEXTS, pace_per_s=people / 10)
    began, before = time.process_time(), host.told["recipient.events"]
    host.send([PutCampaign(id="p", at=T, book=BOOK, campaign=news, people=people)])
    told: list[int] = []
    for _ in range(12):
        host.pass_s(1)
        told.append(host.told["recipient.events"] - before - sum(told))
    took_s = time.process_time() - began
    steady = told[1:10]
    pace = f"at a pace of {people / 10:,.0f}/s {min(steady):,} to {max(steady):,} a second"
    tell(f"  a campaign to {people:,}: {sum(told):,} told, {pace}")
    tell(f"  ... {people / took_s:,.0f}/s of a processor, {idle_s / took_s:.2f} of the rate of messages without effect")


def _occurrences(tell: Callable[[str], None], people: int) -> None:
    host, names = Host(), [name_of(n) for n in range(people)]
    _took(host, (CameOnline(id=f"o{n}", at=T, cause="x", user=user) for n, user in enumerate(names)))
    told_s = _took(host, _notices(names, "one"))
    idle_s = _took(host, (AckNotification(id=f"a{n}", at=T, user=user, notification="none") for n, user in enumerate(names)))
    before = host.told["notification.events"]
    host.at += timedelta(seconds=ACK_S)
    began = time.process_time()
    host.work()
    due_s = time.process_time() - began
    decided = host.told["notification.events"] - before
    rate = f"told {people / told_s:,.0f}/s, {idle_s / told_s:.2f} of the rate of refused messages"
    tell(f"  {people:,} occurrences with timers: {rate}")
    tell(f"  ... {decided:,} timers that are due together: decided {people / due_s:,.0f}/s, {idle_s / due_s:.2f} of that rate")


def _notices(names: Iterable[UserId], notice: str) -> Iterable[Message]:
    return (SendNotice(id=f"n{n}", at=T, user=user, notice=notice, texts=TEXTS) for n, user in enumerate(names))
