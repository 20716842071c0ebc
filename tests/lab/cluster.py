"""Three real Kafka nodes on this machine, each broker and controller, so that any of them can be killed, ended or frozen.

The jars are those of the embedded broker. Everything that the cluster keeps for itself has three copies, as the topics of a
platform with `OLO_REPLICATION_FACTOR=3` have; a record counts when two of them have it.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from infra.broker import NODE, prepare_node
from infra.config import Config, load
from infra.kafka import quiet
from infra.machine import launch
from infra.ports import free_port

NODES: Final = 3
MEMORY: Final = ("-Xmx384m", "-Xms128m")
TRANSACTIONS: Final = "__transaction_state"
COORDINATORS: Final = 4
# A node that does not come up, end or catch up within so long never will.
NODE_S: Final = 120.0

PROPERTIES: Final = (
    NODE
    + """\
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions={coordinators}
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions={coordinators}
broker.session.timeout.ms={session_ms}
"""
)


class Node(NamedTuple):
    """A node's number (its id), port and command line."""

    number: int
    port: int
    command: list[str]


class Cluster:
    """Three nodes in `folder`, which run from the start on. `session_s`: a node that is not heard of for so long is taken for
    away. Errors: RuntimeError, where a node does not do what it is told."""

    def __init__(self, folder: Path, session_s: float) -> None:
        self._folder = folder.absolute()
        taken: set[int] = set()
        while len(taken) < 2 * NODES:
            taken.add(free_port(taken))
        ports = sorted(taken)
        self.voters = ",".join(f"{number}@127.0.0.1:{ports[-number]}" for number in range(1, NODES + 1))
        self._session_ms = int(session_s * 1_000)
        with ThreadPoolExecutor(NODES) as pool:  # the first one downloads the jars, if need be
            first = self._prepare(1, ports)
            self.nodes = {1: first} | {node.number: node for node in pool.map(lambda n: self._prepare(n, ports), (2, 3))}
        self.brokers = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes.values())
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._admin: AdminClient | None = None

    def _prepare(self, number: int, ports: list[int]) -> Node:
        folder = self._folder / f"kafka-{number}"
        port, controller_port = ports[number - 1], ports[-number]
        text = PROPERTIES.format(
            number=number, voters=self.voters, port=port, controller_port=controller_port, data=folder / "data",
            coordinators=COORDINATORS, session_ms=self._session_ms,
        )  # fmt: skip
        return Node(number, port, prepare_node(folder, text, MEMORY, lambda _: None))

    @property
    def config(self) -> Config:
        """What reaches it."""
        return load(brokers=self.brokers)

    # --- what is done to it --------------------------------------------------------------------------------------------------

    def start(self, *numbers: int) -> None:
        """Start nodes; `wait_in_step` waits for them. To be called in the main thread: a node ends with the thread that starts
        it."""
        for number in numbers:
            with (self._folder / f"kafka-{number}.log").open("ab") as log:
                command = self.nodes[number].command
                self._processes[number] = launch(command, by=signal.SIGKILL, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, number: int) -> None:
        """kill -9."""
        self._processes[number].kill()
        self._processes[number].wait()

    def end(self, number: int) -> None:
        """Ask a node to end, as one does who restarts it: it hands over what it leads."""
        self._processes[number].terminate()
        self._processes[number].wait(NODE_S)

    def freeze(self, number: int) -> None:
        """A node stands still, and its connections stay open."""
        os.kill(self._processes[number].pid, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """It goes on, and believes that it is what it was."""
        os.kill(self._processes[number].pid, signal.SIGCONT)

    def stop(self) -> None:
        """The end of all that run."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    # --- how it stands -------------------------------------------------------------------------------------------------------

    def metadata(self) -> ClusterMetadata:
        """As a node that answers knows it. Errors: KafkaException."""
        self._admin = self._admin or AdminClient(quiet(self.config))
        return self._admin.list_topics(timeout=5)

    def leader_of(self, topic: str, partition: int) -> int:
        """The node that leads a partition now. Errors: KafkaException, KeyError."""
        return int(self.metadata().topics[topic].partitions[partition].leader)

    def coordinator_of(self, transactional_id: str) -> int:
        """The node that coordinates a slot's transactions now."""
        return self.leader_of(TRANSACTIONS, coordinator_partition(transactional_id, COORDINATORS))

    def wait_in_step(self) -> float:
        """Wait until all nodes are there and every partition has all its copies in step; how many seconds that took."""
        began = time.monotonic()
        self._until("all copies are in step", self._whole)
        return time.monotonic() - began

    def _whole(self) -> bool:
        found = self.metadata()
        return len(found.brokers) == NODES and not behind(found)

    @staticmethod
    def _until(what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + NODE_S
        while True:
            try:
                if ready():
                    return
            except KafkaException:
                pass  # the node that was asked is the one that is away
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {NODE_S:.0f} s: {what}")
            time.sleep(0.1)


def behind(cluster: ClusterMetadata) -> list[str]:
    """Partitions ("<topic>/<partition>") without a leader, or with a copy that is not in step, the brokers' own, too."""
    return [
        f"{name}/{part.id}"
        for name, topic in cluster.topics.items()
        for part in topic.partitions.values()
        if part.leader < 0 or len(part.isrs) < len(part.replicas)
    ]


def coordinator_partition(transactional_id: str, partitions: int) -> int:
    """The partition of `__transaction_state` whose leader coordinates a transactional id: Java's hash of the string, without
    its sign, modulo the partitions. Source: `TransactionStateManager.partitionFor` of Apache Kafka. ASCII ids only."""
    hashed = 0
    for letter in transactional_id:
        hashed = (31 * hashed + ord(letter)) & 0xFFFFFFFF
    return (hashed & 0x7FFFFFFF) % partitions
