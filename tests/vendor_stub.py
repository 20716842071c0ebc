"""Local stand-ins for outside services: they check contracts, remember requests, and misbehave on request."""

import base64
import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.lab.city.json_server import Answer, JsonServer
from tests.lab.city.market import Market
from tests.lab.city.vendors import AdVendors, environment, serve

# Of what is wrong with a request: the status and why.
Wrong = tuple[int, str]


class AdStub(AdVendors):
    """Those of the city, serving, with those who push. `keys`: a folder for theirs; `market`: the stores."""

    def __init__(self, keys: Path, market: Market | None = None) -> None:
        super().__init__()
        self.server = serve(self, keys=keys, known=market)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.environment = environment(self.url, keys)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, provider: str, *users: str) -> dict[str, str]:
        """What a provider has taken about users: id -> event."""
        return {id_: event for id_, (event, _) in self.taken[provider].items() if any(user in id_ for user in users)}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class VendorStub:
    """Agora's kicking rules and Twilio's rooms. `trouble`: answers to give first about a room, as (status, headers)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.trouble: defaultdict[str, list[tuple[int, dict[str, str]]]] = defaultdict(list)
        self.environment: dict[str, str] = {}
        self._server = JsonServer(lambda _, path, headers, body: self.answer(path, headers, body))
        self.url = self._server.url

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        user = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
        if path == "/dev/v1/kicking-rule":
            told = json.loads(body)
            self.requests.append(("agora", user, told))
            wrong, room = agora_wrong(user, told), told["cname"]
        else:
            told = dict(parse_qsl(body.decode()))
            self.requests.append(("twilio", user, {"room": path.rpartition("/")[2], **told}))
            wrong, room = twilio_wrong(user, path, told), path.rpartition("/")[2]
        if self.trouble[room]:
            status, more = self.trouble[room].pop(0)
            return status, more, {"message": f"trouble {status}"}
        if wrong:
            return wrong[0], {}, {"message": wrong[1]}
        return 200, {}, {"status": "success", "id": len(self.requests)}

    def about(self, subject: str) -> list[dict[str, Any]]:
        return [told for _, _, told in self.requests if subject in (told.get("cname"), told.get("room"))]

    def close(self) -> None:
        self._server.close()


def agora_wrong(user: str, told: dict[str, Any]) -> Wrong | None:
    """What Agora would refuse; None: nothing."""
    if user != "customer:secret":
        return 401, "Invalid authentication credentials"
    if told["appid"] != "a" * 32 or not 0 < len(told["cname"].encode()) < 64 or told["ip"] != "" or "uid" in told:
        return 400, "bad request"
    if not 1 <= told["time"] <= 1440 or not set(told["privileges"]) <= {"join_channel", "publish_audio", "publish_video"}:
        return 400, "bad time or privileges"
    return None


def twilio_wrong(user: str, path: str, told: dict[str, Any]) -> Wrong | None:
    """What Twilio would refuse; None: nothing."""
    if user != "SK1:" + "keysecret" * 4:
        return 401, "Authenticate"
    if not path.startswith("/v1/Rooms/"):
        return 404, "not found"
    if told != {"Status": "completed"}:
        return 400, "Status is wrong"
    return None
