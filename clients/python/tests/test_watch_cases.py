"""What a watch of cases tells over several streams."""

from pounce import Case, CaseChange, CaseChangeKind, CaseState, Missed
from pounce._watch_cases import CasesTold, Gone
from pounce.v1.care_service_pb2 import WatchCasesCurrent, WatchCasesResponse

PRESENT = CaseChangeKind.CASE_CHANGE_KIND_PRESENT
CLAIMED = CaseChangeKind.CASE_CHANGE_KIND_CLAIMED
CLOSED = CaseChangeKind.CASE_CHANGE_KIND_CLOSED


def case(id: str, state: CaseState.ValueType = CaseState.CASE_STATE_OPEN) -> Case:
    return Case(id=id, state=state)


def change(kind: CaseChangeKind.ValueType, case: Case, position: str = "") -> WatchCasesResponse:
    return WatchCasesResponse(change=CaseChange(kind=kind, case=case, position=position))


def told() -> CasesTold:
    """A watch that was told of cases a, b and c."""
    watch = CasesTold()
    assert watch.begin() == ""
    for id in "abc":
        assert watch.hear(change(PRESENT, case(id))) is not None
    assert watch.hear(WatchCasesResponse(current=WatchCasesCurrent())) is None
    assert watch.ended() == set()
    return watch


def test_a_stream_goes_on_after_the_last_change() -> None:
    watch = told()
    assert watch.hear(change(CLAIMED, case("a", CaseState.CASE_STATE_CLAIMED), "7.1")) is not None
    assert watch.begin() == "7.1"
    assert watch.hear(change(CLOSED, case("a", CaseState.CASE_STATE_CLOSED), "7.2")) is not None
    assert watch.begin() == "7.2"


def test_a_stream_that_begins_anew_tells_what_differs_and_what_ended() -> None:
    watch = told()
    watch.begin()
    assert watch.hear(change(PRESENT, case("a"))) is None, "told before"
    ended = watch.ended()
    assert ended == {"b", "c"}
    closed = case("b", CaseState.CASE_STATE_CLOSED)
    assert list(watch.end(ended, [closed])) == [
        CaseChange(kind=CLOSED, case=closed),
        Gone(case("c")),
    ]
    assert watch.ended() == set()


def test_what_was_missed_is_told_and_the_watch_begins_anew() -> None:
    watch = told()
    watch.hear(change(CLAIMED, case("a", CaseState.CASE_STATE_CLAIMED), "7.1"))
    assert watch.hear(WatchCasesResponse(missed=3)) == Missed(changes=3)
    watch.forget_position()
    assert watch.begin() == ""
