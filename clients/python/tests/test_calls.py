"""Unary calls, tokens, certificates and alerts against the real server."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from conftest import BINARY, Server, Servers, free_port
from grpc import StatusCode

import pounce
import pounce.aio
from pounce import AlertChange, AlertChangeKind, Author, Post, Rejection, Sentiment, Thresholds

ANGRY = Post(id="1", text="worst service ever, half the items are missing again")
START = 1_700_000_000


def unhappy_crowd() -> Iterator[Post]:
    """Posts that open an alert on the topic acme: an author each, 20 seconds apart."""
    for number in range(60):
        crowd = Post(topic="acme", author=Author(id=f"author {number}"))
        crowd.MergeFrom(ANGRY)
        crowd.id, crowd.text = str(number), f"{ANGRY.text} {number}"
        crowd.posted_at.FromSeconds(START + 20 * number)
        yield crowd


def test_a_post_and_a_batch_are_scored(shared: Server) -> None:
    with pounce.Client(shared.address) as client:
        event = client.score(ANGRY)
        assert event.sentiment == Sentiment.SENTIMENT_NEGATIVE
        batch = client.score_batch([ANGRY, Post(id="2"), Post(id="3", text="love it, thanks!")])
        assert isinstance(batch[1], Rejection) and batch[1].field == "text"
        assert not isinstance(batch[2], Rejection)
        assert batch[2].sentiment == Sentiment.SENTIMENT_POSITIVE
        assert client.model().name == event.model_revision.split("@")[0] or client.model().revision
        never = Thresholds(discontent_low=1.0, discontent_medium=1.0, discontent_high=1.0)
        assert not client.score(ANGRY, thresholds=never).severity

    async def same() -> None:
        async with pounce.aio.Client(shared.address) as client:
            assert (await client.score(ANGRY)).probabilities == event.probabilities
            assert len(await client.score_batch([ANGRY, ANGRY])) == 2
            assert (await client.model()).limits.batch_posts_max == 256

    asyncio.run(same())


def test_a_bad_post_is_refused_by_its_field(shared: Server) -> None:
    with pounce.Client(shared.address) as client, pytest.raises(pounce.Refused) as refused:
        client.score(Post(id="1", text="x" * 9_000))
    assert refused.value.code is StatusCode.INVALID_ARGUMENT
    assert refused.value.field == "text"
    assert "8192" in str(refused.value)


def test_a_call_goes_to_a_server_that_can_be_reached(shared: Server) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with pounce.Client([nobody, shared.address]) as client:
        for _ in range(4):
            assert client.score(ANGRY).post_id == "1"
    with pounce.Client(nobody) as client, pytest.raises(pounce.Unreachable):
        client.score(ANGRY)


def test_recorded_posts_ask_nobody_to_respond(shared: Server) -> None:
    with pounce.Client(shared.address) as client:
        assert client.score(ANGRY).HasField("respond_by")
        recorded = [
            client.score(ANGRY, history=True),
            *client.score_batch([ANGRY], history=True),
            *client.score_stream([ANGRY], history=True),
        ]
    for event in recorded:
        assert isinstance(event, pounce.ScoredEvent)
        assert event.flags and not event.HasField("respond_by")


def test_a_name_leads_to_its_servers(shared: Server) -> None:
    port = shared.address.rsplit(":", 1)[1]
    with pounce.Client(f"dns:///localhost:{port}") as client:
        assert client.score(ANGRY).post_id == "1"


def test_addresses_certificates_and_tokens_of_no_use_are_told_at_once() -> None:
    for address in [
        *("127.0.0.1:50051", "ftp://host:1", "http://host", "http://host:x", "http://:1"),
        *("dns:///host", "dns://host:1", "dns:host:1"),
    ]:
        with pytest.raises(pounce.AddressError, match="http://host:port"):
            pounce.Client(address)
    with pytest.raises(pounce.AddressError, match="1 to 256"):
        pounce.Client([])
    with pytest.raises(pounce.AddressError, match="https"):
        pounce.Client("http://host:1", ca=b"x")
    with pytest.raises(pounce.AddressError, match="token"):
        pounce.Client(token="line\nbreak")


def token(folder: Path, name: str, scopes: str) -> str:
    command = [str(BINARY), "token", name, "--scopes", scopes, "--tokens", str(folder / "tokens")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_tls_and_tokens(servers: Servers, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own = authority.issue_cert("client.example")
    identity = (own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes())
    ca = authority.cert_pem.bytes()
    scorer = token(tmp_path, "shop", "score")
    server = servers.start(
        *(0, "--tokens", str(tmp_path / "tokens"), "--tls-cert", str(tmp_path / "cert.pem")),
        *("--tls-key", str(tmp_path / "key.pem"), "--tls-client-ca", str(tmp_path / "ca.pem")),
        scheme="https",
    )
    with pounce.Client(server.address, token=scorer, ca=ca, identity=identity) as client:
        assert client.score(ANGRY).post_id == "1"
        assert [reply.post_id for reply in client.score_stream([ANGRY])] == ["1"]
        with pytest.raises(pounce.Refused) as refused:
            client.alerts()
        assert refused.value.code is StatusCode.PERMISSION_DENIED
    with pounce.Client(server.address, token="pounce_guess", ca=ca, identity=identity) as client:
        with pytest.raises(pounce.Refused) as refused:
            client.score(ANGRY)
        assert refused.value.code is StatusCode.UNAUTHENTICATED
        with pytest.raises(pounce.Refused):
            list(client.score_stream([ANGRY]))
    stranger = pounce.Client(server.address, token=scorer, ca=ca)
    with stranger, pytest.raises(pounce.Unreachable):
        stranger.score(ANGRY)

    async def same() -> None:
        async with pounce.aio.Client(
            server.address, token=scorer, ca=ca, identity=identity
        ) as client:
            replies = [reply async for reply in client.score_stream([ANGRY])]
            assert [reply.post_id for reply in replies] == ["1"]

    asyncio.run(same())


def test_a_full_token_says_when_to_come_back(servers: Servers, tmp_path: Path) -> None:
    scorer = token(tmp_path, "shop", "score")
    flags = ("--tokens", str(tmp_path / "tokens"), "--token-posts-per-second-max", "1")
    server = servers.start(0, *flags)
    with pounce.Client(server.address, token=scorer) as client:
        client.score(ANGRY)
        with pytest.raises(pounce.Refused) as refused:
            client.score(ANGRY)
        assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.retry_after and 0 < refused.value.retry_after <= 1


def test_a_watch_goes_on_through_a_restart_and_tells_nothing_twice(
    servers: Servers, tmp_path: Path
) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    server = servers.start(free_port(), *state)
    client = pounce.Client(server.address)
    assert len(list(client.score_stream(unhappy_crowd()))) == 60
    (alert,) = client.alerts()

    watch = client.watch()
    assert isinstance(next(watch), pounce.Connected)
    first = next(watch)
    assert isinstance(first, AlertChange) and first.alert.id == alert.id
    assert first.kind == AlertChangeKind.ALERT_CHANGE_KIND_FIRING

    server.drain()
    assert isinstance(next(watch), pounce.Lost)
    server = servers.start(server.port, *state)
    assert isinstance(next(watch), pounce.Connected)
    with pounce.Client(server.address) as other:
        assert other.acknowledge(alert.id, by="ann").acknowledgement.by == "ann"
    changed = next(watch)
    assert isinstance(changed, AlertChange), "not what was firing, which was told"
    assert changed.kind == AlertChangeKind.ALERT_CHANGE_KIND_ACKNOWLEDGED
    outcome = pounce.CaseOutcome.CASE_OUTCOME_FALSE_ALARM
    with pounce.Client(server.address) as other:
        for _ in range(2):
            closing = other.close_alert(alert.id, outcome, by="bob", note="a joke").closing
            assert (closing.outcome, closing.by, closing.note) == (outcome, "bob", "a joke")
        with pytest.raises(pounce.Refused, match="closed by bob as false_alarm"):
            other.close_alert(alert.id, pounce.CaseOutcome.CASE_OUTCOME_ANSWERED, by="bob")
    changed = next(watch)
    assert isinstance(changed, AlertChange) and changed.alert.closing == closing
    assert changed.kind == AlertChangeKind.ALERT_CHANGE_KIND_CLOSED
    client.close()
    with pytest.raises(pounce.ClosedError):
        next(watch)


def test_an_asyncio_watch_goes_on_without_the_state_and_says_so(servers: Servers) -> None:
    async def same() -> None:
        server = servers.start(free_port())
        client = pounce.aio.Client(server.address)
        assert len([reply async for reply in client.score_stream(unhappy_crowd())]) == 60
        (alert,) = await client.alerts()
        outcome = pounce.CaseOutcome.CASE_OUTCOME_ANSWERED
        closed = await client.close_alert(alert.id, outcome, by="ann")
        assert (closed.closing.outcome, closed.acknowledgement.by) == (outcome, "ann")
        watch = client.watch()
        assert isinstance(await anext(watch), pounce.Connected)
        first = await anext(watch)
        assert isinstance(first, AlertChange) and first.alert.id == alert.id
        await asyncio.to_thread(server.kill)
        assert isinstance(await anext(watch), pounce.Lost)
        await asyncio.to_thread(servers.start, server.port)
        assert isinstance(await anext(watch), pounce.Connected)
        forgotten = await anext(watch)
        assert isinstance(forgotten, pounce.Forgotten) and forgotten.alert.id == alert.id
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(pounce.ClosedError):
            await waiting

    asyncio.run(same())


def test_a_watch_of_nobody_fails_at_once() -> None:
    client = pounce.Client(f"http://127.0.0.1:{free_port()}")
    with client, pytest.raises(pounce.Unreachable):
        next(client.watch())
