"""The one map of the log: every entity, topic, key, retention and subscription.

An *entity* has three topics: `<entity>.inbox` (its only input), `<entity>.events` (its facts) and `<entity>.state` (compacted).
A *subscription* copies a fact into another topic, keyed its own way, in the same transaction: into an inbox, where the entity
then decides on it, or into `feed`, which phones are shown. Keys are UTF-8; a record stands in partition
`crc32(key) % partitions` (librdkafka's `consistent` partitioner), the same in all topics of one key, so that state and inbox
always meet in one worker.
"""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from schemas import (
    ads,
    balance,
    billing,
    blocklist,
    favorites,
    gallery,
    gift,
    interaction,
    outbox,
    panel,
    postback,
    profile,
    settings,
    user,
    video,
    video_line,
    video_room,
)
from schemas.log.base import Fact, Message, Wake
from schemas.log.dead_letters import DeadLetter
from schemas.log.entity import FEED_RETENTION_S, Entity, Subscription, Topic

ACCOUNT: Final = Entity(
    "account",
    "account",
    (
        balance.OpenAccount,
        balance.Credit,
        balance.Transfer,
        balance.Hold,
        balance.Post,
        balance.Void,
        balance.Freeze,
        balance.Unfreeze,
    ),
    (balance.EntryRecorded, balance.AccountRefused),
    balance.Account,
)
TRANSFER: Final = Entity(
    "transfer",
    "transfer",
    (balance.PlaceTransfer,),
    (balance.TransferSettled, balance.TransferRepeated, balance.TransferConflicted),
    balance.TransferState,
)
USER: Final = Entity(
    "user",
    "user",
    (user.SignUp, user.OpenSession, user.Beat, user.CloseSession, user.Ban, user.Unban),
    user.USER_FACTS,
    user.User,
)
CALL: Final = Entity(
    "call",
    "call",
    (video.PlaceCall, video.AcceptCall, video.DeclineCall, video.HangUp, video.BeatCall, video.OpenRoom, video.EndCall),
    video.CALL_FACTS,
    video.Call,
)
LINE: Final = Entity(
    "line",
    "user",
    (
        video_line.SeizeLine,
        video_line.ReleaseLine,
        video_line.JoinRoulette,
        video_line.LeaveRoulette,
        video_line.Bar,
        video_line.Unbar,
        video_line.AdmitGift,
    ),
    video_line.LINE_FACTS,
    video_line.Line,
)
POOL: Final = Entity("pool", "pool", (video_line.EnterPool, video_line.QuitPool), (video_line.Matched,), video_line.Pool)
CLIP: Final = Entity("clip", "clip", (video.OfferClip, video.PlayClip), (video.ClipOffered, video.ClipRefused), video.Clip)
ROOM: Final = Entity("room", "call", (video_room.NoteParticipant,), video_room.ROOM_FACTS, video_room.Room)
TARIFFS: Final = Entity(
    "tariffs",
    "book",
    (billing.PublishTariff, billing.SelectTariff),
    (billing.TariffPublished, billing.TariffRefused, billing.TariffSelected),
    billing.TariffBook,
)
BILL: Final = Entity("bill", "call", (billing.OpenBill, billing.StartBill, billing.EndBill), billing.BILL_FACTS, billing.Bill)
GIFT: Final = Entity("gift", "gift", (gift.SendGift,), gift.GIFT_FACTS, gift.Gift)
GIFT_ITEM: Final = Entity(
    "gift_item",
    "item",
    (gift.PutGiftItem, gift.PriceGift),
    (gift.GiftItemPut, gift.GiftItemRefused, gift.GiftPriced),
    gift.GiftItem,
)
BLOCKS: Final = Entity("blocks", "user", (blocklist.BlockUser, blocklist.UnblockUser), blocklist.BLOCKS_FACTS, blocklist.Blocks)
RECORD: Final = Entity("record", "user", (blocklist.CountBlock, blocklist.Review), blocklist.RECORD_FACTS, blocklist.Record)
RULEBOOK: Final = Entity("rulebook", "rulebook", (blocklist.PublishRules,), (blocklist.RulesPublished,), blocklist.Rulebook)
FAVORITES: Final = Entity(
    "favorites",
    "user",
    (favorites.AddFavorite, favorites.RemoveFavorite, favorites.BarFavorite, favorites.UnbarFavorite),
    favorites.FAVORITES_FACTS,
    favorites.Favorites,
)
FOLLOWERS: Final = Entity(
    "followers", "user", (favorites.Follow, favorites.Unfollow), (favorites.FavoriteCameOnline,), favorites.Followers
)
SETTINGS: Final = Entity("settings", "name", (settings.PutSettings,), (settings.SettingsPut,), settings.Settings)
PROFILE: Final = Entity("profile", "user", (profile.PutProfile,), (profile.ProfilePut,), profile.Profile)
PRIVATE_PROFILE: Final = Entity(
    "private_profile",
    "user",
    (profile.PutPrivateProfile, profile.ReadPrivateProfile),
    profile.PRIVATE_FACTS,
    profile.PrivateProfile,
    private=True,
)
OUTBOX: Final = Entity(
    "outbox", "effect", (outbox.OweEffect, outbox.ReportAttempt, outbox.RedriveEffect), outbox.OUTBOX_FACTS, outbox.Effect
)
PAIR: Final = Entity("pair", "pair", (interaction.RecordView,), interaction.PAIR_FACTS, interaction.Pair)
RANK: Final = Entity("rank", "user", (), gallery.RANK_FACTS, gallery.Rank)
GALLERY_RULES: Final = Entity(
    "gallery_rules", "role", (gallery.PutGalleryRules,), (gallery.GalleryRulesPut,), gallery.GalleryRules
)
VIEWER: Final = Entity("viewer", "viewer", (gallery.ShowCards,), (gallery.CardsShown,), gallery.Viewer)
COHORTS: Final = Entity("cohorts", "book", (panel.PutCohort, panel.RemoveCohort), panel.BOOK_FACTS, panel.CohortBook)
MEMBER: Final = Entity(
    "member",
    "user",
    (panel.ShareCohorts, panel.CountAction, panel.PutTag, panel.RemoveTag),
    panel.MEMBER_FACTS,
    panel.Member,
    broadcast=True,
)
INSTALL: Final = Entity("install", "install", (ads.RecordPush, ads.ClaimInstall), ads.INSTALL_FACTS, ads.Install)
ATTRIBUTION: Final = Entity(
    "attribution",
    "user",
    (ads.PutTracking, ads.ShareHashes, ads.ShareRules),
    ads.ATTRIBUTION_FACTS,
    ads.Attribution,
    private=True,
    broadcast=True,
)
POSTBACK_RULES: Final = Entity(
    "postback_rules", "book", (postback.PutPostbackRules,), postback.RULES_FACTS, postback.PostbackBook
)
MONEY: Final = (ACCOUNT, TRANSFER)
LIVE: Final = (
    USER,
    LINE,
    CALL,
    POOL,
    CLIP,
    ROOM,
    TARIFFS,
    BILL,
    GIFT,
    GIFT_ITEM,
    BLOCKS,
    RECORD,
    RULEBOOK,
    OUTBOX,
    FAVORITES,
    FOLLOWERS,
    SETTINGS,
    PROFILE,
    PRIVATE_PROFILE,
)
GROWTH: Final = (PAIR, RANK, GALLERY_RULES, VIEWER, COHORTS, MEMBER, INSTALL, ATTRIBUTION, POSTBACK_RULES)
ENTITIES: Final = (*MONEY, *LIVE, *GROWTH)

SHOWN_TO_BOTH: Final = (video.CallRinging, video.CallConnected, video.CallEnded)
BILL_SHOWN: Final = (billing.BillStepped, billing.CreditLow, billing.BillClosed)
SHOWN: Final = (
    balance.EntryRecorded,
    *SHOWN_TO_BOTH,
    *BILL_SHOWN,
    gift.GiftSent,
    video_line.RouletteJoined,
    video_line.RouletteLeft,
    user.UserBanned,
    blocklist.ConsequenceDrawn,
    favorites.FavoriteCameOnline,
)
FEED: Final = Topic("feed", "user id", SHOWN, retention_s=FEED_RETENTION_S)
DEAD_LETTERS: Final = Topic("dead_letters", "<topic>/<partition>/<offset>", (DeadLetter,), partitions=1)
SKIPS: Final = Topic("skips", "<topic>/<partition>/<offset>", (), partitions=1, compacted=True)


def _paid_for(reason: balance.Reason) -> Callable[[Any], str]:
    """The key of a ledger's fact that belongs to a call or a gift: it carries its id as `ref`."""
    return lambda fact: fact.ref if fact.reason == reason else ""


def _moves_coins(entry: balance.EntryRecorded) -> str:
    """The owner of the coins that were spent (or came back), or were bought."""
    counts = entry.coins and entry.reason in (balance.Reason.CALL, balance.Reason.GIFT, balance.Reason.PURCHASE)
    return balance.owner_of(entry.account) if counts and entry.account.endswith("/coins") else ""


def _bought(entry: balance.EntryRecorded) -> str:
    """Who paid for coins."""
    bought = entry.reason == balance.Reason.PURCHASE and entry.coins > 0 and entry.account.endswith("/coins")
    return balance.owner_of(entry.account) if bought else ""


def _talked(ended: video.CallEnded) -> str:
    """Who placed a call that came to be; watching a recorded video is none."""
    return ended.caller if ended.connected and ended.kind is not billing.CallKind.CLIP else ""


def _pair(one: str, other: str) -> Callable[[Any], str]:
    """The key of what is between two users of a fact."""
    return lambda fact: interaction.pair_of(getattr(fact, one), getattr(fact, other))


def _both(fact: type[Fact], one: str, other: str, why: str) -> tuple[Subscription, Subscription]:
    return Subscription(fact, FEED.name, attrgetter(one), why), Subscription(fact, FEED.name, attrgetter(other), why)


SUBSCRIPTIONS: Final = (
    Subscription(
        balance.EntryRecorded, FEED.name, lambda entry: balance.owner_of(entry.account), "the phone shows the balance"
    ),
    Subscription(balance.EntryRecorded, TRANSFER.inbox, attrgetter("transfer"), "a transfer follows its legs"),
    Subscription(balance.AccountRefused, TRANSFER.inbox, attrgetter("transfer"), "a transfer hears why not"),
    Subscription(balance.EntryRecorded, BILL.inbox, _paid_for(balance.Reason.CALL), "a bill follows its coins"),
    Subscription(balance.AccountRefused, BILL.inbox, _paid_for(balance.Reason.CALL), "a bill hears that coins ran out"),
    Subscription(balance.EntryRecorded, GIFT.inbox, _paid_for(balance.Reason.GIFT), "a gift follows its coins"),
    Subscription(balance.AccountRefused, GIFT.inbox, _paid_for(balance.Reason.GIFT), "a gift hears why not"),
    Subscription(user.UserSignedUp, LINE.inbox, attrgetter("user"), "who has signed up can be called"),
    Subscription(user.CameOnline, LINE.inbox, attrgetter("user"), "who is online can be called"),
    Subscription(user.WentOffline, LINE.inbox, attrgetter("user"), "who is offline cannot"),
    Subscription(user.UserBanned, LINE.inbox, attrgetter("user"), "a ban ends calls"),
    Subscription(user.UserUnbanned, LINE.inbox, attrgetter("user"), "a ban is over"),
    Subscription(user.UserSignedUp, RECORD.inbox, attrgetter("user"), "rules look at the role"),
    Subscription(
        balance.EntryRecorded,
        RECORD.inbox,
        lambda entry: balance.owner_of(entry.account) if entry.reason == balance.Reason.PENALTY else "",
        "a penalty that was paid can be given back",
    ),
    Subscription(user.UserBanned, FEED.name, attrgetter("user"), "the phone is told"),
    Subscription(video_line.LineSeized, CALL.inbox, attrgetter("call"), "a call has a line"),
    Subscription(video_line.LineRefused, CALL.inbox, attrgetter("call"), "a call hears why not"),
    Subscription(video_line.GiftAdmitted, GIFT.inbox, attrgetter("gift"), "a gift may be sent"),
    Subscription(video_line.RouletteJoined, FEED.name, attrgetter("user"), "the phone shows that it waits"),
    Subscription(video_line.RouletteLeft, FEED.name, attrgetter("user"), "the phone shows that it waits no more"),
    Subscription(billing.TariffSelected, CALL.inbox, attrgetter("call"), "a call pins its tariff"),
    Subscription(billing.BillOpened, CALL.inbox, attrgetter("call"), "the first checkpoint is held: it may ring"),
    Subscription(billing.BillRefused, CALL.inbox, attrgetter("call"), "too few coins: it does not ring"),
    Subscription(video.RoomOpened, ROOM.inbox, attrgetter("call"), "a room knows who may be in it"),
    Subscription(video.CallEnded, ROOM.inbox, lambda ended: ended.call if ended.room else "", "a room outlives its call a day"),
    Subscription(
        video.CallEnded,
        OUTBOX.inbox,
        lambda ended: outbox.close_room_id(ended.call) if ended.room else "",
        "the provider puts out who is still in the room",
    ),
    Subscription(video.CallEnded, PAIR.inbox, _pair("caller", "callee"), "a call brings two closer"),
    Subscription(gift.GiftSent, PAIR.inbox, _pair("sender", "receiver"), "a gift brings two closer"),
    Subscription(favorites.FavoriteAdded, PAIR.inbox, _pair("user", "peer"), "a favourite is close"),
    Subscription(favorites.FavoriteRemoved, PAIR.inbox, _pair("user", "peer"), "no favourite any more"),
    Subscription(blocklist.UserBlocked, PAIR.inbox, _pair("user", "peer"), "a block ends all closeness"),
    Subscription(
        video.CallEnded,
        RANK.inbox,
        lambda ended: "" if ended.kind is billing.CallKind.CLIP else ended.callee,
        "who answers, and talks long",
    ),
    Subscription(gift.GiftSent, RANK.inbox, attrgetter("receiver"), "who is given gifts"),
    Subscription(
        blocklist.UserBlocked,
        RANK.inbox,
        lambda block: block.peer if block.reason in gallery.COMPLAINTS else "",
        "who is complained about",
    ),
    *(
        Subscription(fact, MEMBER.inbox, attrgetter("user"), "cohorts look at who, where from, and when seen last")
        for fact in (user.UserSignedUp, user.SessionOpened, user.CameOnline, user.WentOffline)
    ),
    Subscription(ads.UserAttributed, MEMBER.inbox, attrgetter("user"), "cohorts look at network and campaign"),
    Subscription(balance.EntryRecorded, MEMBER.inbox, _moves_coins, "cohorts look at coins spent and bought"),
    Subscription(user.UserSignedUp, INSTALL.inbox, attrgetter("appsflyer_id"), "an install is joined with its sign-up"),
    Subscription(ads.UserTouched, ATTRIBUTION.inbox, attrgetter("user"), "which campaign brought the user"),
    Subscription(user.UserSignedUp, ATTRIBUTION.inbox, attrgetter("user"), "sign-ups are told to ad networks"),
    Subscription(balance.EntryRecorded, ATTRIBUTION.inbox, _bought, "purchases are told to ad networks"),
    Subscription(video.CallEnded, ATTRIBUTION.inbox, _talked, "calls are told to ad networks"),
    Subscription(gift.GiftSent, ATTRIBUTION.inbox, attrgetter("sender"), "gifts are told to ad networks"),
    Subscription(gift.GiftPriced, GIFT.inbox, attrgetter("gift"), "a gift knows its price"),
    Subscription(user.CameOnline, FOLLOWERS.inbox, attrgetter("user"), "followers are told"),
    Subscription(favorites.FavoriteCameOnline, FEED.name, attrgetter("follower"), "the phone shows who has come online"),
    Subscription(blocklist.ConsequenceDrawn, FEED.name, attrgetter("user"), "the phone is told"),
    *(s for fact in SHOWN_TO_BOTH for s in _both(fact, "caller", "callee", "both phones show the call")),
    *(s for fact in BILL_SHOWN for s in _both(fact, "payer", "earner", "both phones show the bill")),
    *_both(gift.GiftSent, "sender", "receiver", "both phones show the gift"),
)


def hears(entity: Entity) -> tuple[type[Message], ...]:
    """Every type that an entity's inbox takes: commands, subscribed facts and wakes."""
    heard = tuple(s.fact for s in SUBSCRIPTIONS if s.topic == entity.inbox)
    return (*entity.commands, *heard, Wake)


def topics() -> tuple[Topic, ...]:
    """Every topic, in the order in which they are created."""
    found: list[Topic] = []
    for entity in ENTITIES:
        key = f"{entity.name} id"
        found += [
            Topic(entity.inbox, key, hears(entity), entity.partitions),
            Topic(entity.events, key, entity.facts, entity.partitions),
            Topic(entity.changelog, key, (entity.state,), entity.partitions, compacted=True),
        ]
    return (*found, FEED, DEAD_LETTERS, SKIPS)


class Route(Struct, frozen=True):
    """Where a message goes: a topic, the key in it, and how many partitions that topic has."""

    topic: str
    key: Callable[[Any], str]
    partitions: int


@cache
def routes() -> dict[type[Message], tuple[Route, ...]]:
    """All ways of every message type: commands to their inbox, facts to their events topic and their subscriptions."""
    table: dict[type[Message], tuple[Route, ...]] = {}
    partitions = {topic.name: topic.partitions for topic in topics()}
    for entity in ENTITIES:
        for command in entity.commands:
            table[command] = (Route(entity.inbox, attrgetter(entity.key), entity.partitions),)
        for fact in entity.facts:
            heard = (Route(s.topic, s.key, partitions[s.topic]) for s in SUBSCRIPTIONS if s.fact is fact)
            table[fact] = (Route(entity.events, attrgetter(entity.key), entity.partitions), *heard)
    return table


def inbox_keys(entity: Entity) -> dict[type[Message], Callable[[Any], str]]:
    """For each type that `entity` hears: the key under which a record of that type must stand in its inbox."""
    keys: dict[type[Message], Callable[[Any], str]] = {command: attrgetter(entity.key) for command in entity.commands}
    keys.update({s.fact: s.key for s in SUBSCRIPTIONS if s.topic == entity.inbox})
    keys[Wake] = attrgetter("key")
    return keys
