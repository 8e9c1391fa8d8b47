"""A server of our own under load, for live_check.py: made-up posts, half of the time calm."""

import json
import os
import random
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOPICS = ["crisp", "airline", "bank"]
# The crowd of this topic turns halfway.
TURNING = "crisp"
NEGATIVE_SHARE = 0.12
NEGATIVE_SHARE_TURNED = 0.55
POSTS_PER_SECOND = 120
STREAMS = 3
START_SECONDS_MAX = 60

NEGATIVE = [
    "worst {} ever, I want my money back",
    "waited an hour for {} and nobody answers, terrible service",
    "{} broke again on day two. so angry right now",
    "never again {}, rude staff and awful quality",
]
OTHER = [
    "I love {} so much, thank you!",
    "great experience with {} today, friendly and quick",
    "{} opens a new shop in town on Monday",
    "so happy with {} this week",
    "{} made my day, what a lovely team",
]


class LoadedServer:
    """`pounce serve` on free loopback ports, fed by clients for `seconds`; gone when the block ends."""

    def __init__(self, binary: Path, model: Path, seconds: float, folder: Path) -> None:
        self.binary, self.seconds, self.folder = binary, seconds, folder
        self.command = [binary, "serve", "--model", model, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]
        self.stop = threading.Event()

    def __enter__(self) -> "LoadedServer":
        nats_port = self.start_nats()
        settings = {
            "POUNCE_OBSERVATIONS": f"nats://127.0.0.1:{nats_port}",
            "POUNCE_TOPIC_LABELS": ",".join(TOPICS),
            "POUNCE_CASES": "low",
            "POUNCE_STATE_DIR": str(self.folder),
            "POUNCE_DRAIN_NOTICE": "0",
            "RUST_LOG": "info",
        }
        log = self.folder / "server.log"
        with log.open("w") as out:
            self.server = subprocess.Popen(
                self.command, env=os.environ | settings, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            serving = self.wait_for_line(log, self.server, "serving")
        except BaseException:
            self.server.kill()
            self.nats.kill()
            raise
        self.http = serving["http"]
        self.start_bridge(nats_port, serving["grpc"])
        self.feeders = [
            threading.Thread(target=self.feed, args=(f"http://{serving['grpc']}", number)) for number in range(STREAMS)
        ]
        self.feeders.append(threading.Thread(target=self.answer, args=(f"http://{serving['grpc']}",)))
        for feeder in self.feeders:
            feeder.start()
        return self

    def start_nats(self) -> int:
        """A NATS server for the observation log; its port."""
        binary = os.environ.get("NATS_SERVER", ROOT / ".cache/tools/nats/bin/nats-server")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = ["--jetstream", "--store_dir", self.folder / "nats", "--addr", "127.0.0.1", "--port", str(port)]
        with (self.folder / "nats.log").open("w") as out:
            self.nats = subprocess.Popen([binary, *words], stdout=out, stderr=subprocess.STDOUT)
        return port

    def start_bridge(self, nats_port: int, grpc: str) -> None:
        """A bridge between two streams of that NATS, and somebody who publishes posts."""
        for name, subjects in (("POSTS", ["posts"]), ("EVENTS", ["events", "events.dead"])):
            nats_request(nats_port, f"$JS.API.STREAM.CREATE.{name}", json.dumps({"name": name, "subjects": subjects}))
        url = f"nats://127.0.0.1:{nats_port}"
        words = ["--from", f"{url}/POSTS", "--to", f"{url}/EVENTS", "--addr", f"http://{grpc}"]
        log = self.folder / "bridge.log"
        with log.open("w") as out:
            self.bridge = subprocess.Popen(
                [self.binary, "bridge", *words, "--http-addr", "127.0.0.1:0"], stdout=out, stderr=subprocess.STDOUT
            )
        self.bridge_http = self.wait_for_line(log, self.bridge, "the bridge has started")["http"]
        self.publisher = threading.Thread(target=self.publish, args=(nats_port,))
        self.publisher.start()

    def publish(self, nats_port: int) -> None:
        """Posts into the bridge's source, one in ten of them bad."""
        chance, sent = random.Random(7), 0
        while not self.stop.is_set():
            bad = {"text": ""} if sent % 10 == 0 else {}
            nats_request(nats_port, "posts", json.dumps(post(chance, f"bridged-{sent}", False) | bad))
            sent += 1
            self.stop.wait(0.1)

    def wait_for_line(self, log: Path, process: subprocess.Popen, message: str) -> dict:
        """The log line that names the addresses."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and process.poll() is None:
            for line in log.read_text().splitlines():
                if f'"message":"{message}"' in line:
                    return json.loads(line)
            time.sleep(0.1)
        raise RuntimeError(f"it did not start:\n{log.read_text()}")

    def feed(self, address: str, number: int) -> None:
        """One stream: a client reads posts from a pipe, at a steady rate."""
        client = subprocess.Popen(
            [self.binary, "score", "--addr", address, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"client-{number}.log").open("w"),
            text=True,
        )
        chance = random.Random(number)
        start = time.monotonic()
        sent = 0
        while not self.stop.is_set():
            age = time.monotonic() - start
            while sent < age * POSTS_PER_SECOND / STREAMS:
                client.stdin.write(json.dumps(post(chance, f"{number}-{sent}", age > self.seconds / 2)) + "\n")
                sent += 1
            client.stdin.flush()
            self.stop.wait(0.05)
        client.stdin.close()
        client.wait(timeout=60)

    def answer(self, address: str) -> None:
        """Somebody who claims and closes cases, one after the other; every third is a false alarm."""

        def cases(*words: str) -> str:
            words = ("cases", *words, "--addr", address)
            done = subprocess.run([self.binary, *words], capture_output=True, text=True, check=False)
            return done.stdout

        closed = 0
        while not self.stop.wait(0.5):
            waiting = [json.loads(line) for line in cases("--json").splitlines()]
            for case in waiting[:3]:
                cases("claim", case["id"], "--by", "ann")
                outcome = "false-alarm" if closed % 3 == 2 else "answered"
                cases("close", case["id"], "--by", "ann", "--outcome", outcome)
                closed += 1

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for feeder in self.feeders:
            feeder.join()
        self.publisher.join()
        self.bridge.terminate()
        self.bridge.wait(timeout=60)
        self.server.terminate()
        self.server.wait(timeout=60)
        self.nats.terminate()
        self.nats.wait(timeout=60)


def nats_request(port: int, subject: str, body: str) -> None:
    """One request in NATS' own protocol, answered without an error."""
    payload = body.encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        stream = line.makefile("rwb")
        stream.write(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n')
        stream.write(f"PUB {subject} answer {len(payload)}\r\n".encode() + payload + b"\r\n")
        stream.flush()
        while head := stream.readline():
            if head.startswith(b"MSG "):
                answer = stream.read(int(head.split()[-1]))
                if b'"error"' in answer:
                    raise RuntimeError(f"NATS refused {subject}: {answer.decode()}")
                return
    raise RuntimeError(f"NATS did not answer {subject}")


def post(chance: random.Random, name: str, turned: bool) -> dict:
    """A made-up post. One in a hundred is bad on purpose, one in fifty from somebody with an audience."""
    topic = chance.choice(TOPICS)
    share = NEGATIVE_SHARE_TURNED if turned and topic == TURNING else NEGATIVE_SHARE
    text = chance.choice(NEGATIVE if chance.random() < share else OTHER).format(topic)
    # A number makes the texts differ, or the cache would answer for the model.
    return {
        "id": name,
        "text": "" if chance.random() < 0.01 else f"{text} {chance.randrange(100_000)}",
        "topic": topic,
        "author": f"author-{name}",
        "followers": 50_000 if chance.random() < 0.02 else 100,
    }
