"""Apache Kafka, from its Maven artifacts: one node with KRaft, and Kafka's own tools."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from running import Failed, Running, free_port, run, running
from wire import ConsumerWire, ProducerWire

from peers.base import DEFAULT, DURABLE, Peer, Rates, Setting, Unavailable, for_seconds
from peers.kafka_wire import Consumer, Producer, create_topics

PINNED = "4.3.1"
POM = f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>compare</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{PINNED}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
      <version>{PINNED}</version>
    </dependency>
  </dependencies>
</project>
"""
HEAP = "-Xmx1g"
TOPIC = "speed"


class Kafka(Peer):
    name = "Apache Kafka"
    version = PINNED
    client = "ProducerPerformance and ConsumerPerformance of Kafka, acks=all"
    settings = (
        Setting(DURABLE, "log.flush.interval.messages=1"),
        Setting(DEFAULT, "its defaults: never waits for fsync"),
    )

    def prepare(self) -> None:
        for program in ("java", "mvn"):
            if shutil.which(program) is None:
                text = f"there is no {program}: apt-get install default-jdk-headless maven"
                raise Unavailable(text)
        self._jars = self.folder / PINNED
        if not (self._jars / "complete").exists():
            self._jars.mkdir(parents=True, exist_ok=True)
            (self._jars / "pom.xml").write_text(POM)
            command = ["nice", "-n", "10", "mvn", "-q", "-B", "dependency:copy-dependencies"]
            try:
                run([*command, "-DoutputDirectory=."], 1800, folder=self._jars)
            except Failed as error:
                raise Unavailable(f"cannot download Kafka {PINNED}: {error}") from error
            (self._jars / "complete").touch()

    def start(self, setting: str, data: Path) -> AbstractContextManager[Running]:
        port, controller = free_port(), free_port()
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(data / "logs"),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "max.connections": "20000",
        }
        if setting == DURABLE:
            lines["log.flush.interval.messages"] = "1"
        configuration = data / "server.properties"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        identity = "Y29tcGFyZS1zdHl4LTAwMQ"
        storage: list[object] = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            identity,
            "-c",
            configuration,
        ]
        run(self._java(storage))
        return running(self._java(["kafka.Kafka", configuration]), port, data)

    def _java(self, words: Sequence[object]) -> list[object]:
        return ["java", HEAP, "-cp", f"{self._jars}/*", *words]

    def rates(self, server: Running, size: int, seconds: float, quick: bool) -> Rates:
        address = f"127.0.0.1:{server.port}"
        written = 0

        def produce(records: int) -> float:
            nonlocal written
            tool: list[object] = ["org.apache.kafka.tools.ProducerPerformance", "--topic", TOPIC]
            tool += ["--num-records", records, "--record-size", size, "--throughput", -1]
            tool += ["--producer-props", f"bootstrap.servers={address}", "acks=all"]
            output = run(self._java(tool))
            written += records
            found = re.findall(r"records sent, ([\d.,]+) records/sec", output)
            if not found:
                raise Failed(f"ProducerPerformance printed no rate:\n{output}")
            return float(found[-1].replace(",", ""))

        create_topics(server.port, [TOPIC])
        rate = for_seconds(produce, seconds)
        reader = ["org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", address]
        reader += ["--topic", TOPIC, "--messages", str(written), "--hide-header"]
        columns = run(self._java(reader)).strip().splitlines()[-1].split(", ")
        read, consumed = int(columns[4]), float(columns[9])
        if read < written:
            raise Failed(f"{read} of {written} records were read from Kafka")
        return Rates(rate, consumed)

    def create_streams(self, server: Running, count: int) -> None:
        create_topics(server.port, [f"compare-{number}" for number in range(count)])

    def producer(self, stream: int) -> ProducerWire:
        return Producer(f"compare-{stream}")

    def consumer(self, stream: int) -> ConsumerWire:
        return Consumer(f"compare-{stream}")
