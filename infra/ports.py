"""Free ports on this machine, and who listens on them."""

import json
import socket
from pathlib import Path
from typing import Any


class Ports:
    """Free ports, remembered: a second start uses the same ones where it can, so that bookmarks stay right."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, int] = json.loads(file.read_text()) if file.is_file() else {}

    def of(self, role: str) -> int:
        """The port of a role."""
        port = self._known.get(role, 0)
        if not port or answers(port):
            port = free_port(set(self._known.values()))
        self._known[role] = port
        replace(self._file, self._known)
        return port


def free_port(taken: set[int]) -> int:
    """A port that nobody listens on, and that is not among `taken`."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def answers(port: int) -> bool:
    """Whether somebody listens on a port here."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def replace(file: Path, content: Any) -> None:
    """Write JSON in one piece: a reader sees the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1))
    new.replace(file)
