"""Serve a home's warehouse until SIGTERM: `python -m infra.warehouse HOME PORT`. Its data are in `HOME/clickhouse`."""

import sys
from pathlib import Path

import uvicorn

from infra.config import load
from infra.warehouse import door
from infra.warehouse.engine import Engine
from infra.warehouse.server import application


def main() -> None:
    """Serve; one process at a time may have a folder."""
    home, port = Path(sys.argv[1]), int(sys.argv[2])
    origins = frozenset(filter(None, load().clickhouse_origins.split(",")))
    app = application(Engine(home / "clickhouse"), door.passwords(home / "passwords.json"), origins)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
