"""What runs in a folder: the file in which `olo up` tells where everything is, and the lock that keeps others out.

`$OLO_HOME/endpoints.json`: {"http", "brokers", "clickhouse", "pid", "children": [{"role", "pid", "url", "log", "deaths",
"started", "died"}]}; written anew, in one piece, whenever a child starts or dies. A child's `url` is that of its metrics, or
its own. Errors: `UsageError`.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from infra.config import Config, load
from infra.errors import UsageError


def endpoints_of(home: Path) -> dict[str, Any]:
    """What runs in a folder, as its endpoints file tells; empty: nothing does."""
    file = home / "endpoints.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def scraped(children: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where the processes tell their metrics, as Prometheus' HTTP service discovery wants it (prometheus.io/docs): a target for
    each, with its `role` and, of a flow, of the views or of serving, its `process`, the role without the slot."""
    found = []
    for child in children:
        role, address = child["role"], urlsplit(child["url"])
        process, _, slot = role.rpartition("-")
        process = process if slot.isdigit() else role
        if address.path == "/metrics" or process == "serving":
            host = "127.0.0.1" if address.hostname == "0.0.0.0" else address.hostname  # noqa: S104 - what is listened on
            found.append({"targets": [f"{host}:{address.port}"], "labels": {"role": role, "process": process}})
    return found


def config_here() -> Config:
    """The settings; what `olo up` started is found by its endpoints file."""
    config = load()
    if found := endpoints_of(config.home):
        config = config.model_copy(
            update={
                "brokers": config.brokers or found["brokers"],
                "clickhouse_url": config.clickhouse_url or found["clickhouse"],
            }
        )
    return config


@contextmanager
def only_one(home: Path) -> Iterator[IO[str]]:
    """Hold a folder for this process; it is made, for its owner alone. Errors: UsageError."""
    os.umask(0o077)  # what is written here, by children too, is the owner's: logs, data, and where everything is
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"Olo runs already in {home}; stop it first, or set OLO_HOME to another folder") from None
        yield lock
