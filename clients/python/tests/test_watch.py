"""What a watch tells of the messages that it hears."""

from pounce import Alert, AlertChange, AlertChangeKind, AlertState, Forgotten, Missed, Severity
from pounce._watch import Told
from pounce.v1.alert_service_pb2 import WatchAlertsResponse

FIRING = AlertChangeKind.ALERT_CHANGE_KIND_FIRING
OPENED = AlertChangeKind.ALERT_CHANGE_KIND_OPENED
RESOLVED = AlertChangeKind.ALERT_CHANGE_KIND_RESOLVED
CLOSED = AlertChangeKind.ALERT_CHANGE_KIND_CLOSED


def alert(id: str) -> Alert:
    return Alert(id=id, state=AlertState.ALERT_STATE_FIRING)


def over(id: str) -> Alert:
    return Alert(id=id, state=AlertState.ALERT_STATE_RESOLVED)


def change(kind: AlertChangeKind.ValueType, alert: Alert) -> WatchAlertsResponse:
    return WatchAlertsResponse(change=AlertChange(kind=kind, alert=alert))


def told() -> Told:
    """A watch that was told of alerts `a` and `b`."""
    told = Told()
    assert told.hear(change(FIRING, alert("a"))) is not None
    assert told.hear(change(OPENED, alert("b"))) is not None
    return told


def test_what_fires_is_told_again_only_if_it_changed() -> None:
    watch = told()
    assert list(watch.catch_up([alert("a"), alert("b")])) == []
    assert watch.hear(change(FIRING, alert("a"))) is None
    worse = alert("b")
    worse.severity = Severity.SEVERITY_HIGH
    assert watch.hear(change(FIRING, worse)) is not None
    assert watch.hear(change(FIRING, alert("c"))) is not None


def test_what_ended_meanwhile_is_told_once() -> None:
    watch = told()
    assert list(watch.catch_up([over("a"), alert("b"), over("never told")])) == [
        AlertChange(kind=RESOLVED, alert=over("a"))
    ]
    assert watch.hear(change(RESOLVED, over("a"))) is None
    assert watch.hear(change(RESOLVED, over("b"))) is not None


def test_what_is_closed_once_it_is_over_fires_no_more() -> None:
    watch = Told()
    for kind, told in ((OPENED, alert("a")), (RESOLVED, over("a")), (CLOSED, over("a"))):
        assert watch.hear(change(kind, told)) is not None
    assert list(watch.catch_up([])) == []


def test_what_the_service_knows_no_more_is_told_as_forgotten() -> None:
    watch = told()
    assert list(watch.catch_up([alert("b")])) == [Forgotten(alert("a"))]
    assert list(watch.catch_up([alert("b")])) == []


def test_a_new_stream_goes_on_after_the_last_change() -> None:
    watch = told()
    assert watch.position == ""
    worse = alert("a")
    worse.severity = Severity.SEVERITY_HIGH
    watch.hear(
        WatchAlertsResponse(change=AlertChange(kind=OPENED, alert=worse, position="fleet:7"))
    )
    watch.hear(change(RESOLVED, over("b")))
    assert watch.position == "fleet:7"


def test_what_missed_changes_led_to_is_looked_up() -> None:
    watch = told()
    news = list(watch.catch_up_missed([over("a"), alert("b"), alert("c")]))
    assert news == [
        AlertChange(kind=RESOLVED, alert=over("a")),
        AlertChange(kind=FIRING, alert=alert("c")),
    ]
    assert watch.hear(change(OPENED, alert("c"))) is None, "told already"


def test_what_was_missed_is_told() -> None:
    assert told().hear(WatchAlertsResponse(missed=3)) == Missed(changes=3)
    assert told().hear(WatchAlertsResponse(advocates_missed=2)) == Missed(advocates=2)
