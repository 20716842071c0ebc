"""`python -m serving --host H --port P`: one serving process, until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import socket
import sys
from typing import Any, Final

import uvicorn

from infra.config import Config, ConfigError, load
from infra.cycles import Cycles
from infra.film_urls import secret_of
from infra.machine import allow_open_files
from serving.app import build
from serving.pulse_board import Board
from serving.runtime.connection import bounded
from serving.runtime.feed import Hub
from serving.runtime.listener import ListeningServer
from serving.runtime.rates import Rates

LOOK_S: Final = 60.0


class Server(ListeningServer):
    """Lets go of the streams first: they would hold up the end until their token runs out."""

    def __init__(self, config: uvicorn.Config, hub: Hub, board: Board) -> None:
        super().__init__(config)
        self._hub = hub
        self._board = board

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Views and streams are long-lived: they are looked through for cycles once a minute."""
        cycles = Cycles(LOOK_S / 2)
        while True:
            await asyncio.sleep(LOOK_S)
            cycles.turn()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        self._board.cut()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        config = load()
        secret_of(config)  # what production needs is missed at the start, not at the first play
    except ConfigError as error:
        sys.exit(f"serving: {error}")
    allow_open_files()
    app, front, hub = build(config)
    Server(
        uvicorn.Config(front, host=given.host, port=given.port, **options(config, app.state.rates)), hub, app.state.board
    ).run()


def options(config: Config, rates: Rates) -> dict[str, Any]:
    """uvicorn's settings. `rates`: those of the door."""
    return {
        # It warns of each request that is no HTTP, which is as many lines as somebody outside likes.
        "log_level": "error",
        "access_log": False,
        "timeout_graceful_shutdown": 3,
        "http": bounded(config, rates),
        "ws": "none",
        # Without the second one it would ask a variable of its own, and believe the loopback.
        "proxy_headers": bool(config.trusted_proxies),
        "forwarded_allow_ips": config.trusted_proxies,
    }


if __name__ == "__main__":
    main()
