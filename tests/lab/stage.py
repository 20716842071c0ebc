"""A platform of one's own, in a folder of its own, for proofs, benchmarks and tests: `olo up` as a child, on free ports."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from infra.config import Config, load
from infra.endpoints import endpoints_of

# A first start downloads the broker's jars; a machine under load takes its time.
START_S = 180.0
# What proofs and tests do with a handful of users, a city does with thousands.
MANY = {f"OLO_RATE_{who}": "100000/second" for who in ("USER", "WRITE", "STAFF")} | {"OLO_OPEN_REQUESTS": "1000"}


class Stage:
    """A running platform, as its endpoints file tells. `environment`: settings for it; `module`: whose command `up` it is.
    Errors: RuntimeError with its output."""

    module = "infra.cli"

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "up.log"
        given = {"OLO_HOME": str(home), "OLO_HTTP_PORT": "0", "PYTHONUNBUFFERED": "1", **MANY, **environment}
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("OLO_")} | given
        self.start()

    def start(self) -> None:
        """Start it; once more, behind `stop`: on the data that it has."""
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", self.module, "up"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_S
        while "ready;" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"the platform did not come up:\n{self.log.read_text()}")
            time.sleep(0.1)

    @property
    def endpoints(self) -> dict[str, Any]:
        """Where everything is now."""
        return endpoints_of(self.home)

    @property
    def http(self) -> str:
        """The first serving process."""
        return str(self.endpoints["http"])

    @property
    def brokers(self) -> str:
        """The broker."""
        return str(self.endpoints["brokers"])

    @property
    def clickhouse(self) -> str:
        """The warehouse."""
        return str(self.endpoints["clickhouse"])

    @property
    def config(self) -> Config:
        """Config that reach this platform."""
        return load(brokers=self.brokers, clickhouse_url=self.clickhouse, home=self.home)

    def child(self, role: str) -> dict[str, Any]:
        """One child as it stands: role, pid, url, log."""
        found: dict[str, Any] = next(child for child in self.endpoints["children"] if child["role"] == role)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the platform; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)
