"""What every flow's process does at its start: arguments, log, metrics, and one clear line when it cannot go on."""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from infra.config import Config, ConfigError, load
from infra.kafka import patiently
from infra.topics import check_topics
from pipelines.runtime import metrics
from pipelines.runtime.flow import run
from schemas.log.topics import topics

F = TypeVar("F")


def arguments(*flows: str) -> argparse.Namespace:
    """`--slot` (which of the flow's processes this is), `--metrics-port` (0: none) and, where there are several, the flow."""
    parser = argparse.ArgumentParser()
    if flows:
        parser.add_argument("flow", choices=flows)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--metrics-port", type=int, default=0)
    return parser.parse_args()


def start(
    name: str, build: Callable[[int, Config], F], given: argparse.Namespace, until_told: Callable[[str, Any], None] = run
) -> None:
    """Build the flow, of steps unless `until_told` says how else it runs, and run it until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    # it would log every URL that it asks, and with that the tokens that vendors want in there
    logging.getLogger("httpx").setLevel(logging.WARNING)
    log = logging.getLogger(f"olo.{name}")
    try:
        config = load()
    except ConfigError as error:
        sys.exit(f"{name}: {error}")
    if given.metrics_port:
        metrics.serve(given.metrics_port)
    began = time.monotonic()
    try:
        patiently("the broker", lambda: check_topics(config, topics()))
        flow = build(given.slot, config)
        log.info("slot %d connected in %.2f s", given.slot, time.monotonic() - began)
        until_told(name, flow)
        sys.exit(0)
    except Exception as error:
        log.exception("slot %d stops", given.slot)
        cause = error.__cause__ or error
        sys.exit(f"{name}: {type(cause).__name__}: {cause}")
