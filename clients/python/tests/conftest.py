"""The real server as a process of its own."""

import json
import os
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("POUNCE", TOP / "target/debug/pounce"))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A server that is ready."""

    def __init__(self, port: int = 0, *flags: str, scheme: str = "http") -> None:
        self.process = subprocess.Popen(
            [
                *(BINARY, "serve", "--model", TOP / "model", "--workers", "1"),
                *("--grpc-addr", f"127.0.0.1:{port}", "--http-addr", "127.0.0.1:0"),
                *("--drain-notice", "0", *flags),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        lines: list[dict[str, Any]] = []
        for line in self.process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["message"] == "serving":
                break
        else:
            raise AssertionError(f"it never served: {lines}")
        self.grpc, self.http = lines[-1]["grpc"], lines[-1]["http"]
        self.port = int(self.grpc.rsplit(":")[-1])
        self.address = f"{scheme}://{self.grpc}"
        # Reads on, so that the server never waits for a reader.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def drain(self) -> None:
        """Ends it as an orchestrator does; every call must have ended by itself."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, "a clean drain"

    def kill(self) -> None:
        """Ends it as a crash does."""
        self.process.kill()
        self.process.wait(60)

    def metric(self, series: str) -> float:
        """The value of a series, by its whole name with labels."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10) as response:
            for line in response.read().decode().splitlines():
                if line.startswith(f"{series} "):
                    return float(line.rsplit(" ")[-1])
        raise AssertionError(f"no series {series}")


class Servers:
    """Starts servers, and ends what is left of them."""

    def __init__(self) -> None:
        self._started: list[Server] = []

    def start(self, port: int = 0, *flags: str, scheme: str = "http") -> Server:
        """Starts one; port 0 is any."""
        self._started.append(Server(port, *flags, scheme=scheme))
        return self._started[-1]

    def kill(self) -> None:
        """Ends all."""
        for server in self._started:
            server.kill()


@pytest.fixture
def servers() -> Iterator[Servers]:
    started = Servers()
    yield started
    started.kill()


@pytest.fixture(scope="session")
def shared() -> Iterator[Server]:
    """A server that no test ends."""
    server = Server()
    yield server
    server.kill()
