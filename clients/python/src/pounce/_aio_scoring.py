"""Carries one scoring job with tasks: one takes posts from the caller, one takes replies from the
open stream, and grpc's own sends. All meet in one queue, which the caller's task empties.

What is in the queue is bounded: a post needs a permit, which its reply gives back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Protocol

import grpc

from ._connection import AsyncServer, Metadata
from ._errors import Fault, fault_of, passing
from ._job import Job, Reply
from ._scoring import Event, InputEnded, StreamEnded
from .v1.post_pb2 import Post
from .v1.scoring_service_pb2 import GetModelRequest, ScoreStreamRequest, ScoreStreamResponse

Requests = asyncio.Queue[ScoreStreamRequest | None]


class Connection(Protocol):
    """What a job needs of the client."""

    @property
    def metadata(self) -> Metadata: ...

    @property
    def timeout(self) -> float: ...

    def next_server(self) -> AsyncServer: ...

    def opened(self, call: grpc.aio.Call) -> None: ...

    def check_open(self) -> None: ...

    async def sleep(self, seconds: float) -> None: ...


class Scoring:
    """One job."""

    def __init__(
        self, client: Connection, job: Job, posts: Iterable[Post] | AsyncIterable[Post]
    ) -> None:
        self._client = client
        self._job = job
        self._posts = posts
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._permits = asyncio.Semaphore(job.in_flight)
        self._input_error: BaseException | None = None
        self._fault: Fault | None = None

    async def replies(self) -> AsyncGenerator[Reply]:
        """Scores the posts."""
        taking = asyncio.create_task(self._take_posts())
        try:
            while self._job.owes or not self._job.input_ended:
                if not self._job.owes:
                    self._job.idle()
                    self._take(await self._events.get())
                    continue
                async for reply in self._stream():
                    yield reply
                if self._job.owes:
                    self._client.check_open()
                    await self._client.sleep(self._job.ended(self._fault, time.monotonic()))
        finally:
            taking.cancel()
        if self._input_error is not None:
            raise self._input_error

    async def _stream(self) -> AsyncGenerator[Reply]:
        """Runs one stream to its end, and leaves its fault."""
        client, job = self._client, self._job
        server = client.next_server()
        try:
            model = await server.scoring.GetModel(
                GetModelRequest(), metadata=client.metadata, timeout=client.timeout
            )
        except grpc.RpcError as error:
            self._fault = passing(fault_of(error))
            return
        requests: Requests = asyncio.Queue()
        for request in job.open(model.limits.post_message_bytes_max, model.history):
            requests.put_nowait(request)
        call = server.scoring.ScoreStream(until_none(requests), metadata=client.metadata)
        client.opened(call)
        taking = asyncio.create_task(self._take_replies(call))
        broken, sending = None, True
        try:
            while True:
                for rejection in job.rejections():
                    self._permits.release()
                    yield rejection
                if sending and (job.input_ended or job.drained):
                    sending = False
                    requests.put_nowait(None)
                match await self._events.get():
                    case StreamEnded(fault):
                        self._fault = broken or fault
                        return
                    case ScoreStreamResponse() as response:
                        # Of a stream that is being cancelled, nothing counts any more.
                        reply = None if broken else job.answered(response)
                        if isinstance(reply, Fault):
                            broken = reply
                            call.cancel()
                        elif reply is not None:
                            self._permits.release()
                            yield reply
                    case event:
                        sent = self._take(event)
                        if sent is not None:
                            requests.put_nowait(sent)
        finally:
            call.cancel()
            taking.cancel()

    def _take(self, event: Event) -> ScoreStreamRequest | None:
        """Takes what the caller brings; returns what is to be sent of it."""
        match event:
            case Post() as post:
                return self._job.take(post)
            case InputEnded(error):
                self._input_error = error
                self._job.end_input()
        return None

    async def _take_posts(self) -> None:
        """A task until the posts end, or the job does."""
        error: BaseException | None = None
        try:
            posts = as_async(self._posts)
            while True:
                await self._permits.acquire()
                self._events.put_nowait(await anext(posts))
        except StopAsyncIteration:
            pass
        except Exception as raised:
            error = raised
        self._events.put_nowait(InputEnded(error))

    async def _take_replies(self, call: AsyncIterable[ScoreStreamResponse]) -> None:
        """A task until the stream ends."""
        try:
            async for response in call:
                self._events.put_nowait(response)
            self._events.put_nowait(StreamEnded(None))
        except grpc.RpcError as error:
            self._events.put_nowait(StreamEnded(fault_of(error)))
        except asyncio.CancelledError:
            # Also what grpc raises where a call was cancelled here.
            fault = Fault(grpc.StatusCode.CANCELLED, "the stream was cancelled")
            self._events.put_nowait(StreamEnded(fault))


async def until_none(requests: Requests) -> AsyncIterator[ScoreStreamRequest]:
    """What is put into a queue, until a None."""
    while (request := await requests.get()) is not None:
        yield request


async def as_async(posts: Iterable[Post] | AsyncIterable[Post]) -> AsyncIterator[Post]:
    """Posts of either kind."""
    if isinstance(posts, AsyncIterable):
        async for post in posts:
            yield post
    else:
        for post in posts:
            yield post
