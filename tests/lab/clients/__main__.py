"""`python -m tests.lab.clients`: clients in five languages without a warning; those in TypeScript and Python then work.

Each of the two signs up on a platform of its own, reads its balance, follows its feed, is away while coins come, and goes on
behind what it had seen. Where there is no Node, what takes it is left out and said so; `--make-only` starts no platform.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from infra import tokens
from infra.config import DEMO_PROJECT, load
from serving.app import build
from tests.lab.clients.makers import (
    LANGUAGES,
    MakerError,
    check_asyncapi,
    in_clients,
    make_by_openapi_generator,
    make_python,
    make_typescript,
)
from tests.lab.stage import Stage
from tests.sources import ROOT

ASYNCAPI: Final = ROOT / "schemas" / "exported" / "asyncapi.json"


class Phone:
    """A client as a process: it says a line for what it has seen, and goes on when it is told to."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self, line: str) -> None:
        """Wait for its next line. Errors: MakerError, if that is another one."""
        assert self.process.stdout is not None
        if (found := self.process.stdout.readline().strip()) != line:
            self.process.kill()
            raise MakerError(f"the client said {found!r}, not {line!r}")

    def go_on(self) -> None:
        """It was away long enough."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def try_out(name: str, command: list[str], folder: Path, url: str) -> None:
    """Sign up, balance, feed, break, resume. Errors: MakerError."""
    user = f"client-{name}"
    admin = {"Authorization": f"Bearer {tokens.token(DEMO_PROJECT, 'root', 'admin')}"}

    def grant(coins: int) -> None:
        body = {"account": f"{user}/coins", "coins": coins, "ref": "try out"}
        headers = {**admin, "Idempotency-Key": f"{user}-{coins}"}
        httpx.post(f"{url}/v1/admin/grants", json=body, headers=headers, timeout=10).raise_for_status()

    phone = Phone([*command, url, tokens.token(DEMO_PROJECT, user, "user")], folder)
    phone.says("balance 0")
    phone.says("ready")
    grant(5)
    phone.says("entry 5")
    grant(7)
    phone.go_on()
    phone.says("entry 7")
    if phone.process.wait(20):
        raise MakerError("the client failed at its end")


def main(make_only: Annotated[bool, typer.Option("--make-only", help="start no platform")] = False) -> None:
    """Make clients in five languages; let two of them work."""
    if without_node := not (shutil.which("node") and shutil.which("npm")):
        print("skipped: TypeScript and AsyncAPI's parser, since there is no node and npm on the PATH")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        document = folder / "openapi.json"
        app, _, _ = build(load())
        document.write_text(json.dumps(app.openapi()))
        phones = {"python": in_clients("python", "phone.py")}
        try:
            for language, name in LANGUAGES.items():
                make_by_openapi_generator(language, document, folder)
                print(f"made without a warning: {name}")
            make_python(document, folder)
            print("made without a warning: Python")
            if not without_node:
                check_asyncapi(ASYNCAPI)
                make_typescript(document, folder)
                print("made without a warning: TypeScript; asyncapi.json is valid")
                phones["typescript"] = ["node", "phone.js"]
            if not make_only:
                work(phones, folder)
        except MakerError as error:
            print(error)
            raise SystemExit(1) from None


def work(phones: dict[str, list[str]], folder: Path) -> None:
    """Each phone on a platform of their own. Errors: MakerError."""
    stage = Stage(folder / "olo")
    try:
        for name, command in phones.items():
            try_out(name, command, folder, stage.http)
            print(f"signed up, read its balance, followed its feed and resumed: {name}")
    finally:
        stage.stop()


if __name__ == "__main__":
    typer.run(main)
