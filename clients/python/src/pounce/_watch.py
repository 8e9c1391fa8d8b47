"""What a watch tells, and what it has told already. Does no I/O.

A new stream goes on after the last change, if the service can, or begins with what fires: of that
only what was not told before is told. What ended meanwhile is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .v1.alert_pb2 import Alert, AlertChange, AlertChangeKind, AlertState
from .v1.alert_service_pb2 import Advocate, WatchAlertsResponse

# A stream that lived for fewer seconds did not help: the next pause is longer.
LIVED = 2.0
# Alerts of a page: the most that a service gives.
PAGE_SIZE = 500


@dataclass(frozen=True)
class Connected:
    """The stream is open; what fires and was not told before follows."""


@dataclass(frozen=True)
class Lost:
    """The stream ended, for this reason; a new one is being opened."""

    reason: str


@dataclass(frozen=True)
class Forgotten:
    """An alert that was firing is unknown to the service: it restarted without its state."""

    alert: Alert
    """As it was told last."""


@dataclass(frozen=True)
class Missed:
    """So many changes and advocates came too fast to be told. What changes led to follows."""

    changes: int = 0
    advocates: int = 0


Watched = Connected | Lost | Forgotten | Missed | AlertChange | Advocate
"""What a watch tells."""


class Told:
    """What was told already."""

    def __init__(self) -> None:
        self.firing: dict[str, Alert] = {}
        """Alerts that fire, by id, as they were told last."""
        self._ended: set[str] = set()
        # Alerts whose end was looked up: their stream may tell of it again.
        self.position = ""
        """Of the last change; empty where the service has none."""

    def catch_up(self, listed: Iterable[Alert]) -> Iterator[Watched]:
        """What `listed`, all alerts that fire or resolved in the last day, tells of those that
        were firing and fire no more.
        """
        now = {alert.id: alert for alert in listed}
        self._ended.clear()
        for id, last in list(self.firing.items()):
            alert = now.get(id)
            if alert is None:
                del self.firing[id]
                yield Forgotten(last)
            elif alert.state == AlertState.ALERT_STATE_RESOLVED:
                del self.firing[id]
                self._ended.add(id)
                yield AlertChange(kind=AlertChangeKind.ALERT_CHANGE_KIND_RESOLVED, alert=alert)

    def catch_up_missed(self, listed: Iterable[Alert]) -> Iterator[Watched]:
        """What `listed` tells of the changes that came too fast. Those that the stream has still
        to tell are in it too.
        """
        listed = list(listed)
        yield from self.catch_up(listed)
        for alert in listed:
            change = AlertChange(kind=AlertChangeKind.ALERT_CHANGE_KIND_FIRING, alert=alert)
            if alert.state == AlertState.ALERT_STATE_FIRING and self._is_new(change):
                yield change

    def hear(self, response: WatchAlertsResponse) -> Watched | None:
        """What a message of the stream tells that is new."""
        match response.WhichOneof("message"):
            case "change":
                return response.change if self._is_new(response.change) else None
            case "advocate":
                return response.advocate
            case "missed":
                return Missed(changes=response.missed)
            case "advocates_missed":
                return Missed(advocates=response.advocates_missed)
        return None

    def _is_new(self, change: AlertChange) -> bool:
        alert = change.alert
        self.position = change.position or self.position
        if change.kind == AlertChangeKind.ALERT_CHANGE_KIND_RESOLVED:
            self.firing.pop(alert.id, None)
            ended_before = alert.id in self._ended
            self._ended.discard(alert.id)
            return not ended_before
        # One that was looked up since is told already, and so is its end.
        if alert.id in self._ended:
            return False
        # Some alerts are acknowledged or closed once they are over.
        if alert.state == AlertState.ALERT_STATE_RESOLVED:
            return True
        last = self.firing.get(alert.id)
        self.firing[alert.id] = alert
        return last != alert
