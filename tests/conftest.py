"""One real platform for the whole run: broker, ClickHouse engine, flows and HTTP, started by `olo up` on free ports."""

import os
import signal
import subprocess
import sys
import time
import uuid

import httpx
import pytest

from infra import tokens
from infra.stage import Stage


class Stack(Stage):
    """The platform under test."""

    def kill(self, role, number=signal.SIGKILL):
        """Signal a child; wait until the supervisor has started the next one."""
        pid = self.child(role)["pid"]
        os.kill(pid, number)
        return eventually(lambda: self.child(role)["pid"] not in (pid, None) and self.child(role)["pid"])

    def olo(self, *arguments):
        """Run the command line against this platform."""
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments],
            env=self.environment | {"COLUMNS": "250"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


def eventually(found, limit_s=30.0):
    """Wait until `found()` gives something true, and give it."""
    deadline = time.monotonic() + limit_s
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)


class Api:
    """An HTTP client with a token; `user` signs up on first use."""

    def __init__(self, stack, user, role="user"):
        self.user = user
        self.token = tokens.token("demo-olo", user, role)
        self.client = httpx.Client(
            base_url=stack.http, headers={"Authorization": f"Bearer {self.token}"}, timeout=30, trust_env=False
        )

    def __getattr__(self, name):
        return getattr(self.client, name)

    def place(self, path, key=None, **body):
        """POST a money command under an idempotency key."""
        return self.client.post(path, json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())})

    def balance(self, **parameters):
        return self.client.get("/v1/balance", params=parameters)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("olo") / "home")
    yield stack
    assert stack.stop() == 0


@pytest.fixture(scope="session")
def admin(stack):
    return Api(stack, "root", "admin")


@pytest.fixture
def new_user(stack):
    """Makes users that are signed up."""

    def make(role="user", **known):
        api = Api(stack, f"u-{uuid.uuid4().hex[:10]}", role)
        assert api.post("/v1/users", json=known).status_code == 201
        return api

    return make
