"""The auditor of agencies' shares: reads a whole log, and says which laws of agencies it breaks.

Of each version of a membership the agency has its basis points of all that was earned under it, rounded down, entry by entry,
and keeps what it had where earnings are taken back; what leaves a member's earnings arrives at the agency's, or comes back; a
share was offered and accepted; a streamer belongs to one agency at most, and their account says so, too. It reads raw records,
and knows nothing of how they were made.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from tests.lab.proofs.auditor import Read
from tests.lab.proofs.ledger import Json

EARNED: Final = ("call", "gift")
WHOLE: Final = 10_000


def broken_shares(read: Read) -> Iterator[str]:
    """The laws, one behind the other; to be asked when the log is quiet."""
    books: dict[str, list[Json]] = defaultdict(list)
    for row in read("account.events"):
        if row.value and row.value["type"] == "EntryRecorded" and row.key.endswith("/earnings"):
            books[row.key].append(row.value)
    steps: dict[str, list[Json]] = defaultdict(list)
    for row in read("membership.events"):
        if row.value and row.value["type"] == "MembershipStepped":
            steps[row.key].append(row.value)
    for user, told in steps.items():
        yield from _way(user, told)
    shares = {
        (user, step["version"]): (step["agency"], step.get("share_bps", 0))
        for user, told in steps.items() for step in told if step["step"] == "joined"
    }  # fmt: skip
    for account, entries in books.items():
        yield from _split(account.removesuffix("/earnings"), entries, shares)
    yield from _arrived(books)
    yield from _in_force(read, books)


def _way(user: str, told: list[Json]) -> Iterator[str]:
    """Invited before joined, with the share that was offered; out of one agency before into another."""
    belongs, invited, version = "", dict[str, int](), 0
    for step in told:
        agency, kind = step["agency"], step["step"]
        if kind == "invited":
            invited[agency] = step.get("share_bps", 0)
            continue
        if kind in ("joined", "left"):
            if "version" in step and step["version"] != version + 1:
                yield f"{user}: version {step['version']} follows {version}"
            version = step.get("version", version)
        if kind == "left":
            if belongs != agency:
                yield f"{user} left {agency}, and belonged to {belongs!r}"
            belongs = ""
            continue
        offered = invited.pop(agency, None)
        if offered is None or (kind == "joined" and offered != step.get("share_bps", 0)):
            yield f"{user}: {step}, where {offered} was offered"
        if kind == "joined":
            if belongs not in ("", agency):
                yield f"{user} joined {agency}, and belonged to {belongs}"
            belongs = agency


def _split(user: str, entries: list[Json], shares: dict[tuple[str, int], tuple[str, int]]) -> Iterator[str]:
    """The book of a member: behind each entry, but between an earning and its share, the agency has what is due."""
    version, earned, had, since, due = 0, 0, 0, 0, 0
    for entry in (*entries, {"kind": "end"}):
        coins, kind = entry.get("coins", 0), entry["kind"]
        agency, bps = shares.get((user, version), ("", 0))
        if kind == "debit" and entry.get("reason") == "share":
            told = (f"{agency}/earnings", version, since)
            if (entry.get("counterparty"), entry.get("share_version"), entry.get("shared_coins")) != told:
                yield f"{user}: {entry}, where {told} are due"
            had, since = had - coins, 0
            continue
        due = max(due, earned * bps // WHOLE)
        if had != due:
            yield f"{user}: of {earned} the agency has {had}, at {bps} basis points, in front of {entry}"
        if kind in ("share", "close"):
            version = entry.get("share_version", 0) if entry.get("counterparty") else 0
            earned, had, since, due = 0, 0, 0, 0
        elif kind == "credit" and entry.get("reason") in EARNED and version:
            earned, since = earned + coins, since + coins
        elif kind == "debit" and entry.get("reason") in EARNED:
            earned += coins  # what is taken back is less than nothing


def _arrived(books: dict[str, list[Json]]) -> Iterator[str]:
    """What goes from a member to an agency arrives there, or comes back."""
    moved: Counter[tuple[str, str]] = Counter()
    for account, entries in books.items():
        for entry in entries:
            if entry.get("reason") == "share" and entry["kind"] != "share":
                goes = entry["kind"] in ("debit", "return")
                way = (account, entry["counterparty"]) if goes else (entry["counterparty"], account)
                moved[way] += entry["coins"]
    yield from (f"{coins} coins of {way} neither arrived nor came back" for way, coins in moved.items() if coins)


def _in_force(read: Read, books: dict[str, list[Json]]) -> Iterator[str]:
    members = {row.key: row.value for row in read("membership.state")}
    accounts = {row.key: row.value for row in read("account.state")}
    for account in books:
        state, member = accounts.get(account) or {}, members.get(account.removesuffix("/earnings")) or {}
        share = state.get("share") or {}
        due = (member.get("agency", ""), member.get("share_bps", 0)) if not state.get("closed") else ("", 0)
        if (share.get("agency", ""), share.get("share_bps", 0)) != due:
            yield f"{account} shares with {share}, the membership says {member}"
