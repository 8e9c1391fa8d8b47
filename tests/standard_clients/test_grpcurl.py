"""grpcurl, which learns the services by reflection."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import TOP, Server

# Installed beside this Python, which need not be on the path.
GRPCURL = shutil.which("grpcurl", path=str(Path(sys.executable).parent)) or "grpcurl"


def grpcurl(*arguments: str, stdin: str = "", code: int = 0) -> str:
    command = [GRPCURL, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def documents(text: str) -> list[dict]:
    """The JSON documents that grpcurl prints one after another."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_services_and_messages_are_listed_by_reflection(server):
    listed = grpcurl("-plaintext", server.grpc, "list").split()
    assert {
        "grpc.health.v1.Health",
        "inference.GRPCInferenceService",
        "pounce.v1.AlertService",
        "pounce.v1.ScoringService",
    } <= set(listed)
    described = grpcurl("-plaintext", server.grpc, "describe", "pounce.v1.ScoringService")
    assert "rpc ScoreStream ( stream .pounce.v1.ScoreStreamRequest )" in described
    assert "string text = 2" in grpcurl("-plaintext", server.grpc, "describe", "pounce.v1.Post")


def test_the_readme_call_scores_a_post(server):
    readme = (TOP / "README.md").read_text()
    post = '{"post": {"id": "1", "text": "late again"}}'
    assert f"grpcurl -plaintext -d '{post}'" in readme
    call = ("-plaintext", "-d", post, server.grpc, "pounce.v1.ScoringService/Score")
    event = json.loads(grpcurl(*call))["event"]
    assert (event["postId"], event["sentiment"]) == ("1", "SENTIMENT_NEGATIVE")


def test_a_stream_is_answered_in_order_and_ends_with_its_summary(server):
    posts = [{"post": {"id": str(n), "text": f"parcel {n} is late"}} for n in range(50)]
    posts[7]["post"]["text"] = ""
    lines = "\n".join(map(json.dumps, posts))
    call = ("-plaintext", "-d", "@", server.grpc, "pounce.v1.ScoringService/ScoreStream")
    replies = documents(grpcurl(*call, stdin=lines))
    ids = [(reply.get("event") or reply.get("rejection"))["postId"] for reply in replies[:-1]]
    assert ids == [str(n) for n in range(50)]
    assert replies[7]["rejection"]["code"] == "REJECTION_CODE_MISSING"
    assert replies[-1]["summary"]["scored"] == "49"


def test_with_a_certificate_and_tokens_it_needs_both(secured):
    safe = ("-cacert", str(secured.ca))
    score = ("-d", '{"post": {"id": "1", "text": "late"}}', secured.grpc)
    score = (*score, "pounce.v1.ScoringService/Score")
    assert "a valid bearer token is needed" in grpcurl(*safe, *score, code=1)
    token = ("-H", f"authorization: Bearer {secured.scorer}")
    assert json.loads(grpcurl(*safe, *token, *score))["event"]["postId"] == "1"
    assert "certificate" in grpcurl(*token, *score, code=1)


def test_without_reflection_nothing_is_listed():
    server = Server("--reflection", "false")
    assert "does not support the reflection API" in grpcurl(
        "-plaintext", server.grpc, "list", code=1
    )
    server.drain()
