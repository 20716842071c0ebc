"""Whole calls in the simulator: phones that come online, call, accept or not, beat or fall silent, change in the call, hang up,
play roulette, send gifts, block, are banned and are erased; with little money, so that calls are cut. The laws are the
auditors', and that nothing personal is left of whoever was erased.

`python -m tests.lab.simulated_calls 2000` plays so many seeds and prints the counts.
"""

import random
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from msgspec.json import decode

from pipelines.flows.deciders import deciders
from pipelines.runtime.core import Output
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from pipelines.video_pool import NAMESPACE
from schemas.balance import Account, OpenAccount, Reason, owner_of
from schemas.balance_ledger import Ledger, account_in
from schemas.billing import BOOK, FreeTime, PublishTariff
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind, Rule
from schemas.blocklist import BlockReason, BlockRule, BlockUser, Consequence, Review, UnblockUser
from schemas.favorites import AddFavorite, RemoveFavorite
from schemas.gift import PutGiftItem, SendGift
from schemas.log.base import Message
from schemas.log.codec import state_decoder
from schemas.log.entity import DEFAULT_PARTITIONS, Flow
from schemas.log.personal import blank
from schemas.log.positions import of_entity
from schemas.log.topics import ENTITIES
from schemas.profile import PutProfile
from schemas.transfer import PlaceTransfer
from schemas.user import USER, Ban, Beat, CloseSession, EraseUser, OpenSession, Role, SignUp, Unban, mark_of
from schemas.video import AcceptCall, BeatCall, DeclineCall, HangUp, OpenRoom, PlaceCall
from schemas.video_clip import OfferClip, PlayClip
from schemas.video_line import MAX_WAITING, JoinRoulette, LeaveRoulette
from schemas.video_room import LeaveReason, NoteParticipant
from tests.lab.proofs.calls import CallAudit
from tests.lab.proofs.lengths import wrong_lengths
from tests.lab.simulated_money import laws as money_laws
from tests.lab.simulated_money import output_of, reader_of, report

USERS = ("ann", "bob", "cat")
STREAMERS = ("sue", "tia")
EVERYBODY = (*USERS, *STREAMERS)
SCENES = 14
PHONE, TABLET = mark_of("phone"), mark_of("tablet")
RULES = (
    BlockRule("rude", BlockReason.HARASSMENT, 2, 3600, Consequence.BAN, ban_s=60),
    BlockRule("indecent", BlockReason.INDECENCY, 1, 3600, Consequence.PENALTY, Role.STREAMER, coins=20),
)


def role_of(user: str) -> Role:
    """Streamers begin with s or t."""
    return Role.STREAMER if user in STREAMERS else Role.USER


class Script:
    """A schedule's messages: each scene adds some, at their own times; played in the order of time."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.at = EPOCH
        self.lines: list[tuple[datetime, int, Message]] = []

    def say(self, type_: type[Message], after_s: float = 0.0, **what: object) -> str:
        """One message, `after_s` from now; its id."""
        number = len(self.lines)
        at = self.at + timedelta(seconds=after_s)
        self.lines.append((at, number, type_(id=f"m{number}", at=at, **what)))
        return f"m{number}"

    def beats(self, user: str, seconds: float, call: str = "") -> None:
        """A phone that is there for a while: its session's beats, or those of a call."""
        every = 5.0 if call else 15.0
        for n in range(1, int(seconds / every) + 1):
            if call:
                self.say(BeatCall, n * every, call=call, by=user)
            else:
                self.say(Beat, n * every, user=user, session=f"s-{user}")


def _begin(script: Script) -> None:
    for user in EVERYBODY:
        script.say(SignUp, user=user, role=role_of(user))
        script.say(OpenSession, 0.1, user=user, session=f"s-{user}", device="phone")
        script.beats(user, 400 if script.chance.random() < 0.85 else 20)
        coins = script.chance.choice((5, 60, 100, 250, 2_000))
        script.say(
            PlaceTransfer, 0.2, transfer=str(uuid.UUID(int=len(script.lines))), payer="@promotions", payee=f"{user}/coins",
            coins=coins, reason=Reason.GRANT,
        )  # fmt: skip
        _buy_as_tester(script, account_in(Ledger.SANDBOX, user))
    script.say(PutGiftItem, item="rose", price_coins=25, share_coins=10)
    script.say(OfferClip, clip="clip", streamer="sue", title="hi", url="u", duration_s=40)
    script.at += timedelta(seconds=1)


def _talk(script: Script, call: str, caller: str, callee: str, begins_s: float) -> None:
    """From the ringing on: taken, declined, given up or ignored; then beats, and an end of some kind."""
    chance = script.chance
    answer = chance.choices(("accept", "decline", "give up", "ignore"), (75, 8, 8, 9))[0]
    at = begins_s + chance.uniform(0.5, 12)
    if answer == "decline":
        script.say(DeclineCall, at, call=call, by=callee)
    elif answer == "give up":
        script.say(HangUp, at, call=call, by=caller)
    if answer != "accept":
        return
    script.say(AcceptCall, at, call=call, by=callee, device=chance.choice(("", PHONE)))
    if chance.random() < 0.4:
        _room(script, call, (caller, callee), at)
    length = chance.choice((0.0, 3.0, 20.0, 21.0, 59.0, 60.0, 75.0, 130.0))
    lost = chance.random() < 0.25
    hold_out = {caller: length, callee: length * (chance.random() if lost else 1)}
    for user, seconds in hold_out.items():
        _hold_out(script, call, user, (at, seconds))
    if not lost:
        script.say(HangUp, at + length, call=call, by=chance.choice((caller, callee)))
        if chance.random() < 0.2:
            script.say(HangUp, at + length + 0.1, call=call, by=caller)


def _hold_out(script: Script, call: str, user: str, span: tuple[float, float]) -> None:
    """A side's beats for so many seconds: now and then from another phone since some moment, which it has moved to or not; or
    another feed of the same user beats along, for longer."""
    (begins_s, seconds), chance = span, script.chance
    changes_s = seconds * chance.random() if chance.random() < 0.25 else seconds
    for n in range(1, int(seconds / 5) + 1):
        script.say(BeatCall, begins_s + n * 5, call=call, by=user, device=PHONE if n * 5 <= changes_s else TABLET)
    if changes_s < seconds and chance.random() < 0.6:
        script.say(OpenRoom, begins_s + changes_s, call=call, by=user, provider="agora", device=TABLET)
    if chance.random() < 0.15:
        for n in range(int(seconds / 5) + 6):
            script.say(BeatCall, begins_s + n * 5 + 2, call=call, by=user, device=mark_of("watch"))


def _room(script: Script, call: str, sides: tuple[str, str], begins_s: float) -> None:
    """Both ask for credentials; the provider tells of them twice, out of order, and sometimes that one has quit."""
    chance = script.chance
    for user in sides:
        script.say(OpenRoom, begins_s + chance.random(), call=call, by=user, provider=chance.choice(("agora", "twilio")))
    notices = [("1", True, 1, 2.0), ("2", True, 1, 2.5), ("2", False, 2, 4.0), ("2", True, 3, 6.0)]
    if chance.random() < 0.3:
        notices.append(("1", False, 7, 15.0))
    if chance.random() < 0.3:
        notices.append(("2", True, 9, 200.0))
    for member, joined, seq, after_s in (*notices, *chance.sample(notices, 2)):
        reason = LeaveReason.QUIT if seq == 7 else LeaveReason.LOST
        told = {"member": member, "joined": joined, "seq": seq, "reason": reason, "connection": chance.choice(("", "phone"))}
        happened_at = script.at + timedelta(seconds=begins_s + after_s + chance.choice((-20, 0, 0, 19)))
        told_s = begins_s + after_s + chance.random() * 5
        script.say(NoteParticipant, told_s, call=call, happened_at=happened_at, **told)


def _call(script: Script) -> None:
    caller, callee = script.chance.sample(EVERYBODY, 2) if script.chance.random() < 0.97 else ("ann", "ann")
    call = f"c{len(script.lines)}"
    script.say(
        PlaceCall, call=call, caller=caller, callee=callee, kind=CallKind.DIRECT, caller_role=role_of(caller),
        callee_role=role_of(callee), caller_device=script.chance.choice(("", PHONE)),
        tags=("guest",) if len(script.lines) % 3 == 0 else (),
    )  # fmt: skip
    _talk(script, call, caller, callee, 0.0)


def _roulette(script: Script) -> None:
    user, streamer = script.chance.choice(USERS), script.chance.choice(STREAMERS)
    joins = [
        (name, script.say(JoinRoulette, n * script.chance.random() * 5, user=name, device=script.chance.choice(("", PHONE))))
        for n, name in enumerate((streamer, user))
    ]
    for name, join in joins:  # whoever comes second makes the match; both ids are tried
        if script.chance.random() < 0.2:
            script.say(LeaveRoulette, 3.0, user=name)
        _talk(script, str(uuid.uuid5(NAMESPACE, f"{join}/1")), user, streamer, 5.0)


def _clip(script: Script) -> None:
    viewer, call = script.chance.choice(USERS), f"c{len(script.lines)}"
    script.say(PlayClip, clip=script.chance.choice(("clip", "none")), call=call, viewer=viewer, viewer_role=Role.USER)
    script.beats(viewer, script.chance.choice((0, 10, 60)), call)
    if script.chance.random() < 0.5:
        script.say(HangUp, 12.0, call=call, by=viewer)


def _buy_as_tester(script: Script, account: str) -> None:
    script.say(OpenAccount, 0.2, account=account)
    name = str(uuid.UUID(int=len(script.lines)))
    script.say(PlaceTransfer, 0.3, transfer=name, payer="@apple_sandbox", payee=account, coins=60, reason=Reason.PURCHASE)


def _gift(script: Script) -> None:
    sender, receiver = script.chance.sample(EVERYBODY, 2)
    gift = {
        "gift": f"g{len(script.lines)}",
        "sender": sender,
        "receiver": receiver,
        "item": script.chance.choice(("rose", "x")),
        "ledger": script.chance.choices((Ledger.ORDINARY, Ledger.SANDBOX), (3, 1))[0],
    }
    for again in range(1 + (script.chance.random() < 0.3)):
        script.say(SendGift, again * 0.5, **gift)


def _block(script: Script) -> None:
    user, peer = script.chance.sample(EVERYBODY, 2)
    reason = script.chance.choice((BlockReason.HARASSMENT, BlockReason.INDECENCY, BlockReason.OTHER))
    script.say(BlockUser, script.chance.random() * 30, user=user, peer=peer, reason=reason, rules=RULES)
    script.say(Review, 35.0, user=peer, case="indecent-1", upheld=script.chance.random() < 0.3, by="root")
    if script.chance.random() < 0.6:
        script.say(UnblockUser, 40.0, user=user, peer=peer)


def _like(script: Script) -> None:
    user, peer = script.chance.sample(EVERYBODY, 2)
    script.say(AddFavorite, user=user, peer=peer)
    if script.chance.random() < 0.4:
        script.say(RemoveFavorite, script.chance.random() * 20, user=user, peer=peer)


def _phone(script: Script) -> None:
    """A phone logs out, or comes back on another device."""
    user = script.chance.choice(EVERYBODY)
    if script.chance.random() < 0.5:
        script.say(CloseSession, user=user, session=f"s-{user}")
    script.say(OpenSession, 1.0, user=user, session=f"s-{user}", device=script.chance.choice(("phone", "tablet")))
    script.beats(user, 60)


def _staff(script: Script) -> None:
    if script.chance.random() < 0.5:
        user = script.chance.choice(EVERYBODY)
        until = script.at + timedelta(seconds=30) if script.chance.random() < 0.5 else None
        script.say(Ban, user=user, reason="rude", by="root", until=until)
        script.say(Unban, 20.0, user=user, by="root")
        script.say(OpenSession, 21.0, user=user, session=f"s-{user}", device="phone")
        script.beats(user, 100)
    else:
        step = script.chance.choice((5, 10, 60))
        most_coins, free_s = {5: (0, 8), 10: (40, 60), 60: (15, 60)}[step]
        payer, earner = Side((Checkpoint(0, script.chance.randrange(20)),), step, 7, most_coins), Side((), step, 3)
        free = (FreeTime("guest", free_s),)
        script.say(
            PublishTariff, book=BOOK, tariff="standard", rule=Rule(), payer=payer, earner=earner, free=free, subsidy=True
        )  # fmt: skip


def _erase(script: Script) -> None:
    """Whatever goes on, somebody is erased; then once more, and what that phone still says comes late."""
    user = script.chance.choice(EVERYBODY)
    for after_s in (script.chance.random() * 20, 25.0):
        script.say(EraseUser, after_s, user=user, by=user)
    script.say(SignUp, 26.0, user=user, role=role_of(user))
    script.say(PutProfile, script.chance.choice((0.0, 20.0)), user=user, name=f"The name of {user}")
    script.say(OfferClip, 5.0, clip=f"of-{user}", streamer=user, title=f"A film of {user}", url="u", duration_s=9)
    script.say(OpenSession, 5.0, user=user, session=f"s-{user}-2", device=f"A phone of {user}", push_token=f"token-{user}")


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Everybody signs up; then scenes that overlap in time."""
    script = Script(chance)
    _begin(script)
    scenes = (_call, _roulette, _clip, _gift, _block, _phone, _staff, _like, _erase)
    for scene in chance.choices(scenes, (40, 16, 6, 14, 10, 8, 6, 10, 3), k=SCENES):
        script.at += timedelta(seconds=chance.expovariate(1 / 12))
        scene(script)
    yield from _played(script)


def _played(script: Script) -> Iterator[Output | Step]:
    """The messages at their times. Mostly the flows keep up; in an outage nothing is decided for up to two minutes."""
    chance, now, down_until = script.chance, EPOCH, EPOCH
    for at, _, message in sorted(script.lines, key=lambda line: line[:2]):
        if at > now:
            yield from (Step("pass", seconds=part) for part in _parts(chance, (at - now).total_seconds()))
            now = at
            if now >= down_until:
                yield Step("quiet")
        yield output_of(message)
        if now < down_until:
            continue
        if chance.random() < 0.01:
            down_until = now + timedelta(seconds=chance.uniform(1, 120))
        elif chance.random() < 0.8:
            yield Step("quiet")


def _parts(chance: random.Random, seconds: float) -> tuple[float, ...]:
    first = seconds * chance.random()
    return (first, seconds - first)


def laws(log: Log, pool_room: int = MAX_WAITING) -> list[str]:
    """What the two auditors find broken, and what still waits for something after a week."""
    read = reader_of(log)
    return [*money_laws(log), *CallAudit(read, pool_room).broken, *wrong_lengths(read), *_waiting(log), *_left(log)]


def _left(log: Log) -> list[str]:
    """Of whoever was erased there is nothing personal in any state, and no coin: on any account, held or free."""
    told = [decode(value) for _, _, _, value in log.read(USER.events) if value]
    erased = {fact["user"] for fact in told if fact["type"] == "UserErased"}
    broken = [f"{user} was erased more than once" for user in erased if sum(_erases(fact, user) for fact in told) > 1]
    for entity in (one for one in ENTITIES if one.flow in (Flow.MONEY, Flow.LIVE)):
        last = {key: value for _, _, key, value in log.read(entity.changelog) if of_entity(key)}
        read = state_decoder(entity.state)
        for key, state in ((key.decode(), read(value)) for key, value in last.items() if value is not None):
            of = getattr(state, "streamer", getattr(state, "subject", key))
            if of in erased and blank(state) != state:
                broken.append(f"{entity.changelog}: {key} holds what is personal of {of}, who was erased: {state}")
            if isinstance(state, Account) and owner_of(key) in erased and (state.balance_coins, state.closed) != (0, True):
                broken.append(f"{key} has coins of {owner_of(key)}, who was erased: {state}")
    return broken


def _erases(fact: Mapping[str, object], user: str) -> bool:
    return (fact["type"], fact["user"]) == ("UserErased", user)


def _waiting(log: Log) -> list[str]:
    """Whatever has an end comes to it, and is forgotten: a state that waits has a deadline."""
    broken = []
    for topic in ("call.state", "bill.state", "room.state", "gift.state", "transfer.state"):
        last = {key: value for _, _, key, value in log.read(topic)}
        broken += [f"{topic}: {key!r} is still there after a week: {value!r}" for key, value in last.items() if value]
    return broken


SETUP = Setup((*deciders(Flow.MONEY), *deciders(Flow.LIVE)), workload, laws, partitions=DEFAULT_PARTITIONS, drift_s=0.5)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
