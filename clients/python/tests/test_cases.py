"""Cases with the real server: watched, claimed and closed through a restart."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Server, Servers

import pounce
import pounce.aio

# Every post is flagged, whatever the model makes of it.
FLAGS = ("--cases", "low", "--discontent", "0,0,0")


def complaint(number: int) -> pounce.Post:
    return pounce.Post(
        id=f"p{number}",
        text=f"order {number} arrived broken and nobody answers",
        topic="acme",
        author=pounce.Author(id=f"author {number}"),
    )


def changed(watch: Iterator[pounce.WatchedCase]) -> pounce.CaseChange:
    """The next change of a case."""
    for news in watch:
        if isinstance(news, pounce.CaseChange):
            return news
    raise AssertionError("the watch ended")


def test_a_case_is_watched_claimed_and_closed(servers: Servers, tmp_path: Path) -> None:
    flags = (*FLAGS, "--state-dir", str(tmp_path))
    server = servers.start(0, *flags)
    with pounce.Client(server.address) as client:
        client.score(complaint(1))
        watch = client.watch_cases()
        case = changed(watch).case
        assert (list(case.post_ids), case.topic) == (["p1"], "acme")
        assert client.claim_case(case.id, by="ann").claim.by == "ann"
        kind = changed(watch).kind
        assert kind == pounce.CaseChangeKind.CASE_CHANGE_KIND_CLAIMED
        with pytest.raises(pounce.Refused, match="claimed by ann until"):
            client.claim_case(case.id, by="bob")
        client.release_case(case.id, by="ann")
        changed(watch)

        server.drain()
        again = servers.start(server.port, *flags)
        with pounce.Client(again.address) as feeder:
            feeder.score(complaint(2))
        assert changed(watch).case.post_ids == ["p2"], "what was told is not told again"
        answered = pounce.CaseOutcome.CASE_OUTCOME_ANSWERED
        closed = client.close_case(case.id, answered, by="ann", note="called")
        assert (closed.closing.outcome, closed.closing.note) == (answered, "called")
        assert [other.post_ids[0] for other in client.cases()] == ["p2"]
        states = [pounce.CaseState.CASE_STATE_CLOSED]
        assert [other.id for other in client.cases(states=states)] == [case.id]
        again.kill()


def test_the_client_for_asyncio_does_the_same(servers: Servers) -> None:
    async def work(server: Server) -> None:
        async with pounce.aio.Client(server.address) as client:
            await client.score(complaint(1))
            watch = client.watch_cases()
            async for news in watch:
                if isinstance(news, pounce.CaseChange):
                    break
            (case,) = await client.cases()
            assert (await client.claim_case(case.id, by="ann")).claim.by == "ann"
            await client.release_case(case.id, by="ann")
            outcome = pounce.CaseOutcome.CASE_OUTCOME_FALSE_ALARM
            assert (await client.close_case(case.id, outcome, by="ann")).closing.by == "ann"
            assert await client.cases() == []
            await watch.aclose()

    asyncio.run(work(servers.start(0, *FLAGS)))


def test_a_server_without_cases_says_so(shared: Server) -> None:
    with (
        pounce.Client(shared.address) as client,
        pytest.raises(pounce.Refused, match="without --cases"),
    ):
        client.cases()
