"""`python -m serving.view_store --metrics-port P`: keeps the views' store of this machine, until SIGTERM or SIGINT."""

import argparse
import gc
import logging
import signal
import sys

from confluent_kafka import KafkaException
from prometheus_client import start_http_server

from infra.config import ConfigError, load
from infra.errors import UsageError
from serving.view_store.folder import Folder, Taken
from serving.view_store.keeper import Keeper
from serving.view_store.store import StoreError


def main() -> None:
    """Keep the views until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--metrics-port", type=int, default=0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        config = load()
    except ConfigError as error:
        sys.exit(f"views: {error}")
    folder = Folder(config.home.absolute())
    keeper = Keeper(config, folder)
    # A batch is thousands of objects without cycles among them.
    gc.set_threshold(100_000, 50, 100)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(keeper, "stopping", True))
    try:
        with folder.writing():
            if given.metrics_port:
                start_http_server(given.metrics_port, "127.0.0.1")
            keeper.run()
    except (Taken, UsageError, StoreError, KafkaException, TimeoutError, OSError) as error:
        sys.exit(f"views: {error}")


if __name__ == "__main__":
    main()
