"""A job against the real server: every post is answered once, in order, whatever happens."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing

import pytest
from conftest import Server, Servers, free_port

import pounce
import pounce.aio
from pounce import Post, Rejection, RejectionCode, Reply

POSTS = 300
# When half of these are taken, something happens; the last ones are held back until it is over.
HELD_BACK = 20
PACE = 0.002


def post(number: int) -> Post:
    # No two texts are the same, or the cache would answer for the model.
    return Post(id=str(number), text=f"parcel {number} is late again and nobody answers")


def check(replies: Sequence[Reply], posts: int = POSTS) -> None:
    """Each post was scored once, in order."""
    assert [reply.post_id for reply in replies] == [str(number) for number in range(posts)]
    assert [reply.sequence for reply in replies] == list(range(1, posts + 1))
    rejected = [reply for reply in replies if isinstance(reply, Rejection)]
    assert not rejected


def by_threads(addresses: str | list[str], event: Callable[[], None]) -> list[Reply]:
    happening = threading.Thread(target=event)

    def posts() -> Iterator[Post]:
        for number in range(POSTS):
            if number == POSTS // 2:
                happening.start()
            if number == POSTS - HELD_BACK:
                happening.join()
            time.sleep(PACE)
            yield post(number)

    with pounce.Client(addresses) as client:
        return list(client.score_stream(posts(), in_flight=64))


def by_tasks(addresses: str | list[str], event: Callable[[], None]) -> list[Reply]:
    async def posts() -> AsyncIterator[Post]:
        happening = None
        for number in range(POSTS):
            if number == POSTS // 2:
                happening = asyncio.create_task(asyncio.to_thread(event))
            if number == POSTS - HELD_BACK and happening:
                await happening
            await asyncio.sleep(PACE)
            yield post(number)

    async def job() -> list[Reply]:
        async with pounce.aio.Client(addresses) as client:
            return [reply async for reply in client.score_stream(posts(), in_flight=64)]

    return asyncio.run(job())


both = pytest.mark.parametrize("score", [by_threads, by_tasks])
Score = Callable[[str | list[str], Callable[[], None]], list[Reply]]


@both
@pytest.mark.parametrize("end", [Server.drain, Server.kill])
def test_a_restart_on_the_same_port_loses_and_repeats_nothing(
    servers: Servers, score: Score, end: Callable[[Server], None]
) -> None:
    server = servers.start(free_port())
    restarted: list[Server] = []

    def restart() -> None:
        end(server)
        restarted.append(servers.start(server.port))

    check(score(server.address, restart))
    scored = "pounce_post_duration_seconds_count"
    assert restarted[0].metric(scored) >= HELD_BACK, "the new server answered the rest"


@both
@pytest.mark.parametrize("end", [Server.drain, Server.kill])
def test_a_job_goes_on_with_another_server_of_the_fleet(
    servers: Servers, score: Score, end: Callable[[Server], None]
) -> None:
    fleet = [servers.start(), servers.start()]
    stream = "pounce_streams_open"

    def lose_one() -> None:
        end(next(server for server in fleet if server.metric(stream) > 0))

    check(score([server.address for server in fleet], lose_one))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_streams_that_reach_their_age_move_and_lose_nothing(
    servers: Servers, asynchronous: bool
) -> None:
    server = servers.start(0, "--stream-age-max", "1")
    method = 'grpc_service="pounce.v1.ScoringService",grpc_method="ScoreStream"'
    started = f'grpc_server_started_total{{grpc_type="bidi_stream",{method}}}'
    sent = 0

    def posts() -> Iterator[Post]:
        nonlocal sent
        while sent % 50 or server.metric(started) < 3:
            yield post(sent)
            sent += 1

    async def paced() -> AsyncIterator[Post]:
        for next_post in posts():
            await asyncio.sleep(PACE)
            yield next_post

    async def job() -> list[Reply]:
        async with pounce.aio.Client(server.address) as client:
            return [reply async for reply in client.score_stream(paced())]

    if asynchronous:
        check(asyncio.run(job()), sent)
    else:
        with pounce.Client(server.address) as client:
            check(list(client.score_stream(posts())), sent)


def test_bad_posts_are_rejected_in_their_places(shared: Server) -> None:
    posts = [
        post(0),
        Post(id="empty"),
        Post(id="long", text="x" * 9_000),
        # More than a message of the server may have: the client rejects it.
        Post(id="huge", text="x" * 100_000),
        Post(id="nobody", text="hello", author=pounce.Author(id="x" * 300)),
        post(5),
    ]
    with pounce.Client(shared.address) as client:
        replies = list(client.score_stream(posts))
    assert [reply.sequence for reply in replies] == [1, 2, 3, 4, 5, 6]
    assert [reply.post_id for reply in replies] == [post.id for post in posts]
    faults = [(r.code, r.field) for r in replies if isinstance(r, Rejection)]
    assert faults == [
        (RejectionCode.REJECTION_CODE_MISSING, "text"),
        (RejectionCode.REJECTION_CODE_TOO_LONG, "text"),
        (RejectionCode.REJECTION_CODE_TOO_LONG, "post"),
        (RejectionCode.REJECTION_CODE_TOO_LONG, "author.id"),
    ]


def test_no_more_posts_are_taken_than_may_be_unanswered(shared: Server) -> None:
    taken = 0

    def endless() -> Iterator[Post]:
        nonlocal taken
        while True:
            taken += 1
            yield post(taken)

    with pounce.Client(shared.address) as client:
        replies = client.score_stream(endless(), in_flight=8)
        for answered, _ in zip(range(1, 50), replies, strict=False):
            assert taken <= answered + 8
        replies.close()
        wait_for("its threads have ended", lambda: not job_threads())


def test_an_error_of_the_posts_is_raised_once_those_before_are_answered(shared: Server) -> None:
    def failing() -> Iterator[Post]:
        yield post(0)
        yield post(1)
        raise KeyError("no more")

    replies = []
    with pounce.Client(shared.address) as client, pytest.raises(KeyError):
        for reply in client.score_stream(failing()):
            replies.append(reply)
    check(replies, 2)

    async def job() -> None:
        replies = []
        async with pounce.aio.Client(shared.address) as client:
            with pytest.raises(KeyError):
                async for reply in client.score_stream(failing()):
                    replies.append(reply)
        check(replies, 2)

    asyncio.run(job())


def test_an_asyncio_job_that_is_left_early_leaves_nothing_behind(shared: Server) -> None:
    async def job() -> None:
        async with pounce.aio.Client(shared.address) as client:
            posts = (post(number) for number in range(1_000))
            async with aclosing(client.score_stream(posts)) as replies:
                async for reply in replies:
                    if reply.sequence == 10:
                        break
            await asyncio.sleep(0)
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            assert not {task for task in rest if "pounce" in repr(task.get_coro())}

    asyncio.run(job())
    wait_for("the server's stream ends", lambda: shared.metric("pounce_streams_open") == 0)


def test_a_job_without_a_server_is_given_up() -> None:
    with (
        pounce.Client(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(pounce.GaveUp, match=r"after 0\.3 s of failures"),
    ):
        list(client.score_stream([post(0)], patience=0.3))


def test_closing_the_client_ends_its_jobs(shared: Server) -> None:
    client = pounce.Client(shared.address)

    def posts() -> Iterator[Post]:
        yield post(0)
        client.close()
        yield post(1)

    with pytest.raises(pounce.ClosedError):
        list(client.score_stream(posts()))


def job_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name in ("pounce posts", "pounce replies")]


def wait_for(what: str, done: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not done():
        assert time.monotonic() < until, f"not within ten seconds: {what}"
        time.sleep(0.01)
