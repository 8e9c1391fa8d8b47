"""The real server as a process of its own."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import trustme

TOP = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("POUNCE", TOP / "target/debug/pounce"))


class Server:
    """A server that is ready."""

    def __init__(self, *flags: str | Path):
        self.process = subprocess.Popen(
            [
                *(BINARY, "serve", "--model", TOP / "model", "--workers", "1"),
                *("--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"),
                *("--drain-notice", "0", *flags),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = []
        for line in self.process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["message"] == "serving":
                break
        else:
            raise AssertionError(f"it never served: {lines}")
        self.grpc, self.http = lines[-1]["grpc"], lines[-1]["http"]
        # Reads on, so that the server never waits for a reader.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def drain(self):
        """Ends it as an orchestrator does; every call must have ended by itself."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, "a clean drain"

    def kill(self):
        self.process.kill()
        self.process.wait(60)


def token(folder: Path, name: str, scopes: str) -> str:
    """A new token in the folder's file of tokens."""
    command = [BINARY, "token", name, "--scopes", scopes, "--tokens", folder / "tokens"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Secured(Server):
    """A server with a certificate and tokens."""

    def __init__(self, folder: Path):
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        self.scorer = token(folder, "shop", "score")
        self.reader = token(folder, "board", "alerts:read")
        super().__init__(
            *("--tokens", folder / "tokens", "--tls-cert", folder / "cert.pem"),
            *("--tls-key", folder / "key.pem"),
        )


@pytest.fixture(scope="session")
def server():
    """A server without certificate and tokens."""
    started = Server()
    yield started
    started.drain()


@pytest.fixture(scope="session")
def secured(tmp_path_factory):
    """A server with both."""
    started = Secured(tmp_path_factory.mktemp("secured"))
    yield started
    started.drain()
