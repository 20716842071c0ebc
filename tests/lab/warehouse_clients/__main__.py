"""Try clients of other languages against an embedded warehouse of its own: `python -m tests.lab.warehouse_clients [NAME ...]`.

Each asks for `7` and `é` in its own way, and most write a row and read it back. A client whose language is not on this machine
is left out, with the reason. Ends with 1 when one fails.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from infra.config import load
from infra.ports import free_port
from infra.warehouse import door

HERE: Final = Path(__file__).parent
START_S: Final = 60.0
TRY_S: Final = 300.0
JDBC: Final = "com.clickhouse:clickhouse-jdbc:0.9.5"
JAVASCRIPT: Final = "@clickhouse/client@1"
GO: Final = "github.com/ClickHouse/clickhouse-go/v2@v2.51.0"


class MissingError(Exception):
    """This machine lacks what the client needs; the text names it."""


@contextmanager
def warehouse() -> Iterator[str]:
    """The URL of a warehouse without a platform."""
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port(set())
        password = door.passwords(home / "passwords.json")[door.PEOPLE]
        process = subprocess.Popen([sys.executable, "-m", "infra.warehouse", str(home), str(port)])
        try:
            deadline = time.monotonic() + START_S
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the warehouse does not come up")
                time.sleep(0.1)
            yield door.url(door.PEOPLE, password, port)
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ping").is_success
    except httpx.HTTPError:
        return False


def _needs(*commands: str) -> None:
    if missing := [command for command in commands if not shutil.which(command)]:
        raise MissingError(f"there is no {' and no '.join(missing)} here")


def _run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=TRY_S).stdout


def connect(url: str, _: Path) -> str:
    """clickhouse-connect."""
    import clickhouse_connect

    return str(clickhouse_connect.get_client(dsn=url).query("SELECT 7, 'é'").result_rows)


def sqlalchemy(url: str, _: Path) -> str:
    """SQLAlchemy, by clickhouse-connect's dialect."""
    try:
        from sqlalchemy import create_engine, inspect, text
    except ImportError:
        raise MissingError("there is no sqlalchemy here") from None
    engine = create_engine(url.replace("http://", "clickhousedb://"))
    assert "one" in inspect(engine).get_table_names("system")
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT 7, 'é'")).fetchall())


def jdbc(url: str, cache: Path) -> str:
    """ClickHouse's JDBC driver, which packs answers in frames."""
    _needs("java", "javac")
    import jgo

    jars = jgo.build(JDBC, cache_dir=cache / "jars").path
    parts = urlsplit(url)
    where = [f"http://127.0.0.1:{parts.port}", str(parts.username), str(parts.password)]
    return _run(["java", "-cp", f"{jars}/jars/*:{jars}/modules/*", str(HERE / "Try.java"), *where], cache)


def javascript(url: str, cache: Path) -> str:
    """ClickHouse's client for JavaScript, in a session."""
    _needs("node", "npm")
    folder = cache / "javascript"
    folder.mkdir(exist_ok=True)
    if not (folder / "node_modules").is_dir():
        _run(["npm", "install", "--silent", "--no-fund", "--no-audit", JAVASCRIPT], folder)
    shutil.copy(HERE / "try.mjs", folder)
    return _run(["node", "try.mjs", url], folder)


def go(url: str, cache: Path) -> str:
    """clickhouse-go, which asks for Native at its own version; its first build takes minutes."""
    _needs("go")
    folder = cache / "go"
    folder.mkdir(exist_ok=True)
    if not (folder / "try").is_file():
        shutil.copy(HERE / "try.go", folder / "main.go")
        if not (folder / "go.mod").is_file():
            _run(["go", "mod", "init", "try"], folder)
        for command in (["get", GO], ["mod", "tidy"], ["build", "-o", "try", "."]):
            _run(["go", *command], folder)
    return _run([str(folder / "try"), f"{url}/default"], folder)


CLIENTS: Final[dict[str, Callable[[str, Path], str]]] = {
    "connect": connect,
    "sqlalchemy": sqlalchemy,
    "jdbc": jdbc,
    "javascript": javascript,
    "go": go,
}


def main() -> int:
    """Try those that are named, or all."""
    cache = load().home.absolute() / "clients"
    cache.mkdir(parents=True, exist_ok=True)
    failed = 0
    with warehouse() as url:
        for name in sys.argv[1:] or CLIENTS:
            try:
                told = CLIENTS[name](url, cache)
                if "7" not in told or "é" not in told:
                    raise RuntimeError(f"it said {told!r}")
                print(f"{name}: ok")
            except MissingError as error:
                print(f"{name}: left out, {error}")
            except Exception as error:
                failed += 1
                print(f"{name}: failed, {error}\n{getattr(error, 'stderr', '') or ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
