"""`olo up`: the whole platform on one machine, a step at a time, and the file that tells where everything is.

Errors: `PlatformError`, one line that says what to do, and `UsageError`. Where everything is: `infra/endpoints.py`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from rich.console import Console
from rich.table import Table

from infra import broker
from infra.config import EMULATOR_VARIABLE, Config, Environment
from infra.endpoints import only_one
from infra.errors import UsageError
from infra.machine import launch
from infra.pages import Building
from infra.ports import Ports, answers, replace
from infra.readiness import Ready, answers_well
from infra.supervisor import Child, Supervisor
from infra.warehouse import door
from schemas.log.entity import Flow

# A child that is not ready and has done nothing for so long hangs.
READY_S: Final = 90.0
# A broker that is not ours is asked so often, ten seconds each time, before its address is taken for wrong.
BROKER_TRIES: Final = 3


class PlatformError(Exception):
    """The platform cannot start; the text says why and what to do."""


class Platform:
    """Everything that `olo up` starts, in order; `up` blocks until a signal."""

    def __init__(self, config: Config, console: Console, *, stand_ins: list[str] | None = None) -> None:
        self.stand_ins = stand_ins
        self.stand_ins_environment: dict[str, str] = {}
        self.config = config
        self.home = config.home.absolute()
        self.console = console
        self.brokers = config.brokers
        self.broker: Child | None = None
        self.clickhouse = self.clickhouse_of_people = config.clickhouse_url
        self.http = ""
        self.ports = Ports(self.home / "ports.json")
        self.pages: Building | None = None
        self.supervisor = Supervisor(lambda line: console.print(f"[yellow]olo:[/] {line}"), self.write_endpoints)

    # --- what it is made of ----------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """What children need to know beyond the settings of this process."""
        found = {
            "OLO_BROKERS": self.brokers,
            "OLO_CLICKHOUSE_URL": self.clickhouse,
            "OLO_HOME": str(self.home),
            "PYTHONUNBUFFERED": "1",
        } | self.stand_ins_environment
        if self.config.env is Environment.DEVELOPMENT:
            found[EMULATOR_VARIABLE] = os.environ.get(EMULATOR_VARIABLE, "127.0.0.1:9099")
        return found

    def child(self, role: str, command: list[str], url: str = "", *, foundation: bool = False) -> Child:
        """Start a child under a role, its log named after it."""
        log = self.home / "logs" / f"{role}.log"
        return self.supervisor.add(Child(role, command, log, url, self.environment, foundation))

    def start_broker(self, tell: Callable[[str], None]) -> None:
        """The embedded broker, unless `OLO_BROKERS` names one."""
        if self.config.brokers:
            return
        port = self.ports.of("broker")
        command = broker.prepare(self.home / "kafka", port, self.ports.of("controller"), tell)
        self.brokers = f"127.0.0.1:{port}"
        self.broker = self.child("broker", command, self.brokers, foundation=True)
        tell("waiting for the broker ...")
        self.supervisor.wait_until(self.broker, lambda: answers(port), READY_S)
        broker.hasten(self.home / "kafka")

    def create_topics(self, tell: Callable[[str], None]) -> None:
        """Whatever the map of topics has and the broker lacks. Our own broker is waited for as long as it works."""
        if self.broker:
            self.supervisor.wait_until(self.broker, lambda: not self._lacks_topics(tell), READY_S)
            return
        for _ in range(BROKER_TRIES):
            if not (why := self._lacks_topics(tell)):
                return
            if self.supervisor.stopping:
                raise KeyboardInterrupt
        raise PlatformError(f"OLO_BROKERS: no broker answers at {self.brokers}: {why}")

    def _lacks_topics(self, tell: Callable[[str], None]) -> str:
        """Try to create the topics; why the broker has not done it yet, or nothing. Errors: PlatformError."""
        from infra.topics import create_topics
        from schemas.log.topics import topics

        try:
            create_topics(self.config.model_copy(update={"brokers": self.brokers}), topics())
        except UsageError as error:
            raise PlatformError(str(error)) from None
        except Exception as error:
            tell(f"still waiting for the broker at {self.brokers} ... ({error})")
            return str(error) or type(error).__name__
        return ""

    def launch(self, _: Callable[[str], None]) -> None:
        """Whatever needs the log alone starts at once, side by side; later steps wait for each."""
        from infra.vendors.stand_in_store import settings_for

        self.stand_ins_environment = settings_for(self.config, self.home / "store")
        if self.stand_ins:
            self._launch_stand_ins(self.stand_ins)
        for name, processes in self.flows.items():
            for slot in range(processes):
                self._start_flow(name, slot)
        port = self.ports.of("views")
        command = [sys.executable, "-m", "serving.view_store", "--metrics-port", str(port)]
        self.child("views", command, f"http://127.0.0.1:{port}/metrics")
        for slot in range(self.config.serving_processes):
            port = (self.config.http_port or self.ports.of("serving-0")) if slot == 0 else self.ports.of(f"serving-{slot}")
            url = f"http://{self.config.http_host}:{port}"
            self.http = self.http or url
            command = [sys.executable, "-m", "serving", "--host", self.config.http_host, "--port", str(port)]
            self.child(f"serving-{slot}", command, url)

    def launch_warehouse(self) -> None:
        """The embedded ClickHouse engine, unless `OLO_CLICKHOUSE_URL` names a server."""
        if self.config.clickhouse_url:
            return
        port = self.ports.of("warehouse")
        words = door.passwords(self.home / "passwords.json")
        self.clickhouse = door.url(door.PLATFORM, words[door.PLATFORM], port)
        self.clickhouse_of_people = door.url(door.PEOPLE, words[door.PEOPLE], port)
        command = [sys.executable, "-m", "infra.warehouse", str(self.home), str(port)]
        self.child("warehouse", command, f"http://127.0.0.1:{port}", foundation=True)

    def _launch_stand_ins(self, command: list[str]) -> None:
        """Stand-ins for ad networks and analytics. Without a port the command prints the settings that lead to them, as JSON
        with `{url}` in it; with a port it serves them."""
        port = self.ports.of("vendors")
        url = f"http://127.0.0.1:{port}"
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.stand_ins_environment |= json.loads(told.replace("{url}", url))
        self.child("vendors", [*command, str(port)], url)

    @property
    def flows(self) -> dict[str, int]:
        """The flows that need the log alone, and how many processes each has."""
        given = self.config
        return {
            "money": given.money_processes,
            "live": given.live_processes,
            "growth": given.growth_processes,
            "dispatch": 1,
            "pulse": 1,
        }

    def _start_flow(self, name: str, slot: int) -> None:
        port = self.ports.of(f"{name}-{slot}")
        module = ["pipelines.flows.host", name] if name in tuple(Flow) else [f"pipelines.flows.{name}"]
        command = [sys.executable, "-m", *module, "--slot", str(slot), "--metrics-port", str(port)]
        self.child(f"{name}-{slot}", command, f"http://127.0.0.1:{port}/metrics")

    def start_warehouse(self, tell: Callable[[str], None]) -> None:
        """Wait for ClickHouse and make the tables."""
        from infra.clickhouse import migrate

        if not self.config.clickhouse_url:
            tell("waiting for the warehouse ...")
            self._wait("warehouse", lambda child: answers_well(f"{child.url}/ping"))
        try:
            migrate(self.clickhouse)
        except Exception as error:
            where = self.clickhouse.rpartition("@")[2]
            raise PlatformError(f"OLO_CLICKHOUSE_URL: the tables cannot be made at {where}: {error}") from error

    def start_store(self, _: Callable[[str], None]) -> None:
        """The flow that writes the tables."""
        self._start_flow("store", 0)

    def _wait(self, role: str, ready: Callable[[Child], bool]) -> None:
        for child in [c for c in self.supervisor.children if c.role.rpartition("-")[0] == role or c.role == role]:
            self.supervisor.wait_until(child, partial(ready, child), READY_S)

    def wait_for_flows(self, tell: Callable[[str], None]) -> None:
        """Each flow's process has its share of the log."""
        for name in (*self.flows, "store"):
            tell(f"waiting for {name} ...")
            ready, left = (f'{metric}{{flow="{name}"}}' for metric in ("olo_assigned_partitions", "olo_restoring_records"))
            self._wait(name, Ready(ready, left, tell))

    def wait_for_views(self, tell: Callable[[str], None]) -> None:
        """The views' store is complete, which takes as long as the log is large, once."""
        tell("waiting for the views' store ...")
        self._wait("views", Ready("olo_view_store_ready", "olo_view_store_behind_records", tell))

    def wait_for_serving(self, tell: Callable[[str], None]) -> None:
        """The HTTP processes answer; the first one has the port that people know."""
        tell("waiting for the HTTP side ...")
        self._wait("serving", lambda child: answers_well(f"{child.url}/readyz"))

    # --- up --------------------------------------------------------------------------------------------------------------

    def steps(self) -> Iterator[tuple[str, Callable[[Callable[[str], None]], None]]]:
        """The steps of `up`, in order."""
        yield "broker", self.start_broker
        yield "topics", self.create_topics
        yield "processes", self.launch
        yield "warehouse", self.start_warehouse
        yield "store", self.start_store
        yield "flows", self.wait_for_flows
        yield "views", self.wait_for_views
        yield "HTTP", self.wait_for_serving

    def up(self, city: list[str] | None = None) -> int:
        """Start everything, tell where it is, keep it alive until SIGINT or SIGTERM. Errors: PlatformError, UsageError.

        `city`: a command to run on it; when that ends, so does the platform. Gives its exit status, 0 without one."""
        with only_one(self.home):
            self._port_is_free()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: setattr(self.supervisor, "stopping", True))
            began = time.monotonic()
            try:
                self.launch_warehouse()  # it needs nothing else, and the broker's start is a wait for one core
                self.pages = Building(lambda line: self.console.print(f"olo: {line}", highlight=False, markup=False))
                for name, step in self.steps():
                    self._step(name, step)
                self._tell_where(time.monotonic() - began)
                if city:
                    return self._live(city)
                while not self.supervisor.stopping:
                    self.tend()
                    time.sleep(0.05)
            except KeyboardInterrupt:
                pass
            except RuntimeError as error:
                raise PlatformError(str(error)) from error
            finally:
                self.console.print("olo: stopping ...")
                if self.pages:
                    self.pages.stop()
                self.supervisor.stop()
                (self.home / "endpoints.json").unlink(missing_ok=True)
        return 0

    def tend(self) -> None:
        """Look after the children, and after the pages while they are being built."""
        self.supervisor.tend()
        if self.pages:
            self.pages.tend()

    @contextmanager
    def foundation(self) -> Iterator[dict[str, str]]:
        """The broker and the warehouse alone, for work beside which no flow runs; the environment that leads to them. Errors:
        PlatformError."""
        with only_one(self.home):
            try:
                self.launch_warehouse()
                self.start_broker(lambda _: None)
                self.start_warehouse(lambda _: None)
                yield self.environment
            except RuntimeError as error:
                raise PlatformError(str(error)) from error
            finally:
                self.supervisor.stop()
                (self.home / "endpoints.json").unlink(missing_ok=True)

    def _live(self, command: list[str]) -> int:
        """Keep everything alive until the city has ended; a signal asks it to close its books."""
        # Killed when this is gone: no books can be closed on a platform that is not there.
        process = launch(command, by=signal.SIGKILL, env=os.environ | self.environment)
        asked = False
        try:
            while process.poll() is None:
                if self.supervisor.stopping and not asked:
                    process.send_signal(signal.SIGINT)
                    asked = True
                self.tend()
                time.sleep(0.05)
        finally:
            process.kill()
        return process.returncode

    def _step(self, name: str, step: Callable[[Callable[[str], None]], None]) -> None:
        began = time.monotonic()
        with self.console.status(f"{name} ...") as status:

            def tell(line: str) -> None:
                status.update(f"{name}: {line}")
                if not self.console.is_terminal:
                    self.console.print(f"  {name}: {line}")

            step(tell)
        self.console.print(f"  [green]ok[/] {name:<12} {time.monotonic() - began:5.1f} s")

    def _port_is_free(self) -> None:
        host, port = self.config.http_host, self.config.http_port
        if port and answers(port):
            raise PlatformError(f"port {port} on {host} is taken; set OLO_HTTP_PORT to a free one (0: any)")

    def write_endpoints(self) -> None:
        """Where everything is, in one piece."""
        children = [{"role": c.role, "pid": c.pid, "url": c.url, "log": str(c.log)} | c.lives for c in self.supervisor.children]
        found = {"http": self.http, "brokers": self.brokers, "clickhouse": self.clickhouse_of_people, "pid": os.getpid()}
        replace(self.home / "endpoints.json", found | {"children": children})

    def _tell_where(self, took: float) -> None:
        self.write_endpoints()
        table = Table(title=f"Olo is ready ({took:.1f} s)", title_justify="left")
        table.add_column("what")
        table.add_column("where", no_wrap=True)
        for what, where in (
            ("two phones, to try", f"{self.http}/phone?two"),
            ("panel", f"{self.http}/panel"),
            ("HTTP API", f"{self.http}/v1"),
            ("API documents", f"{self.http}/docs"),
            ("feed (SSE)", f"{self.http}/v1/feed"),
            ("Kafka", self.brokers),
            ("ClickHouse", self.clickhouse_of_people),
            ("logs", str(self.home / "logs")),
        ):
            table.add_row(what, where)
        self.console.print(table)
        self.console.print("ready; Ctrl-C stops everything, the data stays. Next: [bold].venv/bin/olo token --user ann[/]")
