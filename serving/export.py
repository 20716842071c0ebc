"""`GET /v1/users/me/export`: everything that is known of oneself, as one JSON object, streamed.

`states` has what decides now, by entity and key; `tables` what the warehouse has of the past, row by row. Nobody else's ids are
in it beyond those that the person was shown: not who has blocked, reported, banned or read them. `LEFT_OUT` says of each entity
and table that is not in it, why; the answer repeats that. tests/test_export.py holds all entities and tables against this file.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from msgspec.structs import replace

from schemas.ads import ATTRIBUTION, INSTALL, Attribution, Install
from schemas.agency import MEMBERSHIP
from schemas.balance_ledger import accounts_of
from schemas.blocklist import BLOCKS, RECORD, Record
from schemas.favorites import FAVORITES, FOLLOWERS
from schemas.gallery import RANK
from schemas.log.base import State, now
from schemas.log.entity import Entity
from schemas.notification import NOTIFICATION
from schemas.panel import MEMBER
from schemas.payee import PAYEE
from schemas.price_class import PRICE_CLASS
from schemas.profile import PRIVATE_PROFILE, PROFILE
from schemas.user import USER, User, UserRefusal
from schemas.video_clip import CLIP
from schemas.video_line import LINE
from serving.runtime.auth import SignedIn
from serving.runtime.commands import views_of
from serving.runtime.gate import unless_erased
from serving.runtime.problems import responses
from serving.runtime.refusals import refusal_of
from serving.runtime.views import Views
from serving.runtime.warehouse import in_warehouse, no_answer

router = APIRouter(tags=["erasure"])

CHUNK: Final = 65_536
# Whose states stand under the user's id.
OWN: Final = (
    USER, PROFILE, PAYEE, PRIVATE_PROFILE, FAVORITES, FOLLOWERS, BLOCKS, RECORD, LINE, MEMBER, RANK, ATTRIBUTION, NOTIFICATION,
    MEMBERSHIP,
    PRICE_CLASS,
)  # fmt: skip
# Whose stand under other keys, by which they are found.
FOUND: Final = (INSTALL, CLIP)
# Which rows of a table are the user's; columns that are about others, or were never shown, are left out.
ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "migration_rows": ("", "user = {user:String}"),
    "apphud_events": ("", "user = {user:String}"),
    "agency_shares": ("", "user = {user:String} OR agency = {user:String}"),
    "audit": ("act, staff, why, asked, commands", "has(subjects, {user:String})"),
    "attributions": ("", "user = {user:String}"),
    "balance_entries": ("", "account IN {accounts:Array(String)}"),
    "bills": ("tags", "payer = {user:String} OR earner = {user:String}"),
    "blocks": ("", "user = {user:String}"),
    "calls": ("reason, by, refusal", "caller = {user:String} OR (callee = {user:String} AND refusal = '')"),
    "chat_items": ("reason, price_coins, share_coins, campaign", "user = {user:String} OR peer = {user:String}"),
    "chat_reports": ("step, by, why, outcome, until", "user = {user:String} AND step = 'ChatReported' AND rule = ''"),
    "cohort_changes": ("", "user = {user:String}"),
    "conversions": ("", "user = {user:String}"),
    "engagements": ("complaints", "user = {user:String}"),
    "price_classes": ("by", "user = {user:String}"),
    "favorites": ("", "user = {user:String}"),
    "gallery_impressions": ("", "viewer = {user:String}"),
    "gifts": ("refusal", "sender = {user:String} OR (receiver = {user:String} AND refusal = '')"),
    "interactions": ("", "user = {user:String}"),
    "membership_steps": ("by, ref", "user = {user:String} OR agency = {user:String}"),
    "notification_steps": ("", "user = {user:String}"),
    "outreach_steps": ("campaign", "user = {user:String}"),
    "phones": ("", "user = {user:String}"),
    "postback_attempts": ("", "subject = {user:String}"),
    "postbacks_forgone": ("", "user = {user:String}"),
    "presence": ("", "user = {user:String}"),
    "private_reads": ("by", "user = {user:String}"),
    "profiles": ("", "user = {user:String}"),
    "purchases": ("", "user = {user:String}"),
    "purchase_consumptions": ("", "user = {user:String}"),
    "subscriptions": ("", "user = {user:String}"),
    "purchase_usages": ("", "user = {user:String}"),
    "purchase_refusals": ("", "user = {user:String}"),
    "payout_steps": ("by, ref", "user = {user:String}"),
    "refunds": ("", "user = {user:String}"),
    "push_outcomes": ("", "user = {user:String}"),
    "pushes": ("", "user = {user:String}"),
    "role_changes": ("by, why", "user = {user:String}"),
    "sightings": ("", "user = {user:String}"),
    "tags": ("by", "user = {user:String}"),
    "users": ("", "user = {user:String}"),
}
_BOOKS: Final = "rules and catalogues are nobody's"
LEFT_OUT: Final[Mapping[str, str]] = {
    "account": "what is on an account stands under `balances`, how it came there in the table balance_entries",
    "agency": "what an agency is called is for its streamers; its steps with them stand in the table membership_steps",
    "apphud": "what Apphud tells of your purchases stands in the table apphud_events",
    "migration_feed": _BOOKS,
    "migration_row": "what of you came from the old back end stands in the table migration_rows",
    "opening": "what you began with stands in the table balance_entries",
    "payout": "your payouts stand in the table payout_steps",
    "payout_terms": "what a coin is worth is no one's",
    "payout_batch": "which payouts went to the bank together stands in the table payout_steps",
    "adjustment": "the entries that came of it stand in the table balance_entries",
    "transfer": "the entries that came of it stand in the table balance_entries",
    "bill": "receipts stand in the table bills",
    "bill_steps": "which entry of balance_entries is for which call is told there, by ref",
    "call": "calls stand in the table calls",
    "room": "who was in a call's room stands in the table calls",
    "gift": "gifts stand in the table gifts",
    "pair": "what you did with whom stands in the table interactions",
    "contact": "who has met whom stands in the table interactions",
    "follower_page": "whom others like is theirs; GET /v1/followers/users shows those who like you",
    "pool": "who waits for roulette stands under `line`",
    "outbox": "what vendors were told stands in postback_attempts and push_outcomes, by which names under `attribution`",
    "approval": "what two of staff have done with your coins stands in the table balance_entries",
    "approvals": "likewise; it names others of staff, too",
    "staff": "which roles you were given stands in the table role_changes",
    "question": "what staff asks the warehouse is nobody's",
    "question_runs": "likewise; it is what staff writes, with their ids",
    "pulse": "it counts what happens, and nobody",
    "person_moments": "it is made of the same facts as the other tables",
    "staff_act": "what staff did to you stands in the table audit",
    "subscription": "what you subscribed to stands in the tables subscriptions and purchases",
    "purchase": "what you bought stands in the tables purchases and refunds",
    "intent": "what you were about to buy is kept for half a year, for the store may still tell of it; see the table purchases",
    "chat": "who wrote whom, and when, stands in the table chat_items, the texts under GET /v1/chats/{user}",
    "chat_message": "each message is under GET /v1/chats/{user}/messages/{message}; it may hold words of the other",
    "chat_page": "its items stand in the table chat_items",
    "chat_report": "what you have reported stands in the table chat_reports; what others have is theirs",
    "chat_evidence": "it is words of others, too, and for staff; your own are in the chat",
    "chat_badge": "what is unread stands under GET /v1/chats",
    "viewer": "which cards you were shown stands in the table gallery_impressions",
    "chat_writer": "with whom you have begun chats stands in the table chat_items",
    "chat_rules": _BOOKS, "gift_item": _BOOKS, "tariffs": _BOOKS, "rulebook": _BOOKS, "gallery_rules": _BOOKS,
    "reconciliations": "runs are about stores, not about people",
    "store_differences": "what stores tell of your purchases stands in the tables purchases and refunds",
    "reconciliation": "what stores tell of your purchases stands in the tables purchases and refunds",
    "product": _BOOKS, "cohorts": _BOOKS, "postback_rules": _BOOKS, "settings": _BOOKS, "timetable": _BOOKS,
    "job_fires": "jobs are the platform's own",
    "outreach": _BOOKS,
    "recipient": "which campaigns have come to you stands in the table outreach_steps",
    "outreach_writers": "for whom you have written stands in the table chat_items",
    "log": "the tables are made of it",
}  # fmt: skip


JSON: Final[dict[int | str, Any]] = {
    200: {"description": "All of it", "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.get("/v1/users/me/export", responses={**JSON, **responses(401, 403, 404, 503)}, response_class=StreamingResponse)
async def export_me(caller: SignedIn, request: Request) -> StreamingResponse:
    """Everything that is known of you: a JSON object with `states`, `balances`, `tables`, and what is `left_out`, and why."""
    views, user = views_of(request), caller.user
    if unless_erased(request, user) is None:
        raise refusal_of(request, UserRefusal.USER_UNKNOWN, user=user)
    accounts = accounts_of(user)
    head: dict[str, Any] = {
        "user": user,
        "at": now(),
        "states": {entity.name: found for entity in (*OWN, *FOUND) if (found := states_of(entity, views, user))},
        "balances": {account: held for account in accounts if (held := views.balance(account)) is not None},
        "left_out": LEFT_OUT,
    }
    try:
        client: Client = await in_warehouse(request.app.state.clickhouse)
        await in_warehouse(client.command, "SELECT 1")
    except (Error, OSError) as error:
        raise no_answer() from error
    headers = {"Content-Disposition": 'attachment; filename="export.json"'}
    return StreamingResponse(_pieces(head, client, user, accounts), media_type="application/json", headers=headers)


def states_of(entity: Entity, views: Views, user: str) -> dict[str, Any]:
    """The user's states of an entity as others' secrets allow, by key."""
    if entity is CLIP:
        return {key: clip for key, clip in views.of(CLIP).items() if clip.streamer == user}
    key = user
    if entity is INSTALL:
        attribution: Attribution | None = views.of(ATTRIBUTION).get(user)
        key = attribution.appsflyer_id if attribution else ""
    state: State | None = views.of(entity).get(key) if key else None
    return {} if state is None else {key: _shown(state, user)}


def _shown(state: State, user: str) -> State:
    match state:
        case Record():
            cases = tuple(replace(case, by=()) for case in state.cases)
            return replace(state, counted=(), cases=cases, met=state.met)
        case Install():
            return replace(state, users=tuple(one for one in state.users if one == user))
        case User():
            bans = {case: replace(ban, by="") for case, ban in state.case_bans.items()}
            return replace(state, ban=replace(state.ban, by="") if state.ban else None, case_bans=bans)
    return state


def _pieces(head: dict[str, Any], client: Client, user: str, accounts: tuple[str, ...]) -> Iterator[bytes]:
    """The object, piece by piece: no table has to fit into memory."""
    yield msgspec.json.encode(head)[:-1] + b',"tables":{'
    for number, table in enumerate(ROWS):
        yield b'%b"%b":[' % (b"," if number else b"", table.encode())
        yield from _rows(client, table, {"user": user, "accounts": list(accounts)})
        yield b"]"
    yield b"}}"


def _rows(client: Client, table: str, parameters: dict[str, Any]) -> Iterator[bytes]:
    hides, where = ROWS[table]
    columns = f"* EXCEPT (partition, offset{', ' * bool(hides)}{hides})"
    settings = {"output_format_json_quote_64bit_integers": 0}
    stream: Any = client.raw_stream(
        f"SELECT {columns} FROM {table} FINAL WHERE {where}", parameters, settings=settings, fmt="JSONEachRow"
    )  # fmt: skip
    last = b""
    try:
        while piece := stream.read(CHUNK):
            # A row is a line, and no string of JSON has a line's end in it.
            whole = (last + piece).replace(b"\n", b",")
            yield whole[:-1]
            last = whole[-1:]
    finally:
        stream.close()
    yield b"" if last == b"," else last
