"""One scoring job over as many streams as it takes.

Posts wait in slots until they are answered; a new stream is first sent the slots that are left. A
post is answered once, in the order of the slots. Does no I/O and reads no clock: `client` and `aio`
carry its requests and replies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from ._backoff import Backoff
from ._errors import Fault, GaveUp, Refused
from .v1.event_pb2 import Rejection, RejectionCode, ScoredEvent
from .v1.post_pb2 import Post
from .v1.scoring_service_pb2 import (
    PostResult,
    ScoreStreamRequest,
    ScoreStreamResponse,
    StreamOptions,
    Thresholds,
)

Reply = ScoredEvent | Rejection
"""The answer to one post. `sequence` counts over the whole job, from 1."""

# Characters of an id that a rejection repeats: no fewer than an id may have.
ID_CHARS_MAX = 256


@dataclass
class Slot:
    """A post that has not been answered, as its message, or a rejection that waits for its turn."""

    sequence: int
    waiting: ScoreStreamRequest | Rejection


class Job:
    """The posts of one job and where they are."""

    def __init__(
        self,
        in_flight: int,
        thresholds: Thresholds | None,
        patience: float,
        *,
        history: bool = False,
    ) -> None:
        if in_flight < 1:
            raise ValueError("in_flight must be at least 1")
        self.in_flight = in_flight
        self._patience = patience
        self._options = StreamOptions(
            posts_in_flight_max=in_flight, thresholds=thresholds, history=history
        )
        self._slots: deque[Slot] = deque()
        self._sequence = 0
        self._input_ended = False
        self._message_bytes_max = 0
        self._backoff = Backoff()
        self._failing_since: float | None = None
        self._first = 1
        self._sending = False

    @property
    def owes(self) -> bool:
        """Whether posts are unanswered."""
        return bool(self._slots)

    @property
    def input_ended(self) -> bool:
        """Whether no post will come."""
        return self._input_ended

    def take(self, post: Post) -> ScoreStreamRequest | None:
        """Gives a post a slot; returns what is to be sent of it on the stream that is open."""
        self._sequence += 1
        # The message holds a copy: the caller may use their post again.
        waiting = self._checked(ScoreStreamRequest(post=post))
        self._slots.append(Slot(self._sequence, waiting))
        return waiting if self._sending and isinstance(waiting, ScoreStreamRequest) else None

    def end_input(self) -> None:
        """No post will come."""
        self._input_ended = True

    def open(self, message_bytes_max: int, knows_history: bool = False) -> list[ScoreStreamRequest]:
        """A stream opens: returns what is to be sent on it. 0 bytes: the server did not tell.

        Raises Refused if the posts are recorded ones and the server would count them as live ones.
        """
        if self._options.history and not knows_history:
            message = "the service is too old for recorded posts: it would count them as live ones"
            raise Refused(Fault(grpc.StatusCode.UNIMPLEMENTED, message, "history"))
        self._message_bytes_max = message_bytes_max
        self._first = 1
        self._sending = True
        requests = [ScoreStreamRequest(options=self._options)]
        for slot in self._slots:
            if isinstance(slot.waiting, ScoreStreamRequest):
                slot.waiting = self._checked(slot.waiting)
            if isinstance(slot.waiting, ScoreStreamRequest):
                requests.append(slot.waiting)
        return requests

    @property
    def drained(self) -> bool:
        """Whether the open stream takes no more posts."""
        return not self._sending

    def rejections(self) -> Iterator[Rejection]:
        """Rejections of our own whose turn it is."""
        while self._slots and isinstance(self._slots[0].waiting, Rejection):
            slot = self._slots.popleft()
            assert isinstance(slot.waiting, Rejection)
            slot.waiting.sequence = slot.sequence
            yield slot.waiting

    def answered(self, response: ScoreStreamResponse) -> Reply | Fault | None:
        """Takes a message of the stream: it answers a post, ends the stream, or does neither."""
        match response.WhichOneof("reply"):
            case "event":
                return self._settle(response.event)
            case "rejection":
                rejection = response.rejection
                if rejection.sequence == 0:
                    return Fault(grpc.StatusCode.INVALID_ARGUMENT, rejection.reason, "options")
                if rejection.code == RejectionCode.REJECTION_CODE_UNAVAILABLE:
                    return Fault(grpc.StatusCode.UNAVAILABLE, rejection.reason)
                return self._settle(rejection)
            case "drain":
                self._sending = False
        return None

    def ended(self, fault: Fault | None, at: float) -> float:
        """A stream ended; returns the seconds until the next one.

        `at` is in seconds of any steady clock. Raises Refused or GaveUp if there should be none.
        """
        progress = self._first > 1
        drained, self._sending = self.drained, False
        if fault is None and drained and progress:
            return 0.0
        # A server that moves streams on without an answer is no help.
        fault = fault or Fault(grpc.StatusCode.UNAVAILABLE, "the stream ended early")
        if not fault.is_passing:
            raise Refused(fault)
        if self._failing_since is None:
            self._failing_since = at
        if at - self._failing_since >= self._patience:
            raise GaveUp(f"gave up after {self._patience:g} s of failures: {fault.message}")
        return self._backoff.pause()

    def idle(self) -> None:
        """Nothing is owed: there is no need of a stream until a post comes."""
        self._failing_since = None

    def _settle(self, reply: Reply) -> Reply | Fault:
        """Gives a reply the job's sequence and frees its slot: the first one, since replies come
        in order.
        """
        if reply.sequence != self._first or not self._slots:
            message = f"reply {reply.sequence} came where {self._first} was due"
            return Fault(grpc.StatusCode.DATA_LOSS, message)
        self._first += 1
        self._failing_since = None
        self._backoff.reset()
        reply.sequence = self._slots.popleft().sequence
        return reply

    def _checked(self, request: ScoreStreamRequest) -> ScoreStreamRequest | Rejection:
        """A message that is too large would end the whole stream: its post is rejected here."""
        size, limit = request.ByteSize(), self._message_bytes_max
        if not limit or size <= limit:
            return request
        return Rejection(
            post_id=request.post.id[:ID_CHARS_MAX],
            code=RejectionCode.REJECTION_CODE_TOO_LONG,
            field="post",
            reason=f"the post has {size} bytes, more than the limit of {limit} of a message",
        )


def reply_of(result: PostResult) -> Reply:
    """The reply in one result of a batch."""
    return result.event if result.HasField("event") else result.rejection
