"""Histories by chance, as the log has them: late, reordered and repeated pushes, and everything else that the views count.

Attribution and postbacks are decided by the deciders; the other facts are made here. The log's order is not that of the times.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from pipelines.ads import decide_attribution, decide_install
from pipelines.notification import decide_notification
from pipelines.outbox import decide_outbox
from schemas.ads import Attribution, ClaimInstall, Install, PutTracking, RecordPush, Touch, TouchKind, UserTouched
from schemas.balance import EntryKind, EntryRecorded, Reason
from schemas.billing import BillClosed
from schemas.billing_rules import CallKind, Traits
from schemas.chat import ChatRead, ItemKind, ItemPosted
from schemas.chat_message import ChatRefusal
from schemas.gift import GiftRefusal, GiftRefused, GiftSent
from schemas.log.base import AccountId, Fact, Message, UserId, Wake
from schemas.log.codec import encode
from schemas.log.entity import partition_of
from schemas.log.topics import ENTITIES
from schemas.notification import AckNotification, DropPhone, KeepPhone
from schemas.outbox import AttemptOutcome, OweEffect, RedriveEffect, ReportAttempt
from schemas.outreach import CampaignTold, OpeningRefused, OpeningsEnd, OpeningsEnded, OpeningSent
from schemas.panel import CohortEntered, CohortLeft, TagChanged
from schemas.postback import Consent, ConversionKind, PostbackBook, PostbackRule, Provider, Value
from schemas.push import PushFailure
from schemas.user import CameOnline, Role, SessionOpened, UserSignedUp, WentOffline
from schemas.video import CallEnded, EndReason

PARTITIONS: Final = 2
DAY: Final = timedelta(days=1)
RULES: Final = Attribution(
    shared=PostbackBook(1, (
        PostbackRule(ConversionKind.SIGN_UP, Provider.SNAPCHAT, "SIGN_UP", Consent.ADS),
        PostbackRule(ConversionKind.PURCHASE, Provider.AMPLITUDE, "Bought", Consent.ADS, value=Value("EUR", 500_000)),
    ))
)  # fmt: skip
TOPICS: Final = {type_: entity for entity in ENTITIES for type_ in entity.facts}
Row = tuple[str, int, int, bytes]


class History:
    """One log: `rows` are (topic, partition, offset, value)."""

    def __init__(self, seed: int, now: datetime, users: int) -> None:
        self.rows: list[Row] = []
        self.now = now
        self._chance = random.Random(seed)
        self._ends: Counter[tuple[str, int]] = Counter()
        self._names = 0
        self._installs: dict[str, Install | None] = {}
        self._users: dict[str, Attribution | None] = {}
        names = [f"u{number}" for number in range(users)]
        for name in names:
            self._came(name)
            self._was_there(name)
            self._belonged(name)
            self._was_told(name)
            self._was_written_to(name)
        for _ in range(users * 4):
            self._met(*self._chance.sample(names, 2))
        for name in names:
            self._wake(name)

    # --- the log ---------------------------------------------------------------------------------------------------------

    def _log(self, facts: Iterable[Message]) -> None:
        for fact in facts:
            if not isinstance(fact, Fact):
                continue
            entity = TOPICS[type(fact)]
            partition = partition_of(str(getattr(fact, entity.key)).encode(), PARTITIONS)
            place = (entity.events, partition)
            self.rows.append((entity.events, partition, self._ends[place], encode(fact)))
            self._ends[place] += 1

    def _name(self) -> str:
        self._names += 1
        return f"n{self._names}"

    def _fact(self, at: datetime) -> dict[str, Any]:
        return {"id": self._name(), "at": at, "cause": "x"}

    def _ago(self, least: float, most: float) -> datetime:
        """A moment so many days ago."""
        return self.now - timedelta(seconds=round(self._chance.uniform(least, most) * 86_400))

    # --- attribution -----------------------------------------------------------------------------------------------------

    def _came(self, user: str) -> None:
        """Pushes in any order, some twice, around a sign-up; then deeds; the deciders say what comes of it."""
        chance, install = self._chance, f"af-{user}"
        signed_up_at = self._ago(2, 90)
        sign_up = UserSignedUp(
            **self._fact(signed_up_at), user=UserId(user), role=chance.choice((Role.USER, Role.STREAMER)), appsflyer_id=install,
            country=chance.choice(("DE", "FR", "")), platform=chance.choice(("ios", "android", "")), app_version="1",
        )  # fmt: skip
        pushes = [self._push(install, signed_up_at, number) for number in range(chance.randrange(4))]
        pushes += chance.sample(pushes, min(len(pushes), chance.randrange(2)))
        deeds = [self._deed(user, signed_up_at) for _ in range(chance.randrange(5))]
        tracking = PutTracking(
            id=self._name(),
            at=signed_up_at,
            user=UserId(user),
            consents=(Consent.ADS,),
            advertising_id="a",
            appsflyer_id=install,
        )
        before = chance.randrange(len(pushes) + 1)
        behind: list[Message] = [*pushes[before:], *deeds, tracking]
        chance.shuffle(behind)
        self._log([sign_up])
        self._decide(user, [*pushes[:before], sign_up, *behind])

    def _push(self, install: str, signed_up_at: datetime, number: int) -> RecordPush:
        chance = self._chance
        others = tuple(TouchKind) if number == 1 else tuple(TouchKind)[1:]
        kind = TouchKind.INSTALL if number == 0 else chance.choice(others)
        installed = (30.0, 31.0, 0.2, 5.0, -0.5, -1.0)
        days = chance.choice(installed if kind is TouchKind.INSTALL else (30.0, 29.0, 31.0, 0.1, -0.5, -3.0, -10.0, 80.0))
        at = min(signed_up_at - timedelta(days=days), self.now)
        network = chance.choice(("snapchat", "organic", "tiktok"))
        touch = Touch(kind, at, network, chance.choice(("A", "B")), f"c{number}", ad=self._name(), platform="ios", country="DE")
        name = self._name()
        return RecordPush(id=name, at=at, install=install, push=name, event_name=kind, touch=touch)

    def _deed(self, user: str, signed_up_at: datetime) -> EntryRecorded | CallEnded | GiftSent:
        chance, name = self._chance, self._name()
        at = min(signed_up_at + chance.choice((DAY / 9, DAY, 3 * DAY, 31 * DAY, 33 * DAY, 41 * DAY)), self.now)
        match chance.randrange(3):
            case 0:
                return self._entry(user, at, chance.randrange(1, 500), Reason.PURCHASE, name)
            case 1:
                return self._call(user, "u0" if user != "u0" else "u1", at, CallKind.DIRECT, connected=True)
            case _:
                return self._gift(user, "u0" if user != "u0" else "u1", at)

    def _decide(self, user: str, messages: Sequence[Message]) -> None:
        for first in messages:
            queue: list[Any] = [first]
            while queue:
                one = queue.pop(0)
                told: list[Message] = []
                if isinstance(one, RecordPush | ClaimInstall | UserSignedUp):
                    self._installs[user], out = decide_install(self._installs.get(user), one)
                    told += out
                if isinstance(one, EntryRecorded | CallEnded | GiftSent):
                    self._log([one])
                if not isinstance(one, RecordPush | ClaimInstall):
                    self._users[user], out = decide_attribution(self._users.get(user), one, RULES)
                    told += out
                self._log(told)
                queue += [more for more in told if isinstance(more, UserTouched | ClaimInstall)]
                self._owe([more for more in told if isinstance(more, OweEffect)])

    def _wake(self, user: str) -> None:
        """All that time brings up to now."""
        while (state := self._users.get(user)) is not None and state.wake_at is not None and state.wake_at <= self.now:
            wake = Wake(id=self._name(), at=state.wake_at, key=user)
            self._users[user], out = decide_attribution(state, wake, RULES)
            self._log(out)
            self._owe([more for more in out if isinstance(more, OweEffect)])

    def _owe(self, effects: list[OweEffect]) -> None:
        """Some attempts at each effect."""
        for owed in effects:
            state, told = decide_outbox(None, owed)
            self._log(told)
            at, ends = owed.at, self._chance.randrange(4)
            for _ in range(ends):
                at += timedelta(seconds=self._chance.choice((1, 600, 90_000)))
                if state is not None and state.next_at is not None:
                    state, told = decide_outbox(state, Wake(id=self._name(), at=state.next_at, key=owed.effect))
                    self._log(told)
                if state is None:
                    break
                message: Any = ReportAttempt(
                    id=self._name(), at=at, effect=owed.effect, attempt=state.attempt, status=503, detail="no",
                    outcome=self._chance.choice(tuple(AttemptOutcome)),
                )  # fmt: skip
                if state.status in ("refused", "expired"):
                    message = RedriveEffect(id=self._name(), at=at, effect=owed.effect, expires_at=at + DAY, by="root")
                state, told = decide_outbox(state, message)
                self._log(told)

    # --- the rest --------------------------------------------------------------------------------------------------------

    def _was_there(self, user: str) -> None:
        """Spans online, over midnight, too; the last one may last."""
        at = self._ago(20, 40)
        for _ in range(self._chance.randrange(6)):
            at += timedelta(seconds=self._chance.randrange(60, 4 * 86_400))
            online_s = self._chance.choice((30.0, 3_600.5, 90_000.25))
            if at + timedelta(seconds=online_s) > self.now:
                break
            session = SessionOpened(
                **self._fact(at), user=UserId(user), session="s", device="d", platform="ios", app_version="2"
            )
            self._log([session, CameOnline(**self._fact(at), user=UserId(user))])
            at += timedelta(seconds=online_s)
            if self._chance.random() < 0.9:
                self._log([WentOffline(**self._fact(at), user=UserId(user), online_s=online_s)])

    def _was_told(self, user: str) -> None:
        """Phones that come and go; items of a chat, acknowledged, read, pushed, or none of it."""
        chance, state, seq = self._chance, None, 0
        at = self._ago(1, 20)
        for _ in range(chance.randrange(12)):
            at += timedelta(seconds=chance.choice((1, 7, 3_600, 40_000)))
            name, seq = self._name(), seq + 1
            mine: dict[str, Any] = {"id": name, "at": at, "user": UserId(user)}
            item: dict[str, Any] = {"pair": f"{user}/zoe", "peer": UserId(user), "user": UserId("zoe"), "ref": name, "seq": seq}
            posted = ItemPosted(**self._fact(at), **item, kind=chance.choice(tuple(ItemKind)), muted=chance.random() < 0.1)
            last = state.occurrences[-1].notification if state is not None and state.occurrences else "none"
            message: Any = chance.choice((
                posted, posted, posted, CameOnline(**mine, cause="x"), DropPhone(**mine, device="d"),
                KeepPhone(**mine, device="d", platform=chance.choice(("ios", "android")), push_token="t"),
                AckNotification(**mine, notification=last), ChatRead(**mine, cause="x", pair="p/zoe", peer="zoe", seq=seq),
            ))  # fmt: skip
            state, told = decide_notification(state, message)
            self._log(told)
            self._pushed(told)
            while state is not None and state.wake_at is not None and state.wake_at <= at + timedelta(seconds=30):
                state, told = decide_notification(state, Wake(id=self._name(), at=state.wake_at, key=user))
                self._log(told)
                self._pushed(told)

    def _pushed(self, told: Iterable[Message]) -> None:
        """What becomes of pushes: a provider takes one, or does not, or says that the phone's token is none."""
        for owed in (one for one in told if isinstance(one, OweEffect)):
            state, due = decide_outbox(None, owed)
            self._log(due)
            asked = {"outcome": AttemptOutcome.ROUTED, "provider": self._chance.choice(("fcm", "onesignal"))}
            failures = PushFailure.INVALID, PushFailure.UNREGISTERED, PushFailure.WRONG_APP
            refused = {"outcome": AttemptOutcome.REFUSED, "failure": self._chance.choice(failures), "status": 400}
            taken = {"outcome": AttemptOutcome.ACCEPTED, "status": 200}
            for answer in (asked, self._chance.choice((taken, taken, refused))):
                attempt = state.attempt if state is not None else 1
                state, ends = decide_outbox(
                    state,
                    ReportAttempt(id=self._name(), at=owed.at, effect=owed.effect, attempt=attempt, **answer),
                )
                self._log(ends)

    def _was_written_to(self, user: str) -> None:
        """Outreach: a notice, openings of some streamers, and what came of it in their chats, in time or later."""
        chance, at = self._chance, self._ago(5, 30)
        of_user: dict[str, Any] = {"user": UserId(user)}
        if chance.random() < 0.5:
            self._log([CampaignTold(**self._fact(at), **of_user, campaign="news")])
        for number in range(1, 1 + chance.randrange(4)):
            peer, at = UserId("u0" if user != "u0" else "u1"), at + timedelta(seconds=chance.choice((60, 90_000)))
            name, seq = self._name(), 100 * number
            campaign = chance.choice(("greet", "again", "late"))
            sent = OpeningSent(**self._fact(at), **of_user, campaign=campaign, peer=peer, message=name, number=number)
            chat: dict[str, Any] = {"pair": f"{user}/{peer}"}
            opened = ItemPosted(**self._fact(at), **chat, user=peer, peer=UserId(user), seq=seq, ref=name, campaign=campaign)
            items: list[Message] = []
            for _ in range(chance.randrange(3)):
                seq += 1
                then = at + timedelta(seconds=chance.choice((-5, 0, 5, 7 * 86_400, 7 * 86_400 + 1)))
                written: dict[str, Any] = {"kind": chance.choice(tuple(ItemKind)), "connected": chance.random() < 0.5}
                by, to = (UserId(user), peer) if chance.random() < 0.8 else (peer, UserId(user))
                item = ItemPosted(**self._fact(then), **chat, user=by, peer=to, seq=seq, ref=self._name(), **written)
                items.append(replace(item, campaign=campaign if chance.random() < 0.1 else ""))
            refused = OpeningRefused(
                **self._fact(at), **of_user, campaign=campaign, peer=peer, message=name, why=ChatRefusal.SENDER_BANNED
            )
            self._log([sent, *([refused] if chance.random() < 0.2 else [opened]), *items])
        if chance.random() < 0.3:
            self._log([OpeningsEnded(**self._fact(at), **of_user, campaign="greet", why=OpeningsEnd.REPLIED)])

    def _belonged(self, user: str) -> None:
        """Cohorts and tags: in and out, at times that go back, and at the same time."""
        at, there = self._ago(5, 35), False
        for _ in range(self._chance.randrange(5)):
            there = not there
            self._log([(CohortEntered if there else CohortLeft)(**self._fact(at), user=UserId(user), cohort="c", tag="t")])
            at += timedelta(seconds=self._chance.choice((0, 0, 3_600, -60, 86_400)))
            tag = self._chance.choice(("vip", "new"))
            self._log([TagChanged(**self._fact(at), user=UserId(user), tag=tag, there=self._chance.random() < 0.6, by="root")])

    def _met(self, user: str, peer: str) -> None:
        """A call with its bill, or a gift, sent or refused."""
        at, chance = self._ago(0, 20), self._chance
        if chance.random() < 0.5:
            call = self._call(user, peer, at, chance.choice(tuple(CallKind)), connected=chance.random() < 0.7)
            traits = Traits(call.kind, Role.USER, Role.STREAMER, country="DE")
            bill = BillClosed(
                **self._fact(at), call=call.call, traits=traits, payer=UserId(user), earner=UserId(peer),
                version=chance.randrange(3), tariff=chance.choice(("standard", "night")), duration_s=call.duration_s,
                paid_coins=60 * call.connected, earned_coins=30 * call.connected, connected_at=at if call.connected else None,
            )  # fmt: skip
            if call.connected and call.kind is not CallKind.CLIP:
                self._decide(user, [call])
            else:
                self._log([call])
            self._log([bill, *([self._entry(user, at, -60, Reason.CALL, call.call)] if call.connected else [])])
        elif chance.random() < 0.8:
            gift = self._gift(user, peer, at)
            self._decide(user, [gift])
            self._log([self._entry(user, at, -gift.price_coins, Reason.GIFT, gift.gift)])
        else:
            names: dict[str, Any] = {"gift": self._name(), "sender": UserId(user), "receiver": UserId(peer), "item": "r"}
            self._log([GiftRefused(**self._fact(at), **names, refusal=next(iter(GiftRefusal)))])

    def _call(self, user: str, peer: str, at: datetime, kind: CallKind, *, connected: bool) -> CallEnded:
        lasted = self._chance.choice((5.5, 60.0, 130.25, 8_000.0)) if connected else 0.0
        return CallEnded(
            **self._fact(at), call=self._name(), caller=UserId(user), callee=UserId(peer), kind=kind, reason=EndReason.HUNG_UP,
            connected=connected, duration_s=lasted,
        )  # fmt: skip

    def _gift(self, user: str, peer: str, at: datetime) -> GiftSent:
        price = self._chance.randrange(1, 90)
        names: dict[str, Any] = {"gift": self._name(), "sender": UserId(user), "receiver": UserId(peer), "item": "rose"}
        return GiftSent(**self._fact(at), **names, price_coins=price, share_coins=price // 2)

    def _entry(self, user: str, at: datetime, coins: int, reason: Reason, name: str) -> EntryRecorded:
        self._names += 1
        return EntryRecorded(
            **self._fact(at), account=AccountId(f"{user}/coins"), seq=self._names, kind=EntryKind.CREDIT, balance_coins=0,
            held_coins=0, coins=coins, reason=reason, transfer=name,
        )  # fmt: skip
