"""What a watch of cases tells, and what it has told already. Does no I/O.

A new stream goes on after the last change, if the service can, or begins with the cases that are
not closed: of those only what was not told before is told. What was closed meanwhile is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ._watch import Connected, Lost, Missed
from .v1.care_service_pb2 import WatchCasesResponse
from .v1.case_pb2 import Case, CaseChange, CaseChangeKind, CaseState

# Cases of a page: the most that a service gives.
PAGE_SIZE = 200


@dataclass(frozen=True)
class Gone:
    """A case that was not closed is unknown to the service: it was dropped for want of room, or the
    service restarted without its state.
    """

    case: Case
    """As it was told last."""


WatchedCase = Connected | Lost | Gone | Missed | CaseChange
"""What a watch of cases tells."""


class CasesTold:
    """What was told already."""

    def __init__(self) -> None:
        self._open: dict[str, Case] = {}
        # Cases that are not closed, by id, as they were told last.
        self._present: set[str] = set()
        # Those of them that the present stream told of.
        self._position = ""

    def begin(self) -> str:
        """A new stream begins; where it is to go on."""
        self._present.clear()
        return self._position

    def forget_position(self) -> None:
        """The next stream begins with the cases that are not closed."""
        self._position = ""

    def hear(self, response: WatchCasesResponse) -> CaseChange | Missed | None:
        """What a message of the stream tells that is new."""
        match response.WhichOneof("message"):
            case "change":
                return response.change if self._is_new(response.change) else None
            case "missed":
                return Missed(changes=response.missed)
        return None

    def ended(self) -> set[str]:
        """The cases that were told and that the present stream, complete now, did not tell of."""
        return self._open.keys() - self._present

    def end(self, ended: set[str], closed: Iterable[Case]) -> Iterator[CaseChange | Gone]:
        """What has become of `ended`, by `closed`, all closed cases."""
        known = {case.id: case for case in closed}
        for id in sorted(ended):
            last = self._open.pop(id)
            if id in known:
                yield CaseChange(kind=CaseChangeKind.CASE_CHANGE_KIND_CLOSED, case=known[id])
            else:
                yield Gone(last)

    def _is_new(self, change: CaseChange) -> bool:
        case = change.case
        self._position = change.position or self._position
        self._present.add(case.id)
        last = self._open.pop(case.id, None)
        evicted = change.kind == CaseChangeKind.CASE_CHANGE_KIND_EVICTED
        if not evicted and case.state != CaseState.CASE_STATE_CLOSED:
            self._open[case.id] = case
        return change.kind != CaseChangeKind.CASE_CHANGE_KIND_PRESENT or last != case
