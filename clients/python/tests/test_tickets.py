"""The example that opens tickets, with a ticket system of the test's own."""

import json
import queue
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from conftest import TOP, Servers, free_port

import pounce

EXAMPLE = TOP / "clients/python/examples/tickets.py"


def post(port: int, told: object) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(told).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_case_opens_a_ticket_and_the_closed_ticket_closes_the_case(servers: Servers) -> None:
    tickets: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            tickets.put((self.headers["idempotency-key"], json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    hook = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    server = servers.start(0, "--cases", "low", "--discontent", "0,0,0")
    port = free_port()
    url = f"http://127.0.0.1:{hook.server_port}/"
    command = [sys.executable, str(EXAMPLE), server.address, url, str(port)]
    example = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with pounce.Client(server.address) as client:
            client.score(pounce.Post(id="p1", text="broken again", topic="acme"))
            key, ticket = tickets.get(timeout=30)
            (case,) = client.cases()
            assert (key, ticket["case"], ticket["posts"]) == (case.id, case.id, ["p1"])
            assert post(port, {"case": case.id, "outcome": "lost"}) == 400
            assert post(port, {"case": case.id, "outcome": "could_not_reach"}) == 204
            assert client.cases() == []
            (closed,) = client.cases(states=[pounce.CaseState.CASE_STATE_CLOSED])
            assert closed.closing.by == "tickets"
            client.score(pounce.Post(id="p2", text="and again", topic="acme"))
            assert tickets.get(timeout=30)[1]["posts"] == ["p2"], "the first one is sent once"
    finally:
        example.kill()
        example.wait()
        hook.shutdown()
