"""Carries one scoring job with threads: one takes posts from the caller, one takes replies from the
open stream, and grpc's own sends. All meet in one queue, which the caller's thread empties.

What is in the queue is bounded: a post needs a permit, which its reply gives back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import grpc

from ._backoff import Opening
from ._connection import Metadata, Server
from ._errors import Fault, fault_of, passing
from ._job import Job, Reply
from .v1.post_pb2 import Post
from .v1.scoring_service_pb2 import GetModelResponse, ScoreStreamRequest, ScoreStreamResponse


class Connection(Protocol):
    """What a job needs of the client."""

    @property
    def metadata(self) -> Metadata: ...

    @property
    def timeout(self) -> float: ...

    def model_of(self, server: Server, timeout: float) -> GetModelResponse: ...

    def next_server(self) -> Server: ...

    def check_open(self) -> None: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass
class InputEnded:
    """No post will come; because of an error, if there is one."""

    error: BaseException | None


@dataclass
class StreamEnded:
    """The open stream ended; with a fault, if there is one."""

    fault: Fault | None


Event = Post | InputEnded | ScoreStreamResponse | StreamEnded
Requests = queue.SimpleQueue[ScoreStreamRequest | None]


class Scoring:
    """One job."""

    def __init__(self, client: Connection, job: Job, posts: Iterable[Post]) -> None:
        self._client = client
        self._job = job
        self._posts = posts
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._permits = threading.Semaphore(job.in_flight)
        self._opening = Opening(client.timeout)
        self._over = False
        self._input_error: BaseException | None = None

    def replies(self) -> Generator[Reply]:
        """Scores the posts."""
        threading.Thread(target=self._take_posts, name="pounce posts", daemon=True).start()
        try:
            yield from self._streams()
        finally:
            self._over = True
            self._permits.release()
        if self._input_error is not None:
            raise self._input_error

    def _streams(self) -> Generator[Reply]:
        """Runs one stream after the other until every post is answered."""
        while self._job.owes or not self._job.input_ended:
            if not self._job.owes:
                self._job.idle()
                self._take(self._events.get())
                continue
            fault = yield from self._stream()
            if self._job.owes:
                self._client.check_open()
                self._client.sleep(self._job.ended(fault, time.monotonic()))

    def _stream(self) -> Generator[Reply, None, Fault | None]:
        """Runs one stream to its end, and returns its fault."""
        client, job = self._client, self._job
        server = client.next_server()
        try:
            model = client.model_of(server, self._opening.seconds())
            self._opening.reset()
        except grpc.RpcError as error:
            return passing(fault_of(error))
        requests: Requests = queue.SimpleQueue()
        for request in job.open(model.limits.post_message_bytes_max, model.history):
            requests.put(request)
        call = server.scoring.ScoreStream(iter(requests.get, None), metadata=client.metadata)
        threading.Thread(
            target=self._take_replies, args=(call,), name="pounce replies", daemon=True
        ).start()
        broken, sending = None, True
        try:
            while True:
                yield from self._answer(job.rejections())
                if sending and (job.input_ended or job.drained):
                    sending = False
                    requests.put(None)
                match self._events.get():
                    case StreamEnded(fault):
                        return broken or fault
                    case ScoreStreamResponse() as response:
                        # Of a stream that is being cancelled, nothing counts any more.
                        reply = None if broken else job.answered(response)
                        if isinstance(reply, Fault):
                            broken = reply
                            call.cancel()
                        elif reply is not None:
                            yield from self._answer([reply])
                    case event:
                        sent = self._take(event)
                        if sent is not None:
                            requests.put(sent)
        finally:
            requests.put(None)
            call.cancel()

    def _take(self, event: Event) -> ScoreStreamRequest | None:
        """Takes what the caller brings; returns what is to be sent of it."""
        match event:
            case Post() as post:
                return self._job.take(post)
            case InputEnded(error):
                self._input_error = error
                self._job.end_input()
        return None

    def _answer(self, replies: Iterable[Reply]) -> Iterator[Reply]:
        for reply in replies:
            self._permits.release()
            yield reply

    def _take_posts(self) -> None:
        """Runs in a thread of its own until the posts end, or the job does."""
        try:
            posts = iter(self._posts)
            while True:
                self._permits.acquire()
                if self._over:
                    return
                self._events.put(next(posts))
        except StopIteration:
            self._events.put(InputEnded(None))
        except BaseException as error:
            self._events.put(InputEnded(error))

    def _take_replies(self, call: Iterable[ScoreStreamResponse]) -> None:
        """Runs in a thread of its own until the stream ends."""
        try:
            for response in call:
                self._events.put(response)
            self._events.put(StreamEnded(None))
        except grpc.RpcError as error:
            self._events.put(StreamEnded(fault_of(error)))
