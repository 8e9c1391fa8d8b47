"""Posts as JSON, with curl and requests."""

import json
import shutil
import subprocess

import pytest
import requests

from conftest import Server

POST = {"id": "1", "text": "worst service ever, half the items are missing again"}
JSON = {"content-type": "application/json"}


def curl(*arguments: str, stdin: str = "") -> str:
    command = [shutil.which("curl") or "curl", "--silent", "--show-error", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_scores_a_post_and_a_file_of_lines(server):
    url = f"http://{server.http}/v1/score"
    one = json.loads(curl("--json", json.dumps(POST), url))
    assert (one["post_id"], one["sentiment"]) == ("1", "negative")
    lines = "".join(json.dumps({"text": f"parcel {n} is late"}) + "\n" for n in range(500))
    ndjson = ("--header", "content-type: application/x-ndjson", "--data-binary", "@-")
    replies = [json.loads(line) for line in curl(*ndjson, url, stdin=lines).splitlines()]
    assert [reply["sequence"] for reply in replies[:-1]] == list(range(1, 501))
    assert replies[-1]["summary"]["scored"] == 500


def test_lines_are_answered_while_further_ones_are_sent(server):
    answered = []

    def posts():
        yield json.dumps({**POST, "id": "0"}).encode() + b"\n"
        for n in range(1, 50):
            yield json.dumps({**POST, "id": str(n)}).encode() + b"\n"

    with requests.post(
        f"http://{server.http}/v1/score",
        data=posts(),
        headers={"content-type": "application/x-ndjson"},
        stream=True,
        timeout=60,
    ) as response:
        answered = [json.loads(line) for line in response.iter_lines()]
    assert [reply["post_id"] for reply in answered[:-1]] == [str(n) for n in range(50)]


def test_a_drain_tells_a_stream_what_it_will_answer():
    server = Server()
    drained = False

    def posts():
        nonlocal drained
        n = 0
        # The server stops to read; it waits for the end of the request for a while.
        while server.process.poll() is None and n < 100_000:
            yield json.dumps({"id": str(n), "text": f"parcel {n} is late"}).encode() + b"\n"
            n += 1
            if n == 100:
                server.process.terminate()
            if drained:
                return

    replies, accepted = [], None
    with requests.post(
        f"http://{server.http}/v1/score",
        data=posts(),
        headers={"content-type": "application/x-ndjson"},
        stream=True,
        timeout=60,
    ) as response:
        for line in response.iter_lines():
            reply = json.loads(line)
            if "drain" in reply:
                accepted, drained = reply["drain"]["accepted_through"], True
            elif "summary" in reply:
                break
            else:
                replies.append(reply)
    assert server.process.wait(60) == 0
    assert [reply["sequence"] for reply in replies] == list(range(1, accepted + 1))


def test_with_a_certificate_posts_and_tokens_are_taken_through_tls_alone(secured):
    clear, safe = f"http://{secured.http}", f"https://{secured.http}"
    scorer = {"authorization": f"Bearer {secured.scorer}"}
    for path, body in [("/v1/score", POST), ("/predict", {"inputs": "late"})]:
        in_clear = requests.post(clear + path, json=body, headers=scorer, timeout=60)
        assert in_clear.status_code == 403
        assert "https" in in_clear.json()["detail"]
        safely = requests.post(
            safe + path, json=body, headers=scorer, verify=secured.ca, timeout=60
        )
        assert safely.status_code == 200, safely.text
        stranger = requests.post(safe + path, json=body, verify=secured.ca, timeout=60)
        assert stranger.status_code == 401
        assert stranger.headers["www-authenticate"] == "Bearer"
    reader = {"authorization": f"Bearer {secured.reader}"}
    board = requests.get(f"{safe}/board/state", headers=reader, verify=secured.ca, timeout=60)
    assert board.status_code == 200
    # Probes and scrapes know no certificate.
    for path in ["/healthz", "/readyz", "/metrics"]:
        assert requests.get(clear + path, timeout=60).status_code == 200
        assert requests.get(safe + path, verify=secured.ca, timeout=60).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{safe}/healthz", timeout=60)
