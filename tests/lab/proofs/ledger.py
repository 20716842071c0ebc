"""A second, naive ledger: dicts, one `if` after another, no sharing with `pipelines.balance`. Lots are sorted anew at each use.

It folds the records of `account.inbox` in the log's order and says which entries and refusals must have come out.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
LIMIT = 10**15


def _party(party: str, account: str) -> str:
    """The outsider of the account's own ledger."""
    return f"{party}_sandbox" if "/sandbox_" in account else party


def _crosses(account: str, party: str) -> bool:
    """Whether one of them is the sandbox's, and the other is not; a store's sandbox may pay ordinary accounts."""
    theirs = party.endswith("_sandbox") if party.startswith("@") else "/sandbox_" in party
    stores = party in ("@apple_sandbox", "@google_sandbox")
    return theirs != ("/sandbox_" in account) and not (stores and theirs)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _sorted(lots: list[Json]) -> list[Json]:
    return sorted(lots, key=lambda lot: _time(lot.get("expires_at", "9999-12-31T00:00:00Z")))


def _left(lots: list[Json], coins: int) -> list[Json]:
    """The lots behind spending so many coins, those first that expire first."""
    for lot in _sorted(lots):
        off = min(coins, lot["coins"])
        lot["coins"] -= off
        coins -= off
    return [lot for lot in _sorted(lots) if lot["coins"]]


def _shown(lot: Json) -> Json:
    return {name: lot[name] for name in ("lot", "coins", "expires_at") if name in lot}


def _until(at: datetime) -> datetime:
    """What is paid within an hour counts until a day behind the hour's end."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=25)


def _turn(cap: Json, at: datetime) -> bool:
    due = cap["due"] is not None and cap["due"] <= at
    if due:
        cap["own"], cap["due"] = cap["next"], None
    return due


def _smaller(own: int | None, staff: int | None) -> int | None:
    return min((one for one in (own, staff) if one is not None), default=None)


def _room(account: Json, at: datetime) -> Json:
    """What the daily cap leaves, and when there will be more; without a cap: nothing."""
    cap = account["cap"]
    own = cap["next"] if cap["due"] and cap["due"] <= at else cap["own"]
    most = _smaller(own, cap["staff"])
    if most is None:
        return {}
    held = sum(hold["coins"] for hold in account["holds"].values() if hold["reason"] in ("call", "gift"))

    def left(then: datetime) -> int:
        limit = _smaller(cap["next"] if cap["due"] and cap["due"] <= then else cap["own"], cap["staff"])
        paid = sum(coins for until, coins in cap["paid"] if until > then)
        return LIMIT * 9 if limit is None else max(0, limit - held - paid)

    times = sorted({until for until, _ in cap["paid"]} | ({cap["due"]} if cap["due"] else set()))
    more = next((then for then in times if then > at and left(then) > left(at)), None)
    return {"left_coins": left(at)} | ({"more_at": more.isoformat().replace("+00:00", "Z")} if more else {})


class NaiveLedger:
    """All accounts; `apply` one inbox message, get the facts it must lead to (as dicts of the fields that matter)."""

    def __init__(self) -> None:
        self.accounts: dict[str, Json] = {}

    def apply(self, message: Json) -> list[Json]:
        facts = self._facts(message)
        if any("kind" in fact for fact in facts):
            account = self.accounts[facts[0]["account"]]
            account["at"] = max(account.get("at", _time(message["at"])), _time(message["at"]))
        return facts

    def _facts(self, message: Json) -> list[Json]:
        if message["type"] == "Wake":
            return self._wake(message)
        name = message["account"]
        account = self.accounts.get(name)
        if message["type"] == "OpenAccount":
            if account is not None:
                return []
            account = self.accounts[name] = {"seq": 0, "balance": 0, "held": 0, "frozen": False, "holds": {}}
            account |= {"closed": False, "debt": 0, "lots": [], "share": {}, "cap": {}}
            return [self._entry(name, "open")]
        if message["type"] == "CloseAccount":
            if account is None or account["closed"]:
                return []
            account["closed"] = account["frozen"] = True
            account["lots"], account["share"], account["cap"] = [], {}, {}
            return [self._entry(name, "close")]
        if message["type"] == "ReadLots":
            return [{"account": name, "lots": [_shown(lot) for lot in (account["lots"] if account else [])]}]
        why = self._refusal(account, message)
        if why is not None:
            room = {"cap_room": _room(account, self._now(account, message))} if why[0] == "daily_cap" and account else {}
            return [{"account": name, "refusal": why[0], "shortfall_coins": why[1], **room}]
        assert account is not None
        entries = [getattr(self, "_" + message["type"].lower())(name, account, message)]
        self._spend(account, message, entries[0])
        if message["type"] == "Credit":
            entries += self._shared(name, account, message)
        limit = message.get("freeze_above_coins")
        if message["type"] == "Clawback" and limit is not None and account["debt"] > limit and not account["frozen"]:
            account["frozen"] = True
            entries.append(self._entry(name, "freeze"))
        return entries + self._afterwards(name, message)

    def _refusal(self, account: Json | None, message: Json) -> tuple[str, int] | None:
        kind, coins = message["type"], message.get("coins", 0)
        if account is None:
            return "account_unknown", 0
        forfeits = account["closed"] and message.get("to") == _party("@forfeited", message["account"]) and kind == "Transfer"
        if account["frozen"] and kind in ("Transfer", "Hold") and not forfeits:
            return "account_frozen", 0
        share = kind == "Credit" and message["reason"] == "share" and not message.get("returned")
        if account["closed"] and (kind == "Unfreeze" or share):
            return "account_frozen", 0
        if kind in ("Transfer", "Hold") and message["to"] == message["account"]:
            return "same_account", 0
        if kind == "Credit" and not message.get("returned") and (why := self._not_credited(account, message)):
            return why, 0
        holds = account["holds"]
        if kind in ("Post", "Void") and message["hold"] not in holds:
            return "hold_unknown", 0
        if kind == "Hold" and message["hold"] in holds:
            return "hold_exists", 0
        if kind == "Hold" and _time(message["expires_at"]) <= _time(message["at"]):
            return "hold_expires_in_past", 0
        if kind == "Post" and coins > holds[message["hold"]]["coins"]:
            return "hold_exceeded", 0
        if kind == "Hold" and len(holds) == 64:
            return "too_many_holds", 0
        if kind in ("Transfer", "Hold") and (not_spent := self._not_spent(account, message)):
            return not_spent
        if kind == "WriteOff" and (coins > account["debt"] or message["debt_coins"] != account["debt"]):
            return "debt_changed", 0
        return None

    def _not_credited(self, account: Json, message: Json) -> str:
        if account["balance"] + message["coins"] > LIMIT:
            return "balance_limit"
        return "other_ledger" if _crosses(message["account"], message["counterparty"]) else ""

    def _not_spent(self, account: Json, message: Json) -> tuple[str, int] | None:
        if _crosses(message["account"], message["to"]):
            return "other_ledger", 0
        coins, free = message["coins"], account["balance"] - account["held"]
        room = _room(account, self._now(account, message)) if account["cap"] and message["reason"] in ("call", "gift") else {}
        if room and coins > room["left_coins"]:
            return "daily_cap", 0
        return ("insufficient_coins", coins - free) if coins > free else None

    def _entry(self, name: str, kind: str, coins: int = 0, held: int = 0, debt: int = 0, **more: Any) -> Json:
        account = self.accounts[name]
        account["debt"] += debt
        account["seq"] += 1
        account["balance"] += coins
        account["held"] += held
        now = {"seq": account["seq"], "balance_coins": account["balance"], "held_coins": account["held"]}
        now |= {"debt_coins": account["debt"], "debt_change_coins": debt}
        account["lots"] = _left(account["lots"], -coins if coins < 0 else 0)
        return {"account": name, "kind": kind, "coins": coins, "held_change_coins": held, **now, **more}

    def _credit(self, name: str, _: Json, message: Json) -> Json:
        kind = "return" if message.get("returned") else "credit"
        if not self.accounts[name]["closed"]:
            new = [dict(lot) for lot in message.get("lots", [])]
            self.accounts[name]["lots"] = _sorted(self.accounts[name]["lots"] + new)[:32]
        return self._entry(name, kind, message["coins"], counterparty=message["counterparty"])

    def _shared(self, name: str, account: Json, message: Json) -> list[Json]:
        """The agency has its part of all that was earned under this version; what is new of that goes on now."""
        share, earned = account["share"], message["reason"] in ("call", "gift") and not message.get("returned")
        if not share or not earned:
            return []
        share["earned"] += message["coins"]
        share["since"] += message["coins"]
        due = max(0, share["earned"] * share["bps"] // 10_000 - share["had"])
        share["had"] += due
        of = {"reason": "share", "share_version": share["version"], "shared_coins": share["since"]}
        share["since"] = 0 if due else share["since"]
        return [self._entry(name, "debit", -due, counterparty=f"{share['agency']}/earnings", **of)] if due else []

    def _setshare(self, name: str, account: Json, message: Json) -> Json:
        agency, version = message["agency"], message["version"]
        share = {"agency": agency, "bps": message.get("share_bps", 0), "version": version, "earned": 0, "had": 0}
        share["since"] = 0
        account["share"] = share if agency and not account["closed"] else {}
        return self._entry(name, "share", counterparty=f"{agency}/earnings" if agency else "", share_version=version)

    def _transfer(self, name: str, account: Json, message: Json) -> Json:
        if account["share"] and message["reason"] in ("call", "gift"):
            account["share"]["earned"] -= message["coins"]  # what is taken back was not earned
        return self._entry(name, "debit", -message["coins"], counterparty=message["to"])

    def _hold(self, name: str, account: Json, message: Json) -> Json:
        account["holds"][message["hold"]] = message
        return self._entry(name, "hold", 0, message["coins"], counterparty=message["to"], hold=message["hold"])

    def _end(self, name: str, kind: str, hold: str, coins: int = 0) -> Json:
        ended = self.accounts[name]["holds"].pop(hold)
        why = {"counterparty": ended["to"], "hold": hold, "reason": ended["reason"]}
        return self._entry(name, kind, -coins, -ended["coins"], **why)

    def _post(self, name: str, _: Json, message: Json) -> Json:
        return self._end(name, "post", message["hold"], message["coins"])

    def _void(self, name: str, _: Json, message: Json) -> Json:
        return self._end(name, "void", message["hold"])

    def _freeze(self, name: str, account: Json, _: Json) -> Json:
        account["frozen"] = True
        return self._entry(name, "freeze")

    def _unfreeze(self, name: str, account: Json, _: Json) -> Json:
        account["frozen"] = False
        return self._entry(name, "unfreeze")

    def _clawback(self, name: str, account: Json, message: Json) -> Json:
        free = 0 if account["closed"] else account["balance"] - account["held"]
        there = min(free, message["coins"])
        rest = there
        for lot in account["lots"]:
            if lot["lot"] in message.get("lots", []):
                off = min(rest, lot["coins"])
                lot["coins"] -= off
                rest -= off
        account["lots"] = _left(account["lots"], rest)
        kept, account["lots"] = account["lots"], []
        entry = self._entry(name, "clawback", -there, debt=message["coins"] - there, counterparty=message["counterparty"])
        account["lots"] = kept
        return entry

    def _writeoff(self, name: str, _: Json, message: Json) -> Json:
        return self._entry(name, "write_off", debt=-message["coins"], counterparty=_party("@written_off", name))

    def _afterwards(self, name: str, message: Json) -> list[Json]:
        """Coins whose time is over lapse as soon as they are free; then what is free pays the debt."""
        account, entries = self.accounts[name], list[Json]()
        now = max(account["at"], _time(message["at"]))
        if account["closed"]:
            return []
        for lot in _sorted(account["lots"]):
            free = account["balance"] - account["held"]
            if free and "expires_at" in lot and _time(lot["expires_at"]) <= now:
                entries.append(
                    self._entry(name, "lapse", -min(free, lot["coins"]), counterparty=_party("@expired", name), ref=lot["lot"])
                )
        if pays := min(account["debt"], account["balance"] - account["held"]):
            entries.append(self._entry(name, "repay", -pays, debt=-pays))
        return entries

    def _now(self, account: Json, message: Json) -> datetime:
        last: datetime = account["at"]
        return max(last, _time(message["at"]))

    def _spend(self, account: Json, message: Json, entry: Json) -> None:
        """Each single payment is kept until its day is over; what comes back is taken off the last ones."""
        if not account["cap"] or entry.get("reason", message.get("reason")) not in ("call", "gift"):
            return
        at, coins = self._now(account, message), -entry["coins"]
        if coins > 0:
            account["cap"]["paid"].append([_until(at), coins])
        paid = [one for one in account["cap"]["paid"] if one[0] > at]
        while coins < 0 and paid:
            off = min(-coins, paid[-1][1])
            paid[-1][1] -= off
            coins += off
            paid = [one for one in paid if one[1]]
        account["cap"]["paid"] = paid

    def _setcap(self, name: str, account: Json, message: Json) -> Json:
        cap = account["cap"] or {"own": None, "staff": None, "due": None, "next": None, "paid": []}
        at, coins = self._now(account, message), message.get("cap_coins")
        _turn(cap, at)
        if message.get("staff"):
            cap["staff"] = coins
        elif cap["own"] is None or (coins is not None and coins <= cap["own"]):
            cap["own"], cap["due"] = coins, None
        elif cap["due"] is None or cap["next"] != coins:
            cap["due"], cap["next"] = at + timedelta(days=1), coins
        account["cap"] = cap if (cap["own"], cap["staff"]) != (None, None) and not account["closed"] else {}
        return self._entry(name, "cap")

    def _turned(self, name: str, at: datetime) -> list[Json]:
        account = self.accounts[name]
        if not account["cap"] or not _turn(account["cap"], at):
            return []
        if (account["cap"]["own"], account["cap"]["staff"]) == (None, None):
            account["cap"] = {}
        return [self._entry(name, "cap")]

    def _wake(self, message: Json) -> list[Json]:
        if message["key"] not in self.accounts:
            return []
        holds = self.accounts[message["key"]]["holds"]
        ended = [hold for hold, held in holds.items() if _time(held["expires_at"]) <= _time(message["at"])]
        entries = [self._end(message["key"], "expire", hold) for hold in ended]
        entries += self._turned(message["key"], _time(message["at"]))
        return entries + self._afterwards(message["key"], message)
