"""A client of the Pounce sentiment service that loses no post through drains and restarts.

`Client` is for threads, `pounce.aio.Client` for asyncio. Messages are those of `proto/pounce/v1`.
"""

from ._client import Client
from ._errors import AddressError, ClosedError, GaveUp, PounceError, Refused, Unreachable
from ._job import Reply
from ._watch import Connected, Forgotten, Lost, Missed, Watched
from ._watch_cases import Gone, WatchedCase
from .v1.alert_pb2 import Alert, AlertChange, AlertChangeKind, AlertKind, AlertState
from .v1.alert_service_pb2 import Advocate, AlertFilter
from .v1.care_service_pb2 import CaseFilter, CaseOrder
from .v1.case_pb2 import Case, CaseChange, CaseChangeKind, CaseOutcome, CaseState
from .v1.event_pb2 import Flag, Rejection, RejectionCode, ScoredEvent, Sentiment, Severity
from .v1.post_pb2 import Author, Post
from .v1.scoring_service_pb2 import GetModelResponse, Thresholds

__all__ = [
    "AddressError",
    "Advocate",
    "Alert",
    "AlertChange",
    "AlertChangeKind",
    "AlertFilter",
    "AlertKind",
    "AlertState",
    "Author",
    "Case",
    "CaseChange",
    "CaseChangeKind",
    "CaseFilter",
    "CaseOrder",
    "CaseOutcome",
    "CaseState",
    "Client",
    "ClosedError",
    "Connected",
    "Flag",
    "Forgotten",
    "GaveUp",
    "GetModelResponse",
    "Gone",
    "Lost",
    "Missed",
    "Post",
    "PounceError",
    "Refused",
    "Rejection",
    "RejectionCode",
    "Reply",
    "ScoredEvent",
    "Sentiment",
    "Severity",
    "Thresholds",
    "Unreachable",
    "Watched",
    "WatchedCase",
]
