"""Opens a ticket by webhook for each case, and closes the case when the ticket is closed.

    python tickets.py http://127.0.0.1:50051 https://tickets.example/hook 8080

Each case is posted to the hook as JSON; its id is the idempotency key, so that a case which is sent
again after a restart opens no second ticket. The ticket system posts {"case": ID, "outcome":
"answered"} to port 8080 when it closes one. The token, if the service asks for one, is in
POUNCE_TOKEN.
"""

import json
import os
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pounce

address, hook, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = pounce.Client(address, token=os.environ.get("POUNCE_TOKEN"))
by = "" if "POUNCE_TOKEN" in os.environ else "tickets"


class Closed(BaseHTTPRequestHandler):
    """Hears of closed tickets."""

    def do_POST(self) -> None:
        """Closes the ticket's case."""
        try:
            told = json.loads(self.rfile.read(int(self.headers["content-length"])))
            outcome = pounce.CaseOutcome.Value(f"CASE_OUTCOME_{told['outcome'].upper()}")
            client.close_case(told["case"], outcome, by=by)
            self.send_response(204)
        except (KeyError, ValueError, pounce.Refused) as error:
            self.send_response(400, str(error).splitlines()[0])
        except pounce.Unreachable:
            self.send_response(503)  # The ticket system tries again.
        self.end_headers()


threading.Thread(
    target=ThreadingHTTPServer(("127.0.0.1", port), Closed).serve_forever, daemon=True
).start()
opened: set[str] = set()
for news in client.watch_cases():
    if not isinstance(news, pounce.CaseChange) or news.case.id in opened:
        continue
    case = news.case
    opened.add(case.id)
    if case.state == pounce.CaseState.CASE_STATE_CLOSED:
        continue
    severity = pounce.Severity.Name(case.severity).removeprefix("SEVERITY_").lower()
    ticket = {"case": case.id, "severity": severity, "topic": case.topic}
    ticket |= {"posts": list(case.post_ids), "respond_by": case.respond_by.ToJsonString()}
    headers = {"content-type": "application/json", "idempotency-key": case.id}
    request = urllib.request.Request(hook, json.dumps(ticket).encode(), headers)
    urllib.request.urlopen(request, timeout=10).close()
