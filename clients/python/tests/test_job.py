"""The scoring job without a server: what it sends, settles, gives up."""

import grpc
import pytest

from pounce import GaveUp, Post, Refused, Rejection, RejectionCode, ScoredEvent
from pounce._errors import Fault
from pounce._job import Job
from pounce.v1.scoring_service_pb2 import Drain, ScoreStreamRequest, ScoreStreamResponse

LOST = Fault(grpc.StatusCode.UNAVAILABLE, "connection reset")


def post(number: int) -> Post:
    return Post(id=str(number), text=f"text {number}")


def event(sequence: int) -> ScoreStreamResponse:
    return ScoreStreamResponse(event=ScoredEvent(post_id="x", sequence=sequence))


def job_with(posts: int, in_flight: int = 10, patience: float = 60.0) -> Job:
    job = Job(in_flight, None, patience)
    for number in range(posts):
        assert job.take(post(number)) is None, "no stream is open"
    return job


def ids(requests: list[ScoreStreamRequest]) -> list[str]:
    return [request.post.id for request in requests if request.HasField("post")]


def test_recorded_posts_go_to_no_server_that_would_count_them_as_live_ones() -> None:
    job = Job(2, None, 60.0, history=True)
    with pytest.raises(Refused, match="too old"):
        job.open(0)
    assert job.open(0, knows_history=True)[0].options.history


def test_a_new_stream_gets_its_options_and_then_what_is_unanswered() -> None:
    job = job_with(3)
    requests = job.open(0)
    assert requests[0].options.posts_in_flight_max == 10
    assert ids(requests) == ["0", "1", "2"]
    first = job.answered(event(1))
    assert isinstance(first, ScoredEvent) and first.sequence == 1
    assert job.ended(LOST, 0.0) > 0
    assert ids(job.open(0)) == ["1", "2"]
    second = job.answered(event(1))
    assert isinstance(second, ScoredEvent) and second.sequence == 2, "the job counts on"


def test_after_a_drain_nothing_is_sent_and_the_next_stream_needs_no_pause() -> None:
    job = job_with(2)
    job.open(0)
    assert job.take(post(2)) is not None
    assert job.answered(ScoreStreamResponse(drain=Drain(accepted_through=1))) is None
    assert job.take(post(3)) is None
    job.answered(event(1))
    assert job.ended(None, 0.0) == 0.0
    assert ids(job.open(0)) == ["1", "2", "3"]


def test_a_server_that_moves_streams_on_without_an_answer_is_waited_for() -> None:
    job = job_with(1)
    job.open(0)
    job.answered(ScoreStreamResponse(drain=Drain(accepted_through=0)))
    assert job.ended(None, 0.0) > 0


def test_a_reply_out_of_turn_settles_nothing() -> None:
    job = job_with(2)
    job.open(0)
    fault = job.answered(event(2))
    assert isinstance(fault, Fault) and fault.code is grpc.StatusCode.DATA_LOSS
    with pytest.raises(Refused):
        job.ended(fault, 0.0)
    assert job.owes


def test_a_post_that_no_message_can_hold_is_rejected_in_its_place() -> None:
    job = job_with(1)
    assert ids(job.open(100)) == ["0"]
    assert job.take(Post(id="large", text="x" * 200)) is None
    assert job.take(post(2)) is not None
    assert list(job.rejections()) == [], "the first one is still owed"
    job.answered(event(1))
    (rejection,) = job.rejections()
    assert rejection.code == RejectionCode.REJECTION_CODE_TOO_LONG
    assert (rejection.post_id, rejection.sequence) == ("large", 2)
    assert "limit of 100" in rejection.reason
    last = job.answered(event(2))
    assert isinstance(last, ScoredEvent) and last.sequence == 3


def test_a_stopping_server_is_no_answer_and_bad_options_are_final() -> None:
    job = job_with(1)
    job.open(0)
    code = RejectionCode.REJECTION_CODE_UNAVAILABLE
    stopping = ScoreStreamResponse(rejection=Rejection(sequence=1, code=code, reason="stopping"))
    fault = job.answered(stopping)
    assert isinstance(fault, Fault) and fault.is_passing and job.owes
    assert job.ended(fault, 0.0) > 0
    job.open(0)
    fault = job.answered(ScoreStreamResponse(rejection=Rejection(reason="out of range")))
    assert isinstance(fault, Fault)
    with pytest.raises(Refused, match="out of range"):
        job.ended(fault, 0.0)


def test_a_job_is_given_up_after_its_patience_without_a_reply() -> None:
    job = job_with(2, patience=10.0)
    pauses = [job.ended(LOST, at) for at in (0.0, 4.0, 9.9)]
    assert pauses[0] < pauses[1] < pauses[2], "each pause is longer"
    job.open(0)
    job.answered(event(1))
    assert job.ended(LOST, 12.0) < pauses[2], "a reply starts anew"
    with pytest.raises(GaveUp, match="connection reset"):
        job.ended(LOST, 22.0)


def test_a_post_may_be_used_again_by_its_maker() -> None:
    job = Job(10, None, 60.0)
    mine = post(1)
    job.take(mine)
    mine.id = "other"
    assert ids(job.open(0)) == ["1"]
